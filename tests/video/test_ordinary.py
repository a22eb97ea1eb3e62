"""Ordinary files as cameras and programs write them, with book-keeping that does not add up: every frame comes."""

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd
from p3dfeat.video import index_video, read_clips
from p3dfeat.video.bitstreams.hidden_frames import hidden_packets
from p3dfeat.video.packets import NO_TIME, Packets
from p3dfeat.video.reading.timing import with_leading_times
from stress import wild
from stress.seeds import SEEDS, write_seed
from tests.videos import Coding, number_of, numbered_frames, settled, write_video

SPEC = InputSpec(resize=(96, 128))
DENSE = Sampling(clips=None, stride=1, length=1)
Packet = tuple[bytes, int, int, bool]  # bytes, number by which it is shown, by which it is decoded, whether a keyframe


def numbers(path: Path, sampling: Sampling = DENSE, **segment: float) -> list[int]:
    items = settled(read_clips(Video("v", str(path), "v", **segment), SPEC, sampling))
    return [number_of(frame) for item in items if isinstance(item, Clip) for frame in item.frames]


def remarks(path: Path) -> tuple[str, ...]:
    end = settled(read_clips(Video("v", str(path), "v"), SPEC, DENSE))[-1]
    assert isinstance(end, VideoEnd)
    return end.info.remarks


def packets(
    codec: str, count: int, options: dict[str, str], *, pixels: str = "yuv420p", header: bool = False, frames=None
):
    """The packets of ``count`` numbered frames without a container, and the header that belongs to them."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = 128, 96, pixels
    context.time_base, context.framerate, context.options = Fraction(1, 25), 25, options
    if header:
        context.flags |= 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER
    found = []
    for number, frame in enumerate(numbered_frames(count) if frames is None else frames):
        picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pixels)
        picture.pts = number
        found += context.encode(picture)
    found += context.encode(None)
    return [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in found], bytes(context.extradata or b"")


def muxed(path: Path, codec: str, told: list[Packet], *, pixels: str = "yuv420p", tag: str | None = None) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pixels
        stream.time_base = Fraction(1, 25)
        if tag is not None:
            stream.codec_context.codec_tag = tag
        for data, shown, decoded, key in told:
            packet = av.Packet(data)
            packet.pts, packet.dts, packet.time_base = shown, decoded, Fraction(1, 25)
            packet.stream, packet.is_keyframe = stream, key
            file.mux(packet)
    return path


def box(data: bytes, kind: bytes) -> tuple[int, int]:
    """Where a box begins, and its length."""
    place = data.rindex(kind) - 4
    return place, int.from_bytes(data[place : place + 4], "big")


# AVI


def test_packets_of_one_byte_hold_no_frame(tmp_path):
    """VirtualDub writes them while Xvid lags."""
    found, _ = packets("mpeg4", 60, {"g": "30", "qmin": "2", "qmax": "5"})
    told: list[Packet] = []
    for number, (data, _, _, key) in enumerate(found):
        for content, is_key in [(data, key)] + ([(b"\x7f", True)] * 2 if number in (0, 40) else []):
            told.append((content, len(told), len(told), is_key))
    path = muxed(tmp_path / "v.avi", "mpeg4", told, tag="XVID")
    assert numbers(path) == list(range(60))
    assert index_video(str(path)).seconds[1] == pytest.approx(3 / 25)  # the first stays for three


def test_an_avis_index_and_header_may_list_another_number_of_frames(tmp_path):
    coding = Coding("mjpeg", ".avi", "yuvj420p", {})
    data = bytearray(write_video(tmp_path / "v.avi", numbered_frames(40), coding=coding).read_bytes())
    place = data.rindex(b"idx1")
    short = data[: place + 4] + struct.pack("<I", 16) + data[place + 8 : place + 24]
    short[4:8] = struct.pack("<I", len(short) - 8)
    (tmp_path / "short.avi").write_bytes(short)
    assert numbers(tmp_path / "short.avi") == list(range(40))
    assert "its index lists 1 frame of" in remarks(tmp_path / "short.avi")[0]
    data[data.index(b"avih") + 24 :][:4] = b""  # nothing is changed by a slice of a copy
    header = data.index(b"avih") + 8 + 16
    data[header : header + 4] = struct.pack("<I", 39)
    data[data.index(b"strh") + 8 + 32 : data.index(b"strh") + 8 + 36] = struct.pack("<I", 39)
    (tmp_path / "counts.avi").write_bytes(data)
    assert numbers(tmp_path / "counts.avi") == list(range(40))


# ASF


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {"bf": "3", "g": "12"}), ("mpeg2video", {"bf": "2", "g": "12"}), ("mpeg4", {"bf": "2"}), ("wmv2", {})],
)
def test_asf_gives_frames_in_order_whatever_refers_to_what(tmp_path, codec, options):
    path = write_video(tmp_path / "v.wmv", numbered_frames(100), coding=Coding(codec, ".wmv", options=options))
    assert numbers(path) == list(range(100))
    assert numbers(path, Sampling(clips=3, length=2)) == [0, 1, 49, 50, 98, 99]
    assert numbers(path, Sampling(clips=1, length=2), start_seconds=0.8, end_seconds=1.0) == [21, 22]


def test_sound_that_starts_late_is_at_most_a_remark(tmp_path):
    """FFmpeg adds the delay to the header's length."""
    path = tmp_path / "v.wmv"
    with av.open(str(path), "w", format="asf") as file:
        video = file.add_stream("wmv2", rate=10)
        video.width, video.height, video.pix_fmt, video.bit_rate = 128, 96, "yuv420p", 900_000
        sound = file.add_stream("wmav2", rate=44100)
        sound.bit_rate = 64_000
        found = []
        for number, pixels in enumerate(numbered_frames(60)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = number
            found += video.encode(frame)
        found += video.encode(None)
        for number in range(11, 120):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 2048), np.float32), "fltp", "stereo")
            frame.rate, frame.pts, frame.time_base = 44100, number * 2048, Fraction(1, 44100)
            found += sound.encode(frame)
        for packet in sorted(found, key=lambda packet: float(packet.pts * packet.time_base)):
            file.mux(packet)
    assert numbers(path) == list(range(60))


