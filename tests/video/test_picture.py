"""Preprocessing holds to an independent computation: colour by the standards' formulas, resizing by torch."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines.normalize import normalize
from p3dfeat.errors import UsageError
from p3dfeat.types import Clip, Video
from p3dfeat.video import read_clips
from p3dfeat.video.pictures.transform import PictureMaker, cropped, resized
from tests.videos import Coding, number_of, numbered_frames, textured_picture, write_video

BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)


def yuv_frame(height: int = 180, width: int = 320, *, seed: int = 0, colorspace: int = 2) -> av.VideoFrame:
    """A limited-range 4:2:0 frame of smooth noise."""
    rng = np.random.default_rng(seed)
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.colorspace = colorspace
    frame.color_range = ColorRange.MPEG
    for plane, (low, high) in zip(frame.planes, [(16, 235), (60, 196), (60, 196)], strict=True):
        coarse = torch.from_numpy(rng.uniform(low, high, (1, 1, plane.height // 10 + 2, plane.width // 10 + 2)))
        values = torch.nn.functional.interpolate(coarse, size=(plane.height, plane.width), mode="bicubic")[0, 0]
        buffer = np.zeros((plane.height, plane.line_size), np.uint8)
        buffer[:, : plane.width] = values.clamp(low, high).round().numpy()
        plane.update(buffer.tobytes())
    return frame


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    return [
        np.frombuffer(bytes(p), np.uint8).reshape(p.height, p.line_size)[:, : p.width].astype(np.float64)
        for p in frame.planes
    ]


def rgb_of(frame: av.VideoFrame, weights: tuple[float, float]) -> np.ndarray:
    """ITU-R's formulas in floating point; chroma brought to full size bilinearly."""
    y, u, v = (torch.from_numpy(plane)[None, None] for plane in planes_of(frame))
    size = (frame.height, frame.width)
    u, v = (torch.nn.functional.interpolate(c, size=size, mode="bilinear") for c in (u, v))
    y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    kr, kb = weights
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return torch.cat([red, green, blue], 1)[0].permute(1, 2, 0).numpy()


def resize(picture: np.ndarray, height: int, width: int, mode: str = "bilinear") -> np.ndarray:
    x = torch.from_numpy(picture).permute(2, 0, 1)[None]
    x = torch.nn.functional.interpolate(x, size=(height, width), mode=mode, antialias=True)
    return x[0].permute(1, 2, 0).clamp(0, 255).numpy()


def picture_of(frame: av.VideoFrame, spec: InputSpec) -> np.ndarray:
    """(H, W, C) uint8."""
    picture = np.empty((spec.num_channels, *spec.size), np.uint8)
    PictureMaker(spec)(frame, picture)
    return picture.transpose(1, 2, 0)


@pytest.mark.parametrize(("colorspace", "weights"), [(2, BT601), (5, BT601), (6, BT601), (1, BT709)])
@pytest.mark.parametrize("size", [(182, 242), (64, 64), (256, 340), (180, 320)])
def test_resized_rgb_equals_an_independent_computation(colorspace, weights, size):
    frame = yuv_frame(colorspace=colorspace)
    found = picture_of(frame, InputSpec(resize=size)).astype(np.float64)
    expected = resize(rgb_of(frame, weights), *size)
    assert np.abs(found - expected).mean() < 0.6  # grey levels; swscale's defaults, without our flags, give 1.7
    assert abs((found - expected).mean()) < 0.3


def test_the_wrong_colour_matrix_would_be_noticed():
    frame = yuv_frame(colorspace=1)
    found = picture_of(frame, InputSpec(resize=(182, 242))).astype(np.float64)
    assert np.abs(found - resize(rgb_of(frame, BT601), 182, 242)).mean() > 2


@pytest.mark.parametrize("size", [(64, 64), (90, 160)])
def test_luma_is_the_pictures_y_at_full_range(size):
    frame = yuv_frame()
    found = picture_of(frame, InputSpec(channels="luma", resize=size)).astype(np.float64)
    expected = resize(((planes_of(frame)[0] - 16) * 255 / 219)[..., None], *size)
    assert found.shape == (*size, 1)
    assert np.abs(found - expected).mean() < 0.6


def test_bicubic_equals_an_independent_computation():
    frame = yuv_frame()
    found = picture_of(frame, InputSpec(resize=(90, 160), interpolation="bicubic")).astype(np.float64)
    assert np.abs(found - resize(rgb_of(frame, BT601), 90, 160, "bicubic")).mean() < 0.8


def test_nearest_takes_pixels_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    found = picture_of(frame, InputSpec(resize=(20, 30), interpolation="nearest"))
    source = {tuple(p) for p in pixels.reshape(-1, 3)}
    assert {tuple(p) for p in found.reshape(-1, 3)} <= source


def test_bgr_is_rgb_reversed():
    frame = yuv_frame()
    rgb = picture_of(frame, InputSpec(resize=(90, 160)))
    bgr = picture_of(frame, InputSpec(channels="bgr", resize=(90, 160)))
    assert np.array_equal(bgr, rgb[..., ::-1])


@pytest.mark.parametrize(
    ("source", "expected"),
    [((180, 320), (160, 284)), ((320, 180), (284, 160)), ((160, 160), (160, 160)), ((100, 1000), (160, 1600))],
)
def test_the_short_side_keeps_the_aspect(source, expected):
    assert resized(*source, InputSpec(short_side=160, crop=(160, 160))) == expected


