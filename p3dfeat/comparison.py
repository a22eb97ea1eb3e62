"""How two models differ on a video: two readings of one file, or a conversion and its original."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from p3dfeat import pipeline
from p3dfeat.engines.torch_engine import TorchEngine
from p3dfeat.types import FloatArray, Prediction, Video, best_predictions
from p3dfeat.zoo import Model


@dataclass(frozen=True)
class LayerDifference:
    """One layer of both models over all clips, B against A."""

    layer: str
    relative_l2: float  # |B - A| / |A|
    cosine: float  # lowest over the clips

    def as_json(self) -> dict[str, Any]:
        return {"layer": self.layer, "relative_l2": self.relative_l2, "cosine": self.cosine}


@dataclass(frozen=True)
class Reading:
    """What one of the models says of the video."""

    model: str
    family: str
    predictions: tuple[Prediction, ...]  # best first, by the mean over clips
    confidence: float  # the best label's probability, mean over clips

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "family": self.family,
            "confidence": round(self.confidence, 6),
            "predictions": [prediction.as_json() for prediction in self.predictions],
        }


@dataclass(frozen=True)
class Comparison:
    """Two models on one video."""

    source: str
    num_clips: int
    same_input: bool  # both see the same pixels; otherwise layers differ by preprocessing too
    layers: tuple[LayerDifference, ...]  # those that both have, of equal shape
    agreement: float | None  # share of clips that both give the same best label; None where labels differ
    a: Reading
    b: Reading

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "clips": self.num_clips,
            "same_input": self.same_input,
            "agreement": self.agreement,
            "layers": [layer.as_json() for layer in self.layers],
            "a": self.a.as_json(),
            "b": self.b.as_json(),
        }


def compare(
    a: Model,
    b: Model,
    video: str,
    *,
    clips: int = 8,
    top_k: int = 5,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
) -> Comparison:
    """Run both models over uniformly spaced clips of a video, each with its own preprocessing.

    Raises VideoError for a video that cannot be read.
    """
    common = [name for name in _landmarks(a) if name in _landmarks(b)]
    found = [
        _described(model, video, clips, tuple(common), device=device, precision=precision, batch_size=batch_size)
        for model in (a, b)
    ]
    layers = tuple(_difference(name, *(each[name] for each in found)) for name in common if _alike(name, *found))
    best = [each["prob"].argmax(axis=1) for each in found]
    same_labels = a.card.labels == b.card.labels
    return Comparison(
        source=video,
        num_clips=len(best[0]),
        same_input=a.card.input == b.card.input,
        layers=layers,
        agreement=float(np.mean(best[0] == best[1])) if same_labels else None,
        a=_reading(a, found[0]["prob"], top_k),
        b=_reading(b, found[1]["prob"], top_k),
    )


def _landmarks(model: Model) -> list[str]:
    """pool1, the last block of every stage, and what follows."""
    architecture = model.card.architecture
    last = [architecture.stage_blocks(stage)[-1] for stage in (2, 3, 4, 5)]
    return ["pool1", *last, "pool5", "logits", "prob"]


def _described(
    model: Model,
    path: str,
    clips: int,
    layers: tuple[str, ...],
    *,
    device: str,
    precision: str,
    batch_size: int | None,
) -> dict[str, FloatArray]:
    """{layer: (clips, ...)} of a video."""
    model.check_sees_pictures()
    engine = TorchEngine(model.net, model.card.input, layers=layers, device=device, precision=precision)
    video = Video(id="-", path=path, source=path)
    rows: list[dict[str, FloatArray]] = []
    events = pipeline.describe(
        [video],
        engine=engine,
        spec=model.card.input,
        sampling=model.sampling(clips=clips),
        batch_size=batch_size,
    )
    with closing(events):
        for event in events:
            if isinstance(event, pipeline.Failed):
                raise type(event.failure.error)(f"{path}: {event.failure.error}")
            if isinstance(event, pipeline.Described):
                rows.append(dict(event.features.layers))
    return {name: np.concatenate([part[name] for part in rows]) for name in layers}


def _alike(name: str, a: dict[str, FloatArray], b: dict[str, FloatArray]) -> bool:
    return a[name].shape == b[name].shape


def _difference(name: str, a: FloatArray, b: FloatArray) -> LayerDifference:
    first, second = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (a, b))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    distance = np.linalg.norm(second - first) / max(float(np.linalg.norm(first)), np.finfo(np.float64).tiny)
    return LayerDifference(name, float(distance), float(cosines.min()))


def _reading(model: Model, prob: FloatArray, top_k: int) -> Reading:
    mean = prob.mean(axis=0)
    predictions = best_predictions(mean, model.card.labels, top_k)
    return Reading(model.name, model.card.architecture.family, predictions, float(prob.max(axis=1).mean()))
