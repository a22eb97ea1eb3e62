"""Damaged files: none ends the run, none hangs, and none is read as whole where that can be known."""

from collections import Counter
from pathlib import Path

from stress import judging
from stress.fuzz import Files, fuzz
from stress.readers import DIES, WAITS, Outcome, Readers
from stress.seeds import SEEDS, write_seed

SEED = 20
COUNT = 300


def test_of_300_damaged_files_each_is_refused_or_read_right():
    findings = list(fuzz(SEED, range(COUNT), jobs=2, timeout_seconds=20))
    assert sorted(finding.number for finding in findings) == list(range(COUNT))
    faults = [str(finding) for finding in findings if finding.verdict in judging.FAULTS]
    assert faults == []
    counts = Counter(finding.verdict for finding in findings)
    assert counts[judging.REFUSED] > COUNT // 3
    assert counts[judging.SAME] > 0


def test_a_file_can_be_made_again(tmp_path):
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(Files(tmp_path / name, SEED).make(7))
    assert made[0] == made[1]


def test_a_reader_that_hangs_or_dies_costs_one_file(tmp_path):
    whole = write_seed(tmp_path / "v.avi", SEEDS[[seed.name for seed in SEEDS].index("mjpeg.avi")])
    found = {}
    with Readers(1, timeout_seconds=3) as readers:
        for path, outcome in readers.read([whole, Path(DIES), whole, Path(WAITS), whole]):
            found.setdefault(str(path), []).append(outcome.kind)
    assert found == {str(whole): ["read"] * 3, DIES: ["crashed"], WAITS: ["hung"]}


def test_frames_that_are_missing_need_a_rule():
    times = [(n / 25, (n + 1) / 25, str(n)) for n in range(30)]
    whole = Outcome("read", frames=tuple(times))
    seeds = {seed.container: seed for seed in SEEDS}
    cases = [
        ("mp4", times[:20] + times[21:], judging.UNEXPLAINED),
        ("avi", times[:29], judging.UNEXPLAINED),
        ("avi", times[12:], judging.LATER),
        ("mpegts", times[:20], judging.UNCOUNTED),
        ("mpegts", [(a, b, "?") for a, b, _ in times[:20]], judging.UNEXPLAINED),
        ("mp4", times[5:20], judging.UNEXPLAINED),
        ("flv", [(a + 0.01 * (n % 2), b, c) for n, (a, b, c) in enumerate(times)], judging.OTHER_TIMES),
        ("flv", [(a + 0.01 * (n % 2), b, "?") for n, (a, b, _) in enumerate(times)], judging.UNEXPLAINED),
        ("mp4", [(a, b, "?") for a, b, _ in times], judging.OTHER_PIXELS),
        ("mp4", [(2 * a, 2 * b, c) for a, b, c in times], judging.OTHER_CLOCK),
        ("avi", [(a + 0.01 * (n % 2), b, c) for n, (a, b, c) in enumerate(times)], judging.UNEXPLAINED),
    ]
    for container, frames, expected in cases:
        assert judging.verdict(Outcome("read", frames=tuple(frames)), whole, seeds[container]) == expected, container
    less_one = Outcome("read", frames=tuple(times[:20] + times[21:]))
    by_name = {seed.name: seed for seed in SEEDS}
    for name, expected in [("vp8.ivf", judging.MISLAID), ("vp9.ivf", judging.UNEXPLAINED)]:
        assert judging.verdict(less_one, whole, by_name[name]) == expected, name


def test_a_stretch_of_an_mp4_needs_a_change_of_what_its_edit_list_says(tmp_path):
    mp4 = next(seed for seed in SEEDS if seed.container == "mp4")
    frames = [(n / 25, (n + 1) / 25, str(n)) for n in range(30)]
    whole = Outcome("read", frames=tuple(frames))
    moved = [(a - 0.21, b - 0.21, c) for a, b, c in frames[5:20]]
    for shown, edited, expected in [
        (moved, True, judging.EDITED),
        (moved, False, judging.UNEXPLAINED),
        (frames[:3] + frames[7:], True, judging.UNEXPLAINED),
        ([(a, b, "?") for a, b, _ in moved], True, judging.UNEXPLAINED),
    ]:
        assert judging.verdict(Outcome("read", frames=tuple(shown)), whole, mp4, edited=edited) == expected
    data = write_seed(tmp_path / "v.mp4", mp4).read_bytes()
    place = data.index(b"elst") + 15
    assert judging.edits(data) != judging.edits(data[:place] + b"?" + data[place + 1 :])
    assert judging.edits(data) == judging.edits(data.replace(b"stts", b"????"))


def test_a_reader_that_crashes_is_a_fault():
    faults = {judging.CRASHED, judging.HUNG, judging.BUG, judging.UNEXPLAINED, judging.REFUSED_WHOLE}
    assert faults == set(judging.FAULTS)


def test_a_remark_explains_missing_frames_and_whole_frames_must_not_be_refused():
    frames = tuple((n / 25, (n + 1) / 25, str(n)) for n in range(30))
    whole = Outcome("read", frames=frames)
    mp4 = next(seed for seed in SEEDS if seed.container == "mp4")
    assert judging.verdict(Outcome("read", frames=frames[:20], remarks=("a remark",)), whole, mp4) == judging.REMARKED
    assert judging.verdict(Outcome("read", frames=frames, remarks=("a remark",)), whole, mp4) == judging.SAME
    shown = tuple(checksum for _, _, checksum in frames)
    assert judging.verdict(Outcome("refused", "why", shown=shown), whole, mp4) == judging.REFUSED_WHOLE
    assert judging.verdict(Outcome("refused", "why", shown=shown[:-1]), whole, mp4) == judging.REFUSED
