"""Export features: from feature files, one video after another, to what other software reads."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.exports.beside import written_beside
from p3dfeat.exports.layouts import LAYOUTS, Layout, Request
from p3dfeat.exports.layouts.localization import C3D_WIDTH, ActionFormerHdf5, ActivityNetC3d
from p3dfeat.exports.layouts.others import question_numbers
from p3dfeat.exports.names import FileNames, Naming, check_keys
from p3dfeat.exports.record import Record, key_of
from p3dfeat.exports.single import SingleFile
from p3dfeat.exports.source import Rows, Source, is_finite
from p3dfeat.exports.timing import Timing
from p3dfeat.exports.transform import Pca, Transform
from p3dfeat.exports.writers import FolderWriter, Item, WriterThread, encoder, one_file
from p3dfeat.labels import Labels
from p3dfeat.options import ExportSettings, with_options
from p3dfeat.types import FloatArray


@dataclass(frozen=True)
class Exported:
    """Progress: another video is written, left out, or was there. total: number of videos."""

    done: int
    total: int


@dataclass(frozen=True)
class ExportSummary:
    """The result of an export.

    refused: (id, reason) of videos that the reader would take for something else. missing: ids of videos without
    features, in a file of labels, or among those that could not be read. renamed: names that cannot be file names.
    """

    layout: str
    output: str
    written: int
    skipped: int  # were there from an earlier run
    rows: int  # written in this run
    size_bytes: int  # of the arrays written in this run
    elapsed_seconds: float
    refused: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    without_label: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()  # files that hold the settings for the reader

    def as_json(self) -> dict[str, Any]:
        return {
            "event": "summary",
            **{name: getattr(self, name) for name in ("layout", "output", "written", "skipped", "rows", "size_bytes")},
            "refused": [{"id": id, "error": error} for id, error in self.refused],
            "missing": list(self.missing),
            "without_label": list(self.without_label),
            "renamed": dict(self.renamed),
            "beside": list(self.beside),
        }


IDENTITY: Final = ("fingerprint", "segment_start_seconds", "segment_end_seconds")


def run_export(files: str | Path | Sequence[str | Path], output: str | Path, settings: ExportSettings) -> ExportSummary:
    """Write features in the layout that other software reads. Run again, it does only what is missing.

    Args:
        files (str | Path | Sequence): Feature files, with the same settings.
        output (str | Path): Folder or file to create, depending on the layout.
        to (str): Layout: "opentad", "actionformer" (one HDF5 file if the name of ``output`` holds .hdf5),
            "activitynet-c3d", "bmn", "ms-tcn", "rtfm", "moment-detr", "hcrn", "npy", "npz", "pt", "flat-h5", "parquet",
            "jsonl", or "table".
        layer (str): A stored layer, or "pooled". With several crops per clip, their mean is exported, except to "rtfm".
        prefix (str | None): Text in front of each name, such as ``v_``. None: as the layout is used.
        flat_names (bool): Write a/b as a_b. Otherwise, ids with slashes become subfolders.
        pca (str | int | None): Number of principal components of these features to project rows on, or the pca.npz of
            another export.
        l2 (bool): Scale each row to length 1, after ``pca``.
        segments (int | None): With "rtfm", means over this number of equal parts of each video.
        labels (str | Path | None): A CSV or JSON file, "folders", or "column:NAME".
        on_event (Callable): Called with an Exported after each video.

    Returns:
        ExportSummary: Counts, and the videos that are not in the export, with the reasons.

    Raises:
        UsageError: The features do not suit the reader, or an option has an invalid value.
        FeatureFileError: A feature file is damaged.
        OutputError: The output cannot be written.

    Example:
        >>> p3dfeat.export("feats.h5", "opentad/", to="opentad", prefix="v_").written
    """
    names = [files] if isinstance(files, str | Path) else list(files)
    with Source(names, settings.layer) as source:
        run = _Run(source, Path(output), settings)
        return run.into_one_file() if run.layout.ONE_FILE else run.into_folder()


export = with_options(ExportSettings)(run_export)


def layout_class(name: str, output: Path) -> type[Layout]:
    """The layout of a name; ActionFormer takes one HDF5 file if the output is named like one."""
    return ActionFormerHdf5 if name == "actionformer" and ".hdf5" in output.name else LAYOUTS[name]


class _Run:
    """One export: the layout and everything that happens to a video on the way to it."""

    def __init__(self, source: Source, output: Path, settings: ExportSettings):
        self.source, self.output, self.settings = source, output, settings
        self.labels = None if settings.labels is None else Labels.of(settings.labels)
        kind = layout_class(settings.to, output)
        first = next(source.videos(), None)
        if first is None:
            raise UsageError(f"{source.files[0].path}: holds no videos")
        crops = len(source.crops)
        self._check_shape(kind, first, crops)
        self.pca = self._projection(kind, first.values.shape[-1])
        self.transform = Transform(kind.KEEPS_CROPS, self.pca, settings.l2)
        width = self.transform(first.values, crops=crops).shape[-1]
        prefix = kind.PREFIX if settings.prefix is None else settings.prefix
        self.naming = Naming(prefix, settings.flat_names)
        if settings.segments is not None and kind.NAME != "rtfm":
            raise UsageError(f"segments: only with --to rtfm, not {kind.NAME}")
        self.layout = kind(
            Request(Timing.of(source.settings), source.crops, str(output), prefix, settings.segments, width),
        )
        self._crops = crops
        self._refused: list[tuple[str, str]] = []
        self._unlabelled: list[str] = []
        self._written = self._skipped = self._rows = self._bytes = 0
        self._started = time.monotonic()

    def _check_shape(self, kind: type[Layout], first: Rows, crops: int) -> None:
        axes = first.values.ndim - (crops > 1 and first.values.ndim > 2)
        if axes > 2 and (not kind.ANY_SHAPE or self.settings.pca is not None or self.settings.l2):
            raise UsageError(
                f"layer {self.source.layer}: has time, height and width; extract it with --pool mean, or export it as "
                "npy, npz, pt or flat-h5 without --pca and --l2"
            )
        if self.source.layer == "pooled" and kind.NAME not in ("npy", "npz", "pt", "flat-h5", "parquet", "jsonl"):
            raise UsageError(f"pooled: has no clips, which {kind.READER} needs; leave --layer out")

    def _projection(self, kind: type[Layout], width: int) -> Pca | None:
        choice = self.settings.pca
        if choice is None and kind is ActivityNetC3d and width > C3D_WIDTH:
            choice = str(C3D_WIDTH)
        if choice is None:
            return None
        text = str(choice)
        return Pca.fitted(self.source, int(text)) if text.isdecimal() else Pca.loaded(Path(text))

    def described(self) -> dict[str, Any]:
        """The settings of the export, as its record keeps them."""
        stored = self.source.settings
        return {
            "layout": self.layout.NAME,
            "layer": self.source.layer,
            "prefix": self.naming.prefix,
            "flat_names": self.naming.flat,
            "pca": None if self.pca is None else key_of(self.pca.components.tobytes().hex()),
            "l2": self.settings.l2,
            "segments": self.settings.segments,
            "times": dict(self.layout.facts()),
            "features": {name: stored.get(name) for name in ("model", "weights_sha256", "sampling", "preprocessing")},
        }

    def into_folder(self) -> ExportSummary:
        suffix = self.layout.SUFFIX
        names = FileNames(self.source.ids(), self.naming, suffix, cut_at_dot=self.layout.CUTS_AT_DOT)
        with Record(self.output, self.described()) as record:

            def written(item: Item, path: PurePosixPath) -> None:
                record.add(_key(item.rows.id, item.rows.attributes), self._facts(item, str(path)))
                self._tell()

            def is_missing(id: str, attributes: Mapping[str, Any]) -> bool:
                if not record.has(_key(id, attributes), names.path(id)):
                    return True
                if self.labels is not None and not self.labels.are_columns:  # columns are not read again
                    self._label(id, {})
                return False

            with WriterThread(FolderWriter(record.folder, encoder(self.layout)), written) as writer:
                for rows in self.source.videos(is_missing, times=self.layout.NEEDS_TIMES):
                    if rows is None:
                        self._skipped += 1
                        self._tell()
                    elif (item := self._item(rows)) is not None:
                        writer.add(names.path(rows.id), item)
            beside = written_beside(self, record.write, record.facts)
            record.settle()
        return self._result(beside, names.changed)

    def into_one_file(self) -> ExportSummary:
        if self.output.name == "" or self.output.is_dir():
            raise UsageError(
                f"{self.output}: a folder; {self.layout.NAME} is one file, such as -o features{self.layout.SUFFIX}"
            )
        check_keys(self.source.ids(), self.naming)
        single = SingleFile(self.output, self.described())
        keys = key_of([_key(id, attributes) for id, attributes in self.source.identities(IDENTITY)])
        if single.is_current(keys):
            self._skipped = len(self.source)
            return self._result((), {})
        numbers = question_numbers(list(self.source.ids())) if self.layout.NAME == "hcrn" else None
        with ExitStack() as stack:
            facts = stack.enter_context(single.lines())
            with one_file(self.layout, self.output) as writer:
                for number, rows in enumerate(self._all()):
                    if (item := self._item(rows, number if numbers is None else numbers[rows.id])) is not None:
                        writer.write(item)
                        facts.add(self._facts(item, item.name))
                    self._tell()
            beside = written_beside(self, single.write, facts.all)
        single.settle(keys)
        return self._result(beside, {})

    def _all(self) -> Iterator[Rows]:
        for rows in self.source.videos(times=self.layout.NEEDS_TIMES):
            assert rows is not None
            yield rows

    def _item(self, rows: Rows, number: int = 0) -> Item | None:
        """A video ready to be written; None, and noted, if the reader would take it for something else."""
        label = self._label(rows.id, rows.columns)
        try:
            values = self._values(rows)
        except VideoError as error:
            self._refused.append((rows.id, str(error)))
            return None
        return Item(rows, values, self.naming.name(rows.id), label, number)

    def _label(self, id: str, columns: Mapping[str, str]) -> str | None:
        """The label of a video, "" if it has none; None if no labels are wanted."""
        if self.labels is None:
            return None
        label = self.labels.label(id, columns)
        if label is None:
            self._unlabelled.append(id)
        return label or ""

    def _values(self, rows: Rows) -> FloatArray:
        if not is_finite(rows.values):
            raise VideoError("holds numbers that are not finite")
        return self.layout.arranged(rows, self.transform(rows.values, crops=self._crops))

    def _facts(self, item: Item, name: str) -> dict[str, Any]:
        rows, about = item.rows, item.rows.attributes
        self._written += 1
        self._rows += len(rows)
        self._bytes += item.values.nbytes
        facts = {
            "number": item.number,
            "id": rows.id,
            "name": item.name,
            "file": name,
            "rows": len(rows),
            "fps": self.layout.timing.rate(rows),
            "duration_seconds": self.layout.timing.duration(rows),
            "num_frames": about.get("num_frames"),
        }
        return facts if item.label is None else {**facts, "label": item.label}

    def _tell(self) -> None:
        done = self._written + self._skipped + len(self._refused)
        self.settings.on_event(Exported(done, len(self.source)))

    def missing(self) -> list[str]:
        """Names of videos that a reader could look for in vain."""
        names = dict.fromkeys(id for id, _ in self.source.failed())
        names |= dict.fromkeys(id for id, _ in self._refused)
        if self.labels is not None:
            names |= dict.fromkeys(self.labels.unused())
        return list(names)

    def _result(self, beside: Sequence[str], renamed: Mapping[str, str]) -> ExportSummary:
        return ExportSummary(
            layout=self.layout.NAME,
            output=str(self.output),
            written=self._written,
            skipped=self._skipped,
            rows=self._rows,
            size_bytes=self._bytes,
            elapsed_seconds=time.monotonic() - self._started,
            refused=tuple(self._refused),
            missing=tuple(self.missing()),
            without_label=tuple(self._unlabelled),
            renamed=renamed,
            beside=tuple(beside),
        )


def _key(id: str, attributes: Mapping[str, Any]) -> int:
    return key_of(id, *(attributes.get(name) for name in IDENTITY))
