"""How fast each engine runs P3D-199 beside plain PyTorch and the machine's limit: python -m benchmarks.engines

int8 is calibrated anew on two clips of each video below --clips, and held to fp32 on three others of each.

All sides take turns in one run, so that a busy neighbour slows all of them; the medians are compared.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from p3dfeat import Architecture
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import Calibration, CalibrationClips, Engine, OpenVINOEngine, TorchEngine, make_engine
from p3dfeat.engines.choice import made_clip
from p3dfeat.engines.normalize import normalize
from p3dfeat.engines.quantization import worst_cosines
from p3dfeat.measurement import MATRIX, gflop_a_clip
from p3dfeat.nets import P3D
from p3dfeat.sources import find_videos
from p3dfeat.types import Batch, Clip, UInt8Array
from p3dfeat.video import read_clips

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
        rng, waves = np.random.default_rng(0), made_clip(SPEC)[0].astype(float)
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
        "PyTorch eager, NCDHW": eager,
        "engine torch": lambda: torch_engine.run(batch)["pool5"],
        "engine openvino": lambda: openvino.run(batch)["pool5"],
        "engine openvino, int8": lambda: int8.run(batch)["pool5"],
    }


def measure(batch_size: int, rounds: int, folder: Path | None = None) -> dict[str, Any]:
    """Medians, ratios and errors."""
    net, clips = random_net(199), clips_of(folder)
    frames = np.stack([clips.measured[number % len(clips.measured)] for number in range(batch_size)])
    batch = Batch.of_planes(Batch(frames).planes)  # as the decoders' clips lie in memory
    openvino, (int8, seconds) = OpenVINOEngine(net, SPEC), int8_engine(net, clips)
    running = sides(net, batch, openvino, int8)
    found = {name: run() for name, run in running.items()}  # and the first run, which prepares things, is not counted
    matrix = torch.randn(MATRIX, MATRIX)
    times: dict[str, list[float]] = {name: [] for name in (*running, "matrix product")}
    for _ in range(rounds):
        for name, run in running.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) / batch_size)
        started = time.perf_counter()
        for _ in range(10):
            torch.mm(matrix, matrix)
        times["matrix product"].append((time.perf_counter() - started) / 10)
    medians = {name: statistics.median(values) for name, values in times.items()}
    limit = 2e-9 * MATRIX**3 / medians["matrix product"]
    gflop = gflop_a_clip(Architecture.of_depth(199), SPEC.length, SPEC.size)
    baseline = found["PyTorch eager, NCDHW"]
    rows = [
        {
            "side": name,
            "ms_a_clip": 1e3 * medians[name],
            "times_eager": medians["PyTorch eager, NCDHW"] / medians[name],
            "share_of_limit": gflop / medians[name] / limit,
            "relative_l2": float(np.linalg.norm(value - baseline) / np.linalg.norm(baseline)),
        }
        for name, value in found.items()
    ]
    return {
        "batch": batch_size,
        "rounds": rounds,
        "limit_gflops": limit,
        "threads": torch.get_num_threads(),
        "int8": {
            "worst_cosine": worst_cosines(openvino, int8, clips.measured)["pool5"],
            "clips": len(clips.measured),
            "calibrated_on": len(clips.calibration),
            "calibration_seconds": seconds,
            "real_clips": folder is not None,
        },
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clips", type=Path, help="a folder of real videos; without it, clips are drawn")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    result = measure(options.batch, options.rounds, options.clips)
    print(f"P3D-199, 16 x 160 x 160, batch {result['batch']}, {result['threads']} threads; ", end="")
    print(f"fp32 matrix product {result['limit_gflops']:.0f} GFLOP/s\n")
    print("| engine | ms a clip | against eager | of the matrix product's rate | error to eager |")
    print("|---|---|---|---|---|")
    for row in result["rows"]:
        speed = f"{row['ms_a_clip']:.0f} | {row['times_eager']:.2f}x | {100 * row['share_of_limit']:.0f} %"
        print(f"| {row['side']} | {speed} | {row['relative_l2']:.0e} |")
    int8 = result["int8"]
    held_out = f"{int8['clips']} held-out {'real' if int8['real_clips'] else 'drawn'} clips"
    print(f"\nint8: worst cosine of pool5 to fp32 {int8['worst_cosine']:.5f} on {held_out}; ", end="")
    print(f"calibrated on {int8['calibrated_on']} others in {int8['calibration_seconds']:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
