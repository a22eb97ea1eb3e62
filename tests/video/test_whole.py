"""Whole files of kinds that programs and cameras write, and that differ from what FFmpeg would: none is refused."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video
from p3dfeat.video import index_video, read_clips
from tests.videos import CODINGS, Coding, numbered_frames, write_video

EVERY_FRAME = Sampling(clips=None, stride=1, length=1)
BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")  # in each other, above the tables of an MP4
ABOVE = {b"mdhd": 3, b"elst": 2}  # how many of them are above others


def with_table(data: bytes, kind: bytes, content: bytes, *parents: bytes) -> bytes:
    """An MP4 whose index comes last, of one track, with other content of a table; the boxes around it grow."""
    changed = bytearray(data)
    at = data.rindex(kind) - 4
    old = int.from_bytes(data[at : at + 4], "big")
    changed[at : at + old] = struct.pack(">I4s", 8 + len(content), kind) + content
    for parent in (*BOXES[: BOXES.index(kind) if kind in BOXES else ABOVE.get(kind)], *parents):
        place = data.rindex(parent, 0, at) - 4
        size = int.from_bytes(data[place : place + 4], "big")
        changed[place : place + 4] = (size + 8 + len(content) - old).to_bytes(4, "big")
    return bytes(changed)


def table_of(data: bytes, kind: bytes) -> bytes:
    at = data.rindex(kind) - 4
    return bytes(data[at + 8 : at + int.from_bytes(data[at : at + 4], "big")])


def read_as_whole(path: Path, data: bytes) -> int:
    """How many frames are read of a file with these bytes."""
    path.write_bytes(data)
    items = read_clips(Video("v", str(path), "v"), InputSpec(resize=(48, 64)), EVERY_FRAME)
    return sum(isinstance(item, Clip) for item in items)


def number_at(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + value.to_bytes(4, "big") + data[place + 4 :]


PAUSES = {
    "near the end": [*range(100), 110],
    "near the beginning": [0, 30, 60, *range(61, 100)],
    "in the middle": [*range(40), *range(90, 130)],
    "before each frame of some": [*range(30), 40, 50, *range(60, 90), 100, 111],
}


@pytest.mark.parametrize("bframes", [0, 3, 16])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("pause", PAUSES)
def test_a_frame_rate_that_varies_is_no_damage(tmp_path, pause, suffix, bframes):
    options = {"preset": "veryfast", "bf": str(bframes), "x264-params": "log-level=none"}
    coding, ticks = Coding(suffix=suffix, options=options), PAUSES[pause]
    path, frames = tmp_path / f"v{suffix}", numbered_frames(len(ticks))
    data = write_video(path, frames, coding=coding, ticks=ticks, time_base=Fraction(1, 25)).read_bytes()
    assert read_as_whole(path, data) == len(ticks)
    if bframes:  # as programs write it that take the frames' durations for the track's
        spans = struct.iter_unpack(">II", table_of(data, b"stts")[8:])
        decoded = sum(frames * each for frames, each in spans)
        assert read_as_whole(path, number_at(data, data.rindex(b"mdhd") + 20, decoded)) == len(ticks)


@pytest.mark.parametrize("kept", [29, 30, 33, 37, 40])
def test_a_recording_cut_between_frames_that_refer_to_each_other_is_whole(tmp_path, kept):
    """With its packets copied in the order of decoding, frames are missing before the last one."""
    options = {"preset": "veryfast", "bf": "16", "b_strategy": "0", "x264-params": "log-level=none:bframes=16"}
    frames = numbered_frames(60)
    path = write_video(tmp_path / "whole.mp4", frames, coding=Coding(options=options))
    with av.open(str(path)) as source, av.open(str(tmp_path / "v.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number < kept and packet.size:
                packet.stream = stream
                target.mux(packet)
    assert read_as_whole(tmp_path / "v.mp4", (tmp_path / "v.mp4").read_bytes()) == kept


def test_pictures_that_begin_later_than_the_sound_are_no_damage(tmp_path):
    """Phones write by how much into the first frame's duration, and not into the track's."""
    options = {"preset": "veryfast", "bf": "0", "x264-params": "log-level=none"}
    data = write_video(tmp_path / "v.mp4", numbered_frames(60), coding=Coding(options=options)).read_bytes()
    data = data.replace(b"edts", b"free")  # phones write none
    assert table_of(data, b"stts")[4:] == struct.pack(">3I", 1, 60, 512)
    late = struct.pack(">6I", 0, 2, 1, 512 + 6400, 59, 512)
    assert read_as_whole(tmp_path / "v.mp4", with_table(data, b"stts", late)) == 60


@pytest.fixture(scope="module")
def mp4(tmp_path_factory) -> bytes:
    """60 frames, and an index at the end."""
    options = {"preset": "veryfast", "bf": "0", "x264-params": "log-level=none"}
    path = tmp_path_factory.mktemp("whole") / "v.mp4"
    return write_video(path, numbered_frames(60), coding=Coding(options=options)).read_bytes()


TRAILERS = {
    "zeros": bytes(64),
    "a tag of ID3": b"TAGVacation2020" + bytes(113),
    "a tag of APE": b"APETAGEX\xd0\x07\0\0" + bytes(20),
    "lyrics": b"LYRICSBEGIN",
    "a text": b"uploadedByServer01",
    "a form's end": b"\r\n--boundary--\r\n",
    "a line's end": b"\r\n",
    "bytes of 255": b"\xff" * 32,
}


@pytest.mark.parametrize("trailer", TRAILERS.values(), ids=TRAILERS)
def test_what_follows_the_last_box_is_ignored(tmp_path, mp4, trailer):
    assert read_as_whole(tmp_path / "v.mp4", mp4 + trailer) == 60


@pytest.mark.parametrize(
    "kind", [b"stsz", b"stts", b"stsc", b"stco", b"elst", b"mdhd", b"stbl", b"minf", b"mdia", b"trak"]
)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 12])
def test_boxes_may_end_in_zeros(tmp_path, mp4, kind, length):
    parents = (b"edts",) if kind == b"elst" else ()
    assert read_as_whole(tmp_path / "v.mp4", with_table(mp4, kind, table_of(mp4, kind) + bytes(length), *parents)) == 60


def test_an_index_may_end_in_zeros(tmp_path, mp4):
    place = mp4.rindex(b"moov") - 4
    assert read_as_whole(tmp_path / "v.mp4", number_at(mp4, place, len(mp4) - place + 12) + bytes(12)) == 60


def test_each_frame_may_be_a_fragment(tmp_path):
    """FFmpeg does not always know how long it lasts, and says 0."""
    path, options = tmp_path / "v.mp4", {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number, pixels in enumerate(numbered_frames(30)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    for number, place in enumerate(fragments_of(data)):
        header = data.index(b"tfhd", place)
        assert data[header + 12 : header + 16] == struct.pack(">I", 512)
        if number % 3:
            data = number_at(data, header + 12, 0)
    assert read_as_whole(path, data) == 30


@pytest.fixture(scope="module")
def fragmented(tmp_path_factory) -> bytes:
    """60 frames of pictures, and sound, in fragments of a second."""
    path = tmp_path_factory.mktemp("whole") / "v.mp4"
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12", "x264-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        sound = container.add_stream("aac", rate=44100, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100 * 60 // 25), np.float32), format="fltp", layout="mono")
        silence.rate, silence.pts = 44100, 0
        packets = [*sound.encode(silence), *sound.encode()]
        for number, pixels in enumerate(numbered_frames(60)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path.read_bytes()


def fragments_of(data: bytes) -> list[int]:
    """Where its fragments begin."""
    return [place - 4 for place in range(len(data)) if data[place : place + 4] == b"moof"]


def boxed(kind: bytes, *contents: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, contents)), kind) + b"".join(contents)


def test_numbers_of_fragments_may_jump(tmp_path, fragmented):
    """As where others were put between them."""
    data = fragmented
    for place in fragments_of(data)[2:]:
        number = place + 20
        data = number_at(data, number, int.from_bytes(data[number : number + 4], "big") + 1000)
    assert read_as_whole(tmp_path / "v.mp4", data) == 60


EMPTY_RUN = boxed(b"trun", bytes(4), struct.pack(">I", 0))
EMPTY_FRAGMENTS = {
    "of no tracks": boxed(b"moof", boxed(b"mfhd", bytes(4), struct.pack(">I", 2))),
    "of a track that pauses": boxed(
        b"moof",
        boxed(b"mfhd", bytes(4), struct.pack(">I", 2)),
        boxed(b"traf", boxed(b"tfhd", struct.pack(">III", 0x10008, 1, 512))),
    ),
    "of a track without a run": boxed(
        b"moof",
        boxed(b"mfhd", bytes(4), struct.pack(">I", 2)),
        boxed(b"traf", boxed(b"tfhd", struct.pack(">II", 0, 1))),
    ),
    "of a run without frames": boxed(
        b"moof",
        boxed(b"mfhd", bytes(4), struct.pack(">I", 2)),
        boxed(b"traf", boxed(b"tfhd", struct.pack(">II", 0, 1)), EMPTY_RUN),
    ),
}


@pytest.mark.parametrize("fragment", EMPTY_FRAGMENTS.values(), ids=EMPTY_FRAGMENTS)
def test_fragments_may_be_empty(tmp_path, fragmented, fragment):
    place = fragments_of(fragmented)[2]
    assert read_as_whole(tmp_path / "v.mp4", fragmented[:place] + fragment + fragmented[place:]) == 60


def test_sound_may_be_sparse(tmp_path, fragmented):
    """Fragments of tracks that are no pictures go on where they like."""
    data, place = fragmented, fragments_of(fragmented)[2]
    while (place := data.find(b"tfhd", place + 1)) > 0:
        if data[place + 8 : place + 12] == struct.pack(">I", 2):
            time = data.index(b"tfdt", place) + 12
            data = number_at(data, time, int.from_bytes(data[time : time + 4], "big") + 441_000)
    assert data != fragmented
    assert read_as_whole(tmp_path / "v.mp4", data) == 60


class Pipe:
    """What cannot be gone back in: headers stay as they were written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += bytes(data)
        return len(data)


