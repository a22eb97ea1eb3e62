"""The page of a map with 10,000 videos: its size, and the times between frames while it is dragged.

python -m benchmarks.map_page needs Chromium, its driver and selenium. It prints one line per page. The first page is
empty: it shows what the machine can do at the moment. Pictures have the largest size that is allowed.
"""

import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from p3dfeat.pages.map_page import MapData, map_page
from p3dfeat.pages.strip import Strip
from p3dfeat.video.thumbnails import StripPlan
from tests.explore.browser import Browser, missing, started

VIDEOS = 10_000
SECONDS = 4.0
COUNT_FRAMES = (
    "window.spent = []; window.counts = true; let last = performance.now();"
    "(function frame() { const now = performance.now(); spent.push(now - last); last = now;"
    "if (counts) requestAnimationFrame(frame); })()"
)


def page(*, pictures: bool) -> str:
    """A page of random points in 101 labels."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(101, size=VIDEOS)
    names = [f"class{kind:03d}/v_{number:07d}" for number, kind in enumerate(kinds)]
    positions = rng.normal(size=(101, 2))[kinds] * 5 + rng.normal(size=(VIDEOS, 2))
    near = rng.integers(VIDEOS, size=(VIDEOS, 8))
    plan = StripPlan.of(VIDEOS)
    strips = {name: Strip(rng.bytes(plan.most_bytes), plan.frames, 64, plan.height) for name in names * pictures}
    labels = [name.partition("/")[0] for name in names]
    return map_page(MapData("Map", names, positions, near, labels, names, strips))


def frame_times(browser: Browser) -> list[float]:
    """Milliseconds between frames while the map is dragged in curves, sorted."""
    x, y = 480.0, 400.0
    browser.mouse("mouseMoved", x, y, button="none")
    time.sleep(0.5)
    browser.run(COUNT_FRAMES)
    browser.mouse("mousePressed", x, y)
    end, moves = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        moves += 1
        browser.mouse("mouseMoved", x + 200 * math.sin(moves / 15), y + 120 * math.cos(moves / 22), drags=True)
        time.sleep(0.008)
    browser.mouse("mouseReleased", x, y)
    spent: list[float] = browser.run("counts = false; return spent")
    return sorted(spent[3:])


def main() -> int:
    """Print the sizes and times."""
    if (reason := missing()) is not None:
        print(f"map_page: {reason}", file=sys.stderr)
        return 2
    texts: dict[str, Any] = {
        "empty page": "<!doctype html><body>",
        "map without pictures": page(pictures=False),
        "map with pictures": page(pictures=True),
    }
    with tempfile.TemporaryDirectory() as folder, started(Path(folder) / "profile") as browser:
        for name, text in texts.items():
            path = Path(folder) / "page.html"
            path.write_text(text, encoding="utf-8")
            browser.open(path)
            time.sleep(3)
            found = frame_times(browser)
            median, most = found[len(found) // 2], found[int(0.95 * len(found))]
            size = path.stat().st_size / 1e6
            print(f"{name}: {size:.2f} MB, median {median:.1f} ms, 95 % within {most:.1f} ms, {len(found)} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
