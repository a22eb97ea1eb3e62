"""Whether the store is as fast at its 100,000th video as at its first: python -m benchmarks.store

Writes videos of 20 clips of made pool5 features as ``extract`` does, adds one more to the file that came of it, finds
out that all are stored, opens the file and reads single videos. A full run needs 18 GB in the folder for temporary
files (TMPDIR).
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.table import Row, main, median, say
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import OutputError
from p3dfeat.fingerprint import modified
from p3dfeat.store import FeatureWriter, Settings, open_features
from p3dfeat.types import Features, Video, VideoInfo

VIDEOS: Final = 100_000
QUICK_VIDEOS: Final = 5_000
CLIPS: Final = 20
WIDTH: Final = 2048  # of pool5
BATCH: Final = 4  # rows that reach the store at once
WINDOWS: Final = 10  # a tenth of the videos is timed in so many ...
WINDOW_VIDEOS: Final = 1000  # ... of at least so many videos, which is how often the journal goes to the file
MADE: Final = 16  # videos of which the features are drawn; the others repeat them, marked with their number
READS: Final = 7
VIDEO_SECONDS: Final = CLIPS * 0.010  # what else a video costs where the store matters most: 10 ms a clip
SLOWDOWN: Final = 1.2
OPEN_SECONDS: Final = 0.050
SETTINGS: Final = Settings(
    model="made",
    weights_sha256="0" * 64,
    architecture={"stages": [3, 8, 36, 3]},
    preprocessing=InputSpec(resize=(182, 242), crop=(160, 160)),
    sampling=Sampling(clips=CLIPS),
    layers=("pool5",),
    engine="torch",
    precision="fp32",
    device="cpu",
    p3dfeat_version="0",
)
ADDED_SHARE: Final = 0.001  # of the file: what may be written to add one video
RESUME_SHARE: Final = 0.01  # of the time of a run: finding out that all of it is done
STATUS: Final = os.stat(__file__)  # every video is this file, as far as sizes and times tell
INFO: Final = VideoInfo(
    11.2, 25.0, 280, 340, 256, 0, "1:1", "h264", "yuv420p", STATUS.st_size, "0" * 16, modified(STATUS)
)


@dataclass(frozen=True)
class Written:
    """When each video was done, from the first one begun; what adding journals to the file took of that, and the end.

    Also in seconds of the processor, which neighbours and a busy disk change little.
    resume_seconds: to find out which videos are stored.
    """

    done_seconds: tuple[float, ...]
    processor_seconds: tuple[float, ...]
    commits: "Commits"
    end_seconds: float
    end_processor_seconds: float
    resume_seconds: float

    @property
    def total_seconds(self) -> float:
        return self.done_seconds[-1] + self.end_seconds

    @property
    def total_processor_seconds(self) -> float:
        return self.processor_seconds[-1] + self.end_processor_seconds

    @staticmethod
    def tenth(seconds: tuple[float, ...], *, last: bool) -> float:
        """Videos a second in the first or last tenth, or in 2000 of few: the median of its windows."""
        times = np.array((0.0, *seconds))
        count = max((len(times) - 1) // 10, min(2 * WINDOW_VIDEOS, (len(times) - 1) // 2))
        part = times[-count - 1 :] if last else times[: count + 1]
        return median([(len(window) - 1) / float(window[-1] - window[0]) for window in _windows(part)])


def _windows(times: np.ndarray) -> Iterator[np.ndarray]:
    count = max(1, min(WINDOWS, (len(times) - 1) // WINDOW_VIDEOS))
    edges = np.linspace(0, len(times) - 1, count + 1).astype(int)
    for first, last in itertools.pairwise(edges):
        yield times[first : last + 1]


class Commits:
    """Each time that a writer adds its journal to the file, and how long that takes."""

    def __init__(self, writer: FeatureWriter):
        self.seconds: list[float] = []
        self.processor_seconds = 0.0
        self._commit = writer.commit
        writer.commit = self  # type: ignore[method-assign, assignment]

    def __call__(self) -> None:
        started, processor_started = time.perf_counter(), time.process_time()
        self._commit()
        self.seconds.append(time.perf_counter() - started)
        self.processor_seconds += time.process_time() - processor_started


def video(number: int) -> Video:
    return Video(f"v_{number:07d}", __file__, f"videos/v_{number:07d}.mp4")


def write_videos(output: Path, count: int) -> Written:
    """Through the store as ``extract`` goes: what is stored first, then rows a batch at a time."""
    drawn = np.random.default_rng(0).standard_normal((MADE, CLIPS, WIDTH), np.float32)
    seconds = np.arange(2.0 * CLIPS).reshape(CLIPS, 2)
    videos = [video(number) for number in range(count)]
    done, processor = [], []
    with FeatureWriter(output, SETTINGS) as writer:
        commits = Commits(writer)
        started = time.perf_counter()
        missing = [item for item in videos if not writer.is_stored(item)]
        resume = time.perf_counter() - started
        started, processor_started = time.perf_counter(), time.process_time()
        for number, item in enumerate(missing, count - len(missing)):
            rows = drawn[number % MADE].copy()
            rows[:, 0] = number
            for first in range(0, CLIPS, BATCH):
                part = slice(first, first + BATCH)
                writer.add(item, Features({"pool5": rows[part]}, seconds[part], np.arange(len(rows))[part]))
            writer.finish(item, INFO)
            done.append(time.perf_counter() - started)
            processor.append(time.process_time() - processor_started)
    end = time.perf_counter() - started - done[-1]
    end_processor = time.process_time() - processor_started - processor[-1]
    return Written(tuple(done), tuple(processor), commits, end, end_processor, resume)


def read_one(path: str, number: int) -> float:
    """Seconds to open the file and read one video."""
    started = time.perf_counter()
    with open_features(path) as found:
        rows = found[video(number).id]["pool5"]
    seconds = time.perf_counter() - started
    if rows.shape != (CLIPS, WIDTH) or rows[0, 0] != number:
        raise SystemExit(f"{path}: video {number} holds the features of another")
    return seconds


def read_in_a_fresh_process(path: Path, number: int) -> float:
    command = [sys.executable, "-c", f"from benchmarks import store; print(store.read_one({str(path)!r}, {number}))"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def forget_pages(path: Path) -> None:
    """Ask the system to drop what it has cached of a file, so that it is read from the disk again."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_times(path: Path, count: int) -> dict[str, list[float]]:
    """Seconds to open and read one of ``count`` videos, another one each time."""
    numbers = [count * turn // READS + 3 * turn for turn in range(READS)]
    times: dict[str, list[float]] = {"fresh process": [], "same process": [], "not in the page cache": []}
    for number in numbers:
        times["fresh process"].append(read_in_a_fresh_process(path, number))
    for number in numbers:
        times["same process"].append(read_one(str(path), number + 1))
    for number in numbers:
        forget_pages(path)
        times["not in the page cache"].append(read_in_a_fresh_process(path, number + 2))
    return times


@contextmanager
def temporary_folder(need_bytes: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="p3dfeat-benchmark-") as folder:
        free = shutil.disk_usage(folder).free
        if free < need_bytes:
            raise OutputError(f"{tempfile.gettempdir()}: {free >> 30} GB free, {need_bytes >> 30} needed; set TMPDIR")
        yield Path(folder)


def measure(count: int) -> dict[str, Any]:
    with temporary_folder(int(1.1 * count * CLIPS * WIDTH * 4)) as folder:
        output = folder / "feats.h5"
        written = write_videos(output, count)
        size = os.path.getsize(output)
        commits = written.commits.seconds
        say(f"{count} videos: {written.total_seconds:.1f} s, of it {sum(commits):.1f} s in {len(commits)} commits")
        reads = read_times(output, count)
        added, run_seconds = write_videos(output, count + 1), count * VIDEO_SECONDS
        say(f"one more: {added.total_seconds:.2f} s; to find out which: {added.resume_seconds:.1f} s")
        return {
            "videos": count,
            "clips_a_video": CLIPS,
            "size_bytes": size,
            "videos_per_second_in_the_first_tenth": written.tenth(written.done_seconds, last=False),
            "videos_per_second_in_the_last_tenth": written.tenth(written.done_seconds, last=True),
            "videos_per_processor_second_in_the_first_tenth": written.tenth(written.processor_seconds, last=False),
            "videos_per_processor_second_in_the_last_tenth": written.tenth(written.processor_seconds, last=True),
            "commits": len(commits),
            "commit_seconds": sum(commits),
            "commit_seconds_at_most": max(commits),
            "commit_processor_seconds": written.commits.processor_seconds,
            "commit_share_of_a_run": sum(commits) / (run_seconds + written.total_seconds),
            "milliseconds_a_video": 1e3 * written.total_seconds / count,
            "processor_milliseconds_a_video": 1e3 * written.total_processor_seconds / count,
            "share_of_a_run": written.total_seconds / (run_seconds + written.total_seconds),
            "bytes_beyond_the_features": size / count - 4 * CLIPS * WIDTH,
            "bytes_to_add_one_video": os.path.getsize(output) - size,
            "seconds_to_add_one_video": added.total_seconds,
            "resume_seconds": added.resume_seconds,
            "resume_share_of_a_run": added.resume_seconds / run_seconds,
            "read_milliseconds": {name: [1e3 * value for value in values] for name, values in reads.items()},
        }


def rows(quick: bool) -> list[Row]:
    found = measure(QUICK_VIDEOS if quick else VIDEOS)
    first, last = (found[f"videos_per_second_in_the_{name}_tenth"] for name in ("first", "last"))
    busy = (
        found["videos_per_processor_second_in_the_first_tenth"] / found["videos_per_processor_second_in_the_last_tenth"]
    )
    reads = {name: median(values) for name, values in found["read_milliseconds"].items()}
    what = f"{found['videos']} videos x {CLIPS} clips"
    commit, share, resume = (found[f"{name}share_of_a_run"] for name in ("commit_", "", "resume_"))
    size, added = found["size_bytes"], found["bytes_to_add_one_video"]
    return [
        Row(
            f"writing {what}: time of a video, last tenth against first",
            f"at most {SLOWDOWN}x",
            f"{first / last:.2f}x ({first:.0f} videos/s, then {last:.0f}; processor time {busy:.2f}x)",
            first / last <= SLOWDOWN,
            found,
        ),
        Row(
            f"commits' share of a run of {what} at 10 ms a clip",
            "at most 3 %",
            f"{100 * commit:.1f} % ({found['commits']} commits, {found['commit_seconds']:.1f} s, "
            f"{found['commit_processor_seconds']:.1f} s of the processor; the longest "
            f"{found['commit_seconds_at_most']:.1f} s)",
            commit <= 0.03,
        ),
        Row(
            f"the whole store's share of a run of {what} at 10 ms a clip",
            "at most 3 %",
            f"{100 * share:.1f} % ({found['milliseconds_a_video']:.1f} ms a video, "
            f"{found['processor_milliseconds_a_video']:.1f} of the processor)",
            share <= 0.03,
        ),
        Row(
            f"adding one video to a file of {what}, {size / 1e9:.1f} GB",
            f"at most {100 * ADDED_SHARE:.1f} % of it written",
            f"{added / 1e6:.1f} MB in {found['seconds_to_add_one_video']:.2f} s ({100 * added / size:.3f} %)",
            added <= ADDED_SHARE * size,
        ),
        Row(
            f"finding out that {what} are stored",
            f"at most {100 * RESUME_SHARE:.0f} % of a run at 10 ms a clip",
            f"{100 * resume:.2f} % ({found['resume_seconds']:.1f} s)",
            resume <= RESUME_SHARE,
        ),
        Row(
            f"opening a file of {what} and reading one video",
            f"under {1e3 * OPEN_SECONDS:.0f} ms",
            "; ".join(f"{name} {value:.1f} ms" for name, value in reads.items()),
            max(reads.values()) < 1e3 * OPEN_SECONDS,
            {"milliseconds": found["read_milliseconds"]},
        ),
    ]


if __name__ == "__main__":
    main(rows, __doc__)
