"""Whether a clip of a long video, or of one of many videos, costs more than another: python -m benchmarks.scale

Runs ``extract`` with the embedded model, each time in a process of its own, on a two-minute video and on two hours of
the same content; on 100 tiny videos and on 10,000; on 60 segments of an hour and of 60 short files.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from benchmarks.table import Row, main, median, say

FPS: Final = 25
HEIGHT: Final = 240
WIDTH: Final = 320
MINUTES: Final = 2
TIMES_LONGER: Final = 60
QUICK_TIMES_LONGER: Final = 4
TINY_HEIGHT: Final = 48
TINY_WIDTH: Final = 64
TINY_FRAMES: Final = (16, 20, 24, 28, 32)
FEW: Final = 100
MANY: Final = 10_000
QUICK_MANY: Final = 500
STRIDE: Final = 16  # dense: every frame is in one clip
ROUNDS: Final = 3  # of the small side before the large one, and after
LIMIT: Final = 1.05
SEGMENTS: Final = 60  # of a second each
SEGMENTED_MINUTES: Final = 60
TURNS: Final = 5
SEGMENT_LIMIT: Final = 1.5
RUN: Final = "import sys; from benchmarks import scale; scale.print_run(sys.argv[1], sys.argv[2])"


@dataclass(frozen=True)
class Run:
    """One ``extract`` in a process of its own."""

    videos: int
    clips: int
    elapsed_seconds: float  # from the first video opened to the last one stored
    listing_seconds: float  # of finding the videos, which comes before
    processor_seconds: float  # of all threads and processes, from the first video opened on
    peak_megabytes: float  # resident, of the process itself
    child_megabytes: float  # of the largest process that it started, if any

    @property
    def seconds_a_clip(self) -> float:
        return (self.elapsed_seconds + self.listing_seconds) / self.clips


def print_run(source: str, output: str) -> None:
    """What the process of a run does."""
    from p3dfeat import extract, load_model
    from p3dfeat.sources import find_videos
    from p3dfeat.workflows.extract import ExtractEvent, ToDo

    model = load_model("p3d-camera")
    started = time.perf_counter()
    find_videos([source])
    listing = time.perf_counter() - started
    used: list[float] = []

    def note_the_start(event: ExtractEvent) -> None:
        if isinstance(event, ToDo):
            used.append(sum(os.times()[:4]))

    done = extract(source, output, model=model, clip_stride=STRIDE, on_event=note_the_start)
    processor = sum(os.times()[:4]) - used[0]
    if done.failed:
        raise SystemExit(f"{source}: {done.failed} failed; first: {done.failures[0].error}")
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps([done.stored, done.clips, done.elapsed_seconds, listing, processor, peak_megabytes(), children]))


def peak_megabytes() -> float:
    """Of this process. Linux counts that of whoever started it into ru_maxrss, but not into VmHWM."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run(source: Path) -> Run:
    with tempfile.TemporaryDirectory(prefix="p3dfeat-benchmark-") as folder:
        command = [sys.executable, "-c", RUN, str(source), f"{folder}/feats.h5"]
        done = Run(*json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    say(f"{source.name}: {done.clips} clips, {1e3 * done.seconds_a_clip:.2f} ms a clip, {done.peak_megabytes:.0f} MB")
    return done


def moving_frames(count: int, height: int, width: int, seed: int) -> Iterator[np.ndarray]:
    """(height, width, 3) uint8: a camera that pans over a smooth coloured texture, round and round."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (height // 8, 2 * width // 8, 3))
    texture = coarse.repeat(8, 0).repeat(8, 1)
    for axis in (0, 1):
        texture = np.mean([np.roll(texture, shift, axis) for shift in range(-4, 5)], axis=0)
    for number in range(count):
        yield np.roll(texture.astype(np.uint8), -2 * number, 1)[:, :width]


def encode(path: Path, frames: Iterator[np.ndarray], height: int, width: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def repeat(path: Path, times: int, output: Path) -> None:
    """The packets of a video so many times, one after the other, with times that go on."""
    with av.open(str(output), "w") as target:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(path)) as source:
                pictures = source.streams.video[0]
                assert pictures.time_base is not None
                stream = stream or target.add_stream_from_template(pictures)
                length = int(pictures.frames / (FPS * pictures.time_base))
                for packet in source.demux(pictures):
                    if packet.pts is None or packet.dts is None:  # the end
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    target.mux(packet)
                shift += length


def compare(small: Path, large: Path) -> dict[str, Any]:
    """Runs of both sides: the small one before and after the large one, which is long enough to be run once."""
    before = [run(small) for _ in range(ROUNDS)]
    there = run(large)
    runs = [*before, *(run(small) for _ in range(ROUNDS))]
    of_small = median([done.seconds_a_clip for done in runs])
    processor = median([done.processor_seconds / done.clips for done in runs])
    return {
        "ratio": there.seconds_a_clip / of_small,
        "ratio_of_processor_time": there.processor_seconds / there.clips / processor,  # whatever the neighbours do
        "small": {"milliseconds_a_clip": 1e3 * of_small, **_summary(runs)},
        "large": {"milliseconds_a_clip": 1e3 * there.seconds_a_clip, **_summary([there])},
    }


def _summary(runs: list[Run]) -> dict[str, Any]:
    return {
        "videos": runs[0].videos,
        "clips": runs[0].clips,
        "elapsed_seconds": [done.elapsed_seconds for done in runs],
        "listing_seconds": [done.listing_seconds for done in runs],
        "processor_seconds": [done.processor_seconds for done in runs],
        "peak_megabytes": max(done.peak_megabytes for done in runs),
        "child_megabytes": max(done.child_megabytes for done in runs),
    }


def _row(measure: str, found: Mapping[str, Any]) -> Row:
    small, large = found["small"], found["large"]
    milliseconds = f"{small['milliseconds_a_clip']:.2f} ms, then {large['milliseconds_a_clip']:.2f}"
    memory = f"peak memory {small['peak_megabytes']:.0f} MB, then {large['peak_megabytes']:.0f}"
    processor = f"processor time {found['ratio_of_processor_time']:.2f}x"
    reached = f"{found['ratio']:.2f}x ({milliseconds}; {processor}; {memory})"
    return Row(measure, f"at most {LIMIT}x", reached, found["ratio"] <= LIMIT, dict(found))


def long_video(folder: Path, times: int) -> Row:
    short, long = folder / "short.mp4", folder / "long.mp4"
    encode(short, moving_frames(60 * MINUTES * FPS, HEIGHT, WIDTH, 0), HEIGHT, WIDTH)
    repeat(short, times, long)
    return _row(
        f"time of a clip of a {times * MINUTES}-minute video against a {MINUTES}-minute one", compare(short, long)
    )


def many_videos(folder: Path, many: int) -> Row:
    """Copies of a few made videos, each a file of its own."""
    made = []
    for seed, count in enumerate(TINY_FRAMES):
        made.append(folder / f"made{seed}.mp4")
        encode(made[-1], moving_frames(count, TINY_HEIGHT, TINY_WIDTH, seed), TINY_HEIGHT, TINY_WIDTH)
    folders = {}
    for count in (FEW, many):
        folders[count] = folder / f"{count}_videos"
        folders[count].mkdir()
        for number in range(count):
            shutil.copyfile(made[number % len(made)], folders[count] / f"v{number:06d}.mp4")
    found = compare(folders[FEW], folders[many])
    return _row(f"time of a clip of {many} tiny videos against {FEW}", found)


def many_segments(folder: Path, minutes: int) -> Row:
    """Segments of one long file, which is listed once by each decoder, against those of as many short files."""
    short, long = folder / "ten.mp4", folder / "hour.mp4"
    encode(short, moving_frames(10 * FPS, TINY_HEIGHT, TINY_WIDTH, 0), TINY_HEIGHT, TINY_WIDTH)
    repeat(short, 6 * minutes, long)
    lists = {"short files": folder / "short.csv", "one long file": folder / "long.csv"}
    lines: dict[str, list[str]] = {name: ["path,start_seconds,end_seconds"] for name in lists}
    for number in range(SEGMENTS):
        shutil.copyfile(short, folder / f"s{number}.mp4")
        lines["short files"].append(f"s{number}.mp4,2,3")
        start = number * minutes * 60 // SEGMENTS
        lines["one long file"].append(f"hour.mp4,{start},{start + 1}")
    for name, path in lists.items():
        path.write_text("\n".join(lines[name]) + "\n")
    seconds: dict[str, list[float]] = {name: [] for name in lists}
    for _ in range(TURNS):
        for name, path in lists.items():
            done = run(path)
            seconds[name].append(done.elapsed_seconds + done.listing_seconds)
    ratio = median(seconds["one long file"]) / median(seconds["short files"])
    reached = f"{ratio:.2f}x ({median(seconds['one long file']):.2f} s)"
    measure = f"time of {SEGMENTS} segments of a {minutes}-minute video against {SEGMENTS} short files"
    return Row(measure, f"at most {SEGMENT_LIMIT}x", reached, ratio <= SEGMENT_LIMIT, {"seconds": seconds})


def rows(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="p3dfeat-benchmark-") as name:
        folder = Path(name)
        return [
            long_video(folder, QUICK_TIMES_LONGER if quick else TIMES_LONGER),
            many_videos(folder, QUICK_MANY if quick else MANY),
            many_segments(folder, SEGMENTED_MINUTES // 10 if quick else SEGMENTED_MINUTES),
        ]


if __name__ == "__main__":
    main(rows, __doc__)
