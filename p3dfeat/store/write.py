"""Writing feature files so that the file under its name is at every moment absent or complete.

Each video is appended to a journal in ``<output>.parts/`` when it is done. At the end of a run, however it ends, what
the journals hold is put into a copy of the output that then takes its place; only a run that was to overwrite and did
not come to its end leaves the output, and its journal, as they are. Journals that an earlier run left behind are taken
up by the next one. So a kill loses at most the videos then in flight.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Set
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError, OutputError, VideoError
from p3dfeat.fingerprint import fingerprint
from p3dfeat.store.journal import JournalReader, JournalWriter, Record, journals, next_journal
from p3dfeat.store.layout import VIDEO_MARK, Settings, differences, open_hdf5, read_attributes
from p3dfeat.store.lock import Lock, writing
from p3dfeat.store.read import video_ids
from p3dfeat.types import Features, Video, VideoInfo

BUFFERED_BYTES: Final = 4 << 20  # of one video's rows held in memory before they go to the journal
POOLED: Final = "pool5"  # the layer whose mean over clips is a video's descriptor
IDENTITY: Final = (VIDEO_MARK, "fingerprint", "segment_start_seconds", "segment_end_seconds")
IN_OUTPUT: Final = -1  # in place of a record's offset


def stored_ids(output: str | Path, settings: Settings, *, overwrite: bool = False) -> list[str]:
    """Ids in a feature file that a run with these settings would not compute again; none if it overwrites.

    Raises FeatureFileError for a file that is not ours or was made with other settings.
    """
    return _stored_ids(Path(output), settings.as_attributes(), overwrite=overwrite)


def _stored_ids(output: Path, attributes: Mapping[str, Any], *, overwrite: bool) -> list[str]:
    if not output.exists():
        return []
    with open_hdf5(output) as file:
        found = read_attributes(file, output)
        ids = [] if overwrite else list(video_ids(file))
    if ids:
        _refuse(differences(found, attributes), output)
    return ids


def _refuse(unlike: list[str], path: Path) -> None:
    if unlike:
        raise FeatureFileError(
            f"{path}: made with other settings ({'; '.join(unlike)}); choose another output, or --overwrite it"
        )


def _folders_of(ids: Iterable[str]) -> set[str]:
    """All that stands before a slash."""
    return {"/".join(parts[:n]) for parts in (id.split("/") for id in ids) for n in range(1, len(parts))}


class FeatureWriter:
    """Adds videos to a feature file; use in a with statement, whose end brings the file up to date.

    stored: ids already in the file, and in journals taken up, which need not be computed again.
    overwrite: what the file holds is replaced when the run ends, and not before.
    Raises FeatureFileError for an output that is not ours or was made with other settings, OutputError where it
    cannot be written or another run is writing it.
    """

    def __init__(self, output: str | Path, settings: Settings, *, overwrite: bool = False):
        self.output = Path(os.path.realpath(output)) if os.path.islink(output) else Path(output)
        self.parts = self.output.with_name(self.output.name + ".parts")
        self._joining = self.output.with_name(self.output.name + ".joining")
        self._attributes = settings.as_attributes()
        self._where: dict[str, tuple[Path, int]] = {}  # file, and offset of the record in a journal
        self._open: dict[str, _Rows] = {}
        self._journal: JournalWriter | None = None
        self._reader: h5py.File | None = None
        self._overwrites = overwrite
        if not os.path.isdir(self.output.parent):
            raise OutputError(f"{self.output}: its folder {self.output.parent} does not exist")
        with writing(self.output):
            self._lock = Lock(self.parts)
            try:
                self._keeps = self._learn_stored()
                if overwrite:
                    self._begin_anew()
                self._take_up_journals()
            except BaseException:
                self._lock.release()
                raise
        self._folders = _folders_of(self.stored)

    @property
    def stored(self) -> Set[str]:
        return self._where.keys()

    def _begin_anew(self) -> None:
        """Drop earlier runs' journals, but for those of a killed run that was to overwrite with these settings."""
        mark = self.parts / "overwrite"
        if mark.exists() and not any(self._unlike(path) for path in journals(self.parts)):
            return
        for path in journals(self.parts):
            path.unlink()
        mark.touch()

    def _learn_stored(self) -> bool:
        """Note what the file holds; whether any of it stays. One without videos may be replaced."""
        ids = _stored_ids(self.output, self._attributes, overwrite=self._overwrites)
        self._where.update((id, (self.output, IN_OUTPUT)) for id in ids)
        return bool(ids)

    def _take_up_journals(self) -> None:
        """Learn what an interrupted run left."""
        self._joining.unlink(missing_ok=True)
        folders = _folders_of(self._where)
        for path in journals(self.parts):
            _refuse(self._unlike(path), self.parts)
            with JournalReader(path) as journal:
                for record in journal:
                    if "video" in record.header and self._fits(record.header["video"], folders):
                        self._where[record.header["video"]] = path, record.offset
                    elif "dropped" in record.header:
                        self._where.pop(record.header["dropped"], None)

    def _unlike(self, path: Path) -> list[str]:
        """What a journal's settings differ in; nothing where it was cut off before them."""
        with JournalReader(path) as journal:
            first = next(iter(journal), None)
            return [] if first is None else differences(first.header["settings"], self._attributes)

    def _fits(self, id: str, folders: Set[str]) -> bool:
        """Whether a video of a journal can stand beside the output's: one of a run that overwrites need not."""
        above = _folders_of([id])
        return id not in folders and not any(self._where.get(folder, ("", 0))[1] == IN_OUTPUT for folder in above)

    def is_stored(self, video: Video) -> bool:
        """Whether the features of this very video are there. Raises VideoError where its id stands for another."""
        if video.id not in self._where:
            self._check_place(video.id)
            return False
        about = self._about(video.id)
        segment = about.get("segment_start_seconds"), about.get("segment_end_seconds")
        if segment != (video.start_seconds, video.end_seconds):
            raise VideoError(f"id {video.id!r} is stored for another segment of {about[VIDEO_MARK]}; choose another id")
        try:
            # An address stands for what it once gave: nothing is asked of its server, be there 100,000 of them.
            same = (
                video.source == about[VIDEO_MARK] if video.remote else fingerprint(video.path) == about["fingerprint"]
            )
        except OSError as error:
            raise VideoError(f"not readable ({error.strerror})") from None
        if not same and self._overwrites:  # changed since a killed run stored it
            self._drop(video.id)
            return False
        if not same:
            raise VideoError(
                f"id {video.id!r} is stored for another file, {about[VIDEO_MARK]}, or it has changed; "
                "choose another output or name, or --overwrite"
            )
        return True

    def _drop(self, id: str) -> None:
        """Forget a video of a journal, for good: a run after this one must not find it there either."""
        with writing(self.output):
            self._append({"dropped": id})
        del self._where[id]

    def _about(self, id: str) -> Mapping[str, Any]:
        """Of all that is said of a video, what tells which one it is; a run asks for every video that is stored."""
        path, offset = self._where[id]
        if offset == IN_OUTPUT:
            self._reader = self._reader or open_hdf5(path)
            attributes = self._reader[id].attrs
            return {name: attributes[name] for name in IDENTITY if name in attributes}
        with JournalReader(path) as journal:
            about: Mapping[str, Any] = journal.record(offset).header["attributes"]
            return about

    def _check_place(self, id: str) -> None:
        """A group that is a video holds no other videos, whichever run brought them."""
        parts = id.split("/")
        for n in range(1, len(parts)):
            if "/".join(parts[:n]) in self.stored:
                raise VideoError(f"id {id!r} lies inside video {'/'.join(parts[:n])!r} of {self.output}; rename one")
        if id in self._folders:
            raise VideoError(f"id {id!r} is a folder of videos in {self.output}; rename one")

    def add(self, video: Video, features: Features) -> None:
        """Append rows of a video that is being computed. Raises OutputError."""
        rows = self._open.setdefault(video.id, _Rows())
        rows.add(features)
        if rows.waiting_bytes > BUFFERED_BYTES:
            with writing(self.output):
                rows.written.append(self._append({"rows": video.id}, rows.take()))

    def finish(self, video: Video, info: VideoInfo) -> None:
        """Every row of ``video`` is added: from now on a kill does not lose it. Raises OutputError."""
        rows = self._open.pop(video.id)
        header = {"video": video.id, "attributes": _attributes_of(video, info, rows), "rows": rows.written}
        with writing(self.output):
            offset = self._append(header, rows.take() | rows.pooled())
            assert self._journal is not None
            self._where[video.id] = self._journal.path, offset

    def _append(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> int:
        if self._journal is None:
            journal = JournalWriter(next_journal(self.parts))
            try:
                journal.append({"settings": self._attributes})
            except BaseException:
                journal.close()
                journal.path.unlink()
                raise
            self._journal = journal
        return self._journal.append(header, arrays)

    def abandon(self, video: Video) -> None:
        """Throw away what was added of a video that failed."""
        self._open.pop(video.id, None)

    def commit(self) -> None:
        """Put what the journals hold into the output. Raises OutputError; the journals then stay where they are.

        A run that stored nothing leaves the output as it was.
        """
        for file in (self._reader, self._journal):
            if file is not None:
                file.close()
        self._reader = self._journal = None
        with writing(self.output):
            if any(offset != IN_OUTPUT for _, offset in self._where.values()):
                try:
                    self._join()
                finally:
                    self._joining.unlink(missing_ok=True)
            for path in journals(self.parts):
                path.unlink()

    def _join(self) -> None:
        if self._keeps:
            shutil.copyfile(self.output, self._joining)
        with h5py.File(self._joining, "a" if self._keeps else "w") as file, ExitStack() as stack:
            if not self._keeps:
                file.attrs.update(self._attributes)
            readers = {path: stack.enter_context(JournalReader(path)) for path in journals(self.parts)}
            waiting = [(*place, id) for id, place in self._where.items() if place[1] != IN_OUTPUT]
            for path, offset, id in sorted(waiting):  # as they lie on the disk
                if id in file:  # a run was killed between joining and removing its journal, or while overwriting
                    del file[id]
                _put(readers[path], readers[path].record(offset), file.create_group(id))
        with open(self._joining, "rb+") as raw:
            os.fsync(raw.fileno())
        os.replace(self._joining, self.output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._open.clear()
        try:
            # Half a run replaces nothing: its journal stays, and the same command goes on with it.
            if kind is None or not self._overwrites or not os.path.exists(self.output):
                self.commit()
        finally:
            if self._journal is not None:
                self._journal.close()
            self._lock.release()


class _Rows:
    """One video on its way to the journal: rows in memory, beyond 4 MB in records of their own.

    written: the offsets of these records.
    """

    def __init__(self) -> None:
        self.written: list[int] = []
        self.waiting_bytes = 0
        self.padded_frames = 0
        self._waiting: list[Features] = []
        self._sum: NDArray[np.float64] | None = None
        self._count = 0

    def add(self, features: Features) -> None:
        self._waiting.append(features)
        self.waiting_bytes += sum(rows.nbytes for rows in features.layers.values())
        self.padded_frames += features.padded_frames
        self._count += len(features)
        if POOLED in features.layers:
            total = features.layers[POOLED].sum(axis=0, dtype=np.float64)
            self._sum = total if self._sum is None else self._sum + total

    def take(self) -> dict[str, NDArray[Any]]:
        """The rows in memory, {layer: (N, ...)} and "seconds" (N, 2), which are then no longer there."""
        if not self._waiting:
            return {}
        arrays: dict[str, NDArray[Any]] = {
            name: np.concatenate([features.layers[name] for features in self._waiting])
            for name in self._waiting[0].layers
        }
        arrays["seconds"] = np.concatenate([features.seconds for features in self._waiting])
        self._waiting.clear()
        self.waiting_bytes = 0
        return arrays

    def pooled(self) -> dict[str, NDArray[np.float32]]:
        return {} if self._sum is None else {"pooled": (self._sum / self._count).astype(np.float32)}


def _attributes_of(video: Video, info: VideoInfo, rows: _Rows) -> dict[str, Any]:
    about = asdict(info) | {"padded_frames": rows.padded_frames, VIDEO_MARK: video.source}
    segment = {"segment_start_seconds": video.start_seconds, "segment_end_seconds": video.end_seconds}
    return about | {name: value for name, value in segment.items() if value is not None}


def _put(journal: JournalReader, last: Record, group: h5py.Group) -> None:
    """Make a video's group of its records, of which most have but one; no more than one is in memory at a time."""
    records = [*(journal.record(offset) for offset in last.header["rows"]), last]
    for name in dict.fromkeys(name for record in records for name in record.arrays):
        parts = [record for record in records if name in record.arrays]
        if len(parts) == 1:
            group.create_dataset(name, data=journal.array(parts[0], name))
            continue
        shapes = [record.arrays[name][2] for record in parts]
        dataset = group.create_dataset(
            name, (sum(shape[0] for shape in shapes), *shapes[0][1:]), parts[0].arrays[name][1]
        )
        first = 0
        for record, shape in zip(parts, shapes, strict=True):
            dataset[first : first + shape[0]] = journal.array(record, name)
            first += shape[0]
    group.attrs.update(last.header["attributes"])
