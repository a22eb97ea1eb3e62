"""What is built installs and runs anywhere: wheel, wheel from the sdist, editable."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLASSIFY = "import p3dfeat, sys; print(p3dfeat.__file__); print(p3dfeat.classify(sys.argv[1])[0].predictions[0].label)"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """dist/ of a copy of the tracked files, as a release would make it."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs the git checkout")
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.check_output(["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)  # the wheel is built from the sdist
    return source / "dist"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """A working directory from which the repository cannot be seen."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_embedded_model(site: Path, video: Path) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", CLASSIFY, str(video)]
    return subprocess.check_output(command, env=environment, text=True).splitlines()


def test_the_wheel_from_the_sdist_runs_the_embedded_model(built, elsewhere, folder):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(elsewhere / "site")
        names = archive.namelist()
    assert "p3dfeat/_weights/p3d-camera.safetensors" in names
    assert "p3dfeat/py.typed" in names
    cards = {f"p3dfeat/_weights/{path.name}" for path in (ROOT / "weights" / "cards").glob("*.toml")}
    assert len(cards) > 12
    assert cards <= set(names)
    assert not [name for name in names if name.startswith(("tests", "weights", "examples"))]
    home, label = run_embedded_model(elsewhere / "site", folder / "left.mp4")
    assert home.startswith(str(elsewhere))
    assert label == "pan left"


def test_a_wheel_made_straight_from_the_tree_holds_the_same(built, elsewhere):
    source = built.parent
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(elsewhere), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (direct,), (from_sdist,) = elsewhere.glob("*.whl"), built.glob("*.whl")
    with zipfile.ZipFile(direct) as a, zipfile.ZipFile(from_sdist) as b:
        assert sorted(a.namelist()) == sorted(b.namelist())


def test_the_editable_install_runs_the_embedded_model(elsewhere, folder):
    """The tests run in one; from another directory it still finds its weights."""
    command = [sys.executable, "-c", CLASSIFY, str(folder / "right.mp4")]
    home, label = subprocess.check_output(command, text=True).splitlines()
    assert home == str(ROOT / "p3dfeat" / "__init__.py")
    assert label == "pan right"


def test_lower_bounds_admit_what_the_tests_run_with():
    from importlib.metadata import requires, version

    from packaging.requirements import Requirement

    for text in requires("p3dfeat") or ():
        requirement = Requirement(text)
        if requirement.marker is None:
            assert requirement.specifier.contains(version(requirement.name)), requirement
