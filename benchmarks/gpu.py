"""How fast a CUDA GPU runs P3D-199, alone and fed by decoders: python -m benchmarks.gpu [VIDEO OR FOLDER]...

Writes gpu.md and gpu.json beside this file. Where there is no GPU it says so and writes nothing.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.engines import SPEC, random_net
from p3dfeat import Architecture
from p3dfeat.config import Sampling
from p3dfeat.engines import TorchEngine
from p3dfeat.engines.batching import WARM_UP, work_through
from p3dfeat.engines.devices import device_name, pick_device
from p3dfeat.engines.engine import Done
from p3dfeat.errors import UsageError
from p3dfeat.sources import find_videos
from p3dfeat.types import Batch, Video
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.bench import gflop_a_clip

MATRIX: Final = 8192  # rows and columns; large enough that a GPU's rate no longer grows
PRODUCTS: Final = 20
BATCHES: Final = 8  # timed in a row
END_TO_END: Final = ("fp32", "bf16")  # precisions
KERNELS: Final = 12  # shown of the profile


def matrix_tflops(device: torch.device, precision: str, rows: int) -> float:
    """Of a square matrix product in ``precision``; the median of five turns."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    matrix = torch.randn(rows, rows, device=device).to(dtype)
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        seconds = []
        for _ in range(6):
            started = time.perf_counter()
            for _ in range(PRODUCTS):
                result = torch.mm(matrix, matrix)
            float(result[0, 0])  # the device has only then finished
            seconds.append(time.perf_counter() - started)
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    return 2e-12 * rows**3 * PRODUCTS / statistics.median(seconds[1:])


def clips_per_second(engine: TorchEngine, size: int, rounds: int) -> float:
    """Of made clips in batches of ``size``, copies included; the median of the rounds."""
    shape = (size, SPEC.length, SPEC.num_channels, *SPEC.size)
    planes = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def run(count: int) -> float:
        started = time.perf_counter()
        work_through(lambda part: engine.start(Batch.of_planes(part)), planes, count, in_flight=engine.in_flight)
        return time.perf_counter() - started

    run(WARM_UP)
    return size * BATCHES / statistics.median(run(BATCHES) for _ in range(rounds))


def model_only(
    net: Any, device: torch.device, precisions: Sequence[str], sizes: Sequence[int], rounds: int, gflop: float
) -> list[dict[str, Any]]:
    """A row a precision and size, with cuDNN's kernels as its rules choose them, and as it chooses by trying."""
    rows = []
    for precision in precisions:
        for tried in (False, True) if device.type == "cuda" else (False,):
            torch.backends.cudnn.benchmark = tried
            engine = TorchEngine(net, SPEC, device=str(device), precision=precision)
            for size in sizes:
                rate = clips_per_second(engine, size, rounds)
                if engine.limit is not None:  # it did not fit and went in parts
                    break
                row = {"precision": precision, "kernels_tried": tried, "batch": size, "clips_per_second": rate}
                graph = "none" if device.type != "cuda" else engine.capture_failure or "replayed"
                rows.append(row | {"tflops": rate * gflop / 1e3, "graph": graph})
                print(f"{precision} {'tried' if tried else 'by rule'} {size}: {rate:.1f} clips/s", flush=True)
            del engine
            if device.type == "cuda":
                torch.cuda.empty_cache()
    torch.backends.cudnn.benchmark = False
    return rows


class FreeEngine:
    """Takes no time, so that what remains is decoding and putting batches together."""

    in_flight = 1

    def __init__(self, batch_size: int):
        self.batch_size = batch_size

    def start(self, batch: Batch) -> Done:
        return Done({"pool5": np.zeros((len(batch.frames), 1), np.float32)})


def describe(engine: Any, videos: Sequence[Video], sampling: Sampling) -> tuple[int, float]:
    """(clips, seconds) of all the videos."""
    started, clips = time.perf_counter(), 0
    with closing(pipeline.describe(videos, engine=engine, spec=SPEC, sampling=sampling)) as events:
        for event in events:
            clips += len(event.features) if isinstance(event, pipeline.Described) else 0
    return clips, time.perf_counter() - started


