"""Write feature files. At every moment, the output is absent or complete.

Each finished video is appended to a journal in ``<output>.parts/``. commit.py adds the videos of the journals to the
output: from time to time, and at the end of a run, even after an error. A run with overwrite does this only at its
regular end. If a run leaves journals behind, the next run resumes from them. So a kill loses at most the videos that
are in progress.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from numpy.typing import NDArray

from p3dfeat.errors import OutputError, VideoError
from p3dfeat.events import Touched
from p3dfeat.store.commit import commit
from p3dfeat.store.commit.journal import JournalWriter, next_journal
from p3dfeat.store.commit.waiting import Waiting
from p3dfeat.store.identity import Inode, difference, inode_of, other_part
from p3dfeat.store.layout import VIDEO_MARK, Settings, differences, foreign_names, open_hdf5, read_attributes, reading
from p3dfeat.store.members import Item, refers
from p3dfeat.store.pending_rows import Rows, attributes_of
from p3dfeat.store.placement import Placement
from p3dfeat.store.reading.file import is_own_video
from p3dfeat.store.resuming import goes_on, identity_of, is_bare, refuse, replaces, stored_ids, take_up
from p3dfeat.store.side_files.lock import Lock
from p3dfeat.store.side_files.parts import OVERWRITES, OVERWRITTEN, PASSING, journals
from p3dfeat.store.stored import PLACE_IN_OUTPUT, Stored
from p3dfeat.system.disk import writing
from p3dfeat.types import Features, Video, VideoInfo

BUFFERED_BYTES: Final = 4 << 20  # of one video's rows in memory before they are written to the journal
# Size of a journal before it is added to the output. Large enough: each time, lists of names are rewritten. Small
# enough: an interrupted run must end within seconds.
COMMITTED_BYTES: Final = 256 << 20
COMMITTED_VIDEOS: Final = 1000
COMMITTED_SHARE: Final = 0.01  # of the videos in the output, if that is more


class FeatureWriter:
    """Adds videos to a feature file. Use in a with statement: its end updates the file.

    settings: those of a run, or the root attributes of another feature file.
    stored: ids in the file, and in the journals that the run resumes from. They need not be recomputed.
    overwrite: the content of the file is replaced when the run ends, and not before.
    Raises FeatureFileError if the output is not a p3dfeat file or was created with other settings, OutputError if it
    cannot be written or another run is writing it.
    """

    def __init__(
        self,
        output: str | Path,
        settings: Settings | Mapping[str, Any],
        *,
        overwrite: bool = False,
        compress: bool = False,
        lock: Lock | None = None,
    ):
        self._attributes = settings.as_attributes() if isinstance(settings, Settings) else dict(settings)
        self._layers, self._compress = tuple(json.loads(str(self._attributes["layers"]))), compress
        self._open: dict[str, Rows] = {}
        self._journal: JournalWriter | None = None
        self._breaks_off = False
        self._is_settled = False
        self._refers = False  # whether the output holds references that a user added
        self.went_on = False  # whether this run resumes an interrupted run with overwrite
        self._lock = Lock(output).__enter__() if lock is None else lock
        self._releases = lock is None
        self.output = self._lock.target
        self.parts = self._lock.parts
        self._folder = self._lock.folder
        self._stored = Stored(self.output, self._folder)
        try:
            with writing(self.output):
                self._learn(overwrite)
        except BaseException:
            self._release()
            raise
        self._placement = Placement(self._stored, self.output, in_file=self._keeps)

    def _learn(self, asked_to_overwrite: bool) -> None:
        """Read the state of the output and of journals of earlier runs."""
        for name in self._folder.names():  # of a killed run; it may be a second name of the output
            if PASSING.fullmatch(name):
                self._folder.unlink(name)
        overwrite = replaces(self.output, self._folder, self._attributes, overwrite=asked_to_overwrite)
        self._overwrites = overwrite
        ids = stored_ids(self.output, self._attributes, overwrite=overwrite, look=self._look)
        self._stored.where.update(dict.fromkeys(ids, PLACE_IN_OUTPUT))
        self._identity = inode_of(self.output)
        self._new: Inode | None = None  # of this run's file that will replace the output
        if overwrite and self._is_there:
            os.close(os.open(self.output, os.O_RDWR))  # a file without write permission is not replaced either
        self._keeps = not overwrite and self._is_there and not self._is_bare()  # a bare output may be replaced
        self._in_place = not overwrite and (not self._keeps or self._may_add_in_place())
        self._num_committed = len(ids)
        self.went_on = overwrite and goes_on(self._folder, self._attributes) and bool(journals(self._folder))
        if overwrite and not self.went_on:
            self._begin_anew()
        take_up(self._folder, self._attributes, self._stored)
        self._journals = set(journals(self._folder))  # that this run resumes from or created
        if not asked_to_overwrite:  # this run takes over from a run with overwrite
            for mark in (OVERWRITES, OVERWRITTEN):
                self._folder.unlink(mark)

    def _look(self, item: Item) -> None:
        self._refers = self._refers or refers(item)

    def _may_add_in_place(self) -> bool:
        """Adding in place rewrites the lists of names; a user's reference to a folder would point to the old one."""
        return not self._refers and commit.is_added_to_in_place(self.output)

    def _is_bare(self) -> bool:
        with open_hdf5(self.output) as file, reading(self.output):
            return is_bare(file)

    @property
    def _is_there(self) -> bool:
        """Whether an output existed when this run began, or this run has written one."""
        return self._identity is not None

    @property
    def is_settled(self) -> bool:
        """Whether all results of this run are in the output, and with overwrite, the output is replaced."""
        return self._is_settled

    @property
    def stored(self) -> Set[str]:
        return self._stored.ids

    def source_of(self, video: Video) -> str | None:
        """The source stored under this video's id, if it is the same video; None if not."""
        return self._stored.source_of(video)

    def _begin_anew(self) -> None:
        """Drop earlier runs' journals, and mark the folder as that of a run with overwrite."""
        for name in journals(self._folder):
            self._folder.unlink(name)
        self._folder.unlink(OVERWRITTEN)
        with suppress(FileExistsError):
            os.close(self._folder.new(OVERWRITES))

    def is_stored(
        self, video: Video, *, on_touched: Callable[[Touched], None] = lambda event: None, replace: bool = False
    ) -> bool:
        """Whether the features of this video are stored. Raises VideoError if its id stands for another video.

        on_touched: called if a file has a new modification time but is the same.
        replace: a video whose file has changed counts as not stored; its old features stay until the new are stored.
        """
        if video.id not in self._stored.where:
            self._placement.check(video.id)
            return False
        about = self._stored.about(video.id)
        if (other := other_part(video, about)) is not None:
            raise VideoError(f"id {video.id!r} is stored for {other}; choose another id")
        unlike = difference(video, about, on_touched)
        if unlike is None:
            return True
        if self._overwrites:  # it changed after a killed run stored it
            self._drop(video.id)
            return False
        if replace and about.get(VIDEO_MARK) == video.source:
            self._replace(video.id)
            return False
        remedy = "" if about.get(VIDEO_MARK) != video.source else ", --on-changed replace"
        raise VideoError(f"{unlike}; choose another output or name{remedy}, or --overwrite")

    def _replace(self, id: str) -> None:
        """Mark a video to be recomputed. Raises VideoError if the user has added data to it."""
        if self._stored.where[id] != PLACE_IN_OUTPUT:  # it is in a journal, in which the last record counts
            return
        with reading(self.output):
            group = self._stored.opened()[id]
            if added := foreign_names(group, self._layers):
                raise VideoError(f"changed since it was stored, and you added {added[0]!r} to it; move that away first")
            self._stored.replaced[id] = identity_of(group.attrs)

    def has_columns(self, video: Video) -> bool:
        """Whether the stored video has the columns of the CSV that names it now."""
        return self._stored.has_columns(video.id, dict(video.columns))

    def _drop(self, id: str) -> None:
        """Drop a video of a journal permanently: a later run must not find it there either."""
        with writing(self.output):
            self._append({"dropped": id})
        del self._stored.where[id]

    def add(self, video: Video, features: Features) -> None:
        """Append rows of a video that is being computed. Raises OutputError."""
        rows = self._open.setdefault(video.id, Rows())
        rows.add(features)
        if rows.waiting_bytes > BUFFERED_BYTES:
            with writing(self.output):
                rows.written.append(self._append({"rows": video.id}, rows.take()))

    def finish(self, video: Video, info: VideoInfo) -> None:
        """All rows of ``video`` are added: from now on, a kill does not lose it. Raises OutputError."""
        rows = self._open.pop(video.id)
        header = {"video": video.id, "attributes": attributes_of(video, info, rows), "rows": rows.written}
        if video.id in self._stored.replaced:
            header["replaces"] = self._stored.replaced[video.id]
        self._finish(video.id, header, rows.take() | rows.pooled())

    def take(self, id: str, attributes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add a video as another feature file stores it. Raises OutputError, and VideoError if its name is taken."""
        self._placement.check(id)
        self._finish(id, {"video": id, "attributes": dict(attributes), "rows": []}, arrays)

    def _finish(self, id: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        with writing(self.output):
            offset = self._append(header, arrays)
        assert self._journal is not None
        if not self._journal.is_there():
            raise OutputError(f"{self.parts}: vanished while it was written to; is its disk still there?")
        self._stored.where[id] = self._journal.name, offset
        self._is_settled = False
        if self._is_due():
            self.commit()

    def _is_due(self) -> bool:
        """Whether the journal is to be added to the output before the run ends."""
        assert self._journal is not None
        if not self._in_place or any(rows.written for rows in self._open.values()):
            return False
        enough = max(COMMITTED_VIDEOS, COMMITTED_SHARE * self._num_committed)
        return self._journal.size >= COMMITTED_BYTES or len(self._stored.where) - self._num_committed >= enough

    def _append(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> int:
        if self._journal is None:
            journal = JournalWriter(self._folder, next_journal(self._folder))
            try:
                journal.append({"settings": self._attributes})
            except BaseException:
                journal.close()
                self._folder.unlink(journal.name)
                raise
            self._journal = journal
            self._journals.add(journal.name)
        return self._journal.append(header, arrays)

    def abandon(self, video: Video) -> None:
        """Drop the rows of a video that failed."""
        self._open.pop(video.id, None)

    def break_off(self) -> None:
        """The run ends early: with overwrite, it does not replace the output yet."""
        self._breaks_off = self._overwrites

    def commit(self) -> None:
        """Add the videos of the journals to the output. Raises OutputError; the journals then stay.

        If there are none, the output stays as it was.
        """
        self._close()
        with writing(self.output):
            where = self._stored.where
            waiting = [Waiting(id, *place, self._compress) for id, place in where.items() if place != PLACE_IN_OUTPUT]
            if waiting or journals(self._folder):
                self._commit(waiting, where.keys())
            self._stored.where = dict.fromkeys(where, PLACE_IN_OUTPUT)
            for video in waiting:
                self._stored.replaced.pop(video.id, None)
            self._keeps, self._num_committed = self._keeps or bool(where), len(where)
            self._is_settled = not self._overwrites or bool(waiting)
            self._tidy(replaced=bool(waiting))

    def _commit(self, waiting: Sequence[Waiting], ids: Set[str]) -> None:
        self._lock.check_folder()
        found = inode_of(self.output)
        if found is not None and found == self._new:  # an interrupt came just after it replaced the output
            self._identity = found
        if found != self._identity:
            what = "gone" if self._is_there and not self.output.exists() else "another file by now"
            raise OutputError(f"{self.output}: {what}; the features of this run wait in {self.parts}; run it again")
        if self._is_there and not self._overwrites and not self._keeps:  # it was bare when the run began
            self._keeps = not self._is_bare()
        if self._keeps:
            waiting = self._not_held(waiting)
        if waiting and self._keeps:
            removed = self._stored.replaced.keys() & {video.id for video in waiting}
            in_place, on_new = not self._refers, self._note_new
            commit.add(self.output, self._folder, waiting, ids, removed=removed, in_place=in_place, on_new=on_new)
        elif waiting:
            attributes, replaces = self._attributes, self._is_there
            commit.make(self.output, self._folder, attributes, waiting, ids, replaces=replaces, on_new=self._note_new)
        elif self._is_there:
            commit.settle(self.output)
        self._identity = inode_of(self.output)

    def _note_new(self, status: os.stat_result) -> None:
        """Remember the new file of this run, which is about to replace the output."""
        self._new = status.st_dev, status.st_ino

    def _not_held(self, waiting: Sequence[Waiting]) -> list[Waiting]:
        """Videos that the output does not hold yet: a commit may have been killed after its last write.

        Raises OutputError if a user has used a video's name for something else in the meantime.
        """
        os.stat(self.output)  # if the folder is gone, the system's error is clearer than that of HDF5
        try:
            with reading(self.output):
                file = self._stored.opened()
                refuse(differences(read_attributes(file, self.output), self._attributes), self.output)
                missing = [video for video in waiting if not is_own_video(file, video.id)]
                for video in missing:
                    self._placement.check_not_taken(file, video.id)
                return [*missing, *(video for video in waiting if video.id in self._stored.replaced)]
        except VideoError as error:
            raise OutputError(f"{error}; its features wait in {self.parts}") from None
        finally:
            self._stored.close()  # otherwise HDF5 would show the present state to whoever opens it again

    def _tidy(self, *, replaced: bool) -> None:
        """Remove the journals; from the first step on, a run with overwrite resumes from the output."""
        if self._overwrites and replaced:
            self._folder.rename(OVERWRITES, OVERWRITTEN)
        for name in self._journals:
            self._folder.unlink(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Commit. An incomplete run that overwrites or copies keeps its journal; the same command resumes from it."""
        self._open.clear()
        try:
            if self._in_place or (kind is None and not self._breaks_off):
                self.commit()
        finally:
            self._close()
            self._release()

    def _close(self) -> None:
        self._stored.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _release(self) -> None:
        if self._releases:
            self._lock.__exit__()
