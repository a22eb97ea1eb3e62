"""Check a feature file: read every byte, compare it with the inputs, and recompute a sample."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import FeatureFileError, NotAVideoError, P3DFeatError, UsageError
from p3dfeat.options import VerifySettings, with_options
from p3dfeat.sources import Inputs, Known, as_texts, look_for
from p3dfeat.store import (
    NESTED,
    Foreign,
    Ledger,
    Looked,
    Problem,
    check_file,
    compared,
    is_unchanged,
    other_part,
    source_if_same,
    unfinished,
)
from p3dfeat.text.counts import counted
from p3dfeat.text.jsons import parse_json
from p3dfeat.types import SEGMENT_ORIGINS, LeftOut, Video
from p3dfeat.video import Decoders, clip_starts, num_intervals

if TYPE_CHECKING:  # recompute imports torch, which reading the file does not need
    from p3dfeat.workflows.recompute import Recomputed, RecomputeEvent

DEFAULT_SAMPLE: Final = 3  # videos recomputed if inputs are given without a number
SEED: Final = b"p3dfeat verify"  # the same videos are chosen each time

Sample = int | Literal["all"]


@dataclass(frozen=True)
class Finding:
    """A problem, or a remark. Without an id, it is about the whole file.

    kind: "damaged", "missing", "failed", "changed", "different" or "not recomputed"; for remarks "foreign", "gone",
    "touched", "interrupted", "not recomputed" or "recomputed".
    """

    kind: str
    id: str
    text: str
    is_remark: bool = False

    def as_json(self) -> dict[str, Any]:
        event = "remark" if self.is_remark else "finding"
        return {"event": event, "kind": self.kind, "id": self.id or None, "text": self.text}


@dataclass(frozen=True)
class ToRecompute:
    """The file was read and compared with the inputs; ``num_videos`` videos are now recomputed."""

    num_videos: int


VerifyEvent: TypeAlias = "Looked | Finding | ToRecompute | Recomputed | RecomputeEvent"


@dataclass(frozen=True)
class VerifySummary:
    """The result of a check: counts, findings and remarks."""

    file: str
    videos: int
    clips: int
    recomputed: int
    identical: int  # of these, bit-identical
    worst_relative_error: float  # largest over all recomputed rows and layers
    findings: tuple[Finding, ...] = field(repr=False)
    remarks: tuple[Finding, ...] = field(repr=False)
    left_out: LeftOut = field(default_factory=LeftOut)  # of the folders in ``against``

    @property
    def is_sound(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        names = ("file", "videos", "clips", "recomputed", "identical", "worst_relative_error")
        counts = {"findings": len(self.findings), "remarks": len(self.remarks), "left_out": self.left_out.num_files}
        return {"event": "summary", **{name: getattr(self, name) for name in names}, **counts}


def run_verify(file: str | Path, settings: VerifySettings) -> VerifySummary:
    """Check a feature file for damage, missing videos and wrong values. Damage is a finding, not an error.

    Args:
        file (str | Path): Feature file.
        against (str | Path | Sequence | None): Videos that the file should hold, named as for ``extract``.
        recompute (int | "all" | None): Number of videos to recompute and compare. Default: 3 with ``against``,
            otherwise 0.
        model (str | Path | None): Model to recompute with. Default: the one named in the file.
        workers (int | None): Number of decoder processes. Default: one per CPU core, at most 4.
        any_extension (bool), frames (float | None): As for ``extract``, for the folders in ``against``.
        stdin (TextIO | None): Stream that "-" in ``against`` is read from.
        on_event (Callable): Called with each VerifyEvent.

    Returns:
        VerifySummary: Counts, findings and remarks. ``is_sound`` is true if there are no findings.

    Raises:
        UsageError: An option has an invalid value.
        FeatureFileError: The file is missing or not readable.

    Example:
        >>> p3dfeat.verify("feats.h5", against="videos/").is_sound
    """
    path, sample = Path(file), settings.recompute
    if sample is not None and sample != "all" and sample < 0:
        raise UsageError(f"recompute {sample}: must be all or a number of at least 0")
    run = _Verification(path, settings.on_event)
    inputs = None
    if settings.against is not None:
        inputs = look_for(
            as_texts(settings.against),
            stdin=settings.stdin,
            any_extension=settings.any_extension,
            frames=settings.frames,
            output=path,
        )
    if run.look_through():
        videos = run.videos_at_hand() if inputs is None else run.hold_to(inputs, settings.workers)
        wanted = sample if sample is not None else 0 if inputs is None else DEFAULT_SAMPLE
        run.recompute(chosen(videos, wanted), settings.model, settings.workers, asked=bool(sample))
    return run.summary()


verify = with_options(VerifySettings)(run_verify)


def chosen(videos: Sequence[Video], sample: Sample) -> list[Video]:
    """A sample of the videos, in their order. The choice depends on the ids only, so it is the same each time."""
    if sample == "all":
        return list(videos)
    ranks = sorted(videos, key=lambda video: hashlib.sha256(SEED + video.id.encode("utf-8", "replace")).digest())
    picked = {video.id for video in ranks[:sample]}
    return [video for video in videos if video.id in picked]


def as_stored(video: Video, about: Mapping[str, Any]) -> Video:
    """A video with the segment origin that is stored. Older files do not store it: they used the file's clock."""
    origin = about.get("segment_origin", "clock")
    return replace(video, segment_origin=origin) if video.is_segment and origin in SEGMENT_ORIGINS else video


