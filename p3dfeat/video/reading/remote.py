"""Videos at web addresses: fetched by whoever decodes them, to a file that leaves nothing behind however it ends."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, Final

from p3dfeat.errors import VideoError
from p3dfeat.http import download
from p3dfeat.types import Video
from p3dfeat.video.heartbeat import tick

OPEN_FILES: Final = "/proc/self/fd"  # where a file without a name can still be opened


@contextmanager
def at_hand(video: Video) -> Iterator[Video]:
    """``video`` as a file: itself, or, of one at a web address, a copy that is gone afterwards. Raises VideoError."""
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
