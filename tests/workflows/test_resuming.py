"""A run that was cut short and taken up again gives what an uninterrupted one gives, to the bit."""

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.store.commit import commit
from tests.videos import panning_frames, write_video

FRAMES = (40, 17, 64, 23, 51)  # in clips of a stride: other numbers in each video, so that batches fall otherwise


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("five")
    for number, count in enumerate(FRAMES):
        write_video(folder / f"v{number}.mp4", panning_frames(count, pixels_a_frame=number - 2 or 3, seed=number))
    return folder


def contents(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of all datasets, and of attributes as text."""
    found: dict[str, np.ndarray] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]
        for key, value in item.attrs.items():
            found[f"{name}@{key}"] = np.array(value)

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert np.array_equal(found[name], values), name


def runs(videos: Path, output: Path, limits: list[int | None], **settings) -> Iterator[p3dfeat.ExtractSummary]:
    for limit in limits:
        yield p3dfeat.extract(videos, output, model="p3d-camera", workers=2, max_videos=limit, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "torch", "clips": 3, "layers": ("pool5", "prob", "logits", "res5a")},
        {"engine": "openvino", "clips": 3, "layers": ("pool5", "prob", "logits", "res5a")},
        {"engine": "torch", "clip_stride": 5, "layers": ("pool5", "prob")},
        {"engine": "openvino", "clip_stride": 5, "tail": "align"},
        {"engine": "torch", "precision": "bf16", "clips": 1},
    ],
    ids=lambda settings: " ".join(str(value) for value in settings.values()),
)
def test_a_run_in_parts_gives_the_bytes_of_a_run_at_once(videos, tmp_path, settings):
    (whole,) = runs(videos, tmp_path / "whole.h5", [None], **settings)
    *_, last = runs(videos, tmp_path / "parts.h5", [2, 1, None], **settings)
    assert (whole.stored, last.stored, last.skipped) == (5, 2, 3)
    assert_same(contents(tmp_path / "parts.h5"), contents(tmp_path / "whole.h5"))


def test_nor_does_it_matter_with_which_batch_size_a_run_is_taken_up(videos, tmp_path):
    settings = {"engine": "torch", "clips": 2}
    (whole,) = runs(videos, tmp_path / "whole.h5", [None], **settings)
    (_,) = runs(videos, tmp_path / "parts.h5", [3], batch_size=1, **settings)
    (_,) = runs(videos, tmp_path / "parts.h5", [None], batch_size=32, **settings)
    assert whole.stored == 5
    assert_same(contents(tmp_path / "parts.h5"), contents(tmp_path / "whole.h5"))


class TestListOfFailures:
    """It goes with the file: what the old file lacks stays listed until another one has its place."""

    @pytest.fixture
    def library(self, tmp_path):
        folder = tmp_path / "library"
        folder.mkdir()
        write_video(folder / "good.mp4", panning_frames(20, pixels_a_frame=3))
        for name in ("bad.mp4", "gone.mp4"):
            (folder / name).write_text("no video")
        return folder

    @pytest.fixture
    def output(self, tmp_path, library):
        """Of a run before, in which two videos failed, of which one is gone."""
        output = tmp_path / "feats.h5"
        self.extract(library, output)
        assert self.listed(output) == ["bad", "gone"]
        (library / "gone.mp4").unlink()
        return output

    def extract(self, library, output, **settings):
        return p3dfeat.extract(library, output, model="p3d-camera", clips=1, workers=1, **settings)

    def listed(self, output):
        path = output.with_name("feats.h5.failed.jsonl")
        return sorted(json.loads(line)["id"] for line in path.read_text().splitlines()) if path.exists() else []

    def test_a_run_that_replaces_the_file_replaces_the_list(self, library, output):
        self.extract(library, output, overwrite=True)
        assert self.listed(output) == ["bad"]

    def test_a_video_that_is_stored_after_all_is_no_longer_listed(self, library, output):
        write_video(library / "bad.mp4", panning_frames(20, pixels_a_frame=3))
        self.extract(library, output)
        assert self.listed(output) == ["gone"]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_commit_that_fails_keeps_the_list(self, library, output, monkeypatch, overwrite):
        def refused(*_, **__):
            raise OSError(28, "No space left on device")

        write_video(library / "bad.mp4", panning_frames(20, pixels_a_frame=3))
        before = output.read_bytes()
        with monkeypatch.context() as patch, pytest.raises(p3dfeat.OutputError, match="No space left"):
            patch.setattr(
                "p3dfeat.store.commit.commit.make" if overwrite else "p3dfeat.store.commit.commit.add", refused
            )
            self.extract(library, output, overwrite=overwrite)
        assert (output.read_bytes(), self.listed(output)) == (before, ["bad", "gone"])
        self.extract(library, output, overwrite=overwrite)
        assert self.listed(output) == ["gone"]

    def test_a_run_that_has_nothing_to_put_in_the_files_place_keeps_the_list(self, library, output):
        (library / "good.mp4").write_text("no video")
        before = output.read_bytes()
        self.extract(library, output, overwrite=True)
        assert (output.read_bytes(), self.listed(output)) == (before, ["bad", "gone", "good"])

    def test_a_run_that_is_interrupted_keeps_the_list(self, library, output):
        def interrupt(event):
            if getattr(event, "status", "") == "stored":
                raise KeyboardInterrupt

        write_video(library / "bad.mp4", panning_frames(20, pixels_a_frame=3))
        with pytest.raises(KeyboardInterrupt):
            self.extract(library, output, overwrite=True, on_event=interrupt)
        assert self.listed(output) == ["bad", "gone"]
        self.extract(library, output, overwrite=True)  # goes on, and cannot tell which lines are of its first half
        assert self.listed(output) == ["gone"]

    def test_lines_of_videos_that_only_wait_stay(self, library, output, monkeypatch):
        """A commit in the middle of a run is no sign that the last one succeeds."""
        monkeypatch.setattr("p3dfeat.store.write.COMMITTED_VIDEOS", 1)
        real, count = commit.add, []

        def refused_later(*arguments, **options):
            count.append(1)
            if len(count) > 1:
                raise OSError(28, "No space left on device")
            real(*arguments, **options)

        for seed, name in enumerate(("bad.mp4", "better.mp4")):
            write_video(library / name, panning_frames(20, pixels_a_frame=3, seed=seed + 5))
        (library / "better.mp4").rename(library / "a.mp4")
        monkeypatch.setattr(commit, "add", refused_later)
        with pytest.raises(p3dfeat.OutputError, match="No space left"):
            self.extract(library, output)
        assert self.listed(output) == ["bad", "gone"]

    def test_a_run_that_overwrites_nothing_and_stores_nothing_keeps_the_list(self, library, output):
        output.unlink()
        (library / "good.mp4").write_text("no video")
        self.extract(library, output, overwrite=True)
        assert self.listed(output) == ["bad", "gone", "good"]

    def test_the_line_of_another_file_of_the_same_id_stays(self, tmp_path, library, output):
        """Folders that hold files of equal names may go into one output."""
        for seed, name in enumerate(("other", "third")):
            (tmp_path / name).mkdir()
            write_video(tmp_path / name / "gone.mp4", panning_frames(20, pixels_a_frame=3, seed=seed))
        self.extract(tmp_path / "other", output)
        assert self.listed(output) == ["bad", "gone"]
        again = self.extract(tmp_path / "third", output)  # its id is stored for another file
        assert (again.failed, self.listed(output)) == (1, ["bad", "gone", "gone"])
        self.extract(tmp_path / "other", output)
        assert self.listed(output) == ["bad", "gone", "gone"]

    def test_one_relative_path_of_two_lists_is_two_files(self, tmp_path, library, output, monkeypatch):
        """Paths in a list are relative to the list's folder."""
        for name in ("set1", "set2"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "list.txt").write_text("0001.mp4\n")
        (tmp_path / "set1" / "0001.mp4").write_text("no video")
        write_video(tmp_path / "set2" / "0001.mp4", panning_frames(20, pixels_a_frame=3))
        monkeypatch.chdir(tmp_path)
        for name in ("set1", "set2"):
            self.extract([f"@{name}/list.txt"], output)
            assert self.listed(output) == ["0001", "bad", "gone"]
        write_video(tmp_path / "set1" / "0001.mp4", panning_frames(20, pixels_a_frame=3))  # the same as set2's
        self.extract(["@set1/list.txt"], output)
        assert self.listed(output) == ["bad", "gone"]

    def test_what_is_left_out_is_not_stored(self, library, output):
        (library / "raw").write_text("no video")
        self.extract([library / "raw", library / "good.mp4"], output)
        assert self.listed(output) == ["bad", "gone", "raw"]
        self.extract([library], output, any_extension=True)
        assert self.listed(output) == ["bad", "gone", "raw"]
