"""AVI: RIFF chunks, with an index of them at the end (Microsoft, AVI RIFF File Reference; idx1 and OpenDML)."""

from typing import BinaryIO, Final

import numpy as np

from p3dfeat.text.counts import counted
from p3dfeat.video.containers.record import Container, Delivered, cut_off
from p3dfeat.video.findings import Findings
from p3dfeat.video.heartbeat import tick

UNKNOWN_LENGTHS: Final = (0, 0xFFFFFFFF)  # in an AVI written to a pipe
LARGEST_INDEX: Final = 1 << 28  # bytes: 16 million frames and pieces of sound
MOST_CHUNKS: Final = 100_000  # two or three are usual: one of them holds all frames
NO_FRAMES: Final = (b"wb", b"tx", b"pc", b"ix")  # kinds of chunks: sound, text, colours, index; others hold a frame
HEADER: Final = 8  # bytes of a chunk's header; some programs include it in the length of the file


def check(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """The list of frames must end inside the file. A wrong index or a wrong count is only a remark."""
    head = file.read(HEADER)
    length = int.from_bytes(head[4:], "little")
    is_open = head[:4] != b"RIFF" or length in UNKNOWN_LENGTHS
    index, end = _index(file, found)
    count, size = len(found.packets), int(found.packets.sizes.sum())
    ticks = int(found.packets.decoded[-1]) + 1
    with_ticks = max(count, ticks + (ticks - 1) // count)  # the duration of the last frame is unknown
    if not is_open and end > found.size_bytes and not 0 < found.listed_frames <= with_ticks:
        findings.failed(cut_off(found.size_bytes, end))
    if not is_open and max(length, end) > found.size_bytes:
        findings.remark(f"{counted(found.size_bytes, 'byte')}, {max(length, end):,} by its header")
    if index is not None and index != (count, size):
        text = f"{counted(index[0], 'frame')} of {counted(index[1], 'byte')}"
        findings.remark(f"its index lists {text}, found are {count:,} of {size:,}")
    # The header and the clock also count empty frames, which repeat the frame before.
    if not is_open and not count <= found.listed_frames <= with_ticks:
        findings.remark(f"its header lists {counted(found.listed_frames, 'frame')}, {count:,} are found")


def _index(file: BinaryIO, found: Delivered) -> tuple[tuple[int, int] | None, int]:
    """(number of frames, their bytes) in the index, or None if no index covers all frames; and where the frames end."""
    place, index, end = 12, None, 0
    for _ in range(MOST_CHUNKS):
        tick()
        file.seek(place)
        kind, length, list_kind = file.read(4), int.from_bytes(file.read(4), "little"), file.read(4)
        if not length or not kind:
            break
        if (kind, list_kind) == (b"LIST", b"movi"):
            end = place + HEADER + length
        if kind == b"RIFF":  # OpenDML: the first index covers only the first gigabyte, the rest is in further parts
            return None, place + HEADER + length
        if kind == b"idx1" and place + HEADER + length <= found.size_bytes:
            file.seek(place + HEADER)
            index = _frames(file.read(min(length, LARGEST_INDEX)), found.stream_number)
        place += HEADER + length + length % 2
    return index, end


def _frames(index: bytes, stream: int) -> tuple[int, int]:
    entries = np.frombuffer(index[: len(index) // 16 * 16], np.uint8).reshape(-1, 16)
    sizes = np.ascontiguousarray(entries[:, 12:]).view("<u4").reshape(-1)
    names = np.ascontiguousarray(entries[:, :4]).view("S4").reshape(-1)
    of_stream = (entries[:, :2] == np.frombuffer(b"%02d" % stream, np.uint8)).all(axis=1) & (sizes > 0)
    of_stream &= ~np.isin(names, [b"%02d" % stream + kind for kind in NO_FRAMES])
    return int(of_stream.sum()), int(sizes[of_stream].sum(dtype=np.int64))


AVI: Final = Container("avi", shown="made up", check=check)
