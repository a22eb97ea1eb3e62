"""The main job: videos in, a feature file out."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from p3dfeat.errors import VideoError
from p3dfeat.events import Touched, Warned
from p3dfeat.options import ExtractSettings
from p3dfeat.options import Inputs as InputNames
from p3dfeat.sources import Inputs, Known, Shard, as_texts
from p3dfeat.store import FeatureWriter, Ledger, Lock
from p3dfeat.text.counts import counted
from p3dfeat.types import Failure, LeftOut, Video
from p3dfeat.video import check_decoding
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import MakingReady, check_output, found_by, of_shard
from p3dfeat.workflows.machinery import Machinery, ThisMachine
from p3dfeat.workflows.plan import sizes_of


@dataclass(frozen=True)
class ToDo:
    """The plan of a run. Videos that are already stored are not counted.

    num_videos: videos to compute. size_bytes: their file sizes by id, if all are whole files.
    clips_per_video: if it is the same for all. expected_clips: the clips of each video, estimated from a sample.
    """

    num_videos: int
    size_bytes: Mapping[str, int] = field(default_factory=dict)
    clips_per_video: int | None = None
    expected_clips: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoDone:
    """The final status of a video: "stored", "skipped" (it was stored before) or "failed".

    "accepted": it failed in an earlier run, has not changed, and is not tried again.
    "left_out": the file was tried regardless of its extension, but is not a video; error says what it is.
    damage: the damage of a video that is stored without some clips or without its end.
    remarks: inconsistencies in a video that is stored whole.
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
    """The result of a run."""

    stored: int
    skipped: int
    failed: int
    clips: int
    elapsed_seconds: float  # from the first video opened to the last one stored
    output: str
    failures: tuple[Failure, ...] = field(default=(), repr=False)
    partial: int = 0  # stored videos that are damaged: only a part is stored
    accepted: int = 0  # skipped because they failed in an earlier run and have not changed
    with_remarks: int = 0  # videos stored whole, but with inconsistencies
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


COLUMNS: Final = "and stay as stored; remove a video to store its columns anew"
COUNTS: Final = ("stored", "partial", "with_remarks", "skipped", "accepted", "failed", "clips")
ExtractEvent = MakingReady | ToDo | Touched | Warned | VideoDone | pipeline.Started | pipeline.Described


