"""Packets that are decoded and show nothing: later frames refer to them, or what is shown stays as it is."""

import re
from collections.abc import Callable
from typing import Final

from av.packet import Packet
from av.video.stream import VideoStream

from p3dfeat.video.bits import Bits

Hides = Callable[["Packet[VideoStream]"], bool]  # of packets in the order of the file: whether no frame comes of this

VP8_SHOWN: Final = 0x10  # of a frame's first byte
VOL: Final = re.compile(rb"\x00\x00\x01[\x20-\x2f]")  # of MPEG-4: begins a header of the stream
VOP: Final = b"\x00\x00\x01\xb6"  # begins a picture
REFERRED_TO: Final = 0x40  # of the byte behind, in pictures that are neither whole ones nor between two others
PACKED: Final = re.compile(rb"\x00\x00\x01\xb2DivX\d+(?:Build|b)\d+p")
LONGEST_NOTHING: Final = 19  # bytes of a packet that may say that nothing changes; FFmpeg goes by the same


def hidden_packets(stream: VideoStream) -> Hides | None:
    """What tells packets that show nothing from frames; None for codings in which each packet is a frame."""
    context = stream.codec_context
    coding = context.codec.canonical_name
    if coding == "vp8":
        return _is_hidden_vp8
    return Pictures(context.extradata or b"").hides if coding == "mpeg4" else None


def _is_hidden_vp8(packet: "Packet[VideoStream]") -> bool:
    return not memoryview(packet)[0] & VP8_SHOWN


class Pictures:
    """MPEG-4's pictures, of which a packet may hold two, and those that are "not coded": nothing changes.

    Where the header says "packed", as DivX and Xvid write AVI, a picture that is shown before the one it is packed with
    comes of the next packet, which then holds nothing itself.
    """

    def __init__(self, header: bytes):
        self._time_bits = _time_bits(header)
        self._packed = PACKED.search(header) is not None
        self._kept = False  # whether the second picture of a packet is still to come
        self._before: Packet[VideoStream] | None = None

    def hides(self, packet: "Packet[VideoStream]") -> bool:
        """Whether no frame comes of a packet."""
        before, self._before = self._before, packet
        if packet.size > LONGEST_NOTHING and not packet.is_keyframe and not self._packed:
            return False
        data = bytes(packet)
        if self._time_bits is None or packet.is_keyframe:
            self._time_bits = _time_bits(data) or self._time_bits
            self._packed = self._packed or PACKED.search(data) is not None
        nothing = self._is_nothing(data)
        if not self._packed:  # after two in one, of which FFmpeg then leaves out the second, a frame is missing
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
        """As FFmpeg does: what follows the picture that is decoded now, or all of it where that is an older one."""
        start = data.find(VOP)
        if not self._kept and start >= 0:
            start = data.find(VOP, start + len(VOP))
        following = data[start + len(VOP) : start + len(VOP) + 1] if start >= 0 else b""
        self._kept = len(data) > 7 and following != b"" and not following[0] & REFERRED_TO


def _time_bits(header: bytes) -> int | None:
    """How many bits a picture's time takes, within its second, by the header of its stream."""
    found = VOL.search(header)
    if found is None:
        return None
    bits = Bits(header[found.end() : found.end() + 32])
    try:
        bits.read(9)
        version = bits.read(7) >> 3 if bits.read(1) else 1
        if bits.read(4) == 15:  # the shape of pixels in numbers
            bits.read(16)
        if bits.read(1):
            bits.read(3)
            if bits.read(1):  # on buffers
                bits.read(79)
        if bits.read(2) == 3 and version != 1:
            bits.read(4)
        bits.read(1)
        return max(1, (bits.read(16) - 1).bit_length())
    except EOFError:
        return None
