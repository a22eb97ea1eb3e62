"""Naming what videos show: the classes of a model, best first, and how they change over time."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Final

import numpy as np

from p3dfeat.config import DECODER_MEMORY, Sampling
from p3dfeat.engines import make_engine
from p3dfeat.errors import UsageError
from p3dfeat.sources import as_texts, look_for
from p3dfeat.types import (
    SEGMENT_ORIGINS,
    Calibrated,
    Calibrating,
    Classification,
    Failure,
    Features,
    LeftOut,
    Span,
    Video,
    best_predictions,
)
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.calibrate import calibration_for
from p3dfeat.zoo import Model, load_model
from p3dfeat.zoo.download.cache import cache_folder_if_any

SHORT_RUN_VIDEOS: Final = 10  # so few that it counts how long an engine takes to start


def classify(
    inputs: str | Path | Sequence[str | Path],
    *,
    model: str | Path | Model | None = None,
    top_k: int = 5,
    timeline: bool = False,
    clips: int | None = None,
    stride: int | None = None,
    step: int | None = None,
    fps: float | None = None,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    decoder: str = "auto",
    timeout: float | None = None,
    decoder_memory: float = DECODER_MEMORY,
    any_extension: bool = False,
    frames: float | None = None,
    segment_origin: str = SEGMENT_ORIGINS[0],
    on_failure: Callable[[Failure], None] | None = None,
    on_left_out: Callable[[LeftOut], None] = lambda left_out: None,
    on_calibration: Callable[[Calibrating | Calibrated], None] = lambda event: None,
) -> list[Classification]:
    """The ``top_k`` classes of each video, by the mean of the clips' probabilities.

    inputs, workers, decoder, timeout, decoder_memory, any_extension, frames, segment_origin: as for
    ``extract``.
    With timeline, clips follow each other over the whole video unless told otherwise.
    A video that cannot be read goes to on_failure; without one its error is raised. on_calibration is told of int8's,
    on_left_out, at the end, of the files of folders that were not taken for videos.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    sampling = classify_sampling(loaded, timeline=timeline, clips=clips, stride=stride, step=step, fps=fps)
    inputs_found = look_for(as_texts(inputs), any_extension=any_extension, frames=frames, segment_origin=segment_origin)
    videos, failures = inputs_found.named()
    found, no_videos = [], list[Failure]()
    with Decoders(workers, decoder=decoder, timeout=timeout, memory=decoder_memory) as decoders:
        results = classify_videos(
            videos,
            model=loaded,
            sampling=sampling,
            top_k=top_k,
            engine=engine,
            device=device,
            precision=precision,
            batch_size=batch_size,
            decoders=decoders,
            on_calibration=on_calibration,
            on_no_video=no_videos.append,
        )
        for result in chain(failures, results):
            if isinstance(result, Classification):
                found.append(result)
            elif on_failure is None:
                raise type(result.error)(f"{result.source}: {result.error}")
            else:
                on_failure(result)
    on_left_out(replace(inputs_found.left_out, no_videos=len(no_videos)))
    return found


def classify_sampling(
    model: Model, *, timeline: bool, clips: int | None, stride: int | None, step: int | None, fps: float | None
) -> Sampling:
    """20 clips a video; for a timeline, clip after clip without gaps. Nothing is padded that need not be."""
    if timeline and clips is None and stride is None:
        stride = model.sampling(clips=1, step=step).span
    return model.sampling(clips=clips, stride=stride, step=step, fps=fps, tail="align")


def classify_videos(
    videos: Sequence[Video],
    *,
    model: Model,
    sampling: Sampling,
    top_k: int = 5,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    decoders: Decoders | None = None,
    on_calibration: Callable[[Calibrating | Calibrated], None] = lambda event: None,
    on_no_video: Callable[[Failure], None] = lambda failure: None,
) -> Generator[Classification | Failure, None, None]:
    """A Classification or a Failure for each video, in order, as they come.

    on_no_video: told of each that was tried, whatever its extension, and is a file of another kind.
    """
    if top_k < 1:
        raise UsageError(f"top_k {top_k}: must be at least 1")
    model.check_sees_pictures()
    spec = model.card.input
    runner = make_engine(
        model.net,
        spec,
        layers=("prob",),
        engine=engine,
        device=device,
        precision=precision,
        batch_size=batch_size,
        short_run=len(videos) <= SHORT_RUN_VIDEOS,
        cache_folder=cache_folder_if_any(),
        weights_sha256=model.weights_sha256,
        calibration=calibration_for(precision, model, videos, on_calibration),
    )
    open_videos: dict[str, _Tally] = {}
    events = pipeline.describe(videos, engine=runner, spec=spec, sampling=sampling, decoders=decoders)
    with closing(events):  # ends the decoders, however this ends
        for event in events:
            if isinstance(event, pipeline.Described):
                open_videos.setdefault(event.video.id, _Tally()).add(event.features)
            elif isinstance(event, pipeline.Started):  # once more, where it has been begun before
                open_videos.pop(event.video.id, None)
            elif isinstance(event, pipeline.Finished):
                yield open_videos.pop(event.video.id).classification(event.video, model.card.labels, top_k)
            elif isinstance(event, pipeline.Failed):
                open_videos.pop(event.video.id, None)
                if event.is_no_video:
                    on_no_video(event.failure)
                else:
                    yield event.failure


@dataclass
class _Tally:
    """The clips of one video, as far as they are known."""

    probabilities: list[np.ndarray] = field(default_factory=list)
    seconds: list[np.ndarray] = field(default_factory=list)

    def add(self, features: Features) -> None:
        self.probabilities.append(features.layers["prob"])
        self.seconds.append(features.seconds)

    def classification(self, video: Video, labels: Sequence[str], top_k: int) -> Classification:
        rows = np.concatenate(self.probabilities)
        mean = rows.mean(axis=0, dtype=np.float64)
        timeline = timeline_of(rows, np.concatenate(self.seconds), labels)
        return Classification(video.id, video.source, best_predictions(mean, labels, top_k), timeline)


def timeline_of(probabilities: np.ndarray, seconds: np.ndarray, labels: Sequence[str]) -> tuple[Span, ...]:
    """Neighbouring clips with the same best class, joined: (clips, classes) and (clips, 2) -> spans in time order.

    Where clips overlap or leave a gap, the border lies in the middle of it: the timeline has neither.
    """
    spans = []
    borders = (seconds[1:, 0] + seconds[:-1, 1]) / 2
    starts, ends = np.append(seconds[:1, 0], borders), np.append(borders, seconds[-1:, 1])
    for best, group in groupby(range(len(seconds)), key=lambda i: int(probabilities[i].argmax())):
        clips = list(group)
        probability = float(probabilities[clips, best].mean())
        spans.append(Span(float(starts[clips[0]]), float(ends[clips[-1]]), labels[best], probability))
    return tuple(spans)