def run_extract(
    inputs: InputNames, output: str | Path, settings: ExtractSettings, machinery: Machinery | None = None
) -> ExtractSummary:
    """Extract features from videos into an HDF5 file. Videos that are already stored are skipped.

    A video that cannot be read is listed in the summary and in ``<output>.failed.jsonl``; the others are stored.

    Args:
        inputs (str | Path | Sequence): Files, folders, globs, "@list.txt", "-" for paths on stdin, a CSV of segments,
            or addresses such as "https://..." and "s3://...".
        output (str | Path): Feature file to create or to add to.
        model (str | Path | Model | None): Name, path or repository, as for ``load_model``, or a Model. None: the
            default model.
        layers (str | Sequence[str]): Layers to store, such as "pool5", "prob", "res5c". Default: pool5.
        clips (int | None): Number of evenly spaced clips per video. Default: 20.
        clip_stride (int | None): Dense sampling instead of ``clips``: number of frames between clip starts.
        every (float | None): Instead of ``clips``: one clip in the middle of every interval of this number of seconds.
        offset (int | None): With ``clip_stride``, the frame at the first clip's centre. Default: it begins at frame 0.
        spacing (str): With ``clips``: "ends" places them from the first to the last possible one, "inside" centres
            them at the inner ones of ``clips`` + 2 evenly spaced points.
        crops (int): 1, the centre; 3, along the longer side of the resized picture; 10, four corners and the centre,
            then the same mirrored. With several per clip, layers are stored as (clips, crops, ...).
        mirror (bool): Also compute each crop mirrored, after the others.
        frame_interval (int | None): Use every K-th frame of the video. Default: as the model was trained.
        fps (float | None): Resample to this rate first, in frames per second, by timestamps. Default: all frames.
        tail (str): With ``clip_stride``, the frames after the last whole clip: "pad" repeats the last frame, "drop"
            ignores them, "align" moves the last clip back.
        engine (str): Software that runs the network: "torch", "openvino", or "auto": the fastest that is installed and
            matches plain torch.
        device (str): "auto", "cpu", "cuda:1", "mps", or several GPUs: "cuda:0,cuda:1", "cuda:all".
        precision (str): Number format of the convolutions: "fp32" (= "auto"), "tf32", "bf16", "fp16", or on CPUs
            "int8". int8 is calibrated once per model on these videos, and refused if its worst cosine to fp32 is
            below 0.99.
        batch_size (int | None): Number of clips per batch. None: depends on the device; on a GPU it is measured.
        workers (int | None): Number of decoder processes. Default: one per CPU core, at most 4.
        decode_device (str): "cpu", "cuda", or "auto": a CUDA GPU if a test shows that it is faster and exact.
        check (str): Part of a file that is checked for damage. "read": the part that the clips need, if the header
            lists all frames and this part is less than half; the attribute ``indexed`` is then "header". "full": all.
        timeout (float | None): Maximum decoding time per video in seconds, download included. Default: no limit.
        decoder_memory (float): Maximum memory that a video may take in its decoder process, in GB (Linux only).
        pool (str): "mean" averages layers with time, height and width to one number per channel. Default: "none".
        compress (bool): Compress such layers in the file with gzip, one chunk per clip.
        shard (str | None): "3/16": part 3 of 16 of the videos, for 16 machines with the same inputs. The parts have
            about the same number of bytes, whatever the order of the inputs. ``merge`` joins the files.
        max_videos (int | None): Maximum number of videos stored in this run.
        overwrite (bool): Recompute everything; replace the file when the run ends.
        on_error (str): If a video cannot be read or is damaged: "skip" it, store the readable part ("partial", marked
            by the attributes damage and clips_left_out), or "stop" the run.
        on_changed (str): If the file of a stored video has changed: "fail" reports it as failed, "replace" recomputes
            it. The old features stay until the new ones are stored.
        accept_failed (bool): Skip videos that failed in an earlier run and have not changed.
        strict (bool): Count videos with remarks as failed.
        any_extension (bool): Try all files in a folder, whatever their extension, except hidden ones.
        frames (float | None): Read folders of numbered pictures as videos with this number of frames per second.
        segment_origin (str): Zero of the times in a CSV of segments: "first-frame", or the file's own "clock".
        stdin (TextIO | None): Stream that "-" is read from.
        cluster (str | None): Compute on a Ray cluster: "auto", or the address of its head, such as "10.0.0.1:6379".
        on_event (Callable): Called with each ExtractEvent.

    Returns:
        ExtractSummary: Counts and failures.

    Raises:
        UsageError: An option has an invalid value.
        WeightsError: The weights are missing, unreachable or wrong.
        FeatureFileError: The output is not a p3dfeat file, or was created with other settings.
        OutputError: The output cannot be written, or another run is writing it.

    Example:
        >>> summary = p3dfeat.extract("videos/", "feats.h5", clips=10)
        >>> summary.stored, summary.failed
    """
    check_output(output)
    if settings.shard is not None:
        Shard.of(settings.shard)  # before anything that takes time
    check_decoding(settings.workers, settings.decode_device, settings.timeout, settings.decoder_memory)
    with Lock(output) as lock:  # before anything that takes time: a second run is refused at once
        if lock.warning is not None:
            settings.on_event(Warned(lock.warning))
        found = found_by(settings, as_texts(inputs), output=output, stdin=settings.stdin)
        with machinery or ThisMachine(settings) as machines:
            return _extract(found, lock, settings, machines)


