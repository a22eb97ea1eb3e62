"""The speed of decoding, of the network, and of both together, and the bottleneck."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import Engine
from p3dfeat.engines.batching import work_through
from p3dfeat.errors import NothingReadError, VideoError
from p3dfeat.nets import Architecture, on_meta
from p3dfeat.options import BenchSettings, Inputs, with_options
from p3dfeat.sources import as_texts, find_videos
from p3dfeat.types import Batch, Video, VideoStart
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import engine_for, model_for

MATRIX: Final = 2048  # rows and columns of the matrix product that measures the machine's limit
PRODUCTS: Final = 10  # per turn
MODEL_BATCHES: Final = 4  # per round if no videos are given


@dataclass(frozen=True)
class Measurement:
    """Rates of one model on one machine: medians over rounds. Each round measures everything once."""

    model: str
    engine: str
    device: str
    precision: str
    batch_size: int
    rounds: int
    gflop_a_clip: float  # two per multiply-add
    limit_gflops: float  # of float32 matrix products on this machine's CPU, or on the GPUs together
    model_clips_per_second: float
    videos: int  # measured; the rates below are None if there are none
    clips: int  # of all videos together
    failed: int
    decode_clips_per_second: float | None = None
    clips_per_second: float | None = None  # decoding and running the network together
    int8_cosine: float | None = None  # worst cosine to fp32, measured when int8 was calibrated

    @property
    def share_of_limit(self) -> float:
        """Rate of the network alone, as a fraction of the matrix product's rate."""
        return self.gflop_a_clip * self.model_clips_per_second / self.limit_gflops

    @property
    def bound_by(self) -> str | None:
        """The bottleneck: the slower of the two, measured alone."""
        if self.decode_clips_per_second is None:
            return None
        return "the network" if self.model_clips_per_second < self.decode_clips_per_second else "decoding"

    @property
    def efficiency(self) -> float | None:
        """Fraction of the possible rate. On a CPU both share the cores; with a GPU the slower one is the limit."""
        if self.decode_clips_per_second is None or self.clips_per_second is None:
            return None
        model, decode = 1 / self.model_clips_per_second, 1 / self.decode_clips_per_second
        return self.clips_per_second * (model + decode if self.device == "cpu" else max(model, decode))

    def as_json(self) -> dict[str, Any]:
        derived = {"share_of_limit": self.share_of_limit, "bound_by": self.bound_by, "efficiency": self.efficiency}
        return asdict(self) | derived


def run_bench(inputs: Inputs, settings: BenchSettings) -> Measurement:
    """Measure the speed of decoding, of the model, and of both together, and find the bottleneck.

    Args:
        inputs (str | Path | Sequence): Videos to measure with, as for ``extract``. If empty, only the model is
            measured.
        model (str | Path | Model | None): As for ``extract``.
        clips (int): Number of evenly spaced clips per video.
        rounds (int): Number of rounds. The median is returned.
        max_videos (int): Maximum number of videos measured.
        on_calibration (Callable): Called with the progress events of the int8 calibration.
        **options: engine, device, precision, batch_size, as for ``extract``.

    Returns:
        Measurement: Rates in clips per second, and the bottleneck.

    Raises:
        UsageError: An option has an invalid value.
        WeightsError: The weights are missing, unreachable or wrong.
        NothingReadError: None of the videos can be read.

    Example:
        >>> p3dfeat.bench("videos/", model="p3d-camera", rounds=3).clips_per_second
    """
    loaded = model_for(settings)
    spec = loaded.card.input
    sampling = loaded.sampling(clips=settings.clips)
    videos, total, failed = _readable(as_texts(inputs), spec, sampling, settings.max_videos)
    runner = engine_for(settings, loaded, videos, on_calibration=settings.on_calibration)
    with Decoders() as decoders:
        work = _Work(runner, spec, sampling, videos, runner.batch_size, total, decoders)
        parts: dict[str, Callable[[], None]] = {"limit": work.multiply, "model": work.run_net}
        if videos:
            parts |= {"decode": work.decode, "both": work.do_both}
        seconds = _medians(parts, settings.rounds)
    return Measurement(
        model=loaded.name,
        engine=runner.name,
        device=str(runner.device),
        precision=runner.precision,
        batch_size=runner.batch_size,
        rounds=settings.rounds,
        gflop_a_clip=gflop_a_clip(loaded.card.architecture, spec.length, spec.size),
        limit_gflops=2e-9 * MATRIX**3 * PRODUCTS * len(work.matrices) / seconds["limit"],
        model_clips_per_second=work.net_clips / seconds["model"],
        videos=len(videos),
        clips=total,
        failed=failed,
        decode_clips_per_second=total / seconds["decode"] if videos else None,
        clips_per_second=total / seconds["both"] if videos else None,
        int8_cosine=None if runner.calibrated is None else runner.calibrated.cosine,
    )


