"""Of a large video at an address only what is read is fetched, and the clips are those of the whole file."""

import io
import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video import Decoders, read_clips
from p3dfeat.video.ranged import BLOCK_BYTES, MOST_BLOCKS, RangedFile
from p3dfeat.video.workers import download as workers_download
from p3dfeat.video.workers.download import RemoteFiles
from tests.videos import CODINGS, Coding, numbered_video, settled, write_video
from tests.web import Answer, Fault, Request, Web, serving

SPEC = InputSpec(channels="luma", resize=(48, 64))
SPARSE = Sampling(clips=2, length=2)


class Asked:
    """Content of which parts can be asked for; notes which were."""

    def __init__(self, content: bytes):
        self.content, self.parts = content, list[tuple[int, int]]()

    def __call__(self, begin: int, end: int) -> bytes:
        assert 0 <= begin < end <= len(self.content)
        self.parts.append((begin, end))
        return self.content[begin:end]

    @property
    def num_bytes(self) -> int:
        return sum(end - begin for begin, end in self.parts)


def ranged(content: bytes) -> tuple[RangedFile, Asked]:
    asked = Asked(content)
    return RangedFile("v", tempfile.TemporaryFile(), len(content), asked), asked  # closed with it


def test_any_part_is_what_the_file_holds_and_is_fetched_once():
    content = np.random.default_rng(0).bytes(30_000_001)
    file, asked = ranged(content)
    rng = np.random.default_rng(1)
    for _ in range(300):
        place, length = int(rng.integers(0, len(content) + 10)), int(rng.integers(0, 3_000_000))
        assert file.read(place, length) == content[place : place + length]
    assert asked.num_bytes <= len(content)
    edges = sorted(asked.parts)
    assert all(one[1] <= two[0] for one, two in pairwise(edges))


def test_a_reader_seeks_as_a_file_does():
    content = bytes(range(256)) * 100_000
    file, _ = ranged(content)
    reader, plain = file.opened(), io.BytesIO(content)
    for offset, whence in [(10, 0), (5, 1), (-3, 2), (-300, 1), (20_000_000, 0), (9, 1)]:
        assert reader.seek(offset, whence) == plain.seek(offset, whence) == reader.tell()
        assert reader.read(1000) == plain.read(1000)
    assert os.fstat(reader.fileno()).st_size == len(content)


def test_a_sequence_is_fetched_in_growing_parts_and_a_jump_in_a_small_one():
    file, asked = ranged(bytes(100 * MOST_BLOCKS * BLOCK_BYTES))
    for place in range(0, 20_000_000, 10_000):
        file.read(place, 10_000)
    assert len(asked.parts) < 10
    before = asked.num_bytes
    file.read(300_000_000, 100)
    assert asked.num_bytes - before == 4 * BLOCK_BYTES


def test_a_small_file_is_fetched_at_once():
    file, asked = ranged(bytes(3_000_000))
    file.read(1_000_000, 10)
    file.read(0, 10)
    assert len(asked.parts) <= 2
    assert asked.num_bytes == 3_000_000


def items_of(where, sampling=SPARSE, **options):
    path = where if isinstance(where, str) else "/none"
    return settled(read_clips(Video("v", path, "v"), SPEC, sampling, where=where, **options))


def assert_same(one: list, other: list) -> None:
    for mine, theirs in zip(one, other, strict=True):
        if isinstance(mine, Clip):
            assert np.array_equal(mine.frames, theirs.frames)
            assert (mine.start_seconds, mine.end_seconds) == (theirs.start_seconds, theirs.end_seconds)
        elif isinstance(mine, VideoEnd):
            assert mine.info.num_frames == theirs.info.num_frames
            assert (mine.info.fingerprint, mine.info.remarks) == (theirs.info.fingerprint, theirs.info.remarks)


@pytest.mark.parametrize("name", CODINGS)
def test_every_container_is_read_by_its_parts(tmp_path, name):
    path = numbered_video(tmp_path / f"v{CODINGS[name].suffix}", 60, coding=CODINGS[name])
    file, asked = ranged(path.read_bytes())
    for sampling in (SPARSE, Sampling(clips=None, stride=16)):
        assert_same(items_of(file, sampling), items_of(str(path), sampling))
    assert asked.num_bytes <= path.stat().st_size


@pytest.mark.parametrize(
    "content", [b"", b"#EXTM3U\n", b"no video at all " * 100, b"\0\0\0\x18ftypavif" + bytes(100), bytes(5000)]
)
def test_what_is_no_video_is_refused_as_a_file_is(tmp_path, content):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    reasons = []
    for where in (str(path), ranged(content)[0]):
        with pytest.raises(VideoError) as caught:
            items_of(where)
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]


