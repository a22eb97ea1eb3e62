"""Pictures of the videos of a feature file, from the sources that are still there and unchanged."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from p3dfeat.pages.strip import Strip
from p3dfeat.store import is_unchanged
from p3dfeat.text.counts import counted
from p3dfeat.types import PART, SEGMENT_ORIGINS, Video, is_remote
from p3dfeat.video.thumbnails import StripPlan, take_strips

# Attributes that tell whether a source is still the stored file, and what a picture of it needs.
ATTRIBUTES: Final = ("source", "size_bytes", "modified", "fingerprint", "damage", "width", "height", *PART)


@dataclass(frozen=True)
class PictureTaken:
    """Progress: the pictures of a video were taken, or cannot be. total: number of videos with a source."""

    id: str
    done: int
    total: int


@dataclass
class Pictures:
    """Strips by id, and the ids of videos without one.

    gone: their source is not there, or is a web address. changed: it is another file now. unreadable: with reasons.
    """

    strips: dict[str, Strip] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Numbers of videos without pictures, by reason; reasons without videos are left out."""
        found = {"gone": len(self.gone), "changed": len(self.changed), "unreadable": len(self.unreadable)}
        return {reason: count for reason, count in found.items() if count}

    def sentences(self) -> list[str]:
        return no_picture_sentences(self.counts())


def no_picture_sentences(counts: Mapping[str, int]) -> list[str]:
    """Numbers of videos without pictures, in words."""
    words = {"gone": "not there any more", "changed": "changed since", "unreadable": "not readable"}
    return [f"no pictures of {counted(count, 'video')}: {words[reason]}" for reason, count in counts.items()]


def pictures_of(
    attributes: Mapping[str, Mapping[str, Any]],
    *,
    workers: int | None = None,
    on_event: Callable[[PictureTaken], None] = lambda event: None,
) -> Pictures:
    """Strips of the videos with these stored attributes, by id. No web address is asked."""
    found, videos = Pictures(), list[Video]()
    sizes: dict[str, tuple[int, int]] = {}
    for id, about in attributes.items():
        source = str(about.get("source", ""))
        is_there = os.path.isfile if about.get("frames_fps") is None else os.path.isdir  # no pipe, and no device
        if not source or is_remote(source) or not is_there(source):
            found.gone.append(id)
        elif not is_unchanged(source, about):
            found.changed.append(id)
        else:
            videos.append(stored_video(id, source, about))
            height, width = about.get("height"), about.get("width")
            if isinstance(height, int) and isinstance(width, int):
                sizes[id] = height, width
    for video, strip in take_strips(videos, sizes, StripPlan.of(len(videos)), workers=workers):
        if isinstance(strip, Strip):
            found.strips[video.id] = strip
        else:
            found.unreadable.append((video.id, str(strip)))
        on_event(PictureTaken(video.id, len(found.strips) + len(found.unreadable), len(videos)))
    return found


def stored_video(id: str, source: str, about: Mapping[str, Any]) -> Video:
    """The video with these stored attributes: the whole file, or a segment of it."""
    return Video(
        id,
        source,
        source,
        about.get("segment_start_seconds"),
        about.get("segment_end_seconds"),
        about.get("segment_origin") or SEGMENT_ORIGINS[0],
        frames_fps=about.get("frames_fps"),
    )
