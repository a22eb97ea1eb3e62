"""Classify videos: the top labels of each video, and how they change over time."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from itertools import chain, groupby
from typing import Final

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import Engine
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.labelling import Labelling
from p3dfeat.options import ClassifySettings, Inputs, ModelOptions, with_options
from p3dfeat.sources import as_texts
from p3dfeat.types import Classification, Failure, Features, Span, Video, best_predictions
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import (
    decoders_for,
    engine_for,
    found_by,
    labelling_for,
    model_for,
    sampling_for,
    with_heads_model,
)
from p3dfeat.workflows.reports.classify import reported
from p3dfeat.zoo import Model
from p3dfeat.zoo.download.progress import OnFetch

PROTOCOL_SETS: Final = ("clips", "clip_stride", "every", "offset", "spacing", "crops", "mirror")  # by a protocol
SETTINGS_DEFAULTS: Final = {field.name: field.default for field in fields(ClassifySettings)}
FUSED_TOGETHER: Final = 64  # videos whose probabilities by one model wait for those by the other
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
        fuse (str | Path | Model | None): Second model with the same labels, such as a flow model. The probabilities of
            both are averaged.
        protocol (str | None): "published": the clips and crops with which the model's published accuracy was measured.
        on_failure (Callable | None): Called with the Failure of a video that cannot be read. None: its error is raised.
        on_left_out (Callable): Called at the end with the LeftOut: files in folders that were not read as videos.
        on_calibration (Callable): Called with the progress events of the int8 calibration.
        **options: model, flow, clips, clip_stride, every, offset, spacing, crops, mirror, frame_interval, fps, engine,
            device, precision, batch_size, workers, decode_device, check, timeout, decoder_memory, any_extension,
            frames, segment_origin, as for ``extract``.

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
    second = second_model(settings)
    inputs_found = found_by(settings, as_texts(inputs), output=None, stdin=None)
    videos, failures = inputs_found.named()
    found, no_videos = [], list[Failure]()
    with decoders_for(settings) as decoders:
        results = classify_videos(
            videos, model=model, second=second, settings=settings, decoders=decoders, on_no_video=no_videos.append
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


def second_model(settings: ClassifySettings, on_fetch: OnFetch | None = None) -> Model | None:
    """The loaded model of ``fuse``, if one is named."""
    if settings.fuse is None:
        return None
    return model_for(ModelOptions(model=settings.fuse), on_fetch)


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
    second: Model | None = None,
    on_no_video: Callable[[Failure], None] = lambda failure: None,
) -> Generator[Classification | Failure, None, None]:
    """A Classification or a Failure for each video, in order, as soon as it is known.

    second: a model whose probabilities are averaged with the first one's. on_no_video: called for each file that was
    tried regardless of its extension and is not a video. Raises UsageError if the models have different labels.
    """
    if second is not None and list(second.card.labels) != list(model.card.labels):
        raise UsageError(f"fuse {second.name}: has other labels than {model.name}; probabilities cannot be averaged")
    parts = [_Part.of(each, settings, videos, decoders, on_no_video) for each in (model, second) if each is not None]
    wants_timeline = settings.timeline or settings.html is not None
    again = wants_timeline and any(part.over_time != part.sampling for part in parts)
    together = 1 if again else FUSED_TOGETHER if second is not None else max(1, len(videos))
    for start in range(0, len(videos), together):
        results: Iterable[_Labelled | Failure] = _labelled(parts, videos[start : start + together], over_time=False)
        for result in list(results) if again else results:  # the decoders serve one after the other
            if isinstance(result, Failure):
                yield result
                continue
            classification = result.classification(settings.top_k)
            if again:
                (dense,) = _labelled(parts, [result.video], over_time=True)
                if isinstance(dense, Failure):
                    yield dense
                    continue
                classification = replace(classification, timeline=dense.timeline())
            yield classification


@dataclass(frozen=True)
class _Labelled:
    """Probabilities of a video: (labels,), and of its clips: (clips, labels)."""

    video: Video
    labels: Sequence[str]
    of_video: np.ndarray
    of_clips: np.ndarray
    seconds: np.ndarray

    def classification(self, top_k: int) -> Classification:
        best = best_predictions(self.of_video, self.labels, top_k)
        return Classification(self.video.id, self.video.source, best, self.timeline())

    def timeline(self) -> tuple[Span, ...]:
        return timeline_of(self.of_clips, self.seconds, self.labels)

    def averaged(self, other: "_Labelled") -> "_Labelled":
        """With the mean of both. Clips are averaged if they are the same ones; otherwise, the first ones stay."""
        same = self.seconds.shape == other.seconds.shape and np.array_equal(self.seconds, other.seconds)
        return replace(
            self,
            of_video=(self.of_video + other.of_video) / 2,
            of_clips=(self.of_clips + other.of_clips) / 2 if same else self.of_clips,
        )


def _labelled(
    parts: Sequence["_Part"], videos: Sequence[Video], *, over_time: bool
) -> Generator[_Labelled | Failure, None, None]:
    """The probabilities of each video, averaged over the models, in order."""
    first, *others = parts
    if not others:
        yield from first.labelled(videos, over_time=over_time)
        return
    found = list(first.labelled(videos, over_time=over_time))
    readable = [each.video for each in found if isinstance(each, _Labelled)]
    by_id: dict[str, _Labelled | Failure] = {}
    for other in others:
        for result in other.labelled(readable, over_time=over_time):
            by_id[result.video.id if isinstance(result, _Labelled) else result.id] = result
    for each in found:
        second = by_id[each.video.id] if isinstance(each, _Labelled) else each
        yield each.averaged(second) if isinstance(each, _Labelled) and isinstance(second, _Labelled) else second


@dataclass(frozen=True)
class _Part:
    """One model: its engine, its clips, and what labels them."""

    labelling: Labelling
    spec: InputSpec
    engine: Engine
    decoders: Decoders
    sampling: Sampling
    over_time: Sampling
    on_no_video: Callable[[Failure], None]

    @classmethod
    def of(
        cls,
        model: Model,
        settings: ClassifySettings,
        videos: Sequence[Video],
        decoders: Decoders,
        on_no_video: Callable[[Failure], None],
    ) -> "_Part":
        labelling, spec = labelling_for(settings, model)
        engine = engine_for(
            settings,
            model,
            videos,
            layers=(labelling.layer,),
            short_run=len(videos) <= SHORT_RUN_VIDEOS,
            on_calibration=settings.on_calibration,
        )
        sampling, over_time = classify_sampling(settings, model), timeline_sampling(settings, model)
        return cls(labelling, spec, engine, decoders, sampling, over_time, on_no_video)

    def labelled(self, videos: Sequence[Video], *, over_time: bool) -> Generator[_Labelled | Failure, None, None]:
        """The probabilities or a Failure for each video, in order."""
        spec, open_videos = self.spec, dict[str, _Tally]()
        sampling = self.over_time if over_time else self.sampling
        events = pipeline.describe(videos, engine=self.engine, spec=spec, sampling=sampling, decoders=self.decoders)
        with closing(events):  # stops the decoders in every case
            for event in events:
                if isinstance(event, pipeline.Described):
                    tally = open_videos.setdefault(event.video.id, _Tally(self.labelling, len(spec.crops)))
                    tally.add(event.features)
                elif isinstance(event, pipeline.Started):  # possibly again: then the earlier clips are dropped
                    open_videos.pop(event.video.id, None)
                elif isinstance(event, pipeline.Finished):
                    yield open_videos.pop(event.video.id).result(event.video)
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

    def result(self, video: Video) -> _Labelled:
        rows, by = np.concatenate(self.rows), self.labelling
        return _Labelled(video, by.labels, by.of_video(rows), by.of_clips(rows), np.concatenate(self.seconds))


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
