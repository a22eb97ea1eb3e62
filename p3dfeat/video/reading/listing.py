"""The list of a video stream's packets. They are read once, and not decoded."""

from array import array
from itertools import islice

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


class Listing:
    """Lists the packets of a stream while they are read, with 44 bytes per packet."""

    def __init__(self, container: InputContainer, stream: VideoStream, findings: Findings, *, most_bytes: int):
        """most_bytes: more bytes of packets than this are damage."""
        self._container, self._findings, self._most_bytes = container, findings, most_bytes
        self._unread = demuxed(container, stream)
        self._read_bytes = 0
        self.presented, self.decoded, self.durations, self.positions = array("q"), array("q"), array("q"), array("q")
        self.sizes, self.keys, self.shown = array("q"), bytearray(), bytearray()
        self.broken, self.cut_away = bytearray(), bytearray()
        self.second = array("q")
        self.held_until = NO_TIME
        self._hides, self._fields = hidden_packets(stream), fields_of(stream)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, most: int | None = None) -> Packets:
        """Read up to ``most`` further packets, or all. Returns all packets that were read so far. Raises VideoError."""
        try:
            for packet in islice(self._unread, most):
                tick()
                if packet.size == 0:  # the end, or a packet without any change
                    self._hold(packet)
                    continue
                self._read_bytes += packet.size
                if self._read_bytes > self._most_bytes:
                    so_far = counted(len(self), "frame")
                    raise VideoError(f"damaged: lists the same bytes over and over, as {so_far} so far")
                self._add(packet)
        except av.FFmpegError as error:
            said = f"unreadable after {counted(len(self), 'frame')} ({reason(error)})"
            size = self._container.size
            behind = size - (self.positions[-1] + self.sizes[-1]) if len(self) else size
            if not len(self) or behind > max(self.sizes):
                self._findings.failed(VideoError(said))
            self._findings.remark(said)  # the rest of the file is too small for another frame
        return self._packets()

    def _add(self, packet: "Packet[VideoStream]") -> None:
        hidden = self._hides is not None and self._hides(packet)
        if hidden:
            self._hold(packet)
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

    def _hold(self, packet: "Packet[VideoStream]") -> None:
        """Note a packet during which the frame before it stays visible."""
        if packet.pts is not None and not packet.is_discard:
            self.held_until = max(self.held_until, packet.pts + (packet.duration or 0))

    def _packets(self) -> Packets:
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
