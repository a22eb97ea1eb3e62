"""Videos at web addresses as files here, of which nothing is left afterwards."""

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

OPEN_FILES: Final = "/proc/self/fd"  # where a file without a name can still be opened
# Shorter waits than for weights: the others of a run do not wait for one video.
LIMITS: Final = Limits(silent_seconds=30, barren_attempts=3, longest_wait_seconds=30)


@contextmanager
def local_copy(video: Video, *, tick: Callable[[], None]) -> Iterator[Video]:
    """``video`` as a file: itself, or, of one at a web address, a copy that is gone afterwards. Raises VideoError.

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
    """A new file, and a path by which it can be opened; it never has a name where the system allows that."""
    make: Callable[..., Any] = tempfile.TemporaryFile if os.path.isdir(OPEN_FILES) else tempfile.NamedTemporaryFile
    try:
        file = make(prefix="p3dfeat-video-")
    except OSError as error:
        raise VideoError(f"not fetched: no temporary file can be made ({error.strerror}); set TMPDIR") from None
    with file:
        yield file, f"{OPEN_FILES}/{file.fileno()}" if isinstance(file.name, int) else file.name


def download(url: str, file: IO[bytes], *, tick: Callable[[], None], limits: Limits | None = None) -> None:
    """Fetch ``url``, which begins with http:// or https://, into an empty file, whole. Raises VideoError.

    tick: called for each block that comes, and before each further attempt; what it raises ends the fetching.
    The file's time of modification is then the one that the server tells, if it tells one.
    """
    try:
        changed = fetch(url, _Copy(file), limits=limits or LIMITS, on_bytes=lambda done, total: tick())
    except RefusedError as error:
        raise VideoError(f"not fetched: {error}") from None
    if changed is not None:
        with suppress(OverflowError, OSError):
            os.utime(file.fileno(), (changed, changed))


class _Copy:
    """A temporary file that a video is fetched into; see p3dfeat.http.fetch.Target."""

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
