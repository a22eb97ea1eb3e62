"""Labels of videos from files, folders and columns, and what happens with those that do not match."""

import pytest

from p3dfeat.errors import UsageError
from p3dfeat.labels import Labels, read_labels


def write(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "id,label\na/x,run\nb,jump\n",
        "a/x,run\nb,jump\n",
        "label;id;other\nrun;a/x;1\njump;b;2\n",
        "video\tclass\na/x\trun\nb\tjump\n",
        "\ufeffid,label\r\na/x,run\r\nb,jump\r\n",
        '{"a/x": "run", "b": "jump"}',
        '{"database": {"a/x": {"annotations": [{"label": "run", "segment": [0, 1]}]}, "b": {"label": "jump"}}}',
    ],
)
def test_labels_come_in_several_forms(tmp_path, text):
    assert read_labels(write(tmp_path / "labels", text)) == {"a/x": "run", "b": "jump"}


def test_a_file_of_windows_is_read(tmp_path):
    assert read_labels(write(tmp_path / "labels", "id,label\na,b\n", "utf-16")) == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("id,other\na,b\n", "must name both columns"),
        ("a,run\na,jump\n", "'a' has the labels 'run' and 'jump'"),
        ("a,run\nb\n", "line 2: has 1 columns"),
        ("{", "not JSON"),
        ('{"a": [1]}', "no labels there"),
    ],
)
def test_files_without_clear_labels_are_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_labels(write(tmp_path / "labels", text))


def test_a_file_that_is_not_there_says_what_else_can_be_given(tmp_path):
    with pytest.raises(UsageError, match="folders, or column:NAME"):
        Labels.of(tmp_path / "none.csv")


def test_an_id_may_have_an_extension_and_unused_ones_are_told(tmp_path):
    labels = Labels.of(write(tmp_path / "l.csv", "a/x.mp4,run\nb,jump\nc.d,fall\n"))
    assert labels.label("a/x", {}) == "run"
    assert labels.label("c.d", {}) == "fall"
    assert labels.label("other", {}) is None
    assert labels.unused() == ["b"]


def test_labels_from_folders_and_columns():
    assert Labels.of("folders").label("a/b/x", {}) == "a/b"
    assert Labels.of("folders").label("x", {}) is None
    assert Labels.of("column:sport").label("x", {"sport": "golf"}) == "golf"
    assert Labels.of("column:sport").label("x", {}) is None


def test_a_large_file_of_annotations_is_read(tmp_path):
    """ActivityNet's own has 12 MB."""
    database = '{"v": {"annotations": [{"label": "a"}]}}'
    (tmp_path / "a.json").write_text('{"about": "' + "x" * 5_000_000 + '", "database": ' + database + "}")
    assert read_labels(tmp_path / "a.json") == {"v": "a"}


def test_empty_labels_are_none(tmp_path):
    (tmp_path / "l.csv").write_text("id,label\na,x\nb,\nc, \n")
    assert read_labels(tmp_path / "l.csv") == {"a": "x"}
    (tmp_path / "l.json").write_text('{"a": "x", "b": "", "c": " "}')
    assert read_labels(tmp_path / "l.json") == {"a": "x"}
    assert Labels(column="label").label("v", {"label": " "}) is None
