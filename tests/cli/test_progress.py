"""How far a run is, and how it is shown."""

import re
import shutil

import numpy as np
import pytest

import p3dfeat as package
from p3dfeat.cli import progress
from p3dfeat.cli.output import Log, out
from p3dfeat.cli.tally import Tally, duration
from p3dfeat.errors import OutputError
from p3dfeat.types import Features, Video
from p3dfeat.workflows.extract import ToDo, VideoDone
from p3dfeat.workflows.pipeline import Described, Started
from tests.videos import Coding, panning_frames, write_video


def video(number: int) -> Video:
    return Video(f"v{number}", f"{number}.mp4", f"{number}.mp4")


def described(number: int, clips: int) -> Described:
    return Described(
        video(number),
        Features({"pool5": np.zeros((clips, 1), np.float32)}, np.zeros((clips, 2)), np.zeros(clips, np.int64)),
    )


def stored(number: int, clips: int) -> VideoDone:
    return VideoDone(f"v{number}", f"{number}.mp4", "stored", clips)


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def tally(clock):
    return Tally(lambda: clock[0])


def shown(tally: Tally) -> tuple[str, str, int]:
    return tally.videos_text(), tally.clips_text(), tally.failed


def test_videos_not_yet_opened_are_taken_to_be_like_the_ones_that_were(tally):
    tally(ToDo(4))
    tally(Started(video(0), 10))
    tally(described(0, 4))
    assert shown(tally) == ("0/4 videos", "4/~40 clips", 0)
    tally(Started(video(1), 30))
    tally(described(0, 6))
    tally(stored(0, 10))
    assert shown(tally) == ("1/4 videos", "10/~80 clips", 0)


def test_one_long_video_at_the_beginning_does_not_stand_for_the_others(tally):
    """A file of 59 MB in 2,212 clips, then 33 of 0.5 MB: 2,880 clips, not 75,208."""
    sizes = {"v0": 59_000_000} | {f"v{number}": 540_000 for number in range(1, 34)}
    tally(ToDo(34, sizes))
    tally(Started(video(0), 2212))
    assert tally.is_estimate
    assert tally.total == pytest.approx(2880, rel=0.01)


def test_with_evenly_spaced_clips_the_total_is_known_from_the_start(tally):
    tally(ToDo(7, clips_per_video=20))
    assert shown(tally) == ("0/7 videos", "0/140 clips", 0)
    tally(Started(video(0), 20))
    tally(described(0, 20))
    assert shown(tally) == ("0/7 videos", "20/140 clips", 0)


def test_inputs_that_failed_or_were_stored_before_the_run_are_no_part_of_it(tally):
    tally(VideoDone("x", "x.mp4", "failed", error="no such file"))
    tally(VideoDone("y", "y.mp4", "skipped"))
    tally(ToDo(2))
    assert shown(tally) == ("0/2 videos", "0/~0 clips", 1)
    tally(Started(video(0), 10))
    assert shown(tally)[1] == "0/~20 clips"


def test_videos_that_fail_to_open_are_expected_no_more(tally):
    tally(ToDo(3, {"v0": 100, "v1": 100, "v2": 100}))
    tally(Started(video(0), 10))
    tally(described(0, 10))
    tally(stored(0, 10))
    assert tally.total == 30
    for number in (1, 2):
        tally(VideoDone(f"v{number}", f"{number}.mp4", "failed", error="no video stream"))
    assert shown(tally) == ("3/3 videos", "10/10 clips", 2)


def test_a_video_that_is_begun_again_counts_once(tally):
    tally(ToDo(1))
    tally(Started(video(0), 10))
    tally(described(0, 6))
    tally(Started(video(0), 8, again=True))
    assert shown(tally) == ("0/1 video", "0/8 clips", 0)


def test_videos_not_yet_opened_have_the_clips_that_a_sample_lets_expect(tally):
    tally(ToDo(3, {"v0": 100, "v1": 100, "v2": 100}, None, {"v0": 10.0, "v1": 30.5, "v2": 60.2}))
    assert tally.total == 101
    tally(Started(video(0), 12))
    assert shown(tally)[1] == "0/~103 clips"
    tally(VideoDone("v2", "2.mp4", "failed", error="no video stream"))
    assert tally.total == 42
    tally(Started(video(1), 31))
    assert shown(tally)[1] == "0/43 clips"


def test_rate_and_time_left_do_not_count_the_time_before_the_first_clips(tally, clock):
    tally(ToDo(10, clips_per_video=20))
    assert (tally.clips_per_second, tally.seconds_left) == (0.0, None)
    clock[0] = 100.0  # to load the network
    for number in range(3):
        tally(Started(video(number), 20))
        clock[0] += 5
        tally(described(number, 20))
        tally(stored(number, 20))
    assert tally.clips_per_second == 4.0
    assert tally.seconds_left == 35.0
    assert tally.line() == "3/10 videos, 60/200 clips, 4.0 clips/s, about 35 s left"


