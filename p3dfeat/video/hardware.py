"""Decoding on a CUDA GPU: taken by itself only where it gives the pixels that the CPU gives, in less time."""

import time

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Clip, UInt8Array, Video
from p3dfeat.video.clips import read_clips


def better_decoder(video: Video, spec: InputSpec, sampling: Sampling, *, threads: int) -> str:
    """Either "cuda" or "cpu", by the first clip of ``video``. Raises VideoError where it cannot be read."""
    on_cpu = _first_clip(video, spec, sampling, "cpu", threads)
    on_gpu = _first_clip(video, spec, sampling, "cuda", threads)  # which also prepares the GPU, uncounted
    if on_cpu is None or on_gpu is None or not np.array_equal(on_cpu, on_gpu):
        return "cpu"
    seconds = {}
    for decoder in ("cpu", "cuda"):
        started = time.perf_counter()
        _first_clip(video, spec, sampling, decoder, threads)
        seconds[decoder] = time.perf_counter() - started
    return min(seconds, key=lambda decoder: seconds[decoder])


def _first_clip(video: Video, spec: InputSpec, sampling: Sampling, decoder: str, threads: int) -> UInt8Array | None:
    items = read_clips(video, spec, sampling, threads=threads, decoder=decoder)
    return next((item.frames for item in items if isinstance(item, Clip)), None)
