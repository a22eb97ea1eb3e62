"""Videos made for the tests: numbered frames, known camera moves, and files broken in known ways."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from p3dfeat.types import VideoStart

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder would tell its life to stderr

BITS = 16  # a frame's number, as a 4 x 4 grid of black and white blocks
GRID = 4


@dataclass(frozen=True)
class Coding:
    """How a test video is encoded."""

    codec: str = "libx264"
    suffix: str = ".mp4"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"crf": "18", "preset": "veryfast"})


X264 = Coding()
CODINGS = {
    "h264 with B-frames": Coding(options={"crf": "20", "preset": "veryfast", "g": "40", "bf": "3", "b_strategy": "0"}),
    "h264, one long GOP": Coding(options={"crf": "20", "preset": "veryfast", "g": "1000", "bf": "3"}),
    "h264, open GOPs, in Matroska": Coding(
        suffix=".mkv",
        options={"crf": "20", "preset": "veryfast", "g": "24", "bf": "3", "x264-params": "open-gop=1:log-level=none"},
    ),
    "h264 in MPEG-TS": Coding(suffix=".ts", options={"crf": "20", "preset": "veryfast", "g": "30", "bf": "2"}),
    "h264 in AVI": Coding(suffix=".avi", options={"crf": "20", "preset": "veryfast", "g": "30", "bf": "2"}),
    "hevc": Coding("libx265", options={"crf": "20", "preset": "ultrafast", "x265-params": "keyint=30:log-level=none"}),
    "hevc, 10 bits": Coding(
        "libx265", ".mkv", "yuv420p10le", {"crf": "20", "preset": "ultrafast", "x265-params": "log-level=none"}
    ),
    "vp9 with hidden frames": Coding(
        "libvpx-vp9",
        ".webm",
        options={
            "b": "400k",
            "deadline": "realtime",
            "cpu-used": "8",
            "g": "40",
            "auto-alt-ref": "1",
            "lag-in-frames": "16",
        },
    ),
    "av1": Coding("libsvtav1", ".mkv", options={"crf": "20", "preset": "8", "g": "40"}),
    "mpeg4 with B-frames": Coding("mpeg4", ".mp4", options={"q": "3", "qmin": "2", "qmax": "5", "g": "30", "bf": "2"}),
    "mpeg4 in AVI": Coding("mpeg4", ".avi", options={"qmin": "2", "qmax": "5", "g": "30", "bf": "2"}),
    "mpeg2 in a program stream": Coding("mpeg2video", ".mpg", options={"qmin": "2", "qmax": "5", "g": "18", "bf": "2"}),
    "mpeg1 in a program stream": Coding("mpeg1video", ".vob", options={"qmin": "2", "qmax": "5", "g": "12", "bf": "0"}),
    "mjpeg": Coding("mjpeg", ".avi", "yuvj420p", {"qmin": "2", "qmax": "4", "huffman": "default", "threads": "1"}),
}


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int | Fraction = 25,
    coding: Coding = X264,
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
) -> Path:
    """Encode (H, W, 3) uint8 RGB frames; with ``ticks``, at these times in units of ``time_base``."""
    with av.open(str(path), "w") as container:
        stream = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(coding.codec, rate=fps, options=dict(coding.options))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = coding.pixel_format
                if time_base is not None:
                    stream.time_base = stream.codec_context.time_base = time_base
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = number if ticks is None else ticks[number]
            frame.time_base = time_base or 1 / Fraction(fps)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode())
    return Path(path)


def numbered_frames(count: int, *, height: int = 96, width: int = 128) -> Iterable[np.ndarray]:
    """Frames that carry their own number where compression cannot hide it."""
    for number in range(count):
        bits = np.array([(number >> bit) & 1 for bit in range(BITS)], np.uint8).reshape(GRID, GRID)
        grey = np.kron(bits * 200 + 28, np.ones((height // GRID, width // GRID), np.uint8)).astype(np.uint8)
        yield np.repeat(grey[..., None], 3, axis=2)


def numbered_video(path: str | Path, count: int, *, coding: Coding = X264, fps: int = 25, **size: int) -> Path:
    return write_video(path, numbered_frames(count, **size), coding=coding, fps=fps)


def number_of(picture: np.ndarray) -> int:
    """The number a picture (H, W, C) carries."""
    height, width = picture.shape[0] // GRID, picture.shape[1] // GRID
    centre = picture[height // 2 :: height, width // 2 :: width].mean(axis=-1)[:GRID, :GRID]
    return sum(int(value > 128) << bit for bit, value in enumerate(centre.reshape(-1)))


def textured_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise, (height, width, 3) uint8: something to see a camera move over."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (height // 8 + 2, width // 8 + 2, 3))
    picture = coarse.repeat(8, 0).repeat(8, 1)
    for axis in (0, 1):
        kernel = np.ones(7) / 7
        picture = np.apply_along_axis(lambda line: np.convolve(line, kernel, "same"), axis, picture)  # noqa: B023
    return picture[4 : height + 4, 4 : width + 4].astype(np.uint8)


def panning_frames(count: int, *, pixels_a_frame: int, height: int = 96, width: int = 128, seed: int = 0):
    """A camera that pans right by so many pixels a frame (left, if negative) over a still picture."""
    reach = abs(pixels_a_frame) * count
    picture = textured_picture(height, width + reach, seed)
    for number in range(count):
        left = number * pixels_a_frame if pixels_a_frame > 0 else reach + number * pixels_a_frame
        yield picture[:, left : left + width]


def write_audio(path: str | Path) -> Path:
    """Half a second of silence, and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 22050), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


def settled(items: Iterable[object]) -> list[Any]:
    """What was read of a video in the end: from the last VideoStart on, which takes back what came before."""
    found: list[Any] = []
    for item in items:
        if isinstance(item, VideoStart):
            found.clear()
        found.append(item)
    return found
