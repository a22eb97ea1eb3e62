"""Computing stored videos once more, in the way their file says, and holding what comes out to what is stored."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.closeness import row_errors
from p3dfeat.engines import Engine
from p3dfeat.errors import P3DFeatError, UsageError
from p3dfeat.events import Calibrated, Calibrating, Fetching
from p3dfeat.options import ExtractSettings
from p3dfeat.store import VideoFeatures, differences, open_features
from p3dfeat.types import Features, Video
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import RunJob
from p3dfeat.zoo import load_model

# How far a row may be from the stored one, relative to its length. On the machine and with the versions that made them
# rows are the same to the bit; elsewhere sums are made in another order. That alone gives 1e-6 in fp32, and a wrong net
# or picture 1e-1. Products of 10 bits (tf32, fp16) and 7 (bf16) leave as much more. In 8 bits processors differ in what
# they saturate: what a cosine of 0.99 is, below which no calibration is taken.
TOLERANCES: Final = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2, "int8": 0.14}


@dataclass(frozen=True)
class Recomputed:
    """A video was computed once more. problems: what is further off than it may be, a line each."""

    id: str
    source: str
    clips: int
    identical: bool  # every number, to the bit
    worst_relative_error: float  # of any row of any layer
    problems: tuple[str, ...] = ()


RecomputeEvent = Fetching | Calibrating | Calibrated | pipeline.Started | pipeline.Described


@dataclass(frozen=True)
class Recomputation:
    """A network, made ready to compute what a feature file holds. remark: what is not as it was, and does no harm."""

    file: Path
    job: RunJob
    remark: str | None

    @classmethod
    def of(
        cls,
        file: Path,
        settings: Mapping[str, Any],
        *,
        model: str | Path | None = None,
        on_event: Callable[[RecomputeEvent], None] = lambda event: None,
    ) -> "Recomputation":
        """settings: the file's, decoded. model: in place of the one that is named there.

        Raises P3DFeatError where other numbers would come out: with other weights, pictures or calibrations.
        """
        loaded = load_model(model or settings["model"], on_fetch=on_event)
        sampling = settings["sampling"]
        wanted = ExtractSettings(
            model=loaded,
            layers=tuple(settings["layers"]),
            clips=sampling["clips"],
            clip_stride=sampling["stride"],
            frame_interval=sampling["step"],
            fps=sampling["fps"],
            tail=sampling["tail"],
        )
        job, remark = _job(wanted, settings)
        unlike = [
            line
            for line in differences(settings, job.recorded().as_attributes())
            if not line.startswith("model is ") and not (remark and line.startswith("engine is "))
        ]
        if unlike:
            raise UsageError(f"model {loaded.name}: other numbers would come out ({'; '.join(unlike)})")
        return cls(file, job, remark)

    def run(
        self,
        videos: Sequence[Video],
        *,
        workers: int | None = None,
        on_event: Callable[[RecomputeEvent], None] = lambda event: None,
    ) -> Iterator[Recomputed]:
        """Compute videos that the file holds; they come in their order."""
        job, open_videos = self.job, dict[str, _Comparison]()
        with open_features(self.file) as features, ExitStack() as stack:
            # Of whole videos, reading parts is the same to the bit.
            in_part = any("damage" in features[video.id].attributes for video in videos)
            decoders = stack.enter_context(Decoders(workers, partial=in_part))
            events = pipeline.describe(
                videos, engine=job.engine, spec=job.spec, sampling=job.sampling, decoders=decoders
            )
            with closing(events):
                for event in events:
                    video = event.video
                    if isinstance(event, pipeline.Started):  # once more, where it has been begun before
                        open_videos.pop(video.id, None)
                    comparison = open_videos.setdefault(video.id, _Comparison(features[video.id], job.engine))
                    if isinstance(event, pipeline.Started | pipeline.Described):
                        if isinstance(event, pipeline.Described):
                            comparison.add(event.features)
                        on_event(event)
                        continue
                    error = event.failure.error if isinstance(event, pipeline.Failed) else None
                    yield open_videos.pop(video.id).result(video, error)


def _job(wanted: ExtractSettings, settings: Mapping[str, Any]) -> tuple[RunJob, str | None]:
    """With the file's engine on its device or, where one is not to be had here, with what is; and a word on that."""
    ways = dataclasses.replace(wanted, precision=settings["precision"])
    try:
        as_it_was = dataclasses.replace(ways, engine=settings["engine"], device=settings["device"])
        job, remark = RunJob.of(as_it_was, [], only_plan=True), None
    except UsageError as error:
        job = RunJob.of(ways, [], only_plan=True)
        remark = f"computed with engine {job.engine.name} on {job.engine.device} ({error})"
    if job.engine.precision != settings["precision"]:  # a stand-in
        raise UsageError(f"precision {settings['precision']!r}: the calibration of this file is not kept here")
    return job, remark


@dataclass
class _Comparison:
    """What is computed of a video, held to what is stored of it as it comes."""

    stored: VideoFeatures
    engine: Engine
    clips: int = 0
    identical: bool = True
    worst: dict[str, float] = field(default_factory=dict)  # of each layer

    def add(self, features: Features) -> None:
        first, self.clips = self.clips, self.clips + len(features)
        found: dict[str, NDArray[Any]] = {**features.layers, "seconds": features.seconds}
        for name, rows in found.items():
            stored = self.stored.rows(name, first, len(rows))
            if stored.shape != rows.shape:
                self.worst[name], self.identical = np.inf, False
                continue
            self.identical = self.identical and np.array_equal(stored, rows)
            error = 0.0 if np.array_equal(stored, rows) else float(row_errors(rows, stored).max())
            self.worst[name] = float(np.maximum(self.worst.get(name, 0.0), error))  # which keeps a NaN

    def result(self, video: Video, error: P3DFeatError | None) -> Recomputed:
        problems = [] if error is None else [f"cannot be computed again: {error}"]
        stored = self.stored.shape("seconds")[0]
        if error is None and self.clips != stored:
            problems.append(f"{stored} clips are stored, {self.clips} come out now")
        precision = self.engine.precision
        for name, worst in self.worst.items():
            most = TOLERANCES[precision]
            if not worst <= most:
                problems.append(
                    f"{name}: up to {worst:.1e} away from what comes out now; {most:g} may be in {precision}"
                )
        worst = float(np.max([0.0, *self.worst.values()]))
        return Recomputed(video.id, video.source, self.clips, self.identical and not problems, worst, tuple(problems))
