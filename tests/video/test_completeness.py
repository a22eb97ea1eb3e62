"""Files are held to what their containers say of themselves."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Video
from p3dfeat.video import index_video, limits, read_clips
from p3dfeat.video.completeness import CHECKS
from stress.seeds import SEEDS, write_seed
from tests.videos import Coding, numbered_frames, write_video

BY_NAME = {seed.name: seed for seed in SEEDS}
COUNTING = (
    *("h264.mp4", "h264-faststart.mp4", "h264-fragmented.mp4", "prores.mov", "h264.mkv", "vp9.webm", "mpeg4.avi"),
    *("h264-sound.mkv", "h264.flv", "wmv2.asf", "vp8.ogv", "mpeg2.mxf", "vp8.ivf", "raw.y4m", "pal8.gif", "h264.ts"),
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


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_whole_files_of_every_kind_are_whole(tmp_path, whole, name):
    path = tmp_path / name
    path.write_bytes(whole(name))
    assert len(index_video(str(path))) == BY_NAME[name].frames


@pytest.mark.parametrize("name", COUNTING)
def test_a_file_that_ends_early_is_found_out(tmp_path, whole, name):
    data = whole(name)
    for kept in (0.97, 0.7):
        refused(tmp_path / name, data[: int(kept * len(data))])


def with_number(data: bytearray, place: int, value: int) -> bytearray:
    data[place : place + 4] = value.to_bytes(4, "big")
    return data


@pytest.mark.parametrize(
    ("box", "place", "value", "said"),
    [
        (b"stts", 12, 29, "damaged: its header lists 30 frames, but times of 29"),
        (b"stts", 16, 5120, "damaged: its frames last 153,600 ticks, by its header 15,"),
        (b"stsz", 12, 29, "but the sizes|but times of 30"),
        (b"ctts", 16, 1 << 20, "damaged: by its header"),
        (b"ctts", 24, 1024, "damaged: by its header frames of one length are not shown one after the other"),
        (b"stsc", 16, 29, "damaged: its header lists 30 frames, but chunks for others"),
        (b"stsc", 20, 17, "damaged: its chunks are in codings that it does not describe"),
        (b"stco", 12, 1 << 20, "damaged or cut off: not all of its frames are where its index says"),
        (b"stss", 12, 31, "damaged: its list of keyframes is out of order"),
        (b"elst", 12, 99, "damaged: its edits last 99 ticks, by its header 1,200"),
        (b"mdhd", 0, 0, "damaged: one of its tracks has no box mdhd"),
    ],
)
def test_tables_of_an_mp4_that_disagree_are_found_out(tmp_path, whole, box, place, value, said):
    data = whole("h264.mp4")
    message = refused(tmp_path / "v.mp4", with_number(data, data.rindex(box) + place, value))
    assert any(words in message for words in said.split("|")), message


@pytest.mark.parametrize("name", ["h264.mp4", "h264.3gp", "hevc.mp4"])
def test_a_last_frame_that_is_shown_when_the_video_has_ended_is_found_out(tmp_path, whole, name):
    data = whole(name)
    table = data.rindex(b"ctts") - 4
    end = table + int.from_bytes(data[table : table + 4], "big")
    last = [place for place in range(table + 16, end, 8) if data[place : place + 4] == (1).to_bytes(4, "big")][-1]
    assert "shown long after the others" in refused(tmp_path / name, with_number(data, last + 4, 1 << 20))


def test_a_fragment_that_is_missing_is_found_out(tmp_path, whole):
    data = whole("h264-fragmented.mp4")
    first = data.index(b"moof") - 4
    second = data.index(b"moof", first + 8) - 4
    third = data.index(b"moof", second + 8) - 4
    between = "damaged: frames are missing between two of its fragments"
    assert refused(tmp_path / "v.mp4", data[:second] + data[third:]) == between
    number = data.index(b"mfhd", third) + 8
    renumbered = with_number(bytearray(data), number, 2)
    assert refused(tmp_path / "v.mp4", renumbered[:second] + renumbered[third:]) == between
    timeless = data.replace(b"tfdt", b"free")
    assert refused(tmp_path / "v.mp4", timeless[:second] + timeless[third:]) == "damaged: a fragment of it is missing"


@pytest.mark.parametrize("box", [b"traf", b"trun", b"tfhd", b"mfhd"])
def test_a_box_of_the_last_fragment_under_another_name_is_found_out(tmp_path, whole, box):
    data = whole("h264-fragmented.mp4")
    place = data.rindex(box)
    data[place : place + 4] = b"tra?"
    assert "damaged" in refused(tmp_path / "v.mp4", data)


def test_a_fragment_that_says_less_than_it_should_is_found_out(tmp_path, whole):
    data = whole("h264-fragmented.mp4")
    said = "damaged: a fragment of it does not say all of its track that it should"
    assert refused(tmp_path / "v.mp4", with_number(data, data.rindex(b"tfhd") + 4, 0x3B)) == said


def test_fragments_behind_a_byte_too_few_are_found_out(tmp_path, whole):
    """What stands where the next box should is none, and players stop there."""
    data = whole("h264-fragmented.mp4")
    second = data.index(b"moof", data.index(b"moof") + 4) - 4
    said = "damaged: one of its boxes does not begin where the one before it ends"
    for gone in (1, 4, 7):
        assert refused(tmp_path / "v.mp4", data[: second - 1] + data[second - 1 + gone :]) == said
    for more in (1, 7, 8):
        place = data.index(b"mdat") - 4
        length = int.from_bytes(data[place : place + 4], "big")
        assert refused(tmp_path / "v.mp4", with_number(bytearray(data), place, length + more)) == said


def test_a_block_of_matroska_under_another_name_is_found_out(tmp_path, whole):
    data = whole("h264.mkv")
    place = data.index(b"\x1f\x43\xb6\x75") + 12  # the cluster's time is its first element
    block = data.index(b"\xa3", place)
    data[block] = 0xA5
    assert "is no element of Matroska" in refused(tmp_path / "v.mkv", data)


def test_a_frame_that_an_avis_index_lists_and_that_is_not_there_is_found_out(tmp_path, whole):
    data = whole("mjpeg.avi")
    place = data.index(b"00dc", data.index(b"00dc", data.index(b"movi")) + 4)
    data[place : place + 4] = b"JUNK"
    assert "its index lists 30 frames" in refused(tmp_path / "v.avi", data)


def test_an_avi_whose_index_is_gone_is_found_out(tmp_path, whole):
    data = whole("mjpeg.avi")
    place = data.index(b"idx1")
    data[place : place + 4] = b"JUNK"
    assert refused(tmp_path / "v.avi", data) == "damaged or cut off: its index is missing"


def test_an_mp4_that_ends_early_without_its_media_box_is_found_out(tmp_path, whole):
    data = whole("h264-faststart.mp4")
    place = data.index(b"mdat")
    data[place : place + 4] = b"text"
    assert "damaged or cut off" in refused(tmp_path / "v.mp4", data[:-2000])


def test_a_page_of_ogg_that_is_missing_is_found_out(tmp_path, whole):
    data = whole("vp8.ogv")
    pages = [place for place in range(len(data)) if data[place : place + 4] == b"OggS"]
    assert "is missing" in refused(tmp_path / "v.ogv", data[: pages[-2]] + data[pages[-1] :])


def test_a_packet_of_asf_that_is_missing_is_found_out(tmp_path, whole):
    data = whole("wmv2.asf")
    start = data.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 50
    data[start + 3200 : start + 6400] = data[start + 6400 : start + 9600]
    assert "is none, or lacks a piece" in refused(tmp_path / "v.asf", data)


def test_a_bare_stream_under_the_name_of_a_container_has_lost_its_beginning(tmp_path, whole):
    said = "damaged: named .mp4, but only a bare h264 stream is found; its beginning is lost"
    assert refused(tmp_path / "v.mp4", whole("h264.h264")) == said
    assert refused(tmp_path / "v.gif", whole("h264.h264")) == said.replace(".mp4", ".gif")


def test_checksums_are_computed_where_there_are_any(tmp_path, whole):
    for name, tag in (("png.mov", b"IDAT"), ("ffv1.mkv", None)):
        data = whole(name)
        place = data.index(tag) + 400 if tag else len(data) // 2
        data[place] ^= 1
        assert "damaged" in refused(tmp_path / name, data)


def test_walks_give_signs_of_life_and_end(tmp_path, monkeypatch):
    """Files of nothing but the smallest elements, as someone who means harm would make them."""
    segment = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67" + (1 << 56 | 200_000).to_bytes(8, "big")
    hostile = {
        "matroska,webm": segment + b"\xec\x80" * 100_000,
        "avi": b"RIFF" + (200_004).to_bytes(4, "little") + b"AVI " + bytes(200_000),
        "mov,mp4,m4a,3gp,3g2,mj2": b"\x00\x00\x00\x08free" * 25_000,
        "ogg": (b"OggS" + bytes(23)) * 8_000,
        "gif": b"GIF89a" + bytes(7) + b"!\x01\x00" * 70_000,
        "flv": b"FLV\x01" + bytes(9) + (b"\x08" + bytes(10) + (11).to_bytes(4, "big")) * 13_000,
    }
    ticks = []
    monkeypatch.setattr(limits, "_on_tick", [lambda: ticks.append(1)])
    for format, data in hostile.items():
        path = tmp_path / "hostile"
        path.write_bytes(data)
        ticks.clear()
        with open(path, "rb") as file, suppress(VideoError):
            CHECKS[format](file, len(data))
        assert ticks, format


def test_an_avi_whose_clock_is_finer_than_its_frames_is_whole(tmp_path):
    """Its header counts the ticks of the last frame, too; the file says of none how long it lasts."""
    path = tmp_path / "v.avi"
    ticks = [10 * number for number in range(20)]
    coding = Coding("mpeg4", ".avi", options={})
    write_video(path, numbered_frames(20), coding=coding, ticks=ticks, time_base=Fraction(1, 250))
    assert index_video(str(path)).info.num_frames == 20
    assert index_video(str(path)).info.duration_seconds == pytest.approx(0.8)