def test_the_crop_is_central():
    plane = np.arange(7 * 10, dtype=np.uint8).reshape(7, 10)
    assert cropped(plane, InputSpec(resize=(7, 10), crop=(3, 4))).tolist() == [
        [23, 24, 25, 26],
        [33, 34, 35, 36],
        [43, 44, 45, 46],
    ]


def test_the_authors_recipe_gives_what_it_says():
    spec = InputSpec(channels="bgr", resize=(182, 242), crop=(160, 160), mean=(104, 117, 123))
    frame = yuv_frame()
    picture = picture_of(frame, spec)
    x = normalize(torch.from_numpy(picture[None, None].copy()), spec)
    whole = resize(rgb_of(frame, BT601), 182, 242)[11:171, 41:201, ::-1] - np.array([104, 117, 123])
    assert x.shape == (1, 3, 1, 160, 160)
    assert np.abs(x[0, :, 0].permute(1, 2, 0).numpy() - whole).mean() < 0.6


def test_normalisation_is_scale_mean_std_in_that_order():
    spec = InputSpec(resize=(4, 4), scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    frames = torch.randint(0, 256, (2, 3, 4, 4, 3), dtype=torch.uint8)
    expected = (frames.numpy() / 255 - np.array(spec.mean)) / np.array(spec.std)
    assert np.allclose(normalize(frames, spec).numpy(), expected.transpose(0, 4, 1, 2, 3), atol=1e-5)


def test_standardising_makes_contrast_and_brightness_irrelevant():
    spec = InputSpec(channels="luma", resize=(8, 8), standardize=True)
    frames = torch.randint(0, 100, (1, 4, 8, 8, 1), dtype=torch.uint8)
    plain, brighter = normalize(frames, spec), normalize(frames * 2 + 30, spec)
    assert torch.allclose(plain, brighter, atol=1e-4)
    assert float(plain.mean()) == pytest.approx(0, abs=1e-5)
    assert float(plain.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert torch.isfinite(normalize(torch.zeros_like(frames), spec)).all()


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv422p", "yuv444p", "gray", "bgr0"])
def test_any_pixel_format_ends_as_8_bits(tmp_path, pixel_format):
    codec = {"yuv420p10le": "libx265", "gray": "ffv1", "bgr0": "ffv1"}.get(pixel_format, "libx264")
    codec = "ffv1" if pixel_format in ("yuv422p", "yuv444p") else codec
    path = write_video(
        tmp_path / "v.mkv",
        numbered_frames(20),
        coding=Coding(codec, ".mkv", pixel_format, {"x265-params": "log-level=none"} if codec == "libx265" else {}),
    )
    clips = list(read_clips(Video("v", str(path), "v"), InputSpec(resize=(96, 128)), Sampling(clips=1)))
    assert isinstance(clips[1], Clip)
    assert clips[1].frames.dtype == np.uint8
    assert [number_of(f) for f in clips[1].frames] == list(range(2, 18))


def patch_display_matrix(path, a: int, b: int, c: int, d: int) -> None:
    """Write a rotation or mirroring into an MP4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    identity = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    assert data[at : at + 36] == identity
    matrix = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4")
    data[at : at + 36] = matrix.tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "shown", "rotation"),
    [
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1), 90),
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2), 180),
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1), 270),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1], 0),
        ((1, 0, 0, -1), lambda p: p[::-1], 180),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2), 90),
    ],
)
def test_frames_are_shown_as_the_file_asks(tmp_path, matrix, shown, rotation):
    picture = textured_picture(96, 160)
    path = write_video(tmp_path / "v.mp4", [picture] * 20)
    patch_display_matrix(path, *matrix)
    expected = shown(picture)
    height, width = expected.shape[:2]
    _, clip, end = read_clips(Video("v", str(path), "v"), InputSpec(resize=(height, width)), Sampling(clips=1))
    assert np.abs(clip.frames[0].astype(float) - expected).mean() < 6  # the loss of compression
    assert (end.info.height, end.info.width, end.info.rotation) == (height, width, rotation)


def test_the_short_side_is_that_of_the_picture_shown(tmp_path):
    path = write_video(tmp_path / "v.mp4", [textured_picture(96, 160)] * 20)
    patch_display_matrix(path, 0, 1, -1, 0)
    _, clip, _ = read_clips(Video("v", str(path), "v"), InputSpec(short_side=48, crop=(48, 40)), Sampling(clips=1))
    assert clip.frames.shape == (16, 48, 40, 3)


def test_the_sample_aspect_ratio_is_recorded_and_not_applied(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.sample_aspect_ratio = Fraction(4, 3)
        for pixels in numbered_frames(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    _, clip, end = read_clips(Video("v", str(path), "v"), InputSpec(resize=(96, 128)), Sampling(clips=1))
    assert end.info.sample_aspect_ratio == "4:3"
    assert [number_of(frame) for frame in clip.frames] == list(range(2, 18))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "resize"),
        ({"resize": (8, 8), "short_side": 8}, "resize"),
        ({"short_side": 8}, "crop"),
        ({"resize": (8, 8), "crop": (9, 8)}, "crop"),
        ({"resize": (0, 8)}, "size"),
        ({"resize": (8, 8), "channels": "yuv"}, "channels"),
        ({"resize": (8, 8), "interpolation": "magic"}, "interpolation"),
        ({"resize": (8, 8), "mean": (1.0, 2.0)}, "mean"),
        ({"resize": (8, 8), "std": (0.0,)}, "std"),
        ({"resize": (8, 8), "length": 0}, "length"),
    ],
)
def test_an_impossible_preprocessing_is_refused(settings, message):
    with pytest.raises(UsageError, match=f"input {message}"):
        InputSpec(**settings)
