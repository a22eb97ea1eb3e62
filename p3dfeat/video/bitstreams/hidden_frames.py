"""Packets that show no picture: references for later frames, packets without any change, or without a picture."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from av.packet import Packet
from av.video.stream import VideoStream

from p3dfeat.video.bitstreams.bit_reader import Bits
from p3dfeat.video.bitstreams.h264_fields import marked_units

Hides = Callable[["Packet[VideoStream]"], bool]  # called with packets in file order: whether the packet gives no frame

VP8_SHOWN: Final = 0x10  # in a frame's first byte (RFC 6386, 9.1)
VOL: Final = re.compile(rb"\x00\x00\x01[\x20-\x2f]")  # MPEG-4: start of a stream header
VOP: Final = b"\x00\x00\x01\xb6"  # MPEG-4: start of a picture
REFERRED_TO: Final = 0x40  # in the byte after VOP: set for pictures that are neither intra nor bidirectional
PACKED: Final = re.compile(rb"\x00\x00\x01\xb2DivX\d+(?:Build|b)\d+p")
LONGEST_NOTHING: Final = 19  # bytes of a packet that may say that nothing changes; FFmpeg has the same limit
LONGEST_EMPTY: Final = 1024  # bytes of a packet to examine: delimiters, ends, parameters and texts are short
REFERRED_TO_HIDDEN: Final = frozenset({"vp8", "vp9", "av1"})  # codecs whose hidden frames are references
PICTURE_START: Final = b"\x00\x00\x01\x00"  # MPEG-1 and MPEG-2
# Mask and shift of a unit's type, and the types without a picture: parameters, texts, delimiters, ends, filler.
NO_SLICES: Final = {"h264": (31, 0, range(6, 13)), "hevc": (126, 1, range(32, 41))}
AV1_SEQUENCE, AV1_HEADER, AV1_FRAME = 1, 3, 6  # types of OBUs


def hidden_packets(stream: VideoStream) -> Hides | None:
    """The function that detects packets that show nothing; None for codecs in which each packet is a frame."""
    context = stream.codec_context
    coding, header = context.codec.canonical_name, context.extradata or b""
    if coding == "mpeg4":
        return Pictures(header).hides
    if coding in NO_SLICES:
        return _without_slices(*NO_SLICES[coding], _length_bytes(coding, header))
    return {
        "vp8": _is_hidden_vp8,
        "vp9": _is_hidden_vp9,
        "av1": _is_hidden_av1,
        "gif": _is_gif_extension,
        "theora": lambda packet: bool(memoryview(packet)[0] & 0x80),  # a header (Theora specification, 6.1)
        "mpeg1video": _is_no_mpeg_picture,
        "mpeg2video": _is_no_mpeg_picture,
    }.get(coding)


def _length_bytes(coding: str, header: bytes) -> int:
    """Bytes of a unit's length field, from the header (ISO/IEC 14496-15, 5.3.3 and 8.3.3); 0 for start codes."""
    place = 4 if coding == "h264" else 21
    return 1 + (header[place] & 3) if header[:1] == b"\1" and len(header) > place else 0


def begins_with_slice(coding: str, header: bytes, head: bytes) -> bool:
    """Whether a packet of a coding in NO_SLICES surely shows a picture, by its first bytes ``head``.

    header: the stream's header.
    """
    mask, shift, empty = NO_SLICES[coding]
    begin = _length_bytes(coding, header)
    return 0 < begin < len(head) and (head[begin] & mask) >> shift not in empty


def _without_slices(mask: int, shift: int, empty: range, length_bytes: int) -> Hides:
    """Detects packets in which all units are of types without a picture. A damaged packet may hold a picture."""

    def hides(packet: "Packet[VideoStream]") -> bool:
        if packet.size > LONGEST_EMPTY:
            return False
        data, place = bytes(packet), 0
        if not length_bytes:
            return all((data[begin] & mask) >> shift in empty for begin, _ in marked_units(data))
        while place + length_bytes < len(data):
            begin = place + length_bytes
            place = begin + int.from_bytes(data[place:begin])
            if (data[begin] & mask) >> shift not in empty:
                return False
        return place == len(data)

    return hides


def _is_no_mpeg_picture(packet: "Packet[VideoStream]") -> bool:
    return packet.size <= LONGEST_EMPTY and PICTURE_START not in bytes(packet)


def _is_hidden_vp8(packet: "Packet[VideoStream]") -> bool:
    return not memoryview(packet)[0] & VP8_SHOWN


def _is_hidden_vp9(packet: "Packet[VideoStream]") -> bool:
    data = memoryview(packet)
    return not any(_vp9_shows(data[start]) for start in _vp9_frames(data))


def _vp9_frames(data: memoryview) -> Iterator[int]:
    """The start of each frame in a packet: a superframe has several (VP9 bitstream specification, Annex B)."""
    last = data[-1]
    count, width = (last & 7) + 1, (last >> 3 & 3) + 1
    index = len(data) - 2 - count * width
    if last & 0xE0 != 0xC0 or index < 1 or data[index] != last:
        yield 0
        return
    start = 0
    for place in range(index + 1, len(data) - 1, width):
        size = int.from_bytes(data[place : place + width], "little")
        if size and start < index:
            yield start
        start += size


