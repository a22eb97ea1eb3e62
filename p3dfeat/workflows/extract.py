"""The main job: videos in, a feature file out."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from p3dfeat.config import DECODER_MEMORY
from p3dfeat.errors import VideoError
from p3dfeat.sources import Inputs, Known, as_texts
from p3dfeat.store import FeatureWriter, Ledger, Lock
from p3dfeat.types import SEGMENT_ORIGINS, Failure, LeftOut, Touched, Video, Warned
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import ExtractSettings, Job, MakingReady, check_output
from p3dfeat.zoo import Model


@dataclass(frozen=True)
class ToDo:
    """The run is laid out: so many videos to compute, the others are stored already."""

    num_videos: int


@dataclass(frozen=True)
class VideoDone:
    """A video is dealt with: "stored", "skipped" (it was stored before) or "failed".

    "left_out": a file that was tried, whatever its extension, and is no video; error says what it is.
    damage: what is wrong with one that is stored less some clips, or less its end.
    remarks: what does not add up in one that is stored whole.
    """

    id: str
    source: str
    status: str
    clips: int = 0
    error: str | None = None
    damage: str | None = None
    clips_left_out: int = 0
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        if self.damage is None:
            del fields["damage"], fields["clips_left_out"]
        return {"event": "video", **fields, "remarks": list(self.remarks)}


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did."""

    stored: int
    skipped: int
    failed: int
    clips: int
    elapsed_seconds: float  # from the first video opened to the last one stored
    output: str
    failures: tuple[Failure, ...] = field(default=(), repr=False)
    partial: int = 0  # of those stored, damaged ones of which only parts are
    with_remarks: int = 0  # of those stored whole, ones in which something does not add up
    stopped: bool = False  # by the first failure, with on_error "stop"
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def clips_per_second(self) -> float:
        return self.clips / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in COUNTS}
        return {
            "event": "summary",
            **counts,
            "left_out": self.left_out.num_files,
            "clips_per_second": round(self.clips_per_second, 3),
            "output": self.output,
        }


COUNTS: Final = ("stored", "partial", "with_remarks", "skipped", "failed", "clips")
ExtractEvent = MakingReady | ToDo | Touched | Warned | VideoDone | pipeline.Started | pipeline.Described


def extract(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | Model | None = None,
    layers: str | Sequence[str] = ("pool5",),
    clips: int | None = None,
    stride: int | None = None,
    step: int | None = None,
    fps: float | None = None,
    tail: str = "pad",
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    decoder: str = "auto",
    timeout: float | None = None,
    decoder_memory: float = DECODER_MEMORY,
    limit: int | None = None,
    overwrite: bool = False,
    on_error: str = "skip",
    strict: bool = False,
    any_extension: bool = False,
    frames: float | None = None,
    segment_origin: str = SEGMENT_ORIGINS[0],
    stdin: TextIO | None = None,
    on_event: Callable[[ExtractEvent], None] = lambda event: None,
) -> ExtractSummary:
    """Describe videos and store the result in the feature file ``output``; what it already holds is skipped.

    inputs: files, folders, globs, "@list.txt", "-" or a CSV of segments, as for ``p3dfeat extract``.
    model: a name, a path or a repository, as for ``load_model``, or a model; None for the default one.
    layers: of the net, such as "pool5", "prob", "res5c".
    clips: uniformly spaced ones a video (default 20), or stride: one every so many frames.
    engine: "torch", "openvino", or "auto": the fastest that is installed and gives the numbers of plain torch.
    device: "auto", "cpu", "cuda:1", "mps", or several GPUs: "cuda:0,cuda:1", "cuda:all".
    batch_size: clips that go through the net together; None for what suits the device, on a GPU found by trying.
    precision: "fp32", which "auto" is, or one that is faster and less exact: "bf16", "fp16", or, on CPUs, "int8",
    which is calibrated once per model on these videos, and refused where its worst cosine to fp32 is below 0.99.
    step, fps, tail: see Sampling; step defaults to the model's own.
    workers: so many videos are decoded at once, each in a process of its own; None: one a core, four at most.
    decoder: "cpu", "cuda", or "auto": a CUDA GPU where that gives the same pixels sooner.
    timeout: seconds of decoding that a video may take; None: as many as it takes, as long as its decoder gets on.
    decoder_memory: GB that a video may take in its decoder process, on Linux.
    limit: store at most so many videos.
    on_error: what a video that cannot be read, or is damaged, means: "skip" it; "partial": of a damaged one store what
    is left, marked by its attributes damage and clips_left_out; "stop" the run.
    strict: a video in which something does not add up has failed, instead of being stored with remarks.
    any_extension: of folders, try every file that is not hidden; those that are no videos are left out and counted.
    frames: read folders of numbered pictures as videos, too, of so many frames per second.
    segment_origin: what the seconds of a CSV's segments are counted from: "first-frame", or the file's own "clock".
    A video that cannot be read is listed in the summary and in ``<output>.failed.jsonl``; the others are stored.
    Raises UsageError, WeightsError, FeatureFileError or OutputError where nothing can be done at all.
    """
    settings = ExtractSettings(
        model=model,
        layers=(layers,) if isinstance(layers, str) else tuple(layers),
        clips=clips,
        stride=stride,
        step=step,
        fps=fps,
        tail=tail,
        engine=engine,
        device=device,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        decoder=decoder,
        timeout=timeout,
        decoder_memory=decoder_memory,
        limit=limit,
        overwrite=overwrite,
        on_error=on_error,
        strict=strict,
        any_extension=any_extension,
        frames=frames,
        segment_origin=segment_origin,
    )
    return run_extraction(inputs, output, settings, stdin=stdin, on_event=on_event)


