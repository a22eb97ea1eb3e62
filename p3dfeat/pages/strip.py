"""Frames of a video as one small picture."""

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Strip:
    """Frames of a video in time order, side by side in one WebP picture. width, height: of one frame, in pixels."""

    webp: bytes
    frames: int
    width: int
    height: int

    @property
    def text(self) -> str:
        """The picture in base64."""
        return base64.b64encode(self.webp).decode()

    @property
    def address(self) -> str:
        """An address that holds the picture itself."""
        return f"data:image/webp;base64,{self.text}"
