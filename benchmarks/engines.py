"""How fast each engine runs P3D-199 beside plain PyTorch and the machine's limit: python -m benchmarks.engines

int8 is calibrated anew on two clips of each video below --clips, and held to fp32 on three others of each.

All sides take turns in one run, so that a busy neighbour slows all of them; the medians are compared.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.table import Row, alternate, main_on_clips, median
from p3dfeat import Architecture
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import Calibration, CalibrationClips, Engine, OpenVINOEngine, TorchEngine, make_engine
from p3dfeat.engines.normalize import normalize
from p3dfeat.engines.openvino.quantization import worst_cosines
from p3dfeat.engines.selection import synthetic_clip
from p3dfeat.nets import P3D
from p3dfeat.sources import find_videos
from p3dfeat.types import Batch, Clip, UInt8Array
from p3dfeat.video import read_clips
from p3dfeat.workflows.bench import MATRIX, gflop_a_clip

EAGER, OWN, FUSED, INT8 = "PyTorch eager, NCDHW", "engine torch", "engine openvino", "engine openvino, int8"
SPEC = InputSpec(channels="bgr", resize=(182, 242), crop=(160, 160), mean=(104.0, 117.0, 123.0))


def random_net(depth: int) -> P3D:
    """A net whose activations neither vanish nor explode, so that no engine meets denormal numbers."""
    torch.manual_seed(0)
    net = P3D(Architecture.of_depth(depth)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
    return net


def clips_of(folder: Path | None) -> CalibrationClips:
    """Five clips of each video in a folder, two of them to calibrate on; or, without a folder, drawn ones."""
    clips: list[UInt8Array] = []
    if folder is None:
        rng, waves = np.random.default_rng(0), synthetic_clip(SPEC)[0].astype(float)
        for _ in range(40):
            drawn = rng.uniform(0.4, 1) * np.roll(waves, rng.integers(100), axis=2) + rng.uniform(0, 60)
            clips.append(np.clip(drawn, 0, 255).astype(np.uint8))
    else:
        for video in find_videos([str(folder)])[0]:
            items = read_clips(video, SPEC, Sampling(clips=5))
            clips += [item.frames for item in items if isinstance(item, Clip)]
    held_out = [clip for number, clip in enumerate(clips) if number % 5 > 1]
    return CalibrationClips([clip for number, clip in enumerate(clips) if number % 5 < 2], held_out, held_out=True)


def int8_engine(net: P3D, clips: CalibrationClips) -> tuple[Engine, float]:
    """An engine calibrated now, and how many seconds that took."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        calibration = Calibration(Path(folder), "random", lambda: clips, lambda event: None)
        engine = make_engine(net, SPEC, device="cpu", precision="int8", calibration=calibration)
    return engine, time.perf_counter() - started


def sides(net: P3D, batch: Batch, openvino: OpenVINOEngine, int8: Engine) -> dict[str, Callable[[], Any]]:
    """{what: a function that runs one batch}."""
    plain = normalize(torch.from_numpy(batch.frames), SPEC).contiguous()
    torch_engine = TorchEngine(net, SPEC, device="cpu")

    @torch.inference_mode()
    def eager() -> np.ndarray:
        return net(plain, layers=("pool5",))["pool5"].numpy()

    return {
        EAGER: eager,
        OWN: lambda: torch_engine.run(batch)["pool5"],
        FUSED: lambda: openvino.run(batch)["pool5"],
        INT8: lambda: int8.run(batch)["pool5"],
    }


def measure(batch_size: int, rounds: int, clips: CalibrationClips) -> dict[str, Any]:
    """Medians, ratios and errors."""
    net = random_net(199)
    frames = np.stack([clips.measured[number % len(clips.measured)] for number in range(batch_size)])
    batch = Batch.of_planes(Batch(frames).planes)  # as the decoders' clips lie in memory
    openvino, (int8, seconds) = OpenVINOEngine(net, SPEC), int8_engine(net, clips)
    running = sides(net, batch, openvino, int8)
    found = {name: run() for name, run in running.items()}
    matrix = torch.randn(MATRIX, MATRIX)
    times = alternate(running | {"matrix product": lambda: torch.mm(matrix, matrix)}, rounds, uncounted=1)
    medians = {name: median(values) for name, values in times.items()}
    limit = 2e-9 * MATRIX**3 / medians["matrix product"]
    gflop = gflop_a_clip(Architecture.of_depth(199), SPEC.length, SPEC.size)
    return {
        "batch": batch_size,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "limit_gflops": limit,
        "int8_worst_cosine": worst_cosines(openvino, int8, clips.measured)["pool5"],
        "int8_clips": len(clips.measured),
        "calibrated_on": len(clips.calibration),
        "calibration_seconds": seconds,
        "sides": {
            name: {
                "ms_a_clip": 1e3 * medians[name] / batch_size,
                "times_eager": medians[EAGER] / medians[name],
                "share_of_limit": gflop * batch_size / medians[name] / limit,
                "relative_l2": float(np.linalg.norm(value - found[EAGER]) / np.linalg.norm(found[EAGER])),
            }
            for name, value in found.items()
        },
    }


def rows(quick: bool, clips: Path) -> list[Row]:
    real = clips.is_dir()
    details = measure(4, 2 if quick else 9, clips_of(clips if real else None))
    own, fused, int8 = (details["sides"][name] for name in (OWN, FUSED, INT8))
    cosine, kind = details["int8_worst_cosine"], "real" if real else "drawn"
    return [
        Row(
            "net alone, P3D-199, fp32, batch 4: engine openvino against plain PyTorch",
            "at least 2.2x, and 80 % of the matrix product's rate",
            f"{fused['times_eager']:.2f}x, {100 * fused['share_of_limit']:.0f} % ({fused['ms_a_clip']:.0f} ms a clip)",
            fused["times_eager"] >= 2.2 and fused["share_of_limit"] >= 0.8,
            details,
        ),
        Row(
            "net alone, P3D-199, fp32, nothing extra installed: engine torch against plain PyTorch",
            "at least 1.4x",
            f"{own['times_eager']:.2f}x ({own['ms_a_clip']:.0f} ms a clip)",
            own["times_eager"] >= 1.4,
        ),
        Row(
            "net alone, P3D-199, int8 against plain PyTorch, and pool5's worst cosine to fp32",
            "at least 8x, 0.999",
            f"{int8['times_eager']:.2f}x ({int8['ms_a_clip']:.0f} ms a clip), "
            f"{cosine:.5f} on {details['int8_clips']} {kind} clips held out",
            int8["times_eager"] >= 8 and cosine >= 0.999,
        ),
    ]


if __name__ == "__main__":
    main_on_clips(rows, __doc__)
