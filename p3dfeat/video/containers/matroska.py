"""Matroska and WebM: EBML elements in one segment (RFC 8794, RFC 9559)."""

import os
from typing import BinaryIO, Final

from p3dfeat.video.containers.record import Container, Delivered, judge_cut
from p3dfeat.video.findings import Findings

SEGMENT: Final = b"\x18\x53\x80\x67"


def check(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """The segment must end inside the file. If only data after the last frame is missing, it is a remark."""
    file.seek(4)
    file.seek(_size(file) or 0, os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        return
    length = _size(file)
    end = 0 if length is None else file.tell() + length
    if end > found.size_bytes:
        judge_cut(found, findings, end)


def _size(file: BinaryIO) -> int | None:
    """A variable-length number (RFC 8794, 4), with one leading zero bit per following byte. None: unknown, all ones."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    following = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> following)]) + file.read(following), "big")
    return None if value == (1 << 7 * (following + 1)) - 1 else value


# FFmpeg invents decoding times. They sometimes go back if a frame has two packets.
MATROSKA: Final = Container("matroska,webm", stores_dts=False, check=check)