# MP4


def h264(path: Path, count: int, **options: str) -> bytearray:
    given = {"crf": "20", "preset": "veryfast", "x264-params": "scenecut=0", **options}
    return bytearray(write_video(path, numbered_frames(count), coding=Coding(options=given)).read_bytes())


def test_a_list_of_keyframes_that_names_others_gives_no_other_pictures(tmp_path):
    path = tmp_path / "v.mp4"
    coding = Coding("mpeg4", ".mp4", options={"g": "100", "sc_threshold": "1000000000", "qmin": "2", "qmax": "5"})
    data = bytearray(write_video(path, numbered_frames(250), coding=coding).read_bytes())
    place, _ = box(data, b"stss")
    data[place + 20 : place + 24] = (161).to_bytes(4, "big")
    path.write_bytes(data)
    assert numbers(path) == list(range(250))
    assert numbers(path, Sampling(clips=3, length=2)) == [0, 1, 124, 125, 248, 249]
    assert numbers(path, Sampling(clips=1, length=2), start_seconds=6.8, end_seconds=6.88) == [170, 171]


def test_joined_clips_are_shown_by_their_own_delays(tmp_path):
    path = tmp_path / "v.mp4"
    data = h264(path, 60, bf="2", g="30")
    place, length = box(data, b"ctts")
    rows = struct.unpack(f">{(length - 16) // 4}I", data[place + 16 : place + length])
    offsets = [offset for count, offset in zip(rows[::2], rows[1::2], strict=True) for _ in range(count)]
    late = [offset + (512 if number >= 30 else 0) for number, offset in enumerate(offsets)]
    table = b"".join(struct.pack(">II", 1, offset) for offset in late)
    new = struct.pack(">I4sII", 16 + len(table), b"ctts", 0, len(late)) + table
    for kind in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        start, size = box(data[:place], kind)
        data[start : start + 4] = (size + len(new) - length).to_bytes(4, "big")
    data[place : place + length] = new
    for kind, at in ((b"elst", 16), (b"tkhd", 28), (b"mvhd", 24)):  # 40 ms more
        start, _ = box(data, kind)
        value = int.from_bytes(data[start + at : start + at + 4], "big") + 40
        data[start + at : start + at + 4] = value.to_bytes(4, "big")
    path.write_bytes(data)
    assert numbers(path) == list(range(60))
    assert np.diff(index_video(str(path)).seconds)[29] == pytest.approx(0.08)


