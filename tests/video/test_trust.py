"""FFmpeg opens the file that was named, as a video, and nothing that the file refers to."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video
from p3dfeat.video import index_video, read_clips
from p3dfeat.video.reading import opening as trust
from tests.videos import CODINGS, Coding, number_of, numbered_video

SPEC = InputSpec(channels="luma", resize=(96, 128))


def read(path) -> list[int]:
    """Numbers of the frames of one clip of four."""
    items = read_clips(Video("v", str(path), "v"), SPEC, Sampling(clips=1, length=4))
    return [number_of(frame) for item in items if isinstance(item, Clip) for frame in item.frames]


def refusal(path) -> str:
    with pytest.raises(VideoError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Listener:
    """A port of this machine on which whoever connects is noticed, and never answered."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def anyone(self) -> bool:
        try:
            self.socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.socket.close()


@pytest.fixture
def other(tmp_path) -> Path:
    """A video that nobody named."""
    return numbered_video(tmp_path / "other.ts", 20, coding=CODINGS["h264 in MPEG-TS"])


def playlist(*entries: str) -> str:
    lines = "".join(f"#EXTINF:1,\n{entry}\n" for entry in entries)
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n{lines}#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".m3u8"])
def test_a_playlist_is_no_video_whatever_its_name_and_opens_nothing(tmp_path, other, listener, suffix):
    for entry in (other.name, str(other), f"{listener.url}/x.ts", f"data:video/mp2t;base64,{'R' * 400}"):
        path = tmp_path / f"innocent{suffix}"
        path.write_text(playlist(entry))
        assert refusal(path) == "not a video but a playlist (HLS)"
    assert not listener.anyone()


def test_where_nothing_is_refused_a_playlist_does_connect(tmp_path, listener):
    """That the listener would notice."""
    path = tmp_path / "list.m3u8"
    path.write_text(playlist(f"{listener.url}/x.ts"))
    with pytest.raises((av.FFmpegError, OSError)):
        av.open(str(path), options={"protocol_whitelist": "file,http,tcp", "timeout": "200000"}, timeout=1)
    assert listener.anyone()


def test_a_concat_script_is_no_video(tmp_path, other):
    path = tmp_path / "innocent.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {other.name}\n")
    with av.open(str(path)) as container:  # which is what FFmpeg does where it is let
        assert container.format.name == "concat"
        assert next(container.decode(video=0)).width == 128
    assert refusal(path).startswith("not a video but a concat script (ffconcat)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=video 5004 RTP/AVP 96\r\n", "a session description (SDP)"),
        ('<?xml version="1.0"?>\n<MPD type="static"><BaseURL>{url}</BaseURL></MPD>', "a playlist (DASH)"),
        ("[playlist]\nFile1={url}/x.mp4\n", "a playlist (PLS)"),
        ('<asx version="3.0"><entry><ref href="{url}"/></entry></asx>', "a playlist (ASX)"),
        ("<?xml version='1.0'?><smil><video src='{url}'/></smil>", "an XML file"),
        (
            "1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n00:00:03,000 --> 00:00:04,000\nyou\n",
            "something in FFmpeg's format srt",
        ),
        ("<!DOCTYPE html><title>404</title><video src='{url}'>", "a web page"),
        ("\ufeff#EXTM3U\n{url}/x.mp4\n", "a playlist (HLS)"),
        ("{url}/x.mp4\n", "a text"),
        ("not a video\n" * 100, "a text"),
    ],
)
def test_what_is_no_video_is_called_by_its_name_and_opens_nothing(tmp_path, listener, text, message):
    path = tmp_path / "innocent.mp4"
    path.write_text(text.replace("{url}", listener.url))
    assert refusal(path) == f"not a video but {message}"
    assert not listener.anyone()


