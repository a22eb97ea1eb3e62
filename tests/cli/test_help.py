"""Help at 80 columns: grouped, with examples, without Python's types."""

import re

import pytest

COMMANDS = {
    "extract": ("Arguments", "Output", "Input", "Sampling", "Model", "Speed", "Robustness"),
    "classify": ("Arguments", "Input", "Sampling", "Model", "Speed", "Robustness", "Output"),
    "verify": ("Arguments", "Check", "Input", "Speed", "Output"),
    "remove": ("Arguments", "Input", "Output"),
    "info": ("Arguments", "Output"),
    "bench": ("Arguments", "Model", "Speed", "Measurement", "Output"),
    "weights convert": ("Arguments", "Output", "Model"),
}


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_in_groups_and_examples_come_last(p3dfeat, command):
    shown = p3dfeat(*command.split(), "--help")
    assert (shown.code, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert tuple(re.findall(r"^╭─ (\w+) ─", shown.stdout, re.M)) == COMMANDS[command]
    assert not re.findall(r"<\w|\[x>=", shown.stdout)
    examples = [line.strip() for line in lines[lines.index(next(line for line in lines if "Examples:" in line)) + 1 :]]
    assert all(f"p3dfeat {command}" in line for line in examples if line)
    assert sum(map(bool, examples)) >= 1


def test_the_overview_has_a_line_for_each_command(p3dfeat):
    shown = p3dfeat("--help").stdout
    for command in ("extract", "classify", "info", "verify", "remove", "doctor", "bench", "weights"):
        assert re.search(rf"^│ {command} +[A-Z]", shown, re.M)
    assert "<bool>" not in shown
    assert p3dfeat("-V").stdout == p3dfeat("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("extract", "x", "--clipz", 3), "p3dfeat extract --help"),
        (("extract", "x", "--clips"), "p3dfeat extract --help"),
        (("weights", "download"), "p3dfeat weights download --help"),
        (("extrakt",), "p3dfeat --help"),
    ],
)
def test_a_usage_error_names_the_help_that_lists_the_option(p3dfeat, arguments, where):
    ended = p3dfeat(*arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.endswith(f"; see {where}\n")


def test_values_of_options_are_completed(monkeypatch, tmp_path):
    from p3dfeat.cli import completion

    monkeypatch.chdir(tmp_path)
    (tmp_path / "p3d-mine.safetensors").write_text("")
    (tmp_path / "p3d-folder").mkdir()
    assert "p3d-camera" in completion.models("p3d-c")
    assert completion.models("p3d-m") == ["p3d-mine.safetensors"]
    assert "p3d-folder/" in completion.models("p3d-f")
    assert completion.models("nothing/x") == []
    assert completion.layers("pr") == ["prob"]
    assert completion.layers("pool5,res2") == ["pool5,res2a", "pool5,res2b"]
