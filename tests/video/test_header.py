"""A sparse plan takes the list of frames from an MP4's header: the list and the clips are those of a full reading."""

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import av
import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video import index_video, read_clips
from p3dfeat.video.containers import mp4
from tests.videos import CODINGS, Coding, number_of, numbered_video, settled, write_audio, write_video

COUNT = 400
SPEC = InputSpec(channels="luma", resize=(96, 128))
SPARSE = Sampling(clips=3, length=2)
KINDS = {
    "h264 with B-frames": CODINGS["h264 with B-frames"],
    "h264 without B-frames": Coding(options={"crf": "20", "preset": "veryfast", "g": "40", "bf": "0"}),
    "h264, open GOPs": replace(CODINGS["h264, open GOPs, in Matroska"], suffix=".mp4"),
    "h264 in MOV": replace(CODINGS["h264 with B-frames"], suffix=".mov"),
    "hevc": CODINGS["hevc"],
    "mjpeg in MOV": Coding("mjpeg", ".mov", "yuvj420p", {"qmin": "2", "qmax": "4", "threads": "1"}),
}


def anything(index):
    return True


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    coding = KINDS[request.param]
    return str(numbered_video(tmp_path_factory.mktemp("header") / f"v{coding.suffix}", COUNT, coding=coding))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return numbered_video(tmp_path_factory.mktemp("plain") / "v.mp4", COUNT, coding=KINDS["h264 with B-frames"])