def busy_seconds(intervals: Sequence[tuple[float, float]]) -> float:
    """How long at least one of these lasted; what overlaps counts once."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def end_to_end(
    net: Any, device: torch.device, precision: str, videos: Sequence[Video], sampling: Sampling
) -> dict[str, Any]:
    """Rates of decoding, of the net and of both, and the share of the time in which the GPU ran kernels."""
    engine = TorchEngine(net, SPEC, device=str(device), precision=precision)
    net_rate = clips_per_second(engine, engine.batch_size, 3)
    decoded, decode_seconds = describe(FreeEngine(engine.batch_size), videos, sampling)
    clips, seconds = describe(engine, videos, sampling)
    with profile(activities=[ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU]) as profiler:
        _, profiled_seconds = describe(engine, videos, sampling)
    kernels = [event for event in profiler.events() if event.device_type == DeviceType.CUDA]
    computing = [event for event in kernels if not event.name.startswith(("Memcpy", "Memset"))]
    busy = 1e-6 * busy_seconds([(event.time_range.start, event.time_range.end) for event in computing])
    totals: dict[str, float] = {}
    for event in kernels:
        totals[event.name] = totals.get(event.name, 0.0) + 1e-6 * (event.time_range.end - event.time_range.start)
    return {
        "precision": precision,
        "batch": engine.batch_size,
        "videos": len(videos),
        "clips": clips,
        "net_clips_per_second": net_rate,
        "decode_clips_per_second": decoded / decode_seconds,
        "clips_per_second": clips / seconds,
        "gpu_busy_share": busy / profiled_seconds if device.type == "cuda" else None,
        "kernels": dict(sorted(totals.items(), key=lambda item: -item[1])[:KERNELS]),  # seconds
    }


def measure(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    architecture = Architecture.of_depth(options.depth)
    net = random_net(options.depth)
    gflop = gflop_a_clip(architecture, SPEC.length, SPEC.size)
    precisions = ("fp32", "tf32", "bf16", "fp16") if device.type == "cuda" else ("fp32", "bf16")
    matrix = {name: matrix_tflops(device, name, options.matrix) for name in precisions}
    rows = model_only(net, device, precisions, options.sizes, options.rounds, gflop)
    for row in rows:
        row["share_of_bf16_matrix"] = row["tflops"] / matrix["bf16"]
    videos, failures = find_videos(options.videos) if options.videos else ([], [])
    sampling = Sampling(clips=options.clips)
    for failure in failures:
        print(f"left out: {failure.source}: {failure.error}")
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "net": f"P3D-{options.depth}, {SPEC.length} x {SPEC.size[0]} x {SPEC.size[1]}",
        "gflop_a_clip": gflop,
        "matrix_tflops": matrix,
        "model_only": rows,
        "end_to_end": [end_to_end(net, device, name, videos, sampling) for name in END_TO_END] if videos else [],
    }


def as_markdown(found: dict[str, Any]) -> str:
    """The figures as tables."""
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in found["matrix_tflops"].items())
    lines = [
        f"# {found['net']} on {found['device']}, torch {found['torch']}",
        "",
        f"{found['gflop_a_clip']:.1f} GFLOP per clip. Matrix products, TFLOP/s: {rates}.",
        "",
        "| precision | cuDNN's kernels | batch | clips/s | TFLOP/s | of the bf16 matrix product | CUDA graph |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["model_only"]:
        how, share = "tried" if row["kernels_tried"] else "by rule", f"{100 * row['share_of_bf16_matrix']:.1f} %"
        speed = f"{row['clips_per_second']:.1f} | {row['tflops']:.1f} | {share}"
        lines.append(f"| {row['precision']} | {how} | {row['batch']} | {speed} | {row['graph']} |")
    if not found["end_to_end"]:
        lines += ["", "End to end: not measured, no videos were given."]
    for part in found["end_to_end"]:
        busy = part["gpu_busy_share"]
        shown = "not measured" if busy is None else f"{100 * busy:.0f} %"
        limit = part["decode_clips_per_second"] / part["net_clips_per_second"]
        lines += [
            "",
            f"End to end, {part['precision']}, batches of {part['batch']}, {part['clips']} clips of {part['videos']} "
            f"videos: {part['clips_per_second']:.1f} clips/s; the net {part['net_clips_per_second']:.1f}, decoding "
            f"alone {part['decode_clips_per_second']:.1f}, {limit:.2f}x the net. GPU busy: {shown}.",
            "",
            "| kernel or copy | seconds |",
            "|---|---|",
            *(f"| `{name[:100]}` | {seconds:.3f} |" for name, seconds in part["kernels"].items()),
        ]
    return "\n".join(lines) + "\n"


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", help="for the end-to-end figures")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--depth", type=int, default=199)
    parser.add_argument("--sizes", type=_sizes, default=[8, 16, 32, 64, 128, 256])
    parser.add_argument("--clips", type=int, default=20, help="a video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--matrix", type=int, default=MATRIX)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder for gpu.md and gpu.json")
    options = parser.parse_args()
    try:
        device = pick_device(options.device)
    except UsageError as error:
        print(f"not measured: {error}")
        return
    found = measure(options, device)
    (options.output / "gpu.json").write_text(json.dumps(found, indent=2) + "\n")
    text = as_markdown(found)
    (options.output / "gpu.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
