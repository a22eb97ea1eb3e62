"""What is left of damaged videos, where the user asks for it."""

import av
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video import Decoders, read_clips
from tests.videos import CODINGS, number_of, numbered_video, settled

SPEC = InputSpec(channels="luma", resize=(96, 128))
DENSE = Sampling(clips=None, stride=16, tail="drop")


def read(path, sampling=DENSE, **settings) -> tuple[VideoStart, list[Clip], VideoEnd]:
    start, *clips, end = settled(read_clips(Video("v", str(path), "v"), SPEC, sampling, **settings))
    return start, clips, end


def first_numbers(clips) -> list[int]:
    for clip in clips:
        first = number_of(clip.frames[0])
        assert [number_of(frame) for frame in clip.frames] == list(range(first, first + 16))
    return [number_of(clip.frames[0]) for clip in clips]


@pytest.fixture(params=["h264 with B-frames", "mpeg4 with B-frames", "h264 in MPEG-TS"])
def damaged(tmp_path, request):
    """200 frames, of which those from 100 on do not decode, up to the next keyframe."""
    coding = CODINGS[request.param]
    path = numbered_video(tmp_path / f"damaged{coding.suffix}", 200, coding=coding)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = {p.pts: (p.pos, p.size) for p in container.demux(video=0) if p.size}
    place, size = places[sorted(places)[100]]
    if coding.suffix == ".ts":  # a packet is lost, which leaves the rest in step
        place = place // 188 * 188 + 188
        del data[place : place + 188]
    else:
        data[place + 8 : place + size] = np.random.default_rng(3).bytes(size - 8)
    path.write_bytes(data)
    return path


def test_a_damaged_video_fails_where_one_is_strict_unless_parts_of_it_are_asked_for(damaged):
    with pytest.raises(VideoError, match=r"damaged|near frame|1 of its packets are incomplete"):
        read(damaged, strict=True)


def test_clips_whose_frames_all_decode_are_used_and_the_others_counted(damaged):
    """Where one is strict: frames that the decoder has complained of do not count as decoded."""
    start, clips, end = read(damaged, partial=True, strict=True)
    found = first_numbers(clips)
    assert start.num_clips == 12 == len(found) + end.info.clips_left_out
    assert end.info.clips_left_out >= 1
    assert {0, 16, 32} <= set(found)
    assert 96 not in found
    assert max(found) >= 144  # it goes on at the next keyframe
    assert end.info.damage is not None


def test_a_whole_video_is_not_marked_and_gives_the_same_clips(numbered):
    _, strict, end = read(numbered)
    _, lenient, lenient_end = read(numbered, partial=True)
    assert (lenient_end.info.damage, lenient_end.info.clips_left_out) == (None, 0)
    assert lenient_end == end
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(strict, lenient, strict=True))


@pytest.mark.parametrize("name", ["h264, open GOPs, in Matroska", "mjpeg", "vp9 with hidden frames"])
def test_of_a_video_that_was_cut_off_clips_are_taken_from_what_is_there(tmp_path, name):
    coding = CODINGS[name]
    path = numbered_video(tmp_path / f"v{coding.suffix}", 200, coding=coding)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    _, clips, end = read(path, partial=True)
    found = first_numbers(clips)
    assert found == list(range(0, 16 * len(found), 16))
    assert 2 <= len(found) <= 8
    assert "cut off" in str(end.info.damage)


def test_a_video_of_which_nothing_is_left_fails_all_the_same(tmp_path):
    path = numbered_video(tmp_path / "v.mp4", 28, coding=CODINGS["mpeg4 with B-frames"])  # one GOP
    data = bytearray(path.read_bytes())
    place = data.index(b"mdat") + 4
    data[place + 100 : place + 400] = np.random.default_rng(3).bytes(300)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged: .*; none of its clips can be used"):
        read(path, partial=True)


def test_processes_read_parts_as_this_one_does(damaged, numbered):
    videos = [Video("d", str(damaged), "d"), Video("n", str(numbered), "n")]
    here = [first_numbers(read(video.path, partial=True, strict=True)[1]) for video in videos]
    there: list[list[int]] = [[], []]
    ends = []
    with Decoders(1, partial=True, strict=True) as decoders:
        for video, item in decoders.read(videos, SPEC, DENSE):
            if isinstance(item, VideoStart):
                there[videos.index(video)].clear()
            elif isinstance(item, Clip):
                there[videos.index(video)].append(number_of(item.frames[0]))
            elif isinstance(item, VideoEnd):
                ends.append(item)
    assert there == here
    assert [end.info.damage is None for end in ends] == [False, True]


def test_flow_of_parts_needs_the_next_frame_too(damaged):
    """A clip whose last flow leads to a frame that does not decode is left out."""
    spec = InputSpec(channels="flow", resize=(24, 32), mean=(128.0,))
    _, pictures, _ = read(damaged, partial=True, strict=True)
    start, *clips, end = settled(read_clips(Video("v", str(damaged), "v"), spec, DENSE, partial=True, strict=True))
    assert start.num_clips == 12 == len(clips) + end.info.clips_left_out
    by_pictures, by_flow = ({clip.first_frame for clip in found} for found in (pictures, clips))
    assert by_flow <= by_pictures
    assert len(by_pictures - by_flow) <= 1  # the clip in front of the damage, if it ends right there
    assert {0, 16, 32} <= by_flow
    assert max(by_flow) >= 144
