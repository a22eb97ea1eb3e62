"""Several crops of each clip: where they lie, in which order they come, and what they share."""

import numpy as np
import pytest

from p3dfeat.config import CROPS, InputSpec, Sampling, crop_names
from p3dfeat.errors import UsageError
from p3dfeat.types import Clip, Video, VideoStart
from p3dfeat.video import Decoders, read_clips
from p3dfeat.video.pictures.transform import PictureMaker
from p3dfeat.video.reading import clips as clips_module
from tests.videos import panning_frames, write_video

DENSE = Sampling(clips=None, stride=8)  # clips overlap, so frames are kept
TEN = crop_names(10)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("wide") / "wide.mp4", panning_frames(40, pixels_a_frame=3))


def pictures(path, *, sampling=DENSE, **spec) -> list[np.ndarray]:
    """(T, H, W, C) of each Clip."""
    items = read_clips(Video("v", str(path), "v"), InputSpec(**spec), sampling)
    return [item.frames.copy() for item in items if isinstance(item, Clip)]


def cut(whole: np.ndarray, top: int, left: int, size: int = 48) -> np.ndarray:
    return whole[:, top : top + size, left : left + size]


def test_three_crops_lie_along_the_longer_side(wide):
    whole = pictures(wide, resize=(60, 80))
    found = pictures(wide, resize=(60, 80), crop=(48, 48), crops=crop_names(3))
    assert len(found) == 3 * len(whole)
    for number, picture in enumerate(whole):
        for place, left in enumerate((0, 16, 32)):
            np.testing.assert_array_equal(found[3 * number + place], cut(picture, 6, left))


def test_three_crops_of_an_upright_video_lie_below_each_other(tmp_path):
    frames = [np.ascontiguousarray(frame.transpose(1, 0, 2)) for frame in panning_frames(16, pixels_a_frame=2)]
    path = write_video(tmp_path / "tall.mp4", frames)
    height = round(frames[0].shape[0] * 48 / frames[0].shape[1])
    (whole,) = pictures(path, resize=(height, 48))
    found = pictures(path, short_side=48, crop=(48, 48), crops=crop_names(3))
    assert height > 60
    for picture, top in zip(found, (0, (height - 48) // 2, height - 48), strict=True):
        np.testing.assert_array_equal(picture, cut(whole, top, 0))


def test_ten_crops_are_four_corners_and_the_centre_then_the_same_mirrored(wide):
    (whole,) = pictures(wide, resize=(60, 80), sampling=Sampling(clips=1))
    found = pictures(wide, resize=(60, 80), crop=(48, 48), crops=TEN, sampling=Sampling(clips=1))
    for place, (top, left) in enumerate([(0, 0), (0, 32), (12, 0), (12, 32), (6, 16)]):
        np.testing.assert_array_equal(found[place], cut(whole, top, left))
        np.testing.assert_array_equal(found[place + 5], cut(whole, top, left)[:, :, ::-1])
    assert TEN[2] == "bottom-left"
    assert TEN[7] == "bottom-left-mirrored"


def test_the_centre_is_the_same_alone_and_among_others(wide):
    spec = {"resize": (61, 83), "crop": (48, 48)}  # the free pixels are odd numbers
    alone = pictures(wide, **spec)
    for crops, place in ((CROPS[3], 1), (TEN, 4), (crop_names(1, mirror=True), 0)):
        among = pictures(wide, **spec, crops=crops)
        np.testing.assert_array_equal(among[place :: len(crops)], alone)


def test_whole_pictures_can_be_mirrored(wide):
    plain, mirrored = pictures(wide, resize=(48, 64), crops=crop_names(1, mirror=True), sampling=Sampling(clips=1))
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_a_frame_is_decoded_and_resized_once_whatever_the_number_of_crops(wide, monkeypatch):
    resized = []

    class Counting(PictureMaker):
        def _planes(self, frame):
            resized.append(frame.pts)
            return super()._planes(frame)

    monkeypatch.setattr(clips_module, "PictureMaker", Counting)
    pictures(wide, resize=(60, 80), crop=(48, 48), crops=TEN)
    assert len(resized) == len(set(resized)) == 40


def test_decoder_processes_deliver_every_crop(wide):
    spec = InputSpec(resize=(60, 80), crop=(48, 48), crops=TEN)
    here = pictures(wide, resize=(60, 80), crop=(48, 48), crops=TEN)
    with Decoders(1) as decoders:
        items = [item for _, item in decoders.read([Video("v", str(wide), "v")], spec, DENSE)]
        found = [item.frames.copy() for item in items if isinstance(item, Clip)]
    assert isinstance(items[0], VideoStart)
    assert (items[0].num_clips, len(found)) == (len(here) // 10, len(here))


@pytest.mark.parametrize(
    ("crops", "mirror", "message"),
    [(2, False, "must be 1, 3, 10"), (10, True, "mirrored ones already"), (0, False, "must be 1, 3, 10")],
)
def test_other_numbers_of_crops_are_refused(crops, mirror, message):
    with pytest.raises(UsageError, match=message):
        crop_names(crops, mirror=mirror)


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        (("middle",), "crops 'middle': unknown"),
        (("centre", "centre"), "different crops"),
        ((), "at least one"),
        (("top-left",), "takes whole pictures"),
    ],
)
def test_invalid_crops_of_a_specification_are_refused(crops, message):
    with pytest.raises(UsageError, match=message):
        InputSpec(resize=(48, 48), crops=crops)
