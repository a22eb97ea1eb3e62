"""Names of files that were not meant well: through the whole command, to the feature file, and back."""

import csv
import io
import json
import os
import shutil
import struct
import unicodedata
from pathlib import Path

import pytest

import p3dfeat as package
from p3dfeat.sources import find_videos
from p3dfeat.types import is_id
from tests.videos import numbered_video

NAMES = [
    *(b"plain", b"with space", b" leading", b"trailing ", b"trailing.", b"two..dots", b"..hidden", b".hidden", b"..."),
    *(b"....", b"-dash", b"--output=x", b"@at", b"~tilde", b"~", b"-", b"#", b"%2e%2e%2f", b"..\\..\\up", b"CON"),
    *(b"back\\slash", b"aux.txt", b"C:", b"a:b", b"*?", b"[x]", b"[/red]", b"{}", b"'quo\"te", b"$(touch x)", b"`id`"),
    *(b";|&", b"new\nline", b"\nfirst", b"tab\t", b"cr\r", b"\x1b[31mred", b"bell\x07", b"\x7f", b"\x01", b'"'),
    *(b",;", b"=", b"\xff\xfe", b"\\xff\\xfe", b"half \xc3", b"\xed\xb3\xbf", b"pool5", b"pooled", b"source", b"_"),
    *(text.encode() for text in ("\x9b31m", "\u202egnp.exe", "\u200b", "\u2028", "日本語", "😀", "ß", "SS", "İ", "ﬁ")),
    *(unicodedata.normalize(form, "é").encode() for form in ("NFC", "NFD")),
    *(b"x" * 251, "é".encode() * 125),
]  # fmt: skip


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    return numbered_video(tmp_path_factory.mktemp("video") / "v.mp4", 2, height=32, width=32).read_bytes()


@pytest.fixture
def nasty(tmp_path, video) -> dict[int, bytes]:
    """{size: path below "in"} of videos with these names, in folders with some of these names; each of its own size."""
    root = os.fsencode(tmp_path / "in")
    paths = [name + b".mp4" for name in NAMES]
    paths += [name + b"/" + name + b".mp4" for name in NAMES if len(name) < 100]
    paths += [b"/".join([b"y" * 100] * 5) + b"/deep.mp4"]
    made = {}
    for number, path in enumerate(paths):
        data = video + struct.pack(">I4s", 8 + number, b"free") + bytes(number)
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), "xb") as file:
            file.write(data)
        made[len(data)] = path
    return made


@pytest.fixture
def found(nasty) -> dict[int, bytes]:
    """Those of them that a folder gives: the others are hidden."""
    return {size: path for size, path in nasty.items() if not any(part.startswith(b".") for part in path.split(b"/"))}


def listed_below(folder: Path) -> set[bytes]:
    return {
        os.path.join(at, name) for at, folders, files in os.walk(os.fsencode(folder)) for name in (*folders, *files)
    }


def assert_all_stored(output: Path, nasty: dict[int, bytes]) -> None:
    """Each file is stored under an id of its own, by which it is found again."""
    with package.open_features(output) as features:
        ids = list(features)
        assert len(ids) == len(set(ids)) == len(features) == len(nasty)
        assert {features[id].attributes["size_bytes"] for id in ids} == set(nasty)
        for id in ids:
            assert is_id(id)
            assert features[id]["pool5"].shape == (1, 512)
            name = nasty[features[id].attributes["size_bytes"]].decode("utf-8", "backslashreplace")
            assert features[id].attributes["source"].endswith(name)


def test_a_folder_of_nasty_names_is_stored_whole_and_nothing_lies_elsewhere(
    p3dfeat, nasty, found, tmp_path, monkeypatch
):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    before = listed_below(tmp_path)
    ended = p3dfeat("extract", tmp_path / "in", "-o", "feats.h5", "-n", 1)
    assert (ended.code, ended.stderr.count("\n")) == (0, 2)
    assert f"{len(nasty) - len(found)} files left out as hidden" in ended.stderr
    assert listed_below(tmp_path) - before == {os.fsencode(tmp_path / "out" / "feats.h5")}
    assert_all_stored(tmp_path / "out" / "feats.h5", found)
    assert (
        f"nothing to do: {len(found)} already stored"
        in p3dfeat("extract", tmp_path / "in", "-o", "feats.h5", "-n", 1).stderr
    )


