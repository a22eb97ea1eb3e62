"""Decoding exactly the frames asked for, each at most once, seeking only where that saves decoding."""

from collections.abc import Iterator
from itertools import chain
from typing import Final

import av
import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from p3dfeat.errors import VideoError
from p3dfeat.types import Int64Array
from p3dfeat.video.complaints import Complaints
from p3dfeat.video.fields import fields_of
from p3dfeat.video.index import NO_TIME, VideoIndex
from p3dfeat.video.limits import tick

# Decoding on to a frame at most this far ahead is cheaper than a seek, which empties the decoder's pipeline.
SEEK_GAIN: Final = 12
# Whose decoders can be told to leave out frames that no other frame refers to, and do so exactly. HEVC's are not among
# them: in layers of different frame rates, FFmpeg leaves out what the faster ones refer to.
CODECS_LEAVING_OUT: Final = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})


class IrregularTimestampsError(Exception):
    """A decoded frame has a timestamp that no packet announced: frames must be counted instead."""


class FrameReader:
    """Reads the ``wanted`` frames, whose numbers rise strictly, of a video just opened; goes through it once.

    Iterating yields (number, frame) and raises VideoError, IrregularTimestampsError.
    decoded: how many frames the decoder has delivered so far, wanted or not.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        index: VideoIndex,
        wanted: Int64Array,
        *,
        threads: int = 0,
        listens: bool = True,
        begin: int = 0,
    ):
        """threads: of the decoder; 0: one a core. listens: whether what it complains of ends the reading.

        begin: a keyframe, no later than the first frame wanted; what is before it is not decoded if it can be helped.
        """
        self._container, self._stream, self._index = container, stream, index
        self._wanted = wanted
        # In threads that take a frame each, FFmpeg loses sight of halves, and calls whole frames corrupt now and then.
        stream.thread_type = "SLICE" if index.has_fields else "AUTO"
        stream.codec_context.thread_count = threads
        self.decoded = 0
        self._next = 0
        self._seeks_forward = True
        self._leaves_out = (
            stream.codec_context.codec.canonical_name in CODECS_LEAVING_OUT
            and index.timestamps is not None
            and len(wanted) < len(index)
        )
        self._complaints = Complaints()
        codec = stream.codec_context.codec
        self._voices = {codec.name, codec.canonical_name} if listens else set()
        self._begin = begin
        self._frames = self._decode(0)

    @property
    def position(self) -> int:
        """Number of the frame that is to be delivered next; what fails, fails there or not much later."""
        return self._next

    def close(self) -> None:
        """Let go of the decoder's memory: a generator that holds its reader would wait for Python's collector."""
        self._frames = iter(())
        # FFmpeg's threads may have something to say, for which they need Python: not while it waits for them to end.
        self._stream.codec_context.flush_buffers()
        self._complaints.close()

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        keyframes = self._index.keyframes[np.searchsorted(self._index.keyframes, self._wanted, side="right") - 1]
        if self._begin:
            self._seek(self._begin)
        for number, keyframe in zip(self._wanted.tolist(), keyframes.tolist(), strict=True):
            if self._seeks_forward and keyframe > self._next + SEEK_GAIN:
                self._seek(keyframe)
            yield number, self._advance_to(number)

    def finish(self) -> None:
        """Raise VideoError for what the decoder's threads have said since: when all is read, wait for them."""
        self._stream.codec_context.flush_buffers()
        self._check_complaints()

    def _advance_to(self, wanted: int) -> VideoFrame:
        for number, frame in self._frames:
            if number < wanted:
                continue
            if number > wanted:
                break
            return frame
        moment = self._index.seconds[wanted]
        raise VideoError(f"damaged: frame {wanted} at {moment:.2f} s could not be decoded")

    def _seek(self, keyframe: int) -> None:
        """Go where decoding reaches ``keyframe``; to an earlier one where the container overshoots."""
        assert self._index.timestamps is not None
        position = self._next
        candidates = self._index.keyframes[(self._index.keyframes > position) & (self._index.keyframes <= keyframe)]
        for candidate in candidates[::-1][:3]:
            if not self._go_to(int(self._index.timestamps[candidate])):
                continue
            frames = self._decode(int(candidate))
            first = next(frames, None)
            if first is not None and first[0] <= keyframe:
                self._frames = chain([first], frames)
                self._seeks_forward = first[0] >= position  # if not, seeking here costs more than it saves
                return
        # Below every timestamp: containers that index by decoding time start before the first frame shown.
        if not self._go_to(min(0, int(self._index.timestamps[0]))):
            raise VideoError(f"frame {keyframe} at {self._seconds(keyframe)} cannot be reached: seeking fails")
        self._frames = self._decode(0)
        self._seeks_forward = False

    def _go_to(self, timestamp: int) -> bool:
        """Seek to the keyframe at or before ``timestamp``; whether the container could."""
        try:
            self._container.seek(timestamp, stream=self._stream)
        except av.FFmpegError:
            return False
        return True

    def _decode(self, keyframe: int) -> Iterator[tuple[int, VideoFrame]]:
        """Number and frame of everything decoded from here on, in the order shown.

        Frames shown before ``keyframe`` may lack what they refer to and are left out.
        """
        counted = 0
        try:
            for frame in self._decoded(keyframe):
                self.decoded += 1
                number = self._number(frame, counted)
                counted += 1
                if number < 0:
                    continue
                if frame.is_corrupt and number >= keyframe:
                    raise VideoError(f"damaged: frame {number} at {self._seconds(number)} does not decode")
                self._next = number + 1
                yield number, frame
        except av.FFmpegError as error:
            where = f"frame {self._next} at {self._seconds(self._next)}"
            raise VideoError(f"damaged: {where} does not decode ({error.strerror})") from None

    def _decoded(self, keyframe: int) -> Iterator[VideoFrame]:
        """All frames from here on, less those that are neither wanted nor needed to decode others."""
        packets = self._container.demux(self._stream)
        fields = fields_of(self._stream) if self._index.has_fields else None
        begun = not self._index.has_keyframes
        shown_from: int | None = None  # when the keyframe is shown with which decoding begins here
        given = False  # whether the last packet was
        while True:
            with self._complaints.listening():
                packet = next(packets, None)
            if packet is None:
                break
            tick()
            if packet.is_corrupt:
                raise VideoError(f"damaged: a packet near frame {self._next} is incomplete")
            if packet.size == 0:  # that nothing changes, or the end, for which decoders would take that too
                continue
            if fields is not None and not begun and keyframe and not self._is_keyframe(packet):
                continue  # it may be the second half of one
            if fields is None or not fields.is_second(packet):  # else it goes the way of the first
                if packet.is_keyframe:
                    begun, shown_from = True, None if begun else packet.pts
                # What comes or is shown before may refer to what was not read: decoders would complain as of damage.
                given = begun and not _is_shown_before(packet, shown_from)
                if self._leaves_out:
                    unwanted = self._is_unwanted(packet.pts)
                    self._stream.codec_context.skip_frame = "NONREF" if unwanted else "DEFAULT"
            if given:
                yield from self._frames_of(packet)
        yield from self._frames_of(None)

    def _is_keyframe(self, packet: "Packet[VideoStream]") -> bool:
        """Whether one of the index's keyframes begins with this packet."""
        assert self._index.timestamps is not None
        times = self._index.timestamps[self._index.keyframes]
        place = np.searchsorted(times, NO_TIME if packet.pts is None else packet.pts)
        return bool(packet.is_keyframe and place < len(times) and times[place] == packet.pts)

    def _frames_of(self, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
        """What comes of a packet; of None, what the decoder still has. Raises VideoError where it hides damage."""
        with self._complaints.listening():
            frames = self._stream.decode(packet)
        self._check_complaints()
        return frames

    def _check_complaints(self) -> None:
        """Raise VideoError where the decoder said that it hides damage."""
        if damage := self._complaints.damage(self._voices):
            raise VideoError(f"damaged: frame {self._next} at {self._seconds(self._next)}, or near it ({damage})")

    def _is_unwanted(self, timestamp: int | None) -> bool:
        assert self._index.timestamps is not None
        if timestamp is None:
            return False
        number = np.searchsorted(self._index.timestamps, timestamp)
        place = np.searchsorted(self._wanted, number)
        return bool(place == len(self._wanted) or self._wanted[place] != number)

    def _number(self, frame: VideoFrame, counted: int) -> int:
        """Number of a decoded frame; -1 for one shown before the first that counts."""
        timestamps = self._index.timestamps
        if timestamps is None:
            return counted
        if frame.pts is None:
            raise IrregularTimestampsError
        if self._next < len(timestamps) and frame.pts == timestamps[self._next]:  # nearly always
            return self._next
        if frame.pts < timestamps[0]:
            return -1
        number = int(np.searchsorted(timestamps, frame.pts))
        if number == len(timestamps) or timestamps[number] != frame.pts:
            raise IrregularTimestampsError
        return number

    def _seconds(self, number: int) -> str:
        return f"{self._index.seconds[min(number, len(self._index) - 1)]:.2f} s"


def _is_shown_before(packet: "Packet[VideoStream]", timestamp: int | None) -> bool:
    """Whether players would show it, but for the lack of what it refers to."""
    return timestamp is not None and packet.pts is not None and packet.pts < timestamp and not packet.is_discard
