"""Folders of numbered pictures are videos, where their rate is given."""

from fractions import Fraction

import av
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video import Decoders, read_clips
from tests.videos import number_of, numbered_frames

SPEC = InputSpec(resize=(96, 128))
CODECS = {".jpg": ("mjpeg", "yuvj420p"), ".png": ("png", "rgb24"), ".bmp": ("bmp", "bgr24")}


def picture(pixels: np.ndarray, extension: str) -> bytes:
    codec, pixel_format = CODECS[extension]
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = pixels.shape[:2]
    context.pix_fmt, context.time_base, context.options = pixel_format, Fraction(1, 25), {"qmin": "2", "qmax": "3"}
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


@pytest.fixture(params=CODECS)
def folder(tmp_path, request):
    """40 pictures, numbered from 1 without zeros before, so that names do not sort as numbers do."""
    for number, pixels in enumerate(numbered_frames(40)):
        (tmp_path / f"img_{number + 1}{request.param}").write_bytes(picture(pixels, request.param))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def video(folder, **segment: float) -> Video:
    return Video("v", str(folder), str(folder), frames_fps=10.0, **segment)


def test_pictures_are_frames_in_the_order_of_their_numbers(folder):
    start, *clips, end = read_clips(video(folder), SPEC, Sampling(clips=None, stride=16))
    assert (start, len(clips)) == (VideoStart(3), 3)
    assert [number_of(frame) for frame in clips[1].frames] == list(range(16, 32))
    assert (clips[1].start_seconds, clips[1].end_seconds) == pytest.approx((1.6, 3.2))
    assert isinstance(end, VideoEnd)
    assert (end.info.num_frames, end.info.frame_rate, end.info.duration_seconds) == (40, 10.0, 4.0)
    assert (end.info.width, end.info.height, end.info.remarks) == (128, 96, ())


def test_only_the_pictures_wanted_are_decoded(folder):
    *_, end = read_clips(video(folder, start_seconds=1.0, end_seconds=2.0), SPEC, Sampling(clips=1, length=4))
    assert end.frames_decoded == 4


def test_decoder_processes_read_them_too(folder):
    with Decoders(1) as decoders:
        items = [item for _, item in decoders.read([video(folder)], SPEC, Sampling(clips=2, length=2))]
        assert [type(item) for item in items] == [VideoStart, Clip, Clip, VideoEnd]


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_picture_that_does_not_decode_is_named(folder, damage):
    path = next(folder.glob("img_20.*"))
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not a picture", "cut": data[:30]}[damage])
    with pytest.raises(VideoError, match=r"damaged: picture img_20\.\w+ does not decode") as caught:
        list(read_clips(video(folder), SPEC, Sampling(clips=None, stride=16)))
    assert "\n" not in str(caught.value)
    *clips, _ = read_clips(video(folder, start_seconds=0.0, end_seconds=1.0), SPEC, Sampling(clips=1, length=4))
    assert len(clips) == 2  # the others are read


@pytest.mark.parametrize("kind", ["none", "gone"])
def test_a_folder_without_pictures_is_named(tmp_path, kind):
    with pytest.raises(VideoError, match=r"no numbered pictures|cannot be read"):
        list(read_clips(video(tmp_path / "gone" if kind == "gone" else tmp_path), SPEC, Sampling(clips=1)))
