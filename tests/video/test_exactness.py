"""The frames asked for are the frames that come, whatever the codec and container."""

import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Clip, Video, VideoEnd
from p3dfeat.video import index_video, plan, read_clips
from p3dfeat.video.reading.decode import FrameReader
from p3dfeat.video.reading.index import open_video
from tests.videos import CODINGS, number_of, numbered_video, settled

COUNT = 200
SPEC = InputSpec(channels="luma", resize=(96, 128))
SAMPLINGS = [
    Sampling(clips=20),
    Sampling(clips=3),
    Sampling(clips=3, length=2),
    Sampling(clips=1, length=4),
    Sampling(clips=4, step=3),
    Sampling(clips=None, stride=16),
    Sampling(clips=None, stride=50, length=8),
    Sampling(clips=None, stride=5, step=2, length=8),
]


@pytest.fixture(scope="module", params=CODINGS)
def coded(request, tmp_path_factory):
    coding = CODINGS[request.param]
    path = tmp_path_factory.mktemp("coded") / f"video{coding.suffix}"
    return str(numbered_video(path, COUNT, coding=coding))


def numbers_read(path: str, sampling: Sampling, *, partial: bool = False) -> tuple[list[list[int]], VideoEnd]:
    """The numbers of each clip's frames, and how reading ended."""
    _, *clips, end = settled(read_clips(Video("v", path, path), SPEC, sampling, partial=partial))
    assert all(isinstance(clip, Clip) for clip in clips)
    return [[number_of(frame) for frame in clip.frames] for clip in clips], end


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_clips_hold_exactly_the_frames_planned(coded, sampling):
    index = index_video(coded)
    assert len(index) == COUNT
    planned = [p.frames.tolist() for p in plan(index, Video("v", coded, coded), sampling)]
    found, _ = numbers_read(coded, sampling)
    assert found == planned


def test_no_frame_is_decoded_twice_and_none_for_nothing_between_dense_clips(coded):
    _, end = numbers_read(coded, Sampling(clips=None, stride=4))
    assert end.frames_decoded == COUNT


def test_a_sparse_plan_never_decodes_more_than_one_pass(coded):
    _, end = numbers_read(coded, Sampling(clips=3, length=2))
    assert end.frames_decoded <= COUNT


@pytest.mark.parametrize(
    "name", ["h264 with B-frames", "hevc", "vp9 with hidden frames", "h264, open GOPs, in Matroska"]
)
def test_a_sparse_plan_seeks_where_that_saves_decoding(name, tmp_path):
    coding = CODINGS[name]
    path = str(numbered_video(tmp_path / f"long{coding.suffix}", 600, coding=coding))
    found, end = numbers_read(path, Sampling(clips=3, length=2))
    assert found == [[0, 1], [299, 300], [598, 599]]
    assert end.frames_decoded < 250


@pytest.mark.parametrize("name", ["h264 with B-frames", "mpeg4 with B-frames", "mpeg2 in a program stream"])
def test_frames_that_nobody_refers_to_are_left_out_unless_wanted(name, tmp_path):
    coding = CODINGS[name]
    path = str(numbered_video(tmp_path / f"v{coding.suffix}", 90, coding=coding))
    index = index_video(path)
    for first in range(3):  # whichever frames are wanted
        video = Video("v", path, path, float(index.seconds[first]), segment_origin="clock")
        items = list(read_clips(video, SPEC, Sampling(clips=None, stride=48, step=3)))
        found = [number_of(frame) for item in items if isinstance(item, Clip) for frame in item.frames[:13]]
        assert found[:13] == list(range(first, first + 39, 3))
        assert items[-1].frames_decoded < 75


@pytest.mark.parametrize("wanted", [[0], [199], [0, 199], [39, 40, 41, 119, 120, 121], list(range(0, 200, 13))])
def test_single_frames_come_exactly_across_keyframes(coded, wanted):
    index = index_video(coded)
    with open_video(coded) as (container, stream):
        reader = FrameReader(container, stream, index, np.array(wanted))
        found = [(n, number_of(frame.to_ndarray(format="rgb24"))) for n, frame in reader]
    assert found == [(n, n) for n in wanted]


def test_times_are_those_of_the_frames(coded):
    index = index_video(coded)
    start = index.seconds[0]
    assert np.allclose(index.seconds - start, np.arange(COUNT) / 25, atol=2e-3)
    assert index.end_seconds - start == pytest.approx(COUNT / 25, abs=0.05)
    assert index.info.num_frames == COUNT
    assert index.info.frame_rate == pytest.approx(25, rel=0.01)
