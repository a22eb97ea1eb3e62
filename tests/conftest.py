"""Fixtures that several test folders share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before anything of huggingface_hub is imported, which reads them once: no test sees or fills the user's caches.
CACHES = tempfile.TemporaryDirectory(prefix="p3dfeat-test-caches-")
os.environ["P3DFEAT_CACHE"] = f"{CACHES.name}/p3dfeat"
os.environ["HF_HOME"] = f"{CACHES.name}/huggingface"
os.environ["P3DFEAT_MODEL"] = "p3d-camera"  # the default one would have to be fetched
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # where the tests' own servers are
for name in ("P3DFEAT_MIRROR", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)

# Tests in several processes: each keeps to one core. Otherwise each would start threads for all of them.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if WORKER.startswith("gw") and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})

import pytest  # noqa: E402

from tests.videos import numbered_video, panning_frames, write_video  # noqa: E402

CLIPS = Path(os.environ.get("P3DFEAT_TEST_CLIPS", Path(__file__).parents[2] / "shared" / "clips"))


# Modules with long tests, which come first, so that at the end no process is alone with one.
LONG = (
    "test_anywhere",
    "test_memory",
    "test_soak",
    "test_pages",
    "test_concurrency",
    "test_interrupts",
    "test_package",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each process begins with its share of the list, and takes from the others when it is done."""
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    rest = [item for item in items if item.path.stem not in LONG]
    ordered: list[pytest.Item] = []
    for number in range(count):
        ordered += [item for item in items if item.path.stem in LONG[number::count]]
        room = max(0, len(items) * (number + 1) // count - len(ordered))
        ordered += rest[:room]
        rest = rest[room:]
    items[:] = ordered + rest


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """A folder of eight real videos, which are not part of the project."""
    if not CLIPS.is_dir():
        pytest.skip("the real clips are not at hand")
    return CLIPS


@pytest.fixture(scope="session")
def numbered(tmp_path_factory) -> Path:
    """150 numbered frames at 25 a second, H.264 with B-frames, 128 x 96."""
    return numbered_video(tmp_path_factory.mktemp("numbered") / "numbered.mp4", 150)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Three short videos, one of them below a folder, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "archery").mkdir()
    write_video(folder / "left.mp4", panning_frames(40, pixels_a_frame=-3))
    write_video(folder / "right.mp4", panning_frames(40, pixels_a_frame=3))
    write_video(folder / "archery" / "clip7.mp4", panning_frames(24, pixels_a_frame=3, seed=1))
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture
def p3dfeat_command(capfd):
    """Runs a command; gives its exit code, stdout and stderr."""

    from p3dfeat.cli.app import run

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        printed, said = capfd.readouterr()
        assert "Traceback" not in said
        return code, printed, said

    return call


@pytest.fixture(autouse=True)
def _ordinary_priority() -> Iterator[None]:
    """SVT-AV1 gives the thread that encodes with it real-time priority, if root runs it; others would starve."""
    yield
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(autouse=True)
def _way_to_temporary_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests that are another user for a while come to their files; with several processes there are more folders.

    Before each test, since any other pytest of the same user closes the uppermost folder as it starts.
    """
    base = tmp_path_factory.getbasetemp().resolve()
    top = Path(tempfile.gettempdir()).resolve()
    for folder in (base, *base.parents):
        if folder != top and folder.is_relative_to(top) and os.access(folder, os.W_OK):
            folder.chmod(0o755)
