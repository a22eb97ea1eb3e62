"""The names that readers look for: one for each video, and never one for two videos."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from p3dfeat.errors import UsageError
from p3dfeat.text.paths import paths_of


@dataclass(frozen=True)
class Naming:
    """How a video's id becomes its name in the export.

    prefix: before the last part of an id, as in ``v_`` + ActivityNet's ids. flat: slashes become underscores.
    """

    prefix: str = ""
    flat: bool = False

    def __post_init__(self) -> None:
        if "/" in self.prefix or "\0" in self.prefix or self.prefix.startswith("."):
            raise UsageError(f"prefix {self.prefix!r}: must be the beginning of a file name")

    def name(self, id: str) -> str:
        """The name of a video, with slashes unless ``flat``."""
        folder, slash, last = id.rpartition("/")
        return self.prefix + id.replace("/", "_") if self.flat else f"{folder}{slash}{self.prefix}{last}"


class FileNames:
    """Paths below the folder of an export. Raises UsageError if a reader could confuse two videos.

    cut_at_dot: the reader cuts names at their first dot.
    """

    def __init__(self, ids: Iterable[str], naming: Naming, suffix: str, *, cut_at_dot: bool = False):
        self._naming, self._suffix = naming, suffix
        names = list(_different(ids, naming))
        if cut_at_dot:
            _check_cut(names)
        # Only the paths that differ from their names are kept: most ids are valid file names.
        found = paths_of(names, suffix)
        self._changed = {name: path for name, path in found.items() if str(path) != name + suffix}

    def path(self, id: str) -> PurePosixPath:
        """The path of a video's file."""
        name = self._naming.name(id)
        return self._changed.get(name) or PurePosixPath(name + self._suffix)

    @property
    def changed(self) -> dict[str, str]:
        """Names that cannot be file names, and the paths that they have instead."""
        return {name: str(path) for name, path in self._changed.items()}


def check_keys(ids: Iterable[str], naming: Naming) -> None:
    """Raise UsageError if two videos would have one place in an HDF5 file, or one would be the folder of another."""
    names = set(_different(ids, naming))
    for name in names:
        folder = name
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in names:
                raise UsageError(f"{folder!r} and {name!r}: one would be the folder of the other; use --flat-names")


def _different(ids: Iterable[str], naming: Naming) -> Iterator[str]:
    seen: dict[str, str] | None = {} if naming.flat else None  # without it, different ids have different names
    for id in ids:
        name = naming.name(id)
        if seen is not None:
            if name in seen:
                raise UsageError(f"{seen[name]!r} and {id!r}: both would be named {name!r}; leave --flat-names out")
            seen[name] = id
        yield name


def _check_cut(names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        folder, slash, last = name.rpartition("/")
        short = folder + slash + last.partition(".")[0]
        if short in seen:
            raise UsageError(
                f"{seen[short]!r} and {name!r}: this reader cuts names at their first dot and would take one for the "
                "other; rename the videos and extract them anew, or name them in a CSV with a column id"
            )
        seen[short] = name
