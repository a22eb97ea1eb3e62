"""A real Chromium without a window: what a page draws, what clicks do, and what it asks for."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage"),
)


def missing() -> str | None:
    """Why no browser can be started; None if one can."""
    if os.environ.get("P3DFEAT_TEST_BROWSER") == "none":
        return "P3DFEAT_TEST_BROWSER is none"
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"no {program} is installed: apt-get install chromium chromium-driver"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    return None


needs_browser = pytest.mark.skipif(missing() is not None, reason=missing() or "")


class Browser:
    """One window. Positions are in pixels of the page."""

    def __init__(self, driver: Any):
        self.driver = driver

    def open(self, page: Path, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.cdp("Emulation.setDeviceMetricsOverride", size)
        for log in ("performance", "browser"):  # of the page before
            self.driver.get_log(log)
        self.driver.get(page.as_uri())

    def cdp(self, command: str, values: dict[str, Any]) -> Any:
        return self.driver.execute_cdp_cmd(command, values)

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def settled(self) -> None:
        """Return when the page has drawn what it was asked to."""
        two_frames = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(1)))"
        self.driver.execute_async_script(two_frames)

    def pixel(self, x: float, y: float) -> list[int]:
        """Red, green and blue of the map, at a place of the page."""
        self.settled()
        script = "return [...points.getContext('2d').getImageData(arguments[0], arguments[1], 1, 1).data].slice(0, 3)"
        return list(self.run(script, round(x), round(y)))

    def mouse(self, kind: str, x: float, y: float, *, button: str = "left", **more: Any) -> None:
        held = 1 if kind == "mousePressed" or more.pop("drags", False) else 0
        clicks = 0 if kind == "mouseMoved" else 1
        event = {"type": kind, "x": x, "y": y, "button": button, "buttons": held, "clickCount": clicks, **more}
        self.cdp("Input.dispatchMouseEvent", event)

    def click(self, x: float, y: float) -> None:
        self.mouse("mouseMoved", x, y, button="none")
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)
        self.settled()

    def text(self, id: str) -> str:
        return str(self.run("const e = document.getElementById(arguments[0]); return e.hidden ? '' : e.innerText", id))

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened, those in the page itself included."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
        # A browser that has just started may still be loading a page of its own.
        own = [request for request in sent if not str(request.get("documentURL")).startswith("chrome")]
        return [str(request["request"]["url"]) for request in own]

    def complaints(self) -> list[str]:
        """Errors of scripts, and what the page's policy blocked."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """profile: a new folder for the browser's own files."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
