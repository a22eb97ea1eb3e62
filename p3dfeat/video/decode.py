"""Decoding exactly the frames asked for, each at most once, seeking only where that saves decoding."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import av
import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from p3dfeat.errors import VideoError
from p3dfeat.video.index import VideoIndex

# Decoding on to a frame at most this far ahead is cheaper than a seek, which empties the decoder's pipeline.
SEEK_GAIN: Final = 12


class IrregularTimestampsError(Exception):
    """A decoded frame has a timestamp that no packet announced: frames must be counted instead."""


class FrameReader:
    """Reads frames by number from a video just opened.

    decoded: how many frames the decoder has delivered so far, wanted or not.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, index: VideoIndex):
        self._container, self._stream, self._index = container, stream, index
        stream.thread_type = "AUTO"
        self.decoded = 0
        self._next = 0
        self._seeks_forward = True
        self._frames = self._decode(0)

    def read(self, numbers: Iterable[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield (number, frame) for ``numbers``, which rise strictly. Raises VideoError, IrregularTimestampsError."""
        for wanted in numbers:
            keyframe = self._index.keyframe_before(wanted)
            if self._seeks_forward and keyframe > self._next + SEEK_GAIN:
                self._seek(keyframe)
            yield wanted, self._advance_to(wanted)

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
            for frame in self._container.decode(self._stream):
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

    def _number(self, frame: VideoFrame, counted: int) -> int:
        """Number of a decoded frame; -1 for one shown before the first that counts."""
        timestamps = self._index.timestamps
        if timestamps is None:
            return counted
        if frame.pts is None:
            raise IrregularTimestampsError
        if frame.pts < timestamps[0]:
            return -1
        number = int(np.searchsorted(timestamps, frame.pts))
        if number == len(timestamps) or timestamps[number] != frame.pts:
            raise IrregularTimestampsError
        return number

    def _seconds(self, number: int) -> str:
        return f"{self._index.seconds[min(number, len(self._index) - 1)]:.2f} s"
