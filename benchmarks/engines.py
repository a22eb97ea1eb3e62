"""How fast each engine runs P3D-199 beside plain PyTorch and the machine's limit: python -m benchmarks.engines

All sides take turns in one run, so that a busy neighbour slows all of them; the medians are compared.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from p3dfeat import Architecture
from p3dfeat.config import InputSpec
from p3dfeat.engines import OpenVINOEngine, TorchEngine
from p3dfeat.engines.normalize import normalize
from p3dfeat.measurement import MATRIX, gflop_a_clip
from p3dfeat.nets import P3D
from p3dfeat.types import Batch

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


def sides(net: P3D, batch: Batch) -> dict[str, Callable[[], Any]]:
    """{what: a function that runs one batch}."""
    plain = normalize(torch.from_numpy(batch.frames), SPEC).contiguous()
    torch_engine, openvino = TorchEngine(net, SPEC, device="cpu"), OpenVINOEngine(net, SPEC)

    @torch.inference_mode()
    def eager() -> np.ndarray:
        return net(plain, layers=("pool5",))["pool5"].numpy()

    return {
        "PyTorch eager, NCDHW": eager,
        "engine torch": lambda: torch_engine.run(batch)["pool5"],
        "engine openvino": lambda: openvino.run(batch)["pool5"],
    }


def measure(batch_size: int, rounds: int) -> dict[str, Any]:
    """Medians, ratios and errors."""
    frames = np.random.default_rng(0).integers(0, 255, (batch_size, 16, 160, 160, 3), np.uint8)
    running = sides(random_net(199), Batch(frames))
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
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    result = measure(options.batch, options.rounds)
    print(f"P3D-199, fp32, 16 x 160 x 160, batch {result['batch']}, {result['threads']} threads; ", end="")
    print(f"fp32 matrix product {result['limit_gflops']:.0f} GFLOP/s\n")
    print("| engine | ms a clip | against eager | of the matrix product's rate | error to eager |")
    print("|---|---|---|---|---|")
    for row in result["rows"]:
        speed = f"{row['ms_a_clip']:.0f} | {row['times_eager']:.2f}x | {100 * row['share_of_limit']:.0f} %"
        print(f"| {row['side']} | {speed} | {row['relative_l2']:.0e} |")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
