"""Decoding exactly the frames asked for, each at most once, seeking only where that saves decoding.

Each packet goes to the decoder with its number in place of its time, which the decoder hands on: so a frame says of
which packet it comes, whatever the file's times are.
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

# Decoding on to a frame at most this far ahead is cheaper than a seek, which empties the decoder's pipeline.
SEEK_GAIN: Final = 12
MOST_SEEKS: Final = 3  # tried for one frame, to earlier and earlier keyframes, before seeking is given up
INTRA: Final = (PictureType.NONE, PictureType.I)  # the former of codings whose decoders do not say
MOST_AHEAD: Final = 17  # packets that a decoder may take in before it shows the first: H.264's 16, and one
# Whose decoders can be told to leave out frames that no other frame refers to, and do so exactly. HEVC's are not among
# them: in layers of different frame rates, FFmpeg leaves out what the faster ones refer to.
CODECS_LEAVING_OUT: Final = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})


class DoubtError(Exception):
    """What comes is not what the index says: the frames must be listed by decoding them all, and read in one pass."""


class Reader:
    """What every way of reading the frames of a video just opened has in common: a decoder, and an ear for it.

    decoded: how many frames the decoder has delivered so far, wanted or not.
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
        """threads: of the decoder; 0: one per core. by_frame: whether each may take a frame of its own.

        listens: whether what the decoder complains of matters.
        """
        self._container, self._stream, self._index, self._findings = container, stream, index, findings
        self._context = stream.codec_context
        stream.thread_type, self._context.thread_count = "AUTO" if by_frame else "SLICE", threads
        self._complaints = Complaints()
        self._voices = {self._context.codec.name, self._context.codec.canonical_name} if listens else set()
        self._said = ""  # what the decoder complained of first
        self.decoded = 0

    def close(self) -> None:
        """Let go of the decoder's memory."""
        # FFmpeg's threads may have something to say, for which they need Python: not while it waits for them to end.
        self._context.flush_buffers()
        self._complaints.close()

    def _is_given(self, place: int) -> bool:
        """Whether the decoder gets this packet."""
        return place >= self._index.first and place not in self._index.left_out

    def _decode(self, packet: "Packet[VideoStream] | None", place: int = 0) -> list[VideoFrame]:
        """What comes of a packet; of None, what the decoder still has. A frame's time is its packet's place."""
        if packet is not None:
            packet.pts, packet.dts = place, None
        try:
            with self._complaints.listening():
                frames = self._stream.decode(packet)
        finally:
            self._hear()
        if packet is None:  # some decoders end with the last frame once more where it is said to stay
            frames = [frame for frame in frames if self._index.packets.shown[frame.pts or 0]]
        self.decoded += len(frames)
        return frames

    def _hear(self) -> bool:
        """Remark what the decoder complains of, the first time; whether it does."""
        said = self._complaints.worst(self._voices)
        if said and not self._said:
            self._said = said
            self._findings.remark(f"near frame {self.decoded}: {said}")
        return said is not None


