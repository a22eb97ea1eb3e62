"""The plan of an extraction, without running it: ``p3dfeat extract --dry-run``, and an estimate from a sample."""

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import VideoError
from p3dfeat.nets import Architecture, on_meta
from p3dfeat.options import ExtractSettings, with_options
from p3dfeat.options import Inputs as InputNames
from p3dfeat.sources import Inputs, Known, as_texts
from p3dfeat.store import stored_videos
from p3dfeat.types import Failure, LeftOut, Video, VideoEnd, VideoInfo, VideoStart
from p3dfeat.video import Decoders, check_decoding
from p3dfeat.workflows.job import RunJob, check_output, decoders_for, found_by, of_shard
from p3dfeat.workflows.pipeline import is_no_video

# Size of HDF5's attributes, groups and headers, measured.
FILE_OVERHEAD_BYTES: Final = 11000
VIDEO_OVERHEAD_BYTES: Final = 3000
# With 64 files, the total was within 13 % in runs of mixed codings, bit rates and lengths; with 32, within 36 %.
MOST_SAMPLED: Final = 64
SAMPLED_OF: Final = 4  # one of so many files: opening a file takes about 2 % of the time of extracting it
MOST_SAMPLED_BYTES: Final = 4 << 30  # opening a file reads all its packets


@dataclass(frozen=True)
class PlannedVideo:
    """What a run would do with one video."""

    id: str
    source: str
    clips: int
    info: VideoInfo


@dataclass(frozen=True)
class ExtractPlan:
    """The videos, clips and size of a run, without running it."""

    videos: tuple[PlannedVideo, ...]
    failures: tuple[Failure, ...]
    skipped: int  # stored already
    clip_bytes: int  # of one clip's features
    video_bytes: int  # of everything else that is stored per video
    left_out: LeftOut

    @property
    def clips(self) -> int:
        return sum(video.clips for video in self.videos)

    @property
    def size_bytes(self) -> int:
        """Bytes that the run would add to the feature file, within a few per cent."""
        return FILE_OVERHEAD_BYTES + self.clips * self.clip_bytes + len(self.videos) * self.video_bytes


def run_plan(inputs: InputNames, output: str | Path | None, settings: ExtractSettings) -> ExtractPlan:
    """Plan a run of ``extract`` with the same options. Only the videos' packets are read; nothing is computed.

    Args:
        inputs (str | Path | Sequence): As for ``extract``.
        output (str | Path | None): Feature file, whose videos would be skipped. None: no file.
        **options: As for ``extract``.

    Returns:
        ExtractPlan: The videos with their number of clips, and the size of their features.

    Raises:
        P3DFeatError: As for ``extract``.

    Example:
        >>> p3dfeat.plan("videos/", None, model="p3d-camera").clips
    """
    if output:
        check_output(output)
    check_decoding(settings.workers, settings.decode_device, settings.timeout, settings.decoder_memory)
    found = found_by(settings, as_texts(inputs), output=output, stdin=settings.stdin)
    job = RunJob.of(settings, found.named()[0], only_plan=True)
    videos, failures, stored = _named(found, output, job, overwrite=settings.overwrite)
    videos, failures = of_shard(settings.shard, videos, failures)
    planned: list[PlannedVideo] = []
    missing = [video for video in videos if video.id not in stored]
    num_clips = no_videos = 0
    with decoders_for(settings, partial=settings.on_error == "partial", strict=settings.strict) as decoders:
        for video, item in decoders.read(missing, job.spec, job.sampling, only_plan=True):
            if isinstance(item, VideoStart):
                num_clips = item.num_clips
            elif isinstance(item, VideoEnd):
                planned.append(PlannedVideo(video.id, video.source, num_clips, item.info))
                if len(planned) == job.limit:
                    break
            elif isinstance(item, VideoError) and is_no_video(video, item):
                no_videos += 1
            elif isinstance(item, VideoError):
                failures.append(Failure(video.id, video.source, item))
    shapes = layer_shapes(job.model.card.architecture, job.engine.layers, job.spec.length, job.spec.size)
    if job.pool == "mean":
        shapes = {name: shape[:1] for name, shape in shapes.items()}
    crops = len(job.spec.crops)
    # float32; two float64 of seconds and an int64 of the first frame
    clip_bytes = sum(4 * crops * prod(shape) for shape in shapes.values()) + 24
    pooled_bytes = 4 * prod(shapes["pool5"]) if "pool5" in shapes else 0
    skipped = sum(video.id in stored for video in videos)
    return ExtractPlan(
        videos=tuple(planned),
        failures=tuple(failures),
        skipped=skipped,
        clip_bytes=clip_bytes,
        video_bytes=VIDEO_OVERHEAD_BYTES + pooled_bytes,
        left_out=replace(found.left_out, no_videos=no_videos),
    )


