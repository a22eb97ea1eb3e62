"""MP4 and its relatives: boxes that must fill the file, and tables of frames that must agree with each other."""

from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import VideoError
from p3dfeat.types import Int64Array
from p3dfeat.video.boxes import LARGEST_TABLE, Box, children, content, name, top_boxes
from p3dfeat.video.fragments import Fragments
from p3dfeat.video.limits import tick
from p3dfeat.video.trailing import holds

MOST_FRAMES: Final = (LARGEST_TABLE - 16) // 12  # of which tables are looked at: 18 hours at 60 a second
SLACK_FRAMES: Final = 3.0  # by which two durations of one track may differ, beside ...
CUT_FRAMES: Final = 4  # at both ends of a recording that was cut anywhere, some of which are missing
MOST_REORDERED: Final = 20  # frames between two that refer to no other; x264 and x265 make 16 at most
SLACK: Final = 0.005  # ... this part of it
NOT_BEHIND: Final = (b"mdat", b"mfhd", b"trun", b"mfra", b"mfro")  # boxes that are not in what players ignore
INSIDE: Final = frozenset({b"mfhd", b"traf", b"tfhd", b"trun", b"trak", b"mvhd"})  # boxes that are in others
NOT_TOLD: Final = (0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # durations that say nothing


def check(file: BinaryIO, size: int) -> None:
    """Raise VideoError where the file ends before its boxes do, or the tables of its video tracks disagree."""
    top = list(top_boxes(file, size))
    if top and top[-1].end > size:
        raise VideoError(f"cut off: {size:,} bytes of at least {top[-1].end:,} that its header announces")
    if holds(file, top[-1].end if top else 0, *NOT_BEHIND) or not INSIDE.isdisjoint(box.kind for box in top):
        raise VideoError("damaged: one of its boxes does not begin where the one before it ends")
    movies = [list(children(file, box)) for box in top if box.kind == b"moov"]
    tracks = [_Track(file, box, _scale(file, movie)) for movie in movies for box in movie if box.kind == b"trak"]
    media = [(box.start, box.end) for box in top if box.kind == b"mdat"] or [(0, size)]
    for track in tracks:
        track.check(media)
    usual = _usual_durations(file, [box for movie in movies for box in movie if box.kind == b"mvex"])
    fragments = Fragments({track.number: usual.get(track.number) for track in tracks if track.is_video})
    for box in top:
        if box.kind == b"moof":
            tick()
            fragments.check(file, box)


def _scale(file: BinaryIO, movie: list[Box]) -> int:
    """Ticks a second of the clock that edits are timed by."""
    return _ticks_a_second(next((content(file, box) for box in movie if box.kind == b"mvhd"), b""))


def _ticks_a_second(header: bytes) -> int:
    """What a movie's or a track's header says of its clock: after two times, which may be wide."""
    return int.from_bytes(header[20:24] if header[:1] == b"\1" else header[12:16], "big")


def _usual_durations(file: BinaryIO, extensions: list[Box]) -> dict[int, int]:
    """{track: ticks that its frames last, where its fragments do not say so}."""
    rows = [content(file, box)[4:16] for parent in extensions for box in children(file, parent) if box.kind == b"trex"]
    return {int.from_bytes(row[:4], "big"): int.from_bytes(row[8:], "big") for row in rows if any(row[8:])}


class _Track:
    """A track's tables."""

    def __init__(self, file: BinaryIO, track: Box, scale: int):
        self._file, self._scale = file, scale
        self._boxes: dict[bytes, Box] = {}
        self._gather(track)

    def _gather(self, parent: Box) -> None:
        for box in children(self._file, parent):
            if box.kind in (b"mdia", b"minf", b"stbl", b"edts"):
                self._gather(box)
            else:
                self._boxes.setdefault(box.kind, box)

    @property
    def is_video(self) -> bool:
        """Whether it is said to hold pictures."""
        return self._bytes(b"hdlr")[8:12] == b"vide"

    @property
    def number(self) -> int:
        """By which its fragments name it."""
        return _ticks_a_second(self._bytes(b"tkhd"))  # which stands in the same place

    def check(self, media: list[tuple[int, int]]) -> None:
        """Raise VideoError where what is said of the frames does not fit together."""
        if missing := [kind for kind in (b"mdhd", b"hdlr", b"stsd", b"stts") if kind not in self._boxes]:
            raise VideoError(f"damaged: one of its tracks has no box {name(missing[0])}")
        if not self.is_video or b"stsz" not in self._boxes:
            return
        sizes = self._bytes(b"stsz")
        each, count = (int.from_bytes(sizes[place : place + 4], "big") for place in (4, 8))
        if not 0 < count <= MOST_FRAMES:  # none: of a file in fragments
            return
        if not each and len(sizes) < 12 + 4 * count:
            raise VideoError(f"damaged: its header lists {count:,} frames, but the sizes of {(len(sizes) - 12) // 4:,}")
        frame_bytes = np.frombuffer(sizes, ">u4", count, offset=12).astype(np.int64) if not each else None
        spans = self._table(b"stts", 2)
        self._same(count, int(spans[:, 0].sum()), "times")
        durations = np.repeat(spans[:, 1], spans[:, 0])
        shown = self._shown(durations) if b"ctts" in self._boxes else None
        if b"stss" in self._boxes:
            keys = self._table(b"stss", 1)[:, 0]
            if len(keys) and (keys[0] < 1 or keys[-1] > count or (np.diff(keys) <= 0).any()):
                raise VideoError("damaged: its list of keyframes is out of order")
        self._check_durations(durations, shown)
        self._check_edits(count, int(durations.sum()) if shown is None else max(int(durations.sum()), int(shown[-1])))
        self._check_chunks(count, each, frame_bytes, media)

    def _shown(self, durations: Int64Array) -> Int64Array:
        """When frames are shown, in order: within the time that they last, in whatever order they are decoded."""
        offsets = self._table(b"ctts", 2)
        self._same(len(durations), int(offsets[:, 0].sum()), "times of showing")
        decoded = np.cumsum(durations) - durations
        shown = decoded + np.repeat(offsets[:, 1].astype(np.int32).astype(np.int64), offsets[:, 0])
        order = np.argsort(shown, kind="stable")
        shown = shown[order]
        usual = int(durations[0])
        longer = np.diff(shown) - usual
        uneven = (longer[CUT_FRAMES:-CUT_FRAMES] > usual / 2).any() or (longer < -usual / 2).any()
        if (durations[:-1] == usual).all() and uneven:
            raise VideoError("damaged: by its header frames of one length are not shown one after the other")
        total, length = int(durations.sum()), int(shown[-1] - shown[0])
        slack = SLACK_FRAMES * total / len(durations)
        stated = self._duration(b"mdhd", 12)
        delayed = _delayed(decoded, shown, order) and self._is_in_edits(length - slack)
        if length > total + slack and abs(stated - length) > slack and not delayed:
            raise VideoError("damaged: by its header one of its frames is shown long after the others, or before")
        return shown

    def _same(self, count: int, found: int, what: str) -> None:
        if found != count:
            raise VideoError(f"damaged: its header lists {count:,} frames, but {what} of {found:,}")

    def _check_durations(self, durations: Int64Array, shown: Int64Array | None) -> None:
        """The frames' durations must add up to the track's: as they are decoded, or as they are shown.

        FFmpeg writes the latter, which is another where the frame rate varies, or frames are missing at the end. Phones
        write into the first frame's duration how much later than the sound it begins, and into the track's they do not,
        where others write an edit.
        """
        stated, ticks, usual = self._duration(b"mdhd", 12), int(durations.sum()), int(np.median(durations))
        lengths = [ticks]
        if b"elst" not in self._boxes:
            lengths.append(ticks - max(0, int(durations[0]) - usual))
        if shown is not None:
            lengths.append(int(shown[-1] - shown[0]) + usual)
        slack = SLACK_FRAMES * ticks / len(durations) + SLACK * ticks
        if stated not in NOT_TOLD and all(abs(stated - length) > slack for length in lengths):
            raise VideoError(f"damaged: its frames last {ticks:,} ticks, by its header {stated:,}")

    def _check_edits(self, count: int, ticks: int) -> None:
        """The edits must add up to what is shown of the track, and begin before its end."""
        if b"elst" not in self._boxes or b"tkhd" not in self._boxes:
            return
        rows = self._edits()
        shown, wanted = int(rows["length"].astype(np.float64).sum()), self._duration(b"tkhd", 16)
        if wanted in NOT_TOLD or not shown:
            return
        slack = SLACK_FRAMES * wanted / count + SLACK * wanted
        if abs(shown - wanted) > slack:
            raise VideoError(f"damaged: its edits last {shown:,} ticks, by its header {wanted:,}")
        if ticks and (rows["start"] >= ticks).any():
            raise VideoError("damaged: its edits begin after its last frame")

    def _is_in_edits(self, ticks: float) -> bool:
        """Whether as much is shown by the edits, if there are any."""
        if b"elst" not in self._boxes or not self._scale:
            return True
        rows = self._edits()
        shown = float(rows["length"][rows["start"] >= 0].astype(np.float64).sum())
        return not shown or shown / self._scale * _ticks_a_second(self._bytes(b"mdhd")) >= ticks

    def _edits(self) -> np.ndarray:
        """Rows of how long, from when, and at which rate."""
        edits = self._bytes(b"elst")
        wide = edits[:1] == b"\1"
        entry = np.dtype([("length", ">u8"), ("start", ">i8"), ("rate", ">u4")]) if wide else _EDIT
        number = int.from_bytes(edits[4:8], "big")
        if (held := len(edits[8:]) // entry.itemsize) < number:
            raise VideoError(f"damaged: its header lists {number:,} edits, but holds {held:,}")
        return np.frombuffer(edits, entry, number, offset=8) if number else np.zeros(0, entry)

    def _duration(self, kind: bytes, place: int) -> int:
        """What a header says, in ticks; place: of the duration's first byte but four, in its narrow form."""
        header = self._bytes(kind)
        if header[:1] == b"\1":  # two times before it are wide, and so is itself
            return int.from_bytes(header[place + 12 : place + 20], "big")
        return int.from_bytes(header[place + 4 : place + 8], "big")

    def _check_chunks(
        self, count: int, each: int, frame_bytes: Int64Array | None, media: list[tuple[int, int]]
    ) -> None:
        """Frames lie in chunks: all of them, inside the file's media, none over another."""
        kind = b"co64" if b"co64" in self._boxes else b"stco"
        places = self._table(kind, 1, wide=kind == b"co64")[:, 0]
        runs = self._table(b"stsc", 3)
        if not len(runs) or not len(places) or runs[0, 0] != 1 or (np.diff(runs[:, 0]) <= 0).any():
            raise VideoError("damaged: its list of chunks is out of order")
        spans = np.diff(np.append(runs[:, 0], len(places) + 1))
        if (spans <= 0).any() or int((spans * runs[:, 1]).sum()) != count:
            raise VideoError(f"damaged: its header lists {count:,} frames, but chunks for others")
        if (runs[:, 2] < 1).any() or (runs[:, 2] > int.from_bytes(self._bytes(b"stsd")[4:8], "big")).any():
            raise VideoError("damaged: its chunks are in codings that it does not describe")
        in_chunk = np.repeat(runs[:, 1], spans)
        if frame_bytes is None:
            lengths = in_chunk * each
        else:
            ends = np.concatenate([[0], np.cumsum(frame_bytes)])
            last = np.cumsum(in_chunk)
            lengths = ends[last] - ends[last - in_chunk]
        order = np.argsort(places, kind="stable")
        first, last = places[order], (places + lengths)[order]
        if (first[1:] < last[:-1]).any():
            raise VideoError("damaged: two of its chunks of frames lie over each other")
        if not _inside(first, last, media):
            raise VideoError("damaged or cut off: not all of its frames are where its index says")

    def _bytes(self, kind: bytes) -> bytes:
        if kind not in self._boxes:
            return b""
        return content(self._file, self._boxes[kind])

    def _table(self, kind: bytes, columns: int, *, wide: bool = False) -> Int64Array:
        """(entries, columns) of a box that holds their number before them."""
        data = self._bytes(kind)
        number, width = int.from_bytes(data[4:8], "big"), (8 if wide else 4) * columns
        if len(data) < 8 + number * width:
            raise VideoError(f"damaged: its table {name(kind)} lists {number:,} entries, but is shorter")
        values = np.frombuffer(data, ">u8" if wide else ">u4", number * columns, offset=8)
        return values.astype(np.int64).reshape(-1, columns)


_EDIT: Final = np.dtype([("length", ">u4"), ("start", ">i4"), ("rate", ">u4")])


def _delayed(decoded: Int64Array, shown: Int64Array, order: Int64Array) -> bool:
    """Whether frames are shown at the times at which those a few places after them are decoded.

    So do encoders number them, and a pause before the last ones shows in no duration. The last ones shown are then
    among the last decoded; order: which frame it is that is decoded, of those shown.
    """
    close = np.median(np.diff(decoded)) / 2
    return any(
        bool((order[-delay:] >= len(order) - MOST_REORDERED).all())
        and bool((abs((shown[:-delay] - shown[0]) - (decoded[delay:] - decoded[delay])) <= close).all())
        for delay in range(1, min(CUT_FRAMES, len(order) - 1) + 1)
    )


def _inside(first: NDArray[np.int64], last: NDArray[np.int64], media: list[tuple[int, int]]) -> bool:
    """Whether each stretch, from its first byte to its last, lies in one of those of ``media``, which rise."""
    starts, ends = np.array(media).T
    place = np.searchsorted(starts, first, side="right") - 1
    return bool((place >= 0).all() and (last <= ends[place]).all())
