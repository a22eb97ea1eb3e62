"""Small pictures of videos: true colours, within their size, and only of files that are still the stored ones."""

import io
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

import p3dfeat
from p3dfeat.fingerprint import fingerprint, size_and_time
from p3dfeat.store import open_features
from p3dfeat.types import Video
from p3dfeat.video.thumbnails import PAGE_BYTES, StripPlan, as_webp, frame_size, strip_of, take_strips
from p3dfeat.workflows.reports.pictures import no_picture_sentences, pictures_of
from tests.videos import panning_frames, write_video

COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "red": (220, 30, 30), "blue": (20, 40, 200)}


def read_webp(content: bytes) -> np.ndarray:
    with av.open(io.BytesIO(content)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_true(name):
    pixels = np.full((48, 64, 3), COLOURS[name], np.uint8)
    found = read_webp(as_webp(pixels, 75))
    assert found.reshape(-1, 3).mean(axis=0) == pytest.approx(COLOURS[name], abs=3)
    if name == "white":
        assert found.min() >= 253


def test_a_strip_shows_the_video_from_its_beginning_to_its_end(tmp_path):
    levels = np.linspace(20, 235, 80).astype(np.uint8)
    path = write_video(tmp_path / "v.mp4", (np.full((96, 128, 3), level, np.uint8) for level in levels))
    plan = StripPlan(6, 72, 10_000)
    ((_, strip),) = take_strips([Video("v", str(path), "v")], {}, plan, workers=1)
    assert (strip.frames, strip.width, strip.height) == (6, 96, 72)
    assert len(strip.webp) <= 10_000
    pixels = read_webp(strip.webp)
    assert pixels.shape == (72, 6 * 96, 3)
    means = [part.mean() for part in np.split(pixels, 6, axis=1)]
    expected = [levels[round(79 * (n + 1) / 7)] for n in range(6)]
    assert means == pytest.approx(expected, abs=8)


def test_no_strip_is_larger_than_its_share():
    noise = np.random.default_rng(0).integers(0, 256, size=(8, 96, 128, 3)).astype(np.uint8)
    strip = strip_of(list(noise), 12_000)
    assert len(strip.webp) <= 12_000
    assert 1 <= strip.frames < 8
    assert read_webp(strip.webp).shape == (96, 128 * strip.frames, 3)


@pytest.mark.parametrize("count", [1, 100, 2_000, 10_000, 50_000])
def test_the_pictures_of_a_page_are_under_40_mb_in_base64(count):
    plan = StripPlan.of(count)
    assert count * plan.most_bytes <= PAGE_BYTES
    assert PAGE_BYTES * 4 / 3 < 37e6
    assert plan.frames >= 4 or count > 10_000


def test_frames_keep_their_shape_within_bounds():
    assert frame_size(240, 320, 96) == (96, 128)
    assert frame_size(1920, 1080, 96) == (96, 56)
    assert frame_size(10, 1000, 48) == (48, 112)
    assert frame_size(1000, 10, 48) == (48, 24)


@pytest.fixture
def extracted(tmp_path) -> Path:
    """Four videos of two shapes, and their feature file."""
    (tmp_path / "videos").mkdir()
    for number, size in enumerate(((64, 96), (64, 96), (96, 64), (64, 96))):
        frames = panning_frames(30, pixels_a_frame=2, seed=number)
        write_video(tmp_path / "videos" / f"{number}.mp4", (frame[: size[0], : size[1]] for frame in frames))
    p3dfeat.extract(tmp_path / "videos", tmp_path / "f.h5", clips=1, workers=1, engine="torch")
    return tmp_path


def test_gone_and_changed_sources_are_counted_and_the_others_shown(extracted):
    videos = extracted / "videos"
    (videos / "0.mp4").unlink()
    shutil.copy(videos / "2.mp4", videos / "1.mp4")
    with open_features(extracted / "f.h5") as features:
        attributes = {id: dict(video.attributes) for id, video in features.items()}
    assert len(attributes) == 4
    events = []
    found = pictures_of(attributes, workers=1, on_event=events.append)
    assert found.gone == ["0"]
    assert found.changed == ["1"]
    assert set(found.strips) == {"2", "3"}
    assert found.counts() == {"gone": 1, "changed": 1}
    assert no_picture_sentences(found.counts()) == [
        "no pictures of 1 video: not there any more",
        "no pictures of 1 video: changed since",
    ]
    assert [(event.done, event.total) for event in events] == [(1, 2), (2, 2)]
    assert found.strips["2"].height > found.strips["2"].width


def test_a_source_that_cannot_be_read_is_counted_with_the_reason(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"not a video" * 100)
    size, modified = size_and_time(str(path))
    about = {"source": str(path), "size_bytes": size, "modified": modified, "fingerprint": fingerprint(str(path))}
    found = pictures_of({"v": about}, workers=1)
    assert [id for id, _ in found.unreadable] == ["v"]
    assert found.counts() == {"unreadable": 1}


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/v.mp4", "", "/dev/zero"])
def test_only_plain_files_are_opened(source):
    assert pictures_of({"v": {"source": source}}).gone == ["v"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "v.mp4")
    assert pictures_of({"v": {"source": str(tmp_path / "v.mp4")}}).gone == ["v"]
