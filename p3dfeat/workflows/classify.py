"""Classify videos: the top labels of each video, and how they change over time."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from itertools import chain, groupby
from typing import Final

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import Engine
from p3dfeat.errors import UsageError
from p3dfeat.options import ClassifySettings, Inputs, with_options
from p3dfeat.sources import as_texts
from p3dfeat.types import Classification, Failure, Features, Span, Video, best_predictions
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import decoders_for, engine_for, found_by, model_for, sampling_for
from p3dfeat.workflows.labelling import Labelling, labelling_for, with_heads_model
from p3dfeat.workflows.reports.classify import reported
from p3dfeat.zoo import Model

PROTOCOL_SETS: Final = ("clips", "clip_stride", "every", "offset", "spacing", "crops", "mirror")  # by a protocol
SETTINGS_DEFAULTS: Final = {field.name: field.default for field in fields(ClassifySettings)}
SHORT_RUN_VIDEOS: Final = 10  # up to this number, the start time of an engine matters


def run_classify(inputs: Inputs, settings: ClassifySettings) -> list[Classification]:
    """Predict the top labels of each video, by the mean probabilities over its clips and their crops.

    Args:
        inputs (str | Path | Sequence): As for ``extract``.
        top_k (int): Number of labels per video.
        timeline (bool): Also return how the top label changes over time. The timeline uses consecutive clips of the
            whole video, unless ``clips``, ``clip_stride`` or ``every`` is given. The predictions do not change.
        html (str | Path | None): Page to write, such as "report.html", with frames, labels and the timeline of each
            video.
        head (str | Path | None): Classifier of your own labels, as ``evaluate_folder(..., save=...)`` writes it. It is
            used instead of the model's labels, with the model that it was trained on.
        protocol (str | None): "published": the clips and crops with which the model's published accuracy was measured.
        on_failure (Callable | None): Called with the Failure of a video that cannot be read. None: its error is raised.
        on_left_out (Callable): Called at the end with the LeftOut: files in folders that were not read as videos.
        on_calibration (Callable): Called with the progress events of the int8 calibration.
        **options: model, clips, clip_stride, every, offset, spacing, crops, mirror, frame_interval, fps, engine,
            device, precision, batch_size, workers, decode_device, timeout, decoder_memory, any_extension, frames,
            segment_origin, as for ``extract``.

    Returns:
        list[Classification]: One per video that could be read, in order.

    Raises:
        UsageError: An option has an invalid value.
        WeightsError: The weights are missing, unreachable or wrong.
        VideoError: A video cannot be read, and ``on_failure`` is None.
        OutputError: The page cannot be written.

    Example:
        >>> for result in p3dfeat.classify("clip.mp4", model="p3d-camera"):
        ...     print(result.predictions[0].label, result.predictions[0].probability)
    """
    settings = with_heads_model(settings)
    model = model_for(settings)
    settings = with_protocol(settings, model)
    inputs_found = found_by(settings, as_texts(inputs), output=None, stdin=None)
    videos, failures = inputs_found.named()
    found, no_videos = [], list[Failure]()
    with decoders_for(settings) as decoders:
        results = classify_videos(
            videos, model=model, settings=settings, decoders=decoders, on_no_video=no_videos.append
        )
        for result in reported(chain(failures, results), videos, model, settings):
            if isinstance(result, Classification):
                found.append(result)
            elif settings.on_failure is None:
                raise type(result.error)(f"{result.source}: {result.error}")
            else:
                settings.on_failure(result)
    settings.on_left_out(replace(inputs_found.left_out, no_videos=len(no_videos)))
    return found


classify = with_options(ClassifySettings)(run_classify)


def with_protocol(settings: ClassifySettings, model: Model) -> ClassifySettings:
    """The settings with the clips and crops of the model's published test, if these are asked for."""
    if settings.protocol is None:
        return settings
    given = [name for name in PROTOCOL_SETS if getattr(settings, name) != SETTINGS_DEFAULTS[name]]
    if given:
        name = given[0].replace("_", "-")
        raise UsageError(f"protocol {settings.protocol}: sets the clips and crops itself; leave --{name} out")
    test = model.card.test
    if test is None:
        raise UsageError(f"model {model.name}: its card names no published test protocol; leave --protocol out")
    return replace(settings, protocol=None, clips=test.clips, crops=test.crops, mirror=test.mirror)


def classify_sampling(settings: ClassifySettings, model: Model) -> Sampling:
    """The clips that are averaged for the predictions. No frame is repeated if the video is long enough."""
    return sampling_for(settings, model, tail="align")