bench = with_options(BenchSettings)(run_bench)


def _readable(inputs: Sequence[str], spec: InputSpec, sampling: Sampling, limit: int) -> tuple[list[Video], int, int]:
    """The first readable videos, their total number of clips, and the number of unreadable videos."""
    found, failures = find_videos(list(inputs)) if inputs else ([], [])
    videos: list[Video] = []
    clips, failed = 0, len(failures)
    with Decoders() as decoders:
        for video in found:
            if len(videos) == limit:
                break
            items = [item for _, item in decoders.read([video], spec, sampling)]
            if isinstance(items[-1], VideoError):
                failed += 1
            else:
                videos.append(video)
                clips += next(item.num_clips for item in reversed(items) if isinstance(item, VideoStart))
    if inputs and not videos:
        raise NothingReadError(f"no video could be read, {failed} failed" if failed else "no videos given")
    return videos, clips, failed


@dataclass(frozen=True)
class _Work:
    """The operations that are measured in turn."""

    engine: Engine
    spec: InputSpec
    sampling: Sampling
    videos: Sequence[Video]
    batch_size: int
    clips: int
    decoders: Decoders

    @property
    def net_clips(self) -> int:
        """Clips per turn of the network: as many as the videos have, rounded up to whole batches."""
        return -(-(self.clips or MODEL_BATCHES * self.batch_size) // self.batch_size) * self.batch_size

    @cached_property
    def matrices(self) -> list[torch.Tensor]:
        """One per device."""
        return [torch.ones(MATRIX, MATRIX, device=device) for device in str(self.engine.device).split(",")]

    def multiply(self) -> None:
        for _ in range(PRODUCTS):
            results = [torch.mm(matrix, matrix) for matrix in self.matrices]
        for result in results:
            float(result[0, 0])  # waits until the GPU has finished

    def run_net(self) -> None:
        shape = (self.batch_size, self.spec.length, self.spec.num_channels, *self.spec.size)
        count = self.net_clips // self.batch_size
        start, in_flight = self.engine.start, self.engine.in_flight
        work_through(
            lambda planes: start(Batch.of_planes(planes)), np.full(shape, 127, np.uint8), count, in_flight=in_flight
        )

    def decode(self) -> None:
        with closing(self.decoders.read(self.videos, self.spec, self.sampling)) as items:
            for _ in items:
                continue

    def do_both(self) -> None:
        events = pipeline.describe(
            self.videos,
            engine=self.engine,
            spec=self.spec,
            sampling=self.sampling,
            decoders=self.decoders,
        )
        with closing(events):
            for _ in events:
                continue


def _medians(parts: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """{part: its median seconds}; the first turn of each is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, run in parts.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def gflop_a_clip(architecture: Architecture, length: int, size: tuple[int, int]) -> float:
    """GFLOP of a network for one clip of ``length`` frames of (height, width) pixels; two per multiply-add."""
    net, x = on_meta(architecture, length, size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(x, layers=("pool5",))
    return float(counter.get_total_flops()) / 1e9