def test_a_picture_is_no_video_and_its_number_does_not_lead_to_others(tmp_path):
    frame = av.VideoFrame(64, 64, "rgb24")
    for number in (1, 2):
        with av.open(str(tmp_path / f"shot{number}.png"), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
            container.mux([*stream.encode(frame), *stream.encode()])
    assert refusal(tmp_path / "shot1.png").startswith("not a video but a picture (png)")
    assert refusal(tmp_path / "shot%d.png") == "no such file"


def test_a_picture_in_the_boxes_of_an_mp4_is_no_video_unless_it_moves(tmp_path):
    frame = av.VideoFrame(64, 64, "yuv420p")
    for count in (1, 20):
        with av.open(str(tmp_path / "v.avif"), "w", format="avif") as container:
            stream = container.add_stream("libsvtav1", rate=25, options={"preset": "10"})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            container.mux([*(packet for _ in range(count) for packet in stream.encode(frame)), *stream.encode()])
        path = (tmp_path / "v.avif").rename(tmp_path / f"{count}.mp4")
    assert len(index_video(str(path)))
    data = (tmp_path / "1.mp4").read_bytes()
    assert refusal(tmp_path / "1.mp4") == "not a video but a picture (avif)"
    path.write_bytes(data.replace(b"avif", b"heic"))
    assert refusal(path) == "not a video but a picture (heif)"


def boxed(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def with_reference(movie: bytes, entry: bytes) -> bytes:
    """A MOV whose index stands at its end, with another data reference: the boxes around it grow."""
    entry = boxed(b"dref", struct.pack(">II", 0, 1) + entry)
    at = movie.index(b"dref") - 4
    old = int.from_bytes(movie[at : at + 4], "big")
    changed = bytearray(movie[:at] + entry + movie[at + old :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        place = movie.rindex(kind, 0, at) - 4
        size = int.from_bytes(movie[place : place + 4], "big")
        changed[place : place + 4] = (size + len(entry) - old).to_bytes(4, "big")
    return bytes(changed)


def alias(folder: str, name: str) -> bytes:
    """A Macintosh alias of a file that lies beside the movie, as QuickTime writes them."""
    path = f"{folder}:{name}".encode()
    path += b"\0" * (len(path) % 2)
    record = struct.pack(">10xB27s12xB63s16xHH16x", 0, b"", len(name), name.encode(), 1, 1)
    return boxed(b"alis", bytes(4) + record + struct.pack(">HH", 2, len(path)) + path + b"\xff\xff\0\0")


def test_a_movie_whose_pictures_lie_in_another_file_is_refused(tmp_path):
    other = numbered_video(tmp_path / "other.mov", 20, coding=Coding(suffix=".mov"))
    path = tmp_path / "innocent.mov"
    path.write_bytes(with_reference(other.read_bytes(), alias("disk", other.name)))
    with av.open(str(path), options={"enable_drefs": "1"}) as container:  # which FFmpeg can be made to follow
        assert number_of(next(container.decode(video=0)).to_ndarray(format="rgb24")) == 0
    assert refusal(path) == "lists 20 frames, but holds none; what it may refer to is not opened"


def test_a_movie_that_refers_to_an_address_connects_to_nobody(tmp_path, listener):
    movie = numbered_video(tmp_path / "other.mov", 20, coding=Coding(suffix=".mov")).read_bytes()
    path = tmp_path / "innocent.mov"
    path.write_bytes(with_reference(movie, boxed(b"url ", bytes(4) + f"{listener.url}/x.mov\0".encode())))
    assert read(path) == [8, 9, 10, 11]  # its own
    assert not listener.anyone()


@pytest.mark.parametrize(
    "name",
    ["concat:a.mp4|b.mp4", "pipe:0", "fd:", "file:a.mp4", "subfile,,start,0,,:a.mp4", "data:,x", "crypto:a"],
)
def test_names_that_mean_something_to_ffmpeg_are_names_of_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert refusal(name) == "no such file"
    numbered_video("plain.mp4", 20)
    os.rename("plain.mp4", name)
    assert read(name) == [8, 9, 10, 11]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
        assert refusal(tmp_path / "socket.mp4").startswith("cannot be opened (")
    assert refusal(tmp_path / "pipe.mp4").startswith("not a video but a pipe or a device;")
    assert refusal("/dev/zero").startswith("not a video but a pipe or a device;")
    assert refusal(tmp_path) == "not a video but a folder"
    assert refusal(tmp_path / ("x" * 300)) == "cannot be opened (File name too long)"
    assert refusal("a\0b") == "cannot be opened (embedded null byte)"


def test_every_coding_is_recognised_without_a_name(tmp_path):
    for number, (name, coding) in enumerate(CODINGS.items()):
        path = numbered_video(tmp_path / f"{number}{coding.suffix}", 20, coding=coding).rename(tmp_path / "nameless")
        assert len(index_video(str(path))) == 20, name


def test_the_formats_are_ffmpegs_and_hold_no_references():
    known = {name for names in av.formats_available for name in names.split(",")}
    assert set(trust.FORMATS) <= known
    assert set(trust.FORMATS).isdisjoint({"hls", "dash", "concat", "image2", "sdp", "rtsp", "lavfi", "tee", "vobsub"})


def test_refusing_leaves_no_file_open(tmp_path):
    (tmp_path / "v.mp4").write_text(playlist("x"))
    read(numbered_video(tmp_path / "good.mp4", 20))
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        refusal(tmp_path / "v.mp4")
        refusal(tmp_path / "gone.mp4")
        read(tmp_path / "good.mp4")
    assert len(os.listdir("/dev/fd")) == before
