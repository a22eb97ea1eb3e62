"""The whole videos that the fuzzer damages: every container and coding that FFmpeg can write here, tiny ones."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder would tell its life to stderr

HEIGHT, WIDTH = 48, 64
RATE: Final = 25
SAMPLE_RATE: Final = 44_100


@dataclass(frozen=True)
class Seed:
    """How a video is made. name: also the file's; its suffix is what the container is usually called."""

    name: str
    container: str
    codec: str
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    sound: str | None = None  # codec of a sound track
    frames: int = 30
    gaps: tuple[int, ...] = (1,)  # from one frame to the next, in units of 1 / RATE, repeated


X264: Final = {
    "preset": "veryfast",
    "g": "12",
    "bf": "2",
    "b_strategy": "0",
    "x264-params": "log-level=none:threads=1:asm=0",
}
X265: Final = {"preset": "ultrafast", "x265-params": "keyint=12:bframes=2:log-level=none:pools=none:frame-threads=1"}
VPX: Final = {"deadline": "realtime", "cpu-used": "8", "g": "12", "b": "200k"}
AV1: Final = {"preset": "10", "g": "12", "crf": "30", "svtav1-params": "lp=1"}
MPEG: Final = {"qmin": "2", "qmax": "6", "g": "12"}
MPEG_B: Final = MPEG | {"bf": "2"}
FRAGMENTED: Final = {"movflags": "frag_keyframe+empty_moov"}

SEEDS: Final = (
    Seed("h264.mp4", "mp4", "libx264", options=X264),
    Seed("h264-sound.mp4", "mp4", "libx264", options=X264, sound="aac"),
    Seed("h264-uneven.mp4", "mp4", "libx264", options=X264, gaps=(1, 2, 1, 3)),
    Seed("h264-faststart.mp4", "mp4", "libx264", options=X264, container_options={"movflags": "faststart"}),
    Seed("h264-fragmented.mp4", "mp4", "libx264", options=X264, container_options=FRAGMENTED),
    Seed("hevc.mp4", "mp4", "libx265", options=X265),
    Seed("av1.mp4", "mp4", "libsvtav1", options=AV1),
    Seed("mpeg4.mp4", "mp4", "mpeg4", options=MPEG_B),
    Seed("vp9.mp4", "mp4", "libvpx-vp9", options=VPX),
    Seed("prores.mov", "mov", "prores_ks", "yuv422p10le", frames=12),
    Seed("mjpeg.mov", "mov", "mjpeg", "yuvj420p", MPEG),
    Seed("png.mov", "mov", "png", "rgb24", frames=12),
    Seed("raw.mov", "mov", "rawvideo", "yuyv422", frames=8),
    Seed("qtrle.mov", "mov", "qtrle", "rgb24", frames=12),
    Seed("h264.3gp", "3gp", "libx264", options=X264),
    Seed("h264.mkv", "matroska", "libx264", options=X264),
    Seed("h264-sound.mkv", "matroska", "libx264", options=X264, sound="libopus"),
    Seed("h264-uneven.mkv", "matroska", "libx264", options=X264, gaps=(1, 2, 1, 3)),
    Seed("h264-live.mkv", "matroska", "libx264", options=X264, container_options={"live": "1"}),
    Seed("hevc.mkv", "matroska", "libx265", options=X265),
    Seed("mpeg2.mkv", "matroska", "mpeg2video", options=MPEG_B),
    Seed("ffv1.mkv", "matroska", "ffv1", options={"level": "3", "slicecrc": "1"}, frames=12),
    Seed("mpeg4.mkv", "matroska", "mpeg4", options=MPEG, frames=20),
    Seed("vp8.webm", "webm", "libvpx", options=VPX),
    Seed("vp9.webm", "webm", "libvpx-vp9", options=VPX | {"auto-alt-ref": "1", "lag-in-frames": "10"}),
    Seed("vp9-sound.webm", "webm", "libvpx-vp9", options=VPX, sound="libopus"),
    Seed("av1.webm", "webm", "libsvtav1", options=AV1),
    Seed("mpeg4.avi", "avi", "mpeg4", options=MPEG),
    Seed("mpeg4-b-sound.avi", "avi", "mpeg4", options=MPEG_B, sound="libmp3lame"),
    Seed("h264.avi", "avi", "libx264", options=X264),
    Seed("mjpeg.avi", "avi", "mjpeg", "yuvj420p", MPEG),
    Seed("ffv1.avi", "avi", "ffv1", options={"level": "3", "slicecrc": "1"}, frames=12),
    Seed("huffyuv.avi", "avi", "huffyuv", "yuv422p", frames=10),
    Seed("raw.avi", "avi", "rawvideo", "bgr24", frames=6),
    Seed("msmpeg4.avi", "avi", "msmpeg4", options=MPEG),
    Seed("utvideo.avi", "avi", "utvideo", frames=10),
    Seed("h264.ts", "mpegts", "libx264", options=X264),
    Seed("h264-sound.ts", "mpegts", "libx264", options=X264, sound="aac"),
    Seed("hevc.ts", "mpegts", "libx265", options=X265),
    Seed("mpeg2.ts", "mpegts", "mpeg2video", options=MPEG_B),
    Seed("mpeg2.mpg", "mpeg", "mpeg2video", options=MPEG_B),
    Seed("mpeg1.vob", "vob", "mpeg1video", options=MPEG, sound="mp2"),
    Seed("h264.flv", "flv", "libx264", options=X264),
    Seed("flv1-sound.flv", "flv", "flv", options=MPEG, sound="libmp3lame"),
    Seed("wmv2.asf", "asf", "wmv2", options=MPEG),
    Seed("wmv1-sound.asf", "asf", "wmv1", options=MPEG, sound="libmp3lame"),
    Seed("vp8.ogv", "ogg", "libvpx", options=VPX),
    Seed("mpeg2.mxf", "mxf", "mpeg2video", options=MPEG),
    Seed("h264.nut", "nut", "libx264", options=X264),
    Seed("mpeg4.nut", "nut", "mpeg4", options=MPEG_B),
    Seed("pal8.gif", "gif", "gif", "rgb8", frames=16),
    Seed("raw.y4m", "yuv4mpegpipe", "wrapped_avframe", frames=6),
    Seed("vp8.ivf", "ivf", "libvpx", options=VPX),
    Seed("vp9.ivf", "ivf", "libvpx-vp9", options=VPX),
    Seed("av1.obu", "obu", "libsvtav1", options=AV1),
    Seed("h264.h264", "h264", "libx264", options=X264),
    Seed("hevc.hevc", "hevc", "libx265", options=X265),
    Seed("mpeg4.m4v", "m4v", "mpeg4", options=MPEG),
    Seed("mpeg2.m2v", "mpeg2video", "mpeg2video", options=MPEG_B),
    Seed("mjpeg.mjpeg", "mjpeg", "mjpeg", "yuvj420p", MPEG),
    Seed("apng.apng", "apng", "apng", "rgb24", frames=8),
)


