"""A short soak: what the long one counts in a quarter of an hour, on a library of 80."""

import signal
from collections import Counter

import pytest

from stress.library import make_library
from stress.report import put_between_marks
from stress.soak import report, soak

SECONDS = 270  # far more than it takes; a test may take 300


def test_nothing_is_lost_while_runs_are_killed_and_interrupted(tmp_path):
    tally, library = soak(tmp_path, videos=80, kills=4, signals=2, sample=25, seed=5, deadline_seconds=SECONDS)
    assert tally.wrong == []
    assert tally.counts["SIGKILL"] == 4
    assert tally.counts["SIGINT"] + tally.counts["SIGTERM"] == 2
    assert tally.counts["compared with an undisturbed run"] == 25
    assert library.good.keys() <= tally.held
    assert "| SIGKILL | 4 |" in report(tally, library, 60.0)


def test_runs_heed_signals_even_where_the_soak_was_started_in_the_background(tmp_path):
    """Where they did not, each would come to its end, and nothing would be wrong."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        tally, _ = soak(tmp_path, videos=20, kills=0, signals=2, sample=5, seed=2, deadline_seconds=SECONDS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert tally.wrong == []
    assert tally.counts["SIGINT"] + tally.counts["SIGTERM"] == 2


def test_a_library_is_the_same_for_the_same_seed(tmp_path):
    libraries = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        libraries.append(make_library(tmp_path / name, 40, broken_share=0.3, seed=2))
    assert libraries[0].good == libraries[1].good
    assert len(Counter(libraries[0].broken.values())) > 3
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 40
    assert len({path.read_bytes() for path in files if path.stat().st_size > 500}) > 30  # no two whole ones are equal
    for path in files:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_results_go_between_their_marks_and_nowhere_else(tmp_path):
    page = tmp_path / "reliability.md"
    page.write_text("before\n<!-- soak: begin -->\nold\n<!-- soak: end -->\nafter\n")
    put_between_marks("soak", "new", page)
    assert page.read_text() == "before\n<!-- soak: begin -->\nnew\n<!-- soak: end -->\nafter\n"
    with pytest.raises(ValueError, match="fuzz: begin"):
        put_between_marks("fuzz", "new", page)
    assert "new" in page.read_text()
