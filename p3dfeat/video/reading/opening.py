"""Safe opening of videos: FFmpeg opens only the named file, in a format that contains a video, and no other files.

p3dfeat opens the file and passes only the open file to FFmpeg. FFmpeg must not open anything by name, neither on the
disk nor in the network. It reads no format that consists of references, such as playlists.
"""

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, BinaryIO, Final, cast

import av
import av.logging
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from p3dfeat.errors import NotAVideoError, VideoError
from p3dfeat.video.containers import FORMATS
from p3dfeat.video.containers.mp4_boxes import top_boxes
from p3dfeat.video.containers.record import cut_off, read_at
from p3dfeat.video.ranged import RangedFile, RangedReader
from p3dfeat.video.reading.ffmpeg_log import Complaints

# Per frame: 16384 x 8192, more than any camera records. A header may say 65535 x 65535, which is 17 GB in colour.
MAX_PIXELS: Final = 1 << 27
JPEG_BEGINS, JPEG_FOLLOWS = b"\xff\xd8", b"\xff\xd9\xff\xd8"
LONGEST_PICTURE: Final = 1 << 24  # bytes within which a second picture must begin
HEAD_BYTES: Final = 1024  # enough to identify a file that is not a video

# First bytes of files often mistaken for videos: a server's answer instead of a video, and lists of other files.
BEGINNINGS: Final = (
    (b"#extm3u", "a playlist (HLS)"),
    (b"ffconcat version", "a concat script (ffconcat)"),
    (b"[playlist]", "a playlist (PLS)"),
    (b"<asx", "a playlist (ASX)"),
    (b"v=0\r\n", "a session description (SDP)"),
    (b"v=0\n", "a session description (SDP)"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"pk\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%pdf", "a PDF"),
)
# Brands of pictures that use MP4's boxes, and the names of the formats.
STILLS: Final = {b"avif": "avif", **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"), "heif")}


@contextmanager
def regular_file(path: str) -> Iterator[int]:
    """The file descriptor of a file opened for reading. Raises VideoError if ``path`` is not a regular file.

    It does not wait for a pipe.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except PermissionError:
        raise VideoError("not readable; check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: an impossible file name
        raise VideoError(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    try:
        kind = os.fstat(file).st_mode
        if stat.S_ISDIR(kind):
            raise VideoError("not a video but a folder")
        if not stat.S_ISREG(kind):
            raise VideoError("not a video but a pipe or a device; only files are read")
        yield file
    finally:
        os.close(file)


@contextmanager
def opened(where: str | RangedFile) -> Iterator[BinaryIO]:
    """A file for reading from any place. Raises VideoError."""
    if isinstance(where, RangedFile):
        yield cast(BinaryIO, where.opened())
        return
    with regular_file(where) as descriptor, open(descriptor, "rb", buffering=0, closefd=False) as file:
        yield cast(BinaryIO, file)


def open_container(where: str | RangedFile, *, decoder: str = "cpu") -> InputContainer:
    """FFmpeg's reader of a file. Raises VideoError with one line that does not name the path.

    decoder: "cpu", or "cuda": on a GPU if there is one that supports the codec, or else on the CPU.
    """
    with opened(where) as file:
        if (still := _still(file)) is not None:
            raise NotAVideoError(_no_video(f"a picture ({still})"))
        complaints = Complaints()
        try:
            with closing(complaints), complaints.listening():
                container = _opened(file, decoder)
            complaints.hand_on()
            if container.streams.video or (cut := _cut_index(file)) is None:
                return container
            container.close()
            raise VideoError(cut)
        except (av.FFmpegError, OSError, ValueError) as error:
            if os.fstat(file.fileno()).st_size == 0:
                raise NotAVideoError("empty file, 0 bytes") from None
            if (cut := _cut_index(file)) is not None:
                raise VideoError(cut) from None
            if _begins_with_pictures(file):
                return _opened(file, decoder, format="mjpeg")
            why = complaints.worst() or reason(error)
            raise NotAVideoError(what_else(file) or f"not a video, or too damaged to open ({why})") from None


def _begins_with_pictures(file: BinaryIO) -> bool:
    """Whether it is bare Motion JPEG, some of which FFmpeg mistakes for a picture."""
    if read_at(file, 0, 2) != JPEG_BEGINS:
        return False
    return JPEG_FOLLOWS in read_at(file, 0, LONGEST_PICTURE)


def _source(file: BinaryIO) -> tuple[Any, dict[str, str]]:
    """The source for FFmpeg, and the options for it: an open file, or Python's reader, at its beginning.

    FFmpeg's copy of an open file shares its position.
    """
    file.seek(0)
    if isinstance(file, RangedReader):
        return file.another(), {"protocol_whitelist": "none"}
    return "fd:", {"fd": str(file.fileno()), "protocol_whitelist": "fd"}


def _opened(file: BinaryIO, decoder: str, format: str | None = None) -> InputContainer:
    source, options = _source(file)
    options |= {
        "format_whitelist": ",".join(FORMATS),
        "enable_drefs": "0",  # MOV tracks in other files
        "use_absolute_path": "0",
        "max_pixels": str(MAX_PIXELS),
    }
    if decoder == "cuda":
        # The shared context of the process: creating one per video would take longer than decoding the video.
        gpu = HWAccel("cuda", options={"primary_ctx": "1"})
        with suppress(av.FFmpegError, OSError, RuntimeError, ValueError):  # no suitable GPU, or a damaged file
            return _limited(av.open(source, options=options, metadata_errors="replace", hwaccel=gpu))
        source, _ = _source(file)
    return _limited(av.open(source, format=format, options=options, metadata_errors="replace"))


def _limited(container: InputContainer) -> InputContainer:
    """The container with decoders that reject too large frames at any time, and check all checksums."""
    for stream in container.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "crccheck"}
    return container


def what_else(file: BinaryIO) -> str | None:
    """A one-line description of a file in an unsupported format; None if the format may be supported."""
    head = read_at(file, 0, HEAD_BYTES)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    named = next((name for beginning, name in BEGINNINGS if text.startswith(beginning)), None)
    if named is None and text.startswith((b"<?xml", b"<mpd")):
        named = "a playlist (DASH)" if b"<mpd" in text else "an XML file"
    if named is None and (format := _refused_format(file)) is not None:
        picture = format.endswith("_pipe")
        named = f"a picture ({format.removesuffix('_pipe')})" if picture else f"something in FFmpeg's format {format}"
    if named is None and _is_text(head):
        named = "a text"
    return None if named is None else _no_video(named)


def _cut_index(file: BinaryIO) -> str | None:
    """The error for an MP4 with an incomplete or missing index, which a recorder writes last; else None."""
    size = os.fstat(file.fileno()).st_size
    found = {box.kind: box for box in top_boxes(file, size)}
    if b"moov" in found:
        end = found[b"moov"].end
        return str(cut_off(size, end)) if end > size else None
    if not found.keys() & {b"ftyp", b"mdat"} or b"moof" in found:
        return None
    return (
        "cut off: its index (moov) is missing, as in a phone's recording that was interrupted; a repair tool may help"
    )


def _no_video(named: str) -> str:
    return f"not a video but {named}"


def _still(file: BinaryIO) -> str | None:
    """The format of a picture that uses MP4's boxes; else None. FFmpeg would open it as a video of one frame."""
    head = read_at(file, 0, HEAD_BYTES)
    if head[4:8] != b"ftyp":
        return None
    brands = [head[place : place + 4] for place in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)]
    named = next((STILLS[brand] for brand in brands if brand in STILLS), None)
    if named is None:
        return None
    moves = any(box.kind == b"moov" for box in top_boxes(file, os.fstat(file.fileno()).st_size))
    return None if moves else named


def _refused_format(file: BinaryIO) -> str | None:
    """FFmpeg's name for the format of a file, if it is not one of FORMATS. Only the beginning of the file is read."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    source, options = _source(file)
    try:
        with av.logging.Capture() as said, suppress(av.FFmpegError, OSError, ValueError):
            # With no format allowed, FFmpeg only reports which one it is.
            av.open(source, options=options | {"format_whitelist": "none"}).close()
    finally:
        av.logging.set_level(before)
    name = next((name for _, name, text in said if text.startswith("Format not on whitelist")), None)
    return None if name is None or not set(name.split(",")).isdisjoint(FORMATS) else name


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut off
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)


def demuxed(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """The packets of a stream. PyAV 18 may raise IndexError after the last one if FFmpeg finds a stream late."""
    with suppress(IndexError):
        yield from container.demux(stream)


def pass_on(error: av.FFmpegError) -> None:
    """Raise the error again if memory ran out, since that is not an error of the file."""
    if isinstance(error, MemoryError):
        raise error


def reason(error: Exception) -> str:
    """FFmpeg's message, without the error number and the path."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).split(":")[0].strip() or type(error).__name__
