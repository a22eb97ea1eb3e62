"""Decoding on a CUDA GPU: taken by itself only where it gives the pixels that the CPU gives, in less time."""

import time
from contextlib import suppress
from typing import Final

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, UInt8Array, Video
from p3dfeat.video.reading.clips import read_clips
from p3dfeat.video.reading.index import open_video

# Whose standards leave no bit to the decoder. Of others, one video's pixels say nothing of the next one's.
EXACT_CODECS: Final = frozenset({"h264", "hevc", "vp9", "av1"})
EXACT_FORMAT: Final = "yuv420p"

Kind = tuple[str, str]  # codec, pixel format


def kind_of(video: Video) -> Kind:
    """What decides which decoder is the better one. Raises VideoError."""
    with open_video(video.path) as (_, stream):
        return stream.codec_context.codec.canonical_name, stream.pix_fmt or "unknown"


def better_decoder(video: Video, kind: Kind, spec: InputSpec, sampling: Sampling, *, threads: int) -> str:
    """Either "cuda" or "cpu", by the first clip of ``video``. Raises VideoError where the CPU cannot read it."""
    if kind[0] not in EXACT_CODECS or kind[1] != EXACT_FORMAT:
        return "cpu"
    on_cpu = _first_clip(video, spec, sampling, "cpu", threads)
    seconds = {}
    for decoder in ("cuda", "cpu", "cuda"):  # the first time also prepares the GPU
        started = time.perf_counter()
        with suppress(VideoError):
            found = _first_clip(video, spec, sampling, decoder, threads)
            if on_cpu is None or found is None or not np.array_equal(on_cpu, found):
                return "cpu"
            seconds[decoder] = time.perf_counter() - started
    return min(seconds, key=lambda decoder: seconds[decoder])


def _first_clip(video: Video, spec: InputSpec, sampling: Sampling, decoder: str, threads: int) -> UInt8Array | None:
    items = read_clips(video, spec, sampling, threads=threads, decoder=decoder)
    return next((item.frames for item in items if isinstance(item, Clip)), None)