def _vp9_shows(first: int) -> bool:
    """Whether a frame shows a picture, from its first byte (6.2): profile, show existing frame, type, show frame."""
    bits = Bits(bytes([first]))
    bits.read(2)
    if bits.read(2) == 3:
        bits.read(1)
    if bits.read(1):
        return True
    bits.read(1)
    return bool(bits.read(1))


def _is_hidden_av1(packet: "Packet[VideoStream]") -> bool:
    """Whether no frame header in the packet shows a frame (AV1 bitstream specification, 5.3 and 5.9.2)."""
    data, place, frames = bytes(packet), 0, 0
    while place < len(data):
        kind, has_extension, has_size = data[place] >> 3 & 15, data[place] & 4, data[place] & 2
        place += 2 if has_extension else 1
        size, end = (_leb128(data, place)) if has_size else (len(data) - place, place)
        content = data[end : end + 1]
        if kind == AV1_SEQUENCE and content and content[0] & 8:  # a still picture: its frame header has no such flag
            return False
        if kind in (AV1_HEADER, AV1_FRAME) and content:
            frames += 1
            if content[0] & 0x80 or content[0] & 0x10:  # it shows an older frame, or its own frame
                return False
        place = end + size
    return frames > 0


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """A number and the position after it: 7 bits per byte, the lowest first (4.10.5)."""
    value = 0
    for shift, byte in enumerate(data[place : place + 8]):
        value |= (byte & 0x7F) << 7 * shift
        if not byte & 0x80:
            return value, place + shift + 1
    return value, place + 8


def _is_gif_extension(packet: "Packet[VideoStream]") -> bool:
    """Whether a packet has extensions but no picture (GIF89a, 23 to 26), as FFmpeg's packet after the last picture."""
    data, place = memoryview(packet), 0
    while place < len(data) and data[place] == 0x21:
        place += 2
        while place < len(data) and data[place]:
            place += 1 + data[place]
        place += 1
    return place > 0 and (place >= len(data) or data[place] != 0x2C)


class Pictures:
    """MPEG-4's pictures. A packet may hold two pictures, or one that is "not coded": nothing changes.

    If the header says "packed", as in AVI files of DivX and Xvid, a packet may hold a second picture, which is shown
    before the first. It is decoded with the next packet, which then holds nothing itself.
    """

    def __init__(self, header: bytes):
        self._time_bits = _time_bits(header)
        self._packed = PACKED.search(header) is not None
        self._kept = False  # whether the second picture of a packet is not decoded yet
        self._before: Packet[VideoStream] | None = None

    def hides(self, packet: "Packet[VideoStream]") -> bool:
        """Whether a packet gives no frame."""
        before, self._before = self._before, packet
        if packet.size > LONGEST_NOTHING and not packet.is_keyframe and not self._packed:
            return False
        data = bytes(packet)
        if self._time_bits is None or packet.is_keyframe:
            self._time_bits = _time_bits(data) or self._time_bits
            self._packed = self._packed or PACKED.search(data) is not None
        nothing = self._is_nothing(data) or (packet.size <= LONGEST_NOTHING and VOP not in data)
        if not self._packed:  # FFmpeg then drops the second picture of the packet before, so that a frame is missing
            return nothing and (before is None or bytes(before).count(VOP) < 2)
        comes = self._kept or not nothing
        self._keep(data)
        return not comes

    def _is_nothing(self, data: bytes) -> bool:
        start = data.find(VOP)
        if len(data) > LONGEST_NOTHING or start < 0 or self._time_bits is None:
            return False
        bits = Bits(data[start + len(VOP) :])
        try:
            bits.read(2)
            while bits.read(1):  # seconds
                pass
            bits.read(1 + self._time_bits + 1)
            return not bits.read(1)
        except EOFError:
            return False

    def _keep(self, data: bytes) -> None:
        """Note, as FFmpeg does, if a picture stays: the second one, or the first if an older one is decoded now."""
        start = data.find(VOP)
        if not self._kept and start >= 0:
            start = data.find(VOP, start + len(VOP))
        following = data[start + len(VOP) : start + len(VOP) + 1] if start >= 0 else b""
        self._kept = len(data) > 7 and following != b"" and not following[0] & REFERRED_TO


def _time_bits(header: bytes) -> int | None:
    """Number of bits of a picture's time within its second, from the stream header; None if there is no header."""
    found = VOL.search(header)
    if found is None:
        return None
    bits = Bits(header[found.end() : found.end() + 32])
    try:
        bits.read(9)
        version = bits.read(7) >> 3 if bits.read(1) else 1
        if bits.read(4) == 15:  # explicit pixel aspect ratio
            bits.read(16)
        if bits.read(1):
            bits.read(3)
            if bits.read(1):  # buffer parameters
                bits.read(79)
        if bits.read(2) == 3 and version != 1:
            bits.read(4)
        bits.read(1)
        return max(1, (bits.read(16) - 1).bit_length())
    except EOFError:
        return None
