"""Pages about labels and feature files: what they show, and that text stays text."""

import json
import re
import resource
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.errors import OutputError, UsageError
from p3dfeat.pages.report_page import Section, TimelinePart, classify_page
from p3dfeat.pages.strip import Strip
from p3dfeat.pages.write import write_page
from p3dfeat.video.thumbnails import as_webp
from tests.explore.browser import needs_browser
from tests.explore.made import classes, grouped_file
from tests.videos import panning_frames, write_video

NASTY = "<script>alert(1)</script>&\"'\u202e"


class Page(HTMLParser):
    """The tags of a page and the text between them."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip() and self.tags[-1][0] != "style":
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_classify_writes_frames_the_timeline_and_the_labels(p3dfeat_command, folder, tmp_path):
    page = tmp_path / "report.html"
    videos = [folder / "left.mp4", folder / "right.mp4"]
    code, printed, said = p3dfeat_command("classify", *videos, "--html", page, "--json", "--engine", "torch")
    assert code == 0
    assert f"{page}: 2 videos, 2 with pictures" in said
    records = [json.loads(line) for line in printed.splitlines()]
    found = Page(page)
    assert [image["alt"] for image in found.all("img")] == [f"8 frames of {path}" for path in videos]
    assert len(found.all("article")) == len(found.all("figure")) == 2
    for record in records:
        assert "timeline" not in record
        for prediction in record["predictions"]:
            assert prediction["label"] in found.text
            assert f"{prediction['probability']:.3f}" in found.text
    widths = [float(rect["width"] or 0) for rect in found.all("rect")]
    assert sum(widths) == pytest.approx(2000, abs=0.1)
    assert not found.all("script")


def test_python_writes_the_same_page(folder, tmp_path):
    for name in "ab":
        results = p3dfeat.classify(folder / "left.mp4", html=tmp_path / f"{name}.html", engine="torch")
    assert results[0].timeline
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_video_that_cannot_be_read_is_listed_in_the_report(p3dfeat_command, folder, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    page = tmp_path / "report.html"
    command = ("classify", folder / "left.mp4", tmp_path / "bad.mp4", "--html", page, "--engine", "torch")
    code, _, _ = p3dfeat_command(*command)
    assert code == 3
    shown = Page(page).text
    assert "Videos that could not be read" in shown
    assert str(tmp_path / "bad.mp4") in shown


def test_a_wrong_name_of_the_page_is_refused_before_anything_is_computed(p3dfeat_command, folder, tmp_path):
    code, printed, said = p3dfeat_command("classify", folder / "left.mp4", "--html", tmp_path / "report.pdf")
    assert (code, printed) == (2, "")
    assert "report.pdf: no name of a page" in said


def test_info_shows_the_settings_and_all_videos(p3dfeat_command, tmp_path):
    (tmp_path / "videos").mkdir()
    for number in range(3):
        write_video(tmp_path / "videos" / f"{number}.mp4", panning_frames(30, pixels_a_frame=2, seed=number))
    p3dfeat.extract(tmp_path / "videos", tmp_path / "f.h5", clips=2, workers=1, engine="torch")
    (tmp_path / "videos" / "1.mp4").unlink()
    code, _, said = p3dfeat_command("info", tmp_path / "f.h5", "--html", tmp_path / "info.html")
    assert code == 0
    assert "note: no pictures of 1 video: not there any more" in said
    assert "3 videos, 2 with pictures" in said
    found = Page(tmp_path / "info.html")
    assert [image["alt"] for image in found.all("img")] == ["8 frames of 0", "8 frames of 2"]
    assert len(found.all("tr")) == 4
    assert {"p3d-camera", "pool5", "1.20 s"} <= set(found.text)
    code, printed, _ = p3dfeat_command("info", tmp_path / "f.h5", "--html", tmp_path / "info.html", "--json")
    record = json.loads(printed)
    assert (record["videos"], record["pictures"], record["no_picture"]) == (3, 2, {"gone": 1})


def test_info_of_an_empty_file_is_a_page_too(p3dfeat_command, tmp_path):
    file = grouped_file(tmp_path / "f.h5", {"a": 0})
    with h5py.File(file, "r+") as content:
        del content["a"]
    code, _, said = p3dfeat_command("info", file, "--html", tmp_path / "info.html")
    assert code == 0
    assert "0 videos, 0 with pictures" in said
    assert len(Page(tmp_path / "info.html").all("tr")) == 1


def test_names_and_settings_of_a_feature_file_stay_text(p3dfeat_command, tmp_path):
    file = grouped_file(tmp_path / "f.h5", {"<b>bold<b>": 0}, columns=(("<i>kind", NASTY),))
    with h5py.File(file, "r+") as content:
        content.attrs["model"] = NASTY
    code, _, _ = p3dfeat_command("info", file, "--html", tmp_path / "info.html")
    assert code == 0
    found = Page(tmp_path / "info.html")
    assert not found.all("script")
    assert not found.all("b")
    assert not found.all("i")
    assert "<b>bold<b>" in found.text
    assert "\u202e" not in (tmp_path / "info.html").read_text("utf-8")


def section(name: str, labels: list[str], strip: Strip | None = None) -> Section:
    parts = [TimelinePart(float(n), n + 1.0, label, 0.5) for n, label in enumerate(labels)]
    return Section(name, strip, [(label, 0.5) for label in labels], parts)


def test_labels_of_a_model_stay_text_and_keep_one_colour(tmp_path):
    sections = [section("a", ["x", NASTY]), section("b", [NASTY, "x"])]
    write_page(tmp_path / "r.html", classify_page("r", [], sections, [(NASTY, NASTY)]))
    found = Page(tmp_path / "r.html")
    assert not found.all("script")
    assert [rect["class"] for rect in found.all("rect")] == ["ink0", "ink1", "ink1", "ink0"]
    assert len(re.findall(r"\.ink\d+ \{ fill", (tmp_path / "r.html").read_text("utf-8"))) == 2


def test_a_full_disk_is_one_line(tmp_path):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(OutputError, match="make room"):
            write_page(tmp_path / "r.html", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == []


def test_a_report_never_replaces_a_feature_file(p3dfeat_command, tmp_path):
    file = grouped_file(tmp_path / "f.h5", classes(1))
    before = file.read_bytes()
    code, _, said = p3dfeat_command("info", file, "--html", file)
    assert code == 2
    assert "no name of a page" in said
    assert file.read_bytes() == before
    with pytest.raises(UsageError):
        p3dfeat.classify(tmp_path / "x.mp4", html=file)


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_frames_and_colours_and_asks_for_nothing(browser, tmp_path, dark, width):
    pixels = np.full((48, 64 * 4, 3), 255, np.uint8)
    strip = Strip(as_webp(pixels, 75), 4, 64, 48)
    page = tmp_path / "r.html"
    write_page(page, classify_page("r", ["note"], [section("a", ["x", "y"], strip)], [("bad", "reason")]))
    browser.open(page, width=width, dark=dark)
    assert browser.run("const i = document.images[0]; return [i.complete, i.naturalWidth, i.offsetWidth]") == [
        *(True, 256, 256),
    ]
    inks = "return [...document.querySelectorAll('rect')].map(rect => getComputedStyle(rect).fill)"
    assert browser.run(inks) == ["rgb(59, 125, 216)", "rgb(232, 121, 43)"]
    boxes = browser.run("return [...document.querySelectorAll('rect')].map(r => r.getBoundingClientRect().width)")
    assert boxes[0] == pytest.approx(boxes[1], rel=0.01)
    assert boxes[0] > 100
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert [address for address in browser.requests() if not address.startswith("data:")] == [page.as_uri()]
    assert browser.complaints() == []
