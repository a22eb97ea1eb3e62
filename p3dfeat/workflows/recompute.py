"""Recompute stored videos with the settings of their file, and compare the results with the stored values."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.closeness import row_errors
from p3dfeat.config import CENTRE, CROPS, crop_names
from p3dfeat.engines import Engine
from p3dfeat.errors import P3DFeatError, UsageError
from p3dfeat.events import Calibrated, Calibrating, Fetching
from p3dfeat.options import ExtractSettings
from p3dfeat.store import VideoFeatures, differences, open_features
from p3dfeat.text.counts import counted
from p3dfeat.types import Features, Video
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import RunJob
from p3dfeat.zoo import load_model

# Maximum relative L2 distance of a row from the stored one. With the same machine and versions, rows are bit-identical.
# Elsewhere, the order of sums differs. This alone gives 1e-6 in fp32; a wrong network or picture gives 1e-1. Products
# of 10 bits (tf32, fp16) and 7 bits (bf16) have larger errors accordingly. In int8, processors saturate differently:
# 0.14 corresponds to a cosine of 0.99, below which no calibration is accepted.
TOLERANCES: Final = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2, "int8": 0.14}


@dataclass(frozen=True)
class Recomputed:
    """A video was recomputed. problems: one line for each deviation."""

    id: str
    source: str
    clips: int
    identical: bool  # all values are bit-identical
    worst_relative_error: float  # largest over all rows and layers
    problems: tuple[str, ...] = ()


RecomputeEvent = Fetching | Calibrating | Calibrated | pipeline.Started | pipeline.Described


@dataclass(frozen=True)
class Recomputation:
    """A network prepared to recompute a feature file. remark: a harmless difference from the original run."""

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
        """settings: of the file, decoded. model: used instead of the one named there.

        Raises P3DFeatError if the values would differ because of other weights, preprocessing or calibration.
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
            every=sampling.get("every"),
            offset=sampling.get("offset"),
            spacing=sampling.get("spacing", "ends"),
            **_crop_options(settings["preprocessing"]),
            pool=settings.get("pool", "none"),
        )
        job, remark = _job(wanted, settings)
        unlike = [
            line
            for line in differences(settings, job.recorded().as_attributes())
            if not line.startswith("model is ") and not (remark and line.startswith("engine is "))
        ]
        if unlike:
            raise UsageError(f"model {loaded.name}: the numbers would differ ({'; '.join(unlike)})")
        return cls(file, job, remark)

    def run(
        self,
        videos: Sequence[Video],
        *,
        workers: int | None = None,
        on_event: Callable[[RecomputeEvent], None] = lambda event: None,
    ) -> Iterator[Recomputed]:
        """Recompute stored videos; the results come in the order of ``videos``."""
        job, open_videos = self.job, dict[str, _Comparison]()
        with open_features(self.file) as features, ExitStack() as stack:
            # For undamaged videos, partial reading gives bit-identical results.
            in_part = any("damage" in features[video.id].attributes for video in videos)
            decoders = stack.enter_context(Decoders(workers, partial=in_part))
            events = pipeline.describe(
                videos, engine=job.engine, spec=job.spec, sampling=job.sampling, decoders=decoders, pool=job.pool
            )
            with closing(events):
                for event in events:
                    video = event.video
                    if isinstance(event, pipeline.Started):  # possibly again: then the earlier rows are dropped
                        open_videos.pop(video.id, None)
                    comparison = open_videos.setdefault(video.id, _Comparison(features[video.id], job.engine))
                    if isinstance(event, pipeline.Started | pipeline.Described):
                        if isinstance(event, pipeline.Described):
                            comparison.add(event.features)
                        on_event(event)
                        continue
                    error = event.failure.error if isinstance(event, pipeline.Failed) else None
                    yield open_videos.pop(video.id).result(video, error)


def _crop_options(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """The options that give a file's crops. Raises UsageError if there are none."""
    wanted = tuple(preprocessing.get("crops", CENTRE))
    for crops in CROPS:
        for mirror in (False, True):
            with suppress(UsageError):
                if crop_names(crops, mirror=mirror) == wanted:
                    return {"crops": crops, "mirror": mirror}
    raise UsageError(f"crops {', '.join(wanted)}: no options of extract give these")


def _job(wanted: ExtractSettings, settings: Mapping[str, Any]) -> tuple[RunJob, str | None]:
    """A job with the file's engine and device or, if not available here, with others; and a remark on that."""
    ways = dataclasses.replace(wanted, precision=settings["precision"])
    try:
        as_it_was = dataclasses.replace(ways, engine=settings["engine"], device=settings["device"])
        job, remark = RunJob.of(as_it_was, [], only_plan=True), None
    except UsageError as error:
        job = RunJob.of(ways, [], only_plan=True)
        remark = f"computed with engine {job.engine.name} on {job.engine.device} ({error})"
    if job.engine.precision != settings["precision"]:  # a stand-in for int8
        raise UsageError(f"precision {settings['precision']!r}: the calibration of this file is not kept here")
    return job, remark


def _flat(rows: NDArray[Any]) -> NDArray[Any]:
    """(clips, ...) as rows of numbers: each crop is a row of its own."""
    return rows.reshape(-1, rows.shape[-1]) if rows.ndim > 1 else rows.reshape(-1, 1)


@dataclass
class _Comparison:
    """Compares the recomputed rows of a video with the stored ones, as they come."""

    stored: VideoFeatures
    engine: Engine
    clips: int = 0
    identical: bool = True
    worst: dict[str, float] = field(default_factory=dict)  # by layer

    def add(self, features: Features) -> None:
        first, self.clips = self.clips, self.clips + len(features)
        found: dict[str, NDArray[Any]] = {**features.layers, "seconds": features.seconds}
        if "first_frames" in self.stored:
            found["first_frames"] = features.first_frames
        for name, rows in found.items():
            stored = self.stored.rows(name, first, len(rows))
            if stored.shape != rows.shape:
                self.worst[name], self.identical = np.inf, False
                continue
            self.identical = self.identical and np.array_equal(stored, rows)
            error = 0.0 if np.array_equal(stored, rows) else float(row_errors(_flat(rows), _flat(stored)).max())
            self.worst[name] = float(np.maximum(self.worst.get(name, 0.0), error))  # which keeps a NaN

    def result(self, video: Video, error: P3DFeatError | None) -> Recomputed:
        problems = [] if error is None else [f"cannot be recomputed: {error}"]
        stored = self.stored.shape("seconds")[0]
        if error is None and self.clips != stored:
            problems.append(f"{counted(stored, 'clip')} stored, {counted(self.clips, 'clip')} computed now")
        precision = self.engine.precision
        for name, worst in self.worst.items():
            most = TOLERANCES[precision]
            if not worst <= most:
                problems.append(
                    f"{name}: differs by up to {worst:.1e} from what is computed now; {precision} allows {most:g}"
                )
        worst = float(np.max([0.0, *self.worst.values()]))
        return Recomputed(video.id, video.source, self.clips, self.identical and not problems, worst, tuple(problems))
