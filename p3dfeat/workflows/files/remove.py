"""Remove videos from a feature file: named videos, or those that are no longer among the inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p3dfeat.errors import UsageError
from p3dfeat.options import RemoveSettings, with_options
from p3dfeat.sources import Known, as_texts
from p3dfeat.store import open_features, remove_videos
from p3dfeat.store.identity import source_if_same
from p3dfeat.types import Video
from p3dfeat.workflows.job import found_by


@dataclass(frozen=True)
class Removed:
    """The videos that were or would be removed. size_bytes: of their arrays; the file shrinks when it is copied."""

    ids: tuple[str, ...]
    size_bytes: int
    output: str

    def as_json(self) -> dict[str, Any]:
        return {"event": "summary", "removed": list(self.ids), "size_bytes": self.size_bytes, "output": self.output}


def run_remove(file: str | Path, ids: Sequence[str], settings: RemoveSettings) -> Removed:
    """Remove videos from a feature file.

    Args:
        file (str | Path): Feature file.
        ids (Sequence[str]): Ids of videos to remove.
        not_in (str | Path | Sequence | None): Also remove videos that are not among these inputs, named as for
            ``extract``.
        dry_run (bool): Return the videos without removing them.
        with_added (bool): Also remove arrays and attributes that other software added to these videos.
        any_extension (bool), frames (float | None), segment_origin (str): As for ``extract``.

    Returns:
        Removed: The ids, and the number of bytes that are no longer used.

    Raises:
        FeatureFileError: The file is missing, damaged or not a p3dfeat file.
        UsageError: An id is not in the file, or the inputs cannot be used or hold no videos.
        OutputError: The file cannot be written.

    Example:
        >>> p3dfeat.remove("feats.h5", [], not_in="videos/", dry_run=True).ids
    """
    chosen = dict.fromkeys(ids)
    with open_features(file) as features:
        if settings.not_in is not None:
            chosen |= dict.fromkeys(_gone(features, file, settings))
        for id in chosen:
            if id not in features:
                raise UsageError(f"{file}: holds no video {id!r}; p3dfeat info {file} --all lists its videos")
        size = sum(array.nbytes for id in chosen for array in features[id].values()) if settings.dry_run else 0
    if chosen and not settings.dry_run:
        size = remove_videos(file, list(chosen), with_added=settings.with_added)
    return Removed(tuple(chosen), size, str(file))


remove = with_options(RemoveSettings)(run_remove)


def _gone(features: Any, file: str | Path, settings: RemoveSettings) -> list[str]:
    """Ids of stored videos that are not among the inputs. Raises UsageError if an input cannot be used."""
    inputs = as_texts(settings.not_in or ())
    found = found_by(settings, inputs, output=file, stdin=settings.stdin)

    def source_of(video: Video) -> str | None:
        return source_if_same(video, features[video.id].attributes) if video.id in features else None

    ids = set(features)
    videos, failures = found.named(Known(ids, source_of))
    if failures:
        raise UsageError(f"{failures[0].source}: {failures[0].error}; nothing was removed")
    if not videos:
        raise UsageError(f"{', '.join(inputs)}: no videos there; nothing was removed")
    return sorted(ids - {video.id for video in videos})