class _Verification:
    """Checks one file and collects the findings."""

    def __init__(self, path: Path, on_event: Callable[[VerifyEvent], None]):
        self._path, self._on_event = path, on_event
        self._settings: dict[str, Any] = {}
        self._stored: dict[str, Looked] = {}
        self._unsound: set[str] = set()  # ids of videos with findings
        self._findings: list[Finding] = []
        self._remarks: list[Finding] = []
        self._recomputed: list[Recomputed] = []
        self._left_out = LeftOut()

    def look_through(self) -> bool:
        """Find damage; return whether the file could be opened."""
        state = unfinished(self._path)
        if state is not None and not self._path.exists():
            raise FeatureFileError(f"{self._path}: not there yet: {state}")
        if state is not None:
            self._remark("interrupted", "", f"not all is in it: {state}")
        foreign: dict[str, list[str]] = {}  # ids of the videos that have it
        for found in check_file(self._path):
            if isinstance(found, Problem):
                self._find("damaged", found.id, found.text)
            elif isinstance(found, Foreign):
                foreign.setdefault(found.text, []).append(found.id)
            elif isinstance(found, Looked):
                self._stored[found.id] = found
                self._on_event(found)
                if problem := wrong_number_of_clips(self._settings.get("sampling"), found):
                    self._find("damaged", found.id, problem)
            else:
                self._settings = dict(decoded(found.attributes))
        for what, ids in foreign.items():
            several = f" of {len(ids)} videos" if len(ids) > 1 else ""
            text = f"{what}{several}: not written by p3dfeat, and left as it is"
            self._remark("foreign", "" if several else ids[0], text)
        return bool(self._settings)

    def hold_to(self, inputs: Inputs, workers: int | None) -> list[Video]:
        """Find missing and changed videos; return the stored videos that are unchanged."""
        videos, failures = inputs.named(Known(self._stored, self._source_of))
        failed = {entry["id"]: entry["error"] for entry in Ledger(self._path).entries()}
        tried = [video for video in videos if video.by_content and video.id not in {*self._stored, *failed}]
        no_videos = ids_of_no_videos(tried, workers) if tried else set()
        self._left_out = replace(inputs.left_out, no_videos=len(no_videos))
        videos = [video for video in videos if video.id not in no_videos]
        same = []
        for video in videos:
            if video.id in self._stored:
                if self._is_same(video):
                    same.append(as_stored(video, self._stored[video.id].attributes))
            elif video.id in failed:
                self._find("failed", video.id, f"could not be read: {failed[video.id]}")
            elif video.id not in self._unsound:  # unreadable videos are already reported
                self._find("missing", video.id, f"is not stored, nor listed as failed: {video.source}")
        for failure in failures:
            self._find("failed", failure.id, f"{failure.error}")
        wanted = {video.id for video in videos}
        for id in self._stored:
            if id not in wanted:
                self._remark(
                    "gone", id, "is stored, but no longer among the inputs; p3dfeat remove --not-in removes it"
                )
        return same

    def _source_of(self, video: Video) -> str | None:
        """The source stored under this video's id, if it is the same video; None if not."""
        looked = None if video.id in self._unsound else self._stored.get(video.id)
        return None if looked is None else source_if_same(as_stored(video, looked.attributes), looked.attributes)

    def _is_same(self, video: Video) -> bool:
        """Whether the stored features are of this file; reports differences."""
        about = self._stored[video.id].attributes
        video = as_stored(video, about)
        if (other := other_part(video, about)) is not None:
            self._find("changed", video.id, f"is stored for {other}")
            return False
        if video.remote:
            return True
        try:
            found = compared(video.path, about)
        except OSError as error:
            self._find("changed", video.id, f"can no longer be read ({error.strerror})")
            return False
        if found.kind == "touched":
            times = f"was modified {found.modified}, {about.get('modified')} when it was stored"
            self._remark("touched", video.id, f"{times}; size and ends agree")
        elif found.kind != "same":
            changes = {
                "size": f"has {found.size} bytes now, {about.get('size_bytes')} when it was stored",
                "content": "has other content than when it was stored, of the same size",
                "damaged": f"was damaged when it was stored, and modified since, {found.modified}",
            }
            self._find("changed", video.id, changes[found.kind])
        return found.kind in ("same", "touched")

    def videos_at_hand(self) -> list[Video]:
        """The stored videos whose files are still at their stored paths and unchanged."""
        found = []
        for id, looked in self._stored.items():
            about = looked.attributes
            source, frames_fps = str(about.get("source")), about.get("frames_fps")
            start, end = (about.get(f"segment_{end}_seconds") for end in ("start", "end"))
            is_there = os.path.isfile if frames_fps is None else os.path.isdir
            if id not in self._unsound and is_there(source) and is_unchanged(source, about):
                found.append(as_stored(Video(id, source, source, start, end, frames_fps=frames_fps), about))
        return found

    def recompute(self, videos: Sequence[Video], model: str | Path | None, workers: int | None, *, asked: bool) -> None:
        """asked: if nothing can be recomputed, that is a finding, not only a remark."""
        videos = [video for video in videos if video.id not in self._unsound and not video.remote]
        tell = self._find if asked else self._remark
        if not videos:
            if asked:
                tell("not recomputed", "", "none of its videos are available as they were stored; --against names them")
            return
        from p3dfeat.workflows.recompute import Recomputation

        try:
            ready = Recomputation.of(self._path, self._settings, model=model, on_event=self._on_event)
        except P3DFeatError as error:
            tell("not recomputed", "", str(error))
            return
        if ready.remark:
            self._remark("recomputed", "", ready.remark)
        self._on_event(ToRecompute(len(videos)))
        for result in ready.run(videos, workers=workers, on_event=self._on_event):
            self._recomputed.append(result)
            for problem in result.problems:
                self._find("different", result.id, problem)
            self._on_event(result)

    def _find(self, kind: str, id: str, text: str) -> None:
        self._unsound.add(id)
        self._findings.append(Finding(kind, id, text))
        self._on_event(self._findings[-1])

    def _remark(self, kind: str, id: str, text: str) -> None:
        self._remarks.append(Finding(kind, id, text, is_remark=True))
        self._on_event(self._remarks[-1])

    def summary(self) -> VerifySummary:
        return VerifySummary(
            file=str(self._path),
            videos=len(self._stored),
            clips=sum(looked.clips for looked in self._stored.values()),
            recomputed=len(self._recomputed),
            identical=sum(result.identical for result in self._recomputed),
            worst_relative_error=float(np.max([0.0, *(result.worst_relative_error for result in self._recomputed)])),
            findings=tuple(self._findings),
            remarks=tuple(self._remarks),
            left_out=self._left_out,
        )


