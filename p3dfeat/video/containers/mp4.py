"""MP4, MOV and 3GP: boxes in boxes (ISO/IEC 14496-12)."""

from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import VideoError
from p3dfeat.text.counts import counted
from p3dfeat.types import Int64Array
from p3dfeat.video.containers.mp4_boxes import Box, children, content, top_boxes
from p3dfeat.video.containers.record import SLACK, SLACK_FRAMES, Container, Delivered, cut_off, read_at
from p3dfeat.video.findings import Findings

ENCRYPTED: Final = "encrypted"  # the meaning of the codec "encv" (ISO/IEC 14496-12, 8.12)
LONGER: Final = 3.5  # frames by which a trimmed clip may be longer than its header says
LARGEST_FRAGMENT: Final = 1 << 30  # bytes: a larger box is damage, not a fragment that was cut off
MOST_BEHIND: Final = 1 << 20  # bytes searched after the last box
MOST_FRAMES: Final = 100_000_000  # in a table; three weeks at 50 per second
WAY_TO_TABLES: Final = (b"mdia", b"minf", b"stbl")  # starting at a track
TIMES: Final = (b"stts", b"ctts")
TABLE_HEAD_BYTES: Final = 12
WAY_TO_EDITS: Final = (b"edts", b"elst")
NOTHING_SHOWN: Final = -1  # an edit's media time (8.6.6): nothing is on screen during the edit
NARROW: Final = np.dtype([("length", ">u4"), ("start", ">i4"), ("rate", ">i4")])
WIDE: Final = np.dtype([("length", ">u8"), ("start", ">i8"), ("rate", ">i4")])


