"""The nearest videos and clips are exactly those that a direct computation in double precision finds."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

import p3dfeat
from p3dfeat.config import CROPS, Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.explore import similar as similar_module
from p3dfeat.explore import vectors as vectors_module
from p3dfeat.explore.similar import nearest
from p3dfeat.explore.vectors import load_vectors
from p3dfeat.store import open_features
from tests.exports.made import SPEC, feature_file, plain_file, scenes
from tests.videos import panning_frames, write_video

IDS = [f"{folder}/v{number:03d}" for folder in "abc" for number in range(40)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Positive rows near to each other, as pool5 is: many cosines differ in the fourth digit."""
    path = plain_file(tmp_path_factory.mktemp("similar") / "feats.h5", IDS, rows=6, width=64)
    rng = np.random.default_rng(0)
    base = rng.random(64)
    with h5py.File(path, "r+") as stored:
        for id in IDS:
            rows = (base + 0.03 * rng.standard_normal((6, 64))).clip(0).astype(np.float32)
            stored[f"{id}/pool5"][...] = rows
            stored[f"{id}/pooled"][...] = rows.astype(np.float64).mean(axis=0)
    return path


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("query", ["a/v000", "b/v017", "c/v039"])
@pytest.mark.parametrize("top", [1, 10, 500])
def test_videos_are_those_of_a_direct_computation(file, query, top):
    with open_features(file) as features:
        wanted = sorted((-cosine(features[query].pooled, video.pooled), id) for id, video in features.items())
    wanted = [(id, -score) for score, id in wanted if id != query][:top]
    found = p3dfeat.similar(file, query, top=top)
    assert [match.id for match in found] == [id for id, _ in wanted]
    np.testing.assert_allclose([match.score for match in found], [score for _, score in wanted], rtol=1e-12)


def test_moments_are_clips_with_their_times(file):
    query = "a/v003@2.1"
    with open_features(file) as features:
        row = features["a/v003"]["pool5"][2]  # from 2 to 2.64 s
        wanted = sorted(
            (-cosine(row, other), id, clip)
            for id, video in features.items()
            if id != "a/v003"
            for clip, other in enumerate(video["pool5"])
        )[:8]
    found = p3dfeat.similar(file, query, top=8, moments=True)
    assert [(match.id, match.clip) for match in found] == [(id, clip) for _, id, clip in wanted]
    assert [(match.start_seconds, match.end_seconds) for match in found] == [(c, c + 0.64) for _, _, c in wanted]


def test_machines_that_add_in_half_precision_find_the_same(file, monkeypatch):
    wanted = p3dfeat.similar(file, "b/v001")

    def rough(rows, query):
        return torch.round(torch.mv(rows.float(), query) * 64) / 64

    monkeypatch.setattr(similar_module, "_in_half", rough)
    assert p3dfeat.similar(file, "b/v001") == wanted


def test_equal_videos_come_in_the_order_of_the_file(tmp_path):
    path = plain_file(tmp_path / "f.h5", ["d", "a", "c", "b"])
    with h5py.File(path, "r+") as stored:
        for id in "abcd":
            stored[f"{id}/pooled"][...] = 1
    assert [match.id for match in p3dfeat.similar(path, "c")] == ["a", "b", "d"]


def test_crops_count_with_their_mean(tmp_path):
    path = scenes(tmp_path / "v.mp4", (20,), 60)
    spec = replace(SPEC, crops=CROPS[10])
    file = feature_file(tmp_path / "f.h5", {"v": path, "w": path}, Sampling(clips=3), spec)
    (match,) = p3dfeat.similar(file, "v@0.1", moments=True, top=1)
    assert (match.id, match.clip, match.score) == ("w", 0, pytest.approx(1))


def test_the_matrix_is_kept_and_made_anew_when_the_file_changes(file, tmp_path, monkeypatch):
    monkeypatch.setattr(vectors_module, "KEPT_ROWS", 100)
    copy = tmp_path / "f.h5"
    copy.write_bytes(file.read_bytes())
    for clips in (False, True):
        with open_features(copy) as features:
            made = load_vectors(features, clips=clips, cache=tmp_path)
            with monkeypatch.context() as patch:
                patch.delattr(type(features), "scan")  # so nothing can be read again
                kept = load_vectors(features, clips=clips, cache=tmp_path)
        assert torch.equal(made.matrix, kept.matrix)
        np.testing.assert_array_equal(made.videos, kept.videos)
        assert (made.seconds is None) == (kept.seconds is None) == (not clips)
    with h5py.File(copy, "r+") as stored:
        stored["a/v000/pooled"][...] = np.arange(64)
    with open_features(copy) as features:
        found = load_vectors(features, cache=tmp_path)
        np.testing.assert_allclose(found.matrix[0].numpy(), np.arange(64) / np.linalg.norm(np.arange(64)), atol=1e-3)


