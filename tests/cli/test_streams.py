"""Tables and JSON go to whatever stdout is: a terminal of any encoding, a pipe whose reader has gone."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from p3dfeat.cli.output import out
from tests import commands

NAME = "vidéo_日本"
COMMANDS = {
    "info": ("info", "feats.h5"),
    "extract --dry-run": ("extract", "videos", "--dry-run", "--clips", 2),
    "classify": ("classify", "videos", "--clips", 1, "--engine", "torch"),
    "classify --timeline": ("classify", f"videos/{NAME}.mp4", "--timeline", "--engine", "torch"),
    "doctor": ("doctor",),
    "weights list": ("weights", "list"),
    "weights show": ("weights", "show", "p3d-camera"),
    "weights compare": ("weights", "compare", "p3d-camera", "p3d-camera", f"videos/{NAME}.mp4", "--clips", 1),
}
NAMING = ("info", "extract --dry-run", "classify")  # commands whose tables name videos


@pytest.fixture(scope="module")
def place(tmp_path_factory, folder):
    """A working folder with two videos, one of whose names is not ASCII, and their feature file."""
    place = tmp_path_factory.mktemp("place")
    (place / "videos").mkdir()
    shutil.copy(folder / "left.mp4", place / "videos" / f"{NAME}.mp4")
    shutil.copy(folder / "right.mp4", place / "videos" / "plain.mp4")
    ended = run(place, "extract", "videos", "-o", "feats.h5", "--clips", 1, "--engine", "torch", "-q")
    assert ended.returncode == 0, ended.stderr
    return place


def run(place, *arguments, stdout=subprocess.PIPE, **environment):
    options = {"cwd": place, "stdout": stdout, "env": os.environ | environment}
    if "LC_ALL" not in environment:
        return commands.run(*arguments, **options, text=False)
    command = [sys.executable, "-m", "p3dfeat", *map(str, arguments)]  # Python reads it as it starts
    return subprocess.run(command, **options, stderr=subprocess.PIPE, timeout=120, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_table_on_a_terminal_of_ascii_shows_the_rest_escaped(place, name):
    ended = run(place, *COMMANDS[name], PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr
    assert b"Traceback" not in ended.stderr
    text = ended.stdout.decode("ascii")
    assert text.strip()
    assert (r"vid\xe9o_\u65e5\u672c" in text) == (name in NAMING)
    assert r"\u25" not in text  # what the table itself draws is replaced


@pytest.mark.parametrize("name", COMMANDS)
def test_lines_in_a_pipe_end_at_their_last_character(place, name):
    lines = run(place, *COMMANDS[name]).stdout.decode().splitlines()
    assert any("  " in line for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []


def test_nothing_is_cut_in_a_pipe_however_long_it_is(place, tmp_path):
    label = "x" * 4000
    (tmp_path / "list.csv").write_text(f"path,label\n{place / 'videos' / 'plain.mp4'},{label}\n")
    output = tmp_path / "feats.h5"
    ended = run(place, "extract", tmp_path / "list.csv", "-o", output, "--clips", 1, "--engine", "torch")
    assert ended.returncode == 0, ended.stderr
    assert run(place, "info", output).stdout.decode().splitlines()[-1].endswith(f"  {label}")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"},
    ],
    ids=lambda environment: " ".join(f"{name}={value}" for name, value in environment.items()),
)
def test_what_an_encoding_has_is_shown_and_columns_stay_in_line(place, environment):
    ended = run(place, *COMMANDS["extract --dry-run"], **environment)
    assert ended.returncode == 0, ended.stderr
    head, *rows = ended.stdout.decode("latin-1").splitlines()[:3]
    assert rows[0].startswith("plain")
    assert all(row.index(" s ") < head.index("frames") <= row.index("40") for row in rows)
    assert {row.index("40") for row in rows} == {head.index("frames")}
    if environment.get("PYTHONIOENCODING") == "latin-1":
        assert rows[1].startswith(r"vidéo_\u65e5\u672c")


def test_bars_are_drawn_in_ascii_where_there_is_nothing_else(place):
    bars = [run(place, *COMMANDS["classify"], PYTHONIOENCODING=encoding).stdout for encoding in ("ascii", "utf-8")]
    assert bars[0].count(b"#") == bars[1].decode().count("█") > 20


@pytest.mark.parametrize("name", [*COMMANDS, "help", "help of a command"])
def test_a_reader_that_has_gone_ends_a_table_quietly_as_sigpipe_would(place, name):
    helps = {"help": ("--help",), "help of a command": ("extract", "--help")}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = run(place, *(COMMANDS | helps)[name], stdout=writer)
    finally:
        os.close(writer)
    said = b"labels: mean over 20 evenly spaced clips; timeline: one clip every 16 frames\n"
    assert (ended.returncode, ended.stderr) == (141, said if "--timeline" in name else b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(place, encoding):
    ended = run(place, "info", "feats.h5", "--json", PYTHONIOENCODING=encoding)
    assert ended.returncode == 0, ended.stderr
    records = [json.loads(line) for line in ended.stdout.decode(encoding).splitlines()]
    assert [record.get("id") for record in records] == ["plain", NAME, None]
    assert ("日本" in ended.stdout.decode(encoding)) == (encoding == "utf-8")


def test_json_steers_no_terminal_and_says_what_it_said(place):
    name = "gpj.\u202e\u2066\x9b\u2028.mp4"
    ended = run(place, "extract", name, "-o", "none.h5", "--json", PYTHONIOENCODING="utf-8")
    (line, *_) = ended.stdout.decode().split("\n")
    assert line.isprintable()
    assert json.loads(line)["id"] == name


def test_json_has_null_for_what_is_no_number(capsys):
    out.json({"event": "video", "means": np.array([1.0, np.nan]), "rate": float("inf")})
    assert capsys.readouterr().out == '{"event": "video", "means": [1.0, null], "rate": null}\n'