def decoded(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The root attributes, with nested settings decoded from JSON; invalid ones are left out."""
    for name, value in attributes.items():
        if name in NESTED:
            try:
                value = parse_json(value)
            except (TypeError, ValueError):
                continue
        yield name, value


def wrong_number_of_clips(settings: Mapping[str, Any] | None, looked: Looked) -> str | None:
    """The problem if a video's number of clips does not match its number of frames; otherwise None."""
    try:
        sampling = Sampling(**settings or {})
        frames, seconds = int(looked.attributes["num_frames"]), float(looked.attributes["duration_seconds"])
        segment = any(f"segment_{end}_seconds" in looked.attributes for end in ("start", "end"))
        slack = 0
        if sampling.clips is None and segment:
            return None
        if sampling.fps is not None:
            frames, slack = max(1, math.ceil(seconds * sampling.fps - 1e-6)), 1  # the file's own times were not rounded
        timed = sampling.every is not None
        planned = num_intervals(frames, seconds, sampling) if timed else len(clip_starts(frames, sampling))
        expected = planned - int(looked.attributes.get("clips_left_out", 0))
    except (KeyError, TypeError, ValueError, OverflowError, P3DFeatError):  # already reported as damaged attributes
        return None
    if abs(looked.clips - expected) <= max(slack, timed):
        return None
    return f"has {counted(looked.clips, 'clip')}; by its {counted(frames, 'frame')} it should have {expected}"


def ids_of_no_videos(videos: Sequence[Video], workers: int | None) -> set[str]:
    """Ids of files that a run would try regardless of their extension, but that are not videos."""
    with Decoders(workers) as decoders:
        items = decoders.read(videos, InputSpec(resize=(1, 1)), Sampling(clips=1), only_plan=True)
        return {video.id for video, item in items if isinstance(item, NotAVideoError)}
