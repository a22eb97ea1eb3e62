"""The bar counts what the run counts."""

import io

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from p3dfeat.cli.progress import _RunBar
from p3dfeat.types import Features, Video
from p3dfeat.workflows.extract import ToDo, VideoDone
from p3dfeat.workflows.pipeline import Described, Started


def video(number: int) -> Video:
    return Video(f"v{number}", f"{number}.mp4", f"{number}.mp4")


def described(number: int, clips: int) -> Described:
    return Described(video(number), Features({"pool5": np.zeros((clips, 1), np.float32)}, np.zeros((clips, 2))))


@pytest.fixture
def bar():
    with Progress(console=Console(file=io.StringIO())) as progress:
        yield _RunBar(progress)


def shown(bar: _RunBar) -> tuple[str, str, str]:
    fields = bar._progress.tasks[0].fields
    return fields["videos"], fields["clips"], fields["failures"]


def test_videos_not_yet_opened_are_taken_to_be_like_the_ones_that_were(bar):
    bar(ToDo(4))
    bar(Started(video(0), 10))
    bar(described(0, 4))
    assert shown(bar) == ("0/4 videos", "4/40 clips", "")
    bar(Started(video(1), 30))
    bar(described(0, 6))
    bar(VideoDone("v0", "0.mp4", "stored", 10))
    assert shown(bar) == ("1/4 videos", "10/80 clips", "")


def test_inputs_that_failed_or_were_stored_before_the_run_are_no_part_of_it(bar):
    bar(VideoDone("x", "x.mp4", "failed", error="no such file"))
    bar(VideoDone("y", "y.mp4", "skipped"))
    bar(ToDo(2))
    assert shown(bar) == ("0/2 videos", "0/0 clips", "1 failed")
    bar(Started(video(0), 10))
    assert shown(bar) == ("0/2 videos", "0/20 clips", "1 failed")


def test_videos_that_fail_to_open_are_expected_no_more(bar):
    bar(ToDo(3))
    bar(Started(video(0), 10))
    bar(described(0, 10))
    bar(VideoDone("v0", "0.mp4", "stored", 10))
    for number in (1, 2):
        bar(VideoDone(f"v{number}", f"{number}.mp4", "failed", error="damaged"))
    assert shown(bar) == ("3/3 videos", "10/10 clips", "2 failed")
