"""Numbers of things, in words."""

import re
from pathlib import Path

import pytest

import p3dfeat
from p3dfeat.text.counts import counted

# A count before a plural that does not ask whether it is one. Units, ranges and "of N numbers" need no singular.
UNASKED = re.compile(
    r"(?<!of )\{(?:len\([^{}]*\)|num_\w+|[\w.]+_clips|[\w.]*clips)\} (?:clips|videos|frames|files|rows)\b"
)


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (0, "clip", "0 clips"),
        (1, "clip", "1 clip"),
        (2, "stored video", "2 stored videos"),
        (1, "class", "1 class"),
        (400, "class", "400 classes"),
        (1_234_567, "byte", "1,234,567 bytes"),
    ],
)
def test_one_thing_is_in_the_singular(count, noun, words):
    assert counted(count, noun) == words


def test_messages_about_clips_videos_frames_files_and_rows_ask_for_the_number():
    package = Path(p3dfeat.__file__).parent
    found = {path.name: UNASKED.findall(path.read_text()) for path in package.rglob("*.py")}
    assert {name: places for name, places in found.items() if places} == {}
