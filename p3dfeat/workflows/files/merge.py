"""Merge feature files, such as the shards of several machines, into one."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p3dfeat.errors import UsageError
from p3dfeat.events import Merged
from p3dfeat.options import MergeSettings, with_options
from p3dfeat.sources import Shard
from p3dfeat.store import (
    FeatureFile,
    FeatureWriter,
    Ledger,
    differences,
    is_compressed,
    open_features,
    stored_settings,
    stored_video,
)
from p3dfeat.text.counts import named

SAME: Final = ("fingerprint", "size_bytes", "segment_start_seconds", "segment_end_seconds")


@dataclass(frozen=True)
class MergeSummary:
    """The result of a merge. duplicates: ids that several files hold, stored once. failed: videos in lists of failures.

    missing: numbers of shards that are not among the files.
    """

    output: str
    files: int
    videos: int
    added: int
    duplicates: tuple[str, ...]
    failed: int
    missing: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {"event": "summary", **vars(self), "duplicates": list(self.duplicates), "missing": list(self.missing)}


def run_merge(files: Sequence[str | Path], output: str | Path, settings: MergeSettings) -> MergeSummary:
    """Merge feature files with the same settings into one, such as the shards of several machines.

    Run it again after an interruption, or with further files: it adds what is missing. Videos are copied one after
    another, so that memory does not grow. Lists of failures are merged too, without videos that another file holds.

    Args:
        files (Sequence[str | Path]): Feature files. A video that several hold must be the same file in all of them.
        output (str | Path): Feature file to create or to add to.
        partial (bool): Merge although shards are missing.
        on_event (Callable): Called with a Merged after each video.

    Returns:
        MergeSummary: Counts, duplicates, and missing shards.

    Raises:
        UsageError: Settings differ, shards are missing, or an id stands for different files.
        FeatureFileError: A file is missing or damaged.
        OutputError: The output cannot be written.

    Example:
        >>> p3dfeat.merge(["shard1.h5", "shard2.h5"], "all.h5").videos
    """
    if not files:
        raise UsageError("merge: no files given")
    with ExitStack() as stack:
        opened = [stack.enter_context(open_features(file)) for file in files]
        _check_settings(opened, Path(output))
        missing = _missing_shards(opened, partial=settings.partial)
        where, duplicates = _owners(opened)
        added = _copy(opened, output, where, settings)
        failed = _merge_failures(opened, output, where)
        return MergeSummary(str(output), len(opened), len(where), added, tuple(duplicates), failed, tuple(missing))


merge = with_options(MergeSettings)(run_merge)


def _check_settings(opened: Sequence[FeatureFile], output: Path) -> None:
    first = opened[0]
    seen: list[Path] = []
    for file in opened:
        if unlike := differences(first.settings, file.settings):
            raise UsageError(f"{file.path}: made with other settings than {first.path}: {'; '.join(unlike)}")
        if output.exists() and output.samefile(file.path):
            raise UsageError(f"{file.path}: is the output, too; choose another output")
        if any(file.path.samefile(other) for other in seen):
            raise UsageError(f"{file.path}: given twice")
        seen.append(file.path)


def _missing_shards(opened: Sequence[FeatureFile], *, partial: bool) -> list[int]:
    """Numbers of shards that are not there. Raises UsageError for shards that do not belong together."""
    named_by = {file.path: Shard.of(text) for file in opened if (text := str(file.settings.get("shard", "")))}
    counts = {shard.count for shard in named_by.values()}
    if not counts:
        return []
    if len(counts) > 1:
        raise UsageError(f"merge: shards of {' and of '.join(map(str, sorted(counts)))}; merge those of one division")
    there = {shard.number for shard in named_by.values()}
    missing = [number for number in range(1, max(counts) + 1) if number not in there]
    if missing and not partial:
        numbers = [str(number) for number in missing]
        raise UsageError(f"merge: {named(numbers, 'shard')} of {max(counts)} missing; add them, or give --partial")
    return missing


def _owners(opened: Sequence[FeatureFile]) -> tuple[dict[str, int], list[str]]:
    """{id: the file that it is taken from}, and the ids in several files. Raises UsageError for different videos."""
    where: dict[str, int] = {}
    duplicates: list[str] = []
    for number, file in enumerate(opened):
        for id in file:
            if id not in where:
                where[id] = number
                continue
            first = opened[where[id]]
            if not _same(first[id].attributes, file[id].attributes):
                raise UsageError(f"video {id!r}: {first.path} and {file.path} hold different files under this id")
            duplicates.append(id)
    return where, duplicates


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return all(a.get(name) == b.get(name) for name in SAME)


def _copy(opened: Sequence[FeatureFile], output: str | Path, where: Mapping[str, int], settings: MergeSettings) -> int:
    """Add all videos that the output does not hold; return their number."""
    about = {name: value for name, value in stored_settings(opened[0]).items() if name != "shard"}
    compressed = any(is_compressed(file) for file in opened)
    added = done = 0
    with FeatureWriter(output, about, compress=compressed) as writer:
        stored = frozenset(writer.stored)
        for number, file in enumerate(opened):
            for id in file:
                if where[id] != number:
                    continue
                done += 1
                if id not in stored:
                    writer.take(id, *stored_video(file, id))
                    added += 1
                settings.on_event(Merged(done, len(where)))
    return added


def _merge_failures(opened: Sequence[FeatureFile], output: str | Path, where: Mapping[str, int]) -> int:
    """Write one list of the videos that no file holds; return their number."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for file in opened:
        for entry in Ledger(file.path).entries():
            if entry["id"] not in where:
                found.setdefault((entry["id"], entry["source"]), entry)
    if found:
        with Ledger(output) as ledger:
            for entry in found.values():
                ledger.record(entry["id"], entry["source"], entry["error"], entry.get("path") or entry["source"])
    return len(found)
