"""Whether a video that the user asks for is the one that is stored under its id."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from p3dfeat.errors import VideoError
from p3dfeat.fingerprint import fingerprint, size_and_time
from p3dfeat.store.layout import PART, VIDEO_MARK
from p3dfeat.types import Touched, Video

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


def difference(video: Video, stored: Mapping[str, Any], on_touched: Callable[[Touched], None]) -> str | None:
    """What is unlike in a video and in what is ``stored`` of one, its attributes; None where they are the same.

    Size and time tell, without opening the file; where one of them differs, its ends do. on_touched: told of a file
    that has another time and is the same. One that was damaged is not the same then: more of it may have come. Raises
    VideoError for a file that is not readable.
    """
    source = stored[VIDEO_MARK]
    elsewhere = None if source == video.source else f"id {video.id!r} is stored for another file, {source}"
    if video.remote:  # an address stands for what it once gave: no server is asked, be there 100,000 of them
        return elsewhere
    size, time = stored.get("size_bytes"), stored.get("modified")
    try:
        size_now, now = size_and_time(video.path)
        if (size_now, now) == (size, time):
            return None
        same = "damage" not in stored and fingerprint(video.path) == stored.get("fingerprint")
    except OSError as error:
        raise VideoError(f"not readable ({error.strerror})") from None
    if same:
        on_touched(Touched(video.id, video.source, str(time), now))
        return None
    unlike = f"{size} bytes there, {size_now} now"
    if size == size_now:
        unlike = "it was damaged then" if "damage" in stored else "other content of the same size"
    times = "" if time == now else f"; modified {time} there, {now} now"
    return f"{elsewhere or 'changed since it was stored'} ({unlike}{times})"