def test_a_media_box_may_say_too_little(tmp_path):
    path = tmp_path / "v.mp4"
    seed = next(seed for seed in SEEDS if seed.name == "h264-faststart.mp4")
    data = bytearray(write_seed(path, seed).read_bytes())
    place, size = box(data, b"mdat")
    assert place + size == len(data)
    data[place : place + 4] = (size - 8).to_bytes(4, "big")
    path.write_bytes(data)
    assert len(numbers(path)) == seed.frames


def test_one_time_out_of_order_loses_no_frame(tmp_path):
    path = tmp_path / "v.mp4"
    data = h264(path, 40, bf="0", g="10")
    start, _ = box(data, b"stts")
    table = struct.pack(">I4sII", 16 + 24, b"stts", 0, 3) + struct.pack(">6I", 20, 512, 1, 0, 19, 512)
    for kind in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place, size = box(data[:start], kind)
        data[place : place + 4] = (size + 16).to_bytes(4, "big")
    data[start : start + 24] = table
    path.write_bytes(data)
    assert numbers(path) == list(range(40))


@pytest.mark.parametrize(
    "edits",
    [[(800, 0, 1), (400, -1, 1), (800, 20 * 512, 1)], [(400, 0, 1), (1000, 10 * 512, 0), (800, 11 * 512, 1)]],
    ids=["nothing is shown for a while", "a frame is held"],
)
def test_edit_lists_that_are_not_played_are_named(tmp_path, edits):
    """ISO/IEC 14496-12, 8.6.6: FFmpeg plays neither as it says."""
    path = tmp_path / "v.mp4"
    data = h264(path, 50, bf="0", g="10")
    start, size = box(data, b"edts")
    rows = b"".join(struct.pack(">IiHH", length, begin, rate, 0) for length, begin, rate in edits)
    listed = struct.pack(">I4sII", 16 + len(rows), b"elst", 0, len(edits)) + rows
    new = struct.pack(">I4s", 8 + len(listed), b"edts") + listed
    for kind in (b"trak", b"moov"):
        place, length = box(data[:start], kind)
        data[place : place + 4] = (length + len(new) - size).to_bytes(4, "big")
    data[start : start + size] = new
    path.write_bytes(data)
    with pytest.raises(VideoError, match="its edit list"):
        numbers(path)


def test_a_recording_whose_index_was_never_written_is_named(tmp_path):
    data = h264(tmp_path / "v.mp4", 40)
    (tmp_path / "v.mp4").write_bytes(data[: box(data, b"moov")[0]])
    with pytest.raises(VideoError, match=r"cut off: its index \(moov\) is missing"):
        numbers(tmp_path / "v.mp4")
    (tmp_path / "v.mp4").write_bytes(data[: box(data, b"moov")[0] + 300])
    with pytest.raises(VideoError, match=r"cut off: .* bytes of at least"):
        numbers(tmp_path / "v.mp4")


