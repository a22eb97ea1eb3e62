"""Writing feature files so that the file under its name is at every moment absent or complete.

Each video is written to a part of its own in ``<output>.parts/`` and renamed when it is whole. Parts are bundled while
the system still has them in memory, since many small files are slow to read back and to remove. At the end of a run,
however it ends, the parts are joined into a copy of the output that then takes its place; only a run that was to
overwrite and did not come to its end leaves the output, and its parts, as they are. Parts that an earlier run left
behind are taken up by the next one. So a kill loses at most the videos then in flight.
"""

import os
import shutil
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final, Self

import h5py

from p3dfeat.errors import FeatureFileError, OutputError, VideoError
from p3dfeat.fingerprint import fingerprint
from p3dfeat.store.layout import VIDEO_MARK, Settings, differences, open_hdf5, read_attributes
from p3dfeat.store.parts import BUFFERED_BYTES, Lock, Part, read_ahead, writing
from p3dfeat.store.read import video_ids
from p3dfeat.types import Features, Video, VideoInfo

BUNDLED: Final = 200  # parts a bundle; larger ones than what a part buffers stay as they are
BUNDLE: Final = "bundle-"
IDENTITY: Final = (VIDEO_MARK, "fingerprint", "segment_start_seconds", "segment_end_seconds")


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


def _identity(group: h5py.Group) -> dict[str, Any]:
    """Of all that is said of a video, what tells which one it is; a run asks for every video that is stored."""
    return {name: group.attrs[name] for name in IDENTITY if name in group.attrs}


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
        self._open: dict[str, Part] = {}
        self._where: dict[str, Path] = {}
        self._loose: dict[Path, str] = {}  # small parts of this run that are not bundled yet, and their ids
        self._outdated: set[tuple[Path, str]] = set()  # videos in bundles that are not to reach the output
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
        if mark.exists() and self._all_alike():
            return
        for part in self.parts.glob("*.h5"):
            part.unlink()
        mark.touch()

    def _all_alike(self) -> bool:
        for part in self.parts.glob("*.h5"):
            with open_hdf5(part) as file:
                if self._unlike(file, part):
                    return False
        return True

    def _learn_stored(self) -> bool:
        """Note what the file holds; whether any of it stays. One without videos may be replaced."""
        ids = _stored_ids(self.output, self._attributes, overwrite=self._overwrites)
        self._where.update(dict.fromkeys(ids, self.output))
        return bool(ids)

    def _take_up_parts(self) -> None:
        """Learn what an interrupted run left, and drop what it had not finished."""
        for unfinished in (*self.parts.glob("*.writing"), self._joining):
            unfinished.unlink(missing_ok=True)
        for part in read_ahead(self._finished()):
            with open_hdf5(part) as file:
                _refuse(self._unlike(file, part), self.parts)
                self._where.update(dict.fromkeys(video_ids(file), part))

    def _unlike(self, file: h5py.File, part: Path) -> list[str]:
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
            self._drop(video.id)
            return False
        if not same:
            raise VideoError(
                f"id {video.id!r} is stored for another file, {about[VIDEO_MARK]}, or it has changed; "
                "choose another output or name, or --overwrite"
            )
        return True

    def _drop(self, id: str) -> None:
        """Forget a stored video. It stays in its bundle, and in one that a kill kept from replacing its part."""
        path = self._where.pop(id)
        self._outdated.update((bundle, id) for bundle in self.parts.glob(f"{BUNDLE}*.h5"))
        if not path.name.startswith(BUNDLE):
            path.unlink()
            self._loose.pop(path, None)

    def _about(self, id: str) -> dict[str, Any]:
        path = self._where[id]
        if path == self.output:
            self._reader = self._reader or open_hdf5(path)
            return _identity(self._reader[id])
        with open_hdf5(path) as part:
            return _identity(part[id])

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
            self._open[video.id] = Part(self.parts, video.id, self._attributes)
        with writing(self.output):
            self._open[video.id].add(features)

    def finish(self, video: Video, info: VideoInfo) -> None:
        """Every row of ``video`` is added: from now on a kill does not lose it. Raises OutputError."""
        with writing(self.output):
            path = self._where[video.id] = self._open.pop(video.id).finish(video, info)
            if os.path.getsize(path) <= BUFFERED_BYTES:
                self._loose[path] = video.id
            if len(self._loose) >= BUNDLED:
                self._bundle()

    def _finished(self) -> list[Path]:
        """Bundles, the oldest first, then parts, which are newer than any bundle that holds the same video."""
        return sorted(self.parts.glob("*.h5"), key=lambda path: (not path.name.startswith(BUNDLE), path.name))

    def _bundle(self) -> None:
        """Make one file of the loose parts. A kill leaves them, or the bundle, or both with the same content."""
        bundles = sorted(self.parts.glob(f"{BUNDLE}*.h5"))
        number = int(bundles[-1].stem.removeprefix(BUNDLE)) + 1 if bundles else 0
        bundle = self.parts / f"{BUNDLE}{number:08d}.h5"
        fresh = bundle.with_suffix(".writing")
        try:
            with h5py.File(fresh, "w") as file:
                file.attrs.update(self._attributes)
                self._copy(list(self._loose), file)
            os.replace(fresh, bundle)
        finally:
            fresh.unlink(missing_ok=True)
        self._where.update(dict.fromkeys(self._loose.values(), bundle))
        for part in self._loose:
            part.unlink()
        self._loose.clear()

    def _copy(self, parts: Sequence[Path], file: h5py.File) -> None:
        for path in read_ahead(parts):
            with h5py.File(path, "r") as part:
                for id in video_ids(part):
                    if (path, id) in self._outdated:
                        continue
                    if id in file:  # of a run killed between joining and removing its parts, or while overwriting
                        del file[id]
                    part.copy(part[id], file, name=id)

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
        finished = self._finished()
        if finished:
            with writing(self.output):
                try:
                    self._join(finished)
                finally:
                    self._joining.unlink(missing_ok=True)
                for part in finished:
                    part.unlink()
                self._loose.clear()

    def _join(self, finished: list[Path]) -> None:
        if self._keeps:
            shutil.copyfile(self.output, self._joining)
        with h5py.File(self._joining, "a" if self._keeps else "w") as file:
            if not self._keeps:
                file.attrs.update(self._attributes)
            self._copy(finished, file)
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
            # Half a run replaces nothing: its parts stay, and the same command goes on with them.
            if kind is None or not self._overwrites or not os.path.exists(self.output):
                self.commit()
        finally:
            self._lock.release()
