"""The list of videos that could not be read, beside the feature file."""

import json
import os
from pathlib import Path
from typing import Self

from p3dfeat.errors import FeatureFileError
from p3dfeat.store.lock import writing


class Ledger:
    """``<output>.failed.jsonl``: a line for each video that could not be read, with the reason.

    Use in a with statement, whose end drops the lines of videos that were stored after all.
    """

    def __init__(self, output: str | Path):
        self.path = Path(f"{output}.failed.jsonl")
        self._earlier: dict[str, dict[str, str]] = {}  # of earlier runs, by id
        self._entries: list[dict[str, str]] = []  # of this run
        with writing(self.path):
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
        with writing(self.path), open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
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
        with writing(self.path):
            if not len(self):
                self.path.unlink(missing_ok=True)
                return
            fresh = self.path.with_name(self.path.name + ".writing")
            lines = map(_json_line, (*self._earlier.values(), *self._entries))
            fresh.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
            os.replace(fresh, self.path)


def _json_line(entry: dict[str, str]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
