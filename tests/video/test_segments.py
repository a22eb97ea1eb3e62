"""Segments: counted from the first frame or by the file's clock, however short, and listed once for all of a file."""

from fractions import Fraction

import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video import Decoders, read_clips
from p3dfeat.video.reading import clips as clips_module
from p3dfeat.video.reading.clips import LastIndex
from tests.videos import CODINGS, Coding, number_of, numbered_frames, numbered_video, write_video

SPEC = InputSpec(resize=(96, 128))
ONE = Sampling(clips=1, length=2)


@pytest.fixture(scope="module")
def late(tmp_path_factory) -> str:
    """100 frames at 25 a second in MPEG-TS, whose clock begins at 1.4 s."""
    path = tmp_path_factory.mktemp("late") / "v.ts"
    ticks = [35 + number for number in range(100)]
    coding = CODINGS["h264 in MPEG-TS"]
    return str(write_video(path, numbered_frames(100), coding=coding, ticks=ticks, time_base=Fraction(1, 25)))


def numbers(path: str, start: float | None, end: float | None, origin: str, sampling: Sampling = ONE) -> list[int]:
    video = Video("v", path, path, start, end, origin)
    clips = [item for item in read_clips(video, SPEC, sampling) if isinstance(item, Clip)]
    return [number_of(frame) for clip in clips for frame in clip.frames]


def test_segments_count_from_the_first_frame_or_by_the_clock(late):
    whole = next(i for i in read_clips(Video("v", late, late), SPEC, ONE) if isinstance(i, Clip))
    first = whole.start_seconds - number_of(whole.frames[0]) / 25
    assert first > 1
    assert numbers(late, 2.0, 2.08, "first-frame") == [50, 51]
    assert numbers(late, 2.0 + first, 2.08 + first, "clock") == [50, 51]
    assert numbers(late, None, 0.08, "first-frame") == [0, 1]
    with pytest.raises(VideoError, match=r"no frame from 0 to 0.5 s"):
        numbers(late, 0.0, 0.5, "clock")


def test_rows_are_timed_by_the_clock_whatever_segments_are_counted_from(late):
    clips = [
        next(i for i in read_clips(Video("v", late, late, *segment), SPEC, ONE) if isinstance(i, Clip))
        for segment in ((2.0, 2.08, "first-frame"), (3.4, 3.48, "clock"))
    ]
    assert clips[0].start_seconds == clips[1].start_seconds == pytest.approx(3.4, abs=0.01)


def test_an_unknown_origin_is_refused():
    with pytest.raises(UsageError, match="segment origin 'end': unknown; known are first-frame, clock"):
        Video("v", "v", "v", 0.0, 1.0, "end")


def test_a_segment_shorter_than_a_frame_is_the_frame_on_screen(late):
    assert numbers(late, 2.01, 2.02, "first-frame") == [50, 50]


def test_a_file_is_listed_once_for_segments_that_follow_each_other(numbered, tmp_path, monkeypatch):
    listed = []
    original = clips_module.index_video

    def counting(path, findings, **how):
        listed.append(path)
        return original(path, findings, **how)

    monkeypatch.setattr(clips_module, "index_video", counting)
    other = str(numbered_video(tmp_path / "other.mp4", 60))
    indexes, found = LastIndex(), []
    for path, start in [(str(numbered), n / 2) for n in range(8)] + [(other, 1.0), (str(numbered), 1.0)]:
        items = read_clips(Video("v", path, path, start, start + 0.2), SPEC, ONE, indexes=indexes)
        found.append(next(number_of(item.frames[0]) for item in items if isinstance(item, Clip)))
    assert found[:8] == [1, 14, 26, 39, 51, 64, 76, 89]
    assert listed == [str(numbered), other, str(numbered)]


def test_a_file_that_changed_is_listed_again(tmp_path):
    path = numbered_video(tmp_path / "v.mp4", 60)
    indexes, found = LastIndex(), []
    for count in (60, 90):
        numbered_video(path, count)
        items = list(read_clips(Video("v", str(path), "v"), SPEC, Sampling(clips=2, length=1), indexes=indexes))
        found.append(number_of(items[2].frames[0]))
    assert found == [59, 89]


def test_what_begins_again_in_a_decoder_process_is_told_once(tmp_path):
    """A list of keyframes that names another picture is found out in the middle of a video."""
    coding = Coding("mpeg4", ".mp4", options={"g": "100", "sc_threshold": "1000000000", "qmin": "2", "qmax": "5"})
    path = numbered_video(tmp_path / "v.mp4", 250, coding=coding)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"stss") + 16
    assert int.from_bytes(data[second : second + 4], "big") == 101
    data[second : second + 4] = (161).to_bytes(4, "big")
    path.write_bytes(data)
    sampling, found = Sampling(clips=5, length=2), []
    with Decoders(1) as decoders:
        for _, item in decoders.read([Video("v", str(path), "v")], SPEC, sampling):
            found.append(number_of(item.frames[0]) if isinstance(item, Clip) else item)
    starts = [place for place, item in enumerate(found) if isinstance(item, VideoStart)]
    assert [found[place].again for place in starts] == [False, True]
    assert found[starts[1] + 1 : -1] == [0, 62, 124, 186, 248]
    assert isinstance(found[-1], VideoEnd)
