"""The decoders of this build of FFmpeg."""

from typing import Final

import av
from av.codec import Codec, codecs_available

COMMON: Final = (
    *("h264", "hevc", "vp8", "vp9", "av1", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "mjpeg", "prores"),
    *("theora", "wmv2", "wmv3", "vc1", "flv", "h263", "dvvideo", "ffv1", "gif", "rawvideo"),
)


def available_decoders() -> list[str]:
    """The names of common video codecs that can be decoded here."""
    return [name for name in COMMON if name in codecs_available and _decodes(name)]


def _decodes(name: str) -> bool:
    try:
        return Codec(name, "r").is_decoder
    except ValueError:  # UnknownCodecError: it can only be encoded
        return False


def ffmpeg_version() -> str:
    return str(av.ffmpeg_version_info)
