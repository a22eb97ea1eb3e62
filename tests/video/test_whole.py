"""Whole files of kinds that programs and cameras write, and that differ from what FFmpeg would: none is refused."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video
from p3dfeat.video import read_clips
from tests.videos import Coding, numbered_frames, write_video

EVERY_FRAME = Sampling(clips=None, stride=1, length=1)
BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")  # in each other, above the tables of an MP4


def with_table(data: bytes, kind: bytes, content: bytes) -> bytes:
    """An MP4 whose index comes last, of one track, with other content of a table; the boxes around it grow."""
    changed = bytearray(data)
    at = data.rindex(kind) - 4
    old = int.from_bytes(data[at : at + 4], "big")
    changed[at : at + old] = struct.pack(">I4s", 8 + len(content), kind) + content
    for parent in BOXES[: BOXES.index(kind) if kind in BOXES else None]:
        place = data.rindex(parent, 0, at) - 4
        size = int.from_bytes(data[place : place + 4], "big")
        changed[place : place + 4] = (size + 8 + len(content) - old).to_bytes(4, "big")
    return bytes(changed)


def table_of(data: bytes, kind: bytes) -> bytes:
    at = data.rindex(kind) - 4
    return bytes(data[at + 8 : at + int.from_bytes(data[at : at + 4], "big")])


def read_as_whole(path: Path, data: bytes) -> int:
    """How many frames are read of a file with these bytes."""
    path.write_bytes(data)
    items = read_clips(Video("v", str(path), "v"), InputSpec(resize=(48, 64)), EVERY_FRAME)
    return sum(isinstance(item, Clip) for item in items)


def number_at(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + value.to_bytes(4, "big") + data[place + 4 :]


PAUSES = {
    "near the end": [*range(100), 110],
    "near the beginning": [0, 30, 60, *range(61, 100)],
    "in the middle": [*range(40), *range(90, 130)],
    "before each frame of some": [*range(30), 40, 50, *range(60, 90), 100, 111],
}


@pytest.mark.parametrize("bframes", [0, 3, 16])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("pause", PAUSES)
def test_a_frame_rate_that_varies_is_no_damage(tmp_path, pause, suffix, bframes):
    options = {"preset": "veryfast", "bf": str(bframes), "x264-params": "log-level=none"}
    coding, ticks = Coding(suffix=suffix, options=options), PAUSES[pause]
    path, frames = tmp_path / f"v{suffix}", numbered_frames(len(ticks))
    data = write_video(path, frames, coding=coding, ticks=ticks, time_base=Fraction(1, 25)).read_bytes()
    assert read_as_whole(path, data) == len(ticks)
    if bframes:  # as programs write it that take the frames' durations for the track's
        spans = struct.iter_unpack(">II", table_of(data, b"stts")[8:])
        decoded = sum(frames * each for frames, each in spans)
        assert read_as_whole(path, number_at(data, data.rindex(b"mdhd") + 20, decoded)) == len(ticks)


@pytest.mark.parametrize("kept", [29, 30, 33, 37, 40])
def test_a_recording_cut_between_frames_that_refer_to_each_other_is_whole(tmp_path, kept):
    """With its packets copied in the order of decoding, frames are missing before the last one."""
    options = {"preset": "veryfast", "bf": "16", "b_strategy": "0", "x264-params": "log-level=none:bframes=16"}
    frames = numbered_frames(60)
    path = write_video(tmp_path / "whole.mp4", frames, coding=Coding(options=options))
    with av.open(str(path)) as source, av.open(str(tmp_path / "v.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number < kept and packet.size:
                packet.stream = stream
                target.mux(packet)
    assert read_as_whole(tmp_path / "v.mp4", (tmp_path / "v.mp4").read_bytes()) == kept


def test_pictures_that_begin_later_than_the_sound_are_no_damage(tmp_path):
    """Phones write by how much into the first frame's duration, and not into the track's."""
    options = {"preset": "veryfast", "bf": "0", "x264-params": "log-level=none"}
    data = write_video(tmp_path / "v.mp4", numbered_frames(60), coding=Coding(options=options)).read_bytes()
    data = data.replace(b"edts", b"free")  # phones write none
    assert table_of(data, b"stts")[4:] == struct.pack(">3I", 1, 60, 512)
    late = struct.pack(">6I", 0, 2, 1, 512 + 6400, 59, 512)
    assert read_as_whole(tmp_path / "v.mp4", with_table(data, b"stts", late)) == 60
    early = struct.pack(">6I", 0, 2, 59, 512, 1, 512 + 6400)
    with pytest.raises(VideoError, match="its frames last"):
        read_as_whole(tmp_path / "v.mp4", with_table(data, b"stts", early))
