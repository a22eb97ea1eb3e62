"""What an export holds, how it goes on after an interruption, and what it refuses."""

import csv
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.config import CROPS, Sampling
from p3dfeat.errors import FeatureFileError, OutputError, UsageError
from p3dfeat.exports import run as run_module
from p3dfeat.options import LayoutName
from p3dfeat.store import open_features
from tests.exports.made import SPEC, feature_file, plain_file, scenes

IDS = ("archery/a", "archery/b", "golf/c")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return plain_file(tmp_path_factory.mktemp("plain") / "feats.h5", IDS)


@pytest.fixture(scope="module")
def stored(plain):
    with open_features(plain) as features:
        return {id: video["pool5"] for id, video in features.items()}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Three dense videos, small enough for every layout of strides."""
    folder = tmp_path_factory.mktemp("dense")
    path = scenes(folder / "v.mp4", (20,), 60)
    return feature_file(folder / "f.h5", dict.fromkeys(("x/a", "x/b", "c"), path), Sampling(clips=None, stride=4))


def test_every_name_of_a_layout_is_one():
    assert {*LayoutName.__args__} == {*run_module.LAYOUTS} - {"actionformer-hdf5"}


def test_arrays_by_video_are_those_of_the_file(plain, stored, tmp_path):
    summary = p3dfeat.export(plain, tmp_path / "out")
    assert (summary.written, summary.rows, summary.refused, summary.missing) == (3, 15, (), ())
    for id, rows in stored.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"out/{id}.npy"), rows)


def test_npz_has_times_and_pt_is_a_tensor(plain, stored, tmp_path):
    import torch

    p3dfeat.export(plain, tmp_path / "npz", to="npz")
    p3dfeat.export(plain, tmp_path / "pt", to="pt")
    for id, rows in stored.items():
        with np.load(tmp_path / f"npz/{id}.npz") as found, open_features(plain) as features:
            np.testing.assert_array_equal(found["feats"], rows)
            np.testing.assert_array_equal(found["seconds"], features[id]["seconds"])
            np.testing.assert_array_equal(found["first_frames"], features[id]["first_frames"])
        np.testing.assert_array_equal(torch.load(tmp_path / f"pt/{id}.pt", weights_only=True).numpy(), rows)


def test_tables_have_a_row_per_clip(plain, stored, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    p3dfeat.export(plain, tmp_path / "t.parquet", to="parquet", labels="folders")
    p3dfeat.export(plain, tmp_path / "t.jsonl", to="jsonl", labels="folders")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["id", "clip", "start", "end", "label", "vector"]
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert len(lines) == table.num_rows == 15
    for number, row in enumerate(table.to_pylist()):
        wanted = stored[row["id"]][row["clip"]]
        np.testing.assert_array_equal(np.float32(row["vector"]), wanted)
        np.testing.assert_array_equal(np.float32(lines[number].pop("vector")), wanted)
        assert lines[number] == {name: value for name, value in row.items() if name != "vector"}
        assert row["label"] == row["id"].partition("/")[0]
        assert (row["start"], row["end"]) == (row["clip"], row["clip"] + 0.64)


def test_a_table_for_scikit_learn_has_the_mean_of_each_video(plain, stored, tmp_path):
    p3dfeat.export(plain, tmp_path / "table.npz", to="table", labels="folders")
    with np.load(tmp_path / "table.npz") as found:
        assert found["ids"].tolist() == list(stored)
        assert found["y"].tolist() == ["archery", "archery", "golf"]
        np.testing.assert_allclose(found["X"], [rows.mean(axis=0) for rows in stored.values()], rtol=1e-5, atol=1e-6)


def test_a_flat_hdf5_file_has_an_array_per_video(plain, stored, tmp_path):
    p3dfeat.export(plain, tmp_path / "out.h5", to="flat-h5", prefix="v_", flat_names=True)
    with h5py.File(tmp_path / "out.h5") as file:
        assert set(file) == {"v_" + id.replace("/", "_") for id in stored}
        for id, rows in stored.items():
            np.testing.assert_array_equal(file["v_" + id.replace("/", "_")][()], rows)


def test_the_pooled_array_can_be_exported(plain, stored, tmp_path):
    p3dfeat.export(plain, tmp_path / "out", layer="pooled")
    for id, rows in stored.items():
        np.testing.assert_allclose(np.load(tmp_path / f"out/{id}.npy"), rows.mean(axis=0)[None], rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="pooled: has no clips"):
        p3dfeat.export(plain, tmp_path / "bmn", to="bmn", layer="pooled")


def test_crops_are_averaged_where_the_reader_has_none(tmp_path):
    path = scenes(tmp_path / "v.mp4", (20,), 60)
    file = feature_file(tmp_path / "f.h5", {"v": path}, Sampling(clips=3), replace(SPEC, crops=CROPS[10]))
    p3dfeat.export(file, tmp_path / "out")
    rows = np.load(tmp_path / "out/v.npy")
    assert rows.shape == (3, 6)
    assert rows[:, 2].tolist() == [4.5] * 3  # the mean of the numbers of ten crops


def test_pca_is_the_exact_one_and_can_be_used_again(plain, stored, tmp_path):
    decomposition = pytest.importorskip("sklearn.decomposition")
    rows = np.concatenate(list(stored.values())).astype(np.float64)
    wanted = decomposition.PCA(3, svd_solver="covariance_eigh").fit(rows)
    p3dfeat.export(plain, tmp_path / "out", pca=3)
    found = np.concatenate([np.load(tmp_path / f"out/{id}.npy") for id in stored])
    projected = wanted.transform(rows)
    signs = np.sign((projected * found).sum(axis=0))
    np.testing.assert_allclose(found, projected * signs, atol=1e-5)
    with np.load(tmp_path / "out/pca.npz") as kept:
        np.testing.assert_allclose(kept["variances"], wanted.explained_variance_, rtol=1e-9)
        assert (kept["components"].max(axis=1) == np.abs(kept["components"]).max(axis=1)).all()
    p3dfeat.export(plain, tmp_path / "again", pca=tmp_path / "out/pca.npz", l2=True)
    again = np.concatenate([np.load(tmp_path / f"again/{id}.npy") for id in stored])
    np.testing.assert_allclose(again, found / np.linalg.norm(found, axis=1, keepdims=True), rtol=1e-5)


def test_pca_of_rows_far_from_zero_keeps_its_digits(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v", "w"], rows=50)
    with h5py.File(file, "r+") as stored:
        for id in ("v", "w"):
            stored[f"{id}/pool5"][...] += 1000
    p3dfeat.export(file, tmp_path / "out", pca=8)
    with open_features(file) as features, np.load(tmp_path / "out/pca.npz") as kept:
        rows = np.concatenate([video["pool5"] for video in features.values()]).astype(np.float64)
        np.testing.assert_allclose(kept["variances"].sum(), rows.var(axis=0, ddof=1).sum(), rtol=1e-10)


@pytest.mark.parametrize("pca", ["0", "8", "9999", "none.npz"])
def test_a_pca_that_is_impossible_is_refused(plain, tmp_path, pca):
    wide = plain_file(tmp_path / "f.h5", ["v"], rows=8) if pca == "8" else plain  # 8 rows have 7 components
    with pytest.raises(UsageError, match=r"pca|none\.npz: no such file"):
        p3dfeat.export(wide, tmp_path / "out", pca=pca)
    assert not (tmp_path / "out").exists()


def test_unit_length_leaves_zeros(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v"])
    with h5py.File(file, "r+") as stored:
        stored["v/pool5"][2] = 0
    p3dfeat.export(file, tmp_path / "out", l2=True)
    lengths = np.linalg.norm(np.load(tmp_path / "out/v.npy"), axis=1)
    assert lengths == pytest.approx([1, 1, 0, 1, 1], abs=1e-6)


def test_run_again_it_does_what_is_missing(plain, tmp_path):
    p3dfeat.export(plain, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    (tmp_path / "out/archery/b.npy").unlink()
    summary = p3dfeat.export(plain, tmp_path / "out")
    assert (summary.written, summary.skipped) == (1, 2)
    for path, time in before.items():
        assert (path.stat().st_mtime_ns == time) != (path.name == "b.npy")
    summary = p3dfeat.export(plain, tmp_path / "out")
    assert (summary.written, summary.skipped) == (0, 3)
    with open(tmp_path / "out/videos.csv") as file:
        assert [row["id"] for row in csv.DictReader(file)] == list(IDS)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_export_goes_on(plain, stored, tmp_path, after):
    def interrupt(event):
        if event.done > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        p3dfeat.export(plain, tmp_path / "out", on_event=interrupt)
    assert not list((tmp_path / "out").rglob("*.writing"))
    summary = p3dfeat.export(plain, tmp_path / "out")
    assert summary.written + summary.skipped == 3
    assert summary.skipped > after  # those that were told; one more may have been complete
    for id, rows in stored.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"out/{id}.npy"), rows)


def test_a_record_that_a_kill_has_cut_costs_one_video(plain, tmp_path):
    p3dfeat.export(plain, tmp_path / "out")
    record = tmp_path / "out/.export-done.jsonl"
    record.write_bytes(record.read_bytes()[:-7])
    summary = p3dfeat.export(plain, tmp_path / "out")
    assert (summary.written, summary.skipped) == (1, 2)
    assert len(record.read_text().splitlines()) == 3


def test_a_video_whose_file_changed_is_exported_anew(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v", "w"])
    p3dfeat.export(file, tmp_path / "out")
    with h5py.File(file, "r+") as stored:
        stored["v"].attrs["fingerprint"] = "f" * 16
        stored["v/pool5"][...] += 1
    summary = p3dfeat.export(file, tmp_path / "out")
    assert (summary.written, summary.skipped) == (1, 1)
    with open_features(file) as features:
        np.testing.assert_array_equal(np.load(tmp_path / "out/v.npy"), features["v"]["pool5"])


def test_one_file_is_written_once_and_replaced_when_videos_are_added(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v", "w"])
    p3dfeat.export(file, tmp_path / "out.h5", to="flat-h5")
    time = (tmp_path / "out.h5").stat().st_mtime_ns
    assert p3dfeat.export(file, tmp_path / "out.h5", to="flat-h5").skipped == 2
    assert (tmp_path / "out.h5").stat().st_mtime_ns == time
    plain_file(file, ["x"])
    assert p3dfeat.export(file, tmp_path / "out.h5", to="flat-h5").written == 3
    with h5py.File(tmp_path / "out.h5") as stored:
        assert set(stored) == {"v", "w", "x"}


def test_several_files_are_one_export(plain, tmp_path):
    other = plain_file(tmp_path / "other.h5", ["zoo/z"], seed=5)
    summary = p3dfeat.export([plain, other], tmp_path / "out")
    assert summary.written == 4
    assert (tmp_path / "out/zoo/z.npy").exists()


@pytest.mark.parametrize(
    ("settings", "ids", "message"),
    [
        ({"sampling": Sampling(clips=7)}, ["z"], "sampling.clips is 5 there, 7 now"),
        ({"weights_sha256": "f" * 64}, ["z"], "made with other settings"),
        ({}, ["golf/c"], "'golf/c' is also in"),
    ],
)
def test_files_that_do_not_agree_are_refused(plain, tmp_path, settings, ids, message):
    other = plain_file(tmp_path / "other.h5", ids, **settings)
    with pytest.raises(UsageError, match=message):
        p3dfeat.export([plain, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_export_in_the_folder_is_refused(plain, stored, tmp_path):
    p3dfeat.export(plain, tmp_path / "out")
    for options in ({"to": "npz"}, {"prefix": "v_"}, {"l2": True}, {"pca": 2}, {"flat_names": True}):
        with pytest.raises(UsageError, match=r"holds an export with .*; choose another place"):
            p3dfeat.export(plain, tmp_path / "out", **options)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/v.npy").write_text("precious")
    with pytest.raises(UsageError, match=r"holds 'v\.npy', and no export"):
        p3dfeat.export(plain, tmp_path / "mine")
    (tmp_path / "mine.h5").write_text("precious")
    with pytest.raises(OutputError, match="is no export of p3dfeat"):
        p3dfeat.export(plain, tmp_path / "mine.h5", to="flat-h5")
    assert (tmp_path / "mine.h5").read_text() == (tmp_path / "mine/v.npy").read_text() == "precious"


def test_numbers_that_are_not_finite_cost_their_video(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v", "w"])
    with h5py.File(file, "r+") as stored:
        stored["v/pool5"][1, 2] = np.nan
    summary = p3dfeat.export(file, tmp_path / "out")
    assert summary.refused == (("v", "holds numbers that are not finite"),)
    assert (summary.written, summary.missing) == (1, ("v",))
    assert not (tmp_path / "out/v.npy").exists()


def test_videos_that_failed_are_listed_as_missing(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v"])
    entry = {"id": "broken", "source": "broken.mp4", "error": "damaged"}
    (tmp_path / "f.h5.failed.jsonl").write_text(json.dumps(entry) + "\n")
    assert p3dfeat.export(file, tmp_path / "out").missing == ("broken",)
    assert (tmp_path / "out/missing_files.txt").read_text() == "broken\n"


@pytest.mark.parametrize("sampling", [Sampling(clips=5), Sampling(clips=None, every=2.0)])
@pytest.mark.parametrize("layout", ["opentad", "actionformer", "activitynet-c3d", "rtfm"])
def test_readers_of_strides_refuse_other_samplings(tmp_path, layout, sampling):
    file = plain_file(tmp_path / "f.h5", ["v"], sampling=sampling)
    with pytest.raises(UsageError, match=f"{layout}: its reader computes times from a stride .* --clip-stride"):
        p3dfeat.export(file, tmp_path / "out", to=layout)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("layout", "sampling", "message"),
    [
        ("moment-detr", Sampling(clips=5), "needs a row every 2 seconds; extract with --every 2"),
        ("moment-detr", Sampling(clips=None, every=1.0), "--every 2"),
        ("hcrn", Sampling(clips=8), "--clips 8 --spacing inside"),
        ("activitynet-c3d", Sampling(clips=None, stride=4), "--clip-stride 8 --frame-interval 1"),
        ("activitynet-c3d", Sampling(clips=None, stride=8, step=2), "--clip-stride 8 --frame-interval 1"),
        ("rtfm", Sampling(clips=None, stride=16), "--crops 10"),
    ],
)
def test_readers_name_the_sampling_that_they_need(tmp_path, layout, sampling, message):
    file = plain_file(tmp_path / "f.h5", ["v"], sampling=sampling)
    with pytest.raises(UsageError, match=message):
        p3dfeat.export(file, tmp_path / "out.hdf5", to=layout)


def test_more_rows_than_the_reader_takes_are_refused(tmp_path):
    path = scenes(tmp_path / "v.mp4", (20,), 40, fps=1)  # 40 s
    long = scenes(tmp_path / "w.mp4", (20,), 160, fps=1)
    file = feature_file(tmp_path / "f.h5", {"short": path, "long": long}, Sampling(clips=None, every=2.0))
    summary = p3dfeat.export(file, tmp_path / "md", to="moment-detr")
    ((id, reason),) = summary.refused
    assert id == "long"
    assert "gives 80 rows" in reason
    assert summary.written == 1


def test_names_that_a_reader_would_confuse_are_refused(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["P01.cam1", "P01.cam2"])
    with pytest.raises(UsageError, match=r"'P01\.cam1' and 'P01\.cam2': this reader cuts names at their first dot"):
        p3dfeat.export(file, tmp_path / "out", to="ms-tcn")
    p3dfeat.export(file, tmp_path / "npy")  # others do not cut


def test_flat_names_that_become_one_are_refused(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["a/b", "a_b"])
    with pytest.raises(UsageError, match="both would be named 'a_b'; leave --flat-names out"):
        p3dfeat.export(file, tmp_path / "out", flat_names=True)
    assert p3dfeat.export(file, tmp_path / "folders").written == 2


def test_a_name_that_is_a_folder_of_another_is_refused_in_hdf5(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["a/b", "c"])
    p3dfeat.export(file, tmp_path / "ok.h5", to="flat-h5")
    other = plain_file(tmp_path / "g.h5", ["a"])
    with pytest.raises(UsageError, match="'a' and 'a/b': one would be the folder of the other; use --flat-names"):
        p3dfeat.export([file, other], tmp_path / "out.h5", to="flat-h5")


HOSTILE = ["=1+1", "-rf", "what?", "con", "a\u202eb", "<script>alert(1)</script>", "x" * 250]


def test_names_from_anywhere_stay_in_the_folder(tmp_path):
    file = plain_file(tmp_path / "f.h5", HOSTILE)
    summary = p3dfeat.export(file, tmp_path / "out")
    assert summary.written == len(HOSTILE)
    assert summary.renamed.keys() == {*HOSTILE} - {"=1+1"}
    found = {path.resolve() for path in (tmp_path / "out").rglob("*.npy")}
    assert len(found) == len(HOSTILE)
    assert all(path.is_relative_to((tmp_path / "out").resolve()) for path in found)
    with open(tmp_path / "out/videos.csv") as lines:
        cells = [row["id"] for row in csv.DictReader(lines)]
    assert "'=1+1" in cells  # no spreadsheet takes it for a formula
    assert {path.name for path in tmp_path.iterdir()} <= {"f.h5", "f.h5.parts", "out"}


@pytest.mark.parametrize("prefix", ["a/", "../", ".", "\0"])
def test_prefixes_that_lead_elsewhere_are_refused(plain, tmp_path, prefix):
    with pytest.raises(UsageError, match="must be the beginning of a file name"):
        p3dfeat.export(plain, tmp_path / "out", prefix=prefix)


def test_a_link_in_the_folder_is_not_followed(plain, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    p3dfeat.export(plain, tmp_path / "out")
    for path in (tmp_path / "out/archery").iterdir():
        path.unlink()
    (tmp_path / "out/archery").rmdir()
    (tmp_path / "out/archery").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="a link or a file, where a folder should be"):
        p3dfeat.export(plain, tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_layers_with_time_and_place_keep_their_shape_or_are_refused(tmp_path):
    path = scenes(tmp_path / "v.mp4", (20,), 60)
    p3dfeat.extract(path, tmp_path / "f.h5", model="p3d-camera", layers=("res5a",), clips=2)
    p3dfeat.export(tmp_path / "f.h5", tmp_path / "out", layer="res5a")
    with open_features(tmp_path / "f.h5") as features:
        np.testing.assert_array_equal(np.load(tmp_path / "out/v.npy"), features["v"]["res5a"])
    with pytest.raises(UsageError, match="extract it with --pool mean"):
        p3dfeat.export(tmp_path / "f.h5", tmp_path / "bmn", to="bmn", layer="res5a")


@pytest.mark.parametrize("layer", ["prob", "nothing"])
def test_a_layer_that_is_not_stored_is_refused(plain, tmp_path, layer):
    with pytest.raises(UsageError, match=f"layer '{layer}' is not stored; stored are pool5, pooled"):
        p3dfeat.export(plain, tmp_path / "out", layer=layer)


def test_a_file_without_videos_is_refused(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v"])
    p3dfeat.remove(file, ["v"])
    with pytest.raises(UsageError, match="holds no videos"):
        p3dfeat.export(file, tmp_path / "out")


def test_damage_is_an_error_of_one_line(tmp_path):
    file = plain_file(tmp_path / "f.h5", ["v", "w"])
    with h5py.File(file, "r+") as stored:
        del stored["w/seconds"]
    with pytest.raises(FeatureFileError, match="w lacks pool5; p3dfeat verify"):
        p3dfeat.export(file, tmp_path / "out", to="npz")
    assert (tmp_path / "out/v.npz").exists()  # what was written before stays, and counts


def test_the_time_rules_need_all_of_a_damaged_video(dense, tmp_path):
    with h5py.File(dense) as source, h5py.File(tmp_path / "f.h5", "w") as copy:
        for name, value in source.attrs.items():
            copy.attrs[name] = value
        source.copy("c", copy)
        for name in ("pool5", "seconds", "first_frames"):  # without the third clip
            rows = np.delete(copy["c"][name][()], 2, axis=0)
            del copy["c"][name]
            copy["c"][name] = rows
        copy["c"].attrs["damage"] = "frame 9 does not decode"
    ((_, reason),) = p3dfeat.export(tmp_path / "f.h5", tmp_path / "out", to="opentad").refused
    assert "clips are missing, since it is damaged" in reason