@pytest.mark.parametrize("kind", ["list", "csv", "arguments"])
def test_lists_segments_and_arguments_hold_the_same_names(p3dfeat, nasty, tmp_path, kind):
    folder = os.fsencode(tmp_path / "in")
    if kind == "list":
        (tmp_path / "list").write_bytes(b"\0".join(nasty.values()))
        shutil.move(tmp_path / "list", tmp_path / "in" / "list")
        inputs = [f"@{tmp_path / 'in' / 'list'}"]
    elif kind == "csv":
        text = io.StringIO(newline="")
        rows = [[os.fsdecode(path), "", "", f"id {size}"] for size, path in nasty.items()]
        csv.writer(text).writerows([["path", "start_seconds", "end_seconds", "id"], *rows])
        (tmp_path / "in" / "s.csv").write_bytes(os.fsencode(text.getvalue()))
        inputs = [f"{tmp_path / 'in' / 's.csv'}"]
    else:
        inputs = [os.fsdecode(os.path.join(folder, path)) for path in nasty.values()]
    assert p3dfeat("extract", *inputs, "-o", tmp_path / "f.h5", "-n", 1).code == 0
    assert_all_stored(tmp_path / "f.h5", nasty)


def test_names_with_a_leading_dash_follow_two_dashes(p3dfeat, nasty, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "in")
    names = [os.fsdecode(path) for path in nasty.values() if path.startswith(b"-") and b"/" not in path]
    assert p3dfeat("extract", "-o", tmp_path / "f.h5", "-n", 1, "--", *names).code == 0
    assert len(package.open_features(tmp_path / "f.h5")) == len(names) == 3


def test_what_is_shown_steers_no_terminal(p3dfeat, found, tmp_path):
    """Tables, failures and errors show what cannot be printed escaped, each video on a line of its own."""
    output = tmp_path / "f.h5"
    p3dfeat("extract", tmp_path / "in", "-o", output, "-n", 1)
    source = tmp_path / "in" / "\x1b[31mred.mp4"
    tables = [
        p3dfeat("info", output, "--all").stdout,
        p3dfeat("extract", tmp_path / "in", "--dry-run", "-n", 1).stdout,
        p3dfeat("classify", source, tmp_path / "in" / "new\nline.mp4").stdout,
    ]
    for shown in tables:
        assert all(c.isprintable() or c == "\n" for c in shown)
        assert r"\x1b[31mred" in shown
        assert r"new\nline" in shown
    assert [len(shown.splitlines()) >= len(found) for shown in tables] == [True, True, False]
    said = p3dfeat("extract", tmp_path / "\x1b7gone\n", "-o", tmp_path / "other.h5")
    assert said.stderr.splitlines()[0].endswith(r"\x1b7gone\n: no such file or folder")


def test_the_ledger_and_json_hold_the_same_names(p3dfeat, nasty, found, tmp_path):
    output = tmp_path / "f.h5"
    for path in nasty.values():
        with open(os.path.join(os.fsencode(tmp_path / "in"), path), "wb"):
            pass
    ended = p3dfeat("extract", tmp_path / "in", "-o", output, "-n", 1, "--json")
    assert ended.code == 4
    lines = (tmp_path / "f.h5.failed.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    entries = [json.loads(line) for line in lines]
    assert len({entry["id"] for entry in entries}) == len(entries) == len(found)
    told = [json.loads(line) for line in ended.stdout.split("\n")[:-1]]
    assert [record["id"] for record in told if record["event"] == "video"] == [entry["id"] for entry in entries]
    assert ended.stderr.count("\n") == len(found) + 3  # a line each, the hidden ones, the summary, the error


@pytest.mark.parametrize("id", ["../x", "/etc/passwd", "a//b", ".", "..", "a/../b", "./a", "a/", "/", "a/./b", "x/.."])
def test_ids_that_lead_elsewhere_are_refused(tmp_path, id):
    (tmp_path / "v.mp4").write_bytes(b"")
    with open(tmp_path / "s.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "start_seconds", "end_seconds", "id"], ["v.mp4", "", "", id]])
    videos, failures = find_videos([f"{tmp_path}/s.csv"])
    assert not videos
    assert f"id {id!r}; must be names joined by single slashes" in str(failures[0].error)


@pytest.mark.parametrize("length", [300, 100_000])
def test_ids_may_be_long(p3dfeat, video, tmp_path, length):
    (tmp_path / "v.mp4").write_bytes(video)
    (tmp_path / "s.csv").write_text(f"path,start_seconds,end_seconds,id\nv.mp4,,,{'n' * length}\n")
    for status in ("1 stored", "1 already stored"):
        assert status in p3dfeat("extract", tmp_path / "s.csv", "-o", tmp_path / "f.h5", "-n", 1).stderr
    assert list(package.open_features(tmp_path / "f.h5")) == ["n" * length]
