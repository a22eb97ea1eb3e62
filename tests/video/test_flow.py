"""Optical flow: its direction, its bytes, and that a frame's flow is the same whatever else is read."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

import p3dfeat
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import UsageError
from p3dfeat.nets import P3D, Architecture
from p3dfeat.types import Clip, Video, VideoEnd
from p3dfeat.video import read_clips
from p3dfeat.video.pictures.flow import as_bytes, frames_for_flow
from tests.reference_weights import port_checkpoint
from tests.videos import Coding, write_video

# To the next frame: right, down. The last frame has none, and gets that of the one before.
MOVES = [(1, 0), (2, 0), (3, 0), (0, 2), (0, 2), (-2, 0), (-1, 1), (0, 0), (2, 1), (1, 0), (1, 2), (1, 2)]
LOSSLESS = Coding("ffv1", ".mkv", "gray", {})
SPEC = InputSpec(length=4, channels="flow", resize=(48, 64), crop=(32, 32), mean=(128.0,))


def texture(seed: int = 0, size: tuple[int, int] = (160, 200)) -> np.ndarray:
    """Smooth noise, which has something to follow everywhere."""
    noise = np.random.default_rng(seed).random(size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def moving(shifts: list[tuple[int, int]], seed: int = 0) -> list[np.ndarray]:
    """Frames of 48 x 64 cut from a texture; shifts: (right, down) that its content has moved by, in each frame."""
    whole = texture(seed)
    return [np.repeat(whole[50 - y : 98 - y, 60 - x : 124 - x, None], 3, axis=2) for x, y in shifts]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """12 frames, lossless; the speed changes from frame to frame."""
    places = np.cumsum([(0, 0), *MOVES[:-1]], 0)
    frames = moving([tuple(map(int, place)) for place in places])
    path = tmp_path_factory.mktemp("flow") / "moving.mkv"
    return write_video(path, frames, coding=LOSSLESS)


def read(path, sampling, spec=SPEC, **options):
    *found, end = list(read_clips(Video("v", str(path), "v"), spec, sampling, **options))
    assert isinstance(end, VideoEnd)
    return [item for item in found if isinstance(item, Clip)]


def pixels(clip: Clip) -> np.ndarray:
    """Flow of each frame in pixels: the median over the picture, (T, 2)."""
    return np.median((clip.frames.astype(float) - 128) * 40 / 255, axis=(1, 2))


def test_the_flow_is_the_motion_to_the_next_frame(video):
    (clip,) = read(video, Sampling(clips=None, stride=12, length=12))
    assert clip.frames.shape == (12, 32, 32, 2)
    np.testing.assert_allclose(pixels(clip), MOVES, atol=0.35)


def test_no_motion_is_128_everywhere(tmp_path):
    path = write_video(tmp_path / "still.mkv", moving([(0, 0)] * 6), coding=LOSSLESS)
    (clip,) = read(path, Sampling(clips=1, length=4))
    assert (clip.frames == 128).all()


def test_a_video_of_one_frame_does_not_move(tmp_path):
    path = write_video(tmp_path / "one.mkv", moving([(0, 0)]), coding=LOSSLESS)
    (clip,) = read(path, Sampling(clips=1, length=4))
    assert (clip.frames == 128).all()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(clips=1, length=4),
        Sampling(clips=3, length=4),
        Sampling(clips=2, length=4, step=2),
        Sampling(clips=None, stride=5, length=4, tail="align"),
        Sampling(clips=None, stride=3, length=4),
        Sampling(clips=9, length=1),
    ],
)
def test_a_frames_flow_is_the_same_in_every_plan(video, sampling):
    (whole,) = read(video, Sampling(clips=None, stride=12, length=12))
    for clip in read(video, replace(sampling), replace(SPEC, length=sampling.length)):
        for place in range(sampling.length):
            number = min(clip.first_frame + place * sampling.step, 11)
            np.testing.assert_array_equal(clip.frames[place], whole.frames[number])


def test_crops_are_cut_from_one_flow_and_mirrored_motion_has_the_other_sign(video):
    spec = replace(SPEC, crops=("centre", "top-left", "centre-mirrored"))
    centre, corner, mirrored = read(video, Sampling(clips=1, length=4), spec)
    np.testing.assert_array_equal(mirrored.frames[..., 1], centre.frames[:, :, ::-1, 1])
    other = 256 - centre.frames[:, :, ::-1, 0].astype(int)
    np.testing.assert_array_equal(mirrored.frames[..., 0], np.minimum(other, 255))
    assert not np.array_equal(corner.frames, centre.frames)
    np.testing.assert_allclose(pixels(mirrored), pixels(centre) * [-1, 1], atol=0.2)


def test_mirrored_flow_is_nearly_that_of_mirrored_frames(tmp_path, video):
    places = [(0, 0), (2, 0), (4, 1), (5, 3), (6, 3)]
    frames = [np.ascontiguousarray(frame[:, ::-1]) for frame in moving(places)]
    plain = write_video(tmp_path / "plain.mkv", moving(places), coding=LOSSLESS)
    turned = write_video(tmp_path / "turned.mkv", frames, coding=LOSSLESS)
    (clip,) = read(plain, Sampling(clips=1, length=4), replace(SPEC, crops=("centre-mirrored",)))
    (other,) = read(turned, Sampling(clips=1, length=4))
    assert np.abs(clip.frames.astype(int) - other.frames.astype(int)).mean() < 1.0


def test_bytes_are_rounded_and_clipped_as_documented():
    flow = np.array([[[0.0, 0.05], [19.9, -20.0], [25.0, -25.0], [0.0784, -0.0785]]], np.float32)
    assert as_bytes(flow)[:, 0].T.tolist() == [[128, 128], [255, 0], [255, 0], [128, 127]]


@pytest.mark.parametrize(
    ("wanted", "count", "needed"),
    [([0], 1, [0]), ([0], 5, [0, 1]), ([4], 5, [3, 4]), ([1, 2, 4], 9, [1, 2, 3, 4, 5]), ([0, 8], 9, [0, 1, 7, 8])],
)
def test_frames_of_both_ends_are_decoded(wanted, count, needed):
    assert frames_for_flow(np.array(wanted), count).tolist() == needed


@pytest.fixture(scope="module")
def flow_model(tmp_path_factory):
    """A small network of two channels, with a card."""
    import torch

    from p3dfeat.zoo import convert, save

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("net")
    net = P3D(Architecture((1, 1, 1, 1), classes=3, base_width=4, channels=2))
    torch.save(port_checkpoint(net), folder / "flow.pth")
    save(convert(folder / "flow.pth", family="authors"), folder / "flow.safetensors")
    return folder / "flow.safetensors"


def test_features_of_flow_are_extracted_verified_and_resumed(flow_model, video, tmp_path):
    summary = p3dfeat.extract(video, tmp_path / "f.h5", model=flow_model, clips=2, flow=True)
    assert summary.stored == 1
    with p3dfeat.open_features(tmp_path / "f.h5") as features:
        assert features.settings["preprocessing"]["channels"] == "flow"
        assert features["moving"]["pool5"].shape == (2, 128)
    assert p3dfeat.extract(video, tmp_path / "f.h5", model=flow_model, clips=2).skipped == 1
    found = p3dfeat.verify(tmp_path / "f.h5", recompute="all", model=flow_model)
    assert (found.is_sound, found.recomputed, found.identical) == (True, 1, 1)


def test_flow_is_only_for_models_that_take_it(video, tmp_path):
    with pytest.raises(UsageError, match="p3d-camera: takes pictures, not optical flow; leave --flow out"):
        p3dfeat.extract(video, tmp_path / "f.h5", model=p3dfeat.load_model("p3d-camera"), flow=True)


def test_without_opencv_the_remedy_is_named(flow_model, video, tmp_path, monkeypatch):
    from p3dfeat.workflows import job

    monkeypatch.setattr(job, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"takes optical flow; pip install 'p3dfeat\[flow\]'"):
        p3dfeat.extract(video, tmp_path / "f.h5", model=flow_model)