def remuxed(source: Path, path: Path, **options: str) -> str:
    """A copy of a video, written by FFmpeg's muxer with these options."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return str(path)


def clips_of(path: str, sampling: Sampling = SPARSE, **options) -> tuple[list[tuple], VideoEnd]:
    """(numbers in the pixels, times, first frame) of each clip, and the end."""
    *clips, end = settled(read_clips(Video("v", path, path), SPEC, sampling, **options))[1:]
    rows = [
        ([number_of(frame) for frame in clip.frames], clip.start_seconds, clip.end_seconds, clip.first_frame)
        for clip in clips
    ]
    return rows, end


def test_the_list_is_that_of_a_full_reading(made):
    full, listed = index_video(made), index_video(made, suffices=anything)
    assert listed.from_header
    assert not full.from_header
    assert listed.info == replace(full.info, indexed="header")
    for field in fields(full):
        mine, other = getattr(listed, field.name), getattr(full, field.name)
        if field.name == "packets":
            assert mine.begin_with(replace(other, keys=mine.keys))
            assert len(mine) == len(other)
            assert not (mine.keys & ~other.keys).any()
        elif field.name == "keyframes":  # FFmpeg finds more of them in packets, which only changes where a seek leads
            assert set(mine) <= set(other)
        elif isinstance(other, np.ndarray):
            assert np.array_equal(mine, other), field.name
        elif field.name not in ("info", "from_header"):
            assert mine == other, field.name


@pytest.mark.parametrize(
    "sampling", [SPARSE, Sampling(clips=1, length=4), Sampling(clips=4, length=2, step=3)], ids=str
)
def test_the_clips_are_those_of_a_full_reading(made, sampling):
    rows, end = clips_of(made, sampling)
    assert (rows, end.info) == (clips_of(made, sampling, check="full")[0], replace(end.info, indexed="header"))
    assert all(row[0][0] == row[3] for row in rows)


def test_a_dense_plan_is_read_and_checked_as_a_whole(made):
    assert clips_of(made, Sampling(clips=None, stride=16))[1].info.indexed is None


def test_strict_and_distrustful_readings_read_all(made):
    assert clips_of(made, strict=True)[1].info.indexed is None
    assert clips_of(made, distrust=True)[1].info.indexed is None


def test_a_segment_of_a_file_is_sparse(made):
    video = Video("v", made, made, 4.0, 4.2)
    *clips, end = settled(read_clips(video, SPEC, Sampling(clips=None, length=2, stride=2)))[1:]
    assert end.info.indexed == "header"
    assert [number_of(frame) for clip in clips for frame in clip.frames][:5] == [100, 101, 102, 103, 104]


@pytest.mark.parametrize(
    "options",
    [{"movflags": "frag_keyframe+empty_moov"}, {"movflags": "frag_keyframe"}, {"movflags": "dash+global_sidx"}],
    ids=str,
)
def test_fragments_are_read_as_a_whole(plain, tmp_path, options):
    path = remuxed(plain, tmp_path / "v.mp4", **options)
    rows, end = clips_of(path)
    assert end.info.indexed is None
    assert [row[0] for row in rows] == [row[0] for row in clips_of(str(plain))[0]]


def test_an_index_at_the_beginning_serves_as_well(plain, tmp_path):
    assert clips_of(remuxed(plain, tmp_path / "v.mp4", movflags="faststart"))[1].info.indexed == "header"


def test_codings_that_hide_frames_are_read_as_a_whole(tmp_path):
    for name in ("mpeg4 with B-frames", "av1"):
        path = numbered_video(tmp_path / f"{name}.mp4", 100, coding=replace(CODINGS[name], suffix=".mp4"))
        assert clips_of(str(path), Sampling(clips=1, length=2))[1].info.indexed is None


def exchanged(path: Path, target: Path, old: bytes, new: bytes) -> str:
    """A copy of a file in which ``old`` occurs once, and is replaced."""
    content = path.read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    target.write_bytes(content.replace(old, new))
    return str(target)


def table(path: Path, kind: bytes) -> bytes:
    content = path.read_bytes()
    place = content.index(kind) - 4
    return content[place : place + int.from_bytes(content[place : place + 4], "big")]


def test_tables_that_disagree_are_no_list(plain, tmp_path):
    times = table(plain, b"stts")
    fewer = times[:16] + (COUNT - 1).to_bytes(4, "big") + times[20:]
    path = exchanged(plain, tmp_path / "v.mp4", times, fewer)
    full, listed = (index_video(path, suffices=which) for which in (None, anything))
    assert not listed.from_header
    assert full.info.remarks == listed.info.remarks != ()


def test_two_edits_are_no_list(plain, tmp_path):
    content = plain.read_bytes()
    place = content.index(b"elst") + 4
    assert content[place + 4 : place + 8] == b"\0\0\0\1"
    rows = mp4._edits(content[place : place + 20])
    assert len(rows) == 1
    with open(plain, "rb") as file:
        assert mp4.times_in_header(file, len(content), 1) is not None
    other = tmp_path / "v.mp4"
    box = content[place - 8 : place + 20]
    twice = (len(box) + 12).to_bytes(4, "big") + box[4:8] + box[8:12] + b"\0\0\0\2" + box[16:28] + box[16:28]
    sized = content.replace(box, twice)
    for parent in (b"edts", b"trak", b"moov"):
        at = sized.index(parent) - 4
        sized = sized[:at] + (int.from_bytes(sized[at : at + 4], "big") + 12).to_bytes(4, "big") + sized[at + 4 :]
    other.write_bytes(sized)
    with open(other, "rb") as file:
        assert mp4.times_in_header(file, len(sized), 1) is None


@pytest.mark.parametrize("lacking", [1, 5_000])
def test_a_file_that_was_cut_off_is_found_out(plain, tmp_path, lacking):
    whole = Path(remuxed(plain, tmp_path / "whole.mp4", movflags="faststart"))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-lacking])
    with pytest.raises(VideoError, match=r"cut off|damaged"):
        clips_of(str(cut))


@pytest.mark.parametrize("wrong", ["a time that is not wanted", "a time in a clip", "the first time", "the number"])
def test_a_header_that_lies_is_found_out_where_it_matters(plain, monkeypatch, wrong):
    """Times are checked with each packet that is read, then all are read, and the output begins again."""
    right = mp4.times_in_header
    rows, end = clips_of(str(plain))

    def lying(file, size_bytes, track):
        durations, offsets = right(file, size_bytes, track)
        offsets = offsets.copy()
        if wrong == "the number":
            return durations[:-1], offsets[:-1]
        offsets[{"the first time": 0, "a time in a clip": end.info.num_frames - 1}.get(wrong, 60)] += 1
        return durations, offsets

    monkeypatch.setattr(mp4.MP4.__class__, "__getattribute__", _with(lying))
    items = list(read_clips(Video("v", str(plain), "v"), SPEC, SPARSE))
    again = [item.again for item in items if isinstance(item, VideoStart)]
    found = [[number_of(frame) for frame in clip.frames] for clip in settled(items) if isinstance(clip, Clip)]
    assert found == [row[0] for row in rows]
    expected = {"a time that is not wanted": ([False], "header"), "a time in a clip": ([False, True], None)}
    assert (again, items[-1].info.indexed) == expected.get(wrong, ([False], None))


def _with(times):
    original = object.__getattribute__
    return lambda self, name: times if name == "times_in_header" and self.name == mp4.MP4.name else original(self, name)


def test_packets_without_a_picture_are_no_list(plain, tmp_path):
    """An H.264 sample of filler data alone."""
    filler = b"\0\0\0\x06\x0c\xff\xff\xff\xff\x80"
    path = tmp_path / "v.mp4"
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        step = packets[0].duration
        for number, packet in enumerate(packets):
            packet.stream = stream
            packet.pts, packet.dts = packet.pts + step * (number > 200), packet.dts + step * (number > 200)
            if number == 201:
                empty = av.Packet(filler)
                empty.stream, empty.time_base, empty.duration = stream, packet.time_base, step
                empty.pts = empty.dts = packet.dts - step
                new.mux(empty)
            new.mux(packet)
    assert not index_video(str(path), suffices=anything).from_header
    assert len(index_video(str(path))) == COUNT


def test_what_no_clip_needs_is_not_checked_unless_asked(plain, tmp_path):
    index = index_video(str(plain))
    place = int(np.flatnonzero(index.numbers == 60)[0])
    start, size = int(index.packets.positions[place]), int(index.packets.sizes[place])
    content = bytearray(plain.read_bytes())
    content[start + 5 : start + size] = bytes(size - 5)
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    rows, end = clips_of(str(path))
    assert (end.info.indexed, end.info.remarks) == ("header", ())
    assert rows == clips_of(str(plain))[0]


READ = """
import re, sys
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Video
from p3dfeat.video import read_clips
def told(): return int(re.search(r"rchar: (\\d+)", open("/proc/self/io").read())[1])
def read(): return list(read_clips(Video("v", sys.argv[1], "v"), InputSpec(resize=(8, 8)), Sampling(clips=2, length=2)))
read()  # and what is imported
before = told(); read(); print(told() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="needs Linux, which counts what is read")
def test_what_no_clip_needs_is_not_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 180, 320, 3), np.uint8)
    frames = (noise[number % 60] for number in range(300))
    path = write_video(
        tmp_path / "v.mp4", frames, coding=Coding(options={"crf": "20", "preset": "ultrafast", "g": "10"})
    )
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    assert path.stat().st_size > 10_000_000
    assert int(done.stdout) < 0.2 * path.stat().st_size


