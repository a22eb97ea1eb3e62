"""Packets that show nothing are no frames: what comes are the others, exactly, at their times."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from p3dfeat.config import Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Video
from p3dfeat.video import index_video, plan
from p3dfeat.video.reading.decode import FrameReader
from p3dfeat.video.reading.index import open_video
from tests.video.test_exactness import COUNT, SAMPLINGS, numbers_read
from tests.videos import Coding, number_of, numbered_frames, write_video

TICK = Fraction(1, 100)  # frames are shown every fourth
VP8 = Coding("libvpx", ".webm", options={"deadline": "realtime", "cpu-used": "8", "b": "900k", "g": "40"})
MPEG4 = Coding("mpeg4", ".avi", options={"qmin": "2", "qmax": "5", "g": "40", "bf": "0"})
NOTHING = "000001b6"  # MPEG-4: a picture

Told = tuple[bytes, int, bool]  # a packet's bytes, time in ticks, and whether it is a keyframe


def packets_of(path: Path) -> list[tuple[bytes, bool]]:
    with av.open(str(path)) as container:
        return [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]


def written(path: Path, like: Path, told: list[Told], *, tick: Fraction = TICK) -> str:
    """A file of these packets, described as ``like`` is."""
    with av.open(str(like)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.time_base = tick
        for data, time, key in told:
            packet = Packet(data)
            packet.pts = packet.dts = time
            packet.time_base, packet.stream, packet.is_keyframe = tick, stream, key
            packet.duration = int(Fraction(1, 25) / tick)
            target.mux(packet)
    return str(path)


def vp8_with_hidden(path: Path) -> str:
    """Each fifth frame is hidden, as encoders that look ahead hide what later frames refer to."""
    shown = list(numbered_frames(COUNT))
    other = np.full_like(shown[0], 90)
    frames = [frame for number, frame in enumerate(shown) for frame in ([other, frame] if number % 4 == 3 else [frame])]
    plain = write_video(path.with_name("plain.webm"), frames, coding=VP8)
    told, number = [], 0
    for data, key in packets_of(plain):
        if len(told) % 5 == 3:
            assert not key
            told.append((bytes([data[0] & ~0x10]) + data[1:], 4 * number - 2, False))
        else:
            told.append((data, 4 * number, key))
            number += 1
    assert number == COUNT
    return written(path, plain, told)


def nothing(time_bits: int) -> bytes:
    """A picture of MPEG-4 that is not coded."""
    bits = "01" + "0" + "1" + "0" * time_bits + "1" + "0"
    bits += "0" + "1" * (-(len(bits) + 1) % 8)
    return bytes.fromhex(NOTHING) + int(bits, 2).to_bytes(len(bits) // 8)


def with_pauses(path: Path, coding: Coding, pause: bytes) -> str:
    """After each fourth frame a packet that says that it stays; so does the last one."""
    plain = write_video(path.with_name(f"plain{coding.suffix}"), numbered_frames(COUNT), coding=coding)
    told: list[Told] = []
    for number, (data, key) in enumerate(packets_of(plain)):
        time = 4 * (number + number // 4)
        told.append((data, time, key))
        if number % 4 == 3:
            told.append((pause, time + 4, False))
    return written(path, plain, told)


STEADY = 4 * np.arange(COUNT) / 100
PAUSING = 4 * (np.arange(COUNT) + np.arange(COUNT) // 4) / 100
KINDS: dict[str, tuple[Callable[[Path], str], np.ndarray]] = {
    **{f"vp8{suffix}": (vp8_with_hidden, STEADY) for suffix in (".webm", ".mkv", ".ivf", ".avi")},
    **{f"mpeg4{suffix}": (lambda path: with_pauses(path, MPEG4, nothing(5)), PAUSING) for suffix in (".mkv", ".avi")},
    "mpeg4.mp4": (lambda path: with_pauses(path, MPEG4, nothing(5)), PAUSING),
    "empty.nut": (lambda path: with_pauses(path, VP8, b""), PAUSING),  # as Theora's encoder writes Ogg
}


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    make, times = KINDS[request.param]
    return make(tmp_path_factory.mktemp("hidden") / f"video{Path(request.param).suffix}"), times


def test_what_shows_nothing_is_no_frame(made):
    path, times = made
    index = index_video(path)
    assert len(index) == index.info.num_frames == COUNT
    assert np.allclose(index.seconds - index.seconds[0], times, atol=2e-3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][1] is PAUSING and kind != "mpeg4.avi"])
def test_what_stays_stays_to_its_end(kind, tmp_path):
    """But in AVI, whose frames are counted."""
    index = index_video(KINDS[kind][0](tmp_path / f"video{Path(kind).suffix}"))
    assert index.end_seconds - index.seconds[0] == pytest.approx(PAUSING[-1] + 0.08, abs=2e-3)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_clips_hold_exactly_the_frames_planned(made, sampling, partial):
    path, _ = made
    planned = [p.frames.tolist() for p in plan(index_video(path), Video("v", path, path), sampling)]
    found, end = numbers_read(path, sampling, partial=partial)
    assert found == planned
    assert end.frames_decoded <= COUNT
    assert (end.info.damage, end.info.remarks) == (None, ())


@pytest.mark.parametrize("wanted", [[0], [199], [0, 199], [39, 40, 41, 119, 120, 121], list(range(0, 200, 13))])
def test_single_frames_come_exactly(made, wanted):
    path, _ = made
    with open_video(path) as (container, stream):
        reader = FrameReader(container, stream, index_video(path), np.array(wanted))
        assert [(n, number_of(frame.to_ndarray(format="rgb24"))) for n, frame in reader] == [(n, n) for n in wanted]


def test_sparse_plans_still_seek(tmp_path):
    for path in (vp8_with_hidden(tmp_path / "v.webm"), with_pauses(tmp_path / "v.mp4", MPEG4, nothing(5))):
        found, end = numbers_read(path, Sampling(clips=3, length=2))
        assert found == [[0, 1], [99, 100], [198, 199]]
        assert end.frames_decoded < 120


def packed(path: Path, *, told: bool) -> str:
    """MPEG-4 in AVI, each picture that refers to a later one packed with that, as DivX did; told: by the header too."""
    coding = Coding("mpeg4", ".avi", options={"qmin": "2", "qmax": "5", "g": "40", "bf": "1", "b_strategy": "0"})
    plain = write_video(path.with_name("plain.avi"), numbered_frames(61), coding=coding)
    pairs = packets_of(plain)
    is_between = [data[data.rfind(bytes.fromhex(NOTHING)) + 4] >> 6 == 2 for data, _ in pairs]
    out: list[Told] = []
    for place, (data, key) in enumerate(pairs):
        if is_between[place]:
            out.append((nothing(5), len(out), False))
        else:
            following = pairs[place + 1][0] if place + 1 < len(pairs) and is_between[place + 1] else b""
            out.append((data + following, len(out), key))
    written(path, plain, out, tick=Fraction(1, 25))
    if told:
        content = path.read_bytes()
        lavc = content[content.index(b"Lavc") :][:12]
        path.write_bytes(content.replace(lavc, b"DivX503b1p\0\0"))
    return str(path)


def test_packed_pictures_come_of_the_packets_after_theirs(tmp_path):
    found, end = numbers_read(packed(tmp_path / "v.avi", told=True), Sampling(clips=None, stride=1, length=1))
    assert found == [[n] for n in range(61)]
    assert end.info.num_frames == 61


def test_packed_pictures_that_ffmpeg_leaves_out_are_missed(tmp_path):
    """FFmpeg then shows fewer than there are packets, as every player does."""
    found, end = numbers_read(packed(tmp_path / "v.avi", told=False), Sampling(clips=None, stride=1, length=1))
    shown = [clip[0] for clip in found]
    assert shown == sorted(set(shown))
    assert len(shown) == end.info.num_frames < 61
    assert f"frames by its packets, {len(shown)} by its decoder" in end.info.remarks[-1]


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".avi"])
def test_frames_that_do_not_come_are_damage_still(tmp_path, suffix):
    """Where they are not hidden."""
    plain = write_video(tmp_path / f"plain{suffix}", numbered_frames(40), coding=VP8)
    told = [(data, 4 * number, key) for number, (data, key) in enumerate(packets_of(plain))]
    told[20] = (told[20][0][:2], *told[20][1:])
    with pytest.raises(VideoError, match=r"damaged: frame 2[01] .* does not decode"):
        numbers_read(written(tmp_path / f"v{suffix}", plain, told), Sampling(clips=20))
