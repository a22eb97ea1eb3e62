"""Writing an export: a folder with a file per video, or one file. What is there is complete."""

import csv
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, Protocol, Self

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.exports.layouts import Layout
from p3dfeat.exports.layouts.localization import ActivityNetC3d
from p3dfeat.exports.layouts.others import Hcrn, MomentDetr
from p3dfeat.exports.layouts.plain import JsonLines, Npz, Parquet, Table
from p3dfeat.exports.source import Rows
from p3dfeat.store import ArrayFile, new_array_file
from p3dfeat.system.disk import Folder, writing
from p3dfeat.text.paths import WRITING
from p3dfeat.types import FloatArray

ROWS_TOGETHER_BYTES: Final = 32 << 20  # of a table, in memory
WAITING_BYTES: Final = 16 << 20  # of videos that wait to be written, besides one


@dataclass(frozen=True)
class Item:
    """A video ready to be written. name: as its reader looks for it. label: None without labels."""

    rows: Rows
    values: FloatArray
    name: str
    label: str | None = None
    number: int = 0  # of the video in the export


class Writer(Protocol):
    """Takes the videos of an export, one after another."""

    def write(self, item: Item) -> None: ...


Encode = Callable[[BinaryIO, Item], None]


class FolderWriter:
    """One file per video. A file gets its name when it is complete."""

    def __init__(self, folder: Folder, encode: Encode):
        self._folder, self._encode = folder, encode
        self._here: tuple[tuple[str, ...], Folder] | None = None  # of the last video; the next is often in the same

    def write_to(self, path: PurePosixPath, item: Item) -> None:
        """Write the file of a video at a path below the folder. Raises OutputError."""
        *above, name = path.parts
        with (
            writing(self._folder.path / path),
            self._opened(tuple(above)).new_file(name) as fd,
            open(fd, "wb", buffering=0, closefd=False) as file,
        ):
            self._encode(file, item)

    def _opened(self, above: tuple[str, ...]) -> Folder:
        if self._here is None or self._here[0] != above:
            self.close()
            self._here = above, self._folder.below(*above)
        return self._here[1]

    def close(self) -> None:
        """Close the folder of the last video."""
        if self._here is not None:
            self._here[1].close()
            self._here = None


