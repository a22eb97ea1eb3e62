"""What a file says of itself and does not hold is found out: a missing end ends the reading, all else is remarked."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Video, VideoEnd
from p3dfeat.video import heartbeat, index_video, read_clips
from p3dfeat.video.containers import Delivered
from p3dfeat.video.containers.avi import AVI
from p3dfeat.video.containers.mp4 import MP4
from p3dfeat.video.findings import Findings
from p3dfeat.video.packets import Packets
from stress.seeds import SEEDS, write_seed
from tests.videos import Coding, numbered_frames, write_video

BY_NAME = {seed.name: seed for seed in SEEDS}
# Whose header says how much there is.
ENDING = (
    *("h264.mp4", "h264-faststart.mp4", "h264-fragmented.mp4", "prores.mov", "h264.mkv", "mpeg4.avi", "wmv2.asf"),
    *("mpeg2.mxf", "raw.y4m"),
)
COUNTING = (
    *("h264.mp4", "h264-faststart.mp4", "h264-fragmented.mp4", "prores.mov", "h264.mkv", "vp9.webm", "mpeg4.avi"),
    *("h264-sound.mkv", "h264.flv", "wmv2.asf", "vp8.ogv", "mpeg2.mxf", "vp8.ivf", "raw.y4m", "pal8.gif", "h264.ts"),
)


NOTHING = Delivered(
    packets=replace(Packets.none(), decoded=np.zeros(1, np.int64), keys=np.ones(1, np.bool_)),
    tick_seconds=0.04,
    seconds=np.zeros(1),
    end_seconds=0.04,
    frame_seconds=0.04,
    stream_number=0,
    stream_id=1,
    listed_frames=0,
    listed_seconds=None,
    index_entries=0,
    latest_end=lambda: 0.0,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{name: bytes}, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("whole"), {}

    def get(name: str) -> bytearray:
        if name not in made:
            made[name] = write_seed(folder / name, BY_NAME[name]).read_bytes()
        return bytearray(made[name])

    return get


def refused(path: Path, data: bytes) -> str:
    """What is said of a file with these bytes."""
    path.write_bytes(data)
    with pytest.raises(VideoError) as caught:
        list(read_clips(Video("v", str(path), "v"), InputSpec(resize=(48, 64)), Sampling(clips=None, stride=16)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def noticed(path: Path, data: bytes) -> str:
    """What is remarked of a file with these bytes, or said where it is refused; "" for nothing."""
    path.write_bytes(data)
    items = read_clips(Video("v", str(path), "v"), InputSpec(resize=(48, 64)), Sampling(clips=None, stride=16))
    try:
        (end,) = [item for item in items if isinstance(item, VideoEnd)]
    except VideoError as error:
        return str(error)
    return "; ".join(end.info.remarks)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_whole_files_of_every_kind_are_whole(tmp_path, whole, name):
    path = tmp_path / name
    path.write_bytes(whole(name))
    assert len(index_video(str(path))) == BY_NAME[name].frames


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_whole_files_of_every_kind_are_without_remarks(tmp_path, whole, name):
    assert noticed(tmp_path / name, whole(name)) == ""


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.parametrize("kept", [0.8, 0.6])
def test_a_file_that_ends_before_its_header_says_is_refused(tmp_path, whole, name, kept):
    data = whole(name)
    message = refused(tmp_path / name, data[: int(kept * len(data))])
    assert re.search("cut off|unreadable|not a video", message), message


@pytest.mark.parametrize("name", COUNTING)
def test_a_file_that_ends_early_is_found_out(tmp_path, whole, name):
    data = whole(name)
    for kept in (0.95, 0.7):
        assert noticed(tmp_path / name, data[: int(kept * len(data))]), kept


def with_number(data: bytearray, place: int, value: int) -> bytearray:
    data[place : place + 4] = value.to_bytes(4, "big")
    return data


@pytest.mark.parametrize(
    ("box", "place", "value", "said"),
    [
        (b"stts", 12, 29, "its header lists 30 frames, and times of 29"),
        (b"stsz", 12, 29, "its header lists 29 frames, and times of 30"),
        (b"ctts", 12, 29, "its header lists 30 frames, and times of"),
        (b"stco", 12, 1 << 20, "its index lists 30 frames, only 0 can be read|cut off|lists 30 frames, but holds none"),
    ],
)
def test_tables_of_an_mp4_that_disagree_are_found_out(tmp_path, whole, box, place, value, said):
    data = whole("h264.mp4")
    message = noticed(tmp_path / "v.mp4", with_number(data, data.rindex(box) + place, value))
    assert any(words in message for words in said.split("|")), message


def test_a_fragment_that_is_missing_is_found_out(tmp_path, whole):
    data = whole("h264-fragmented.mp4")
    first = data.index(b"moof") - 4
    second = data.index(b"moof", first + 8) - 4
    third = data.index(b"moof", second + 8) - 4
    assert noticed(tmp_path / "v.mp4", data[:second] + data[third:])
    number = data.index(b"tfdt", third) + 12
    moved = with_number(bytearray(data), number, int.from_bytes(data[number : number + 4], "big") + 512 * 12)
    assert "0.48 s are missing between two of its fragments" in noticed(tmp_path / "v.mp4", moved)


@pytest.mark.parametrize("box", [b"traf", b"tfhd"])
def test_a_box_of_the_last_fragment_under_another_name_is_found_out(tmp_path, whole, box):
    data = whole("h264-fragmented.mp4")
    place = data.rindex(box)
    data[place : place + 4] = b"tra?"
    assert noticed(tmp_path / "v.mp4", data)


def test_fragments_behind_a_byte_too_few_are_found_out(tmp_path, whole):
    """What stands where the next box should is none, and players stop there."""
    data = whole("h264-fragmented.mp4")
    second = data.index(b"moof", data.index(b"moof") + 4) - 4
    for gone in (1, 4, 7):
        assert noticed(tmp_path / "v.mp4", data[: second - 1] + data[second - 1 + gone :])
    for more in (1, 7):
        place = data.index(b"mdat") - 4
        length = int.from_bytes(data[place : place + 4], "big")
        assert noticed(tmp_path / "v.mp4", with_number(bytearray(data), place, length + more))


def test_zeros_in_matroska_are_found_out(tmp_path, whole):
    data = whole("vp9.webm")
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    assert "matroska" in noticed(tmp_path / "v.webm", data)


def test_frames_that_an_avis_index_lists_and_that_are_not_there_are_found_out(tmp_path, whole):
    data = whole("mjpeg.avi")
    place = data.index(b"00dc", data.index(b"00dc", data.index(b"movi")) + 4)
    data[place : place + 4] = b"JUNK"
    assert "its index lists 30 frames" in noticed(tmp_path / "v.avi", data)


def test_frames_that_an_avi_holds_twice_are_found_out(tmp_path, whole):
    data = whole("mjpeg.avi")
    first = data.index(b"00dc", data.index(b"movi"))
    second = data.index(b"00dc", first + 4)
    twice = data[:second] + data[first:second] + data[second:]
    assert "its header lists 30 frames, 31 are found" in noticed(tmp_path / "v.avi", twice)


def test_an_ogg_without_its_last_page_is_found_out(tmp_path, whole):
    data = whole("vp8.ogv")
    assert "its last page" in noticed(tmp_path / "v.ogv", data[: data.rindex(b"OggS")])


def test_a_frame_of_asf_that_is_missing_is_found_out(tmp_path, whole):
    data = whole("wmv2.asf")
    start = data.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 50
    data[start + 3200 : start + 6400] = data[start + 6400 : start + 9600]
    assert noticed(tmp_path / "v.asf", data)


def test_a_transport_stream_that_was_cut_inside_a_packet_is_whole_and_remarked(tmp_path, whole):
    data = whole("h264.ts")
    assert "ends inside a packet" in noticed(tmp_path / "v.ts", data + data[:100])
    assert "does not begin with a packet" in noticed(tmp_path / "v.ts", data[:-188][-100:] + data)


def test_checksums_are_computed_where_there_are_any(tmp_path, whole):
    for name, tag in (("png.mov", b"IDAT"), ("ffv1.mkv", None)):
        data = whole(name)
        place = data.index(tag) + 400 if tag else len(data) // 2
        data[place] ^= 1
        assert noticed(tmp_path / name, data)


def test_walks_give_signs_of_life_and_end(tmp_path, monkeypatch):
    """Files of nothing but the smallest elements, as someone who means harm would make them."""
    hostile = {
        AVI: b"RIFF"
        + (200_004).to_bytes(4, "little")
        + b"AVI "
        + (b"JUNK" + (1).to_bytes(4, "little") + b"  ") * 20_000,
        MP4: b"\x00\x00\x00\x08free" * 25_000,
    }
    ticks = []
    monkeypatch.setattr(heartbeat, "LISTENERS", [lambda: ticks.append(1)])
    for container, data in hostile.items():
        path = tmp_path / "hostile"
        path.write_bytes(data)
        ticks.clear()
        with open(path, "rb") as file:
            assert container.check is not None
            container.check(file, replace(NOTHING, size_bytes=len(data)), Findings(partial=True))
        assert len(ticks) > 10_000, container.name


def test_an_avi_whose_clock_is_finer_than_its_frames_is_whole(tmp_path):
    """Its header counts the ticks of the last frame, too; the file says of none how long it lasts."""
    path = tmp_path / "v.avi"
    ticks = [10 * number for number in range(20)]
    coding = Coding("mpeg4", ".avi", options={})
    write_video(path, numbered_frames(20), coding=coding, ticks=ticks, time_base=Fraction(1, 250))
    assert index_video(str(path)).info.num_frames == 20
    assert index_video(str(path)).info.duration_seconds == pytest.approx(0.8)
