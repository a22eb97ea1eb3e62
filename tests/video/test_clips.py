"""Clips of whole files: their times, odd rates, segments, short files, and files that are broken or no videos."""

import gc
import tracemalloc
from contextlib import nullcontext
from fractions import Fraction

import av
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video
from p3dfeat.video import index_video, read_clips
from p3dfeat.video.reading import decode as decode_module
from tests.users import as_ordinary_user
from tests.videos import CODINGS, Coding, number_of, numbered_frames, numbered_video, settled, write_audio, write_video

SPEC = InputSpec(channels="luma", resize=(96, 128))
MILLISECONDS = Fraction(1, 1000)


def read(path, sampling: Sampling, **segment) -> list[Clip]:
    start, *clips, _end = settled(read_clips(Video("v", str(path), "v", **segment), SPEC, sampling))
    assert start.num_clips == len(clips)
    return clips


def numbers(clip: Clip) -> list[int]:
    return [number_of(frame) for frame in clip.frames]


def test_clip_times_are_those_of_its_frames(numbered):
    clips = read(numbered, Sampling(clips=None, stride=16))
    assert [(c.start_seconds, c.end_seconds) for c in clips[:2]] == [
        (pytest.approx(0.0), pytest.approx(0.64)),
        (pytest.approx(0.64), pytest.approx(1.28)),
    ]
    assert clips[-1].end_seconds == pytest.approx(6.0)
    assert clips[-1].padded_frames == 10


def test_a_variable_frame_rate_gives_the_files_own_times(tmp_path):
    gaps = np.random.default_rng(3).integers(10, 300, 60)
    ticks = np.concatenate([[0], np.cumsum(gaps)[:-1]]).tolist()
    path = write_video(
        tmp_path / "v.mkv",
        numbered_frames(60),
        coding=Coding(suffix=".mkv"),
        ticks=ticks,
        time_base=MILLISECONDS,
    )
    assert np.allclose(index_video(str(path)).seconds, np.array(ticks) / 1000)
    clips = read(path, Sampling(clips=None, stride=16))
    for clip in clips:
        first, last = numbers(clip)[0], numbers(clip)[-1 - clip.padded_frames]
        assert clip.start_seconds == pytest.approx(ticks[first] / 1000)
        if last < 59:
            assert clip.end_seconds == pytest.approx(ticks[last + 1] / 1000)


def test_resampling_a_variable_frame_rate_takes_the_frame_on_screen(tmp_path):
    ticks = [0, 100, 200, 1200, 1300, 1400]
    path = write_video(
        tmp_path / "v.mkv", numbered_frames(6), coding=Coding(suffix=".mkv"), ticks=ticks, time_base=MILLISECONDS
    )
    (clip,) = read(path, Sampling(clips=1, length=7, fps=5))
    assert numbers(clip) == [0, 2, 2, 2, 2, 2, 3]


@pytest.mark.parametrize(("fps", "step"), [(25.0, 1), (12.5, 2), (5.0, 5)])
def test_resampling_to_a_fraction_of_the_rate_takes_every_nth_frame(numbered, fps, step):
    clips = read(numbered, Sampling(clips=None, stride=16, fps=fps))
    assert numbers(clips[0]) == list(range(0, 16 * step, step))


