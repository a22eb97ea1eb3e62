"""Decoding of exactly the wanted frames, each at most once. A seek is used only if it saves decoding.

Each packet gets its number as its time before decoding. The decoder copies it to the frame, so each frame has the
number of its packet, even if the file's times are wrong.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

import av
import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from p3dfeat.types import Int64Array
from p3dfeat.video.findings import Findings
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.reading.ffmpeg_log import Complaints
from p3dfeat.video.reading.index import VideoIndex
from p3dfeat.video.reading.listing import position
from p3dfeat.video.reading.opening import demuxed, pass_on

# Up to this many frames ahead, decoding is cheaper than a seek, which empties the decoder's pipeline.
SEEK_GAIN: Final = 12
MOST_SEEKS: Final = 3  # attempts per frame, each to an earlier keyframe, before seeking is given up
INTRA: Final = (PictureType.NONE, PictureType.I)  # NONE: from decoders that do not report a type
MOST_AHEAD: Final = 17  # packets that a decoder may take before it shows the first: 16 in H.264, plus one
# Codecs whose decoders can exactly skip frames that no other frame refers to. HEVC is not one of them: with layers of
# different frame rates, FFmpeg skips frames that the faster layers refer to.
CODECS_LEAVING_OUT: Final = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})


class DoubtError(Exception):
    """The decoded frames differ from the index: they must be listed by decoding all, and read in one pass."""


class Reader:
    """The base class of readers of a newly opened video. It runs the decoder and collects its messages.

    decoded: number of frames that the decoder has delivered so far, wanted or not.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        index: VideoIndex,
        findings: Findings,
        *,
        threads: int,
        by_frame: bool,
        listens: bool = True,
    ):
        """threads: number of decoder threads; 0: one per core. by_frame: whether each thread may decode its own frame.

        listens: whether the decoder's messages count.
        """
        self._container, self._stream, self._index, self._findings = container, stream, index, findings
        self._context = stream.codec_context
        stream.thread_type, self._context.thread_count = "AUTO" if by_frame else "SLICE", threads
        self._complaints = Complaints()
        self._voices = {self._context.codec.name, self._context.codec.canonical_name} if listens else set()
        self._said = ""  # the decoder's first error message
        self.decoded = 0

    def close(self) -> None:
        """Free the decoder's memory."""
        # FFmpeg's threads may log messages, which needs Python. Flush first: Python must not wait for them meanwhile.
        self._context.flush_buffers()
        self._complaints.close()

    def _is_given(self, place: int) -> bool:
        """Whether the decoder gets this packet."""
        return place >= self._index.first and place not in self._index.left_out

    def _decode(self, packet: "Packet[VideoStream] | None", place: int = 0) -> list[VideoFrame]:
        """The frames of a packet; for None, the decoder's remaining frames. A frame's time is its packet's number."""
        if packet is not None:
            packet.pts, packet.dts = place, None
        try:
            with self._complaints.listening():
                frames = self._stream.decode(packet)
        finally:
            self._hear()
        if packet is None:  # some decoders repeat the last frame at the end if a packet says that nothing changes
            frames = [frame for frame in frames if self._index.packets.shown[frame.pts or 0]]
        self.decoded += len(frames)
        return frames

    def _hear(self) -> bool:
        """Whether the decoder has reported an error. The first one becomes a remark."""
        said = self._complaints.worst(self._voices)
        if said and not self._said:
            self._said = said
            self._findings.remark(f"near frame {self.decoded}: {said}")
        return said is not None


