"""Fragments of MP4, each with tables of its own: those of its pictures must go on where the one before ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

from p3dfeat.errors import VideoError
from p3dfeat.video.boxes import Box, children, content

SLACK_FRAMES: Final = 3.0  # by which a fragment may begin earlier or later than the one before it ends
NO_FRAMES: Final = 0x10000  # a flag: in this fragment the track pauses
# What a fragment is made of, and a track's part of it: in one that has none, another kind is one that was.
IN_FRAGMENT: Final = frozenset({b"mfhd", b"traf", b"pssh", b"meta", b"uuid", b"free", b"skip"})
IN_TRACK: Final = frozenset({b"tfhd", b"tfdt", b"trun", b"sdtp", b"sbgp", b"sgpd", b"subs", b"saiz", b"saio", b"senc"})


class Fragments:
    """What has been seen of a file's fragments. Of tracks other than ``videos`` nothing is asked.

    Sound may be sparse, texts are, and numbers of fragments jump where others were left out or put between.

    videos: {track: ticks that a frame of it lasts where nothing else is said, or None}.
    """

    def __init__(self, videos: Mapping[int, int | None]):
        self._videos = videos
        self._number: int | None = None
        self._next: dict[int, tuple[int, int]] = {}  # {track: when its next frame is decoded, ticks a frame lasts}

    def check(self, file: BinaryIO, fragment: Box) -> None:
        """Raise VideoError where a fragment is missing before this one, or its tables do not hold together."""
        boxes = list(children(file, fragment))
        header = next((content(file, box) for box in boxes if box.kind == b"mfhd"), b"")
        tracks = [box for box in boxes if box.kind == b"traf"]
        if len(header) < 8 or (not tracks and not IN_FRAGMENT.issuperset(box.kind for box in boxes)):
            raise VideoError("damaged: a fragment of it has no number, or no frames")
        number = int.from_bytes(header[4:8], "big")
        follows = self._number in (None, number - 1)
        for track in tracks:
            self._check_track([(box.kind, content(file, box)) for box in children(file, track)], follows=follows)
        self._number = number

    def _check_track(self, boxes: list[tuple[bytes, bytes]], *, follows: bool) -> None:
        """follows: whether the fragment's number does, to which it is held where it has no times."""
        header = next((data for kind, data in boxes if kind == b"tfhd"), b"")
        if len(header) < max(8, _length(header)):
            raise VideoError("damaged: a fragment of it does not say all of its track that it should")
        id = int.from_bytes(header[4:8], "big")
        if id not in self._videos:
            return
        frames = [_Run.of(data) for kind, data in boxes if kind == b"trun"]
        count = sum(run.frames for run in frames)
        if not count:
            self._check_pause(id, header, boxes)
            return
        base = next((data for kind, data in boxes if kind == b"tfdt"), None)
        each = _usual_duration(header, self._videos[id])
        if base is None or (each is None and any(run.ticks is None for run in frames)):
            if not follows:
                raise VideoError("damaged: a fragment of it is missing")
            return
        begins = int.from_bytes(base[4:12] if base[:1] == b"\1" else base[4:8], "big")
        ticks = sum(run.frames * (each or 0) if run.ticks is None else run.ticks for run in frames)
        expected, usual = self._next.get(id, (begins, 0))
        slack = SLACK_FRAMES * max(usual, ticks // count)
        if slack and abs(begins - expected) > slack:
            raise VideoError("damaged: frames are missing between two of its fragments")
        # FFmpeg says 0 of a frame that is a fragment of its own: it lasts until the next.
        usual = ticks // count or usual
        self._next[id] = begins + (ticks or usual * count), usual

    def _check_pause(self, id: int, header: bytes, boxes: list[tuple[bytes, bytes]]) -> None:
        if int.from_bytes(header[1:4], "big") & NO_FRAMES:
            self._next.pop(id, None)  # how long it is, only the next fragment says
        elif not IN_TRACK.issuperset(kind for kind, _ in boxes if kind not in IN_FRAGMENT):
            raise VideoError("damaged: a fragment of it has no frames")


@dataclass(frozen=True)
class _Run:
    """Frames of a fragment, and how long they last together, where each says so itself."""

    frames: int
    ticks: int | None

    @classmethod
    def of(cls, data: bytes) -> "_Run":
        flags, frames = int.from_bytes(data[1:4], "big"), int.from_bytes(data[4:8], "big")
        start = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
        columns = sum(bool(flags & flag) for flag in (0x100, 0x200, 0x400, 0x800))
        if len(data) < start + 4 * columns * frames:
            raise VideoError(f"damaged: a fragment lists {frames:,} frames, but what is said of them is shorter")
        if not frames and len(data) >= start + 4:
            raise VideoError("damaged: a fragment lists no frames, but says something of them")
        if not flags & 0x100:
            return cls(frames, None)
        table = np.frombuffer(data, ">u4", columns * frames, offset=start).reshape(frames, columns)
        return cls(frames, int(table[:, 0].sum(dtype=np.int64)))


def _length(header: bytes) -> int:
    """How many bytes the header of a track's part takes, by its flags."""
    flags = int.from_bytes(header[1:4], "big")
    return 8 + 8 * bool(flags & 1) + 4 * sum(bool(flags & flag) for flag in (0x2, 0x8, 0x10, 0x20))


def _usual_duration(header: bytes, default: int | None) -> int | None:
    """How many ticks frames of a fragment last that do not say so themselves."""
    flags = int.from_bytes(header[1:4], "big")
    place = 8 + 8 * bool(flags & 1) + 4 * bool(flags & 2)
    return int.from_bytes(header[place : place + 4], "big") if flags & 8 else default
