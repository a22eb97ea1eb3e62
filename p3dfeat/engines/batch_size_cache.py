"""Measured batch sizes in a small JSON file, so that later runs need not measure them again."""

import json
import os
import tempfile
from pathlib import Path
from typing import Final

from p3dfeat.text.jsons import read_object

FILE: Final = "batch-sizes.json"


class KeptSizes:
    """The best batch sizes of one model's weights, in a cache folder.

    A damaged file counts as missing and is written again. If the file cannot be written, nothing is kept.
    """

    def __init__(self, folder: Path, weights_sha256: str):
        self._path, self._weights_sha256 = folder / FILE, weights_sha256

    def get(self, *about: object) -> int | None:
        """The kept size for this device, input and way to compute, or None."""
        size = self._read().get(self._key(about))
        return size if isinstance(size, int) and not isinstance(size, bool) and size >= 1 else None

    def put(self, size: int, *about: object) -> None:
        kept = self._read() | {self._key(about): size}
        part = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, prefix=f"{FILE}.", delete=False) as file:
                part = Path(file.name)
                json.dump(kept, file, indent=1)
            os.replace(part, self._path)  # another run sees the old file or the new one
        except OSError:
            if part is not None:
                part.unlink(missing_ok=True)

    def _key(self, about: tuple[object, ...]) -> str:
        return json.dumps([self._weights_sha256, *about])

    def _read(self) -> dict[str, object]:
        try:
            return read_object(self._path)
        except (OSError, ValueError):
            return {}
