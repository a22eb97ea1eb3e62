"""Results as tables, JSON and reports: pages, PDFs and pictures."""

import json
import re

import av
import numpy as np
import pytest

import p3dfeat
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.reporting import report as module
from p3dfeat.evaluation.reporting.report import as_text, check_report, write_report
from p3dfeat.evaluation.reporting.result import Chart, Confusion, Evaluation, Line, Row, Wrong
from tests.evaluation.made import file_of, planted

LABELS = ("plain", "<b>bold</b>", "$x^2$ & \\frac", "日本語")


def evaluation(**changes):
    rng = np.random.default_rng(0)
    values = {
        "experiment": "folder",
        "protocol": ("Features: pool5 of m.", "Splits: 5 folds."),
        "rows": (Row("fold 1", {"accuracy": 50.125, "test videos": 8, "C": "1"}), Row("mean", {"accuracy": 50.125})),
        "paper": (Row("paper, P3D", {"accuracy": 88.6}),),
        "notes": ("left out: 1 video (x): no label",),
        "left_out": {"x": "no label"},
        "wrong": tuple(Wrong(f"v/{label}", label, "plain", 0.5) for label in LABELS[1:]),
        "confusion": Confusion(LABELS, rng.integers(0, 9, (4, 4))),
        "charts": (
            Chart("ROC curve", "x", "y", (Line("a", (0.0, 1.0), (0.0, 1.0)), Line("b", (0.0, 1.0), (1.0, 1.0)))),
        ),
    }
    return Evaluation(**{**values, **changes})


def test_a_page_shows_everything_and_asks_for_nothing(tmp_path):
    write_report(evaluation(), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    for shown in ("50.12", "88.60", "left out: 1 video", "&lt;b&gt;bold&lt;/b&gt;", "日本語", "Splits: 5 folds."):
        assert shown in text
    assert "<b>" not in text
    assert len(re.findall('src="data:image/svg', text)) == 2
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', text) == []


@pytest.mark.parametrize("ending", [".html", ".pdf", ".png"])
def test_the_same_result_is_the_same_file(tmp_path, ending):
    written = []
    for name in ("a", "b"):
        write_report(evaluation(), tmp_path / f"{name}{ending}")
        written.append((tmp_path / f"{name}{ending}").read_bytes())
    assert written[0] == written[1]
    assert len(written[0]) > 10_000


def test_a_pdf_has_a_page_for_text_and_each_figure(tmp_path):
    write_report(evaluation(), tmp_path / "r.pdf")
    content = (tmp_path / "r.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 3


def test_a_picture_is_not_empty(tmp_path):
    write_report(evaluation(), tmp_path / "r.png")
    with av.open(str(tmp_path / "r.png")) as file:
        picture = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape[0] > 900
    assert picture.std() > 10
    assert (picture[: picture.shape[0] // 4] < 128).any()  # the text


@pytest.mark.parametrize("count", [1, 3, 30, 101])
def test_confusions_of_any_size_are_drawn(tmp_path, count):
    labels = tuple(f"class {number}" for number in range(count))
    write_report(evaluation(confusion=Confusion(labels, np.eye(count, dtype=np.int64))), tmp_path / "r.png")
    assert (tmp_path / "r.png").stat().st_size > 5_000


def test_text_is_aligned():
    lines = as_text(evaluation()).splitlines()
    (head,) = [line for line in lines if line.strip().startswith("accuracy  test videos")]
    (fold,) = [line for line in lines if line.startswith("fold 1")]
    assert fold.index("50.12") == head.index("accuracy")
    assert fold.index("8", fold.index("%")) == head.index("test videos")


@pytest.mark.parametrize("name", ["r.docx", "r", "feats.h5"])
def test_reports_with_other_endings_are_refused_before_the_work(p3dfeat_command, tmp_path, name):
    code, _, said = p3dfeat_command("eval", "folder", "missing.h5", "--report", tmp_path / name)
    assert (code, "must end in .html" in said) == (2, True)


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'p3dfeat\[eval\]'"):
        check_report("r.html")


@pytest.fixture
def file(tmp_path):
    kinds = np.arange(40) % 4
    rows = planted(kinds)
    rows[0] = rows[1]
    ids = [f"{'abcd'[kind]}/v{number}" for number, kind in enumerate(kinds)]
    return file_of(tmp_path / "f.h5", dict(zip(ids, rows, strict=True)))


def test_a_command_prints_a_table_and_what_went_wrong(p3dfeat_command, file, tmp_path):
    code, printed, said = p3dfeat_command("eval", "folder", file, "--c", "1", "--report", tmp_path / "r.html")
    assert code == 0
    assert printed.splitlines()[-1].split() == ["mean", "97.50", "%"]
    assert "Splits: 5 folds, stratified by class" in said
    assert "wrong: a/v0: a, predicted b (margin" in said
    assert f"report: {tmp_path / 'r.html'}" in said
    assert "Confusion of labels" in (tmp_path / "r.html").read_text("utf-8")


def test_json_is_one_object_with_all_of_it(p3dfeat_command, file):
    code, printed, _ = p3dfeat_command("eval", "scenes", file, "--c", "1", "--json", "-q")
    assert code == 0
    (line,) = printed.splitlines()
    record = json.loads(line)
    assert record["rows"][-1] == {"name": "all", "accuracy": 97.5, "test videos": 40}
    assert record["wrong"][0]["id"] == "a/v0"
    assert {"name": "paper, P3D, YUPENN", "accuracy": 99.5} in record["paper"]


def test_errors_are_one_line(p3dfeat_command, tmp_path):
    for arguments in (("ucf101", "x.h5", "--splits", tmp_path), ("aslan", "x.h5", "--pairs", "p.mat"), ("pca", "x.h5")):
        code, printed, said = p3dfeat_command("eval", *arguments)
        assert (code, printed) == (2, "")
        assert len(said.strip().splitlines()) == 1


def test_the_protocol_names_what_was_chosen():
    found = module.as_text(evaluation(paper=()))
    assert "paper" not in found


def test_the_public_function_takes_a_path_or_several(file):
    alone = p3dfeat.evaluate_folder(file, c=1.0).as_json()
    assert p3dfeat.evaluate_folder([str(file)], c=1.0).as_json() == alone