def write_seeds(folder: Path) -> dict[str, Path]:
    """{name: file} of all seeds that this FFmpeg can make."""
    return {seed.name: write_seed(folder / seed.name, seed) for seed in SEEDS}


def write_seed(path: Path, seed: Seed) -> Path:
    """Make one; the same bytes every time, with one FFmpeg."""
    options = {"fflags": "+bitexact", **seed.container_options}
    with av.open(str(path), "w", format=seed.container, options=options) as container:
        video = container.add_stream(seed.codec, rate=RATE, options={"flags": "+bitexact", **seed.options})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, seed.pixel_format
        video.codec_context.thread_count = 1
        sound = (
            container.add_stream(seed.sound, rate=48_000 if seed.sound == "libopus" else SAMPLE_RATE)
            if seed.sound
            else None
        )
        ticks = 0
        for number, pixels in enumerate(_pictures(seed.frames)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = ticks, Fraction(1, RATE)
            ticks += seed.gaps[number % len(seed.gaps)]
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is not None:
            container.mux(sound.encode(_silence(ticks / RATE, sound.rate)))
            container.mux(sound.encode())
    return path


def _pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures (H, W, 3) in which something moves, no two alike."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    grain = np.random.default_rng(7).integers(0, 24, (HEIGHT, WIDTH + 4 * count, 1))
    for number in range(count):
        waves = [np.sin((rows * a + columns * b + 9 * number) / 11) for a, b in ((1, 2), (2, -1), (-1, 1))]
        drawn = 110 + 90 * np.stack(waves, axis=-1) + grain[:, 2 * number : 2 * number + WIDTH]
        drawn[4:12, 2 + number : 10 + number] = 16 + 7 * number  # a block that moves and brightens
        yield drawn.clip(0, 255).astype(np.uint8)


def _silence(seconds: float, rate: int) -> av.AudioFrame:
    tone = 0.2 * np.sin(np.arange(int(seconds * rate)) / 20)
    frame = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], format="fltp", layout="mono")
    frame.rate, frame.pts = rate, 0
    return frame
