"""What stands beside exported features: settings for the reader, a table of the videos, and what is missing."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from p3dfeat.exports.layouts import Layout, Summary
from p3dfeat.exports.layouts.localization import ActionFormer, OpenTad
from p3dfeat.exports.layouts.others import Rtfm
from p3dfeat.exports.transform import Pca
from p3dfeat.labels import Labels
from p3dfeat.text.csvs import csv_line

Write = Callable[[str, Iterable[bytes]], None]
Facts = Callable[[], Iterator[dict[str, Any]]]

VIDEO_COLUMNS: Final = ("number", "id", "name", "file", "rows", "fps", "duration_seconds", "num_frames", "label")
NORMAL: Final = ("normal", "0", "negative")  # labels of videos without anomalies


class Export(Protocol):
    """What is exported."""

    @property
    def layout(self) -> Layout: ...
    @property
    def labels(self) -> Labels | None: ...
    @property
    def pca(self) -> Pca | None: ...
    def missing(self) -> list[str]:
        """Names of videos without features."""
        ...


def written_beside(export: Export, write: Write, facts: Facts) -> list[str]:
    """Write all files beside the features; return their names."""
    summary = Summary()
    for about in facts():
        summary.add(about["fps"])
    layout = export.layout
    files: dict[str, Iterable[bytes]] = {
        name: [text.encode("utf-8", "surrogateescape")] for name, text in layout.notes(summary).items()
    }
    files["videos.csv"] = _videos(_labelled(facts(), export.labels), with_labels=export.labels is not None)
    if isinstance(layout, OpenTad | ActionFormer):
        files["database.json"] = _database(facts())
    if isinstance(layout, Rtfm):
        files["files.list"] = _list(lambda: _labelled(facts(), export.labels))
    files["missing_files.txt"] = [(name + "\n").encode("utf-8", "surrogateescape") for name in export.missing()]
    if export.pca is not None:
        files["pca.npz"] = [export.pca.saved()]
    for name, content in files.items():
        write(name, content)
    return list(files)


def _labelled(facts: Iterator[dict[str, Any]], labels: Labels | None) -> Iterator[dict[str, Any]]:
    """The facts with the labels of now: those of an earlier run may have been others."""
    for about in facts:
        label = None if labels is None else labels.label(about["id"], {})
        yield about if label is None else {**about, "label": label}


def _videos(facts: Iterator[Mapping[str, Any]], *, with_labels: bool) -> Iterator[bytes]:
    columns = VIDEO_COLUMNS if with_labels else VIDEO_COLUMNS[:-1]
    yield (",".join(columns) + "\n").encode()
    for about in facts:
        yield (csv_line([about.get(column) for column in columns]) + "\n").encode()


def _database(facts: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """A frame for annotations, in the form of ActivityNet, with the facts that readers take from there."""
    yield b'{"version": "p3dfeat", "database": {'
    for number, about in enumerate(facts):
        entry = {
            "subset": "",
            "duration": about["duration_seconds"],
            "frame": about["num_frames"],
            "fps": about["fps"],
            "annotations": [],
        }
        yield f"{',' if number else ''}\n{json.dumps(about['id'])}: {json.dumps(entry)}".encode()
    yield b"\n}}\n"


def _list(facts: Callable[[], Iterator[Mapping[str, Any]]]) -> Iterator[bytes]:
    """The files, abnormal videos first; without labels, in the order of ids."""
    for normal in (False, True):
        for about in facts():
            if (str(about.get("label", "")).lower() in NORMAL) == normal:
                yield f"{about['file']}\n".encode("utf-8", "surrogateescape")
