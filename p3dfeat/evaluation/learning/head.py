"""A trained classifier as a file: safetensors, with all that a later video needs in its metadata. Never a pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self, get_args

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.options.evaluating import Normalisation
from p3dfeat.system.disk import write_whole
from p3dfeat.text.jsons import json_text, parse_object
from p3dfeat.types import FloatArray

FORMAT: Final = "p3dfeat classifier 1"
SUFFIX: Final = ".safetensors"
MOST_BYTES: Final = 1 << 30
NORMALISATIONS: Final = get_args(Normalisation)
ARRAYS: Final = ("weights", "bias")


@dataclass(frozen=True)
class Head:
    """Scores of a user's own labels: ``normalised(row) @ weights + bias``.

    weights: (C, K) float32, bias: (K,) float32. temperature: scores are divided by it in front of the softmax.
    model, weights_sha256, preprocessing: of the descriptors that it was trained on. step, fps: of their clips' frames.
    """

    weights: FloatArray
    bias: FloatArray
    labels: tuple[str, ...]
    layer: str
    normalise: Normalisation
    learner: str
    temperature: float
    model: str
    weights_sha256: str
    preprocessing: Mapping[str, Any]
    step: int = 1
    fps: float | None = None

    def probabilities(self, rows: FloatArray) -> FloatArray:
        """(n, C) normalised descriptors to (n, K) probabilities."""
        if rows.shape[1] != len(self.weights):
            raise UsageError(f"classifier: made for {len(self.weights)} numbers per video, not for {rows.shape[1]}")
        scores = (rows.astype(np.float64) @ self.weights + self.bias) / self.temperature
        scores -= scores.max(axis=1, keepdims=True)
        powers = np.exp(scores)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    def written(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises UsageError for another ending, OutputError."""
        from safetensors.numpy import save

        check_head_name(path)
        arrays = {name: np.ascontiguousarray(getattr(self, name), np.float32) for name in ARRAYS}
        about = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ARRAYS}
        # One text: safetensors writes several in an order that changes from run to run.
        write_whole(path, save(arrays, metadata={FORMAT: json_text(about)}))

    @classmethod
    def loaded(cls, path: Path) -> Self:
        """Read such a file. Raises UsageError."""
        from safetensors import SafetensorError, safe_open

        try:
            if not path.is_file():
                raise UsageError(f"classifier {path}: {'a folder' if path.is_dir() else 'no such file'}")
            if path.stat().st_size > MOST_BYTES:
                raise UsageError(f"classifier {path}: larger than {MOST_BYTES >> 20} MiB")
            with safe_open(path, framework="numpy") as file:
                text = (file.metadata() or {}).get(FORMAT)
                if text is None:
                    raise UsageError(f"classifier {path}: not a classifier; p3dfeat eval ... --save writes one")
                weights, bias = (np.asarray(file.get_tensor(name), np.float32) for name in ARRAYS)
            about = parse_object(text)
            labels = tuple(str(label) for label in about["labels"])
            found = cls(
                weights=weights,
                bias=bias,
                labels=labels,
                temperature=float(about["temperature"]),
                preprocessing=dict(about["preprocessing"]),
                step=int(about["step"]),
                fps=None if about["fps"] is None else float(about["fps"]),
                normalise=about["normalise"],
                **{name: str(about[name]) for name in ("layer", "learner", "model", "weights_sha256")},
            )
        except OSError as error:
            raise UsageError(f"classifier {path}: {error.strerror or 'cannot be read'}") from None
        except (SafetensorError, KeyError, ValueError, TypeError):
            raise UsageError(f"classifier {path}: damaged, or not a classifier") from None
        right = weights.ndim == 2 and bias.shape == weights.shape[1:] == (len(labels),)
        right = right and bool(np.isfinite(weights).all() and np.isfinite(bias).all()) and found.temperature > 0
        if not right or found.normalise not in NORMALISATIONS:
            raise UsageError(f"classifier {path}: damaged: its numbers do not fit together")
        return found


def check_head_name(path: Path) -> None:
    """Raise UsageError unless a file is named as a classifier."""
    if path.suffix != SUFFIX:
        raise UsageError(f"{path}: a classifier is a {SUFFIX} file; write --save {path.with_suffix(SUFFIX).name}")


def softmax_temperature(scores: Any, targets: Any) -> float:
    """The temperature that makes the softmax of held-out scores most probable (Guo et al., ICML 2017).

    scores: (n, K); targets: (n, K) bool. A row of several classes counts as the first of them.
    """
    from scipy.optimize import minimize_scalar

    known = ~np.isnan(scores).any(axis=1)
    scores, classes = scores[known], targets[known].argmax(axis=1)
    scores = scores - scores.max(axis=1, keepdims=True)

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(scaled)), classes]).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-7.0, 5.0), method="bounded").x))
