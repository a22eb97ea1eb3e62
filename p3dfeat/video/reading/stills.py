"""A folder of numbered pictures as a video: each picture is a frame."""

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import av
import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

from p3dfeat.errors import VideoError
from p3dfeat.fingerprint import fingerprint, size_and_time
from p3dfeat.pictures import numbered_pictures
from p3dfeat.types import Int64Array, VideoInfo
from p3dfeat.video.findings import Findings
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.reading.complaints import Complaints
from p3dfeat.video.reading.index import VideoIndex
from p3dfeat.video.reading.listing import Packets
from p3dfeat.video.reading.trust import MAX_PIXELS, reason, regular_file

CODECS: Final = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png", ".bmp": "bmp", ".webp": "webp"}
LARGEST_BYTES: Final = 1 << 30  # of a picture


def index_stills(folder: str, fps: float) -> VideoIndex:
    """The frames of a folder of numbered pictures, ``fps`` of them per second. Raises VideoError.

    Only the first one is looked at: it tells the size.
    """
    try:
        paths = numbered_pictures(folder)
        size_bytes, modified = size_and_time(folder)
        mark = fingerprint(folder)
    except OSError as error:
        raise VideoError(f"folder of pictures cannot be read ({error.strerror})") from None
    if not paths:
        raise VideoError("no numbered pictures in this folder")
    first = _decoded(paths[0])
    seconds = np.arange(len(paths)) / fps
    info = VideoInfo(
        duration_seconds=len(paths) / fps,
        frame_rate=fps,
        num_frames=len(paths),
        width=first.width,
        height=first.height,
        rotation=0,
        sample_aspect_ratio="1:1",
        codec=_codec_of(paths[0]),
        pixel_format=first.format.name,
        size_bytes=size_bytes,
        fingerprint=mark,
        modified=modified,
    )
    keyframes = np.arange(len(paths))
    return VideoIndex(seconds, len(paths) / fps, None, None, keyframes, 0.0, info, Packets.none())


class StillsReader:
    """Reads the ``wanted`` pictures of a folder. Used as FrameReader is. Iterating raises VideoError."""

    def __init__(self, folder: str, wanted: Int64Array, findings: Findings):
        self._paths, self._wanted, self._findings = numbered_pictures(folder), wanted, findings
        self.decoded = 0

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        for number in self._wanted.tolist():
            tick()
            if number >= len(self._paths):
                raise VideoError(f"picture {number} of the folder is gone")
            frame = _decoded(self._paths[number], self._findings)
            self.decoded += 1
            yield number, frame

    def finish(self) -> None:
        """Nothing is left to be said."""


def _codec_of(path: str) -> str:
    return CODECS[os.path.splitext(path)[1].lower()]


def _decoded(path: str, findings: Findings | None = None) -> VideoFrame:
    """The one frame of a picture. Raises VideoError in a line that names it."""
    name = os.path.basename(path)
    with regular_file(path) as file:
        data = os.pread(file, LARGEST_BYTES, 0)
    context = VideoCodecContext.create(_codec_of(path), "r")
    assert isinstance(context, VideoCodecContext)
    context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "crccheck"}
    context.thread_count = 1
    with closing(Complaints()) as complaints:
        try:
            with complaints.listening():
                frames = [*context.decode(av.Packet(data)), *context.decode(None)] if data else []
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise VideoError(
                f"damaged: picture {name} does not decode ({complaints.worst() or reason(error)})"
            ) from None
        if not frames or frames[0].is_corrupt:
            raise VideoError(f"damaged: picture {name} does not decode ({complaints.worst() or 'it is empty'})")
        if (said := complaints.worst()) and findings is not None:
            findings.remark(f"picture {name}: {said}")
    return frames[0]
