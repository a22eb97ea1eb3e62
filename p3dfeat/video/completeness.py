"""Whether a file is all there, by what its container says of itself: sizes, tables, counts, and how it must end.

FFmpeg reads what is there and calls it the end. Features of half a video would look like those of the whole. The walks
here go from one size to the next and read no pictures; they are bounded by the file's own size.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video import asf, matroska, mp4, pages, riff, small

# By what FFmpeg takes a file for: who knows what must be in it.
CHECKS: Final[Mapping[str, Callable[[BinaryIO, int], None]]] = {
    "matroska,webm": matroska.check,
    "avi": riff.check,
    "mov,mp4,m4a,3gp,3g2,mj2": mp4.check,
    "ogg": pages.check,
    "flv": small.check_flv,
    "asf": asf.check,
    "gif": small.check_gif,
    "mpegts": small.check_mpegts,
}
# FFmpeg's names of streams without a container, and suffixes of files that ought to have one.
BARE: Final = frozenset(
    {"h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu", "vc1", "h263", "h261", "dirac", "cavsvideo"}
)
CONTAINED: Final = frozenset(
    {".mp4", ".mov", ".m4a", ".3gp", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".asf", ".ogv", ".mxf"}
    | {".gif", ".ivf", ".nut"}
)


def check_whole(path: str, format: str) -> None:
    """Raise VideoError for a file that is not as long, or not as full, as its own headers say.

    format: what FFmpeg takes it for. Some containers, MPEG-TS among them, do not say how long they are.
    """
    if format in BARE and (suffix := Path(path).suffix.lower()) in CONTAINED:
        raise VideoError(f"damaged: named {suffix}, but only a bare {format} stream is found; its beginning is lost")
    if format in CHECKS:
        with open(path, "rb") as file:
            CHECKS[format](file, os.path.getsize(path))