def _extract(inputs: Inputs, lock: Lock, settings: ExtractSettings, machines: Machinery) -> ExtractSummary:
    on_event = settings.on_event
    job = machines.job(inputs.named()[0], on_event)
    run = _Run(lock.output, settings, inputs.left_out)
    writer = FeatureWriter(
        lock.output, job.recorded(), overwrite=settings.overwrite, compress=settings.compress, lock=lock
    )
    with _stored(writer, run.ledger, overwrite=settings.overwrite):
        videos, failures = of_shard(settings.shard, *inputs.named(Known(writer.stored, writer.source_of)))
        for failure in failures:
            if not run.accepts(failure.id, failure.source, failure.path):
                run.failed(failure)
        missing = [] if run.stopped else list(run.not_stored(videos, writer))
        if run.stopped:
            missing.clear()
        wanted = missing[: job.limit]
        sizes = sizes_of(wanted)
        on_event(ToDo(len(wanted), sizes, job.sampling.clips, machines.forecast(wanted, sizes, job)))
        with closing(machines.describe(missing, job)) as events:  # ends the decoders in every case
            for event in events:
                run.handle(event, writer)
                if run.num_stored == job.limit or run.stopped:
                    break
        if run.stopped:
            writer.break_off()
    return run.summary()


@contextmanager
def _stored(writer: FeatureWriter, ledger: Ledger, *, overwrite: bool) -> Iterator[None]:
    """Update the output at the end, then its list of failures.

    If the run ends before that, or has nothing to replace the old file with, the old list stays too.
    """
    with ledger:
        try:
            with writer:
                yield
        finally:
            if writer.is_settled:
                ledger.drop_earlier() if overwrite and not writer.went_on else ledger.drop_stored()


class _Run:
    """Counts and reports what happens to each video."""

    def __init__(self, output: Path, settings: ExtractSettings, left_out: LeftOut):
        on_event = settings.on_event
        self.ledger = Ledger(output)
        self._output, self._on_event = output, on_event
        self._stops, self._replaces = settings.on_error == "stop", settings.on_changed == "replace"
        self._accepts = settings.accept_failed
        self._partial, self._with_remarks, self._left_out = 0, 0, left_out
        self._counts = dict.fromkeys(("stored", "skipped", "accepted", "failed", "left_out"), 0)
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
        other_columns = 0
        for video in videos:
            if video.id not in writer.stored and self.accepts(video.id, video.source, video.path):
                continue
            try:
                stored = writer.is_stored(video, on_touched=self._on_event, replace=self._replaces)
            except VideoError as error:
                if self.accepts(video.id, video.source, video.path):
                    continue
                self.failed(Failure(video.id, video.source, error, video.path))
                if self.stopped:
                    return
                continue
            if stored:
                other_columns += not writer.has_columns(video)
                self.ledger.forget(video.id, video.source, video.path)
                self._done(VideoDone(video.id, video.source, "skipped"))
            else:
                yield video
        if other_columns:
            those = f"those of {counted(other_columns, 'stored video')}"
            self._on_event(Warned(f"columns of the CSV differ from {those}, {COLUMNS}"))

    def accepts(self, id: str, source: str, path: str) -> bool:
        """Whether a video is skipped because it failed before and has not changed; if so, reports it."""
        accepted = self._accepts and self.ledger.is_known(id, source, path)
        if accepted:
            self._done(VideoDone(id, source, "accepted"))
        return accepted

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
            self.ledger.forget(video.id, video.source, video.path)
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
        self.ledger.record(failure.id, failure.source, str(failure.error), failure.path)
        self._done(VideoDone(failure.id, failure.source, "failed", error=str(failure.error)))

    def _done(self, event: VideoDone) -> None:
        self._counts[event.status] += 1
        self._on_event(event)

    def summary(self) -> ExtractSummary:
        return ExtractSummary(
            **{name: self._counts[name] for name in ("stored", "skipped", "accepted", "failed")},
            left_out=dataclasses.replace(self._left_out, no_videos=self._counts["left_out"]),
            clips=self._stored_clips,
            elapsed_seconds=time.monotonic() - self._started,
            output=str(self._output),
            failures=tuple(self._failures),
            partial=self._partial,
            with_remarks=self._with_remarks,
            stopped=self.stopped,
        )