plan = with_options(ExtractSettings)(run_plan)


def _named(
    found: Inputs, output: str | Path | None, job: RunJob, *, overwrite: bool
) -> tuple[list[Video], list[Failure], Set[str]]:
    """The videos with their ids, the inputs that cannot be used, and the ids that are stored."""
    if not output:
        return *found.named(), set()
    with stored_videos(output, job.recorded(), overwrite=overwrite) as stored:
        return *found.named(Known(stored.ids, stored.source_of)), stored.ids


def layer_shapes(
    architecture: Architecture, layers: Sequence[str], length: int, size: tuple[int, int]
) -> dict[str, tuple[int, ...]]:
    """{layer: its shape for one clip}, without computing anything."""
    net, x = on_meta(architecture, length, size)
    return {name: tuple(value.shape[1:]) for name, value in net(x, layers=tuple(layers)).items()}


def sizes_of(videos: Sequence[Video]) -> dict[str, int]:
    """File sizes in bytes, by id; empty if any video is a segment, a folder or a web address."""
    sizes = {}
    for video in videos:
        if video.is_segment or not os.path.isfile(video.path):
            return {}
        sizes[video.id] = os.path.getsize(video.path)
    return sizes


def forecast(videos: Sequence[Video], sizes: Mapping[str, int], job: RunJob, decoders: Decoders) -> dict[str, float]:
    """The expected clips of each video, by id; empty if there are few videos, or they are no whole files.

    The files, in order of extension and size, are divided into parts of equally many bytes. The file in the middle of
    each part is opened, without decoding. Its clips per byte stand for its part.
    """
    ordered = sorted(videos, key=lambda video: (os.path.splitext(video.path)[1].lower(), sizes.get(video.id, 0)))
    size_bytes = np.array([sizes.get(video.id, 0) for video in ordered], np.float64)
    chosen = _sample(size_bytes)
    if not len(chosen):
        return {}
    sampled = dict.fromkeys(chosen.tolist(), 0)
    places = {ordered[place].id: place for place in sampled}
    for video, item in decoders.read([ordered[place] for place in sampled], job.spec, job.sampling, only_plan=True):
        if isinstance(item, VideoStart | VideoError):  # a video that cannot be read gives no clips
            sampled[places[video.id]] = item.num_clips if isinstance(item, VideoStart) else 0
    clips = size_bytes * np.array([sampled[place] / size_bytes[place] for place in chosen.tolist()])
    clips[list(sampled)] = list(sampled.values())
    return {video.id: float(number) for video, number in zip(ordered, clips, strict=True)} if clips.any() else {}


def _sample(size_bytes: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each file, the place of the sampled file that stands for it. Empty if no sample is small enough."""
    ends = np.cumsum(size_bytes)
    count = min(MOST_SAMPLED, len(size_bytes) // SAMPLED_OF)
    while count and ends[-1]:
        share = ends[-1] / count
        middles = np.searchsorted(ends, (np.arange(count) + 0.5) * share, side="right")
        if size_bytes[np.unique(middles)].sum() <= MOST_SAMPLED_BYTES:
            parts = np.minimum(((ends - size_bytes / 2) / share).astype(np.intp), count - 1)
            return np.asarray(middles[parts])
        count //= 2
    return np.zeros(0, np.intp)
