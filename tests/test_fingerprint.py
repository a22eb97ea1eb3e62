"""What tells one video from another: a file, or a folder of numbered pictures."""

import os

import pytest

from p3dfeat.fingerprint import ENDS_BYTES, fingerprint, size_and_time
from p3dfeat.pictures import numbered_pictures

DAY = 1_767_225_600  # 2026-01-01T00:00:00+00:00


@pytest.fixture
def folder(tmp_path):
    """Pictures 9, 10 and 11, of 3, 4 and 5 bytes, a day apart, the middle one the newest; and other files."""
    for number, size, days in ((9, 3, 1), (10, 4, 3), (11, 5, 2)):
        path = tmp_path / f"img_{number}.png"
        path.write_bytes(bytes([number]) * size)
        os.utime(path, (DAY * 1.0, DAY + days * 86400))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".img_12.png").write_bytes(b"x")
    return tmp_path


def test_pictures_come_in_the_order_of_their_numbers(folder):
    names = [os.path.basename(path) for path in numbered_pictures(str(folder))]
    assert names == ["img_9.png", "img_10.png", "img_11.png"]


def test_a_folder_has_the_size_of_its_pictures_and_the_time_of_the_newest(folder):
    assert size_and_time(str(folder)) == (12, "2026-01-04T00:00:00+00:00")


def test_a_file_has_its_own_size_and_time(folder):
    assert size_and_time(str(folder / "img_9.png")) == (3, "2026-01-02T00:00:00+00:00")


def test_the_fingerprint_of_a_folder_is_of_its_pictures_alone(folder, tmp_path):
    before = fingerprint(str(folder))
    (folder / "notes.txt").write_text("other")
    os.utime(folder / "img_9.png", (0, 0))
    assert fingerprint(str(folder)) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "img_12.png").write_bytes(b"x"),
        lambda folder: (folder / "img_10.png").unlink(),
        lambda folder: (folder / "img_10.png").rename(folder / "img_8.png"),
        lambda folder: (folder / "img_10.png").write_bytes(b"other size"),
        lambda folder: (folder / "img_9.png").write_bytes(b"new"),
        lambda folder: (folder / "img_11.png").write_bytes(b"newer"),
    ],
    ids=["one more", "one less", "renamed", "another size", "first of other content", "last of other content"],
)
def test_a_folder_that_changed_has_another_fingerprint(folder, change):
    before = fingerprint(str(folder))
    change(folder)
    assert fingerprint(str(folder)) != before


def test_a_file_is_told_by_its_size_and_its_ends(tmp_path):
    path = tmp_path / "v.mp4"
    found = set()
    for content in (b"x" * 3 * ENDS_BYTES, b"x" * 3 * ENDS_BYTES + b"x", b"y" + b"x" * 3 * ENDS_BYTES):
        path.write_bytes(content)
        found.add(fingerprint(str(path)))
    assert len(found) == 3


def test_a_folder_without_pictures_has_no_fingerprint(tmp_path):
    for ask in (fingerprint, size_and_time):
        with pytest.raises(OSError, match="a folder without numbered pictures"):
            ask(str(tmp_path))