class WriterThread:
    """Writes videos in a thread, in order, while the next ones are read; use in a with statement.

    on_written: called in the caller's thread for each video whose file is complete. Memory: the values of a few videos.
    """

    def __init__(self, writer: FolderWriter, on_written: Callable[[Item, PurePosixPath], None]):
        self._writer, self._on_written = writer, on_written
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: deque[tuple[Future[None], Item, PurePosixPath]] = deque()

    def add(self, path: PurePosixPath, item: Item) -> None:
        """Begin to write a video. Raises OutputError for this or an earlier one."""
        self._waiting.append((self._thread.submit(self._writer.write_to, path, item), item, path))
        while self._waiting and (self._waiting[0][0].done() or self._bytes() > WAITING_BYTES):
            self._settle()

    def _bytes(self) -> int:
        return sum(item.values.nbytes for _, item, _ in self._waiting)

    def _settle(self) -> None:
        future, item, path = self._waiting.popleft()
        future.result()
        self._on_written(item, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all videos; after an error, those that are not begun are dropped."""
        self._thread.shutdown(cancel_futures=kind is not None)
        try:
            while self._waiting:
                if self._waiting[0][0].cancelled() or (kind is not None and self._waiting[0][0].exception()):
                    self._waiting.popleft()
                else:
                    self._settle()
        finally:
            self._writer.close()


def encoder(layout: Layout) -> Encode:
    """How a layout writes the file of one video."""
    suffix = layout.SUFFIX
    if suffix == ".npz":
        key = layout.KEY if isinstance(layout, Npz | MomentDetr) else "features"
        return lambda file, item: _write_npz(file, item, key, with_times=isinstance(layout, Npz))
    return {".npy": _write_npy, ".csv": _write_csv, ".pt": _write_pt}[suffix]


def _write_npy(file: BinaryIO, item: Item) -> None:
    values = np.ascontiguousarray(item.values)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(values))
    _write_all(file, head.getvalue())
    _write_all(file, values.reshape(-1).view(np.uint8).data)


def _write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _write_npz(file: BinaryIO, item: Item, key: str, *, with_times: bool) -> None:
    arrays: dict[str, Any] = {key: item.values}
    if with_times:
        arrays["seconds"] = item.rows.seconds
        if item.rows.first_frames is not None:
            arrays["first_frames"] = item.rows.first_frames
    np.savez(file, **arrays)


def _write_csv(file: BinaryIO, item: Item) -> None:
    text = io.StringIO()
    text.write(",".join(f"f{number}" for number in range(item.values.shape[1])) + "\n")
    csv.writer(text, lineterminator="\n").writerows(item.values.astype(str).tolist())
    _write_all(file, text.getvalue().encode())


def _write_pt(file: BinaryIO, item: Item) -> None:
    import torch

    torch.save(torch.from_numpy(np.ascontiguousarray(item.values)), file)


@contextmanager
def one_file(layout: Layout, path: Path) -> Iterator[Writer]:
    """A writer to one file, which appears when it is complete. Raises OutputError, UsageError for a missing extra."""
    if isinstance(layout, Parquet):
        with _parquet(path) as writer:
            yield writer
    elif isinstance(layout, JsonLines):
        with _new_file(path) as file:
            yield _Lines(file)
    elif isinstance(layout, Table):
        table = _Table()
        yield table
        with _new_file(path) as file:
            table.save(file)
    else:
        with new_array_file(path) as arrays:
            if isinstance(layout, Hcrn):
                yield _Hcrn(arrays)
            else:
                yield _Hdf5(arrays, f"/{layout.ARRAY}" if isinstance(layout, ActivityNetC3d) else "")


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    with (
        writing(path),
        Folder.opened(path.parent) as folder,
        folder.new_below(PurePosixPath(path.name)) as fd,
        os.fdopen(os.dup(fd), "wb") as file,
    ):
        yield file


class _Hdf5:
    def __init__(self, arrays: ArrayFile, below: str):
        self._arrays, self._below = arrays, below

    def write(self, item: Item) -> None:
        self._arrays.add(item.name + self._below, item.values)


class _Hcrn:
    def __init__(self, arrays: ArrayFile) -> None:
        self._arrays = arrays

    def write(self, item: Item) -> None:
        self._arrays.append(Hcrn.ARRAY, item.values)
        self._arrays.append("ids", np.array(item.number, np.int64))


class _Lines:
    def __init__(self, file: BinaryIO):
        self._file = file

    def write(self, item: Item) -> None:
        label = {} if item.label is None else {"label": item.label}
        for number, (vector, (start, end)) in enumerate(zip(item.values, item.rows.seconds.tolist(), strict=True)):
            about = {"id": item.rows.id, "clip": number, "start": start, "end": end, **label}
            numbers = ",".join(vector.astype(str).tolist())
            self._file.write(f'{json.dumps(about)[:-1]}, "vector": [{numbers}]}}\n'.encode())


class _Table:
    """The mean over clips of each video. The matrix is in memory: that is what its reader needs, too."""

    def __init__(self) -> None:
        self._rows: list[FloatArray] = []
        self._ids: list[str] = []
        self._labels: list[str] = []

    def write(self, item: Item) -> None:
        self._rows.append(item.values.mean(axis=0, dtype=np.float64).astype(np.float32))
        self._ids.append(item.rows.id)
        if item.label is not None:
            self._labels.append(item.label)

    def save(self, file: BinaryIO) -> None:
        labels: Mapping[str, Any] = {"y": np.array(self._labels)} if self._labels else {}
        np.savez(file, X=np.stack(self._rows) if self._rows else np.zeros((0, 0)), ids=np.array(self._ids), **labels)


class _Parquet:
    """Rows are written in groups: a group of one row per video would be slow to read."""

    def __init__(self, path: Path, arrow: Any, parquet: Any):
        self._path, self._arrow, self._parquet = path, arrow, parquet
        self._writer: Any = None
        self._items: list[Item] = []
        self._bytes = 0

    def write(self, item: Item) -> None:
        self._items.append(item)
        self._bytes += item.values.nbytes
        if self._bytes >= ROWS_TOGETHER_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._items:
            return
        arrow, items = self._arrow, self._items
        values = np.concatenate([item.values for item in items])
        seconds = np.concatenate([item.rows.seconds for item in items])
        counts = [len(item.values) for item in items]
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
        columns = {
            "id": arrow.array(np.repeat([item.rows.id for item in items], counts).tolist()),
            "clip": arrow.array(np.concatenate([np.arange(count, dtype=np.int32) for count in counts])),
            "start": arrow.array(seconds[:, 0]),
            "end": arrow.array(seconds[:, 1]),
        }
        if items[0].label is not None:
            columns["label"] = arrow.array(np.repeat([item.label or "" for item in items], counts).tolist())
        columns["vector"] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        table = arrow.table(columns)
        if self._writer is None:  # without a dictionary, which makes vectors larger
            self._writer = self._parquet.ParquetWriter(
                self._path, table.schema, use_dictionary=["id"], compression="zstd"
            )
        self._writer.write_table(table, row_group_size=len(values))
        self._items, self._bytes = [], 0

    def close(self) -> None:
        self.flush()
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _parquet(path: Path) -> Iterator[Writer]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("parquet: needs pyarrow; pip install 'p3dfeat[parquet]'") from None
    part = path.with_name(path.name + WRITING)
    with writing(path):
        try:
            table = _Parquet(part, pyarrow, pyarrow.parquet)
            yield table
            table.close()
            if part.exists():
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
