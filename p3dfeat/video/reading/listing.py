"""The list of a video stream's packets. They are read once, and not decoded."""

from array import array

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from p3dfeat.errors import VideoError
from p3dfeat.text.counts import counted
from p3dfeat.video.bitstreams.h264_fields import fields_of
from p3dfeat.video.bitstreams.hidden_frames import hidden_packets
from p3dfeat.video.findings import Findings
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.packets import NO_TIME, Packets
from p3dfeat.video.reading.opening import demuxed, reason


class _Listing:
    """The packets read so far, with 44 bytes per packet."""

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
        """Note a packet during which the frame before it stays visible."""
        if packet.pts is not None and not packet.is_discard:
            self.held_until = max(self.held_until, packet.pts + (packet.duration or 0))

    def packets(self) -> Packets:
        if self._fields is not None and self.second:
            # In a recording that was cut, the first and the last field may lack their pair. They are not shown.
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
    """The position of a packet in the file, in bytes; -1 if FFmpeg does not know."""
    return -1 if packet.pos is None else packet.pos


def list_packets(container: InputContainer, stream: VideoStream, findings: Findings, *, most_bytes: int) -> Packets:
    """Read all packets of a stream. Raises VideoError if they hold more than ``most_bytes``."""
    read_bytes = 0
    listing = _Listing(stream)
    try:
        for packet in demuxed(container, stream):
            tick()
            if packet.size == 0:  # the end, or a packet without any change
                listing.hold(packet)
                continue
            read_bytes += packet.size
            if read_bytes > most_bytes:
                so_far = counted(len(listing), "frame")
                raise VideoError(f"damaged: lists the same bytes over and over, as {so_far} so far")
            listing.add(packet)
    except av.FFmpegError as error:
        said = f"unreadable after {counted(len(listing), 'frame')} ({reason(error)})"
        behind = container.size - (listing.positions[-1] + listing.sizes[-1]) if len(listing) else container.size
        if not len(listing) or behind > max(listing.sizes):
            findings.failed(VideoError(said))
        findings.remark(said)  # the rest of the file is too small for another frame
    return listing.packets()
