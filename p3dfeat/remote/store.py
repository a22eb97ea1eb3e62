"""Files of an object store (s3://, gs://, hf://): their list, their sizes and versions, and parts of their content.

fsspec and its file systems (s3fs, gcsfs, huggingface_hub) find the credentials as their users expect: in the
environment, in the files of each vendor's own tools, or from the machine's role. An address never holds credentials.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.text.lines import shortened
from p3dfeat.text.urls import scrubbed
from p3dfeat.types import STORE_SCHEMES

ATTEMPTS: Final = 3  # beside those of each file system
WAIT_SECONDS: Final = 1.0  # before the second attempt, doubled before the next
PACKAGES: Final = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
EXTRAS: Final = {"s3fs": "s3", "gcsfs": "gs"}
LONGEST_REASON: Final = 200  # characters
T = TypeVar("T")


@dataclass(frozen=True)
class StoredObject:
    """A file of a store. version: changes with its content; empty if the store has none."""

    url: str
    size_bytes: int
    version: str
    changed: float | None  # seconds since 1970

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from ``begin`` to before ``end``. Raises VideoError."""
        files, path = _file_system(self.url)
        content = bytes(_tried(lambda: files.cat_file(path, start=begin, end=end)))
        if len(content) != end - begin:
            raise VideoError(f"not fetched: {len(content):,} bytes came, of {end - begin:,} asked for")
        return content


def find_object(url: str) -> StoredObject:
    """Ask the store about a file. Raises VideoError."""
    files, path = _file_system(url)
    found = _tried(lambda: files.info(path, refresh=True) if url.startswith("hf://") else _fresh_info(files, path))
    if found.get("type") == "directory" or found.get("size") is None:
        raise VideoError("not fetched: a folder, or no such object")
    return StoredObject(url, int(found["size"]), _version(found), _changed(found))


def find_below(url: str) -> list[str]:
    """The addresses of all files in a folder of a store, at any depth, sorted. Raises VideoError."""
    files, path = _file_system(url)
    scheme = url.partition("://")[0]
    found = _tried(lambda: files.find(path))
    return sorted(f"{scheme}://{_plain(files, item)}" for item in found)


def find_matching(pattern: str) -> list[str]:
    """The addresses of the files that match a pattern, sorted. Raises VideoError."""
    files, path = _file_system(pattern)
    scheme = pattern.partition("://")[0]
    found = _tried(lambda: files.glob(path, detail=True))
    return sorted(f"{scheme}://{_plain(files, item)}" for item, about in found.items() if about["type"] == "file")


def is_folder(url: str) -> bool:
    """Whether an address names a folder: no object has this name, but some begin with it. Raises VideoError."""
    files, path = _file_system(url)
    return bool(_tried(lambda: files.isdir(path)))


def check_package(url: str) -> None:
    """Raise UsageError if the package for a store is not installed."""
    _file_system(url)


def _file_system(url: str) -> tuple[Any, str]:
    """Fsspec's file system for an address, and the path in it. Raises UsageError."""
    import fsspec

    scheme, _, path = url.partition("://")
    if "::" in url or scheme not in STORE_SCHEMES:
        raise UsageError(f"{shortened(scrubbed(url))}: not an address of a store; s3://bucket/path is one")
    try:
        files = fsspec.filesystem(scheme, **_options(scheme))
    except ImportError:
        package = PACKAGES.get(scheme, "huggingface-hub")
        remedy = f"pip install 'p3dfeat[{EXTRAS[package]}]'" if package in EXTRAS else f"pip install {package}"
        raise UsageError(f"{scheme}:// addresses need {package}; install it with {remedy}") from None
    return files, path


def _options(scheme: str) -> dict[str, Any]:
    """Settings of a file system. Listings are not kept, since a store may change between two runs of one program."""
    return {"use_listings_cache": False} if PACKAGES.get(scheme) == "s3fs" else {}


def _fresh_info(files: Any, path: str) -> Any:
    files.invalidate_cache()
    return files.info(path)


def _plain(files: Any, path: str) -> str:
    return str(files._strip_protocol(path)).lstrip("/")


def _version(about: Any) -> str:
    """What the store says changes with the content."""
    names = ("ETag", "etag", "generation", "md5Hash", "blob_id", "checksum")
    return next((str(about[name]) for name in names if about.get(name)), "")


def _changed(about: Any) -> float | None:
    times = (about.get(name) for name in ("LastModified", "mtime", "updated", "last_modified"))
    for time_changed in times:
        if isinstance(time_changed, datetime):
            return time_changed.timestamp()
        if isinstance(time_changed, int | float):
            return float(time_changed)
    return None


def _tried(ask: Callable[[], T]) -> T:
    """The result of ``ask``, after several attempts if necessary. Raises VideoError, whose text holds no secrets."""
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except FileNotFoundError:
            raise VideoError("not fetched: no such object or bucket") from None
        except PermissionError:
            raise VideoError("not fetched: the store refuses access; check the credentials and the name") from None
        except Exception as error:
            reason = _reason(error)
            if "credential" in reason.lower():
                raise VideoError(f"not fetched: {reason}") from None
            if attempt == ATTEMPTS - 1:
                raise VideoError(f"not fetched: {reason}, {ATTEMPTS} times") from None
        time.sleep(WAIT_SECONDS * 2**attempt)
    raise AssertionError("unreachable")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return scrubbed(text)[:LONGEST_REASON]
