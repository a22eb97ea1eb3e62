"""Decoding on a CUDA GPU. "auto" uses it only if it gives the same pixels as the CPU in less time."""

import time
from contextlib import suppress
from typing import Final

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, UInt8Array, Video
from p3dfeat.video.ranged import RangedFile
from p3dfeat.video.reading.clips import read_clips
from p3dfeat.video.reading.index import open_video

# Their standards define every bit of the output. With other codecs, equal pixels in one video prove nothing for others.
EXACT_CODECS: Final = frozenset({"h264", "hevc", "vp9", "av1"})
EXACT_FORMAT: Final = "yuv420p"

Kind = tuple[str, str]  # codec, pixel format


def kind_of(where: str | RangedFile) -> Kind:
    """The codec and pixel format, which decide which decoder is better. Raises VideoError."""
    with open_video(where) as (_, stream):
        return stream.codec_context.codec.canonical_name, stream.pix_fmt or "unknown"


def better_decoder(
    video: Video, where: str | RangedFile, kind: Kind, spec: InputSpec, sampling: Sampling, *, threads: int
) -> str:
    """Either "cuda" or "cpu", by a test on the first clip of ``video``. Raises VideoError if the CPU cannot read it."""
    if kind[0] not in EXACT_CODECS or kind[1] != EXACT_FORMAT:
        return "cpu"
    on_cpu = _first_clip(video, where, spec, sampling, "cpu", threads)
    seconds = {}
    for decoder in ("cuda", "cpu", "cuda"):  # the first run also initializes the GPU
        started = time.perf_counter()
        with suppress(VideoError):
            found = _first_clip(video, where, spec, sampling, decoder, threads)
            if on_cpu is None or found is None or not np.array_equal(on_cpu, found):
                return "cpu"
            seconds[decoder] = time.perf_counter() - started
    return min(seconds, key=lambda decoder: seconds[decoder])


def _first_clip(
    video: Video, where: str | RangedFile, spec: InputSpec, sampling: Sampling, decoder: str, threads: int
) -> UInt8Array | None:
    items = read_clips(video, spec, sampling, where=where, threads=threads, decoder=decoder)
    return next((item.frames for item in items if isinstance(item, Clip)), None)
