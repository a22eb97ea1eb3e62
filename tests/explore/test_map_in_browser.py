"""The page of a map in a real browser: what is drawn, what clicks and keys do, and that nothing is asked for."""

import socket
from pathlib import Path

import numpy as np
import pytest

import p3dfeat
from p3dfeat.pages.colours import colours
from p3dfeat.pages.map_page import MapData, map_page
from p3dfeat.pages.strip import Strip
from p3dfeat.pages.write import write_page
from p3dfeat.video.thumbnails import as_webp
from tests.explore.browser import needs_browser
from tests.explore.made import classes, grouped_file

pytestmark = needs_browser

NASTY = ["</script><script>document.title='x'</script>", "<img src=x onerror=alert(1)>", "a\u202eb", "'\"&amp;"]
WHITE, DARK = [255, 255, 255], [0x14, 0x18, 0x1C]
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.5]])
NEAR = np.array([[4, 1], [4, 0], [4, 3], [4, 2], [0, 3]])


def rgb(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def plain(path: Path, **more) -> Path:
    """Five points: corners of a square and its middle, with two labels, and none for the middle."""
    names = ["low left", "low right", "high left", "high right", "middle"]
    labels = ["one", "one", "two", "two", None]
    data = {"names": names, "labels": labels, "videos": names, **more}
    write_page(path, map_page(MapData("A map", positions=CORNERS, near=NEAR, **data)))
    return path


def places(browser) -> dict[str, tuple[float, float]]:
    """Where the five points are: the square fills the map's shorter side, less a margin of 24 pixels."""
    box = browser.run("const b = points.getBoundingClientRect(); return [b.width, b.height]")
    middle, half = np.array(box) / 2, min(box) / 2 - 24
    scale = min(half, min(box) / 300 * 32767.5)
    names = ["low left", "low right", "high left", "high right", "middle"]
    found = middle + (CORNERS - 0.5) * [2, -2] * scale
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, found, strict=True)}


@pytest.mark.parametrize(("dark", "paper"), [(False, WHITE), (True, DARK)])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (400, 800)])
def test_points_are_where_they_should_be_in_the_colours_of_their_labels(browser, tmp_path, dark, paper, width, height):
    browser.open(plain(tmp_path / "map.html"), width=width, height=height, dark=dark)
    one, two = map(rgb, colours(2))
    at = places(browser)
    assert browser.pixel(*at["low left"]) == browser.pixel(*at["low right"]) == one
    assert browser.pixel(*at["high left"]) == browser.pixel(*at["high right"]) == two
    assert browser.pixel(*at["middle"]) == rgb("#8a8f98")
    assert browser.pixel(at["middle"][0] + 30, at["middle"][1] + 40) == paper
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.complaints() == []


def test_nothing_is_asked_for(browser, tmp_path):
    page = plain(tmp_path / "map.html")
    browser.open(page)
    for action in ("ArrowLeft", "+", "Enter"):
        browser.run("points.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))", action)
    browser.settled()
    assert [address for address in browser.requests() if not address.startswith("data:")] == [page.as_uri()]


