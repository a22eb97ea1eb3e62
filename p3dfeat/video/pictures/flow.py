"""Optical flow as pictures of two channels, x and y, for networks that see motion.

The flow of a frame is that from it to the next frame of the file, by TV-L1 (Zach, Pock, Bischof, DAGM 2007) with
OpenCV's defaults, on the resized grey picture. The flow of the last frame is that of the frame before. A byte is
``round(128 + flow * 255 / 40)``, clipped to 0..255: flows of up to 20 pixels, as the tools of two-stream networks
write them, and 128, which the authors' network subtracts, for no motion. Whether the authors' bytes mean the same range
is unknown. Only arrays go into OpenCV: a second reader of videos in one process is not safe.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from av import VideoFrame

from p3dfeat.config import CENTRE, MIRRORED, InputSpec
from p3dfeat.errors import VideoError
from p3dfeat.types import Int64Array, UInt8Array
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.pictures.transform import PictureMaker, cropped

BOUND: Final = 20.0  # pixels of the resized picture
STILL: Final = 128  # the byte of no motion
FLOW: Final = "flow"


def frames_for_flow(wanted: Int64Array, count: int) -> Int64Array:
    """The frames to decode for the flow of these frames, of a video of ``count`` frames.

    >>> frames_for_flow(np.array([0, 4, 9]), 10).tolist()
    [0, 1, 4, 5, 8, 9]
    """
    before_last = wanted[wanted == count - 1] - 1
    return np.unique(np.concatenate([wanted, np.minimum(wanted + 1, count - 1), np.maximum(before_last, 0)]))


class FlowMaker:
    """Pictures of flow instead of frames; otherwise as ``PictureMaker``. Raises VideoError without OpenCV."""

    def __init__(self, spec: InputSpec):
        self.spec = spec
        self._grey = PictureMaker(replace(spec, channels="luma", mean=(0.0,), std=(1.0,), crops=CENTRE))
        self._flow = _tvl1()
        self._shown: dict[str, int] = {}

    def pictures(
        self, frames: Iterable[tuple[int, VideoFrame]], wanted: Sequence[int]
    ) -> Iterator[tuple[int, UInt8Array]]:
        """(number, flow) of the wanted frames in order: (2, H', W') uint8. frames: as ``frames_for_flow`` names them.

        Raises VideoError, with the number of a frame that cannot be resized.
        """
        todo = iter(wanted)
        number, last, before = next(todo, None), -1, np.zeros((0, 0), np.uint8)
        flow: UInt8Array | None = None
        for place, frame in frames:
            tick()
            grey = np.ascontiguousarray(self._grey.whole(frame)[0])
            self._shown = self._shown or self._grey.as_shown(frame)
            if number is not None and place == last + 1 and last >= 0:
                flow = as_bytes(self._flow.calc(before, grey, None))
                if number == last:
                    yield number, flow
                    number = next(todo, None)
            last, before = place, grey
        if number is not None:  # the last frame of the video; or its only one
            yield number, np.full((2, *before.shape), STILL, np.uint8) if flow is None else flow

    def __call__(self, flow: UInt8Array, picture: UInt8Array) -> None:
        """Write the centre crop of a flow into ``picture``, (2, H, W) uint8."""
        picture[...] = cropped(flow, self.spec)

    def whole(self, flow: UInt8Array) -> UInt8Array:
        return flow

    def crop(self, flow: UInt8Array, name: str) -> UInt8Array:
        """The crop of this name. In a mirrored one, motion in x has the other sign."""
        found = cropped(flow, self.spec, name)
        if not name.endswith(MIRRORED):
            return found
        other = np.minimum(2 * STILL - found[:1].astype(np.int16), 255).astype(np.uint8)
        return np.concatenate([other, found[1:]])

    def as_shown(self, flow: UInt8Array) -> dict[str, int]:
        """Height, width and rotation of the video's frames."""
        return self._shown


def as_bytes(flow: Any) -> UInt8Array:
    """(H, W, 2) float32 in pixels to (2, H, W) uint8.

    >>> as_bytes(np.array([[[0, 20], [-20, 50]]], np.float32)).tolist()
    [[[128, 0]], [[255, 255]]]
    """
    scaled = np.rint(STILL + flow * np.float32(255 / (2 * BOUND)))
    return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8).transpose(2, 0, 1))


def _tvl1() -> Any:
    try:
        import cv2

        cv2.setNumThreads(1)  # one decoder process per core is at work
        return cv2.optflow.createOptFlow_DualTVL1()
    except (ImportError, AttributeError):  # AttributeError: an OpenCV without its contributed modules
        raise VideoError(
            "optical flow: needs OpenCV with its contributed modules; pip install 'p3dfeat[flow]'"
        ) from None