@pytest.mark.parametrize("kind", ["cut", "other words", "gone"])
def test_a_damaged_cache_counts_as_missing(file, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(vectors_module, "KEPT_ROWS", 100)
    with open_features(file) as features:
        wanted = load_vectors(features, cache=tmp_path).matrix
    (matrix,), (about,) = (list((tmp_path / "search").glob(f"*.{end}")) for end in ("f16", "json"))
    if kind == "cut":
        matrix.write_bytes(matrix.read_bytes()[:-2])
    elif kind == "gone":
        matrix.unlink()
    else:
        about.write_text(json.dumps({"of": 1, "shape": [2], "rows": "x"}))
    with open_features(file) as features:
        assert torch.equal(load_vectors(features, cache=tmp_path).matrix, wanted)


def test_a_video_file_is_described_as_the_file_was(tmp_path):
    for number, pixels in enumerate((-3, 2)):
        write_video(tmp_path / f"v{number}.mp4", panning_frames(40, pixels_a_frame=pixels, seed=number))
    p3dfeat.extract(tmp_path, tmp_path / "f.h5", model="p3d-camera", clip_stride=8, mirror=True)
    found = p3dfeat.similar(tmp_path / "f.h5", tmp_path / "v1.mp4")
    assert (found[0].id, found[0].score) == ("v1", pytest.approx(1, abs=1e-9))
    assert [match.id for match in found] == ["v1", "v0"]
    (moment,) = p3dfeat.similar(tmp_path / "f.h5", f"{tmp_path}/v1.mp4@1.0", moments=True, top=1)
    assert moment.id == "v1"
    assert moment.start_seconds <= 1.0 <= moment.end_seconds
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(VideoError, match=r"broken\.mp4: "):
        p3dfeat.similar(tmp_path / "f.h5", tmp_path / "broken.mp4")


def test_an_id_that_looks_like_a_time_is_an_id(tmp_path):
    path = plain_file(tmp_path / "f.h5", ["clip@2", "clip", "x"])
    assert {match.id for match in p3dfeat.similar(path, "clip@2")} == {"clip", "x"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("nothing", "no video of this id .* and no file"),
        ("a/v001@99", "has no clip at 99 s; its clips are from 0 to 5.64 s"),
        ("a/v001@-1", "has no clip at -1 s"),
        ("a/v001@nan", "nan is no time"),
        ("a/v001@x", "no video of this id"),
    ],
)
def test_queries_that_name_nothing_are_refused(file, query, message):
    with pytest.raises(UsageError, match=message):
        p3dfeat.similar(file, query)


def test_files_that_cannot_be_searched_are_refused(file, tmp_path):
    other = plain_file(tmp_path / "f.h5", ["v"])
    with h5py.File(other, "r+") as stored:
        stored["v/pooled"][2] = np.nan
    with open_features(other) as features, pytest.raises(UsageError, match="v: holds numbers that are not finite"):
        load_vectors(features)
    single = plain_file(tmp_path / "g.h5", ["v"])
    assert p3dfeat.similar(single, "v") == []
    p3dfeat.remove(single, ["v"])
    with open_features(single) as features, pytest.raises(UsageError, match="holds no videos"):
        load_vectors(features)
    p3dfeat.extract(write_video(tmp_path / "w.mp4", panning_frames(20, pixels_a_frame=2)), tmp_path / "h.h5",
                    model="p3d-camera", layers=("prob",))  # fmt: skip
    with pytest.raises(UsageError, match=r"layer 'pool5' is not stored; stored are prob$"):
        p3dfeat.similar(tmp_path / "h.h5", "w")


def test_a_row_of_zeros_is_similar_to_nothing(tmp_path):
    path = plain_file(tmp_path / "f.h5", ["a", "b", "c"])
    with h5py.File(path, "r+") as stored:
        stored["b/pooled"][...] = 0
        stored["a/pooled"][...] = stored["c/pooled"][...] = 1
    assert [(match.id, match.score) for match in p3dfeat.similar(path, "a")] == [("c", pytest.approx(1)), ("b", 0)]


def test_the_search_is_exact_over_many_rows_of_half_precision():
    rng = np.random.default_rng(1)
    rows = rng.random((5000, 96)).astype(np.float32) + 2  # all cosines are above 0.98
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    class Made(vectors_module.Vectors):
        def exact(self, row):
            return vectors_module.unit(rows[row])

    numbers = np.arange(5000)
    vectors = Made(
        None, [str(n) for n in numbers], torch.from_numpy(rows).half(), numbers.astype(np.int32), numbers, None
    )
    for query in rng.random((20, 96)) + 2:
        scores = rows.astype(np.float64) @ (query / np.linalg.norm(query))
        scores /= np.linalg.norm(rows.astype(np.float64), axis=1)
        wanted = np.argsort(-scores, kind="stable")[:10].tolist()
        assert [int(match.id) for match in nearest(vectors, query, 10)] == wanted
