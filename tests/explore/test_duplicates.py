"""Re-encodings and cuts of one source are found, and different videos are not."""

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.errors import UsageError
from p3dfeat.explore import duplicates as duplicates_module
from tests.exports.made import plain_file
from tests.videos import Coding, panning_frames, write_video

SOURCES, COPIES = 30, 3


def features(path, rows_by_id):
    """A feature file with these rows."""
    width = next(iter(rows_by_id.values())).shape[1]
    plain_file(path, list(rows_by_id), rows=6, width=width)
    with h5py.File(path, "r+") as stored:
        for id, rows in rows_by_id.items():
            for name, values in (
                ("pool5", rows),
                ("pooled", rows.mean(axis=0)),
                ("seconds", np.stack([np.arange(len(rows)), np.arange(len(rows)) + 0.64], 1)),
            ):
                del stored[id][name]
                stored[id][name] = values
    return path


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Sources whose videos differ much, and copies of each that differ little."""
    rng = np.random.default_rng(0)
    rows = {}
    for source in range(SOURCES):
        clips = rng.random((6, 256)).astype(np.float32) ** 3
        for copy in range(COPIES):
            noise = 0.02 * rng.standard_normal(clips.shape)
            rows[f"copy{copy}/source{source:02d}"] = (clips + noise).clip(0).astype(np.float32)
    return features(tmp_path_factory.mktemp("copies") / "f.h5", rows)


@pytest.mark.parametrize("block", [7, 32, 2048])
def test_groups_are_the_copies_of_each_source(copies, monkeypatch, block):
    monkeypatch.setattr(duplicates_module, "BLOCK_ROWS", block)
    told = []
    groups = p3dfeat.duplicates(copies, above=0.98, on_progress=lambda done, total: told.append((done, total)))
    wanted = {tuple(f"copy{copy}/source{source:02d}" for copy in range(COPIES)) for source in range(SOURCES)}
    assert {group.ids for group in groups} == wanted
    assert all(0.98 <= group.score <= 1 for group in groups)
    assert told[-1][0] == told[-1][1] == len(told)


def test_the_limit_is_exact(tmp_path):
    """Cosines on both sides of the limit, nearer to it than half precision can tell."""
    above, rows = 0.98, {}
    for number, offset in enumerate((-1e-5, -1e-6, 1e-6, 1e-5)):
        angle = np.arccos(above + offset)
        for name, (x, y) in (("one", (1, 0)), ("two", (np.cos(angle), np.sin(angle)))):
            row = np.zeros(16, np.float32)
            row[4 * number : 4 * number + 2] = x, y
            rows[f"{number}/{name}"] = np.repeat(row[None], 6, 0)
    groups = p3dfeat.duplicates(features(tmp_path / "f.h5", rows), above=above)
    assert [group.ids for group in groups] == [("2/one", "2/two"), ("3/one", "3/two")]


def test_many_equal_videos_are_one_group(tmp_path):
    rows = {f"v{number:04d}": np.ones((6, 4), np.float32) for number in range(700)}
    (group,) = p3dfeat.duplicates(features(tmp_path / "f.h5", rows))
    assert group.ids == tuple(rows)
    assert group.score == pytest.approx(1, abs=1e-3)


def test_parts_of_a_video_belong_to_it(tmp_path):
    rng = np.random.default_rng(2)
    scenes = rng.random((40, 256)).astype(np.float32) ** 3
    rows = {"film": scenes[:20], "other": scenes[20:], "part": scenes[4:9], "mixed": scenes[[3, 25]]}
    path = features(tmp_path / "f.h5", rows)
    assert p3dfeat.duplicates(path, above=0.98) == []
    (group,) = p3dfeat.duplicates(path, above=0.98, parts=True)
    assert group.ids == ("film", "part")


def test_reencodings_are_found_and_other_films_are_not(tmp_path):
    codings = {
        "h264": Coding(options={"crf": "20", "preset": "veryfast"}),
        "low": Coding(options={"crf": "32", "preset": "veryfast"}),
        "mpeg4": Coding("mpeg4", ".avi", options={"qmin": "4", "qmax": "8"}),
    }
    for number, pixels in enumerate((1, -1, 3, -3, 5, -5)):
        film = list(panning_frames(40, pixels_a_frame=pixels, seed=number))
        for name, coding in codings.items():
            (tmp_path / name).mkdir(exist_ok=True)
            write_video(tmp_path / name / f"film{number}{coding.suffix}", film, coding=coding)
    p3dfeat.extract(tmp_path, tmp_path / "f.h5", model="p3d-camera", clips=4)
    groups = p3dfeat.duplicates(tmp_path / "f.h5")
    wanted = {tuple(f"{name}/film{number}" for name in sorted(codings)) for number in range(6)}
    assert {group.ids for group in groups} == wanted


def test_without_duplicates_there_are_no_groups(tmp_path):
    path = plain_file(tmp_path / "f.h5", ["a", "b", "c"], width=64)
    assert p3dfeat.duplicates(path) == []
    assert p3dfeat.duplicates(plain_file(tmp_path / "g.h5", ["a"])) == []


@pytest.mark.parametrize("above", [1.5, -1.0, float("nan")])
def test_a_limit_that_is_no_cosine_is_refused(copies, above):
    with pytest.raises(UsageError, match="must be a cosine"):
        p3dfeat.duplicates(copies, above=above)
