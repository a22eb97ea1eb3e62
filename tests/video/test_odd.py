"""Odd videos give the right clips, or one line that says why not; bombs go off in nobody's memory."""

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd
from p3dfeat.video import heartbeat, index_video, read_clips
from tests.videos import CODINGS, Coding, number_of, numbered_frames, numbered_video, settled, write_video

SPEC = InputSpec(channels="luma", resize=(96, 128))
GAPLESS = Sampling(clips=None, stride=4, length=4, tail="drop")
MILLISECONDS = Fraction(1, 1000)
PLAIN = {"crf": "18", "preset": "veryfast", "bf": "0"}


def read(path, sampling: Sampling = GAPLESS, spec: InputSpec = SPEC) -> list[Clip]:
    return [item for item in settled(read_clips(Video("v", str(path), "v"), spec, sampling)) if isinstance(item, Clip)]


def numbers(path, sampling: Sampling = GAPLESS) -> list[int]:
    """Of the frames of all clips, which follow each other without gaps."""
    return [number_of(frame) for clip in read(path, sampling) for frame in clip.frames]


def refusal(path, sampling: Sampling = GAPLESS, spec: InputSpec = SPEC) -> str:
    with pytest.raises(VideoError) as caught:
        read(path, sampling, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sized(count: int, height: int, width: int) -> Iterable[np.ndarray]:
    """Numbered frames of any size; what does not divide by 4 repeats its last row or column."""
    for frame in numbered_frames(count, height=height // 4 * 4, width=width // 4 * 4):
        missing = (0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)
        yield np.pad(frame, missing, mode="edge")


# --- pictures of every kind


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix", "options"),
    [
        ("libx264", "yuv444p", ".mp4", PLAIN),
        ("libvpx-vp9", "yuv420p", ".webm", {"deadline": "realtime", "cpu-used": "8"}),
        ("ffv1", "bgr0", ".mkv", {}),
        ("mjpeg", "yuvj420p", ".avi", {"qmax": "4"}),
        ("gif", "rgb8", ".gif", {}),
        ("rawvideo", "yuv420p", ".y4m", {}),
    ],
)
def test_odd_sizes(tmp_path, codec, pixel_format, suffix, options):
    path = write_video(tmp_path / f"v{suffix}", sized(20, 97, 129), coding=Coding(codec, suffix, pixel_format, options))
    assert numbers(path) == list(range(20))
    assert (index_video(str(path)).info.width, index_video(str(path)).info.height) == (129, 97)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [("ffv1", "bgr0", ".mkv"), ("mjpeg", "yuvj420p", ".avi"), ("png", "rgb24", ".mov")],
)
def test_frames_of_one_pixel(tmp_path, codec, pixel_format, suffix):
    levels = range(10, 250, 12)
    frames = (np.full((1, 1, 3), level, np.uint8) for level in levels)
    path = write_video(tmp_path / f"v{suffix}", frames, coding=Coding(codec, suffix, pixel_format, {}))
    found = np.concatenate([clip.frames for clip in read(path)])
    assert found.shape == (20, 96, 128, 1)
    assert np.abs(found[:, :, :, 0].astype(int) - np.array(levels)[:, None, None]).max() <= 4
    assert read(path, spec=InputSpec(short_side=48, crop=(48, 48)))[0].frames.shape[1:3] == (48, 48)


