"""Small pictures of videos: frames spread over a video, side by side in one WebP picture.

Decoder processes read the videos. Here, their pixels are only compressed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.pages.strip import Strip
from p3dfeat.types import Clip, UInt8Array, Video, VideoEnd, VideoStart
from p3dfeat.video.workers.pool import Decoders

QUALITIES: Final = (75, 60, 45, 30, 15)  # of WebP, from 0 to 100; the first that fits is taken
NARROWEST, WIDEST = 0.5, 2.4  # width of a frame, in heights; frames beyond are squeezed
TIMEOUT: Final = 120.0  # seconds for the pictures of one video
PAGE_BYTES: Final = 27_000_000  # of all pictures of a page: in base64, with the rest of the page, less than 40 MB
STEP: Final = 8  # pixels between the widths that are used: videos of one width are read together


@dataclass(frozen=True)
class StripPlan:
    """What is taken of each video. height: of a frame, in pixels. most_bytes: of a strip."""

    frames: int
    height: int
    most_bytes: int

    @classmethod
    def of(cls, num_videos: int) -> "StripPlan":
        """The largest pictures with which a page of that number of videos stays under 40 MB."""
        share = PAGE_BYTES // max(1, num_videos)
        for least, frames, height in ((16_000, 8, 96), (6_000, 6, 72), (1_500, 4, 48)):
            if share >= least:
                return cls(frames, height, min(share, 24_000))
        return cls(1, 40, share)


def take_strips(
    videos: Sequence[Video], sizes: Mapping[str, tuple[int, int]], plan: StripPlan, *, workers: int | None = None
) -> Iterator[tuple[Video, Strip | VideoError]]:
    """A strip of each video, or the reason why there is none; videos of one shape come together.

    sizes: (height, width) of videos, by id; of others, a first pass asks the files.
    """
    if not videos:
        return
    with Decoders(workers, decoder="cpu", timeout=TIMEOUT, partial=True) as decoders:
        known = dict(sizes)
        unknown = [video for video in videos if video.id not in known]
        sampling = Sampling(clips=plan.frames, length=1, spacing="inside")
        if unknown:
            for video, item in decoders.read(unknown, InputSpec(resize=(8, 8)), sampling, only_plan=True):
                if isinstance(item, VideoEnd):
                    known[video.id] = item.info.height, item.info.width
                elif isinstance(item, VideoError):
                    yield video, item
        shapes: dict[tuple[int, int], list[Video]] = {}
        for video in videos:
            if video.id in known:
                shapes.setdefault(frame_size(*known[video.id], plan.height), []).append(video)
        for size, alike in shapes.items():
            frames: list[UInt8Array] = []
            for video, item in decoders.read(alike, InputSpec(resize=size, interpolation="area"), sampling):
                if isinstance(item, VideoStart):
                    frames = []
                elif isinstance(item, Clip):
                    frames.append(item.frames[0].copy())
                elif isinstance(item, VideoError):
                    yield video, item
                elif not frames:
                    yield video, VideoError("no frame could be read")
                else:
                    yield video, strip_of(frames, plan.most_bytes)


def frame_size(height: int, width: int, wanted: int) -> tuple[int, int]:
    """(height, width) of a small frame of a picture of this size."""
    share = min(WIDEST, max(NARROWEST, width / max(1, height)))
    return wanted, max(STEP, round(wanted * share / STEP) * STEP)


def strip_of(frames: Sequence[UInt8Array], most_bytes: int) -> Strip:
    """(H, W, 3) RGB frames as a strip of at most ``most_bytes``; of frames that need more, some are left out."""
    height, width = frames[0].shape[:2]
    webp = b""
    for quality in QUALITIES:
        webp = as_webp(np.concatenate(list(frames), axis=1), quality)
        if len(webp) <= most_bytes:
            break
    if len(webp) > most_bytes and len(frames) > 1:
        return strip_of(frames[1::2], most_bytes)
    return Strip(webp, len(frames), width, height)


def as_webp(pixels: UInt8Array, quality: int) -> bytes:
    """A whole WebP file of (H, W, 3) RGB pixels; its encoder writes one for each picture.

    WebP pictures have the matrix of BT.601 and values from 16 to 235 (RFC 9649, section 2.6).
    """
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    planes = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG)
    encoder = av.VideoCodecContext.create("libwebp", "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"quality": str(quality), "compression_level": "4"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(planes), *encoder.encode(None)])