class FrameReader(Reader):
    """Reads the ``wanted`` frames, whose numbers rise strictly, of a video just opened; goes through it once.

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
        # In threads that take a frame each, FFmpeg loses sight of halves, and calls whole frames corrupt now and then.
        by_frame = not index.packets.has_fields
        super().__init__(
            container, stream, index, findings or Findings(), threads=threads, by_frame=by_frame, listens=listens
        )
        self._wanted = wanted
        self._next = 0  # number of the frame that is to come next
        self._seeks, self._sought = True, False
        self._leaves_out = (
            self._context.codec.canonical_name in CODECS_LEAVING_OUT
            and index.numbers is not None
            and len(wanted) < len(index)
        )
        # Where frames are counted: the packets of which one comes.
        shown = np.flatnonzero(index.packets.shown)
        self._shown_places = shown[(shown >= index.first) & ~np.isin(shown, list(index.left_out))]
        self._packets = self._listed_packets(0)
        self._frames = self._numbered()

    def close(self) -> None:
        """Let go of the decoder's memory: a generator that holds its reader would wait for Python's collector."""
        self._frames = iter(())
        super().close()

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        keyframes = self._index.keyframes[np.searchsorted(self._index.keyframes, self._wanted, side="right") - 1]
        for number, keyframe in zip(self._wanted.tolist(), keyframes.tolist(), strict=True):
            if self._seeks and keyframe > self._next + SEEK_GAIN:
                self._seek(keyframe)
            yield number, self._advance_to(number)

    def finish(self) -> None:
        """Hear what the decoder's threads have said since; where the last frame was read, see that no more come."""
        if self._next == len(self._index) and next(self._frames, None) is not None:
            raise DoubtError("more frames come than are listed")
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
        """Go where decoding reaches ``keyframe``; to an earlier one where the container overshoots."""
        assert self._index.timestamps is not None
        if not (self._sought or self.decoded):
            self._introduce()
        self._sought = True
        before, listed = self._next, self._index.keyframes
        candidates = listed[(listed > before) & (listed <= keyframe)][::-1]
        for candidate in candidates[:MOST_SEEKS]:
            begin = self._go_to(int(self._index.timestamps[candidate]))
            if begin is not None and begin <= keyframe:
                self._seeks = begin >= before  # if not, seeking here costs more than it saves
                return
        # Below every timestamp: containers that index by decoding time start before the first frame shown.
        if self._go_to(min(0, int(self._index.timestamps[0]))) != 0:
            raise DoubtError("no seek leads to the beginning")
        self._seeks = False

    def _introduce(self) -> None:
        """Let the decoder see the first packet, which may be all that says by whom, and how, a stream was encoded."""
        for place, packet in filter(lambda found: self._is_given(found[0]), self._packets):
            self._decode(packet, place)
            break

    def _go_to(self, timestamp: int) -> int | None:
        """Seek to the keyframe at or before ``timestamp``, and begin there; its number, or None where none comes.

        A packet is known by its place in the file and its size, not by its time, which may be another after a seek.
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
                    raise DoubtError("after a seek comes a packet that was not listed")
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
        """Packets with their numbers, from ``begin`` on, each of which must be what was listed there."""
        packets = self._index.packets
        found = (packet for packet in demuxed(self._container, self._stream) if packet.size)
        for place, packet in zip(range(begin, len(packets)), found, strict=False):  # what is behind was not listed
            tick()
            if packets.positions[place] != position(packet) or packets.sizes[place] != packet.size:
                raise DoubtError("a packet comes that was not listed")
            yield place, packet

    def _numbered(self, begin: int | None = None) -> Iterator[tuple[int, VideoFrame]]:
        """Number and frame of all that is decoded from here on, in the order shown, each where it is expected.

        begin: the number of the keyframe with which decoding begins, after a seek.
        """
        has_begun = begin is None
        try:
            for frame in self._decoded(begin):
                number = self._number(frame)
                # Of two fields, the second may refer to the first.
                is_intra = frame.key_frame and (self._index.packets.has_fields or frame.pict_type in INTRA)
                if not has_begun and not (number == begin and is_intra):
                    raise DoubtError("after a seek comes a frame that is no keyframe")
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
        """Number of a decoded frame; where frames are counted, the next one's, unless a packet gave none."""
        place = frame.pts
        if place is None:
            raise DoubtError("a frame comes of no packet")
        if self._index.numbers is not None:
            return int(self._index.numbers[place])
        shown = self._shown_places
        if not self._index.packets.shown[place] or self._next >= len(shown):
            return -1
        return self._next if place <= shown[min(self._next + MOST_AHEAD, len(shown) - 1)] else -1

    def _none_wanted(self, first: int, end: int) -> bool:
        """Whether no frame is wanted from number ``first`` up to ``end``, which is later."""
        return first < end and bool(np.searchsorted(self._wanted, first) == np.searchsorted(self._wanted, end))

    def _decoded(self, begin: int | None) -> Iterator[VideoFrame]:
        """All frames from here on, less those that are neither wanted nor needed to decode others."""
        index = self._index
        for place, packet in self._packets:
            if not self._is_given(place):
                continue
            if index.numbers is not None:
                number = index.numbers[place]
                if begin is not None and 0 <= number < begin:  # it may refer to what was not read
                    continue
                if self._leaves_out:
                    unwanted = number >= 0 and self._none_wanted(number, number + 1)
                    self._context.skip_frame = "NONREF" if unwanted else "DEFAULT"
            yield from self._decode(packet, place)
        yield from self._decode(None)

    def _hear(self) -> bool:
        """A complaint may come of a seek, and where one is strict, all near it is to be left out."""
        complains = super()._hear()
        if complains and (self._sought or (self._findings.strict and self._findings.partial)):
            raise DoubtError(self._said)
        return complains