def check(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """All frames of the index must be found. Edit lists must not pause or hold a frame, because FFmpeg ignores that."""
    if len(found.packets) < found.index_entries:
        count = f"its index lists {counted(found.index_entries, 'frame')}, only {len(found.packets):,} can be read"
        findings.failed(VideoError(f"damaged or cut off: {count}"))
    gap = found.packets.longest_gap * found.tick_seconds
    if gap > SLACK_FRAMES * found.frame_seconds:
        findings.remark(f"{gap:.2f} s are missing between two of its fragments")
    _compare_durations(found, findings)
    boxes = list(top_boxes(file, found.size_bytes))
    moving = [box for box in boxes if box.kind == b"moof"]
    if boxes and boxes[-1].end > found.size_bytes:
        holds_frames = boxes[-1].kind in (b"mdat", b"moof") and boxes[-1].end - boxes[-1].start < LARGEST_FRAGMENT
        if (moving and holds_frames) or b"moov" not in {box.kind for box in boxes}:
            findings.failed(cut_off(found.size_bytes, boxes[-1].end))
        findings.remark(f"cut off after its last frame: {counted(found.size_bytes, 'byte')} of {boxes[-1].end:,}")
    behind = read_at(file, boxes[-1].end, MOST_BEHIND) if boxes else b""
    if b"moof" in behind or (moving and (b"mdat" in behind or b"mfra" in behind)):
        findings.remark(f"a fragment lies behind byte {boxes[-1].end:,}, where no box begins")
    for movie in (box for box in boxes if box.kind == b"moov"):
        if any(_pauses(content(file, edits)) for edits in _of_track(file, movie, found.stream_id, WAY_TO_EDITS)):
            reason = "its edit list pauses in the middle, or holds a frame, which is not supported"
            findings.failed(VideoError(f"{reason}; remux it with ffmpeg -ignore_editlist 1 -c copy"))
        for tables in _of_track(file, movie, found.stream_id, WAY_TO_TABLES):
            _compare_tables({box.kind: _table(file, box) for box in children(file, tables)}, findings)
    runs = _below(file, moving[-1], (b"traf", b"trun")) if moving else []
    if moving and not any(int.from_bytes(read_at(file, run.start, 8)[4:], "big") for run in runs):
        findings.remark("its last fragment holds no frames")


def times_in_header(file: BinaryIO, size_bytes: int, track: int) -> tuple[Int64Array, Int64Array] | None:
    """Durations, and times from decoding to showing, of a track's frames (8.6.1).

    None for fragments and for several edits.
    """
    boxes = list(top_boxes(file, size_bytes))
    movies = [box for box in boxes if box.kind == b"moov"]
    if len(movies) != 1 or any(box.kind == b"moof" for box in boxes) or _below(file, movies[0], (b"mvex",)):
        return None
    edits = [content(file, box) for box in _of_track(file, movies[0], track, WAY_TO_EDITS)]
    shown = [int((_edits(each)["start"] != NOTHING_SHOWN).sum()) for each in edits]
    tables = _of_track(file, movies[0], track, WAY_TO_TABLES)
    if len(tables) != 1 or shown not in ([], [1]):
        return None
    found = {box.kind: _table(file, box) for box in children(file, tables[0])}
    durations, offsets = (_spread(found.get(kind, b"")) for kind in (b"stts", b"ctts"))
    if not len(durations) or durations.min() <= 0 or len(offsets) not in (0, len(durations)):
        return None
    return durations, offsets if len(offsets) else np.zeros(len(durations), np.int64)


def _table(file: BinaryIO, box: Box) -> bytes:
    """A table: all of it if it is one of times, or else its beginning."""
    return content(file, box) if box.kind in TIMES else read_at(file, box.start, TABLE_HEAD_BYTES)


def _spread(table: bytes) -> Int64Array:
    """A value per frame, from a table of rows (number of frames, value); empty for an invalid table."""
    rows = np.frombuffer(table, ">i4", len(table) // 4)[2:]
    count = min(int.from_bytes(table[4:8], "big"), len(rows) // 2)
    numbers, values = rows[: 2 * count : 2].astype(np.int64), rows[1 : 2 * count : 2].astype(np.int64)
    if (numbers < 0).any() or numbers.sum() > MOST_FRAMES:
        return np.zeros(0, np.int64)
    return np.repeat(values, numbers)


def coding_of(file: BinaryIO, size_bytes: int, track: int) -> str:
    """The four-letter codec name of a track (8.5.2) in brackets, after a space; "" if there is none."""
    for movie in (box for box in top_boxes(file, size_bytes) if box.kind == b"moov"):
        for described in _of_track(file, movie, track, (*WAY_TO_TABLES, b"stsd")):
            name = read_at(file, described.start, 16)[12:].decode("latin-1")
            return f" ({ENCRYPTED if name == 'encv' else name})" if name.isprintable() else ""
    return ""


def _of_track(file: BinaryIO, movie: Box, track: int, way: tuple[bytes, ...]) -> list[Box]:
    """The boxes at the path ``way`` in the track with this number in its header (8.3.2)."""
    found = []
    for box in _below(file, movie, (b"trak",)):
        headers = [read_at(file, header.start, 24) for header in _below(file, box, (b"tkhd",))]
        place = 20 if headers and headers[0][:1] == b"\1" else 12
        if headers and int.from_bytes(headers[0][place : place + 4], "big") == track:
            found += _below(file, box, way)
    return found


def _compare_tables(tables: dict[bytes, bytes], findings: Findings) -> None:
    """The tables of times (8.6.1) must be as long as the table of sizes (8.7.3)."""
    if not tables.keys() & {b"stsz", b"stz2"}:
        findings.remark("its header has no table of sizes")
    count = int.from_bytes(tables.get(b"stsz", b"")[8:12], "big")
    for kind in (b"stts", b"ctts"):
        table = tables.get(kind, b"")
        rows = np.frombuffer(table, ">u4", len(table) // 4)[2:]
        number = min(int.from_bytes(table[4:8], "big"), len(rows) // 2)
        timed = int(rows[: 2 * number : 2].sum(dtype=np.int64))
        if count != timed and (number or kind == b"stts"):
            findings.remark(f"its header lists {counted(count, 'frame')}, and times of {timed:,}")


def _compare_durations(found: Delivered, findings: Findings) -> None:
    announced, shown = found.listed_seconds or np.inf, found.end_seconds - float(found.seconds[0])
    if shown > announced + max(LONGER * found.frame_seconds, SLACK * announced):
        findings.remark(f"{announced:.2f} s by its header, {shown:.2f} s found")
    # The file of a trimmed clip holds more frames than are shown.
    cut_away, total = int(found.packets.cut_away.sum()), found.packets.durations.sum() * found.tick_seconds
    if cut_away and total < announced + found.frame_seconds / 2 < np.inf:
        findings.remark(f"its edit list leaves out {cut_away} of its frames, and is as long as all of them")


def _below(file: BinaryIO, parent: Box, way: tuple[bytes, ...]) -> list[Box]:
    found = [box for box in children(file, parent) if box.kind == way[0]]
    return found if len(way) == 1 else [box for inner in found for box in _below(file, inner, way[1:])]


def _edits(table: bytes) -> NDArray[np.void]:
    """The rows of an edit list (8.6.6)."""
    entry = WIDE if table[:1] == b"\1" else NARROW
    count = min(int.from_bytes(table[4:8], "big"), len(table[8:]) // entry.itemsize)
    return np.frombuffer(table, entry, count, offset=8) if count else np.zeros(0, entry)


def _pauses(table: bytes) -> bool:
    """Whether nothing is shown between two edits, or an edit holds a frame (a "dwell", with rate 0)."""
    rows = _edits(table)
    shows = np.flatnonzero(rows["start"] != NOTHING_SHOWN)
    if not len(shows):
        return False
    between = rows[shows[0] : shows[-1] + 1]
    return bool(((between["length"] > 0) & ((between["start"] == NOTHING_SHOWN) | (between["rate"] == 0))).any())


MP4: Final = Container("mov,mp4,m4a,3gp,3g2,mj2", times_in_header=times_in_header, check=check)