def run_extraction(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    settings: ExtractSettings,
    *,
    stdin: TextIO | None = None,
    on_event: Callable[[ExtractEvent], None] = lambda event: None,
) -> ExtractSummary:
    """``extract`` for settings that are made already."""
    check_output(output)
    with Lock(output) as lock:  # before anything that takes time: a second run is refused at once
        if lock.warning is not None:
            on_event(Warned(lock.warning))
        return _extract(settings.look_for(as_texts(inputs), output, stdin), lock, settings, on_event)


def _extract(
    inputs: Inputs,
    lock: Lock,
    settings: ExtractSettings,
    on_event: Callable[[ExtractEvent], None],
) -> ExtractSummary:
    job = Job.of(settings, inputs.named()[0], on_event)
    run = _Run(lock.output, on_event, inputs.left_out, stops=settings.on_error == "stop")
    writer = FeatureWriter(lock.output, job.recorded(), overwrite=settings.overwrite, lock=lock)
    with settings.decoders() as decoders, _stored(writer, run.ledger, overwrite=settings.overwrite):
        videos, failures = inputs.named(Known(writer.stored, writer.source_of))
        for failure in failures:
            run.failed(failure)
        missing = [] if run.stopped else list(run.not_stored(videos, writer))
        if run.stopped:
            missing.clear()
        on_event(ToDo(min(len(missing), job.limit)))
        events = pipeline.describe(
            missing,
            engine=job.engine,
            spec=job.spec,
            sampling=job.sampling,
            decoders=decoders,
        )
        with closing(events):  # ends the decoders, however this ends
            for event in events:
                run.handle(event, writer)
                if run.num_stored == job.limit or run.stopped:
                    break
        if run.stopped:
            writer.break_off()
    return run.summary()


@contextmanager
def _stored(writer: FeatureWriter, ledger: Ledger, *, overwrite: bool) -> Iterator[None]:
    """Bring the output up to date at the end, then its list of failures.

    A run that does not get as far, or has nothing to replace the old file with, keeps the old list, too.
    """
    with ledger:
        try:
            with writer:
                yield
        finally:
            if writer.is_settled:
                ledger.drop_earlier() if overwrite else ledger.drop_stored()


class _Run:
    """Counts and reports what happens to each video."""

    def __init__(self, output: Path, on_event: Callable[[ExtractEvent], None], left_out: LeftOut, *, stops: bool):
        """stops: the first failure ends it."""
        self.ledger = Ledger(output)
        self._output, self._on_event, self._stops = output, on_event, stops
        self._partial, self._with_remarks, self._left_out = 0, 0, left_out
        self._counts = dict.fromkeys(("stored", "skipped", "failed", "left_out"), 0)
        self._clips: dict[str, int] = {}
        self._stored_clips = 0
        self._failures: list[Failure] = []
        self._started = time.monotonic()

    @property
    def num_stored(self) -> int:
        return self._counts["stored"]

    @property
    def stopped(self) -> bool:
        return self._stops and bool(self._failures)

    def not_stored(self, videos: Sequence[Video], writer: FeatureWriter) -> Iterator[Video]:
        """The videos still to compute; reports the others."""
        for video in videos:
            try:
                stored = writer.is_stored(video, on_touched=self._on_event)
            except VideoError as error:
                self.failed(Failure(video.id, video.source, error))
                if self.stopped:
                    return
                continue
            if stored:
                self._done(VideoDone(video.id, video.source, "skipped"))
            else:
                yield video

    def handle(self, event: pipeline.Event, writer: FeatureWriter) -> None:
        if isinstance(event, pipeline.Started):
            if event.again:
                writer.abandon(event.video)
                self._clips.pop(event.video.id, None)
            self._on_event(event)
        elif isinstance(event, pipeline.Described):
            writer.add(event.video, event.features)
            self._clips[event.video.id] = self._clips.get(event.video.id, 0) + len(event.features)
            self._on_event(event)
        elif isinstance(event, pipeline.Finished):
            video, info = event.video, event.info
            writer.finish(video, info)
            clips = self._clips.pop(video.id, 0)
            self._stored_clips += clips
            self._partial += info.damage is not None
            self._with_remarks += info.damage is None and bool(info.remarks)
            self._done(
                VideoDone(
                    *(video.id, video.source, "stored", clips),
                    damage=info.damage,
                    clips_left_out=info.clips_left_out,
                    remarks=info.remarks,
                )
            )
        else:
            writer.abandon(event.video)
            self._clips.pop(event.video.id, None)
            if event.is_no_video:
                video, error = event.video, str(event.failure.error)
                self._done(VideoDone(video.id, video.source, "left_out", error=error))
            else:
                self.failed(event.failure)

    def failed(self, failure: Failure) -> None:
        self._failures.append(failure)
        self.ledger.record(failure.id, failure.source, str(failure.error))
        self._done(VideoDone(failure.id, failure.source, "failed", error=str(failure.error)))

    def _done(self, event: VideoDone) -> None:
        self._counts[event.status] += 1
        if event.status != "failed":
            self.ledger.forget(event.id)
        self._on_event(event)

    def summary(self) -> ExtractSummary:
        return ExtractSummary(
            **{name: self._counts[name] for name in ("stored", "skipped", "failed")},
            left_out=dataclasses.replace(self._left_out, no_videos=self._counts["left_out"]),
            clips=self._stored_clips,
            elapsed_seconds=time.monotonic() - self._started,
            output=str(self._output),
            failures=tuple(self._failures),
            partial=self._partial,
            with_remarks=self._with_remarks,
            stopped=self.stopped,
        )
