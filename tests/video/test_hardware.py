"""A GPU decodes only where there is one; "auto" takes it only where it gives the same pixels sooner."""

import time

import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.types import Clip, Video
from p3dfeat.video import decoders, hardware, read_clips
from p3dfeat.video.decoders import Decoders
from tests.videos import numbered_video

SPEC, SAMPLING = InputSpec(resize=(48, 64)), Sampling(clips=2)
no_gpu = pytest.mark.skipif(decoders.gpu_present(), reason="has a CUDA GPU")


@pytest.fixture
def video(tmp_path):
    return Video("v", str(numbered_video(tmp_path / "v.mp4", 30)), "v")


def clips(items):
    return [item.frames.copy() for item in items if isinstance(item, Clip)]


def test_cuda_gives_the_pixels_of_the_cpu_and_falls_back_to_it(video):
    expected = clips(read_clips(video, SPEC, SAMPLING))
    assert np.array_equal(clips(read_clips(video, SPEC, SAMPLING, decoder="cuda")), expected)


def test_a_broken_file_is_a_broken_file_on_a_gpu_too(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(VideoError, match="not a video"):
        list(read_clips(Video("v", str(broken), "v"), SPEC, SAMPLING, decoder="cuda"))


@no_gpu
def test_asking_for_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no NVIDIA GPU; use --decoder cpu"):
        Decoders(decoder="cuda")


def test_an_unknown_decoder_is_refused():
    with pytest.raises(UsageError, match="known are auto, cpu, cuda"):
        Decoders(decoder="vaapi")


@pytest.mark.parametrize(
    ("cpu_seconds", "gpu_seconds", "gpu_offset", "expected"),
    [(0.05, 0.0, 0, "cuda"), (0.0, 0.05, 0, "cpu"), (0.05, 0.0, 1, "cpu")],
    ids=["faster", "slower", "faster but one grey level off"],
)
def test_auto_takes_the_gpu_only_for_the_same_pixels_sooner(
    video, monkeypatch, cpu_seconds, gpu_seconds, gpu_offset, expected
):
    def pretended(video, spec, sampling, *, threads, decoder):
        time.sleep(gpu_seconds if decoder == "cuda" else cpu_seconds)
        for item in read_clips(video, spec, sampling, threads=threads):
            if isinstance(item, Clip) and decoder == "cuda":
                item.frames[...] += np.uint8(gpu_offset)
            yield item

    monkeypatch.setattr(hardware, "read_clips", pretended)
    assert hardware.better_decoder(video, SPEC, SAMPLING, threads=1) == expected


@no_gpu
def test_a_driver_without_a_gpu_that_works_falls_back(video, monkeypatch, tmp_path):
    monkeypatch.setattr(decoders, "DRIVERS", (str(tmp_path),))
    expected = clips(read_clips(video, SPEC, SAMPLING))
    for decoder in ("auto", "cuda"):
        with Decoders(1, decoder=decoder) as processes:
            found = clips(item for _, item in processes.read([video, video], SPEC, SAMPLING))
        assert np.array_equal(found, expected * 2)
