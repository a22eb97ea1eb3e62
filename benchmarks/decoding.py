"""Decoding and resizing beside decord and beside decoding alone: python -m benchmarks.decoding --clips FOLDER

decord and a two-minute 720p video, which is made here, are needed by nothing else: where decord is missing
(pip install decord), only what can be measured without it is.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from benchmarks.table import Row, alternate, main_on_clips, median, say
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.sources import find_videos
from p3dfeat.types import Clip, Video, VideoEnd
from p3dfeat.video import Decoders, read_clips

HEIGHT, WIDTH = 182, 242
SPEC: Final = InputSpec(channels="rgb", resize=(HEIGHT, WIDTH))
DENSE: Final = Sampling(clips=None, stride=16)
SPARSE: Final = Sampling(clips=20)
MADE_SECONDS, MADE_RATE = 120, 25
FULL: Final = "decoding and resizing the real videos: times as fast as decord"
SHARE: Final = "decoding and resizing the real videos: share of the rate of PyAV decoding alone"
SPARSE_PLAN: Final = "20 x 16 frames of each video: times as fast as decord, geometric mean"
ONE_PASS: Final = "20 x 16 frames of each video: frames decoded, of one sequential pass"
PROCESSES: Final = "decoding in processes: times as fast as in threads"


def decord_reader() -> Callable[[str], Any] | None:
    """Opens a video at our output size; None where decord is missing."""
    try:
        decord = import_module("decord")
    except ImportError:
        return None
    return lambda path: decord.VideoReader(path, width=WIDTH, height=HEIGHT, num_threads=0)


def readable(videos: Sequence[Video], opened: Callable[[str], Any] | None) -> list[Video]:
    """Those that both sides can read."""
    found = []
    for video in videos:
        try:
            if opened is not None:
                opened(video.path)[0].asnumpy()
            for _ in read_clips(video, SPEC, SPARSE):
                continue
        except Exception as error:  # decord's own derive from nothing more special
            say(f"left out: {video.source}: {str(error).strip().splitlines()[-1][:100]}")
        else:
            found.append(video)
    return found


def made_video(path: Path, seconds: int) -> Video:
    """H.264, 1280 x 720, 25 a second, as encoders make it by default: a textured ground that moves."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(0, 255, (60, 100, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=MADE_RATE, options={"preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(seconds * MADE_RATE):
            top, left = round(100 + 90 * np.sin(number / 40)), round(150 + 140 * np.cos(number / 55))
            pixels = np.ascontiguousarray(ground[top : top + 720, left : left + 1280])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return Video("made", str(path), "made 720p")


def full_rows(videos: Sequence[Video], opened: Callable[[str], Any] | None, rounds: int) -> Iterator[Row]:
    """Every frame of all videos: ours as ``extract`` reads them, several at once; the others as they are used."""

    def alone() -> None:
        for video in videos:
            with av.open(video.path) as container:
                container.streams.video[0].thread_type = "AUTO"
                for _ in container.decode(video=0):
                    continue

    def with_decord() -> None:
        assert opened is not None
        for video in videos:
            reader = opened(video.path)
            for number in range(len(reader)):
                reader[number].asnumpy()

    with Decoders() as decoders:

        def ours() -> None:
            for _ in decoders.read(videos, SPEC, DENSE):
                continue

        sides = {"p3dfeat": ours, "PyAV, decoding alone": alone}
        seconds = alternate(sides | ({"decord": with_decord} if opened else {}), rounds, uncounted=1)
    medians = {name: median(values) for name, values in seconds.items()}
    details = {"videos": len(videos), "rounds": rounds, "median_seconds": medians}
    share = medians["PyAV, decoding alone"] / medians["p3dfeat"]
    yield Row(SHARE, "at least 75 %", f"{100 * share:.0f} %", share >= 0.75, details)
    if opened is None:
        yield Row(FULL, "at least 1.0x", "decord is not installed", None)
        return
    ratio = medians["decord"] / medians["p3dfeat"]
    yield Row(FULL, "at least 1.0x", f"{ratio:.2f}x", ratio >= 1, details)


def sparse_rows(videos: Sequence[Video], opened: Callable[[str], Any] | None, rounds: int) -> Iterator[Row]:
    """20 clips of 16 frames of each video, one video at a time."""
    passes = {Path(video.source).name: _share_decoded(video) for video in videos}
    worst = max(passes.values())
    yield Row(ONE_PASS, "at most 100 %", f"at most {100 * worst:.0f} %", worst <= 1, passes)
    if opened is None:
        yield Row(SPARSE_PLAN, "at least 1.2x", "decord is not installed", None)
        return
    ratios = {}
    for video in videos:
        sides = {"p3dfeat": lambda v=video: list(_count(v)), "decord": lambda v=video: _sparse_with(opened, v)}
        seconds = alternate(sides, rounds, uncounted=1)
        ratios[Path(video.source).name] = median(seconds["decord"]) / median(seconds["p3dfeat"])
    mean = statistics.geometric_mean(ratios.values())
    each = {name: round(value, 2) for name, value in ratios.items()}
    yield Row(SPARSE_PLAN, "at least 1.2x", f"{mean:.2f}x", mean >= 1.2, {"rounds": rounds, "times_decord": each})


def _count(video: Video) -> Iterator[int]:
    for item in read_clips(video, SPEC, SPARSE):
        if isinstance(item, Clip):
            yield len(item.frames)


def _sparse_with(opened: Callable[[str], Any], video: Video) -> None:
    reader = opened(video.path)
    for start in np.linspace(0, max(0, len(reader) - 16), 20).round().astype(int):
        reader.get_batch([min(len(reader) - 1, start + number) for number in range(16)]).asnumpy()


def _share_decoded(video: Video) -> float:
    (end,) = (item for item in read_clips(video, SPEC, SPARSE) if isinstance(item, VideoEnd))
    return end.frames_decoded / end.info.num_frames


def processes_row(videos: Sequence[Video], rounds: int) -> Row:
    """What the isolation of a process costs, or gives: the same work, as many videos at once, in threads."""
    from concurrent.futures import ThreadPoolExecutor

    with Decoders() as decoders, ThreadPoolExecutor(decoders.workers) as pool:

        def read(video: Video) -> None:
            for _ in read_clips(video, SPEC, DENSE, threads=1):
                continue

        sides = {
            "processes": lambda: [None for _ in decoders.read(videos, SPEC, DENSE)],
            "threads": lambda: list(pool.map(read, videos)),
        }
        seconds = alternate(sides, rounds, uncounted=1)
    medians = {name: median(values) for name, values in seconds.items()}
    ratio = medians["threads"] / medians["processes"]
    details = {"rounds": rounds, "median_seconds": medians}
    return Row(PROCESSES, "at least 0.9x: so much isolation may cost", f"{ratio:.2f}x", ratio >= 0.9, details)


def rows(quick: bool, clips: Path) -> list[Row]:
    rounds, opened = (2 if quick else 7), decord_reader()
    found, _ = find_videos([str(clips)])
    videos = readable(found, opened)
    with tempfile.TemporaryDirectory() as folder:
        made = made_video(Path(folder) / "made.mp4", 10 if quick else MADE_SECONDS)
        return [
            *full_rows(videos, opened, rounds),
            *sparse_rows([*videos, made], opened, rounds),
            processes_row(videos, rounds),
        ]


if __name__ == "__main__":
    main_on_clips(rows, __doc__)
