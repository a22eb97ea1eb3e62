"""Maps of feature files: what is on them, that they do not depend on the machine, and what is refused."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.errors import OutputError, UsageError
from p3dfeat.explore.map_layout import laid_out, nearest
from p3dfeat.store import open_features
from tests.explore.made import classes, grouped_file, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    return grouped_file(tmp_path_factory.mktemp("map") / "feats.h5", classes(12))


def data_of(page: Path, id: str = "map-data"):
    found = re.search(rf'<script type="application/json" id="{id}">(.*?)</script>', page.read_text("utf-8"), re.S)
    return None if found is None else json.loads(found[1])


def test_videos_of_one_kind_lie_together_and_are_neighbours(stored, tmp_path):
    summary = p3dfeat.draw_map(stored, tmp_path / "map.html", labels="folders", no_thumbnails=True, neighbours=5)
    data = data_of(tmp_path / "map.html")
    assert (summary.points, summary.videos, summary.labels) == (36, 36, 3)
    assert data["names"] == sorted(classes(12))
    assert data["labels"] == ["class0", "class1", "class2"]
    places, label = np.stack([data["x"], data["y"]], axis=1).astype(float), np.array(data["label"])
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(36) * 1e9
    assert (label[distance.argmin(axis=1)] == label).all()
    near = np.array(data["near"])
    assert near.shape == (36, 5)
    assert (label[near] == label[:, None]).all()
    with open_features(stored) as features:
        ids, matrix = features.table("pooled")
    assert ids == data["names"]
    units = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    cosines = units @ units.T - 2 * np.eye(36)
    assert near[:, 0].tolist() == cosines.argmax(axis=1).tolist()


def test_neighbours_are_those_of_a_full_sort_beyond_one_block():
    found = np.random.default_rng(0).normal(size=(2500, 8)).astype(np.float32)
    units = found / np.linalg.norm(found, axis=1, keepdims=True)
    cosines = units @ units.T - 3 * np.eye(len(found))
    expected = np.take_along_axis(cosines, np.argsort(-cosines, axis=1)[:, :4], axis=1)
    assert np.take_along_axis(cosines, nearest(found, 4), axis=1) == pytest.approx(expected, abs=1e-6)


def test_the_order_of_the_file_does_not_matter(stored, tmp_path):
    ids = list(classes(12).items())
    shuffled = [ids[place] for place in np.random.default_rng(1).permutation(len(ids))]
    with h5py.File(stored) as old, h5py.File(tmp_path / "other.h5", "w", track_order=True) as new:
        new.attrs.update(old.attrs)
        for id, _ in shuffled:
            old.copy(id, new.require_group(id.rpartition("/")[0]))
    for name, file in (("a", stored), ("b", tmp_path / "other.h5")):
        p3dfeat.draw_map(file, tmp_path / f"{name}.html", no_thumbnails=True)
    assert data_of(tmp_path / "a.html") == data_of(tmp_path / "b.html")


def test_any_number_of_cores_gives_the_same_bits(tmp_path):
    script = tmp_path / "lay.py"
    script.write_text(
        "import sys, numpy as np\n"
        "from p3dfeat.explore.map_layout import laid_out, nearest\n"
        "rows = np.random.default_rng(0).normal(size=(600, 200)).astype(np.float32)\n"
        "found = laid_out(rows, method='tsne', perplexity=20).positions\n"
        "sys.stdout.buffer.write(found.tobytes() + nearest(rows, 8).tobytes())\n"
    )
    outputs = set()
    for threads in ("1", "2", "5"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        env = {**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        outputs.add(subprocess.run([sys.executable, str(script)], env=env, capture_output=True, check=True).stdout)
    (only,) = outputs
    assert len(only) == 600 * 2 * 8 + 600 * 8 * 8


def test_clips_are_points_of_their_own(stored, tmp_path):
    summary = p3dfeat.draw_map(stored, tmp_path / "map.html", clips=True, no_thumbnails=True, labels="folders")
    assert (summary.points, summary.videos) == (72, 36)
    assert data_of(tmp_path / "map.html")["names"][:2] == ["class0/v00 at 0.00 s", "class0/v00 at 1.00 s"]


@pytest.mark.parametrize(("count", "perplexity"), [(1, 0), (2, 0), (3, 1), (4, 1), (31, 10)])
def test_few_videos_lower_the_perplexity_and_it_is_said(p3dfeat_command, tmp_path, count, perplexity):
    file = grouped_file(tmp_path / "f.h5", {f"v{n:02d}": n % 3 for n in range(count)})
    code, _, said = p3dfeat_command("map", file, "--no-thumbnails", "-o", tmp_path / "map.html")
    assert code == 0
    data = data_of(tmp_path / "map.html")
    assert len(set(zip(data["x"], data["y"], strict=True))) == count
    assert len(data["near"][0]) == min(8, count - 1)
    assert (f"note: perplexity {perplexity}, not 30: {count} points only" in said) == (perplexity > 0)


def test_equal_rows_have_places_too():
    found = laid_out(np.ones((12, 4), np.float32), method="tsne", perplexity=30).positions
    assert np.isfinite(found).all()


def test_labels_that_do_not_fit_are_counted_and_listed(p3dfeat_command, stored, tmp_path):
    lines = ["id,label", *(f"{id},kind {group}" for id, group in classes(12).items() if group)]
    (tmp_path / "labels.csv").write_text("\n".join([*lines, "gone/a,kind 9", "gone/b,kind 9"]) + "\n")
    command = ("map", stored, "--no-thumbnails", "--labels", tmp_path / "labels.csv", "-o", tmp_path / "map.html")
    code, _, said = p3dfeat_command(*command)
    assert code == 0
    assert "no label for 12 videos (class0/v00, class0/v01, class0/v02, and 9 more)" in said
    assert "labels of 2 videos (gone/a, gone/b) that the feature file does not hold" in said
    assert "36 videos with 2 labels" in said
    assert data_of(tmp_path / "map.html")["label"].count(-1) == 12
    code, printed, _ = p3dfeat_command(*command, "--json")
    record = json.loads(printed)
    assert (len(record["without_label"]), record["unused_labels"]) == (12, ["gone/a", "gone/b"])


def test_labels_come_from_a_column_of_the_csv_that_named_the_videos(tmp_path):
    file = grouped_file(tmp_path / "f.h5", classes(2), columns=(("kind", "run"),))
    p3dfeat.draw_map(file, tmp_path / "map.html", labels="column:kind", no_thumbnails=True)
    assert data_of(tmp_path / "map.html")["labels"] == ["run"]


def test_videos_with_numbers_that_are_not_finite_are_left_out_and_counted(p3dfeat_command, tmp_path):
    file = grouped_file(tmp_path / "f.h5", classes(4))
    with h5py.File(file, "r+") as content:
        content["class1/v02/pooled"][3] = np.nan
        content["class2/v00/pooled"][0] = np.inf
    code, _, said = p3dfeat_command("map", file, "--no-thumbnails", "-o", tmp_path / "map.html")
    assert code == 0
    assert "left out: 2 videos (class1/v02, class2/v00): not all numbers are finite" in said
    assert len(data_of(tmp_path / "map.html")["names"]) == 10
    assert "2 videos left out" in (tmp_path / "map.html").read_text("utf-8")


def test_videos_without_their_sources_are_counted(p3dfeat_command, stored, tmp_path):
    code, _, said = p3dfeat_command("map", stored, "-o", tmp_path / "map.html")
    assert code == 0
    assert "note: no pictures of 36 videos: not there any more" in said
    assert data_of(tmp_path / "map.html", "map-pictures") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "res3a"}, "layer 'res3a' is not stored; stored are pool5"),
        ({"method": "isomap"}, "method 'isomap': unknown"),
        ({"perplexity": 0}, "perplexity 0: must be at least 1"),
        ({"labels": "no/such/file.csv"}, "labels no/such/file.csv"),
    ],
)
def test_what_cannot_be_mapped_is_refused(stored, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        p3dfeat.draw_map(stored, tmp_path / "map.html", no_thumbnails=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_feature_file_is_refused(tmp_path):
    file = grouped_file(tmp_path / "f.h5", {"a": 0})
    with h5py.File(file, "r+") as content:
        del content["a"]
    with pytest.raises(UsageError, match="holds no videos; there is nothing to map"):
        p3dfeat.draw_map(file, tmp_path / "map.html")


def test_a_feature_file_is_never_taken_for_the_page(stored, tmp_path):
    before = stored.read_bytes()
    with pytest.raises(UsageError, match="no name of a page"):
        p3dfeat.draw_map(stored, stored)
    with pytest.raises(UsageError, match="a folder"):
        (tmp_path / "x.html").mkdir()
        p3dfeat.draw_map(stored, tmp_path / "x.html")
    assert stored.read_bytes() == before


def test_a_full_disk_is_one_line_and_leaves_the_page_that_was_there(stored, tmp_path):
    """A limit on the size of files stands for a full disk."""
    output = tmp_path / "map.html"
    p3dfeat.draw_map(stored, output, no_thumbnails=True)
    before = output.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, old[1]))
    try:
        with pytest.raises(OutputError, match=r"map.html: cannot be written \(File too large\); make room"):
            p3dfeat.draw_map(stored, output, no_thumbnails=True, labels="folders")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["map.html"]


@pytest.mark.parametrize("count", [3, 4, 60])
def test_umap_gives_every_row_a_place_and_the_same_one_again(count):
    pytest.importorskip("umap")
    found = np.concatenate([rows(group, count // 3 + 1, group) for group in range(3)])[:count]
    first, again = (laid_out(found, method="umap", perplexity=10).positions for _ in range(2))
    assert first.shape == (count, 2)
    assert np.array_equal(first, again)


def test_a_missing_package_is_named_with_its_remedy(stored, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(UsageError, match=r"needs scikit-learn; pip install 'p3dfeat\[map\]'"):
        p3dfeat.draw_map(stored, tmp_path / "map.html", no_thumbnails=True)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match="needs umap-learn"):
        p3dfeat.draw_map(stored, tmp_path / "map.html", no_thumbnails=True, method="umap")


def test_ten_thousand_videos_make_a_page_under_3_mb():
    """The page alone: its layout takes minutes."""
    from p3dfeat.pages.map_page import MapData, map_page

    rng = np.random.default_rng(0)
    names = [f"class{n % 101:03d}/v_ApplyEyeMakeup_g{n:06d}_c01" for n in range(10_000)]
    near = rng.integers(10_000, size=(10_000, 8))
    labels = [name.partition("/")[0] for name in names]
    text = map_page(MapData("map", names, rng.normal(size=(10_000, 2)), near, labels, names))
    assert len(text.encode()) < 3_000_000


def test_rows_of_other_groups_are_far():
    assert np.linalg.norm(rows(0, 1, 0) - rows(1, 1, 1)) > 10
