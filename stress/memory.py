"""Memory is bounded by the settings, not by the videos: ``python -m stress.memory --count 100000``.

Peaks of ``extract``'s own process and of its largest decoder, by the kernel's count, for a file of ten hours, for one
in 4K and for 100,000 videos of a list, each beside a small one of its kind.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np

from stress.report import put_between_marks, table

FPS: Final = 25
GOP: Final = 250  # frames, encoded once and written again and again
TINY: Final = (48, 64)
FULL_HD: Final = (1080, 1920)
ULTRA_HD: Final = (2160, 3840)
MOST_GROWTH: Final = 200  # megabytes that any process may take more than with the small video beside it
MOST_GROWTH_4K: Final = 300  # of a decoder: FFmpeg may keep some 20 pictures, of 12 MB against 3
RUN_SECONDS: Final = 3000
LOOK_SECONDS: Final = 0.02  # between two looks at decoders
RUN: Final = "import sys; from stress import memory; memory.print_peaks(*sys.argv[1:])"


@dataclass(frozen=True)
class Peaks:
    """Resident megabytes at most: of the main process, and of the decoder that took most."""

    main: float
    decoder: float


@dataclass(frozen=True)
class Case:
    """What was read, beside what, and by how much a peak may be higher."""

    name: str
    beside: str
    small: Peaks
    large: Peaks
    most_decoder_growth: float = MOST_GROWTH

    @property
    def fine(self) -> bool:
        main, decoder = self.large.main - self.small.main, self.large.decoder - self.small.decoder
        return main < MOST_GROWTH and decoder < self.most_decoder_growth

    def row(self) -> tuple[str, ...]:
        sides = [(self.small.main, self.large.main), (self.small.decoder, self.large.decoder)]
        columns = (f"{small:.0f} → {large:.0f} MB" for small, large in sides)
        bound = f"+{MOST_GROWTH} and +{self.most_decoder_growth:.0f} MB"
        return (f"{self.beside} → {self.name}", *columns, bound, "yes" if self.fine else "**no**")


def print_peaks(source: str, output: str, sampling: str) -> None:
    """What the process of a run does."""
    import p3dfeat

    decoders = DecoderPeaks()
    done = p3dfeat.extract(
        source, output, model="p3d-camera", **json.loads(sampling), on_event=lambda _: decoders.look()
    )
    print(json.dumps({"main": peak("self"), "decoder": decoders.highest, "stored": done.stored}))


class DecoderPeaks:
    """Of all decoders that this process has had, looked at as it goes: one that has grown is replaced."""

    def __init__(self) -> None:
        self.highest = 0.0
        self._last = -LOOK_SECONDS

    def look(self) -> None:
        if time.monotonic() - self._last < LOOK_SECONDS:
            return
        self._last = time.monotonic()
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # the thread has ended
                for pid in (thread / "children").read_text().split():
                    with suppress(OSError, StopIteration):  # the process has
                        self.highest = max(self.highest, peak(pid))


def peak(process: str) -> float:
    """VmHWM: unlike ru_maxrss it does not begin with what the parent took."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def peaks(source: str | Path, output: Path, *, videos: int = 1, **sampling: int) -> Peaks:
    """Of an ``extract`` in a process of its own, which must store so many videos. sampling: its clips or stride."""
    command = [sys.executable, "-c", RUN, str(source), str(output), json.dumps(sampling)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True, timeout=RUN_SECONDS)
    found = json.loads(done.stdout)
    if found["stored"] != videos:
        raise RuntimeError(f"{source}: {found['stored']} of {videos} videos stored")
    return Peaks(found["main"], found["decoder"])


def repeated_video(path: Path, *, frames: int, size: tuple[int, int] = TINY, gop: int = GOP) -> Path:
    """A video of so many frames, a multiple of ``gop``: one group of pictures, written as often as it takes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30", "g": str(gop)})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        packets = []
        picture = np.random.default_rng(0).integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
        for number in range(gop):
            pixels = np.roll(picture, number // 10, axis=1).repeat(8, 0).repeat(8, 1)
            packets.extend(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        packets.extend(stream.encode())
        step = packets[1].dts - packets[0].dts
        for turn in range(frames // gop):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.stream, again.time_base, again.is_keyframe = stream, packet.time_base, packet.is_keyframe
                again.pts = packet.pts + turn * gop * step
                again.dts = packet.dts + turn * gop * step
                again.duration = step
                container.mux(again)
    return path


def listed_videos(folder: Path, count: int) -> Path:
    """A list of so many videos: hard links to a few, since a file has at most 65,000 names."""
    folder.mkdir()
    first = repeated_video(folder / "first.mp4", frames=20, gop=20)
    paths = folder.parent / f"{count}.txt"
    with open(paths, "w", encoding="utf-8") as file:
        for number in range(count):
            path = folder / f"{number // 1000:03}" / f"{number:06}.mp4"
            if number % 1000:
                os.link(path.with_name(f"{number // 1000 * 1000:06}.mp4"), path)
            else:
                path.parent.mkdir()
                shutil.copyfile(first, path)
            file.write(f"{path}\n")
    return paths


def long_file(folder: Path, *, hours: float) -> Case:
    """So many hours beside a minute, 20 clips of each."""
    frames = round(hours * 3600 * FPS / GOP) * GOP
    sides = []
    for name, count in (("minute", 60 * FPS), ("hours", frames)):
        video = repeated_video(folder / f"{name}.mp4", frames=count)
        sides.append(peaks(video, folder / f"{name}.h5", clips=20))
    return Case(f"{hours:g} hours ({frames:,} frames)", "a minute", *sides)


def large_pictures(folder: Path) -> Case:
    """4K beside full HD."""
    sides = []
    for size in (FULL_HD, ULTRA_HD):
        video = repeated_video(folder / f"{size[0]}.mp4", frames=50, size=size, gop=50)
        sides.append(peaks(video, folder / f"{size[0]}.h5", clips=3))
    return Case("4K", "full HD", *sides, most_decoder_growth=MOST_GROWTH_4K)


def many_videos(folder: Path, *, count: int) -> list[Case]:
    """So many beside 100, a clip of each; and once more, when all are stored."""
    first, again = [], []
    for number in (100, count):
        source, output = f"@{listed_videos(folder / str(number), number)}", folder / f"{number}.h5"
        first.append(peaks(source, output, clips=1, videos=number))
        again.append(peaks(source, output, clips=1, videos=0))
    return [Case(f"{count:,} videos", "100", *first), Case(f"{count:,} that are stored", "100", *again)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print the table; return 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(prog="python -m stress.memory", description=__doc__)
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--count", type=int, default=100_000, help="videos of the list")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args(arguments)
    measures: list[Callable[[Path], list[Case]]] = [
        lambda folder: [long_file(folder, hours=options.hours)],
        lambda folder: [large_pictures(folder)],
        lambda folder: many_videos(folder, count=options.count),
    ]
    cases = []
    for measure in measures:
        with tempfile.TemporaryDirectory(prefix="p3dfeat-memory-", dir=options.folder) as folder:
            for case in measure(Path(folder)):
                cases.append(case)
                print(" | ".join(case.row()), file=sys.stderr, flush=True)
    text = table(("", "main process", "decoder", "at most", "kept"), [case.row() for case in cases])
    print(text)
    if options.write:
        put_between_marks("memory", text)
    return 0 if all(case.fine for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
