"""Add the videos of journals to the feature file, which is at every moment absent or complete and valid.

To a file of the format that this module writes, videos are added in place: new data are written behind its end, and
then 56 bytes of its superblock are changed in one write. Other files that h5py reads are replaced by a copy with the
videos. HDF5 itself only writes to memory; see memory_file.py.
"""

import fcntl
import io
import os
import shutil
import stat
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from p3dfeat.errors import OutputError
from p3dfeat.store.commit.hdf5_groups import FLIP_OFFSET, Lists, OtherShapeError, TakenError
from p3dfeat.store.commit.journal import SYNCED_BYTES
from p3dfeat.store.commit.memory_file import Image, undisturbed
from p3dfeat.store.commit.waiting import COPIED_BYTES, Journals, StoredVideo, Waiting
from p3dfeat.store.layout import DIMENSIONS, LIBVER, locked, reading
from p3dfeat.store.members import link_on_the_way
from p3dfeat.store.reading.file import is_own_video
from p3dfeat.store.side_files.parts import JOINING, passing_name
from p3dfeat.system.disk import Folder, bring_out_of_memory, bring_to_disk, write_at
from p3dfeat.text.counts import counted

GZIP_LEVEL: Final = 4

OnNew = Callable[[os.stat_result], None]


def is_added_to_in_place(path: Path) -> bool:
    """Whether a file has the format that needs no copy. Raises OSError."""
    with _opened(path) as fd:
        try:
            _check_only_name(fd)
            Lists(fd).check([])
        except OtherShapeError:
            return False
        return True


def _check_only_name(fd: int) -> None:
    """Raise OtherShapeError for a file with a second name: a backup, or an output that another run has locked."""
    if os.fstat(fd).st_nlink > 1:
        raise OtherShapeError("a file with a second name")


def settle(path: Path) -> None:
    """Return when the data written to a file would survive a power cut. Raises OSError."""
    with _opened(path) as fd:
        bring_to_disk(fd)


def make(
    output: Path,
    folder: Folder,
    attributes: Mapping[str, Any],
    waiting: Sequence[Waiting],
    ids: Set[str],
    *,
    replaces: bool,
    on_new: OnNew,
) -> None:
    """Create a new file that replaces the output. ids: of all videos that it must then hold.

    replaces: whether the output may exist. on_new: called with the new file before it replaces the output.
    Raises OSError or OutputError, and leaves the output as it was.
    """
    with _made_beside(output, folder, ids, replaces=replaces, on_new=on_new) as fd:
        with undisturbed(), io.BytesIO() as memory:
            with h5py.File(memory, "w", libver=LIBVER) as file:
                file.attrs.update(attributes)
            write_at(fd, memory.getvalue(), 0)
        _add_in_place(fd, folder, waiting)


def add(
    output: Path,
    folder: Folder,
    waiting: Sequence[Waiting],
    ids: Set[str],
    *,
    on_new: OnNew,
    removed: Set[str] = frozenset(),
    in_place: bool = True,
) -> None:
    """Add videos to an existing file. ids: of all videos that it must then hold.

    removed: videos that are removed from it; waiting videos with the same id replace them.
    in_place: if the file's format allows it; otherwise a copy replaces it. on_new: called with the copy before that.
    Raises OSError or OutputError, and leaves the output as it was.
    """
    try:
        if not in_place:
            raise OtherShapeError("to be copied")
        add_in_place(output, folder, waiting, removed)
    except OtherShapeError:
        with _opened(output) as old:
            _share(old, output)
            with _made_beside(output, folder, ids, replaces=True, on_new=on_new) as fd:
                with os.fdopen(os.dup(old), "rb") as source, os.fdopen(os.dup(fd), "wb") as copy:
                    shutil.copyfileobj(source, copy, COPIED_BYTES)
                _add_by_hdf5(fd, folder, waiting, removed)


