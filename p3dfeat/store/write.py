"""Writing feature files so that the file under its name is at every moment absent or complete.

Each video is written to a part of its own in ``<output>.parts/`` and renamed when it is whole. At the end of a run,
however it ends, the parts are joined into a copy of the output that then takes its place. Parts that a killed run
left behind are taken up by the next one. So a kill loses at most the videos then in flight.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError, OutputError, VideoError
from p3dfeat.fingerprint import fingerprint
from p3dfeat.store.layout import VIDEO_MARK, Settings, differences, open_hdf5, read_attributes
from p3dfeat.store.read import video_ids
from p3dfeat.types import Features, Video, VideoInfo

BUFFERED_BYTES: Final = 4 << 20  # of one video's rows held in memory before they go to its part
POOLED: Final = "pool5"  # the layer whose mean over clips is a video's descriptor


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


class FeatureWriter:
    """Adds videos to a feature file; use in a with statement, whose end brings the file up to date.

    stored: ids already in the file, and of parts taken up, which need not be computed again.
    overwrite: what the file holds is replaced when the run ends, and not before.
    Raises FeatureFileError for an output that is not ours or was made with other settings, OutputError where it
    cannot be written or another run is writing it.
    """

    def __init__(self, output: str | Path, settings: Settings, *, overwrite: bool = False):
        self.output = Path(os.path.realpath(output)) if os.path.islink(output) else Path(output)
        self.parts = self.output.with_name(self.output.name + ".parts")
        self._joining = self.output.with_name(self.output.name + ".joining")
        self._attributes = settings.as_attributes()
        self._open: dict[str, _Part] = {}
        self._where: dict[str, Path] = {}
        self._reader: h5py.File | None = None
        self._overwrites = overwrite
        if not os.path.isdir(self.output.parent):
            raise OutputError(f"{self.output}: its folder {self.output.parent} does not exist")
        with _writing(self.output):
            self._lock = _Lock(self.parts)
            try:
                self._keeps = self._learn_stored()
                if overwrite:
                    self._begin_anew()
                self._take_up_parts()
            except BaseException:
                self._lock.release()
                raise
        self._folders = {"/".join(p[:n]) for p in (id.split("/") for id in self.stored) for n in range(1, len(p))}

    @property
    def stored(self) -> Set[str]:
        return self._where.keys()

    def _begin_anew(self) -> None:
        """Drop the parts of earlier runs, but for those of a killed run that was to overwrite with these settings."""
        mark = self.parts / "overwrite"
        if mark.exists() and not any(self._unlike(part) for part in self.parts.glob("*.h5")):
            return
        for part in self.parts.glob("*.h5"):
            part.unlink()
        mark.touch()

    def _learn_stored(self) -> bool:
        """Note what the file holds; whether any of it stays. One without videos may be replaced."""
        ids = _stored_ids(self.output, self._attributes, overwrite=self._overwrites)
        self._where.update(dict.fromkeys(ids, self.output))
        return bool(ids)

    def _take_up_parts(self) -> None:
        """Learn what an interrupted run left, and drop what it had not finished."""
        for unfinished in (*self.parts.glob("*.writing"), self._joining):
            unfinished.unlink(missing_ok=True)
        for part in self.parts.glob("*.h5"):
            _refuse(self._unlike(part), self.parts)
            with open_hdf5(part) as file:
                self._where.update(dict.fromkeys(video_ids(file), part))

    def _unlike(self, part: Path) -> list[str]:
        with open_hdf5(part) as file:
            return differences(read_attributes(file, part), self._attributes)

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
            same = fingerprint(video.path) == about["fingerprint"]
        except OSError as error:
            raise VideoError(f"not readable ({error.strerror})") from None
        if not same and self._overwrites:  # changed since a killed run stored it
            self._where.pop(video.id).unlink()
            return False
        if not same:
            raise VideoError(
                f"id {video.id!r} is stored for another file, {about[VIDEO_MARK]}, or it has changed; "
                "choose another output or name, or --overwrite"
            )
        return True

    def _about(self, id: str) -> dict[str, Any]:
        path = self._where[id]
        if path == self.output:
            self._reader = self._reader or open_hdf5(path)
            return dict(self._reader[id].attrs)
        with open_hdf5(path) as part:
            return dict(part[id].attrs)

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
        if video.id not in self._open:
            self._open[video.id] = _Part(self.parts, video.id, self._attributes)
        with _writing(self.output):
            self._open[video.id].add(features)

    def finish(self, video: Video, info: VideoInfo) -> None:
        """Every row of ``video`` is added: from now on a kill does not lose it. Raises OutputError."""
        with _writing(self.output):
            self._where[video.id] = self._open.pop(video.id).finish(video, info)

    def abandon(self, video: Video) -> None:
        """Throw away what was added of a video that failed."""
        part = self._open.pop(video.id, None)
        if part is not None:
            part.discard()

    def commit(self) -> None:
        """Join all finished parts into the output. Raises OutputError; the parts then stay where they are.

        A run that stored nothing leaves the output as it was.
        """
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        finished = sorted(self.parts.glob("*.h5"))
        if finished:
            with _writing(self.output):
                try:
                    self._join(finished)
                finally:
                    self._joining.unlink(missing_ok=True)
                for part in finished:
                    part.unlink()

    def _join(self, finished: list[Path]) -> None:
        if self._keeps:
            shutil.copyfile(self.output, self._joining)
        with h5py.File(self._joining, "a" if self._keeps else "w") as file:
            if not self._keeps:
                file.attrs.update(self._attributes)
            for path in finished:
                with h5py.File(path, "r") as part:
                    for id in video_ids(part):
                        if id in file:  # of a run killed between joining and removing its parts, or while overwriting
                            del file[id]
                        part.copy(part[id], file, name=id)
        with open(self._joining, "rb+") as raw:
            os.fsync(raw.fileno())
        os.replace(self._joining, self.output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for part in self._open.values():
            part.discard()
        self._open.clear()
        try:
            if kind is None or not self._overwrites:  # half a run replaces nothing; the same command goes on with it
                self.commit()
        finally:
            self._lock.release()


class _Lock:
    """A folder of parts that one run holds. The system gives it up when the process dies."""

    def __init__(self, folder: Path):
        self._folder = folder
        while not self._taken():
            continue  # the run that held it removed the folder as it ended

    def _taken(self) -> bool:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / "lock"
        try:
            self._file = open(path, "a")  # noqa: SIM115  # open for as long as the run
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OutputError(
                f"{self._folder}: held by another run; wait for its end or choose another output"
            ) from None
        except OSError:
            return True  # a file system without locks: as good as it gets
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go, and leave nothing behind that means nothing."""
        if not any(self._folder.glob("*.h5")):
            shutil.rmtree(self._folder, ignore_errors=True)
        self._file.close()


