"""The decoders of a node: an actor that turns videos into blocks of clips."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p3dfeat._version import __version__
from p3dfeat.cluster.messages import said_of
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Batch, Clip, UInt8Array, Video
from p3dfeat.video import Decoders
from p3dfeat.video.bitstreams.codecs import ffmpeg_version
from p3dfeat.workflows.pipeline import Group


class Decoding:
    """Decoder processes of one node. Ray makes an actor of it."""

    def __init__(self, decoders: dict[str, Any]):
        """decoders: the arguments of ``Decoders``."""
        self._decoders = Decoders(**decoders)

    def about(self) -> dict[str, Any]:
        """What must be the same on all nodes."""
        return {"p3dfeat": __version__, "ffmpeg": ffmpeg_version()}

    def read(
        self, videos: Sequence[Video], spec: InputSpec, sampling: Sampling, block_clips: int
    ) -> Iterator[bytes | UInt8Array]:
        """Yield, for each block of clips, what happened, and the clips: (N, T, C, H, W) uint8, channel by channel.

        A block has ``block_clips`` clips of any number of videos; the last one may have fewer, or none.
        """
        numbers = {video: number for number, video in enumerate(videos)}
        group = Group("none")
        room: UInt8Array | None = None
        for video, item in self._decoders.read(videos, spec, sampling):
            if isinstance(item, Clip):
                if room is None:
                    length, height, width, channels = item.frames.shape
                    room = np.empty((block_clips, length, channels, height, width), np.uint8)
                Batch.of_planes(room).frames[group.num_clips] = item.frames
            group.add(video, item)
            if group.num_clips == block_clips:
                yield from _block(group, numbers, room)
                group, room = Group("none"), None
        yield from _block(group, numbers, room)


def _block(group: Group, numbers: dict[Video, int], room: UInt8Array | None) -> Iterator[bytes | UInt8Array]:
    yield said_of([(numbers[video], item) for video, item in group.happened])
    yield np.zeros(0, np.uint8) if room is None else room[: group.num_clips]