def test_the_policy_keeps_foreign_pictures_and_scripts_out(browser, tmp_path):
    """Even if a name became an element, the page could reach nobody. The second page shows that the test can fail."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    picture = f"const i = new Image(); i.src = '{server}' + arguments[0]; document.body.append(i)"
    script = "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    browser.open(plain(tmp_path / "map.html"))
    browser.run(picture, "blocked")
    browser.run(script)
    browser.settled()
    assert browser.run("return window.ran") is None
    assert sum("Content Security Policy" in line for line in browser.complaints()) == 2
    (tmp_path / "control.html").write_text("<!doctype html><body>")
    browser.open(tmp_path / "control.html")
    browser.run(picture, "asked")
    browser.run(script)
    browser.settled()
    assert browser.run("return window.ran") == 1
    assert f"{server}asked" in browser.requests()


def test_pointing_shows_the_name_and_a_click_the_neighbours(browser, tmp_path):
    browser.open(plain(tmp_path / "map.html"))
    at = places(browser)
    browser.mouse("mouseMoved", *at["high left"], button="none")
    assert browser.text("tip").split("\n") == ["high left", "two"]
    browser.mouse("mouseMoved", at["high left"][0] + 60, at["high left"][1] + 60, button="none")
    assert browser.text("tip") == ""
    browser.click(*at["high left"])
    shown = browser.text("chosen").split("\n")
    assert shown[:3] == ["Chosen", "high left", "two"]
    assert shown[3:] == ["Nearest neighbours", "middle", "no label", "high right", "two"]
    browser.run("document.querySelectorAll('#chosen li button')[1].click()")
    browser.settled()
    assert browser.text("chosen").split("\n")[1] == "high right"
    box = browser.run("const b = points.getBoundingClientRect(); return [b.width / 2, b.height / 2]")
    assert browser.pixel(*box) == rgb(colours(2)[1])


def test_the_legend_switches_labels_off_and_on(browser, tmp_path):
    browser.open(plain(tmp_path / "map.html"))
    at, boxes = places(browser), "document.querySelectorAll('#legend input')"
    assert browser.text("legend").split("\n") == ["Labels", "All", "None", "one", "2", "two", "2", "no label", "1"]
    browser.run(f"{boxes}[1].click()")
    assert browser.pixel(*at["high left"]) == WHITE
    assert browser.pixel(*at["low left"]) == rgb(colours(1)[0])
    browser.click(*at["high left"])
    assert browser.text("chosen") == ""
    browser.run("document.querySelectorAll('#legend button')[1].click()")
    assert browser.pixel(*at["low left"]) == browser.pixel(*at["middle"]) == WHITE
    browser.run("document.querySelectorAll('#legend button')[0].click()")
    assert browser.pixel(*at["low left"]) == rgb(colours(1)[0])


def test_search_dims_the_others_and_enter_goes_to_the_first(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    browser.open(plain(tmp_path / "map.html"))
    at = places(browser)
    field = browser.driver.find_element("id", "search")
    field.send_keys("HIGH")
    assert browser.text("count") == "2 of 5"
    assert browser.text("results").split("\n") == ["high left", "two", "high right", "two"]
    assert browser.pixel(*at["high left"]) == rgb(colours(2)[1])
    assert min(browser.pixel(*at["low left"])) > 200
    field.send_keys(Keys.ENTER)
    assert browser.text("chosen").split("\n")[1] == "high left"
    field.send_keys(Keys.ESCAPE)
    assert browser.text("count") == ""


def test_the_keyboard_moves_zooms_and_chooses(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    browser.open(plain(tmp_path / "map.html"))
    at, one = places(browser), rgb(colours(1)[0])
    canvas = browser.driver.find_element("id", "points")
    canvas.send_keys(Keys.ARROW_RIGHT)
    assert browser.pixel(at["low left"][0] - 60, at["low left"][1]) == one
    canvas.send_keys("0")
    assert browser.pixel(*at["low left"]) == one
    canvas.send_keys("+")
    assert browser.pixel(*at["low left"]) == WHITE
    canvas.send_keys("-")
    assert browser.pixel(*at["low left"]) == one
    canvas.send_keys(Keys.ENTER)
    assert browser.text("chosen").split("\n")[1] == "middle"
    canvas.send_keys("/")
    assert browser.run("return document.activeElement.id") == "search"
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.text("chosen") == ""


def test_the_buttons_zoom_and_show_everything(browser, tmp_path):
    browser.open(plain(tmp_path / "map.html"))
    at, two = places(browser), rgb(colours(2)[1])
    for id, seen in (("closer", WHITE), ("farther", two), ("closer", WHITE), ("whole", two)):
        browser.driver.find_element("id", id).click()
        assert browser.pixel(*at["high left"]) == seen


def test_dragging_moves_and_the_wheel_zooms_at_the_pointer(browser, tmp_path):
    browser.open(plain(tmp_path / "map.html"))
    at, one = places(browser), rgb(colours(1)[0])
    x, y = at["middle"]
    browser.mouse("mousePressed", x + 50, y + 50)
    for step in range(1, 6):
        browser.mouse("mouseMoved", x + 50 + 20 * step, y + 50 - 10 * step, drags=True)
    browser.mouse("mouseReleased", x + 150, y)
    assert browser.text("chosen") == ""
    assert browser.pixel(at["low left"][0] + 100, at["low left"][1] - 50) == one
    here = at["low left"][0] + 100, at["low left"][1] - 50
    browser.mouse("mouseWheel", *here, button="none", deltaX=0, deltaY=-300)
    assert browser.pixel(*here) == one


def test_names_and_labels_stay_text(browser, tmp_path):
    page = tmp_path / "map.html"
    count = len(NASTY)
    data = MapData(
        NASTY[0], NASTY, CORNERS[:count], np.array([[1], [0], [0], [0]]), NASTY[::-1], NASTY, notes=(NASTY[1],)
    )
    write_page(page, map_page(data))
    browser.open(page)
    browser.run("document.getElementById('search').value = '<img'; search()")
    assert browser.run("return document.querySelectorAll('img, script').length") == 2
    assert browser.text("results").split("\n")[0] == NASTY[1]
    assert browser.run("return document.title") == NASTY[0]
    assert "a\\u202eb" in browser.run("return document.body.innerText")
    assert browser.complaints() == []


def test_pictures_are_shown_for_the_pointed_and_the_chosen(browser, tmp_path):
    names = ["low left", "low right", "high left", "high right", "middle"]
    frames = [np.full((48, 64, 3), level, np.uint8) for level in (250, 120, 5)]
    strip = Strip(as_webp(np.concatenate(frames, axis=1), 75), 3, 64, 48)
    page = plain(tmp_path / "map.html", strips=dict.fromkeys(names[2:4], strip))
    browser.open(page)
    at = places(browser)
    browser.mouse("mouseMoved", *at["high left"], button="none")
    sizes = (
        "return [...document.querySelectorAll(arguments[0])]"
        ".map(e => [e.offsetWidth, e.offsetHeight, e.style.backgroundPosition])"
    )
    assert browser.run(sizes, "#tip .frame") == [[120, 90, "-120px 0px"]]
    browser.click(*at["high left"])
    assert [position for _, _, position in browser.run(sizes, "#chosen .strip .frame")] == [
        *("0px 0px", "-72px 0px", "-144px 0px"),
    ]
    assert len(browser.run(sizes, "#chosen li .frame")) == 1
    browser.mouse("mouseMoved", *at["middle"], button="none")
    assert browser.run(sizes, "#tip .frame") == []
    assert [address for address in browser.requests() if not address.startswith("data:")] == [page.as_uri()]
    assert browser.complaints() == []


def test_a_map_of_a_feature_file_works_as_a_whole(browser, tmp_path):
    file = grouped_file(tmp_path / "f.h5", classes(10))
    p3dfeat.draw_map(file, tmp_path / "map.html", labels="folders", no_thumbnails=True)
    browser.open(tmp_path / "map.html")
    browser.run("document.getElementById('search').value = 'class1/v03'")
    browser.driver.find_element("id", "search").send_keys("\n")
    browser.settled()
    shown = browser.text("chosen").split("\n")
    assert shown[1:3] == ["class1/v03", "class1"]
    assert set(shown[5::2]) == {"class1"}
    assert browser.complaints() == []


def test_ten_thousand_points_are_drawn_within_a_frame(browser, tmp_path):
    """The work of the page itself, which does not depend on other load as times between frames do: the median."""
    rng = np.random.default_rng(0)
    names = [f"v{n}" for n in range(10_000)]
    data = MapData(
        "big", names, rng.normal(size=(10_000, 2)), np.zeros((10_000, 1), int), [n[:2] for n in names], names
    )
    write_page(tmp_path / "map.html", map_page(data))
    browser.open(tmp_path / "map.html")
    script = (
        "const spent = []; for (let n = 0; n < 30; n++) { move(3, 2); const t = performance.now(); draw(false); "
        "spent.push(performance.now() - t); } return spent.sort((a, b) => a - b)[15]"
    )
    assert browser.run(script) < 33
