"""The packets of a video stream, listed by reading them once; nothing is decoded."""

from array import array
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from p3dfeat.errors import VideoError
from p3dfeat.types import Int64Array
from p3dfeat.video.bitstreams.fields import fields_of
from p3dfeat.video.bitstreams.hidden import hidden_packets
from p3dfeat.video.findings import Findings
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.reading.trust import reason

NO_TIME: Final = -(2**63)  # FFmpeg's AV_NOPTS_VALUE


@dataclass(frozen=True)
class Packets:
    """What the P packets of a stream say, in the file's order: (P,) each; times in ticks, NO_TIME where there is none.

    shown: whether a frame begins with this packet and is shown: it is not cut away by an edit list, not hidden, and
    not the second field of a frame.
    held_until: when what shows nothing ends, and with it what was shown before; NO_TIME where there is nothing.
    """

    presented: Int64Array
    decoded: Int64Array
    durations: Int64Array
    positions: Int64Array  # in the file, in bytes; -1 where FFmpeg does not tell
    sizes: Int64Array  # in bytes
    keys: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    broken: NDArray[np.bool_]  # incomplete, or with an error in transport
    cut_away: NDArray[np.bool_]  # by an edit list
    second: Int64Array  # numbers of the packets that hold the second field of a frame
    held_until: int

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def none(cls) -> "Packets":
        """Of a video that is no file."""
        nothing, never = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        return cls(
            presented=nothing,
            decoded=nothing,
            durations=nothing,
            positions=nothing,
            sizes=nothing,
            keys=never,
            shown=never,
            broken=never,
            cut_away=never,
            second=nothing,
            held_until=NO_TIME,
        )

    @property
    def has_fields(self) -> bool:
        """Whether some frames are of two packets."""
        return len(self.second) > 0

    @property
    def first(self) -> int:
        """The first keyframe, before which a recording that was cut anywhere refers to what is lost; else 0."""
        keys = np.flatnonzero(self.keys)
        return int(keys[0]) if len(keys) else 0

    @property
    def parts(self) -> Int64Array:
        """(P,) rising by one wherever the decoding clock goes back, as where recordings were joined."""
        known = np.flatnonzero(self.decoded != NO_TIME)
        parts = np.zeros(len(self), np.int64)
        parts[known[1:]] = np.diff(self.decoded[known]) < 0
        return np.asarray(np.cumsum(parts))

    @property
    def longest_gap(self) -> int:
        """Ticks for which nothing is decoded, at most, by what each packet says of how long it lasts."""
        known = np.flatnonzero(self.decoded != NO_TIME)
        gaps = np.diff(self.decoded[known]) - self.durations[known[:-1]]
        return int(gaps.max(initial=0))

    def leading(self) -> Int64Array:
        """Packets that follow the first keyframe and are shown before it."""
        keys = np.flatnonzero(self.keys)
        if not len(keys) or self.presented[keys[0]] == NO_TIME:
            return np.zeros(0, np.int64)
        # From the second keyframe on, what is shown "before" is another recording, joined on, or damage.
        place = np.arange(keys[0] + 1, keys[1] if len(keys) > 1 else len(self))
        presented = self.presented[place]
        early = self.shown[place] & (presented < self.presented[keys[0]]) & (presented != NO_TIME)
        return np.asarray(place[early], np.int64)


class _Listing:
    """The packets as they are read; 44 bytes each, however long the video."""

    def __init__(self, stream: VideoStream):
        self.presented, self.decoded, self.durations, self.positions = array("q"), array("q"), array("q"), array("q")
        self.sizes, self.keys, self.shown = array("q"), bytearray(), bytearray()
        self.broken, self.cut_away = bytearray(), bytearray()
        self.second = array("q")
        self.held_until = NO_TIME
        self._hides, self._fields = hidden_packets(stream), fields_of(stream)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, packet: "Packet[VideoStream]") -> None:
        hidden = self._hides is not None and self._hides(packet)
        if hidden:
            self.hold(packet)
        is_half = self._fields is not None and self._fields.is_second(packet)
        if is_half:
            self.second.append(len(self))
        self.presented.append(NO_TIME if packet.pts is None else packet.pts)
        self.decoded.append(NO_TIME if packet.dts is None else packet.dts)
        self.durations.append(packet.duration or 0)
        self.positions.append(position(packet))
        self.sizes.append(packet.size)
        self.keys.append(packet.is_keyframe and not is_half)
        self.shown.append(not (packet.is_discard or hidden or is_half))
        self.broken.append(packet.is_corrupt)
        self.cut_away.append(packet.is_discard)

    def hold(self, packet: "Packet[VideoStream]") -> None:
        """Note a packet for whose time what was shown before stays."""
        if packet.pts is not None and not packet.is_discard:
            self.held_until = max(self.held_until, packet.pts + (packet.duration or 0))

    def packets(self) -> Packets:
        if self._fields is not None and self.second:
            # Of a recording cut anywhere the first and the last may lack their other half, and are not shown.
            for place in {0, len(self) - 1}.intersection(self._fields.alone()):
                self.keys[place] = self.shown[place] = False
        return Packets(
            presented=np.array(self.presented, np.int64),
            decoded=np.array(self.decoded, np.int64),
            durations=np.array(self.durations, np.int64),
            positions=np.array(self.positions, np.int64),
            sizes=np.array(self.sizes, np.int64),
            keys=np.array(self.keys, np.bool_),
            shown=np.array(self.shown, np.bool_),
            broken=np.array(self.broken, np.bool_),
            cut_away=np.array(self.cut_away, np.bool_),
            second=np.array(self.second, np.int64),
            held_until=self.held_until,
        )


def position(packet: "Packet[VideoStream]") -> int:
    """Where a packet lies in the file, in bytes; -1 where FFmpeg does not tell."""
    return -1 if packet.pos is None else packet.pos


def list_packets(container: InputContainer, stream: VideoStream, findings: Findings, *, most_bytes: int) -> Packets:
    """Read all packets of a stream. Raises VideoError where they hold more than ``most_bytes``."""
    read_bytes = 0
    listing = _Listing(stream)
    try:
        for packet in container.demux(stream):
            tick()
            if packet.size == 0:  # the end, or that nothing changes
                listing.hold(packet)
                continue
            read_bytes += packet.size
            if read_bytes > most_bytes:
                raise VideoError(f"damaged: lists the same bytes over and over, as {len(listing):,} frames so far")
            listing.add(packet)
    except av.FFmpegError as error:
        findings.failed(VideoError(f"unreadable after {len(listing)} frames ({reason(error)})"))
    return listing.packets()
