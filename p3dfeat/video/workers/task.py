"""The tasks of a decoder process."""

import mmap
import os
from dataclasses import dataclass
from math import prod
from typing import Any, Final, get_args

import numpy as np

from p3dfeat.config import DECODER_MEMORY, InputSpec, Sampling
from p3dfeat.errors import UsageError
from p3dfeat.options import DecodeDevice
from p3dfeat.types import Video
from p3dfeat.video.workers.limits import CLOCK_BYTES

DECODERS: Final = get_args(DecodeDevice)
DRIVERS: Final = ("/dev/nvidiactl", "/dev/dxg")  # of NVIDIA's GPUs, on Linux and on Linux inside Windows
CLIPS_AHEAD: Final = 48  # clips per process that are decoded but not yet used, while an earlier video takes long
BYTES_AHEAD: Final = 128 << 20  # the same limit in bytes, for large clips
LONGEST_TIMEOUT: Final = 1e9  # seconds; a clock can still count hundredths
MOST_MEMORY: Final = 1e6  # GB; the bytes can still be counted


@dataclass(frozen=True)
class Task:
    """The settings for the next videos: what to read, and the limits per video."""

    spec: InputSpec
    sampling: Sampling
    decoder: str = "cpu"  # one of DECODERS
    timeout: float | None = None  # seconds of work per video; None: no limit while it makes progress
    memory: float = DECODER_MEMORY  # GB per process, on Linux
    only_plan: bool = False  # no clips, only their number and the data of the video
    partial: bool = False  # use the undamaged part of damaged videos
    strict: bool = False  # an inconsistency counts as damage
    check: str = "read"  # "full": all packets of a file are read; "read": the rest of a sparse plan's file is not
    distrust: bool = False  # frames are listed by decoding them, so that the output never restarts

    @property
    def slots(self) -> int:
        """Number of clips in the shared memory."""
        return max(2, min(CLIPS_AHEAD, BYTES_AHEAD // prod(self.clip_shape)))

    @property
    def num_crops(self) -> int:
        """Number of Clips that come for each clip, one per crop."""
        return len(self.spec.crops)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)"""
        return self.sampling.length, self.spec.num_channels, *self.spec.size

    @property
    def size(self) -> int:
        """Size of the shared memory in bytes: the clock and the clips."""
        return CLOCK_BYTES + self.slots * prod(self.clip_shape)

    def slot_views(self, memory: mmap.mmap) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
        """The clips in ``memory``, (T, C, H, W) uint8 each."""
        clips = np.frombuffer(memory, np.uint8, self.size - CLOCK_BYTES, CLOCK_BYTES)
        return list(clips.reshape(self.slots, *self.clip_shape))


@dataclass(frozen=True)
class DecodeJob:
    """A video to read, and the number of threads of its decoder."""

    video: Video
    threads: int


def check_decoding(
    workers: int | None, decoder: str, timeout: float | None = None, memory: float = DECODER_MEMORY
) -> None:
    """Raise UsageError for invalid arguments of ``Decoders``."""
    if workers is not None and workers < 1:
        raise UsageError(f"workers {workers}: must be at least 1")
    if decoder not in DECODERS:
        raise UsageError(f"decoder {decoder!r}: unknown; known are {', '.join(DECODERS)}")
    if timeout is not None and not 0 < timeout <= LONGEST_TIMEOUT:
        raise UsageError(f"timeout {timeout:g}: must be a number of seconds, more than 0")
    if not 0 < memory <= MOST_MEMORY:
        raise UsageError(f"decoder memory {memory:g}: must be a number of GB, more than 0")
    if decoder == "cuda" and not gpu_present():
        raise UsageError("decoder 'cuda': this machine has no NVIDIA GPU; use --decode-device cpu")


def gpu_present() -> bool:
    """Whether an NVIDIA driver is loaded. No library is loaded for this check."""
    return any(os.path.exists(path) for path in DRIVERS)


def usable_cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