def test_a_coding_without_a_decoder_is_named(tmp_path):
    data = h264(tmp_path / "v.mp4", 10).replace(b"avc1", b"zzz1")
    (tmp_path / "v.mp4").write_bytes(data)
    with pytest.raises(VideoError, match=r"no decoder for its video stream \(zzz1\)"):
        numbers(tmp_path / "v.mp4")


# Beginnings and ends


def test_pictures_shown_before_the_first_keyframe_belong_to_the_video_where_their_group_is_closed(tmp_path):
    """As XDCAM cameras and DVDs begin."""
    found, _ = packets("mpeg2video", 50, {"bf": "2", "g": "12", "sc_threshold": "1000000000", "qmax": "4"})
    start = next(place for place, (_, _, _, key) in enumerate(found) if key and place)
    kept = found[start:]
    least = min(shown for _, shown, _, _ in kept)
    for closed, expected in ((0x40, len(kept)), (0, len(kept) - 2)):
        first = bytearray(kept[0][0])
        place = first.index(b"\0\0\1\xb8") + 7
        first[place] = first[place] & 0xBF | closed
        told = [(bytes(first), *kept[0][1:]), *kept[1:]]
        path = muxed(
            tmp_path / f"{closed}.mov",
            "mpeg2video",
            [(data, shown - least, number - 1, key) for number, (data, shown, _, key) in enumerate(told)],
        )
        assert len(index_video(str(path))) == expected
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == expected
        assert len(numbers(path)) == expected
        assert numbers(path)[-1] == 49


@pytest.mark.parametrize("end", [b"\0\0\0\1\x09\x30", b"\0\0\0\1\x0b", b"\0\0\1\x0a", bytes(40)], ids=repr)
def test_delimiters_ends_and_zeros_behind_a_bare_stream_are_no_frames(tmp_path, end):
    path = tmp_path / "v.h264"
    options = {"x264-params": "aud=1", "preset": "veryfast", "crf": "20"}
    write_video(path, numbered_frames(40), coding=Coding(suffix=".h264", options=options))
    path.write_bytes(path.read_bytes() + end)
    assert numbers(path) == list(range(40))
    assert numbers(path, Sampling(clips=3, length=2)) == [0, 1, 19, 20, 38, 39]


def test_the_rate_of_a_bare_stream_is_the_one_it_says(tmp_path):
    path = tmp_path / "v.h264"
    with av.open(str(path), "w", format="h264") as file:
        stream = file.add_stream("libx264", rate=50, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for pixels in numbered_frames(50):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode(None))
    index = index_video(str(path))
    assert (len(index), index.end_seconds) == (50, pytest.approx(1.0))


@pytest.mark.parametrize("kept", [b"!\xfe\x03abc\0", b"!\xff\x0bXMP DataXMP\x02hi\0"], ids=["comment", "application"])
def test_extensions_behind_a_gifs_last_picture_are_no_frames(tmp_path, kept):
    coding = Coding("gif", ".gif", "rgb8", {})
    data = write_video(tmp_path / "v.gif", numbered_frames(30), coding=coding).read_bytes()
    (tmp_path / "v.gif").write_bytes(data[:-1] + kept + b";")
    index = index_video(str(tmp_path / "v.gif"))
    assert len(index) == 30
    assert len(numbers(tmp_path / "v.gif")) == 30
    assert remarks(tmp_path / "v.gif") == ()


# Pictures


def test_side_data_of_kinds_that_pyav_does_not_know_is_no_obstacle(tmp_path):
    """Cameras write Exif into each picture of Motion JPEG."""
    found, _ = packets("mjpeg", 30, {"qmin": "2", "qmax": "3"}, pixels="yuvj420p")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0"
    app = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    told = [(data[:2] + app + data[2:], shown, shown, True) for data, shown, _, _ in found]
    path = muxed(tmp_path / "v.avi", "mjpeg", told, pixels="yuvj420p")
    assert numbers(path) == list(range(30))