def test_the_feature_file_tells_how_a_video_was_indexed(plain, tmp_path):
    for check, indexed in (("read", "header"), ("full", None)):
        output = tmp_path / f"{check}.h5"
        p3dfeat.extract(plain, output, model="p3d-camera", clips=1, check=check)
        with h5py.File(output) as file:
            assert file["v"].attrs.get("indexed") == indexed
    features = [p3dfeat.open_features(tmp_path / f"{check}.h5")["v"].pooled for check in ("read", "full")]
    assert np.array_equal(*features)
    report = p3dfeat.verify(tmp_path / "read.h5", against=plain, recompute="all")
    assert (report.is_sound, report.identical, report.remarks) == (True, 1, ())


def test_sound_beside_the_video_does_no_harm(plain, tmp_path):
    sound = write_audio(tmp_path / "sound.m4a")
    path = tmp_path / "both.mp4"
    with av.open(str(plain)) as old, av.open(str(sound)) as tones, av.open(str(path), "w") as new:
        pairs = [(source.streams[0], new.add_stream_from_template(source.streams[0])) for source in (old, tones)]
        for source, stream in pairs:
            for packet in source.container.demux(source):
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
    rows, end = clips_of(str(path))
    assert end.info.indexed == "header"
    assert [row[0] for row in rows] == [row[0] for row in clips_of(str(plain))[0]]