def encoded(format: str, codec: str, *, pixel_format: str = "yuv420p", count: int = 60) -> bytes:
    """A video as it comes out of a pipe, of more bits than it says, from which FFmpeg may estimate how long it is."""
    pipe = Pipe()
    with av.open(pipe, "w", format=format) as container:
        stream = container.add_stream(codec, rate=25, options={"qmin": "1", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 96, pixel_format, 10_000
        stream.metadata["language"] = "eng"  # beside which ASF says how many bits
        for number, pixels in enumerate(numbered_frames(count)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return pipe.data


@pytest.mark.parametrize(
    ("format", "codec"),
    [("avi", "mpeg4"), ("avi", "libx264"), ("asf", "wmv2"), ("flv", "flv"), ("matroska", "mpeg4"), ("ogg", "libvpx")],
)
def test_what_was_written_to_a_pipe_is_whole(tmp_path, format, codec):
    assert read_as_whole(tmp_path / "v", encoded(format, codec)) == 60


@pytest.fixture(scope="module")
def avi(tmp_path_factory) -> bytes:
    """12 frames of Motion JPEG."""
    path = tmp_path_factory.mktemp("whole") / "v.avi"
    return write_video(path, numbered_frames(12), coding=CODINGS["mjpeg"]).read_bytes()


@pytest.mark.parametrize("kind", [b"00iv", b"00__", b"00AM", b"00Db"])
def test_frames_of_an_avi_have_many_names(tmp_path, avi, kind):
    assert read_as_whole(tmp_path / "v.avi", avi.replace(b"00dc", kind)) == 12


@pytest.mark.parametrize("stated", [0, 4, 8])
def test_an_avi_may_count_its_own_header(tmp_path, avi, stated):
    size = (len(avi) - 8 + stated).to_bytes(4, "little")
    assert read_as_whole(tmp_path / "v.avi", avi[:4] + size + avi[8:]) == 12
    assert read_as_whole(tmp_path / "v.avi", avi[:4] + size + avi[8:-9]) == 12  # of its index alone something is lost
    with pytest.raises(VideoError, match="cut off"):
        read_as_whole(tmp_path / "v.avi", avi[:4] + size + avi[8 : len(avi) * 2 // 3])


def test_digital_video_with_its_sound_inside_is_read_of_avi(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content

    path = tmp_path / "v.dv"
    coding = Coding("dvvideo", ".dv", "yuv420p", {})
    data = write_video(path, numbered_frames(6, height=576, width=720), coding=coding).read_bytes()
    frames = [data[place : place + 144_000] for place in range(0, len(data), 144_000)]
    main = struct.pack("<14I", 40_000, 3_600_000, 0, 0x10, 6, 0, 1, 144_000, 720, 576, 0, 0, 0, 0)
    numbers = (0, 0, 0, 0, 1, 25, 0, 6, 144_000, 0xFFFFFFFF, 0, 0, 0, 720, 576)
    stream = b"iavsdvsd" + struct.pack("<IHHIIIIIIIIHHHH", *numbers)
    about = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", bytes(32)))
    index = b"".join(b"00__" + struct.pack("<III", 0x10, 4 + 144_008 * n, 144_000) for n in range(6))
    movi = b"".join(chunk(b"00__", frame) for frame in frames)
    parts = (b"hdrl" + chunk(b"avih", main) + about, b"movi" + movi)
    body = b"AVI " + b"".join(chunk(b"LIST", part) for part in parts) + chunk(b"idx1", index)
    assert read_as_whole(tmp_path / "v.avi", chunk(b"RIFF", body)) == 6


@pytest.mark.parametrize("trailer", [b"\n", b"\r\n", b"<!-- made by hand -->", bytes(300)], ids=repr)
def test_what_follows_a_gifs_last_block_is_ignored(tmp_path, trailer):
    data = encoded("gif", "gif", pixel_format="rgb8", count=12)
    assert read_as_whole(tmp_path / "v.gif", data + trailer) == 12


def test_a_gifs_last_block_in_its_middle_is_not_its_last(tmp_path):
    data = encoded("gif", "gif", pixel_format="rgb8", count=12)
    places = [place for place in range(len(data)) if data[place : place + 3] == b"!\xf9\x04"]
    path = tmp_path / "v.gif"
    assert read_as_whole(path, data[: places[5]] + b";" + data[places[5] + 1 :]) == 5
    assert "continues after its end mark" in index_video(str(path)).info.remarks[0]


@pytest.mark.parametrize("counted", [0, 10, 11])
def test_the_lengths_behind_tags_of_flv_count_their_headers_or_not(tmp_path, counted):
    data = bytearray(encoded("flv", "flv"))
    place = 13
    while place < len(data):
        length = int.from_bytes(data[place + 1 : place + 4], "big")
        place += 11 + length
        data[place : place + 4] = (length + counted).to_bytes(4, "big")
        place += 4
    assert read_as_whole(tmp_path / "v.flv", bytes(data)) == 60


def test_zeros_and_a_missing_last_length_are_no_damage_of_flv(tmp_path):
    data = encoded("flv", "flv")
    assert read_as_whole(tmp_path / "v.flv", data + bytes(64)) == 60
    assert read_as_whole(tmp_path / "v.flv", data[:-4]) == 60


@pytest.mark.parametrize("trailer", [bytes(64), bytes(1000), b"a text"], ids=["64 zeros", "1000 zeros", "a text"])
def test_what_follows_oggs_last_page_is_ignored(tmp_path, trailer):
    assert read_as_whole(tmp_path / "v.ogv", encoded("ogg", "libvpx") + trailer) == 60


@pytest.mark.parametrize("length", [1, 64, 1000])
def test_zeros_after_the_last_packet_of_a_transport_stream_are_ignored(tmp_path, length):
    assert read_as_whole(tmp_path / "v.ts", encoded("mpegts", "mpeg2video") + bytes(length)) == 60
