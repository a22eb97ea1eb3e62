"""A GPU decodes only where there is one; "auto" takes it only where it gives the same pixels sooner."""

import av
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.types import Clip, Video
from p3dfeat.video import read_clips
from p3dfeat.video.reading import clips as clips_module
from p3dfeat.video.reading import gpu_decoding as hardware
from p3dfeat.video.reading.decode import FrameReader
from p3dfeat.video.workers import task
from p3dfeat.video.workers.pool import Decoders
from tests.videos import CODINGS, numbered_video, settled

SPEC, SAMPLING = InputSpec(resize=(48, 64)), Sampling(clips=2)
no_gpu = pytest.mark.skipif(task.gpu_present(), reason="has a CUDA GPU")


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
    with pytest.raises(UsageError, match="no NVIDIA GPU; use --decode-device cpu"):
        Decoders(decoder="cuda")


def test_an_unknown_decoder_is_refused():
    with pytest.raises(UsageError, match="known are auto, cpu, cuda"):
        Decoders(decoder="vaapi")


@pytest.mark.parametrize(
    ("cpu_seconds", "gpu_seconds", "gpu_offset", "gpu_fails", "expected"),
    [
        (0.05, 0.0, 0, False, "cuda"),
        (0.0, 0.05, 0, False, "cpu"),
        (0.05, 0.0, 1, False, "cpu"),
        (0.05, 0.0, 0, True, "cpu"),
    ],
    ids=["faster", "slower", "faster but one grey level off", "failing"],
)
def test_auto_takes_the_gpu_only_for_the_same_pixels_sooner(
    video, monkeypatch, cpu_seconds, gpu_seconds, gpu_offset, gpu_fails, expected
):
    now = 0.0

    def pretended(video, spec, sampling, *, where, threads, decoder):
        nonlocal now
        now += gpu_seconds if decoder == "cuda" else cpu_seconds
        if gpu_fails and decoder == "cuda":
            raise VideoError("damaged: out of memory")
        for item in read_clips(video, spec, sampling, where=where, threads=threads):
            if isinstance(item, Clip) and decoder == "cuda":
                item.frames[...] += np.uint8(gpu_offset)
            yield item

    monkeypatch.setattr(hardware, "read_clips", pretended)
    monkeypatch.setattr(hardware.time, "perf_counter", lambda: now)
    kind = hardware.kind_of(video.path)
    assert kind == ("h264", "yuv420p")
    assert hardware.better_decoder(video, video.path, kind, SPEC, SAMPLING, threads=1) == expected


@pytest.mark.parametrize("name", ["mpeg4 with B-frames", "hevc, 10 bits"])
def test_codings_that_one_video_says_nothing_of_stay_on_the_cpu(tmp_path, monkeypatch, name):
    coding = CODINGS[name]
    video = Video("v", str(numbered_video(tmp_path / f"v{coding.suffix}", 20, coding=coding)), "v")
    monkeypatch.setattr(hardware, "read_clips", None)
    assert hardware.better_decoder(video, video.path, hardware.kind_of(video.path), SPEC, SAMPLING, threads=1) == "cpu"


def test_what_a_gpu_fails_at_is_read_on_by_the_cpu(video, monkeypatch):
    expected = clips(read_clips(video, SPEC, Sampling(stride=2, clips=None)))
    number = FrameReader._number

    def failing(self, frame):
        if self._next > 20 and decoders_tried == ["cuda"]:
            raise av.ExternalError(1, "CUDA_ERROR_OUT_OF_MEMORY")
        return number(self, frame)

    decoders_tried = []
    opened = clips_module.open_video

    def noting(path, *, decoder):
        decoders_tried.append(decoder)
        return opened(path)

    monkeypatch.setattr(FrameReader, "_number", failing)
    monkeypatch.setattr(clips_module, "open_video", noting)
    found = clips(settled(read_clips(video, SPEC, Sampling(stride=2, clips=None), decoder="cuda")))
    assert decoders_tried == ["cuda", "cpu"]
    assert np.array_equal(found, expected)


@no_gpu
def test_a_driver_without_a_gpu_that_works_falls_back(video, monkeypatch, tmp_path):
    monkeypatch.setattr(task, "DRIVERS", (str(tmp_path),))
    expected = clips(read_clips(video, SPEC, SAMPLING))
    for decoder in ("auto", "cuda"):
        with Decoders(1, decoder=decoder) as processes:
            found = clips(item for _, item in processes.read([video, video], SPEC, SAMPLING))
        assert np.array_equal(found, expected * 2)
