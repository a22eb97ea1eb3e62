"""The table that all benchmarks share."""

import json
import platform

from benchmarks.table import Row, alternate, machine, median, write


def test_rows_are_merged_by_measure_and_the_others_stay(tmp_path):
    write([Row("speed", "2x", "1x", False, {"seconds": [1.0, 2.0]}), Row("memory", "1 GB", "0.5 GB", True)], tmp_path)
    write([Row("speed", "2x", "3x", True, {"seconds": [0.5]}), Row("start", "1 s", "not tried", None)], tmp_path)
    entries = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [(entry["measure"], entry["reached"], entry["passed"]) for entry in entries] == [
        ("speed", "3x", True),
        ("memory", "0.5 GB", True),
        ("start", "not tried", None),
    ]
    assert entries[0]["details"] == {"seconds": [0.5]}


def test_the_markdown_has_a_line_for_each_measure(tmp_path):
    write([Row("a|b", "2x", "1x", False), Row("c", "1", "1", True), Row("d", "1", "-", None)], tmp_path)
    lines = (tmp_path / "RESULTS.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("| ")][1:] == [
        "| a\\|b | 2x | 1x | **no** |",
        "| c | 1 | 1 | yes |",
        "| d | 1 | - | not measured |",
    ]


def test_rows_of_another_machine_are_told_apart(tmp_path):
    write([Row("a", "1", "1", True)], tmp_path)
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace(machine(), "8 cores of another"))
    write([Row("b", "1", "1", True)], tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.index("On 8 cores of another") < text.index("| a |") < text.index(f"On {machine()}") < text.index("| b")


def test_the_machine_is_described_without_its_name():
    assert " cores of " in machine()
    assert "torch " in machine()
    assert platform.node() not in machine()


def test_sides_take_turns_and_the_first_rounds_can_go_uncounted():
    order = []
    seconds = alternate({name: lambda name=name: order.append(name) for name in "ab"}, 2, uncounted=1)
    assert order == list("ababab")
    assert {name: len(found) for name, found in seconds.items()} == {"a": 2, "b": 2}
    assert median([3.0, 1.0, 2.0, 10.0]) == 2.5
