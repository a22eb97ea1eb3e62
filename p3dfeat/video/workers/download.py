"""Videos at addresses: temporary local copies, or the parts that are read of large ones."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, BinaryIO, Final, cast

from p3dfeat.errors import VideoError
from p3dfeat.http.client import RefusedError
from p3dfeat.http.fetch import CHANGED, SPACE_LEFT_BYTES, LargeFileError, Limits, fetch
from p3dfeat.http.parts import Parts
from p3dfeat.types import Video, is_in_store
from p3dfeat.video.ranged import RangedFile
from p3dfeat.video.workers.asking import Asking

OPEN_FILES: Final = "/proc/self/fd"  # here a file without a name can still be opened
# Shorter waits than for weights: the other videos of a run must not wait for one.
LARGE_BYTES: Final = 64 << 20  # from this size on, only the parts that are read are fetched
Fetch = Callable[[int, int], bytes]
LIMITS: Final = Limits(silent_seconds=30, barren_attempts=3, longest_wait_seconds=30)


class RemoteFiles:
    """The videos at addresses that a decoder reads. Parts of the last large one are kept, for its next segment."""

    def __init__(self, parent: Asking | None = None):
        self._parent = parent
        self._kept: tuple[str, RangedFile] | None = None  # its version
        self._open = ExitStack()

    @contextmanager
    def readable(self, video: Video, *, tick: Callable[[], None]) -> Iterator[str | RangedFile]:
        """Where a video can be read: its path, that of a temporary copy, or a file that fetches its parts.

        tick: as for ``download``. Raises VideoError.
        """
        if not video.remote:
            yield video.path
        elif is_in_store(video.path):
            if (parent := self._parent) is None:
                raise VideoError("not fetched: this process has no access to stores")
            size_bytes, version, changed = parent.find(video.path)
            yield self._ranged(video.path, size_bytes, version, changed, lambda: parent.read)
            if parent.find(video.path) != (size_bytes, version, changed):
                raise VideoError(f"not fetched: {CHANGED}")
        else:
            with _passing_file() as (file, path):
                try:
                    download(video.path, file, tick=tick, large_bytes=LARGE_BYTES)
                except LargeFileError as large:
                    where: str | RangedFile = self._in_parts(video.path, large, tick)
                else:
                    where = path
                yield where

    def close(self) -> None:
        """Drop the parts of the last file."""
        self._kept = None
        self._open.close()

    def _in_parts(self, url: str, large: LargeFileError, tick: Callable[[], None]) -> RangedFile:
        def fetcher() -> Fetch:
            parts = Parts(url, large.version, limits=LIMITS, on_bytes=lambda done, total: tick())
            return self._open.enter_context(parts).read

        return self._ranged(url, large.size_bytes, large.version, large.changed, fetcher)

    def _ranged(
        self, url: str, size_bytes: int, version: str, changed: float | None, fetcher: Callable[[], Fetch]
    ) -> RangedFile:
        """The kept file, if it is of this version, or else a new one."""
        if (
            self._kept is not None
            and version
            and self._kept[0] == version
            and self._kept[1].name == url
            and not self._kept[1].failed
        ):
            return self._kept[1]
        self.close()
        file, _ = self._open.enter_context(_passing_file())
        fetch = fetcher()

        def checked(begin: int, end: int) -> bytes:
            check_room(end - begin)
            try:
                return fetch(begin, end)
            except RefusedError as error:
                raise VideoError(f"not fetched: {error}") from None

        ranged = RangedFile(url, file, size_bytes, checked)
        _set_time(file, changed)
        self._kept = version, ranged
        return ranged


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


def download(
    url: str,
    file: IO[bytes],
    *,
    tick: Callable[[], None],
    limits: Limits | None = None,
    large_bytes: int | None = None,
) -> None:
    """Download all of ``url``, which begins with http:// or https://, into an empty file. Raises VideoError.

    tick: called for each received block, and before each further attempt. An error that it raises ends the download.
    large_bytes: as for ``fetch``. The file gets the modification time from the server, if the server gives one.
    """
    try:
        changed = fetch(
            url, _Copy(file), limits=limits or LIMITS, on_bytes=lambda done, total: tick(), large_bytes=large_bytes
        )
    except RefusedError as error:
        raise VideoError(f"not fetched: {error}") from None
    _set_time(file, changed)


def _set_time(file: IO[bytes], changed: float | None) -> None:
    if changed is not None:
        with suppress(OverflowError, OSError):
            os.utime(file.fileno(), (changed, changed))


def check_room(missing: int) -> None:
    """Raise VideoError if the disk has no room for ``missing`` more bytes of temporary files."""
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free - missing < SPACE_LEFT_BYTES:
        raise VideoError(f"not fetched: no room for it in {folder}; set TMPDIR to a folder with more")


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
        check_room(missing)

    def too_large(self, most_bytes: int) -> str:
        return f"larger than the {most_bytes / 1e9:.1f} GB that are fetched; download it and name the file"