def test_lines_of_pixels_are_not_resized_in_proportion(tmp_path):
    for shape in ((1, 3000, 3), (3000, 1, 3)):
        frames = [np.full(shape, 99, np.uint8)] * 4
        path = write_video(tmp_path / "v.mov", frames, coding=Coding("png", ".mov", "rgb24", {}))
        narrow = refusal(path, spec=InputSpec(short_side=256, crop=(224, 224)))
        assert narrow == f"frames of {shape[1]} x {shape[0]}: too long and narrow to be resized in proportion"
        assert np.abs(read(path)[0].frames.astype(int) - 99).max() <= 2  # which a fixed size is no matter for


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix", "options"),
    [
        ("qtrle", "argb", ".mov", {}),
        ("png", "rgba", ".mov", {}),
        ("ffv1", "bgra", ".mkv", {}),
        ("libvpx-vp9", "yuva420p", ".webm", {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"}),
    ],
)
def test_alpha_is_left_out_and_what_it_hides_is_seen(tmp_path, codec, pixel_format, suffix, options):
    """The colours are those stored, whatever they would be laid over."""
    coding, path = Coding(codec, suffix, pixel_format, options), tmp_path / f"v{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = 96, 128, coding.pixel_format
        for pixels in numbered_frames(20):
            alpha = np.zeros((96, 128, 1), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.concatenate([pixels, alpha], 2), format="rgba")))
        container.mux(stream.encode())
    assert numbers(path) == list(range(20))


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix", "options"),
    [
        ("prores_ks", "yuv422p10le", ".mov", {}),
        ("libx264", "yuv420p10le", ".mp4", PLAIN),
        ("libx265", "yuv420p12le", ".mkv", {"x265-params": "log-level=none"}),
        ("ffv1", "yuv420p12le", ".mkv", {}),
        ("ffv1", "gray16le", ".mkv", {}),
        ("png", "rgb48be", ".mov", {}),
        ("libx264", "gray", ".mp4", PLAIN),
        ("png", "monob", ".mov", {}),
        ("ffv1", "yuv410p", ".avi", {}),
        ("apng", "rgba", ".png", {}),
        ("v210", "yuv422p10le", ".mov", {}),
        ("libx264", "yuv420p", ".mp4", PLAIN | {"x264-params": "tff=1:log-level=none"}),
        ("mpeg2video", "yuv420p", ".mpg", {"flags": "+ilme+ildct", "qmax": "4"}),
    ],
)
def test_every_depth_and_layout_of_pixels(tmp_path, codec, pixel_format, suffix, options):
    """Ten bits and more, grey, black and white, interlaced, whose fields are seen as they are stored."""
    path = tmp_path / f"v{suffix}"
    if suffix == ".png":
        path = path.with_suffix(".apng")
    write_video(path, numbered_frames(20), coding=Coding(codec, suffix, pixel_format, options))
    assert numbers(path) == list(range(20))


