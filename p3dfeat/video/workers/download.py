"""Temporary local copies of videos at web addresses."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, Any, BinaryIO, Final, cast

from p3dfeat.errors import VideoError
from p3dfeat.http.client import RefusedError
from p3dfeat.http.fetch import SPACE_LEFT_BYTES, Limits, fetch
from p3dfeat.types import Video

OPEN_FILES: Final = "/proc/self/fd"  # here a file without a name can still be opened
# Shorter waits than for weights: the other videos of a run must not wait for one.
LIMITS: Final = Limits(silent_seconds=30, barren_attempts=3, longest_wait_seconds=30)


@contextmanager
def local_copy(video: Video, *, tick: Callable[[], None]) -> Iterator[Video]:
    """``video`` as a local file: itself, or a temporary copy if it is at a web address. Raises VideoError.

    tick: as for ``download``.
    """
    if not video.remote:
        yield video
        return
    with _passing_file() as (file, path):
        download(video.path, file, tick=tick)
        yield replace(video, path=path)


@contextmanager
def _passing_file() -> Iterator[tuple[IO[bytes], str]]:
    """A new temporary file, and a path for opening it. The file has no name if the system allows that."""
    make: Callable[..., Any] = tempfile.TemporaryFile if os.path.isdir(OPEN_FILES) else tempfile.NamedTemporaryFile
    try:
        file = make(prefix="p3dfeat-video-")
    except OSError as error:
        raise VideoError(f"not fetched: no temporary file can be made ({error.strerror}); set TMPDIR") from None
    with file:
        yield file, f"{OPEN_FILES}/{file.fileno()}" if isinstance(file.name, int) else file.name


def download(url: str, file: IO[bytes], *, tick: Callable[[], None], limits: Limits | None = None) -> None:
    """Download all of ``url``, which begins with http:// or https://, into an empty file. Raises VideoError.

    tick: called for each received block, and before each further attempt. An error that it raises ends the download.
    The file gets the modification time from the server, if the server gives one.
    """
    try:
        changed = fetch(url, _Copy(file), limits=limits or LIMITS, on_bytes=lambda done, total: tick())
    except RefusedError as error:
        raise VideoError(f"not fetched: {error}") from None
    if changed is not None:
        with suppress(OverflowError, OSError):
            os.utime(file.fileno(), (changed, changed))


class _Copy:
    """A temporary file for the download of a video; see p3dfeat.http.fetch.Target."""

    def __init__(self, file: IO[bytes]):
        self._file, self._version = file, ""

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def version(self) -> str:
        return self._version

    @contextmanager
    def opened(self, have: int, version: str) -> Iterator[BinaryIO]:
        self._version = version
        try:
            self._file.seek(have)
            self._file.truncate()
            yield cast(BinaryIO, self._file)
        except OSError as error:
            reason = f"no temporary file can be written ({error.strerror}); set TMPDIR"
            raise VideoError(f"not fetched: {reason}") from None
        finally:
            with suppress(OSError):
                self._file.flush()

    def drop(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def check_room(self, missing: int) -> None:
        folder = tempfile.gettempdir()
        if shutil.disk_usage(folder).free - missing < SPACE_LEFT_BYTES:
            raise VideoError(f"not fetched: no room for it in {folder}; set TMPDIR to a folder with more")

    def too_large(self, most_bytes: int) -> str:
        return f"larger than the {most_bytes / 1e9:.1f} GB that are fetched; download it and name the file"
