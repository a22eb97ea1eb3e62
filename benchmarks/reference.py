"""Hold full-size nets to the stored results of real Caffe and real MXNet: python -m benchmarks.reference

Random checkpoints are written in the formats of both, converted by the command line, and run. The last rows show what
the same weights give in the community port's arithmetic.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import torch

import p3dfeat
from benchmarks.random_checkpoints import caffe_input, gluoncv_input, gluoncv_weights, write_caffemodel, write_params
from p3dfeat import Architecture

GOLDEN: Final = Path("tests/golden")
TOLERANCE: Final = 1e-4
LAYERS: Final = ("pool5", "logits")


def converted(source: Path, *options: str) -> p3dfeat.Model:
    """The model that ``p3dfeat weights convert`` makes of a file."""
    target = source.with_suffix(".safetensors")
    subprocess.run(
        [sys.executable, "-m", "p3dfeat", "weights", "convert", source, "-o", target, "-q", *options], check=True
    )
    model = p3dfeat.load_model(target)
    target.unlink()
    return model


def errors(model: p3dfeat.Model, x: np.ndarray, expected: Path) -> dict[str, float]:
    """{layer: relative L2 error} against stored results."""
    stored = np.load(expected)
    with torch.inference_mode():
        found = model.net(torch.from_numpy(x), layers=LAYERS)
    return {
        layer: float(np.linalg.norm(value.numpy() - stored[layer]) / np.linalg.norm(stored[layer]))
        for layer, value in found.items()
    }


def rows(scratch: Path) -> list[tuple[str, dict[str, float], bool]]:
    """(what is compared, errors, whether it must agree)."""
    caffe, mxnet = scratch / "p3d199.caffemodel", scratch / "p3d63.params"
    write_caffemodel(caffe, Architecture.of_depth(199))
    write_params(mxnet, gluoncv_weights(Architecture.of_depth(63, family="gluoncv")))
    x, golden = caffe_input(2, 3, 16, 160, 160), GOLDEN / "caffe_p3d199.npz"
    return [
        ("P3D-199 from .caffemodel, against Caffe", errors(converted(caffe), x, golden), True),
        (
            "P3D-63 from .params, against MXNet",
            errors(converted(mxnet), gluoncv_input(), GOLDEN / "gluoncv_p3d63.npz"),
            True,
        ),
        (
            "P3D-199 in the port's arithmetic, against Caffe",
            errors(converted(caffe, "--family", "gluoncv"), x, golden),
            False,
        ),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        table = rows(Path(scratch))
    print(f"| net | {' | '.join(LAYERS)} |\n|---|{'---|' * len(LAYERS)}")
    for title, found, _ in table:
        print(f"| {title} | {' | '.join(f'{found[layer]:.1e}' for layer in LAYERS)} |")
    wrong = [title for title, found, must in table if must and max(found.values()) > TOLERANCE]
    if wrong:
        sys.exit(f"off by more than {TOLERANCE:.0e}: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