@contextmanager
def _made_beside(output: Path, folder: Folder, ids: Set[str], *, replaces: bool, on_new: OnNew) -> Iterator[int]:
    """A new file, which replaces the output when it is complete and holds all videos."""
    before = _state(output)
    name = passing_name(JOINING)
    fd = folder.new(name)
    try:
        on_new(os.fstat(fd))
        yield fd
        with suppress(FileNotFoundError):
            os.fchmod(fd, stat.S_IMODE(os.stat(output).st_mode))
        os.stat(folder.path / name)  # if the folder is gone, the system's error is clearer than that of HDF5
        _check_holds(folder.path / name, output, ids)
        if replaces and _state(output) != before:
            raise OutputError(f"{output}: changed by another program while this run wrote its new copy; run it again")
        with Folder.opened(output.parent) as beside:
            if replaces:
                folder.replace(name, output.name, beside)
            else:
                folder.link_new(name, output.name, beside)
    except FileExistsError:
        raise OutputError(
            f"{output}: made by something else while this run computed; move it away, and run it again"
        ) from None
    finally:
        os.close(fd)
        folder.unlink(name)


def _state(path: Path) -> tuple[int, ...] | None:
    """A state that changes if a file is replaced or written to; None if there is no file."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_holds(joined: Path, output: Path, ids: Set[str]) -> None:
    """Raise OutputError or OSError for a copy that lacks videos or is damaged: it must not replace the output."""
    with locked(joined) as file, reading(joined):
        missing = sum(not is_own_video(file, id) for id in ids)
    if missing:
        lacks = f"its new copy lacks {missing} of {counted(len(ids), 'video')}"
        raise OutputError(f"{output}: {lacks}; the old file stays as it is")


def add_in_place(path: Path, folder: Folder, waiting: Sequence[Waiting], removed: Set[str] = frozenset()) -> None:
    """Add all videos or none. Raises OtherShapeError, OSError, OutputError; the file's content then stays the same."""
    with _opened(path) as fd:
        _share(fd, path)
        _check_only_name(fd)
        try:
            _add_in_place(fd, folder, waiting, removed)
        except TakenError as taken:
            remedy = "is it open in this process? close it, then run again"
            raise OutputError(f"{path}: {str(taken)!r} is in it already; {remedy}") from None
        if not os.path.samestat(os.fstat(fd), os.stat(path)):
            raise OutputError(f"{path}: replaced by another program while this run wrote to it; run it again")


def _add_in_place(fd: int, folder: Folder, waiting: Sequence[Waiting], removed: Set[str] = frozenset()) -> None:
    with Journals(folder, waiting) as journals:
        lists = Lists(fd, removed)
        lists.check([video.id for video in waiting])
        end = lists.superblock.end
        try:
            flip = _write_behind(fd, lists, journals)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(fd, end)
            raise
        write_at(fd, flip, FLIP_OFFSET)
        bring_to_disk(fd)


def _share(fd: int, path: Path) -> None:
    """Prevent HDF5 from opening the file for writing, and refuse if it has done so. Readers do no harm."""
    with suppress(OSError):  # a file system without locks
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{path}: open for writing in another program; close it there, then run again") from None


def _write_behind(fd: int, lists: Lists, journals: Journals) -> bytes:
    """Write videos and lists behind the end, to the disk; return the bytes that switch the file to its new state."""
    os.ftruncate(fd, lists.superblock.end)  # drop data that a killed run wrote behind it
    end = settled = _aligned(lists.superblock.end)
    headers: dict[str, int] = {}
    for batch in journals.batches():
        image = _scratch(end)
        with undisturbed(), h5py.File(image, "r+") as file:
            group = file.create_group("new")  # its own lists of names are never used
            made = [_Made.of(group, str(number), video) for number, video in enumerate(batch)]
        end = _write(fd, image, made, end)
        headers |= {item.video.id: item.header for item in made}
        if end - settled > SYNCED_BYTES:
            bring_out_of_memory(fd, settled, end)
            settled = end
    tail, flip = lists.added(headers, end)
    write_at(fd, tail, end)
    bring_to_disk(fd)
    return flip