class FrameReader(Reader):
    """Reads the ``wanted`` frames of a newly opened video in one pass. Their numbers must be strictly ascending.

    Iterating yields (number, frame) and raises DoubtError.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        index: VideoIndex,
        wanted: Int64Array,
        findings: Findings | None = None,
        *,
        threads: int = 0,
        listens: bool = True,
    ):
        # With one frame per thread, FFmpeg handles fields wrongly and sometimes marks good frames as corrupt.
        by_frame = not index.packets.has_fields
        super().__init__(
            container, stream, index, findings or Findings(), threads=threads, by_frame=by_frame, listens=listens
        )
        self._wanted = wanted
        self._next = 0  # number of the frame expected next
        self._seeks, self._sought = True, False
        self._leaves_out = (
            self._context.codec.canonical_name in CODECS_LEAVING_OUT
            and index.numbers is not None
            and len(wanted) < len(index)
        )
        # Used if frames are counted: the packets that give a frame.
        shown = np.flatnonzero(index.packets.shown)
        self._shown_places = shown[(shown >= index.first) & ~np.isin(shown, list(index.left_out))]
        self._packets = self._listed_packets(0)
        self._frames = self._numbered()

    def close(self) -> None:
        """Free the decoder's memory. The generator refers to its reader, so it would wait for Python's collector."""
        self._frames = iter(())
        super().close()

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        keyframes = self._index.keyframes[np.searchsorted(self._index.keyframes, self._wanted, side="right") - 1]
        for number, keyframe in zip(self._wanted.tolist(), keyframes.tolist(), strict=True):
            if self._seeks and keyframe > self._next + SEEK_GAIN:
                self._seek(keyframe)
            yield number, self._advance_to(number)

    def finish(self) -> None:
        """Take the last messages of the decoder's threads. If the last frame was read, check that no more come."""
        if self._next == len(self._index) and next(self._frames, None) is not None:
            raise DoubtError("more frames appear than are listed")
        self._context.flush_buffers()
        self._hear()

    def _advance_to(self, wanted: int) -> VideoFrame:
        for number, frame in self._frames:
            if number == wanted:
                return frame
            if number > wanted:
                break
        raise DoubtError(f"frame {wanted} does not come")

    def _seek(self, keyframe: int) -> None:
        """Seek to ``keyframe``, or to an earlier keyframe if the container seeks too far."""
        assert self._index.timestamps is not None
        if not (self._sought or self.decoded):
            self._introduce()
        self._sought = True
        before, listed = self._next, self._index.keyframes
        candidates = listed[(listed > before) & (listed <= keyframe)][::-1]
        for candidate in candidates[:MOST_SEEKS]:
            begin = self._go_to(int(self._index.timestamps[candidate]))
            if begin is not None and begin <= keyframe:
                self._seeks = begin >= before  # otherwise, seeking in this file costs more than it saves
                return
        # Seek before every timestamp: containers indexed by decoding time start before the first displayed frame.
        if self._go_to(min(0, int(self._index.timestamps[0]))) != 0:
            raise DoubtError("no seek leads to the beginning")
        self._seeks = False

    def _introduce(self) -> None:
        """Decode the first packet, which may be the only one with the encoder's name and settings."""
        for place, packet in filter(lambda found: self._is_given(found[0]), self._packets):
            self._decode(packet, place)
            break

    def _go_to(self, timestamp: int) -> int | None:
        """Seek to the keyframe at or before ``timestamp``. Returns its number, or None if no keyframe is found.

        A packet is identified by its position in the file and its size, since its time may differ after a seek.
        """
        packets, numbers = self._index.packets, self._index.numbers
        assert numbers is not None
        try:
            self._container.seek(timestamp, stream=self._stream)
            for packet in demuxed(self._container, self._stream):
                tick()
                if not packet.is_keyframe or not packet.size:
                    continue
                places = np.flatnonzero((packets.positions == position(packet)) & (packets.sizes == packet.size))
                if len(places) > 1:
                    places = places[packets.decoded[places] == packet.dts]
                if len(places) != 1:
                    raise DoubtError("after a seek, a packet appears that was not listed")
                place = int(places[0])
                if packets.keys[place] and numbers[place] >= 0 and place >= self._index.first:
                    self._next = int(numbers[place])
                    self._packets = chain([(place, packet)], self._listed_packets(place + 1))
                    self._frames = self._numbered(begin=self._next)
                    return self._next
        except av.FFmpegError as error:
            pass_on(error)
        return None

    def _listed_packets(self, begin: int) -> Iterator[tuple[int, "Packet[VideoStream]"]]:
        """Packets with their numbers, from ``begin`` on. Raises DoubtError if one differs from the list."""
        packets = self._index.packets
        found = (packet for packet in demuxed(self._container, self._stream) if packet.size)
        for place, packet in zip(range(begin, len(packets)), found, strict=False):  # later packets were not listed
            tick()
            if packets.positions[place] != position(packet) or packets.sizes[place] != packet.size:
                raise DoubtError("a packet appears that was not listed")
            if self._index.from_header and packets.presented[place] != packet.pts:
                raise DoubtError("a packet has another time than the header lists")
            yield place, packet

    def _numbered(self, begin: int | None = None) -> Iterator[tuple[int, VideoFrame]]:
        """(number, frame) of all frames from here on, in display order. Raises DoubtError for an unexpected frame.

        begin: after a seek, the number of the keyframe at which decoding begins.
        """
        has_begun = begin is None
        try:
            for frame in self._decoded(begin):
                number = self._number(frame)
                # A second field may refer to its first field.
                is_intra = frame.key_frame and (self._index.packets.has_fields or frame.pict_type in INTRA)
                if not has_begun and not (number == begin and is_intra):
                    raise DoubtError("after a seek, the first frame is not a keyframe")
                has_begun = True
                if number != self._next and not (self._leaves_out and self._none_wanted(self._next, number)):
                    raise DoubtError(f"frame {number} comes where {self._next} is expected")
                if frame.is_corrupt:
                    raise DoubtError(f"frame {number} is marked as corrupt")
                self._next = number + 1
                yield number, frame
        except av.FFmpegError as error:
            pass_on(error)
            raise DoubtError(f"frame {self._next} or one near it does not decode") from None

    def _number(self, frame: VideoFrame) -> int:
        """Number of a decoded frame. If frames are counted, it is the next number; -1 for an unexpected frame."""
        place = frame.pts
        if place is None:
            raise DoubtError("a frame belongs to no packet")
        if self._index.numbers is not None:
            return int(self._index.numbers[place])
        shown = self._shown_places
        if not self._index.packets.shown[place] or self._next >= len(shown):
            return -1
        return self._next if place <= shown[min(self._next + MOST_AHEAD, len(shown) - 1)] else -1

    def _none_wanted(self, first: int, end: int) -> bool:
        """Whether no frame is wanted from number ``first`` to before ``end``; False unless ``first`` < ``end``."""
        return first < end and bool(np.searchsorted(self._wanted, first) == np.searchsorted(self._wanted, end))

    def _decoded(self, begin: int | None) -> Iterator[VideoFrame]:
        """All frames from here on, except those that are neither wanted nor needed to decode others."""
        index = self._index
        for place, packet in self._packets:
            if not self._is_given(place):
                continue
            if index.numbers is not None:
                number = index.numbers[place]
                if begin is not None and 0 <= number < begin:  # it may refer to frames that were not read
                    continue
                if self._leaves_out:
                    unwanted = number >= 0 and self._none_wanted(number, number + 1)
                    self._context.skip_frame = "NONREF" if unwanted else "DEFAULT"
            yield from self._decode(packet, place)
        yield from self._decode(None)

    def _hear(self) -> bool:
        """Raise DoubtError for an error after a seek, which may be its cause, and for any error if strict and partial.

        In the second case, all frames near the error must be left out.
        """
        complains = super()._hear()
        if complains and (self._sought or (self._findings.strict and self._findings.partial)):
            raise DoubtError(self._said)
        return complains