def timeline_sampling(settings: ClassifySettings, model: Model) -> Sampling:
    """The clips of a timeline: consecutive clips without gaps, unless other clips are asked for."""
    if settings.clips is None and settings.clip_stride is None and settings.every is None:
        stride = model.sampling(clips=1, step=settings.frame_interval).span
        settings = replace(settings, clip_stride=stride)
    return sampling_for(settings, model, tail="align")


def classify_videos(
    videos: Sequence[Video],
    *,
    model: Model,
    settings: ClassifySettings,
    decoders: Decoders,
    on_no_video: Callable[[Failure], None] = lambda failure: None,
) -> Generator[Classification | Failure, None, None]:
    """A Classification or a Failure for each video, in order, as soon as it is known.

    on_no_video: called for each file that was tried regardless of its extension and is not a video.
    """
    sampling, over_time = classify_sampling(settings, model), timeline_sampling(settings, model)
    labelling, spec = labelling_for(settings, model)
    runner = engine_for(
        settings,
        model,
        videos,
        layers=(labelling.layer,),
        short_run=len(videos) <= SHORT_RUN_VIDEOS,
        on_calibration=settings.on_calibration,
    )
    run = _Run(labelling, spec, runner, decoders, settings.top_k, on_no_video)
    wants_timeline = settings.timeline or settings.html is not None
    if not wants_timeline or over_time == sampling:
        yield from run.classified(videos, sampling)
        return
    for video in videos:
        for result in run.classified([video], sampling):
            if isinstance(result, Classification):
                for dense in run.classified([video], over_time):
                    yield replace(result, timeline=dense.timeline) if isinstance(dense, Classification) else dense
            else:
                yield result


@dataclass(frozen=True)
class _Run:
    """Classifies videos, all with the same model, engine and decoders."""

    labelling: Labelling
    spec: InputSpec
    engine: Engine
    decoders: Decoders
    top_k: int
    on_no_video: Callable[[Failure], None]

    def classified(
        self, videos: Sequence[Video], sampling: Sampling
    ) -> Generator[Classification | Failure, None, None]:
        """A Classification or a Failure for each video, in order."""
        spec, open_videos = self.spec, dict[str, _Tally]()
        events = pipeline.describe(videos, engine=self.engine, spec=spec, sampling=sampling, decoders=self.decoders)
        with closing(events):  # stops the decoders in every case
            for event in events:
                if isinstance(event, pipeline.Described):
                    tally = open_videos.setdefault(event.video.id, _Tally(self.labelling, len(spec.crops)))
                    tally.add(event.features)
                elif isinstance(event, pipeline.Started):  # possibly again: then the earlier clips are dropped
                    open_videos.pop(event.video.id, None)
                elif isinstance(event, pipeline.Finished):
                    yield open_videos.pop(event.video.id).classification(event.video, self.top_k)
                elif isinstance(event, pipeline.Failed):
                    open_videos.pop(event.video.id, None)
                    if event.is_no_video:
                        self.on_no_video(event.failure)
                    else:
                        yield event.failure


@dataclass
class _Tally:
    """The clips of one video so far."""

    labelling: Labelling
    crops: int
    rows: list[np.ndarray] = field(default_factory=list)
    seconds: list[np.ndarray] = field(default_factory=list)

    def add(self, features: Features) -> None:
        self.rows.append(self.labelling.clip_rows(features.layers[self.labelling.layer], self.crops))
        self.seconds.append(features.seconds)

    def classification(self, video: Video, top_k: int) -> Classification:
        rows, labels = np.concatenate(self.rows), self.labelling.labels
        timeline = timeline_of(self.labelling.of_clips(rows), np.concatenate(self.seconds), labels)
        best = best_predictions(self.labelling.of_video(rows), labels, top_k)
        return Classification(video.id, video.source, best, timeline)


def timeline_of(probabilities: np.ndarray, seconds: np.ndarray, labels: Sequence[str]) -> tuple[Span, ...]:
    """Join neighbouring clips with the same top class: (clips, classes) and (clips, 2) -> spans in time order.

    If clips overlap or leave a gap, the border is in the middle of it: the timeline has no overlaps and no gaps.
    """
    spans = []
    borders = (seconds[1:, 0] + seconds[:-1, 1]) / 2
    starts, ends = np.append(seconds[:1, 0], borders), np.append(borders, seconds[-1:, 1])
    for best, group in groupby(range(len(seconds)), key=lambda i: int(probabilities[i].argmax())):
        clips = list(group)
        probability = float(probabilities[clips, best].mean())
        spans.append(Span(float(starts[clips[0]]), float(ends[clips[-1]]), labels[best], probability))
    return tuple(spans)