def test_what_only_the_first_packet_says_of_the_encoder_holds_after_a_seek(tmp_path):
    """FFmpeg takes Xvid's own transform where the stream says that Xvid wrote it."""
    noise = np.random.default_rng(1).integers(0, 256, (120, 96, 128, 3), np.uint8)
    found, header = packets("mpeg4", 120, {"g": "20", "qmin": "8", "bf": "0"}, header=True, frames=noise)
    lavc = header.find(b"\0\0\1\xb2")
    assert lavc > 0
    written = []
    for name, mark in (("xvid", b"\0\0\1\xb2XviD0064"), ("plain", b"")):
        path = tmp_path / f"{name}.mkv"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            stream.codec_context.extradata = header[:lavc]
            for data, shown, _, key in found:
                packet = av.Packet((mark if shown == 0 else b"") + data)
                packet.pts = packet.dts = shown
                packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, key
                file.mux(packet)
        written.append(path)
    frames = {}
    for path in written:
        for name, sampling in (("dense", DENSE), ("sparse", Sampling(clips=3, length=1))):
            clips = [i for i in settled(read_clips(Video("v", str(path), "v"), SPEC, sampling)) if isinstance(i, Clip)]
            frames[path.stem, name] = np.concatenate([clip.frames for clip in clips])
    assert not np.array_equal(frames["xvid", "dense"], frames["plain", "dense"])  # or nothing is shown here
    for name in ("xvid", "plain"):
        assert np.array_equal(frames[name, "sparse"], frames[name, "dense"][[0, 60, 119]])


# Hidden packets


class _Stream:
    """What ``hidden_packets`` asks of a stream."""

    def __init__(self, coding: str):
        self.codec_context = self
        self.codec = self
        self.canonical_name, self.extradata = coding, b""


@pytest.mark.parametrize(
    ("coding", "data", "hidden"),
    [
        ("vp9", b"\x86\x00", False),
        ("vp9", b"\x84\x00", True),  # not shown
        ("vp9", b"\x8c\x00", False),  # shows an older one
        ("vp9", b"\x84ab\x86cd\xc1\x03\x03\xc1", False),  # a superframe of one that is not shown and one that is
        ("vp9", b"\x84ab\x84cd\xc1\x03\x03\xc1", True),
        ("av1", b"\x12\x00\x32\x02\x10\x00", False),
        ("av1", b"\x12\x00\x32\x02\x00\x00", True),
        ("av1", b"\x12\x00\x1a\x01\xa0", False),  # shows an older one
        ("av1", b"\x12\x00\x32\x02\x00\x00\x32\x02\x10\x00", False),
        ("theora", b"\x80theora", True),
        ("theora", b"\x3f", False),
        ("mpeg2video", b"\0\0\1\xb7", True),
        ("h264", b"\0\0\1\x06abc\0\0\1\x0a", True),
        ("h264", b"\0\0\1\x41abc", False),
        ("h264", b"\0\0\1\x1fabc", False),  # of no kind that is known
        ("hevc", b"\0\0\1\x48\x01", True),
        ("hevc", b"\0\0\1\x02\x01abc", False),
    ],
)
def test_packets_say_whether_they_show_a_frame(coding, data, hidden):
    hides = hidden_packets(_Stream(coding))
    assert hides is not None
    assert hides(av.Packet(data)) is hidden


def matroska(path: Path, blocks: list[tuple[int, bool, bytes]], coding: bytes, header: bytes = b"") -> Path:
    """One video track of these blocks, in milliseconds: only what a reader needs."""

    def element(kind: str, content: bytes) -> bytes:
        return bytes.fromhex(kind) + (len(content) | 1 << 56).to_bytes(8, "big") + content

    video = element("b0", b"\0\x80") + element("ba", b"\0\x60")
    track = element("d7", b"\1") + element("73c5", b"\1") + element("83", b"\1") + element("86", coding)
    track += element("63a2", header) if header else b""
    body = element("1549a966", element("2ad7b1", (1_000_000).to_bytes(4, "big")) + element("4d80", b"made"))
    body += element("1654ae6b", element("ae", track + element("e0", video)))
    cluster = element("e7", bytes(8))
    for time, key, data in blocks:
        cluster += element("a3", b"\x81" + struct.pack(">h", time) + (b"\x80" if key else b"\0") + data)
    ebml = element("4282", b"matroska") + element("4287", b"\4") + element("4285", b"\2")
    path.write_bytes(element("1a45dfa3", ebml) + element("18538067", body + element("1f43b675", cluster)))
    return path


