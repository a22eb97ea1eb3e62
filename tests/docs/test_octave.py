"""The recipes for Octave and R read what h5py reads."""

import re
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from tests.videos import panning_frames, write_video

PAGE = Path(__file__).parents[2] / "docs" / "feature-file.md"
IDS = ("a", "my-class/01", "x/y.z")
needs_octave = pytest.mark.skipif(shutil.which("octave") is None, reason="needs GNU Octave")


def recipe(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with feats.h5: three videos, with slashes, dashes, dots and leading digits in their ids."""
    place = tmp_path_factory.mktemp("place")
    for number, id in enumerate(IDS):
        path = place / "videos" / f"{id}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, panning_frames(40, pixels_a_frame=number + 1, seed=number))
    options = {"model": "p3d-camera", "engine": "torch", "layers": ("pool5", "res2a"), "clips": 3}
    p3dfeat.extract(place / "videos", place / "feats.h5", **options)
    return place


def said(place: Path, *command: str) -> list[str]:
    ended = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def octave(place: Path, script: str) -> list[str]:
    return said(place, "octave", "--no-gui", "--quiet", "--norc", "--eval", script)


def numbers(lines: list[str]) -> np.ndarray:
    return np.array([[float(number) for number in line.split()] for line in lines])


@needs_octave
def test_the_recipe_for_octave_gives_the_rows_of_the_file(place):
    script = recipe("octave") + 'printf("values\\n"); printf([repmat("%.9g ", 1, columns(pool5)) "\\n"], pool5.\');'
    lines = octave(place, script)
    assert any(re.search(r"\b512\s+3$", line) for line in lines[: lines.index("values")])
    with p3dfeat.open_features(place / "feats.h5") as features:
        assert np.array_equal(numbers(lines[lines.index("values") + 1 :]).astype(np.float32), features["a"]["pool5"])


@needs_octave
def test_octave_names_videos_as_the_page_says(place):
    script = 'f = load("feats.h5"); printf("%.9g ", f.my_class._01.pooled); printf("\\n"); '
    script += 'printf("%d ", size(f.x.y_z.res2a));'
    pooled, shape = octave(place, script)
    with p3dfeat.open_features(place / "feats.h5") as features:
        assert np.array_equal(numbers([pooled])[0].astype(np.float32), features["my-class/01"].pooled)
        assert numbers([shape])[0].tolist() == list(features["x/y.z"].shape("res2a"))[::-1]


@needs_octave
def test_octave_keeps_one_of_two_videos_whose_names_become_the_same(tmp_path):
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        for id in ("a-b", "a_b", "c"):
            file[f"{id}/pool5"] = np.zeros((2, 3), np.float32)
    assert octave(tmp_path, 'printf("%s ", fieldnames(load("feats.h5")){:});') == ["a_b c "]


def has_hdf5r() -> bool:
    if shutil.which("Rscript") is None:
        return False
    asked = subprocess.run(["Rscript", "-e", "library(hdf5r)"], capture_output=True, check=False)
    return asked.returncode == 0


@pytest.mark.skipif(not has_hdf5r(), reason="needs R with hdf5r")
def test_the_recipe_for_r_gives_the_rows_of_the_file_and_takes_ids_as_they_are(place):
    script = (
        recipe("r")
        + 'cat("values\\n")\n'
        + "write.table(format(pool5, digits = 9), quote = FALSE, row.names = FALSE, col.names = FALSE)\n"
        + 'cat(dim(file[["my-class/01/pool5"]][, ]), dim(file[["x/y.z/res2a"]][, , , , ]), "\\n")'
    )
    lines = said(place, "Rscript", "-e", script)
    *rows, shapes = lines[lines.index("values") + 1 :]
    with p3dfeat.open_features(place / "feats.h5") as features:
        np.testing.assert_allclose(numbers(rows), features["a"]["pool5"], rtol=1e-6, atol=1e-8)
        wanted = [*features["my-class/01"].shape("pool5")[::-1], *features["x/y.z"].shape("res2a")[::-1]]
        assert shapes.split() == [str(size) for size in wanted]
        assert f"[1] {features['a'].attributes['duration_seconds']:g}" in lines
