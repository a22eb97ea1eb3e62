"""Feature files whose rows show what their clips show, without a network: brightness, and a constant."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.store import FeatureWriter
from p3dfeat.types import Clip, Features, Video, VideoEnd
from p3dfeat.video import read_clips
from tests.store.test_store import INFO, SETTINGS
from tests.videos import write_video

SPEC = InputSpec(channels="luma", resize=(24, 32), crop=(16, 16))
WIDTH = 6  # numbers per row
DARK, BRIGHT = 40, 215


def scenes(
    path: Path, cuts: Sequence[int], frames: int, *, fps: int | Fraction = 25, ticks=None, time_base=None
) -> Path:
    """A video that changes from dark to bright, or back, at each frame of ``cuts``."""
    levels = [DARK if sum(cut <= number for cut in cuts) % 2 == 0 else BRIGHT for number in range(frames)]
    pictures = (np.full((48, 64, 3), level, np.uint8) for level in levels)
    return write_video(path, pictures, fps=fps, ticks=ticks, time_base=time_base)


def rows_of(path: Path, sampling: Sampling, spec: InputSpec = SPEC, **segment) -> tuple[Features, VideoEnd]:
    """Features of a video: the brightness of each clip, from 0 to 1, and numbers that tell rows and crops apart."""
    *clips, end = read_clips(Video("v", str(path), "v", **segment), spec, sampling)
    found = [item for item in clips if isinstance(item, Clip)]
    crops = len(spec.crops)
    values = np.zeros((len(found), WIDTH), np.float32)
    for number, clip in enumerate(found):
        values[number] = (clip.frames.mean() - DARK) / (BRIGHT - DARK), number // crops, number % crops, 1, 0, 2
    first = found[::crops]
    layer = values if crops == 1 else values.reshape(len(first), crops, WIDTH)
    assert isinstance(end, VideoEnd)
    return (
        Features(
            {"pool5": layer},
            np.array([(clip.start_seconds, clip.end_seconds) for clip in first]),
            np.array([clip.first_frame for clip in first]),
            sum(clip.padded_frames for clip in first),
        ),
        end,
    )


def feature_file(output: Path, videos: dict[str, Path], sampling: Sampling, spec: InputSpec = SPEC, **segment) -> Path:
    """A feature file of real clips of real videos."""
    settings = replace(SETTINGS, layers=("pool5",), sampling=sampling, preprocessing=spec)
    with FeatureWriter(output, settings) as writer:
        for id, path in videos.items():
            video = Video(id, str(path), str(path), **segment)
            features, end = rows_of(path, sampling, spec, **segment)
            writer.add(video, features)
            writer.finish(video, end.info)
    return output


def plain_file(output: Path, ids: Sequence[str], *, rows: int = 5, width: int = 8, seed: int = 0, **settings) -> Path:
    """A feature file of random rows, with the default sampling."""
    rng = np.random.default_rng(seed)
    settings = {"sampling": Sampling(clips=rows), "layers": ("pool5",), **settings}
    with FeatureWriter(output, replace(SETTINGS, **settings)) as writer:
        for id in ids:
            video = Video(id, f"{id}.mp4", f"{id}.mp4")
            starts = np.arange(float(rows))
            values = rng.normal(size=(rows, width)).astype(np.float32)
            writer.add(video, Features({"pool5": values}, np.stack([starts, starts + 0.64], 1), np.arange(rows) * 25))
            writer.finish(video, INFO)
    return output
