"""A video's file is opened three times: to list its packets, to look at its ends and its header, and to decode it."""

import subprocess
import sys

import pytest

from tests.videos import CODINGS, panning_frames, write_video

COUNT = """
import sys
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Video
from p3dfeat.video import read_clips
opened = []
sys.addaudithook(lambda event, about: opened.append(about[0]) if event == "open" and about[0] == sys.argv[1] else None)
clips = list(read_clips(Video("v", sys.argv[1], "v"), InputSpec(resize=(8, 8)), Sampling(clips=3)))
print(len(opened))
"""


@pytest.mark.parametrize("name", ["h264 with B-frames", "mpeg4 in AVI", "av1"])
def test_a_file_is_opened_three_times(tmp_path, name):
    coding = CODINGS[name]
    path = write_video(tmp_path / f"v{coding.suffix}", panning_frames(40, pixels_a_frame=3), coding=coding)
    counted = subprocess.run([sys.executable, "-c", COUNT, path], capture_output=True, text=True, check=True)
    assert int(counted.stdout) <= 3
