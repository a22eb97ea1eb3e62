"""Which clips int8 is calibrated on."""

import numpy as np
import pytest

from p3dfeat.errors import UsageError
from p3dfeat.types import Video
from p3dfeat.workflows import calibrate as calibration
from p3dfeat.workflows.calibrate import CALIBRATION_CLIPS, CLIPS, calibration_for, chosen_clips, spread
from p3dfeat.zoo import load_model
from tests.videos import number_of, numbered_video


@pytest.fixture(scope="module")
def model():
    return load_model("p3d-camera")


def video(path, id: str = "") -> Video:
    return Video(id or path.stem, str(path), path.name)


def first_frames(clips) -> list[int]:
    return [number_of(np.repeat(clip[0], 3, axis=-1)) for clip in clips]


def test_one_long_video_gives_clips_from_all_over_it_a_third_held_out(model, numbered):
    chosen = chosen_clips(model, [video(numbered)])
    assert (len(chosen.calibration), len(chosen.measured), chosen.held_out) == (CALIBRATION_CLIPS, 8, True)
    calibrated, measured = first_frames(chosen.calibration), first_frames(chosen.measured)
    assert not set(calibrated) & set(measured)
    assert sorted(calibrated + measured) == pytest.approx(np.linspace(0, 150 - 16, CLIPS), abs=1)


def test_many_videos_give_one_clip_each_and_some_are_held_out(model, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "CLIPS", 6)
    videos = [video(numbered_video(tmp_path / f"{n}.mp4", 20 + 2 * n)) for n in range(12)]
    chosen = chosen_clips(model, videos)
    assert first_frames(chosen.calibration) == [(4 + 2 * n) // 2 for n in (0, 2, 6, 8)]  # the middle of each
    assert first_frames(chosen.measured) == [(4 + 2 * n) // 2 for n in (4, 10)]


def test_the_choice_is_always_the_same(model, folder):
    videos = [video(path) for path in sorted(folder.rglob("*.mp4"))]
    first, second = chosen_clips(model, videos), chosen_clips(model, videos)
    assert np.array_equal(np.stack(first.calibration), np.stack(second.calibration))
    assert np.array_equal(np.stack(first.measured), np.stack(second.measured))


def test_what_cannot_be_read_is_passed_over(model, folder, tmp_path):
    (tmp_path / "bad.mp4").write_text("x")
    videos = [video(tmp_path / "bad.mp4"), video(tmp_path / "gone.mp4"), video(folder / "left.mp4")]
    assert len(chosen_clips(model, videos).calibration) > 4
    with pytest.raises(UsageError, match="precision 'int8': p3d-camera is not calibrated yet; none of the videos can"):
        chosen_clips(model, videos[:2])


def test_clips_that_are_all_the_same_are_one_and_none_is_held_out(model, tmp_path):
    chosen = chosen_clips(model, [video(numbered_video(tmp_path / "short.mp4", 5))])
    assert (len(chosen.calibration), len(chosen.measured), chosen.held_out) == (1, 1, False)


def test_videos_are_spread_over_all_of_them_and_the_others_stand_in(tmp_path):
    videos = [Video(str(n), f"{n}.mp4", f"{n}.mp4") for n in range(10)]
    assert [item.id for item in spread(videos, 4)] == ["0", "2", "5", "7", "1", "3", "4", "6", "8", "9"]
    assert [item.id for item in spread(videos[:2], 4)] == ["0", "1"]
    assert list(spread([], 4)) == []


def test_only_int8_is_calibrated(model):
    assert calibration_for("auto", model, []) is None
    assert calibration_for("fp32", model, []) is None
    wanted = calibration_for("int8", model, [])
    assert wanted is not None
    assert wanted.weights_sha256 == model.weights_sha256
    with pytest.raises(UsageError, match="give videos to calibrate on"):
        wanted.clips()
