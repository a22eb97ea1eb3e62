"""H.264 whose fields are coded apart, as in broadcasts and of camcorders: two packets make a frame."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from p3dfeat.config import Sampling
from p3dfeat.types import Video
from p3dfeat.video import index_video, plan
from p3dfeat.video.reading.decode import FrameReader
from p3dfeat.video.reading.index import open_video
from tests.video.test_exactness import COUNT, SAMPLINGS, numbers_read
from tests.videos import number_of, numbered_frames

KEYS = 40  # frames from one keyframe to the next
SIDE = 64  # pixels
CLOCK = Fraction(1, 50)  # a field
SUFFIXES = (".ts", ".mp4", ".mkv", ".h264", ".avi")
WHOLE = 7  # each so many frames one that is coded whole


class Writer:
    """Bits, put together to bytes."""

    def __init__(self) -> None:
        self.data, self._bits = bytearray(), ""

    def bits(self, count: int, value: int) -> "Writer":
        self._bits += format(value, f"0{count}b") if count else ""
        whole = len(self._bits) // 8 * 8
        self.data += int(self._bits[:whole] or "0", 2).to_bytes(whole // 8)
        self._bits = self._bits[whole:]
        return self

    def golomb(self, *values: int) -> "Writer":
        for value in values:
            self.bits(2 * (value + 1).bit_length() - 1, value + 1)
        return self

    def aligned(self, data: bytes = b"") -> "Writer":
        self.bits(-len(self._bits) % 8, 0)
        self.data += data
        return self

    def unit(self, kind: int) -> bytes:
        """A NAL unit, with a mark before it, and without what looks like one."""
        self.bits(1, 1).aligned()
        escaped, zeros = bytearray(), 0
        for byte in self.data:
            if zeros >= 2 and byte <= 3:
                escaped.append(3)
                zeros = 0
            escaped.append(byte)
            zeros = 0 if byte else zeros + 1
        return b"\0\0\0\1" + bytes([kind]) + bytes(escaped)


def headers() -> bytes:
    sequence = Writer().bits(8, 77).bits(8, 0).bits(8, 30).golomb(0, 0, 0, 4, 2).bits(1, 0)
    sequence.golomb(SIDE // 16 - 1, SIDE // 32 - 1).bits(1, 0).bits(1, 0)  # fields, not mixed within a frame
    sequence.bits(1, 1).bits(1, 0).bits(1, 1).bits(4, 0)  # direct, no cropping, more to say, none of the first four
    sequence.bits(1, 1).bits(32, 1).bits(32, 50).bits(1, 1).bits(3, 0)  # 50 fields a second
    sequence.bits(1, 1).bits(1, 1).golomb(0, 0, 10, 10, 1, 2)  # one frame comes out of its order
    pictures = Writer().golomb(0, 0).bits(2, 0).golomb(0, 0, 0).bits(3, 0).golomb(0, 0, 0).bits(3, 4)
    return sequence.unit(0x67) + pictures.unit(0x68)


def slice_of(luma: np.ndarray, *, frame: int, order: int, key: int | None, bottom: bool | None, kept: bool) -> bytes:
    """A field, or with bottom None a frame, of samples as they are; key: which keyframe it is."""
    intra = key is not None
    out = Writer().golomb(0, 7 if intra else 5, 0).bits(4, frame % 16)
    out.bits(1, 0) if bottom is None else out.bits(2, 2 + bottom)
    if intra:
        out.golomb(key % 2)
    out.bits(8, order % 256)
    if not intra:
        out.bits(2, 0)
    if kept:
        out.bits(2 if intra else 1, 0)
    out.golomb(0, 1)
    for top in range(0, luma.shape[0], 16):
        for left in range(0, SIDE, 16):
            out.golomb(25) if intra else out.golomb(0, 30)
            out.aligned(luma[top : top + 16, left : left + 16].tobytes() + bytes([128]) * 128)
    return out.unit((0x65 if intra else 0x41) if kept else 0x01)


def coded(count: int = COUNT) -> list[tuple[int, list[bytes]]]:
    """Frames in the order of decoding: which each is, and its parts. Each second is shown before the one it follows."""
    lumas = [np.ascontiguousarray(picture[..., 0]) for picture in numbered_frames(count, height=SIDE, width=SIDE)]
    shown = [0]
    for number in range(1, count):
        within = number % KEYS
        if within == 0:
            shown.append(number)
        elif within % 2 and number + 1 < count and (number + 1) % KEYS:
            shown += [number + 1, number]
        elif number not in shown:
            shown.append(number)
    frames, referred, done = [], 0, set()
    for number in shown:
        is_key, kept = number % KEYS == 0, number + 1 not in done
        done.add(number)
        referred = 0 if is_key else referred
        key, within = (number // KEYS if is_key else None), number % KEYS
        common = {"frame": referred, "kept": kept}
        if number % WHOLE == 3:
            parts = [slice_of(lumas[number], order=2 * within, key=key, bottom=None, **common)]
        else:
            top, bottom = np.ascontiguousarray(lumas[number][::2]), np.ascontiguousarray(lumas[number][1::2])
            parts = [
                slice_of(top, order=2 * within, key=key, bottom=False, **common),
                slice_of(bottom, order=2 * within + 1, key=None, bottom=True, **common),
            ]
        frames.append((number, [headers() * is_key + parts[0], *parts[1:]]))
        referred += kept
    return frames


def written(path: Path, *, together: bool = False, untimed: bool = False, lost: frozenset[int] = frozenset()) -> str:
    """together: both fields in a packet; untimed: second fields have no time; lost: packets that are left out."""
    frames = coded()
    raw = path.with_name("raw.h264")
    raw.write_bytes(b"".join(part for _, parts in frames for part in parts))
    if path.suffix == ".h264" and not lost:
        return str(raw.rename(path))
    with av.open(str(raw)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.time_base, place = CLOCK, 0
        for turn, (number, parts) in enumerate(frames):
            for half, data in enumerate([b"".join(parts)] if together else parts):
                packet = Packet(data)
                packet.pts, packet.dts = 2 * number + 2 + half, 2 * turn + half
                if half and untimed:
                    packet.pts = None
                packet.duration = 2 // len(parts) if not together else 2
                packet.time_base, packet.stream, packet.is_keyframe = CLOCK, stream, number % KEYS == 0 and not half
                if place not in lost:
                    target.mux(packet)
                place += 1
    return str(path)


@pytest.fixture(scope="module", params=SUFFIXES)
def made(request, tmp_path_factory):
    return written(tmp_path_factory.mktemp("fields") / f"video{request.param}")


def test_two_fields_are_one_frame(made):
    index = index_video(made)
    assert len(index) == index.info.num_frames == COUNT
    assert np.allclose(index.seconds - index.seconds[0], np.arange(COUNT) / 25, atol=2e-3)
    assert index.end_seconds - index.seconds[0] == pytest.approx(COUNT / 25, abs=2e-3)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_clips_hold_exactly_the_frames_planned(made, sampling, partial):
    planned = [p.frames.tolist() for p in plan(index_video(made), Video("v", made, made), sampling)]
    found, end = numbers_read(made, sampling, partial=partial)
    assert found == planned
    assert end.frames_decoded <= COUNT
    assert end.info.damage is None


@pytest.mark.parametrize("wanted", [[0], [199], [0, 199], [39, 40, 41, 119, 120, 121], list(range(0, 200, 13))])
def test_single_frames_come_exactly(made, wanted):
    with open_video(made) as (container, stream):
        reader = FrameReader(container, stream, index_video(made), np.array(wanted))
        assert [(n, number_of(frame.to_ndarray(format="rgb24"))) for n, frame in reader] == [(n, n) for n in wanted]


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mkv"])
def test_sparse_plans_seek_and_leave_out(suffix, tmp_path):
    found, end = numbers_read(written(tmp_path / f"v{suffix}"), Sampling(clips=3, length=2))
    assert found == [[0, 1], [99, 100], [198, 199]]
    assert end.frames_decoded < 80


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"together": True}),
        (".mkv", {"together": True}),
        (".ts", {"together": True}),
        (".ts", {"untimed": True}),
    ],
    ids=str,
)
def test_fields_as_other_writers_pack_them(suffix, options, tmp_path):
    path = written(tmp_path / f"v{suffix}", **options)
    found, end = numbers_read(path, Sampling(clips=None, stride=1, length=1))
    assert found == [[n] for n in range(COUNT)]
    found, end = numbers_read(path, Sampling(clips=3, length=2))
    assert found == [[0, 1], [99, 100], [198, 199]]
    assert end.frames_decoded < 80


def test_recordings_may_begin_and_end_between_fields(tmp_path):
    packets = sum(len(parts) for _, parts in coded())
    path = written(tmp_path / "v.ts", lost=frozenset({0, packets - 1}))
    found, _ = numbers_read(path, Sampling(clips=None, stride=1, length=1))
    assert found[0] == [40]
    assert found[-1] == [198]


def test_a_field_without_its_other_half_is_damage_elsewhere(tmp_path):
    _, end = numbers_read(written(tmp_path / "v.mp4", lost=frozenset({81})), Sampling(clips=20))
    assert end.info.remarks
