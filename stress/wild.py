"""Real files through every way of reading them, beside an independent reader: ``python -m stress.wild FOLDER``.

The independent reader is the ``ffmpeg`` program where it is installed, which prints a checksum of every frame; else
PyAV, decoding in one pass, without anything of p3dfeat but the choice of the stream.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from av import VideoFrame

from p3dfeat.config import Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Int64Array, Video
from p3dfeat.video.findings import Findings
from p3dfeat.video.reading.clips import plan
from p3dfeat.video.reading.decode import DoubtError, FrameReader
from p3dfeat.video.reading.index import VideoIndex, index_video, open_video
from p3dfeat.video.reading.recount import CountedReader, recounted
from stress.report import put_between_marks, table

SPARSE: Final = Sampling(clips=5, length=4)
SEGMENT: Final = Sampling(clips=1, length=16)
TIMEOUT_SECONDS: Final = 600
OUTCOMES: Final = (
    *("stored", "stored with remarks", "refused, and the other reader shows no frame"),
    "refused, though the other reader shows frames",
)


@dataclass(frozen=True)
class Finding:
    """One file. others: frames that differ from the independent reader's; unsteady: from ours, read another way."""

    path: Path
    outcome: str
    text: str
    frames: int = 0
    expected: int = 0
    others: int = 0
    unsteady: int = 0


def compare(path: Path) -> Finding:
    """Read a file dense, sparse and by a segment, and compare all frames."""
    video = Video("v", str(path), str(path))
    try:
        theirs = list(independent(path))
    except (av.FFmpegError, IndexError, OSError):
        theirs = []
    try:
        index, findings, ours = read(video.path, lambda index: np.arange(len(index)))
        middle = float(0.4 * (index.end_seconds - index.seconds[0]))
        segment = Video("v", str(path), str(path), middle, middle + 1.0)
        unsteady = 0
        for asked, sampling in ((video, SPARSE), (segment, SEGMENT)):
            wanted = plan(index, asked, sampling).frames()
            _, _, again = read(video.path, lambda index, a=asked, s=sampling: plan(index, a, s).frames())
            unsteady += sum(a != ours[number] for number, a in zip(wanted.tolist(), again, strict=False)) + abs(
                len(wanted) - len(again)
            )
    except VideoError as error:
        return Finding(path, OUTCOMES[2 + bool(theirs)], str(error), expected=len(theirs))
    others = sum(a != b for a, b in zip(ours, theirs, strict=False)) + abs(len(ours) - len(theirs))
    outcome = OUTCOMES[bool(findings.remarks)]
    return Finding(path, outcome, "; ".join(findings.remarks), len(ours), len(theirs), others, unsteady)


def read(path: str, wanted: Callable[[VideoIndex], Int64Array]) -> tuple[VideoIndex, Findings, list[str]]:
    """Checksums of the frames wanted, read as extract reads them. Raises VideoError."""
    findings = Findings()
    index = index_video(path, findings)
    while True:
        found = findings.copy()
        with open_video(path) as (container, stream):
            numbers = wanted(index)
            reader: FrameReader | CountedReader
            if index.recounted:
                reader = CountedReader(container, stream, index, found, numbers)
            else:
                reader = FrameReader(container, stream, index, numbers, found)
            try:
                with closing(reader):
                    checksums = [checksum(frame) for _, frame in reader]
                    reader.finish()
                return index, found, checksums
            except DoubtError:
                index = recounted(path, index, findings)


def independent(path: Path) -> Iterator[str]:
    """Checksums of the frames that another reader shows."""
    try:
        with open_video(str(path)) as (_, stream):
            number = stream.index
    except VideoError:
        with av.open(str(path)) as container:
            number = container.streams.video[0].index
    if shutil.which("ffmpeg"):
        command = ["ffmpeg", "-v", "quiet", "-nostdin", "-noautorotate", "-i", str(path), "-map", f"0:{number}"]
        command += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        yield from (line.split(",")[-1].strip() for line in done.stdout.splitlines() if not line.startswith("#"))
        return
    with av.open(str(path)) as container:
        container.streams[number].thread_type = "SLICE"
        for frame in container.decode(container.streams[number]):
            assert isinstance(frame, VideoFrame)
            yield checksum(frame)


def checksum(frame: VideoFrame) -> str:
    """MD5 of a frame's planes without padding, as ffmpeg's framemd5 has it."""
    found = hashlib.md5()
    format = frame.format
    if format.name == "pal8":
        frame, format = frame.reformat(format="rgb24"), av.VideoFormat("rgb24")
    for place, plane in enumerate(frame.planes):
        bits = format.components[min(place, len(format.components) - 1)].bits
        size = (bits + 7) // 8 if len(frame.planes) > 1 else format.padded_bits_per_pixel // 8
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        found.update(np.ascontiguousarray(rows[:, : plane.width * size]))
    return found.hexdigest()


def report(findings: Sequence[Finding]) -> str:
    """A table of what came of all files."""
    counts = Counter(finding.outcome for finding in findings)
    rows = [(name, f"{counts[name]:,}") for name in OUTCOMES]
    rows.append(("files with a frame that differs from the other reader's", f"{sum(f.others > 0 for f in findings):,}"))
    rows.append(("files with a frame that depends on the plan", f"{sum(f.unsteady > 0 for f in findings):,}"))
    return table(("what came of it", "files"), rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    findings = []
    for path in sorted(path for path in options.folder.rglob("*") if path.is_file()):
        finding = compare(path)
        findings.append(finding)
        if finding.text or finding.others or finding.unsteady:
            counts = f"{finding.frames} of {finding.expected}, {finding.others} other, {finding.unsteady} unsteady"
            print(f"{path.name[-70:]}: {finding.outcome}: {counts}: {finding.text}", flush=True)
    text = report(findings)
    print(text)
    if options.write:
        put_between_marks("wild", f"{len(findings):,} files.\n\n{text}")
    return int(any(f.outcome == OUTCOMES[3] or f.others or f.unsteady for f in findings))


if __name__ == "__main__":
    sys.exit(main())
