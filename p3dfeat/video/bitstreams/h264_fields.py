"""Fields of H.264: interlaced broadcasts and camcorders store the two fields of a frame in two packets."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from av.packet import Packet
from av.video.stream import VideoStream

from p3dfeat.video.bitstreams.bit_reader import Bits

PICTURES: Final = frozenset({1, 2, 5})  # types of NAL units that begin or continue a picture
SEQUENCE: Final = 7
PARAMETERS: Final = 8
LONGEST_HEADER: Final = 24  # bytes of a slice, enough for all fields that are read
LONGEST_SEQUENCE: Final = 1024  # bytes of a sequence parameter set
START: Final = b"\x00\x00\x01"
WITH_CHROMA: Final = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})  # with more parameters


@dataclass(frozen=True)
class _Sequence:
    """The parameters of a sequence that are needed to read its slice headers."""

    has_fields: bool
    number_bits: int  # bits of a frame's number
    separate_planes: bool


@dataclass(frozen=True)
class _Field:
    frame: int  # number of its frame
    bottom: bool


@dataclass
class Fields:
    """Detects packets that hold the second field of a frame. It must get all packets in the file's order."""

    length_bytes: int  # of the length before each unit; 0: each unit begins with a start code
    sequences: dict[int, _Sequence] = field(default_factory=dict)
    parameters: dict[int, int] = field(default_factory=dict)  # picture parameter set -> its sequence
    _first: _Field | None = None  # a first field that still lacks its second
    _alone: list[int] = field(default_factory=list)
    _told: int = 0

    def is_second(self, packet: "Packet[VideoStream]") -> bool:
        """Whether a packet's field belongs to the frame of the packet before, by FFmpeg's rule."""
        found = self._field(bytes(packet))
        second = (
            found is not None
            and self._first is not None
            and (found.frame, found.bottom) == (self._first.frame, not self._first.bottom)
        )
        if self._first is not None and not second:
            self._alone.append(self._told - 1)
        self._first = None if second else found
        self._told += 1
        return second

    def alone(self) -> list[int]:
        """Indexes of the packets with a first field that no second field followed."""
        return [*self._alone, self._told - 1] if self._first is not None else self._alone

    def learn(self, unit: bytes) -> None:
        """Store the parameters in a NAL unit, if it is a parameter set."""
        try:
            if unit[0] & 31 == SEQUENCE:
                number, sequence = _read_sequence(Bits(_unescaped(unit[1:LONGEST_SEQUENCE])))
                self.sequences[number] = sequence
            elif unit[0] & 31 == PARAMETERS:
                bits = Bits(_unescaped(unit[1:LONGEST_HEADER]))
                number = bits.golomb()
                self.parameters[number] = bits.golomb()
        except (EOFError, IndexError):
            pass

    def _field(self, data: bytes) -> _Field | None:
        """The field in a packet; None if the packet holds a whole frame, including a frame of two fields."""
        found: _Field | None = None
        for begin, end in listed_units(data, self.length_bytes) if self.length_bytes else marked_units(data):
            kind = data[begin] & 31
            if kind in PICTURES:
                now = self._field_of(data[begin + 1 : min(end, begin + LONGEST_HEADER)])
                if now is None or (found is not None and now.bottom != found.bottom):
                    return None
                found = now
            elif kind in (SEQUENCE, PARAMETERS):
                self.learn(data[begin:end])
        return found

    def _field_of(self, header: bytes) -> _Field | None:
        """The field of a slice; None if the slice belongs to a frame or is not valid."""
        bits = Bits(_unescaped(header))
        try:
            bits.golomb()
            bits.golomb()
            sequence = self.sequences.get(self.parameters.get(bits.golomb(), 0))
            if sequence is None or not sequence.has_fields:
                return None
            if sequence.separate_planes:
                bits.read(2)
            frame = bits.read(sequence.number_bits)
            return _Field(frame, bool(bits.read(1))) if bits.read(1) else None
        except EOFError:
            return None


def fields_of(stream: VideoStream) -> Fields | None:
    """The detector of second fields of an H.264 stream; None if the stream's header excludes fields."""
    context = stream.codec_context
    header = context.extradata or b""
    if context.codec.canonical_name != "h264" or len(header) < 8:
        return None
    if header[0] == 1:  # the form used in MP4 and Matroska
        fields = Fields(1 + (header[4] & 3))
        units = _header_units(header)
    else:
        fields = Fields(0)
        units = [header[begin:end] for begin, end in marked_units(header)]
    for unit in units:
        fields.learn(unit)
    return fields if any(sequence.has_fields for sequence in fields.sequences.values()) else None


def listed_units(data: bytes, length_bytes: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of the NAL units in data with a length before each unit."""
    place = length_bytes
    while place < len(data):
        end = place + int.from_bytes(data[place - length_bytes : place])
        if end > place:
            yield place, min(end, len(data))
        place = end + length_bytes


def marked_units(data: bytes) -> Iterator[tuple[int, int]]:
    """(begin, end) of the NAL units in data with start codes between the units."""
    begin = data.find(START)
    while begin >= 0:
        begin += len(START)
        following = data.find(START, begin)
        if begin < len(data):
            yield begin, len(data) if following < 0 else following
        begin = following


def _header_units(header: bytes) -> list[bytes]:
    """The NAL units in the header of an MP4 or Matroska: sequence parameters, then picture parameters."""
    units, place = [], 5
    for mask in (31, 255):
        count = header[place] & mask if place < len(header) else 0
        place += 1
        for _ in range(count):
            end = place + 2 + int.from_bytes(header[place : place + 2])
            units.append(header[place + 2 : end])
            place = end
    return units


def _unescaped(data: bytes) -> bytes:
    """A unit without the escape bytes, which prevent start codes inside a unit."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")


def _read_sequence(bits: Bits) -> tuple[int, _Sequence]:
    profile = bits.read(8)
    bits.read(16)
    number, separate = bits.golomb(), False
    if profile in WITH_CHROMA:
        chroma = bits.golomb()
        separate = chroma == 3 and bool(bits.read(1))
        bits.golomb()
        bits.golomb()
        bits.read(1)
        if bits.read(1):
            _pass_scaling_lists(bits, 12 if chroma == 3 else 8)
    number_bits = bits.golomb() + 4
    _pass_order(bits)
    bits.golomb()  # number of reference frames, then whether gaps are allowed
    bits.read(1)
    bits.golomb()  # width and height
    bits.golomb()
    return number, _Sequence(not bits.read(1), number_bits, separate)


def _pass_order(bits: Bits) -> None:
    """Skip the parameters of the display order."""
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()


def _pass_scaling_lists(bits: Bits, count: int) -> None:
    for place in range(count):
        if not bits.read(1):
            continue
        last = following = 8
        for _ in range(16 if place < 6 else 64):
            if following:
                following = (last + bits.signed_golomb()) % 256
            last = following or last
