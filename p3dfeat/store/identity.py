"""Whether a video that the user asks for is the one that is stored under its id."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from p3dfeat.errors import VideoError
from p3dfeat.events import Touched
from p3dfeat.fingerprint import fingerprint, size_and_time
from p3dfeat.store.layout import VIDEO_MARK
from p3dfeat.types import PART, Video

IDENTITY: Final = (VIDEO_MARK, "fingerprint", "size_bytes", "modified", "damage", *PART)  # attributes that tell


def other_part(video: Video, stored: Mapping[str, Any]) -> str | None:
    """What else was taken of the file that is stored under a video's id; None where the same was."""
    source = stored.get(VIDEO_MARK)
    start, end, origin, frames_fps = (stored.get(name) for name in PART)
    if (start, end) != (video.start_seconds, video.end_seconds):
        return f"another segment of {source}"
    if origin is not None and origin != video.segment_origin:  # files of before do not tell
        return f"a segment of {source} that is counted from its {origin.replace('-', ' ')}"
    if frames_fps != video.frames_fps:
        return f"{source} at another rate (frames {frames_fps} there, {video.frames_fps} now)"
    return None


def source_if_same(video: Video, stored: Mapping[str, Any]) -> str | None:
    """What a stored video was called, if it is this one, changed or not: by that name, or by its size and ends."""
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
    """How a file compares with what is stored of it.

    kind: "same"; "touched", if only its time differs; "damaged", if its time differs and it was damaged when it was
    stored, so that more of it may have come; "content" of the same size; or another "size".
    """

    kind: Literal["same", "touched", "damaged", "content", "size"]
    size: int  # now, in bytes
    modified: str  # now


def compared(path: str, stored: Mapping[str, Any], *, thorough: bool = True) -> Compared:
    """Compare a file with the attributes ``stored`` of it. Raises OSError.

    thorough: read its ends even where size and time are as they were; else it is not opened then.
    """
    size, now = size_and_time(path)
    same_size, same_time = size == stored.get("size_bytes"), now == stored.get("modified")
    if (thorough or not (same_size and same_time)) and fingerprint(path) != stored.get("fingerprint"):
        return Compared("content" if same_size else "size", size, now)
    return Compared("same" if same_time else "damaged" if "damage" in stored else "touched", size, now)


def is_unchanged(path: str, stored: Mapping[str, Any]) -> bool:
    """Whether a file is still the one that was described; one that was damaged must not have been modified since."""
    try:
        return compared(path, stored).kind in ("same", "touched")
    except OSError:
        return False


def difference(video: Video, stored: Mapping[str, Any], on_touched: Callable[[Touched], None]) -> str | None:
    """What is unlike in a video and in what is ``stored`` of one, its attributes; None where they are the same.

    Of a file that is called as it was, size and time tell, without opening it; else its ends do. on_touched: told of a
    file that has another time and is the same. One that was damaged is not the same then: more of it may have come.
    Raises VideoError for a file that is not readable.
    """
    source = stored[VIDEO_MARK]
    elsewhere = None if source == video.source else f"id {video.id!r} is stored for another file, {source}"
    if video.remote:  # an address stands for what it once gave: no server is asked, be there 100,000 of them
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