def test_vp9_hidden_in_blocks_of_its_own_is_no_frame(tmp_path):
    found, _ = packets("libvpx-vp9", 50, {"g": "10", "lag-in-frames": "0", "b": "900k", "deadline": "realtime"})
    blocks = []
    for data, shown, _, key in found:
        if key and shown:
            assert data[0] & 0xF6 == 0x82
            blocks.append((shown * 40 - 1, True, bytes([data[0] & ~2]) + data[1:]))
        blocks.append((shown * 40, key, data))
    path = matroska(tmp_path / "v.webm", blocks, b"V_VP9")
    assert len(blocks) > 50
    assert numbers(path) == list(range(50))
    assert numbers(path, Sampling(clips=3, length=2)) == [0, 1, 24, 25, 48, 49]


@pytest.mark.parametrize(
    "unit", [b"\x09\x30", b"\x06\x05\x01a\x80", b"\x0c\xff\xff\x80"], ids=["delimiter", "text", "filler"]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".flv"])
def test_packets_of_h264_without_a_picture_are_no_frames(tmp_path, suffix, unit):
    """Where units have their lengths before them, as live encoders send them."""
    source = tmp_path / "source.mp4"
    h264(source, 60, g="20", bf="0")
    path = tmp_path / f"v{suffix}"
    with av.open(str(source)) as whole, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(whole.streams.video[0])
        stream.time_base = Fraction(1, 100)
        for number, packet in enumerate(p for p in whole.demux(video=0) if p.size):
            told = [(bytes(packet), 4 * number + 2, packet.is_keyframe)]
            if number and packet.is_keyframe:
                told.insert(0, (len(unit).to_bytes(4, "big") + unit, 4 * number, False))
            for data, time, key in told:
                part = av.Packet(data)
                part.pts = part.dts = time
                part.time_base, part.stream, part.is_keyframe = Fraction(1, 100), stream, key
                file.mux(part)
    assert numbers(path) == list(range(60))
    assert numbers(path, Sampling(clips=3, length=2)) == [0, 1, 29, 30, 58, 59]


@pytest.mark.parametrize("closed", [0x40, 0], ids=["closed group", "open group"])
def test_matroska_cut_where_pictures_begin_before_its_clock_keeps_its_times(tmp_path, closed):
    found, _ = packets("mpeg2video", 50, {"bf": "2", "g": "12", "sc_threshold": "1000000000", "qmax": "4"})
    kept = found[next(place for place, (_, _, _, key) in enumerate(found) if key and place) :]
    first = bytearray(kept[0][0])
    place = first.index(b"\0\0\1\xb8") + 7
    first[place] = first[place] & 0xBF | closed
    began = kept[0][1]
    pause = [2000 if shown > began + 20 else 0 for _, shown, _, _ in kept]
    told = [(bytes(first), *kept[0][1:]), *kept[1:]]
    blocks = [(40 * (shown - began) + more, key, data) for (data, shown, _, key), more in zip(told, pause, strict=True)]
    path = matroska(tmp_path / "v.mkv", blocks, b"V_MPEG2")
    shown = list(range(began - 2 if closed else began, 50))
    assert numbers(path)[2 if closed else 0 :] == shown[2 if closed else 0 :]  # of the two, what they refer to is lost
    expected = [0.04 * (number - began) + (2.0 if number > began + 20 else 0.0) for number in shown]
    assert np.allclose(index_video(str(path)).seconds, expected, atol=2e-3)