def test_an_error_of_fetching_is_the_error_of_the_video(tmp_path):
    content = numbered_video(tmp_path / "v.mp4", 60).read_bytes()

    def failing(begin: int, end: int) -> bytes:
        raise VideoError("not fetched: HTTP 410 (gone)")

    with tempfile.TemporaryFile() as room, pytest.raises(VideoError, match=r"^not fetched: HTTP 410 \(gone\)$"):
        items_of(RangedFile("v", room, len(content), failing))


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """An MP4 of more than 20 MB."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 240, 320, 3), np.uint8)
    coding = Coding(options={"crf": "20", "preset": "ultrafast", "g": "10"})
    path = tmp_path_factory.mktemp("large") / "v.mp4"
    write_video(path, (noise[number % 40] for number in range(400)), coding=coding)
    assert path.stat().st_size > 20_000_000
    return path


def test_many_short_packets_are_not_fetched_one_by_one(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 240, 320, 3), np.uint8)
    frames = (noise[min(number, 199)] for number in range(1200))  # at last a picture that stands still
    coding = Coding(options={"crf": "20", "preset": "ultrafast", "g": "50", "sc_threshold": "0"})
    path = write_video(tmp_path / "v.mp4", frames, coding=coding)
    file, asked = ranged(path.read_bytes())
    items = items_of(file, Sampling(clips=2, length=2))
    assert_same(items, items_of(str(path), Sampling(clips=2, length=2)))
    assert items[-1].info.indexed == "header"
    assert len(asked.parts) < 60


@pytest.fixture
def web(large, monkeypatch):
    monkeypatch.setattr(workers_download, "LARGE_BYTES", 10_000_000)
    web = Web()
    web.files["/v.mp4"] = large.read_bytes()
    with serving(web) as address:
        web.url = f"{address}/v.mp4"
        yield web


def read_at(url: str, files: RemoteFiles | None = None, **segment) -> list:
    files = files or RemoteFiles()
    video = Video("v", url, "v", **segment)
    with files.readable(video, tick=lambda: None) as where:
        return settled(read_clips(video, SPEC, SPARSE, where=where))


def test_a_server_that_gives_parts_is_asked_for_parts(web, large):
    items = read_at(web.url)
    assert_same(items, items_of(str(large)))
    assert items[-1].info.indexed == "header"
    first, *others = web.asked("/v.mp4")
    assert "Range" not in first.headers
    assert others
    assert all(request.headers["If-Range"] for request in others)
    fetched = sum(part(request) for request in others)
    assert fetched < 0.25 * large.stat().st_size


def part(request: Request) -> int:
    begin, _, end = request.headers["Range"].removeprefix("bytes=").partition("-")
    return int(end) + 1 - int(begin)


@pytest.mark.parametrize("lacking", ["ranges", "etags"])
def test_any_other_server_gives_the_whole_file(web, large, lacking):
    setattr(web, lacking, False)
    assert_same(read_at(web.url), items_of(str(large)))
    assert len(web.asked("/v.mp4")) == 1


def test_a_part_that_fails_is_asked_for_again_from_where_it_was_cut(web, large, monkeypatch):
    monkeypatch.setattr(workers_download, "LIMITS", workers_download.Limits(wait_seconds=0.01))
    web.faults["/v.mp4"] += [Fault(), Fault(status=503), Fault(cut_after=100_000), Fault(cut_after=0)]
    assert_same(read_at(web.url), items_of(str(large)))


def test_a_file_that_changes_while_it_is_read_fails(web):
    with RemoteFiles().readable(Video("v", web.url, "v"), tick=lambda: None) as where:
        where.read(0, 100)
        web.files["/v.mp4"] = bytes(len(web.files["/v.mp4"]))
        with pytest.raises(VideoError, match="not fetched: the file there changed while it was read"):
            where.read(15_000_000, 100)


def test_a_server_that_gives_another_part_is_refused(web):
    class Mistaken(Web):
        def answer(self, request: Request, body: bytes) -> Answer:
            right = super().answer(request, body)
            if "Range" not in request.headers:
                return right
            return Answer(206, bytes(100), {"ETag": right.headers["ETag"], "Content-Range": "bytes 7-106/22000000"})

    mistaken = Mistaken()
    mistaken.files = web.files
    with serving(mistaken) as address, pytest.raises(VideoError, match="another range than was asked for"):
        read_at(f"{address}/v.mp4")


def test_segments_of_one_file_share_what_was_fetched(web, large):
    files = RemoteFiles()
    for start in (1.0, 1.2, 1.0):
        items = read_at(web.url, files, start_seconds=start, end_seconds=start + 0.4)
        assert any(isinstance(item, Clip) for item in items)
    asked = [request for request in web.asked("/v.mp4") if "Range" in request.headers]
    parts = [request.headers["Range"] for request in asked]
    assert len(parts) == len(set(parts))
    web.files["/v.mp4"] = large.read_bytes()[::-1]  # another version: nothing of the last one is used
    with pytest.raises(VideoError):
        read_at(web.url, files, start_seconds=1.0)
    files.close()


def test_nothing_is_left_in_the_folder_of_temporary_files(web, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = RemoteFiles()
    read_at(web.url, files)
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_one_line(web, monkeypatch):
    monkeypatch.setattr(workers_download, "SPACE_LEFT_BYTES", 1 << 60)
    with pytest.raises(VideoError, match=r"^not fetched: no room for it in "):
        read_at(web.url)


def test_decoders_read_by_parts(web, tmp_path):
    small = numbered_video(tmp_path / "small.mp4", 30)
    web.files["/small.mp4"] = small.read_bytes()
    videos = [Video(name, web.url.replace("/v.mp4", f"/{name}.mp4"), name) for name in ("v", "small", "v2")]
    with Decoders(1, decoder="cpu") as decoders:
        ends = {video.id: item for video, item in decoders.read(videos, SPEC, SPARSE) if not isinstance(item, Clip)}
        begun = [item for item in ends.values() if isinstance(item, VideoStart)]
    assert begun == []
    assert isinstance(ends["small"], VideoEnd)
    assert isinstance(ends["v"], VideoEnd)
    assert str(ends["v2"]) == "not fetched: HTTP 404 (not found)"
