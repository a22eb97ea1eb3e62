"""Whether a video that the user asks for is the one that is stored under its id."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from p3dfeat.errors import VideoError
from p3dfeat.fingerprint import fingerprint, modified
from p3dfeat.store.layout import SEGMENT, VIDEO_MARK
from p3dfeat.types import Touched, Video

IDENTITY: Final = (VIDEO_MARK, "fingerprint", "size_bytes", "modified", "damage", *SEGMENT)  # attributes that tell


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
        status = os.stat(video.path)
        now = modified(status)
        if (status.st_size, now) == (size, time):
            return None
        same = "damage" not in stored and fingerprint(video.path) == stored["fingerprint"]
    except OSError as error:
        raise VideoError(f"not readable ({error.strerror})") from None
    if same:
        on_touched(Touched(video.id, video.source, str(time), now))
        return None
    unlike = f"{size} bytes there, {status.st_size} now"
    if size == status.st_size:
        unlike = "it was damaged then" if "damage" in stored else "other content of the same size"
    times = "" if time == now else f"; modified {time} there, {now} now"
    return f"{elsewhere or 'changed since it was stored'} ({unlike}{times})"