class _Part:
    """One video on its way to the file: rows in memory, beyond 4 MB in an HDF5 file of its own."""

    def __init__(self, folder: Path, id: str, attributes: dict[str, Any]):
        name = hashlib.sha256(id.encode()).hexdigest()[:24]
        self._id, self._attributes = id, attributes
        self._path, self._final = folder / f"{name}.writing", folder / f"{name}.h5"
        self._rows: list[Features] = []
        self._file: h5py.File | None = None
        self._sum: NDArray[np.float64] | None = None
        self._count = self._padded = 0

    def add(self, features: Features) -> None:
        self._rows.append(features)
        self._count += len(features)
        self._padded += features.padded_frames
        if POOLED in features.layers:
            total = features.layers[POOLED].sum(axis=0, dtype=np.float64)
            self._sum = total if self._sum is None else self._sum + total
        if sum(rows.nbytes for part in self._rows for rows in part.layers.values()) > BUFFERED_BYTES:
            self._flush(last=False)

    def _flush(self, *, last: bool) -> None:
        """Move the rows to the part; a video that never overflowed gets datasets of its exact size."""
        names = self._rows[0].layers if self._rows else ()
        arrays = {name: np.concatenate([part.layers[name] for part in self._rows]) for name in names}
        if self._rows:
            arrays["seconds"] = np.concatenate([part.seconds for part in self._rows])
        whole = last and self._file is None
        if self._file is None:
            self._file = h5py.File(self._path, "w")
            self._file.attrs.update(self._attributes)
        group = self._file.require_group(self._id)
        for name, rows in arrays.items():
            if whole:
                group.create_dataset(name, data=rows)
            elif name not in group:
                group.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
            else:
                dataset = group[name]
                dataset.resize(len(dataset) + len(rows), axis=0)
                dataset[-len(rows) :] = rows
        self._rows.clear()

    def finish(self, video: Video, info: VideoInfo) -> Path:
        self._flush(last=True)
        assert self._file is not None
        group = self._file[self._id]
        if self._sum is not None:
            group.create_dataset("pooled", data=(self._sum / self._count).astype(np.float32))
        group.attrs.update(asdict(info))
        group.attrs["padded_frames"] = self._padded
        if video.start_seconds is not None:
            group.attrs["segment_start_seconds"] = video.start_seconds
        if video.end_seconds is not None:
            group.attrs["segment_end_seconds"] = video.end_seconds
        group.attrs[VIDEO_MARK] = video.source
        self._file.close()
        os.replace(self._path, self._final)
        return self._final

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)


class Ledger:
    """``<output>.failed.jsonl``: a line for each video that could not be read, with the reason.

    Use in a with statement, whose end drops the lines of videos that were stored after all.
    """

    def __init__(self, output: str | Path):
        self.path = Path(f"{output}.failed.jsonl")
        self._earlier: dict[str, dict[str, str]] = {}  # of earlier runs, by id
        self._entries: list[dict[str, str]] = []  # of this run
        with _writing(self.path):
            if self.path.exists():
                for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
                    self._recall(line)

    def _recall(self, line: str) -> None:
        if not line:
            return
        try:
            entry = json.loads(line)
            self._earlier[entry["id"]] = entry
        except (ValueError, KeyError, TypeError):
            raise FeatureFileError(f"{self.path}: not a list of failures; move it out of the way") from None

    def __len__(self) -> int:
        return len(self._earlier) + len(self._entries)

    def clear(self) -> None:
        """Forget what earlier runs recorded."""
        self._earlier.clear()

    def record(self, id: str, source: str, error: str) -> None:
        """Add a failure, on disk at once. Raises OutputError."""
        self._earlier.pop(id, None)
        entry = {"id": id, "source": source, "error": error}
        self._entries.append(entry)
        with _writing(self.path), open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_json_line(entry))

    def forget(self, id: str) -> None:
        """A video that failed in an earlier run was stored after all."""
        self._earlier.pop(id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def save(self) -> None:
        """Write the list anew without what was mended, or remove it where nothing failed. Raises OutputError."""
        with _writing(self.path):
            if not len(self):
                self.path.unlink(missing_ok=True)
                return
            fresh = self.path.with_name(self.path.name + ".writing")
            lines = map(_json_line, (*self._earlier.values(), *self._entries))
            fresh.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
            os.replace(fresh, self.path)


def _json_line(entry: dict[str, str]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """One line for whatever the file system says."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).split("(")[0].strip()
        raise OutputError(f"{path}: cannot be written ({reason})") from None