def test_pictures_without_a_time_behind_the_first_keyframe_come_before_it():
    """FFmpeg gives none to some that Matroska shows before its clock begins."""
    shown = np.array([0, NO_TIME, NO_TIME, 120, 40, 80])
    packets = replace(
        Packets.none(),
        presented=shown,
        keys=np.array([True] + [False] * 5),
        shown=np.ones(6, np.bool_),
    )
    assert with_leading_times(packets).presented.tolist() == [0, -80, -40, 120, 40, 80]
    late = replace(packets, presented=np.array([0, 40, *range(80, 1200, 40), NO_TIME]))
    late = replace(late, keys=np.zeros(31, np.bool_), shown=np.ones(31, np.bool_))
    assert with_leading_times(late).presented[-1] == NO_TIME


def test_two_frames_of_one_time_move_no_others(tmp_path):
    found, header = packets("mpeg4", 40, {"g": "20", "qmin": "2", "qmax": "5"}, header=True)
    blocks = [(40 * (number - (number == 21)), key, data) for number, (data, _, _, key) in enumerate(found)]
    path = matroska(tmp_path / "v.mkv", blocks, b"V_MPEG4/ISO/ASP", header)
    assert numbers(path) == list(range(40))
    times = 0.04 * np.arange(40)
    times[21] = 0.84  # between its neighbours
    assert np.allclose(index_video(str(path)).seconds, times, atol=2e-3)


def test_bare_motion_jpeg_is_no_picture(tmp_path):
    found, _ = packets("mjpeg", 30, {"qmin": "2", "qmax": "3"}, pixels="yuvj420p")
    path = tmp_path / "v.mjpeg"
    path.write_bytes(b"".join(data for data, *_ in found))
    assert numbers(path) == list(range(30))
    path.write_bytes(found[0][0])
    with pytest.raises(VideoError, match="not a video but a picture"):
        numbers(path)


@pytest.mark.parametrize(
    "junk", [bytes(100), b"TAG" + bytes(125), b"<!-- saved by hand -->"], ids=["zeros", "tag", "text"]
)
def test_what_follows_the_last_frame_of_y4m_takes_no_frame_away(tmp_path, junk):
    seed = next(seed for seed in SEEDS if seed.container == "yuv4mpegpipe" or seed.name == "raw.y4m")
    path = write_seed(tmp_path / seed.name, seed)
    path.write_bytes(path.read_bytes() + junk)
    assert len(numbers(path)) == seed.frames


# Every way of reading


@pytest.fixture
def without_ffmpeg(monkeypatch):
    """The other reader is PyAV, whether or not the ffmpeg program is at hand."""
    monkeypatch.setattr(wild.shutil, "which", lambda name: None)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_frames_are_those_of_another_reader_and_do_not_depend_on_the_plan(tmp_path, seed, without_ffmpeg):
    finding = wild.compare(write_seed(tmp_path / seed.name, seed))
    assert (finding.outcome, finding.text) == ("stored", "")
    assert (finding.frames, finding.others, finding.unsteady) == (seed.frames, 0, 0)


def test_wild_tells_what_differs(tmp_path, without_ffmpeg, monkeypatch):
    seed = next(seed for seed in SEEDS if seed.name == "mpeg4.avi")
    path = write_seed(tmp_path / seed.name, seed)
    shown = list(wild.independent(path))
    made_up: Callable[[Path], list[str]] = lambda path: [*shown[:-1], "other"]  # noqa: E731
    monkeypatch.setattr(wild, "independent", made_up)
    assert wild.compare(path).others == 1
    path.write_bytes(path.read_bytes()[:-9000])
    refused = wild.compare(path)
    assert refused.outcome == wild.OUTCOMES[3]
    text = wild.report([refused])
    assert "| refused, though the other reader shows frames | 1 |" in text
