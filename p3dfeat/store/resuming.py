"""The results of earlier runs: videos in the output, and journals of an interrupted run."""

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from p3dfeat.errors import FeatureFileError, OutputError
from p3dfeat.store.commit.journal import JournalReader
from p3dfeat.store.layout import ORDER, VIDEO_MARK, Settings, differences, open_hdf5, read_attributes, reading
from p3dfeat.store.members import Look
from p3dfeat.store.reading.file import video_ids
from p3dfeat.store.side_files.parts import OVERWRITES, OVERWRITTEN, check_ours, journals, opened_parts
from p3dfeat.store.stored import PLACE_IN_OUTPUT, Places, Replaced, Stored
from p3dfeat.system.disk import Folder, ForeignError, writing
from p3dfeat.types import PART

REMEDY: Final = "move one of the two away, or finish the run that was interrupted"


@contextmanager
def stored_videos(output: str | Path, settings: Settings, *, overwrite: bool = False) -> Iterator[Stored]:
    """Videos that a run with these settings would not recompute: in a feature file, and in journals beside it.

    overwrite: the run replaces the content of the file. Raises FeatureFileError if the file is not a p3dfeat file or
    was created with other settings, OutputError if the folder of journals is not p3dfeat's.
    """
    output, attributes = Path(output), settings.as_attributes()
    with ExitStack() as stack:
        with writing(output):
            folder = opened_parts(output)
            if folder is not None:
                stack.enter_context(folder)
                with Folder.opened(folder.path.parent) as beside:
                    check_ours(folder, beside)
        stored = stack.enter_context(closing(Stored(output, folder)))
        overwrite = replaces(output, folder, attributes, overwrite=overwrite)
        ids = stored_ids(output, attributes, overwrite=overwrite)
        stored.where.update(dict.fromkeys(ids, PLACE_IN_OUTPUT))
        with writing(output):
            if folder is not None and (not overwrite or goes_on(folder, attributes)):
                take_up(folder, attributes, stored)
        yield stored


def _differences(output: Path, attributes: Mapping[str, Any]) -> list[str]:
    with open_hdf5(output) as file, reading(output):
        return differences(read_attributes(file, output), attributes)


def stored_ids(
    output: Path, attributes: Mapping[str, Any], *, overwrite: bool, look: Look = lambda item: None
) -> list[str]:
    """Ids of the videos in the output; look: as for ``own_groups``.

    Raises FeatureFileError if it was created with other settings.
    """
    if not output.exists():
        return []
    with open_hdf5(output) as file, reading(output):
        found = read_attributes(file, output)
        ids = [] if overwrite else list(video_ids(file, output, look))
        if not overwrite and not is_bare(file):
            refuse(differences(found, attributes), output)
    return ids


def is_bare(file: h5py.File) -> bool:
    """Whether a file holds only p3dfeat's settings: no videos, and nothing that a user has added."""
    return len(file) == 0 and set(file.attrs) <= set(ORDER) and file.userblock_size == 0


def refuse(unlike: list[str], path: Path) -> None:
    if unlike:
        raise FeatureFileError(
            f"{path}: made with other settings ({'; '.join(unlike)}); choose another output, or --overwrite it"
        )


def replaces(output: Path, folder: Folder | None, attributes: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether a run with overwrite must still replace the output: a killed run may have done so already."""
    if not overwrite or folder is None or not folder.holds(OVERWRITTEN):
        return overwrite
    return not output.exists() or bool(_differences(output, attributes))


def goes_on(folder: Folder, attributes: Mapping[str, Any]) -> bool:
    """Whether the journals are of a killed run with overwrite and with these settings."""
    return folder.holds(OVERWRITES) and not any(_unlike(folder, name, attributes) for name in journals(folder))


def _unlike(folder: Folder, name: str, attributes: Mapping[str, Any]) -> list[str]:
    """Differences of a journal's settings; none if the journal is truncated before them."""
    with JournalReader(folder, name) as journal:
        first = next(iter(journal), None)
    try:
        return [] if first is None else differences(first.header["settings"], attributes)
    except (AttributeError, KeyError, TypeError):
        raise ForeignError(folder.path / name, "a journal that p3dfeat did not write") from None


def take_up(folder: Folder, attributes: Mapping[str, Any], stored: Stored) -> None:
    """Add to ``stored`` the videos in the journals of an interrupted run, except those already in the output."""
    where = stored.where
    folders = folders_of(where)
    twice: dict[str, tuple[Mapping[str, Any], Path]] = {}  # last records of videos that the output holds too
    for name in journals(folder):
        refuse(_unlike(folder, name, attributes), folder.path)
        with JournalReader(folder, name) as journal:
            for record in journal:
                id, dropped = record.header.get("video"), record.header.get("dropped")
                if id is not None and _is_in_output(id, where):
                    if replaces_held(record.header, stored.about(id)):
                        where[id] = name, record.offset
                        stored.replaced[id] = record.header["replaces"]
                    else:
                        twice[id] = record.header["attributes"], folder.path / name
                elif id is not None:
                    _check_fits(id, where, folders, folder.path / name)
                    where[id] = name, record.offset
                elif dropped is not None and _is_in_output(dropped, where):
                    twice.pop(dropped, None)
                elif dropped is not None:
                    where.pop(dropped, None)
    for id, (waiting, journal_path) in twice.items():
        _check_same(id, waiting, stored.about(id), journal_path)


def identity_of(attributes: Mapping[str, Any]) -> Replaced:
    """The attributes that distinguish a stored video from another with the same id, as JSON values."""
    found = {name: attributes[name] for name in ("fingerprint", "size_bytes", *PART) if name in attributes}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}


def replaces_held(header: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Whether a journal's record must still replace the output's video; if not, it has done so, or is the same."""
    replaced = header.get("replaces")
    return replaced is not None and replaced == identity_of(held) and identity_of(header["attributes"]) != replaced


def _check_same(id: str, waiting: Mapping[str, Any], held: Mapping[str, Any], journal: Path) -> None:
    """Raise OutputError if a journal's video is not the output's video with the same id."""
    if any(waiting.get(name) != held.get(name) for name in ("fingerprint", "size_bytes", *PART)):
        raise OutputError(
            f"{journal}: holds video {id!r} of {waiting.get(VIDEO_MARK)}, the output holds one of "
            f"{held.get(VIDEO_MARK)}; {REMEDY}"
        )


def _check_fits(id: str, where: Places, folders: Set[str], journal: Path) -> None:
    """Raise OutputError if a journal's video conflicts with a video of the output, which may have been restored."""
    if id in folders:
        raise OutputError(f"{journal}: holds video {id!r}, which is a folder of videos in the output; {REMEDY}")
    for above in folders_of([id]):
        if _is_in_output(above, where):
            raise OutputError(f"{journal}: holds video {id!r}, but the output holds video {above!r}; {REMEDY}")


def _is_in_output(id: str, where: Places) -> bool:
    return id in where and where[id] == PLACE_IN_OUTPUT


def folders_of(ids: Iterable[str]) -> set[str]:
    """All folders in the ids: the parts before each slash."""
    return {"/".join(parts[:n]) for parts in (id.split("/") for id in ids) for n in range(1, len(parts))}
