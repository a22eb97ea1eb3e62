"""Memory does not grow with the length of a video."""

import subprocess
import sys
from itertools import chain, repeat

from tests.videos import Coding, textured_picture, write_video

# What `extract` itself takes, measured from inside so that it is this process's and not its parent's.
EXTRACT = """
import resource, sys
from p3dfeat.cli.app import run
code = run(["extract", sys.argv[1], "-o", sys.argv[2], "--stride", sys.argv[3], "-q"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


def peak_megabytes(video, output, stride: int) -> int:
    command = [sys.executable, "-c", EXTRACT, str(video), str(output), str(stride)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path):
    """Dense clips over 60 minutes at 25 frames a second, at low resolution."""
    coding = Coding("mpeg4", ".mp4", options={"g": "250"})
    pictures = [textured_picture(32, 48, seed) for seed in range(25)]
    peaks = []
    for minutes in (1, 60):
        frames = chain.from_iterable(repeat(pictures, 60 * minutes))
        video = write_video(tmp_path / f"{minutes}.mp4", frames, coding=coding)
        peaks.append(peak_megabytes(video, tmp_path / f"{minutes}.h5", stride=40))
    assert peaks[1] < peaks[0] + 100, f"{peaks[0]} MB for a minute, {peaks[1]} MB for an hour"
