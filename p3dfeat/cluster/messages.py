"""What decoders on other machines say of a block of clips. It is checked field by field, as from a decoder here."""

import json
from collections.abc import Sequence

from p3dfeat.errors import VideoError
from p3dfeat.text.jsons import parse_object
from p3dfeat.types import Video, VideoEnd, VideoStart
from p3dfeat.video.workers.messages import ClipAt, Ended, NonsenseError, decoded, encoded
from p3dfeat.workflows.pipeline import Group, Happening, Row


def said_of(happened: Sequence[tuple[int, Happening]]) -> bytes:
    """The rows of a block and what comes between them, each with the number of its video."""
    lines, place = [], 0
    for number, item in happened:
        if isinstance(item, Row):
            line = encoded(ClipAt(place, *item.seconds, item.padded_frames, item.first_frame))
            place += 1
        else:
            line = encoded(item if isinstance(item, VideoStart) else Ended(item))
        lines.append(f"{number} ".encode() + line)
    return json.dumps({"clips": place}).encode() + b"\n" + b"".join(lines)


def heard_of(said: bytes, videos: Sequence[Video]) -> Group:
    """The block that ``said_of`` describes. Raises NonsenseError."""
    group = Group("none")
    try:
        first, *lines = said.splitlines()
        count = parse_object(first)["clips"]
        for line in lines:
            number, _, message = line.partition(b" ")
            video, item = videos[_place(number)], decoded(message)
            if isinstance(item, ClipAt):
                if item.slot != group.num_clips or item.first_frame < 0 or item.padded_frames < 0:
                    raise NonsenseError(repr(line[:80]))
                group.add(video, Row((item.start_seconds, item.end_seconds), item.first_frame, item.padded_frames))
            elif isinstance(item, VideoStart):
                group.add(video, item)
            elif isinstance(item, Ended) and isinstance(item.outcome, VideoEnd | VideoError):
                group.add(video, item.outcome)
            else:
                raise NonsenseError(repr(line[:80]))
        if count != group.num_clips:
            raise NonsenseError(f"{count} clips, but rows of {group.num_clips}")
    except (ValueError, TypeError, KeyError, IndexError):
        raise NonsenseError(repr(said[:80])) from None
    return group


def _place(number: bytes) -> int:
    place = int(number)
    if place < 0:
        raise IndexError(place)
    return place
