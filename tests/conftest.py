"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest

from tests.videos import numbered_video, panning_frames, write_video

CLIPS = Path(os.environ.get("P3DFEAT_TEST_CLIPS", Path(__file__).parents[2] / "shared" / "clips"))


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """A folder of eight real videos, which are not part of the project."""
    if not CLIPS.is_dir():
        pytest.skip("the real clips are not at hand")
    return CLIPS


@pytest.fixture(scope="session")
def numbered(tmp_path_factory) -> Path:
    """150 numbered frames at 25 a second, H.264 with B-frames, 128 x 96."""
    return numbered_video(tmp_path_factory.mktemp("numbered") / "numbered.mp4", 150)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Three short videos, one of them below a folder, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "archery").mkdir()
    write_video(folder / "left.mp4", panning_frames(40, pixels_a_frame=-3))
    write_video(folder / "right.mp4", panning_frames(40, pixels_a_frame=3))
    write_video(folder / "archery" / "clip7.mp4", panning_frames(24, pixels_a_frame=3, seed=1))
    (folder / "notes.txt").write_text("not a video")
    return folder
