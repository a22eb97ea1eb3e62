"""Check whether an input video is the one stored under its id."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from p3dfeat.errors import VideoError
from p3dfeat.events import Touched
from p3dfeat.fingerprint import fingerprint, size_and_time
from p3dfeat.store.layout import VIDEO_MARK
from p3dfeat.types import PART, Video

IDENTITY: Final = (VIDEO_MARK, "fingerprint", "size_bytes", "modified", "damage", *PART)  # attributes for this check


def other_part(video: Video, stored: Mapping[str, Any]) -> str | None:
    """Description of the part stored under a video's id, if it is another part of its file; None if it is the same."""
    source = stored.get(VIDEO_MARK)
    start, end, origin, frames_fps = (stored.get(name) for name in PART)
    if (start, end) != (video.start_seconds, video.end_seconds):
        return f"another segment of {source}"
    if origin is not None and origin != video.segment_origin:  # older files do not store it
        return f"a segment of {source} that is counted from its {origin.replace('-', ' ')}"
    if frames_fps != video.frames_fps:
        return f"{source} at another rate (frames {frames_fps} there, {video.frames_fps} now)"
    return None


def source_if_same(video: Video, stored: Mapping[str, Any]) -> str | None:
    """The stored source, if it is this video: with the same source (changed or not), or the same size and ends."""
    source = stored.get(VIDEO_MARK)
    if other_part(video, stored) is not None or source is None:
        return None
    try:
        same = source == video.source or difference(video, stored, lambda touched: None) is None
    except VideoError:
        return None
    return str(source) if same else None


@dataclass(frozen=True)
class Compared:
    """The comparison of a file with its stored attributes.

    kind: "same"; "touched": only its time differs; "damaged": its time differs and it was damaged when it was stored,
    so it may be more complete now; "content": other content of the same size; "size": another size.
    """

    kind: Literal["same", "touched", "damaged", "content", "size"]
    size: int  # now, in bytes
    modified: str  # now


def compared(path: str, stored: Mapping[str, Any], *, thorough: bool = True) -> Compared:
    """Compare a file with the attributes ``stored`` of it. Raises OSError.

    thorough: read its ends even if size and time are the same; otherwise the file is not opened then.
    """
    size, now = size_and_time(path)
    same_size, same_time = size == stored.get("size_bytes"), now == stored.get("modified")
    if (thorough or not (same_size and same_time)) and fingerprint(path) != stored.get("fingerprint"):
        return Compared("content" if same_size else "size", size, now)
    return Compared("same" if same_time else "damaged" if "damage" in stored else "touched", size, now)


def is_unchanged(path: str, stored: Mapping[str, Any]) -> bool:
    """Whether a file is still the stored one; if it was damaged, it must not have been modified since."""
    try:
        return compared(path, stored).kind in ("same", "touched")
    except OSError:
        return False


def difference(video: Video, stored: Mapping[str, Any], on_touched: Callable[[Touched], None]) -> str | None:
    """The difference between a video and the ``stored`` attributes; None if they are of the same video.

    If the source is the same, size and time are compared, without opening the file; otherwise its ends. on_touched:
    called if only the time differs. A file that was damaged then counts as changed: it may be more complete now.
    Raises VideoError if the file is not readable.
    """
    source = stored[VIDEO_MARK]
    elsewhere = None if source == video.source else f"id {video.id!r} is stored for another file, {source}"
    if video.remote:  # an address counts as unchanged: no server is asked, even for 100,000 of them
        return elsewhere
    time = stored.get("modified")
    try:
        found = compared(video.path, stored, thorough=elsewhere is not None)
    except OSError as error:
        raise VideoError(f"not readable ({error.strerror})") from None
    if found.kind == "touched":
        on_touched(Touched(video.id, video.source, str(time), found.modified))
    if found.kind in ("same", "touched"):
        return None
    unlike = f"{stored.get('size_bytes')} bytes there, {found.size} now"
    if found.kind != "size":
        unlike = "it was damaged then" if "damage" in stored else "other content of the same size"
    times = "" if time == found.modified else f"; modified {time} there, {found.modified} now"
    return f"{elsewhere or 'changed since it was stored'} ({unlike}{times})"


Inode = tuple[int, int]  # device and inode of a file


def inode_of(path: Path) -> Inode | None:
    """None if there is no file. Raises OSError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
