"""Labels of videos: from a file, from the folders of their ids, or from columns of the CSV that named them."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from p3dfeat.errors import UsageError
from p3dfeat.text.jsons import parse_json

FOLDERS: Final = "folders"
COLUMN: Final = "column:"
LABEL_NAMES: Final = ("label", "class", "category")  # of a column, in this order
GROUP_NAMES: Final = ("group", "recording", "scene", *LABEL_NAMES)
ID_NAMES: Final = ("id", "video", "name", "path", "file")
DELIMITERS: Final = ",;\t"
MOST_BYTES: Final = 512 << 20


class Labels:
    """The label of each video, or None. An empty label is none.

    A file's line names a video by its id, or by its id with an extension: ``archery/clip7.mp4`` for ``archery/clip7``.
    """

    def __init__(self, by_id: Mapping[str, str] | None = None, *, column: str | None = None):
        """by_id: None takes the folder of each id, or with ``column`` that column."""
        self._by_id, self._column = by_id, column
        self._by_stem = {os.path.splitext(id)[0]: id for id in by_id or ()}
        self._used: set[str] = set()

    @classmethod
    def of(cls, choice: str | Path, kind: Literal["labels", "groups"] = "labels") -> "Labels":
        """From "folders", "column:NAME", or the path of a CSV or JSON file. Raises UsageError.

        kind: what the option is called, and the columns of a CSV are.
        """
        text = str(choice)
        if text == FOLDERS:
            return cls()
        if text.startswith(COLUMN):
            return cls(column=text.removeprefix(COLUMN))
        return cls(read_labels(Path(choice), kind))

    @property
    def are_columns(self) -> bool:
        """Whether they come from columns of the CSV that named the videos."""
        return self._column is not None

    def label(self, id: str, columns: Mapping[str, str]) -> str | None:
        """The label of a video. columns: those of the CSV that named it."""
        if self._column is not None:
            return columns.get(self._column, "").strip() or None
        if self._by_id is None:
            return id.rpartition("/")[0] or None
        key = id if id in self._by_id else self._by_stem.get(id)
        if key is None:
            return None
        self._used.add(key)
        return self._by_id[key]

    def unused(self) -> list[str]:
        """Ids in the file of labels that no video has had so far."""
        return sorted(set(self._by_id or ()) - self._used)


def read_labels(path: Path, kind: Literal["labels", "groups"] = "labels") -> dict[str, str]:
    """{id: label} from a CSV or TSV with a header that names them, or without one in its first two columns; or JSON.

    JSON is {id: label}, or ActivityNet's form: {"database": {id: {"annotations": [{"label": ...}, ...]}}}.
    Raises UsageError if the file cannot be used, or names a video twice with different labels.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{kind} {path}: {error.strerror}; give a CSV or JSON file, folders, or column:NAME for a column of the "
            "CSV that named the videos"
        ) from None
    if len(content) > MOST_BYTES:
        raise UsageError(f"{kind} {path}: longer than {MOST_BYTES >> 20} MiB")
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    if text.lstrip()[:1] == "{":
        return _from_json(text, path, kind)
    return _different(_from_csv(text, path, kind), path, kind)


def _from_json(text: str, path: Path, kind: str) -> dict[str, str]:
    try:
        found = parse_json(text, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise UsageError(f"{kind} {path}: not JSON ({error})") from None
    entries = found.get("database", found) if isinstance(found, dict) else {}
    labels = {}
    for id, value in entries.items() if isinstance(entries, dict) else ():
        label = _first_annotation(value) if isinstance(value, dict) else value
        if isinstance(label, str | int) and not isinstance(label, bool) and str(label).strip():
            labels[str(id)] = str(label)
    if not labels:
        raise UsageError(f"{kind} {path}: no labels there; write {{id: label}}, or use ActivityNet's form")
    return labels


def _first_annotation(entry: Mapping[str, Any]) -> Any:
    annotations = entry.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else entry
    return first.get("label") if isinstance(first, dict) else None


def _from_csv(text: str, path: Path, kind: str) -> Iterable[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"{kind} {path}: empty")
    delimiter = max(DELIMITERS, key=lines[0].count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise UsageError(f"{kind} {path}: {error}") from None
    header = [name.strip().lower() for name in rows[0]]
    id_column = next((header.index(name) for name in ID_NAMES if name in header), None)
    names = GROUP_NAMES if kind == "groups" else LABEL_NAMES
    label_column = next((header.index(name) for name in names if name in header), None)
    if (id_column is None) != (label_column is None):
        raise UsageError(f"{kind} {path}: its first line must name both columns, id and {names[0]}, or none")
    first, id_column, label_column = (0, 0, 1) if id_column is None else (1, id_column, label_column)
    for number, row in enumerate(rows[first:], first + 1):
        if len(row) <= max(id_column, label_column or 0):
            raise UsageError(f"{kind} {path}, line {number}: has {len(row)} columns; write id and label")
        yield row[id_column].strip(), row[label_column or 0].strip()


def _different(pairs: Iterable[tuple[str, str]], path: Path, kind: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for id, label in pairs:
        if not label:
            continue
        if labels.setdefault(id, label) != label:
            raise UsageError(f"{kind} {path}: {id!r} has the labels {labels[id]!r} and {label!r}; a video has one")
    return labels