def test_rate_and_time_left_are_of_the_latter_half_of_the_run(tally, clock):
    """A slow beginning, such as one long video of high resolution, is soon forgotten; memory stays small."""
    tally(ToDo(1, clips_per_video=6000))
    tally(Started(video(0), 6000))
    for seconds in (1.0, 0.1):
        for _ in range(1000):
            clock[0] += seconds
            tally(described(0, 1))
    clock[0] += 200
    tally(described(0, 2000))
    assert clock[0] == pytest.approx(1300)
    assert tally.clips_per_second == pytest.approx(3350 / 650, rel=0.02)
    assert len(tally._past) < 300


@pytest.fixture(scope="module")
def two_codings(tmp_path_factory):
    """Videos of one length; those that come later need far more bytes."""
    folder = tmp_path_factory.mktemp("two_codings")
    frames = list(panning_frames(48, pixels_a_frame=2))
    for quality, name in (("30", "a"), ("5", "b")):
        coding = Coding(options={"crf": quality, "preset": "ultrafast"})
        write_video(folder / f"{name}.mp4", frames, coding=coding)
        for number in range(12):
            shutil.copy(folder / f"{name}.mp4", folder / f"{name}{number:02}.mp4")
        (folder / f"{name}.mp4").unlink()
    return folder


def test_the_total_is_known_before_a_run_though_bit_rates_differ(two_codings, tmp_path):
    tally, totals = Tally(), []

    def watch(event):
        tally(event)
        totals.append(tally.total)

    options = {"model": "p3d-camera", "engine": "torch", "clip_stride": 8, "on_event": watch}
    summary = package.extract(two_codings, tmp_path / "f.h5", **options)
    sizes = [path.stat().st_size for path in two_codings.iterdir()]
    assert max(sizes) > 2 * min(sizes)
    assert all(total == pytest.approx(summary.clips, rel=0.2) for total in totals if total)
    assert totals[-1] == summary.clips


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (89, "89 s"), (100, "2 min"), (11_100, "3 h 05 min")])
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_there_is_a_line_with_the_time_now_and_then(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.02)
    monkeypatch.setattr(out, "log", Log(str(tmp_path / "run.log")))
    with progress.progress_bar() as show:
        show(ToDo(2, clips_per_video=20))
        show(Started(video(0), 20))
        show(described(0, 20))
        show(stored(0, 20))
        said = ""
        while said.count("\n") < 2:
            said += capfd.readouterr().err
    for lines in (said, (tmp_path / "run.log").read_text()):
        pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 1/2 videos, 20/40 clips, [\d.]+ clips/s, about .* left"
        assert re.fullmatch(pattern, lines.splitlines()[-1])


def test_a_log_takes_what_is_said_after_what_it_holds_and_is_no_other_file(p3dfeat, folder, tmp_path):
    log = tmp_path / "run.log"
    output = tmp_path / "feats.h5"
    arguments = ("extract", folder / "left.mp4", "-o", output, "--clips", 1)
    assert p3dfeat(*arguments, "--log", log, "-q").stderr == ""
    assert p3dfeat(*arguments, "--log", log).stderr == f"{output}: nothing to do: 1 already stored\n"
    first, second = log.read_text().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d .*feats.h5: 1 stored, 0 skipped, 0 failed; 1 clip in", first)
    assert second.endswith("nothing to do: 1 already stored")
    before = output.read_bytes()
    ended = p3dfeat(*arguments, "--log", output)
    assert (ended.code, ended.stderr) == (
        2,
        f"p3dfeat: {output}: not a log of p3dfeat; choose another name for --log\n",
    )
    assert output.read_bytes() == before
    with pytest.raises(OutputError, match="cannot be written"):
        Log(str(tmp_path / "missing" / "run.log"))


def test_a_log_that_cannot_be_written_ends_and_the_command_goes_on(p3dfeat, folder, tmp_path, monkeypatch):
    def full(self, data):
        raise OutputError("run.log: cannot be written (No space left on device)")

    monkeypatch.setattr(Log, "add", full)
    ended = p3dfeat("extract", folder / "left.mp4", "-o", tmp_path / "f.h5", "-n", 1, "--log", tmp_path / "run.log")
    assert ended.code == 0
    first, second = ended.stderr.splitlines()
    assert first == "warning: run.log: cannot be written (No space left on device); the log ends here"
    assert "1 stored" in second
    ended = p3dfeat("extract", tmp_path / "missing", "-o", tmp_path / "g.h5", "--log", tmp_path / "run.log")
    assert ended.code in (2, 4)
    assert ended.stderr.count("the log ends here") == 1


def test_files_that_were_tried_and_are_no_videos_are_expected_no_more(tally):
    tally(ToDo(3, {"v0": 100, "v1": 100, "v2": 100}))
    tally(Started(video(0), 10))
    tally(described(0, 10))
    tally(stored(0, 10))
    for number in (1, 2):
        tally(VideoDone(f"v{number}", f"{number}.txt", "left_out"))
    assert shown(tally) == ("3/3 videos", "10/10 clips", 0)
