"""The last method of reading a video: its frames are listed by decoding all of them, and read in one pass.

The result is what every player shows, even if the file's own data are wrong.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import av
import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from p3dfeat.errors import VideoError
from p3dfeat.text.counts import counted
from p3dfeat.types import Int64Array
from p3dfeat.video.bitstreams.hidden_frames import REFERRED_TO_HIDDEN
from p3dfeat.video.findings import Findings
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.ranged import RangedFile
from p3dfeat.video.reading.decode import INTRA, Reader
from p3dfeat.video.reading.index import VideoIndex, open_video
from p3dfeat.video.reading.opening import demuxed, pass_on
from p3dfeat.video.reading.timing import frame_times, usual_duration


def recounted(where: str | RangedFile, index: VideoIndex, findings: Findings) -> VideoIndex:
    """The index of a video whose packets do not match its frames, from decoding all frames. Raises VideoError."""
    places: list[int] = []
    unusable: set[int] = set()
    waits = False  # for a keyframe, after a frame that does not decode
    with open_video(where) as (container, stream), closing(CountedReader(container, stream, index, findings)) as reader:
        for place, frame in reader.every_frame():
            if frame is None or (findings.strict and (reader.complains or index.packets.broken[place])):
                waits = True
            elif frame.key_frame and frame.pict_type in INTRA:
                waits = False
            if waits or frame is None or frame.is_corrupt:
                unusable.add(len(places))
            places.append(place)
        while 0 < stream.frames < len(places) and len(places) - 1 in unusable:
            unusable.discard(len(places) - 1)
            places.pop()  # not a frame but an error in a damaged index: all frames of the header's count have come
        if not len(places) > len(unusable):
            why = "; ".join(findings.remarks) or "its decoder does not say why"
            raise VideoError(f"damaged: none of its frames decodes ({why})")
        seconds = frame_times(index.packets, np.array(places), stream)
        usual = usual_duration(seconds, index.packets, stream)
        last_ticks = 0 if index.packets.has_fields else int(index.packets.durations[places[-1]])
        end = float(seconds[-1]) + (last_ticks * index.tick_seconds or usual)
    if len(places) != len(index):
        findings.remark(f"{counted(len(index), 'frame')} by its packets, {len(places):,} by its decoder")
    duration = end - float(seconds[0])
    info = replace(
        index.info,
        num_frames=len(places),
        duration_seconds=duration,
        frame_rate=len(places) / duration if duration else 0,
    )
    return replace(
        index,
        seconds=seconds,
        end_seconds=end,
        numbers=None,
        timestamps=None,
        keyframes=np.zeros(1, np.int64),
        info=info,
        unusable=frozenset(unusable),
        recounted=True,
    )


class CountedReader(Reader):
    """Reads the ``wanted`` frames of a newly opened video by counting all frames. It is used like FrameReader.

    Iterating raises VideoError for a frame that does not decode.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        index: VideoIndex,
        findings: Findings,
        wanted: Int64Array | None = None,
        *,
        threads: int = 0,
    ):
        # With one frame per thread, PyAV does not report all errors.
        super().__init__(container, stream, index, findings, threads=threads, by_frame=False)
        self._wanted = np.zeros(0, np.int64) if wanted is None else wanted
        self.complains = False  # whether the decoder reported an error for the last packet

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        frames = enumerate(self.every_frame())
        for wanted in self._wanted.tolist():
            frame = next((frame for number, (_, frame) in frames if number == wanted), None)
            if frame is None or wanted in self._index.unusable:
                why = f" ({self._said})" if self._said else ""
                when = f"at {self._index.seconds[wanted]:.2f} s"
                raise VideoError(f"damaged: frame {wanted} {when} does not decode{why}")
            yield wanted, frame

    def finish(self) -> None:
        """Take the decoder's last messages."""
        self._hear()

    def every_frame(self) -> Iterator[tuple[int, VideoFrame | None]]:
        """(packet, frame) in the order of the decoder; (packet, None) if the packet does not decode."""
        try:
            found = (packet for packet in demuxed(self._container, self._stream) if packet.size)
            for place, packet in zip(range(len(self._index.packets)), found, strict=False):
                tick()
                if not self._is_given(place):
                    continue
                holds_picture = (
                    self._index.packets.shown[place] or self._context.codec.canonical_name in REFERRED_TO_HIDDEN
                )
                try:
                    frames = self._decode(packet, place)
                except av.FFmpegError as error:
                    pass_on(error)
                    if holds_picture:
                        yield place, None
                else:
                    yield from ((frame.pts or 0, frame) for frame in frames)
            yield from ((frame.pts or 0, frame) for frame in self._decode(None))
        except av.FFmpegError as error:
            pass_on(error)
            why = self._said or "; ".join(self._findings.remarks) or error.strerror
            self._findings.failed(VideoError(f"damaged: unreadable after frame {self.decoded} ({why})"))

    def _hear(self) -> bool:
        self.complains = super()._hear()
        return self.complains
