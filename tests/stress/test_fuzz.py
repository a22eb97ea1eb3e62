"""Damaged files: none ends the run, none hangs, and none is read as whole where that can be known."""

from collections import Counter

from stress import judging
from stress.fuzz import fuzz

SEED = 20
COUNT = 300


def test_of_300_damaged_files_each_is_refused_or_read_right():
    findings = list(fuzz(SEED, range(COUNT), jobs=2, timeout_seconds=20))
    assert sorted(finding.number for finding in findings) == list(range(COUNT))
    faults = [str(finding) for finding in findings if finding.verdict in (judging.BUG, judging.HUNG)]
    assert faults == []
    counts = Counter(finding.verdict for finding in findings)
    assert counts[judging.REFUSED] > COUNT // 3
    assert counts[judging.SAME] > 0