def _add_by_hdf5(fd: int, folder: Folder, waiting: Sequence[Waiting], removed: Set[str]) -> None:
    """Add videos to a file that may be invalid in the meantime. Raises OSError, OutputError."""
    with Journals(folder, waiting) as journals:
        if removed:
            image = Image(os.fstat(fd).st_size, fd)
            with undisturbed(), h5py.File(image, "r+") as file:
                for id in removed:
                    _remove(file, id)
            image.put(fd, 0)
            os.ftruncate(fd, _aligned(image.size))
        for batch in journals.batches():
            image = Image(os.fstat(fd).st_size, fd)
            with undisturbed(), h5py.File(image, "r+") as file:
                for video in batch:
                    if link := link_on_the_way(file, video.id):  # HDF5 would write to the link's target file
                        raise OutputError(f"id {video.id!r}: {link!r} is a link to elsewhere in this file; rename one")
                    if video.id in file:
                        raise OutputError(f"id {video.id!r}: the file holds something else of this name; rename one")
                made = [_Made.of(file, video.id, video) for video in batch]
            os.ftruncate(fd, _write(fd, image, made, 0))


def _remove(file: h5py.File, id: str) -> None:
    """Remove a video, and its folders if they are then empty. Raises OutputError."""
    if link_on_the_way(file, id):
        raise OutputError(f"id {id!r}: there is a link to elsewhere in its path; remove the link first")
    del file[id]
    folder = id.rpartition("/")[0]
    while folder and not len(file[folder]) and not len(file[folder].attrs):
        del file[folder]
        folder = folder.rpartition("/")[0]


def _scratch(end: int) -> Image:
    """An empty file in memory with the stated end ``end``: HDF5 puts new objects behind it."""
    with io.BytesIO() as memory:
        h5py.File(memory, "w", libver=LIBVER).close()
        beginning = bytearray(memory.getvalue())
    struct.pack_into("<Q", beginning, FLIP_OFFSET, end)
    image = Image(end)
    image.write(beginning)
    return image


@dataclass(frozen=True)
class _Made:
    """A video that HDF5 has created without its data.

    header: address of its object header. places: addresses of the arrays' data.
    """

    video: StoredVideo
    header: int
    places: Mapping[str, int]

    @classmethod
    def of(cls, parent: h5py.Group, name: str, video: StoredVideo) -> "_Made":
        group, places = parent.create_group(name), {}
        for array, dtype, shape in video.arrays():
            kind, space = h5py.h5t.py_create(dtype), h5py.h5s.create_simple(shape)
            compressed = video.is_compressed(shape)
            made = h5py.h5d.create(group.id, array.encode(), kind, space, _laid_out(shape if compressed else None))
            for number, label in enumerate(DIMENSIONS.get(len(shape), ())):
                h5py.h5ds.set_label(made, number, label.encode())
            if compressed:
                values = np.frombuffer(b"".join(video.data(array)), dtype).reshape(shape)
                h5py.Dataset(made)[...] = values
            elif (place := made.get_offset()) is not None:  # an array without rows has no data
                places[array] = place
        group.attrs.update(video.attributes)
        return cls(video, h5py.h5o.get_info(group.id).addr, places)


def _laid_out(compressed: tuple[int, ...] | None) -> h5py.h5p.PropDCID:
    """How an array lies in the file. compressed: its shape, if it is compressed: one chunk per clip."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    if compressed is None:
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    else:
        properties.set_chunk((1, *compressed[1:]))
        properties.set_shuffle()
        properties.set_deflate(GZIP_LEVEL)
    return properties


def _write(fd: int, image: Image, made: Sequence[_Made], first: int) -> int:
    """Write HDF5's changes from ``first`` on, then the videos' data; return the end of the file."""
    image.put(fd, first)
    for item in made:
        for name, place in item.places.items():
            for data in item.video.data(name):
                write_at(fd, data, place)
                place += len(data)
    return _aligned(image.size)


def _aligned(end: int) -> int:
    return -(-end // 8) * 8


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)
