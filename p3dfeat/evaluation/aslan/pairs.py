"""Lists of pairs: ASLAN's own .mat files, or plain text."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.learners import NEEDS_SKLEARN

VIEW2: Final = "action_splits_pairs"
COLUMNS: Final = 5  # id1, id2, same, action1, action2
HDF5: Final = b"\x89HDF"
MATLAB_73: Final = b"MATLAB 7.3"
MOST_BYTES: Final = 256 << 20
HEADER: Final = ("fold", "id1", "id2", "same")
YES: Final = {"1": True, "0": False, "same": True, "different": False, "true": True, "false": False}


@dataclass(frozen=True)
class Pair:
    """Two samples, by number or id, whether their action is the same, and the fold that tests this."""

    first: str
    second: str
    same: bool
    fold: int


def read_pairs(path: Path) -> list[Pair]:
    """Pairs from View2.mat (folds 1 to 10), from a file of View 1 (one fold), or from text.

    Text has the columns id1, id2, same (1 or 0), and in front of them fold, where there are several; a first line
    with these names is optional. Raises UsageError.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(128)
            content = start + file.read(MOST_BYTES)
    except OSError as error:
        raise UsageError(f"pairs {path}: {error.strerror}; give View2.mat, or a CSV of fold,id1,id2,same") from None
    if start.startswith((HDF5, MATLAB_73)):
        raise UsageError(
            f"pairs {path}: a .mat file of version 7.3; save it in MATLAB with save(..., '-v7'), or as CSV"
        )
    if start.startswith(b"MATLAB") or path.suffix.lower() == ".mat":
        pairs = list(_from_mat(path))
    else:
        pairs = list(_from_text(content.decode("utf-8-sig", "replace"), path))
    if not pairs:
        raise UsageError(f"pairs {path}: empty")
    return pairs


def _from_mat(path: Path) -> Iterator[Pair]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UsageError(f"pairs {path}: .mat {NEEDS_SKLEARN}") from None
    try:
        found: dict[str, Any] = loadmat(path)
    except Exception as error:  # of many kinds, for damaged files
        raise UsageError(f"pairs {path}: not a .mat file that can be read ({error})") from None
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray) and value.ndim in (2, 3)}
    name = VIEW2 if VIEW2 in arrays else next((n for n, value in arrays.items() if value.shape[1] == COLUMNS), None)
    if name is None:
        raise UsageError(
            f"pairs {path}: no array {VIEW2} (pairs, 5, folds), and none of 5 columns; found {list(arrays)}"
        )
    table = arrays[name]
    if table.shape[1] != COLUMNS or not np.issubdtype(table.dtype, np.number):
        raise UsageError(f"pairs {path}: {name} is {table.shape}; must be (pairs, 5) or (pairs, 5, folds)")
    table = table[:, :, None] if table.ndim == 2 else table
    for fold in range(table.shape[2]):
        for number, row in enumerate(table[:, :, fold], 1):
            if row[2] not in (0, 1) or not np.isfinite(row[:2]).all() or (row[:2] != np.round(row[:2])).any():
                raise UsageError(f"pairs {path}: fold {fold + 1}, pair {number}: must be two numbers and 0 or 1")
            yield Pair(str(int(row[0])), str(int(row[1])), bool(row[2]), fold + 1)


def _from_text(text: str, path: Path) -> Iterator[Pair]:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    if lines and delimiter not in lines[0]:
        delimiter = " "
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise UsageError(f"pairs {path}: {error}") from None
    for number, cells in enumerate(rows, 1):
        cells = [cell.strip() for cell in cells if cell.strip()]
        if number == 1 and tuple(cell.lower() for cell in cells) in (HEADER, HEADER[1:]):
            continue
        if len(cells) not in (3, 4) or cells[-1].lower() not in YES or (len(cells) == 4 and not cells[0].isdecimal()):
            raise UsageError(
                f"pairs {path}, line {number}: must be fold,id1,id2,same or id1,id2,same, with same 1 or 0"
            )
        fold = int(cells[0]) if len(cells) == 4 else 1
        yield Pair(cells[-3], cells[-2], YES[cells[-1].lower()], fold)


class Samples:
    """Places of samples among ids: by the whole id, by its last part, or by the number that this is."""

    def __init__(self, ids: list[str]):
        self._whole = {id: place for place, id in enumerate(ids)}
        self._by: dict[str, int | None] = {}
        for place, id in enumerate(ids):
            last = id.rpartition("/")[2]
            for name in dict.fromkeys((last, *([str(int(last))] if last.isdecimal() else []))):
                self._by[name] = None if name in self._by else place

    def place(self, name: str) -> int | None:
        """The place of a sample; None for an unknown one. Raises UsageError if several ids fit."""
        if name in self._whole:
            return self._whole[name]
        if name in self._by and self._by[name] is None:
            raise UsageError(f"pairs: {name} could be several videos; write their whole ids")
        return self._by.get(name)
