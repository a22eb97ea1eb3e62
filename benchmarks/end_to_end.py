"""``extract`` with P3D-199 on real videos, beside its parts and beside the obvious script.

python -m benchmarks.end_to_end --clips FOLDER

The obvious script needs OpenCV (opencv-python-headless), which the project does not. Weights are random.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.engines import random_net
from benchmarks.table import Row, alternate, main_on_clips, median
from p3dfeat import extract, open_features
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import make_engine
from p3dfeat.engines.normalize import normalize
from p3dfeat.errors import UsageError
from p3dfeat.sources import find_videos
from p3dfeat.types import Batch, Video
from p3dfeat.video import Decoders, index_video, plan
from p3dfeat.zoo import Model, published_card

CARD: Final = "p3d199-kinetics400"
CLIPS: Final = 8  # of each video
DEFAULT_CLIPS: Final = 20  # what ``extract`` takes unasked, and one hands a net at once in the obvious script
QUICK_CLIPS: Final = 1
ROUNDS: Final = 3
EFFICIENCY: Final = 0.95
SPEED: Final = 2.3
OVERLAP: Final = "extract, P3D-199, real videos: (net alone + decoding alone) / wall"
OBVIOUS: Final = "extract, P3D-199, real videos: times as fast as OpenCV and plain eager PyTorch"


@dataclass(frozen=True)
class Work:
    """Videos, clips of each, and the net they go through."""

    videos: Sequence[Video]
    clips: int
    folder: Path  # for what is written
    model: Model
    decoders: Decoders  # for decoding alone; ``extract`` starts its own

    @property
    def spec(self) -> InputSpec:
        return self.model.card.input

    @property
    def sampling(self) -> Sampling:
        return self.model.sampling(clips=self.clips)

    @cached_property
    def engine(self) -> Any:
        return make_engine(self.model.net, self.spec)

    def run_net(self) -> None:
        """On as many clips as the videos have, in batches as ``extract`` makes them."""
        total, size = self.clips * len(self.videos), self.engine.batch_size
        planes = np.full((size, self.spec.length, self.spec.num_channels, *self.spec.size), 127, np.uint8)
        for first in range(0, total, size):
            self.engine.run(Batch.of_planes(planes[: total - first]))

    def decode(self) -> None:
        for _ in self.decoders.read(self.videos, self.spec, self.sampling):
            continue

    def extract(self) -> float:
        """Into a new file; seconds from the first video opened to the last one stored, without start-up."""
        output = self.folder / "feats.h5"
        output.unlink(missing_ok=True)
        done = extract([video.path for video in self.videos], output, model=self.model, clips=self.clips)
        if done.failed:
            raise UsageError(f"{done.failures[0].source}: {done.failures[0].error}; take it out of the folder")
        return done.elapsed_seconds


def overlap_row(work: Work, rounds: int) -> Row:
    """Decoding and the net share the cores: what both take alone, together, is what the whole may take."""
    walls: list[float] = []
    seconds = alternate(
        {"net": work.run_net, "decoding": work.decode, "extract": lambda: walls.append(work.extract())},
        rounds,
        uncounted=1,
    )
    seconds["extract"] = walls[1:]
    net, decoding, wall = (median(values) for values in seconds.values())
    shares = f"{net:.2f} s + {decoding:.2f} s, together {wall:.2f} s"
    reached = (net + decoding) / wall
    details = {"clips": work.clips * len(work.videos), "engine": work.engine.name, "seconds": seconds}
    return Row(OVERLAP, f"at least {EFFICIENCY}", f"{reached:.3f} ({shares})", reached >= EFFICIENCY, details)


class ObviousScript:
    """What one writes in ten minutes: read a video to its end, resize what is needed, run the net, save; next video."""

    def __init__(self, work: Work):
        self._work = work
        # Which frames: told beforehand, at no cost, so that both describe the same clips.
        self.plans = {video.id: self._frames_of(video) for video in work.videos}

    def _frames_of(self, video: Video) -> np.ndarray:
        """(clips, T) numbers of frames."""
        return np.stack([clip.frames for clip in plan(index_video(video.path), video, self._work.sampling)])

    def read(self, video: Video) -> dict[int, np.ndarray]:
        """{number: picture (H, W, C)} of the frames needed, reading all of them."""
        import cv2  # type: ignore[import-not-found, unused-ignore]

        (height, width), (crop_height, crop_width) = self._work.spec.resize or (0, 0), self._work.spec.size
        top, left = (height - crop_height) // 2, (width - crop_width) // 2
        needed, pictures = set(self.plans[video.id].flat), {}
        capture = cv2.VideoCapture(video.path)
        number = 0
        while True:
            there, picture = capture.read()
            if not there:
                break
            if number in needed:
                resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
                pictures[number] = resized[top : top + crop_height, left : left + crop_width]
            number += 1
        capture.release()
        return pictures

    @torch.inference_mode()
    def describe(self, video: Video) -> np.ndarray:
        """(clips, 2048) pool5."""
        pictures = self.read(video)
        clips = np.stack([[pictures[number] for number in clip] for clip in self.plans[video.id]])
        x = normalize(torch.from_numpy(clips), self._work.spec).contiguous()
        found: np.ndarray = self._work.model.net(x, layers=("pool5",))["pool5"].numpy()
        return found

    def run(self) -> None:
        for video in self._work.videos:
            np.save(self._work.folder / f"{video.id}.npy", self.describe(video))

    def reads(self, video: Video) -> bool:
        """Whether OpenCV finds every frame of it that is needed."""
        return set(self.plans[video.id].flat) <= self.read(video).keys()


def obvious_row(work: Work, rounds: int) -> Row:
    asked = f"at least {SPEED}x"
    if find_spec("cv2") is None:
        return Row(OBVIOUS, asked, "OpenCV is not installed", None)
    script = ObviousScript(work)
    readable = [video for video in work.videos if script.reads(video)]
    unread = len(work.videos) - len(readable)
    work = replace(work, videos=readable)
    script = ObviousScript(work)
    walls: list[float] = []
    seconds = alternate({"obvious": script.run, "extract": lambda: walls.append(work.extract())}, rounds, uncounted=1)
    seconds["extract"] = walls[1:]
    obvious, ours = (median(values) for values in seconds.values())
    left_out = f"; {unread} videos left out that OpenCV does not read" if unread else ""
    reached = f"{obvious / ours:.2f}x ({obvious:.1f} s and {ours:.1f} s for {len(readable)} videos{left_out})"
    details = {
        "videos": len(readable),
        "clips": work.clips * len(readable),
        "left_out": unread,
        "seconds": seconds,
        "least_cosine_of_pool5": least_cosine(work),
    }
    return Row(OBVIOUS, asked, reached, obvious / ours >= SPEED, details)


def least_cosine(work: Work) -> float:
    """Of any clip's features by the two ways: both must have described the same clips."""
    cosines = []
    with open_features(work.folder / "feats.h5") as found:
        for video in work.videos:
            ours, theirs = found[video.id]["pool5"], np.load(work.folder / f"{video.id}.npy")
            norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
            cosines.append(((ours * theirs).sum(1) / norms).min())
    return float(min(cosines))


def random_model() -> Model:
    return Model(published_card(CARD), random_net(199), weights_sha256="0" * 64)


def rows(quick: bool, clips: Path) -> list[Row]:
    if not clips.is_dir():
        missing = f"no videos in {clips.name}; name a folder with --clips"
        return [
            Row(OVERLAP, f"at least {EFFICIENCY}", missing, None),
            Row(OBVIOUS, f"at least {SPEED}x", missing, None),
        ]
    videos, _ = find_videos([str(clips)])
    rounds = 1 if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="p3dfeat-benchmark-") as folder, Decoders() as decoders:
        work = Work(videos, QUICK_CLIPS if quick else CLIPS, Path(folder), random_model(), decoders)
        return [
            overlap_row(work, rounds),
            obvious_row(replace(work, clips=QUICK_CLIPS if quick else DEFAULT_CLIPS), rounds),
        ]


if __name__ == "__main__":
    main_on_clips(rows, __doc__)