def test_palettes(tmp_path):
    palette = np.stack([np.full(256, 255), *[np.arange(256)] * 3], 1).astype(np.uint8)
    with av.open(str(tmp_path / "v.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "pal8"
        for pixels in numbered_frames(20):
            frame = av.VideoFrame.from_ndarray((np.ascontiguousarray(pixels[:, :, 0]), palette), format="pal8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert index_video(str(tmp_path / "v.mov")).info.pixel_format == "pal8"
    assert numbers(tmp_path / "v.mov") == list(range(20))


def cmyk_jpeg(levels: np.ndarray) -> bytes:
    """A picture in CMYK, as printers' programs write them (255 is no ink): a grey block of 8 x 8 for each level."""
    # Codes of a block's mean by its number of bits, from JPEG's own example; of all else there is only "none", 0.
    lengths = (2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9)
    codes, code = [], 0
    for size, length in enumerate(lengths):
        code <<= length - lengths[size - 1] if size else 0
        codes.append(f"{code:0{length}b}")
        code += 1
    bits, before = "", [0] * 4
    for level in levels.reshape(-1):
        for component, value in enumerate((255, 255, 255, int(level))):
            mean = 8 * (value - 128)
            change, before[component] = mean - before[component], mean
            size = abs(change).bit_length()
            bits += (
                codes[size] + (f"{change if change > 0 else change + (1 << size) - 1:0{size}b}" if size else "") + "0"
            )
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def part(kind: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content

    height, width = 8 * levels.shape[0], 8 * levels.shape[1]
    return b"".join(
        (
            b"\xff\xd8",
            part(0xEE, b"Adobe\0\x64\0\0\0\0\0"),
            part(0xDB, b"\0" + b"\1" * 64),
            part(0xC0, struct.pack(">BHHB", 8, height, width, 4) + b"".join(bytes((n, 0x11, 0)) for n in range(1, 5))),
            part(0xC4, b"\0" + bytes((0, 1, 5, 1, 1, 1, 1, 1, 1)) + bytes(7) + bytes(range(12))),
            part(0xC4, b"\x10" + b"\1" + bytes(15) + b"\0"),
            part(0xDA, b"\4" + b"".join(bytes((n, 0)) for n in range(1, 5)) + b"\0\x3f\0"),
            data,
            b"\xff\xd9",
        )
    )


def test_cmyk_jpegs(tmp_path):
    frames = (frame[::24, ::32, 0] for frame in numbered_frames(20))
    (tmp_path / "v.mjpeg").write_bytes(b"".join(map(cmyk_jpeg, frames)))
    assert numbers(tmp_path / "v.mjpeg") == list(range(20))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotations_are_undone(tmp_path, turns):
    """The header asks for so many quarter turns clockwise."""
    data = bytearray(numbered_video(tmp_path / "v.mp4", 20, height=96, width=96).read_bytes())
    a, b = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    (tmp_path / "v.mp4").write_bytes(data)
    frames = [frame for clip in read(tmp_path / "v.mp4") for frame in clip.frames]
    assert [number_of(np.rot90(frame, turns)) for frame in frames] == list(range(20))


# --- streams


def streams(path: Path, *kinds: tuple[str, int, int], disposition: Disposition | None = None) -> Path:
    """A stream of each (codec, frames, number of the first frame); the first one with a disposition."""
    with av.open(str(path), "w") as container:
        made = []
        for place, (codec, count, first) in enumerate(kinds):
            stream = container.add_stream(codec, rate=25, options=PLAIN if codec == "libx264" else {})
            stream.height, stream.width = 96, 128
            stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
            if disposition is not None and not place:
                stream.disposition = disposition
            made.append((stream, list(numbered_frames(first + count))[first:]))
        for stream, frames in made:
            for number, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".nut", ".wmv"])
@pytest.mark.parametrize("disposition", [Disposition.attached_pic, None], ids=["marked", "unmarked"])
def test_cover_art_is_not_the_video_even_where_it_comes_first(tmp_path, suffix, disposition):
    path = streams(tmp_path / f"v{suffix}", ("mjpeg", 1, 77), ("libx264", 20, 0), disposition=disposition)
    assert numbers(path) == list(range(20))


def test_a_still_of_any_coding_before_the_video_is_passed_over(tmp_path):
    assert numbers(streams(tmp_path / "v.mp4", ("libx264", 1, 77), ("libx264", 20, 0))) == list(range(20))
    assert len(index_video(str(streams(tmp_path / "w.mp4", ("libx264", 1, 77), ("libx264", 1, 0))))) == 1


def test_an_animated_avif_is_not_its_first_picture(tmp_path):
    path = numbered_video(tmp_path / "v.avif", 20, coding=Coding("libsvtav1", ".avif", options={"preset": "12"}))
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2  # the first of which is a still one
    assert numbers(path) == list(range(20))


def test_cover_art_alone_is_no_video(tmp_path):
    path = streams(tmp_path / "v.mp4", ("mjpeg", 1, 77), ("libx264", 20, 0), disposition=Disposition.attached_pic)
    path.write_bytes(path.read_bytes().replace(b"vide", b"soun"))
    assert refusal(path).startswith(("no video stream", "damaged"))


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_of_several_video_streams_the_first_counts(tmp_path, suffix):
    assert numbers(streams(tmp_path / f"v{suffix}", ("libx264", 20, 0), ("libx264", 40, 100))) == list(range(20))
    assert numbers(streams(tmp_path / f"w{suffix}", ("libx264", 20, 100), ("libx264", 40, 0))) == list(range(100, 120))


def test_a_size_that_changes_changes_nothing_but_the_resizing(tmp_path):
    parts = [numbered_video(tmp_path / f"{n}.h264", 10, height=h, width=w) for n, h, w in ((0, 96, 128), (1, 48, 64))]
    path = tmp_path / "v.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert numbers(path) == [*range(10), *range(10)]
    assert (index_video(str(path)).info.width, index_video(str(path)).info.height) == (128, 96)


# --- time


@pytest.mark.parametrize("suffix", [".mkv", ".nut"])
def test_a_thousand_million_seconds_in_four_frames(tmp_path, suffix):
    """Frames are counted, not seconds; only resampling would have to make a frame for each moment."""
    ticks = [0, 40, 10**12, 10**12 + 40]
    coding = Coding(suffix=suffix, options=PLAIN)
    path = write_video(tmp_path / f"v{suffix}", numbered_frames(4), coding=coding, ticks=ticks, time_base=MILLISECONDS)
    assert numbers(path) == [0, 1, 2, 3]
    assert numbers(path, Sampling(clips=2, length=2)) == [0, 1, 2, 3]
    (clip,) = read(path)
    assert clip.end_seconds == pytest.approx(1e9 + 0.08)
    assert refusal(path, Sampling(fps=25)) == (
        "runs 1,000,000,000 s; at 25 frames a second that is too long to resample"
    )
    segment = Video("v", str(path), "v", end_seconds=0.08)
    assert any(isinstance(item, VideoEnd) for item in read_clips(segment, SPEC, Sampling(clips=1, fps=25)))


def test_a_header_that_announces_years_is_not_believed(tmp_path):
    data = bytearray(numbered_video(tmp_path / "v.mp4", 20).read_bytes())
    for box in (b"mvhd", b"mdhd"):
        at = data.index(box) + 20
        data[at : at + 4] = b"\x7f\xff\xff\xff"
    (tmp_path / "v.mp4").write_bytes(data)
    assert numbers(tmp_path / "v.mp4") == list(range(20))
    assert index_video(str(tmp_path / "v.mp4")).info.duration_seconds == pytest.approx(0.8)


def test_frames_of_one_timestamp_are_frames_of_their_own(tmp_path):
    path = write_video(
        tmp_path / "v.mkv",
        numbered_frames(8),
        coding=Coding(suffix=".mkv", options=PLAIN),
        ticks=[0, 40, 80, 80, 80, 120, 160, 200],
        time_base=MILLISECONDS,
    )
    assert numbers(path) == list(range(8))
    assert (np.diff(index_video(str(path)).seconds) > 0).all()


def test_frames_before_time_zero_are_not_shown_in_mp4_and_are_elsewhere(tmp_path):
    """MP4's edit list cuts them off, as players do; others move the clock."""
    for suffix, expected in ((".mp4", range(10, 18)), (".mkv", range(20)), (".ts", range(20)), (".nut", range(20))):
        path = write_video(
            tmp_path / f"v{suffix}",
            numbered_frames(20),
            coding=Coding(suffix=suffix, options=PLAIN),
            ticks=[-400 + 40 * n for n in range(20)],
            time_base=MILLISECONDS,
        )
        assert numbers(path) == list(expected), suffix


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv"])
def test_a_stream_that_starts_late_is_read_whole_and_timed_by_the_file(tmp_path, suffix):
    coding, ticks = Coding(suffix=suffix, options=PLAIN), [100_000 + 40 * n for n in range(20)]
    path = write_video(tmp_path / f"v{suffix}", numbered_frames(20), coding=coding, ticks=ticks, time_base=MILLISECONDS)
    assert numbers(path) == list(range(20))
    assert [clip.start_seconds for clip in read(path)] == pytest.approx([100 + 0.16 * n for n in range(5)], abs=1e-3)
    assert index_video(str(path)).info.duration_seconds == pytest.approx(0.8, abs=1e-3)


def transport_stream(path: Path, *, start: int, frames: range) -> bytes:
    """Numbered frames in MPEG-TS with B-frames, the first of them at ``start`` milliseconds."""
    return write_video(
        path,
        list(numbered_frames(frames.stop))[frames.start :],
        coding=CODINGS["h264 in MPEG-TS"],
        ticks=[start + 40 * n for n in range(len(frames))],
        time_base=MILLISECONDS,
    ).read_bytes()


def joined(*parts: bytes) -> bytes:
    """Transport streams one after the other, counted through: without this they would look cut."""
    counts: dict[int, int] = {}
    whole = bytearray(b"".join(parts))
    for at in range(0, len(whole), 188):
        pid = int.from_bytes(whole[at + 1 : at + 3], "big") & 0x1FFF
        if whole[at + 3] & 0x10:  # carries something
            counts[pid] = (counts.get(pid, -1) + 1) % 16
        whole[at + 3] = whole[at + 3] & 0xF0 | counts.get(pid, 0)
    return bytes(whole)


@pytest.mark.parametrize("second_start", [0, 20, 100_000, 1300], ids=["again", "between", "jump", "jump back"])
@pytest.mark.parametrize("first_start", [0, 2000])
def test_clocks_that_jump_leave_the_frames_in_their_order(tmp_path, first_start, second_start):
    parts = (
        transport_stream(tmp_path / "a.ts", start=first_start, frames=range(20)),
        transport_stream(tmp_path / "b.ts", start=second_start, frames=range(20, 40)),
    )
    (tmp_path / "v.ts").write_bytes(joined(*parts))
    assert numbers(tmp_path / "v.ts") == list(range(40))


def test_of_streams_joined_without_care_all_whole_frames_are_shown(tmp_path):
    """As `cat` joins them: the second one's clock begins again."""
    part = transport_stream(tmp_path / "a.ts", start=0, frames=range(20))
    (tmp_path / "v.ts").write_bytes(part + part)
    assert numbers(tmp_path / "v.ts") == [*range(20), *range(20)]
    assert "clock goes back" in index_video(str(tmp_path / "v.ts")).info.remarks[0]


# --- bombs


def boxed(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def with_table(movie: bytes, kind: bytes, content: bytes) -> bytes:
    """An MP4 whose index stands at its end, with another table of this kind."""
    at = movie.index(kind) - 4
    old, new = int.from_bytes(movie[at : at + 4], "big"), boxed(kind, content)
    changed = bytearray(movie[:at] + new + movie[at + old :])
    for around in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = movie.rindex(around, 0, at) - 4
        size = int.from_bytes(movie[place : place + 4], "big")
        changed[place : place + 4] = (size + len(new) - old).to_bytes(4, "big")
    return bytes(changed)


def of_size(picture: bytes, at: int, packed: bytes) -> bytes:
    return picture[:at] + packed + picture[at + len(packed) :]


def made(tmp_path: Path, codec: str, pixel_format: str, suffix: str) -> bytes:
    path = tmp_path / f"made{suffix}"
    return write_video(path, numbered_frames(5), coding=Coding(codec, suffix, pixel_format, {})).read_bytes()


def huge_avi(tmp_path: Path) -> bytes:
    data = made(tmp_path, "ffv1", "bgr0", ".avi")
    return of_size(data, data.index(b"strf") + 12, struct.pack("<ii", 65535, 65535))


def huge_gif(tmp_path: Path) -> bytes:
    return of_size(made(tmp_path, "gif", "rgb8", ".gif"), 6, struct.pack("<HH", 65535, 65535))


def huge_png(tmp_path: Path) -> bytes:
    data, at = made(tmp_path, "png", "rgb24", ".mov"), 0
    while (at := data.find(b"IHDR", at)) >= 0:
        header = b"IHDR" + struct.pack(">II", 65535, 65535) + data[at + 12 : at + 17]
        data, at = of_size(data, at, header + struct.pack(">I", zlib.crc32(header))), at + 4
    return data


def huge_vp8(tmp_path: Path) -> bytes:
    data = made(tmp_path, "libvpx", "yuv420p", ".ivf")
    size = struct.pack("<HH", 16383, 16383)
    return of_size(of_size(data, 12, size), data.index(b"\x9d\x01\x2a") + 3, size)


def huge_jpeg_later(tmp_path: Path) -> bytes:
    data = made(tmp_path, "mjpeg", "yuvj420p", ".mjpeg")
    return of_size(data, data.rindex(b"\xff\xc0") + 5, struct.pack(">HH", 65500, 65500))


def huge_y4m(_: Path) -> bytes:
    return b"YUV4MPEG2 W65535 H65535 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000)


def endless_table(tmp_path: Path) -> bytes:
    """A thousand million frames of a byte each."""
    movie = made(tmp_path, "mpeg4", "yuv420p", ".mp4").replace(b"edts", b"free")
    for kind, content in (
        (b"stsz", struct.pack(">III", 0, 1, 10**9)),
        (b"stts", struct.pack(">IIII", 0, 1, 10**9, 1)),
        (b"stsc", struct.pack(">IIIII", 0, 1, 1, 10**9, 1)),
    ):
        movie = with_table(movie, kind, content)
    return movie


def same_bytes_over_and_over(tmp_path: Path) -> bytes:
    """100,000 frames that all lie in the same place: to read them all is to read the file 30,000 times."""
    path = write_video(
        tmp_path / "made.mp4",
        np.random.default_rng(0).integers(0, 255, (3, 480, 640, 3), np.uint8),
        coding=Coding("mpeg4", ".mp4", options={"qmax": "2"}),
    )
    movie = path.read_bytes().replace(b"edts", b"free")
    offset = movie.index(b"stco") + 12
    for kind, content in (
        (b"stsz", struct.pack(">III", 0, len(movie) // 3, 100_000)),
        (b"stts", struct.pack(">IIII", 0, 1, 100_000, 512)),
        (b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        (b"stco", struct.pack(">II", 0, 100_000) + movie[offset : offset + 4] * 100_000),
    ):
        movie = with_table(movie, kind, content)
    return movie


def edits_of_edits(tmp_path: Path) -> bytes:
    """An edit list that shows the whole video 100,000 times."""
    movie = made(tmp_path, "mpeg4", "yuv420p", ".mp4")
    edit = struct.pack(">IIHH", 200, 0, 1, 0)
    at = movie.index(b"edts") - 4
    old = int.from_bytes(movie[at : at + 4], "big")
    new = boxed(b"edts", boxed(b"elst", struct.pack(">II", 0, 100_000) + edit * 100_000))
    changed = bytearray(movie[:at] + new + movie[at + old :])
    for around in (b"moov", b"trak"):
        place = movie.rindex(around, 0, at) - 4
        size = int.from_bytes(movie[place : place + 4], "big")
        changed[place : place + 4] = (size + len(new) - old).to_bytes(4, "big")
    at = changed.index(b"tkhd") + 24
    changed[at : at + 4] = b"\xff" * 4  # of unknown length: else it would not agree with its edits
    return bytes(changed)


BOMBS: dict[Callable[[Path], bytes], str] = {
    huge_avi: "65535x65535",
    huge_gif: "65535x65535",
    huge_png: "65535x65535",
    huge_vp8: "frames of 16383 x 16383 by its header; more than 134 million pixels are not read",
    huge_jpeg_later: "damaged: frame 4",
    huge_y4m: "too damaged to open",
    endless_table: "no frames|cut off",
    same_bytes_over_and_over: "damaged: lists the same bytes over and over",
    edits_of_edits: "damaged: lists the same bytes over and over",
}

READS_ALL = """
import json, resource, sys
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Video
from p3dfeat.video import read_clips
for path in json.loads(sys.argv[1]):
    try:
        n = sum(1 for _ in read_clips(Video("v", path, "v"), InputSpec(resize=(96, 128)), Sampling(clips=2), threads=1))
        said = f"{n} items"
    except VideoError as error:
        said = str(error)
    print(json.dumps([said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def test_bombs_are_one_line_and_take_no_memory(tmp_path):
    paths = []
    for bomb in BOMBS:
        folder = tmp_path / bomb.__name__
        folder.mkdir()
        (folder / "bomb").write_bytes(bomb(folder))
        paths.append(str(folder / "bomb"))
    plain = str(numbered_video(tmp_path / "plain.mp4", 20))
    command = [sys.executable, "-c", READS_ALL, json.dumps([plain, *paths])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (_, usual), *found = [json.loads(line) for line in ended.stdout.splitlines()]
    for bomb, (said, _) in zip(BOMBS, found, strict=True):
        assert any(words in said for words in BOMBS[bomb].split("|")), (bomb.__name__, said)
    units = 1 if sys.platform == "darwin" else 1024
    assert (found[-1][1] - usual) * units < 200_000_000


def test_a_file_that_grows_as_fast_as_it_is_read_has_an_end(tmp_path, monkeypatch):
    path = numbered_video(tmp_path / "v.mjpeg", 10, coding=Coding("mjpeg", ".mjpeg", "yuvj420p", {}))
    part = path.read_bytes()

    def grow() -> None:
        with open(path, "ab") as file:
            file.write(part)

    monkeypatch.setattr(heartbeat, "LISTENERS", [grow])
    with pytest.raises(VideoError, match="over and over"):
        index_video(str(path))
    assert os.path.getsize(path) < 500 * len(part)
