"""Which frames a plan names."""

import numpy as np
import pytest

from p3dfeat.config import Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.video.reading.sampling import clip_starts, plan_clips, resample


def starts(num_frames: int, **settings) -> list[int]:
    return clip_starts(num_frames, Sampling(**settings)).tolist()


def steady(num_frames: int, fps: float = 25.0) -> tuple[np.ndarray, float]:
    return np.arange(num_frames) / fps, num_frames / fps


def test_uniform_clips_reach_from_the_first_frame_to_the_last():
    found = starts(325, clips=20)
    assert (len(found), found[0], found[-1] + 16) == (20, 0, 325)
    assert set(np.diff(found)) <= {16, 17}  # evenly: no gap differs from another by more than a frame


def test_a_single_clip_is_taken_from_the_middle():
    assert starts(100, clips=1) == [42]


@pytest.mark.parametrize("num_frames", [1, 5, 15, 16])
def test_a_video_no_longer_than_a_clip_gives_all_its_clips_from_the_start(num_frames):
    assert starts(num_frames, clips=3) == [0, 0, 0]


@pytest.mark.parametrize(
    ("num_frames", "stride", "tail", "expected"),
    [
        (48, 16, "pad", [0, 16, 32]),
        (50, 16, "pad", [0, 16, 32, 48]),
        (50, 16, "drop", [0, 16, 32]),
        (30, 8, "pad", [0, 8, 16]),
        (30, 8, "drop", [0, 8]),
        (50, 16, "align", [0, 16, 32, 34]),
        (48, 16, "align", [0, 16, 32]),
        (10, 16, "align", [0]),
        (10, 16, "pad", [0]),
        (10, 16, "drop", [0]),
        (20, 1, "pad", [0, 1, 2, 3, 4]),
        (40, 40, "pad", [0]),
        (41, 40, "pad", [0, 40]),
    ],
)
def test_dense_clips_cover_every_frame_once_the_tail_is_padded(num_frames, stride, tail, expected):
    assert starts(num_frames, clips=None, stride=stride, tail=tail) == expected


def test_a_step_spreads_a_clip_over_more_frames():
    (plan,) = plan_clips(*steady(40), Sampling(clips=1, step=2))
    assert plan.frames.tolist() == list(range(4, 36, 2))
    assert plan.padded_frames == 0


def test_a_short_video_repeats_its_last_frame_and_says_so():
    (plan,) = plan_clips(*steady(5), Sampling(clips=1))
    assert plan.frames.tolist() == [0, 1, 2, 3, 4] + [4] * 11
    assert plan.padded_frames == 11


def test_a_padded_clip_with_a_step_repeats_a_frame_of_its_own():
    (plan,) = plan_clips(*steady(6), Sampling(clips=1, step=3, length=4))
    assert plan.frames.tolist() == [0, 3, 3, 3]
    assert plan.padded_frames == 2


def test_the_dense_tail_says_how_much_of_it_is_padding():
    plans = plan_clips(*steady(20), Sampling(clips=None, stride=16))
    assert [p.padded_frames for p in plans] == [0, 12]
    assert plans[1].frames.tolist() == [16, 17, 18, 19] + [19] * 12


def test_a_segment_takes_only_frames_shown_in_it():
    seconds, end = steady(100)
    plans = plan_clips(seconds, end, Sampling(clips=None, stride=16), start_seconds=1.0, stop_seconds=2.28)
    assert [(p.frames[0], p.frames[-1]) for p in plans] == [(25, 40), (41, 56)]


@pytest.mark.parametrize(("start", "stop"), [(4.0, 5.0), (9.0, None)])
def test_a_segment_without_frames_is_an_error(start, stop):
    seconds, end = steady(100)
    with pytest.raises(VideoError, match=r"no frame from .* the video runs from 0 to"):
        plan_clips(seconds, end, Sampling(), start_seconds=start, stop_seconds=stop)


@pytest.mark.parametrize(("start", "stop", "frame"), [(1.001, 1.002, 25), (1.039, 1.0395, 25), (3.99, 3.995, 99)])
def test_a_segment_shorter_than_a_frame_takes_the_frame_on_screen(start, stop, frame):
    seconds, end = steady(100)
    for sampling in (Sampling(clips=1, length=2), Sampling(clips=None, stride=1, length=2), Sampling(clips=1, fps=25)):
        plans = plan_clips(seconds, end, sampling, start_seconds=start, stop_seconds=stop)
        assert [set(plan.frames.tolist()) for plan in plans] == [{frame}]


def test_resampling_to_the_same_rate_changes_nothing_even_with_rounded_timestamps():
    seconds = np.round(np.arange(300) / 30, 3)  # Matroska's milliseconds
    assert resample(seconds, 10.0, 30, slack=0.0005).tolist() == list(range(300))


def test_resampling_down_takes_the_frame_on_screen():
    seconds, end = steady(30, 30)
    assert resample(seconds, end, 10, slack=0).tolist() == list(range(0, 30, 3))


def test_resampling_up_repeats_frames():
    seconds, end = steady(4, 10)
    assert resample(seconds, end, 20, slack=0).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_resampling_follows_a_variable_frame_rate():
    seconds = np.array([0.0, 0.1, 0.2, 1.2, 1.3])  # nothing new for a second
    assert resample(seconds, 1.4, 5, slack=0).tolist() == [0, 2, 2, 2, 2, 2, 3]


def test_fps_and_sampling_work_together():
    seconds, end = steady(200, 50)
    plans = plan_clips(seconds, end, Sampling(clips=None, stride=16, fps=25))
    assert plans[0].frames.tolist() == list(range(0, 32, 2))
    assert len(plans) == 7


@pytest.mark.parametrize(
    "settings",
    [
        {"clips": 0},
        {"clips": 5, "stride": 5},
        {"clips": None},
        {"clips": None, "stride": 0},
        {"step": 0},
        {"length": 0},
        {"fps": 0.0},
        {"fps": float("nan")},
        {"tail": "keep"},
    ],
)
def test_an_impossible_sampling_is_refused(settings):
    with pytest.raises(UsageError, match="sampling"):
        Sampling(**settings)
