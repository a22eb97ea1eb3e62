"""Compare two models on a video: two readings of one file, or a conversion and its original."""

from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p3dfeat.closeness import TINY, cosines
from p3dfeat.engines import Engine
from p3dfeat.errors import WeightsError
from p3dfeat.options import CompareSettings, ModelOptions, with_options
from p3dfeat.types import FloatArray, Prediction, Video, best_predictions
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import engine_for, model_for
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
class ModelReading:
    """The predictions of one model for the video."""

    model: str
    family: str
    predictions: tuple[Prediction, ...]  # best first, by the mean over clips
    confidence: float  # highest probability of a clip, mean over clips

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
    same_input: bool  # both have the same preprocessing; otherwise layers differ for that reason too
    layers: tuple[LayerDifference, ...]  # layers of both models with equal shape
    unlike: tuple[str, ...]  # layers of both models with different shapes, which cannot be compared
    agreement: float | None  # fraction of clips with the same top label; None if the models' labels differ
    a: ModelReading
    b: ModelReading

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "clips": self.num_clips,
            "same_input": self.same_input,
            "agreement": self.agreement,
            "layers": [layer.as_json() for layer in self.layers],
            "unlike": list(self.unlike),
            "a": self.a.as_json(),
            "b": self.b.as_json(),
        }


def run_compare(
    a: str | Path | Model, b: str | Path | Model, video: str | Path, settings: CompareSettings
) -> Comparison:
    """Compare two models on evenly spaced clips of a video, each with its own preprocessing.

    Args:
        a (str | Path | Model): Name, path or repository, as for ``load_model``, or a Model.
        b (str | Path | Model): Model to compare with ``a``.
        video (str | Path): Video to run both models on.
        clips (int): Number of evenly spaced clips.
        top_k (int): Number of labels per model.
        **options: engine, device, precision, batch_size, as for ``extract``.

    Returns:
        Comparison: Differences of the layers that both models have, and the top labels of each.

    Raises:
        VideoError: The video cannot be read.
        WeightsError: A model's probabilities are not finite, or its weights are missing or wrong.

    Example:
        >>> for layer in p3dfeat.compare("a.safetensors", "b.safetensors", "clip.mp4").layers:
        ...     print(layer.layer, layer.relative_l2)
    """
    first_model, second_model = (model_for(ModelOptions(model=model)) for model in (a, b))
    return _compared(first_model, second_model, str(video), settings)


compare = with_options(CompareSettings)(run_compare)


def _compared(a: Model, b: Model, video: str, settings: CompareSettings) -> Comparison:
    common = tuple(name for name in _landmarks(a) if name in _landmarks(b))
    runners = [engine_for(settings, model, None, layers=common) for model in (a, b)]
    tallies: dict[str, _Tally] = {}
    probabilities: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for distrust in (False, True):
        tallies, probabilities = {name: _Tally(name) for name in common}, ([], [])
        sides = [
            _described(model, runner, video, settings.clips, distrust=distrust)
            for model, runner in zip((a, b), runners, strict=True)
        ]
        with closing(sides[0]), closing(sides[1]), suppress(_BegunAgainError):
            for first, second in zip(*sides, strict=True):  # one batch at a time: memory does not grow with the clips
                for name, tally in tallies.items():
                    tally.add(first[name], second[name])
                for rows, found in zip(probabilities, (first, second), strict=True):
                    rows.append(found["prob"])
            break
    prob_a, prob_b = (np.concatenate(rows) for rows in probabilities)
    same_best = np.mean(prob_a.argmax(axis=1) == prob_b.argmax(axis=1))
    return Comparison(
        source=video,
        num_clips=len(prob_a),
        same_input=a.card.input == b.card.input,
        layers=tuple(tally.difference() for tally in tallies.values() if tally.alike),
        unlike=tuple(name for name, tally in tallies.items() if not tally.alike),
        agreement=float(same_best) if a.card.labels == b.card.labels else None,
        a=_reading(a, prob_a, settings.top_k),
        b=_reading(b, prob_b, settings.top_k),
    )


def _landmarks(model: Model) -> list[str]:
    """pool1, the last block of every stage, and the layers after it."""
    architecture = model.card.architecture
    last = [architecture.stage_blocks(stage)[-1] for stage in (2, 3, 4, 5)]
    return ["pool1", *last, "pool5", "logits", "prob"]


class _BegunAgainError(Exception):
    """A video was started again: its results so far must be dropped."""


def _described(
    model: Model, runner: Engine, path: str, clips: int, *, distrust: bool
) -> Generator[Mapping[str, FloatArray], None, None]:
    """{layer: (n, ...)} of the video's clips, one batch at a time. Raises _BegunAgainError unless ``distrust``."""
    video = Video(id="-", path=path, source=path)
    decoders = Decoders(1, distrust=distrust)
    events = pipeline.describe(
        [video],
        engine=runner,
        spec=model.card.input,
        sampling=model.sampling(clips=clips),
        decoders=decoders,
    )
    with decoders, closing(events):
        for event in events:
            if isinstance(event, pipeline.Started) and event.again:
                raise _BegunAgainError
            if isinstance(event, pipeline.Failed):
                raise type(event.failure.error)(f"{path}: {event.failure.error}")
            if isinstance(event, pipeline.Described):
                if not np.isfinite(event.features.layers["prob"]).all():
                    raise WeightsError(f"model {model.name}: its probabilities are not finite numbers")
                yield event.features.layers


class _Tally:
    """Distance between one layer of two models, over all clips so far."""

    def __init__(self, layer: str):
        self.alike = True
        self._layer = layer
        self._distance = self._norm = 0.0  # squared
        self._cosine = np.inf

    def add(self, a: FloatArray, b: FloatArray) -> None:
        """Add the rows of the next clips, (n, ...) each."""
        if a.shape != b.shape:
            self.alike = False
            return
        self._cosine = min(self._cosine, float(cosines(a, b).min()))
        self._distance += float(np.square(b.astype(np.float64) - a).sum())
        self._norm += float(np.square(a.astype(np.float64)).sum())

    def difference(self) -> LayerDifference:
        distance = float(np.sqrt(self._distance / max(self._norm, TINY)))
        return LayerDifference(self._layer, distance, float(self._cosine))


def _reading(model: Model, prob: FloatArray, top_k: int) -> ModelReading:
    predictions = best_predictions(prob.mean(axis=0), model.card.labels, top_k)
    return ModelReading(model.name, model.card.architecture.family, predictions, float(prob.max(axis=1).mean()))