def test_resampling_writes_no_files(numbered, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    read(numbered, Sampling(clips=3, fps=7))
    assert list(tmp_path.iterdir()) == []


def test_a_late_start_keeps_the_files_own_clock(tmp_path):
    ticks = [5000 + 40 * n for n in range(30)]
    path = write_video(
        tmp_path / "v.mkv", numbered_frames(30), coding=Coding(suffix=".mkv"), ticks=ticks, time_base=MILLISECONDS
    )
    (clip,) = read(path, Sampling(clips=1))
    assert numbers(clip) == list(range(7, 23))
    assert clip.start_seconds == pytest.approx(5.28)


def test_a_segment_is_read_exactly(numbered):
    clips = read(numbered, Sampling(clips=None, stride=16), start_seconds=2.0, end_seconds=3.28)
    assert [numbers(c) for c in clips] == [list(range(50, 66)), list(range(66, 82))]


def test_a_short_video_repeats_its_last_frame(tmp_path):
    path = numbered_video(tmp_path / "v.mp4", 5)
    clips = read(path, Sampling(clips=2))
    assert [numbers(c) for c in clips] == [[0, 1, 2, 3] + [4] * 12] * 2
    assert [c.padded_frames for c in clips] == [11, 11]


def test_a_single_frame_is_a_video(tmp_path):
    (clip,) = read(numbered_video(tmp_path / "v.mp4", 1), Sampling(clips=1))
    assert (numbers(clip), clip.padded_frames, clip.start_seconds) == ([0] * 16, 15, 0.0)
    assert clip.end_seconds > 0


def test_overlapping_clips_share_their_frames_in_memory_not_the_video(tmp_path):
    path = numbered_video(tmp_path / "v.mp4", 600)
    peaks = []
    for last in (100, 600):
        gc.collect()
        tracemalloc.start()
        items = read_clips(Video("v", str(path), "v", end_seconds=last / 25), SPEC, Sampling(clips=None, stride=4))
        for _ in items:
            continue
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_frames_with_unannounced_timestamps_are_counted_instead(numbered, monkeypatch):
    """Should a container's packets not tell the frames' times, the same frames still come."""
    expected = [numbers(c) for c in read(numbered, Sampling(clips=5))]
    original = decode_module.FrameReader._number

    def unsure(self, frame):
        if self._index.numbers is not None and frame.pts > 60:
            raise decode_module.DoubtError
        return original(self, frame)

    monkeypatch.setattr(decode_module.FrameReader, "_number", unsure)
    assert [numbers(c) for c in read(numbered, Sampling(clips=5))] == expected


class Seeking:
    """A container whose seeks land elsewhere: ``land`` turns the place in ``keys`` asked for into another, or -1."""

    def __init__(self, container, index, land):
        self._container, self._keys, self._land = container, index.timestamps[index.keyframes], land

    def seek(self, offset, *, stream):
        place = self._land(int(np.searchsorted(self._keys, offset)))
        self._container.seek(int(self._keys[min(max(place, 0), len(self._keys) - 1)]), stream=stream)

    def demux(self, stream):
        return self._container.demux(stream)


@pytest.mark.parametrize(
    ("land", "most_decoded"),
    [
        (lambda place: place, 120),
        (lambda place: place + 1 if place else 0, 200),  # a keyframe too late, as formats indexed by decoding time do
        (lambda place: 10**6 if place else 0, 600),  # at the last keyframe, but for the very beginning
        (lambda place: 0, 510),  # always at the beginning, as where there is no index
    ],
    ids=["exact", "late", "last", "first"],
)
def test_wherever_a_seek_lands_the_frames_are_the_ones_asked_for(tmp_path, land, most_decoded):
    path = numbered_video(tmp_path / "v.mp4", 400, coding=CODINGS["h264 with B-frames"])
    index = index_video(str(path))
    wanted = [100, 101, 230, 399]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        reader = decode_module.FrameReader(Seeking(container, index, land), stream, index, np.array(wanted))
        found = [number_of(frame.to_ndarray(format="rgb24")) for _, frame in reader]
    assert found == wanted
    assert reader.decoded <= most_decoded


def cut_without_reencoding(source, target, *, first: int, shown_from: int) -> None:
    """Packets of ``source`` from decoding time ``first``, on a clock that is 0 at frame ``shown_from``."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None and packet.dts >= 512 * first:
                packet.stream = stream
                packet.pts -= 512 * shown_from
                packet.dts -= 512 * shown_from
                part.mux(packet)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_a_recording_cut_anywhere_gives_the_frames_that_players_show(tmp_path, suffix):
    """Cut mid-GOP: in MP4 with an edit list that hides frames, elsewhere with frames that cannot be decoded."""
    source = numbered_video(tmp_path / "whole.mp4", 120, coding=CODINGS["h264 with B-frames"])
    target = tmp_path / f"cut{suffix}"
    cut_without_reencoding(source, target, first=30, shown_from=45)
    with av.open(str(target)) as container:
        shown = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    shown = [n for n in shown if n >= 36] if suffix != ".mp4" else shown
    clips = read(target, Sampling(clips=None, stride=16, tail="drop"))
    found = [n for clip in clips for n in numbers(clip)]
    assert found == shown[: len(found)]
    assert len(found) >= 64
    assert [numbers(clip) for clip in read(target, Sampling(clips=3, length=2))][-1] == shown[-2:]


def test_a_video_with_sound_is_read_to_its_end(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        sound = container.add_stream("aac", rate=44100, layout="mono")
        for pixels in numbered_frames(30):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for second in range(5):  # the sound goes on when the picture has gone
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, second * 44100
            container.mux(sound.encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    assert [numbers(c) for c in read(path, Sampling(clips=1, length=30))] == [list(range(30))]


def broken(tmp_path, kind: str):
    """A file that is no whole video, and words its error must have."""
    path = tmp_path / "broken.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a video\n" * 100)
    elif kind == "audio":
        return write_audio(tmp_path / "broken.m4a")
    elif kind == "no frames":
        path = tmp_path / "broken.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            sound = container.add_stream("aac", rate=44100, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
            frame.rate = 44100
            container.start_encoding()
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    elif kind == "folder":
        path.mkdir()
    elif kind == "unreadable":
        numbered_video(path, 5).chmod(0)
    elif kind == "cut":
        whole = numbered_video(tmp_path / "whole.mp4", 60).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind.startswith("cut "):
        coding = CODINGS[kind.removeprefix("cut ")]
        path = tmp_path / f"broken{coding.suffix}"
        whole = numbered_video(tmp_path / f"whole{coding.suffix}", 60, coding=coding).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "overwritten":
        data = bytearray(numbered_video(path, 100).read_bytes())
        data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
        path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("empty", "empty file, 0 bytes"),
        ("text", "not a video"),
        ("audio", "no video stream; is it an audio file"),
        ("no frames", "no frames in its video stream"),
        ("folder", "not a video"),
        ("unreadable", "not readable; check its permissions"),
        ("cut", r"its index \(moov\) is missing"),
        ("cut h264, open GOPs, in Matroska", "cut off"),
        ("cut vp9 with hidden frames", "cut off"),
        ("cut mjpeg", "cut off"),
        ("overwritten", r"damaged: frame \d+ at [\d.]+ s"),
    ],
)
def test_what_is_no_whole_video_is_refused_in_one_line(tmp_path, kind, message):
    path = broken(tmp_path, kind)
    user = as_ordinary_user() if kind == "unreadable" else nullcontext()
    with user, pytest.raises(VideoError, match=message) as caught:
        read(path, Sampling(clips=None, stride=16))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)  # whoever reports it names the file


def test_names_that_look_like_protocols_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbered_video(tmp_path / "plain.mp4", 20).rename(tmp_path / "concat:a|b.mp4")
    assert len(read("concat:a|b.mp4", Sampling(clips=1))) == 1


def test_real_videos_are_read_whole(real_clips):
    for path in sorted(real_clips.iterdir()):
        index = index_video(str(path))
        clips = read(path, Sampling(clips=None, stride=16))
        assert len(clips) == -(-len(index) // 16), path.name
        assert clips[0].start_seconds == index.seconds[0]
        assert clips[-1].end_seconds == pytest.approx(index.end_seconds)
