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
from p3dfeat.video.packets import Packets
from p3dfeat.video.reading.ffmpeg_log import Complaints
from p3dfeat.video.reading.index import VideoIndex
from p3dfeat.video.reading.opening import MAX_PIXELS, pass_on, reason, regular_file

CODECS: Final = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png", ".bmp": "bmp", ".webp": "webp"}
LARGEST_BYTES: Final = 1 << 30  # per picture


def index_stills(folder: str, fps: float) -> VideoIndex:
    """The frames of a folder of numbered pictures, ``fps`` of them per second. Raises VideoError.

    Only the first picture is read, for the size.
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
        codec=CODECS[os.path.splitext(paths[0])[1].lower()],
        pixel_format=first.format.name,
        size_bytes=size_bytes,
        fingerprint=mark,
        modified=modified,
    )
    keyframes = np.arange(len(paths))
    return VideoIndex(seconds, len(paths) / fps, None, None, keyframes, 0.0, info, Packets.none())


class StillsReader:
    """Reads the ``wanted`` pictures of a folder. It is used like FrameReader. Iterating raises VideoError."""

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
        """Do nothing; FrameReader has this method, too."""


def _decoded(path: str, findings: Findings | None = None) -> VideoFrame:
    """The frame of a picture. Raises VideoError with one line that names the picture."""
    name = os.path.basename(path)
    with regular_file(path) as file:
        data = os.pread(file, LARGEST_BYTES, 0)
    context = VideoCodecContext.create(CODECS[os.path.splitext(path)[1].lower()], "r")
    assert isinstance(context, VideoCodecContext)
    context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "crccheck"}
    frames: list[VideoFrame] = []
    with closing(Complaints()) as complaints:
        why = "it is empty"
        try:
            with complaints.listening():
                frames = [*context.decode(av.Packet(data)), *context.decode(None)] if data else []
        except av.FFmpegError as error:
            pass_on(error)
            why = reason(error)
        said = complaints.worst()
    if not frames or frames[0].is_corrupt:
        raise VideoError(f"damaged: picture {name} does not decode ({said or why})")
    if said and findings is not None:
        findings.remark(f"picture {name}: {said}")
    return frames[0]
