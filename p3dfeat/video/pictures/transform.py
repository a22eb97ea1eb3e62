"""From a decoded frame to the input picture of a network: upright, resized and cropped, with 8 bits per channel."""

from collections.abc import Iterator, Mapping
from typing import Final, cast

import numpy as np
from av import VideoFrame
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Interpolation, VideoReformatter

from p3dfeat.config import CENTRE, MIRRORED, PLACES, InputSpec
from p3dfeat.errors import VideoError
from p3dfeat.types import UInt8Array

# One plane per channel: swscale writes planes with vector instructions, in a third of the time of packed pixels.
PIXEL_FORMATS: Final = {"rgb": "gbrp", "bgr": "gbrp", "luma": "gray"}
PLANES: Final = {
    "rgb": (2, 0, 1),
    "bgr": (1, 0, 2),
    "luma": (0,),
}  # plane numbers of a frame in that format, in the order of channels
ALGORITHMS: Final = {
    "nearest": Interpolation.POINT,
    "bilinear": Interpolation.BILINEAR,
    "bicubic": Interpolation.BICUBIC,
    "area": Interpolation.AREA,
    "lanczos": Interpolation.LANCZOS,
}
LONGEST: Final = 100  # times the short side: a line of pixels, resized to 256 lines, would take gigabytes
# Without these flags, swscale rounds down to darker values and mixes the colour of neighbouring columns.
EXACT: Final = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


class Orientation:
    """The orientation of a file's frames from its display matrix: one of the eight rotations and mirrorings."""

    def __init__(self, frame: VideoFrame):
        self.transposed = self.flipped_x = self.flipped_y = False
        try:
            side_data = cast(Mapping[SideDataType, SideData], frame.side_data)  # PyAV's stub knows only one kind
        except ValueError:  # PyAV 18 does not know FFmpeg 8.1's new kinds: Exif, 3-D displays
            self._turn(frame.rotation)
            return
        if SideDataType.DISPLAYMATRIX not in side_data:
            return
        data = side_data[SideDataType.DISPLAYMATRIX]
        # Rows of 3: x' = a x + c y, y' = b x + d y, in 16.16 fixed point.
        a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
        self.transposed = abs(b) + abs(c) > abs(a) + abs(d)
        self.flipped_x = (c if self.transposed else a) < 0
        self.flipped_y = (b if self.transposed else d) < 0

    def _turn(self, counterclockwise: int) -> None:
        """Set the orientation from the angle alone, which does not show mirroring."""
        quarter = round(-counterclockwise / 90) % 4
        self.transposed = quarter in (1, 3)
        self.flipped_x, self.flipped_y = quarter in (1, 2), quarter in (2, 3)

    @property
    def rotation(self) -> int:
        """Rotation in degrees clockwise; mirroring is ignored."""
        if self.transposed:
            return 270 if self.flipped_y else 90
        return 180 if self.flipped_y else 0

    def upright_size(self, frame: VideoFrame) -> tuple[int, int]:
        """(height, width) as displayed."""
        return (frame.width, frame.height) if self.transposed else (frame.height, frame.width)

    def upright(self, plane: UInt8Array) -> UInt8Array:
        """(H, W) as stored -> (H', W') as displayed."""
        if self.transposed:
            plane = plane.T
        if self.flipped_x:
            plane = plane[:, ::-1]
        return plane[::-1] if self.flipped_y else plane


class PictureMaker:
    """Converts frames to pictures according to an InputSpec. It keeps swscale's tables for all frames of a video.

    Sizes are in stored pixels. Pixels that are not square are not stretched, as in the tools used to train the
    published networks.
    """

    def __init__(self, spec: InputSpec):
        self.spec = spec
        self._reformatter = VideoReformatter()
        self._flags = ALGORITHMS[spec.interpolation] | EXACT
        self._orientation: Orientation | None = None

    def __call__(self, frame: VideoFrame, picture: UInt8Array) -> None:
        """Write the centre crop of ``frame`` into ``picture``, (C, H, W) uint8."""
        for channel, plane in enumerate(self._planes(frame)):
            picture[channel] = cropped(plane, self.spec)

    def whole(self, frame: VideoFrame) -> UInt8Array:
        """The resized picture of ``frame`` before it is cropped, (C, H', W') uint8."""
        return np.stack(list(self._planes(frame)))

    def crop(self, picture: UInt8Array, name: str) -> UInt8Array:
        """The crop of this name of a whole picture."""
        return cropped(picture, self.spec, name)

    def _planes(self, frame: VideoFrame) -> Iterator[UInt8Array]:
        """The resized picture, upright, one channel after the other: (H', W') each."""
        # All frames of a file have one orientation. Reading every frame's side data would cost 10 % of the resizing.
        orientation = self._orientation = self._orientation or Orientation(frame)
        height, width = resized(*orientation.upright_size(frame), self.spec)
        stored_height, stored_width = (width, height) if orientation.transposed else (height, width)
        scaled = self._reformatter.reformat(
            frame,
            width=stored_width,
            height=stored_height,
            format=PIXEL_FORMATS[self.spec.channels],
            interpolation=self._flags,
            threads=1,
        )
        for number in PLANES[self.spec.channels]:
            plane = scaled.planes[number]
            pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            yield orientation.upright(pixels)

    def as_shown(self, frame: VideoFrame) -> dict[str, int]:
        """Height, width and rotation of a frame, for VideoInfo. A picture must have been created before."""
        assert self._orientation is not None
        height, width = self._orientation.upright_size(frame)
        return {"height": height, "width": width, "rotation": self._orientation.rotation}


def resized(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """(height, width) of an upright picture after resizing. Raises VideoError if the picture is too long and narrow."""
    if spec.resize is not None:
        return spec.resize
    assert spec.short_side is not None
    short = min(height, width)
    if max(height, width) > LONGEST * short:
        raise VideoError(f"frames of {width} x {height}: too long and narrow to be resized in proportion")
    return (
        max(spec.short_side, round(height * spec.short_side / short)),
        max(spec.short_side, round(width * spec.short_side / short)),
    )


def cropped(picture: UInt8Array, spec: InputSpec, name: str = CENTRE[0]) -> UInt8Array:
    """The crop of (..., H', W') with this name, from config.PLACES; a view of ``picture``.

    If the centre cannot be cut exactly, the extra pixel is cut at the bottom or right.
    """
    if spec.crop is not None:
        height, width = spec.crop
        free = picture.shape[-2] - height, picture.shape[-1] - width
        place = PLACES[name.removesuffix(MIRRORED)]
        if not isinstance(place, tuple):
            place = (place, 0.5) if picture.shape[-2] > picture.shape[-1] else (0.5, place)
        top, left = (int(share * pixels) for share, pixels in zip(place, free, strict=True))
        picture = picture[..., top : top + height, left : left + width]
    return picture[..., ::-1] if name.endswith(MIRRORED) else picture
