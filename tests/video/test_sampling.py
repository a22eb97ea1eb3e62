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


@pytest.mark.parametrize(
    ("num_frames", "stride", "offset", "tail", "centres"),
    [
        (48, 16, 8, "pad", [8, 24, 40]),
        (48, 16, 0, "pad", [0, 16, 32]),
        (49, 16, 0, "pad", [0, 16, 32, 48]),
        (48, 16, 8, "drop", [8, 24, 40]),
        (47, 16, 8, "drop", [8, 24]),
        (48, 16, 0, "drop", [0, 16, 32]),
        (10, 16, 8, "pad", [8]),
        (5, 16, 8, "drop", [8]),  # one clip, whatever the tail
    ],
)
def test_an_offset_places_the_centre_of_the_first_clip(num_frames, stride, offset, tail, centres):
    found = starts(num_frames, clips=None, stride=stride, offset=offset, tail=tail)
    assert [start + 8 for start in found] == centres


def test_an_offset_of_half_a_clip_is_the_usual_beginning():
    assert starts(160, clips=None, stride=4, offset=8, tail="drop") == starts(160, clips=None, stride=4, tail="drop")


def test_frames_before_the_video_repeat_its_first_frame():
    plan = plan_clips(*steady(40), Sampling(clips=None, stride=16, offset=0))[0]
    assert plan.frames.tolist() == [0] * 8 + list(range(8))
    assert plan.padded_frames == 8


def test_a_clip_wider_than_the_video_repeats_both_ends():
    plan = plan_clips(*steady(4), Sampling(clips=None, stride=16, offset=2))[0]
    assert plan.frames.tolist() == [0] * 6 + [0, 1, 2, 3] + [3] * 6
    assert plan.padded_frames == 12


@pytest.mark.parametrize("num_frames", [1, 2, 3])
@pytest.mark.parametrize("sampling", [{"stride": 5, "offset": 0}, {"every": 9.0}, {"stride": 5, "offset": 1}])
def test_a_clip_between_two_frames_takes_the_nearest(num_frames, sampling):
    for length, step in ((3, 2), (16, 7), (5, 4), (1, 9)):
        plans = plan_clips(*steady(num_frames), Sampling(clips=None, length=length, step=step, **sampling))
        for plan in plans:
            assert set(plan.frames.tolist()) <= set(range(num_frames))
            assert 0 <= plan.padded_frames < length
            assert len(plan.frames) == length


@pytest.mark.parametrize("fps", [12.5, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60, 120])
@pytest.mark.parametrize("every", [0.5, 1.0, 2.0])
def test_a_clip_per_interval_is_centred_in_it_whatever_the_frame_rate(fps, every):
    seconds, end = steady(round(20 * fps), fps)
    plans = plan_clips(seconds, end, Sampling(clips=None, every=every))
    assert len(plans) == round(20 / every)
    for number, plan in enumerate(plans):
        if plan.padded_frames:
            continue
        centre = (seconds[plan.frames[0]] + seconds[plan.frames[-1]] + 1 / fps) / 2
        assert abs(centre - (number + 0.5) * every) <= 0.5 / fps + 1e-9


def test_a_clip_per_interval_follows_timestamps_not_frame_numbers():
    seconds = np.concatenate([np.arange(50) / 25, 2 + np.arange(100) / 50])  # 25 frames a second, then 50
    plans = plan_clips(seconds, 4.0, Sampling(clips=None, every=1.0))
    assert [int(plan.frames[8]) for plan in plans] == [13, 38, 75, 125]


@pytest.mark.parametrize(
    ("duration", "tail", "rows"),
    [(10.0, "pad", 5), (10.9, "pad", 5), (11.1, "pad", 6), (11.9, "drop", 5), (11.99, "drop", 6), (0.4, "pad", 1)],
)
def test_the_last_interval_needs_its_middle_or_with_drop_its_end(duration, tail, rows):
    seconds, _ = steady(round(duration * 25))
    assert len(plan_clips(seconds, duration, Sampling(clips=None, every=2.0, tail=tail))) == rows


def test_intervals_of_a_segment_count_from_its_start():
    seconds, end = steady(250)
    plans = plan_clips(seconds, end, Sampling(clips=None, every=1.0), start_seconds=3.0, stop_seconds=6.0)
    assert [int(plan.frames[8]) for plan in plans] == [88, 113, 138]


def test_intervals_of_resampled_frames_have_the_same_middles():
    seconds, end = steady(300, 30)
    plain = plan_clips(seconds, end, Sampling(clips=None, every=2.0))
    resampled = plan_clips(seconds, end, Sampling(clips=None, every=2.0, fps=15))
    assert [int(plan.frames[8]) for plan in resampled] == [int(plan.frames[8]) for plan in plain]


def test_spacing_inside_centres_clips_at_inner_points():
    wanted = np.linspace(0, 240, 10)[1:9].astype(int)  # as readers for video question answering sample
    assert [start + 8 for start in starts(240, clips=8, spacing="inside")] == wanted.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clips": 3, "every": 2.0}, "give one of"),
        ({"clips": 3, "offset": 2}, "an offset needs a stride"),
        ({"clips": None, "stride": 4, "spacing": "inside"}, "needs a number of clips"),
        ({"clips": None, "every": 0.0}, "every 0 s; must be from"),
        ({"clips": None, "every": float("nan")}, "every nan s; must be from"),
        ({"clips": None, "every": 2.0, "tail": "align"}, "its time is fixed"),
        ({"clips": None, "stride": 4, "offset": -1}, "offset is -1; must be from 0"),
    ],
)
def test_contradictory_sampling_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Sampling(**settings)


def test_intervals_without_number_are_refused():
    with pytest.raises(VideoError, match="too many"):
        plan_clips(np.array([0.0, 1e9]), 2e9, Sampling(clips=None, every=0.001))
