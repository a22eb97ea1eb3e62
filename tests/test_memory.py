"""Memory does not grow with the length of a video, the size of its pictures, or the number of videos."""

import subprocess
import sys

from stress import memory

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
    peaks = []
    for minutes in (1, 60):
        video = memory.repeated_video(tmp_path / f"{minutes}.mp4", frames=minutes * 60 * memory.FPS)
        peaks.append(peak_megabytes(video, tmp_path / f"{minutes}.h5", stride=40))
    assert peaks[1] < peaks[0] + 100, f"{peaks[0]} MB for a minute, {peaks[1]} MB for an hour"


def test_pictures_in_4k_cost_a_decoder_and_nothing_else(tmp_path):
    case = memory.large_pictures(tmp_path)
    assert case.fine, case.row()
    assert case.large.main < case.small.main + 50


def test_a_thousand_videos_take_little_more_memory_than_a_hundred(tmp_path):
    case = memory.many_videos(tmp_path, count=1000)
    assert case.fine, case.row()


def test_a_peak_that_grows_too_much_is_told():
    small, large = memory.Peaks(main=300, decoder=60), memory.Peaks(main=550, decoder=60)
    assert not memory.Case("large", "small", small, large).fine
    assert memory.Case("large", "small", small, small).row()[-1] == "yes"
