"""The documentation: its examples run as they stand, its links lead somewhere, and its site asks no other server."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs import sampling
from tests import commands
from tests.videos import panning_frames, write_video

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
RUN = ("sh", "python", "toml")  # languages of blocks that are examples; others, such as text, are shown only
PAGES = sorted(page for page in (*DOCS.rglob("*.md"), ROOT / "README.md") if BLOCK.search(page.read_text("utf-8")))


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(language, text) for language, text in BLOCK.findall(page.read_text("utf-8")) if language in RUN]


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """What examples speak of: two videos, labelled ones, a Caffe model, a segment file."""
    folder = tmp_path_factory.mktemp("samples")
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "a.mp4", panning_frames(60, pixels_a_frame=3))
    write_video(folder / "videos" / "b.mp4", panning_frames(40, pixels_a_frame=-3))
    for number in range(1, 4):
        for name, pixels in (("left", -3), ("right", 3)):
            (folder / "classes" / name).mkdir(parents=True, exist_ok=True)
            frames = panning_frames(24, pixels_a_frame=pixels, seed=number)
            write_video(folder / "classes" / name / f"{number}.mp4", frames)
    rows = [f"classes/{name}/1.mp4,{name},train" for name in ("left", "right")]
    (folder / "labels.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    shutil.copy(ROOT / "tests" / "golden" / "caffe_small.caffemodel", folder / "net.caffemodel")
    return folder


@pytest.fixture
def place(samples, tmp_path) -> Path:
    shutil.copytree(samples, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run_as_they_stand(page, place, monkeypatch):
    """In order, in one folder; the Python of a page is one program. Where a feature file is read, one is made first."""
    programs = (commands.shell_commands(), Path(sys.executable).parent, os.environ["PATH"])
    path = os.pathsep.join(map(str, programs))
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    found = blocks(page)
    writes = any("-o feats.h5" in text or '"feats.h5", clips' in text for _, text in found)
    if not writes and any("feats.h5" in text for _, text in found):
        subprocess.run(
            ["p3dfeat", "extract", "videos/", "-o", "feats.h5", "--clips", "2"], cwd=place, env=env, check=True
        )
    python: list[str] = []
    for number, (language, text) in enumerate(found):
        if language == "toml":
            (place / "p3dfeat.toml").write_text(text)
        elif language == "sh":
            python = run_python(python, place, env)
            done = subprocess.run(["bash", "-e", "-c", text], cwd=place, env=env, capture_output=True, text=True)
            assert done.returncode == 0, f"{page.name}, block {number}: {text}\n{done.stderr}"
        else:
            python.append(text)
    run_python(python, place, env)


def run_python(parts: list[str], place: Path, env: dict[str, str]) -> list[str]:
    """Run the Python of a page so far; later parts go on from it, so they are kept."""
    if parts:
        guarded = "".join(f"    {line}\n" for line in "\n".join(parts).splitlines())
        (place / "example.py").write_text(f'if __name__ == "__main__":\n{guarded}')
        program = "import runpy; runpy.run_path('example.py', run_name='__main__')"
        done = commands.run(program=program, cwd=place, env=env, timeout=300)
        assert done.returncode == 0, f"{parts[-1]}\n{done.stderr}"
    return parts


def test_the_picture_of_sampling_shows_what_is_taken():
    """The module draws it: python -m docs.sampling."""
    assert sampling.PICTURE.read_text("utf-8") == sampling.svg()


class Links(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append((tag, value))
            elif name == "id" and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(folder / "state")]
    done = subprocess.run([*command, str(DOCS), str(folder / "html")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


def test_every_link_of_the_site_leads_somewhere_and_no_page_asks_another_server(site):
    pages = {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 70
    for path, page in pages.items():
        for tag, link in page.links:
            if re.match(r"[a-z]+:", link):
                assert tag == "a" or link.startswith("data:"), f"{path.name}: {link}"
                continue
            place, _, anchor = link.partition("#")
            target = (path.parent / place.partition("?")[0]).resolve() if place else path
            assert target.exists(), f"{path.name}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].anchors, f"{path.name}: {link}"


def test_the_reference_names_every_public_name(site):
    import p3dfeat

    text = (site / "api.html").read_text("utf-8")
    missing = [name for name in p3dfeat.__all__ if f'id="p3dfeat.{name}"' not in text and not name.startswith("__")]
    assert [name for name in missing if not name.endswith("Settings")] == []
