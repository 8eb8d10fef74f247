"""Chromium for tests of pages. Screenshots are kept in .pytest_cache/d/report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        reason = "Chromium is missing: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(str(programs[1])))
    yield driver
    driver.quit()


def look(browser: Any, width: int, scheme: str) -> None:
    """Set the width of the window in pixels, and whether it is "light" or "dark"."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def keep(browser: Any, request: pytest.FixtureRequest, name: str) -> None:
    """Keep a screenshot of the whole page."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    width = browser.execute_script("return innerWidth")
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    file = request.config.cache.mkdir("report") / f"{name}.png"  # type: ignore[union-attr]
    assert browser.save_screenshot(str(file)) and file.stat().st_size > 10_000


SCROLL_TABLES = """
return [...document.querySelectorAll('.scroll')].map((box) => {
  box.scrollLeft = box.scrollWidth;
  const start = box.getBoundingClientRect().left;
  const rows = [...box.querySelectorAll('tr')].filter((row) => row.offsetParent && row.cells.length > 1);
  return [box.scrollLeft, ...rows.map((row) => Math.round(row.cells[0].getBoundingClientRect().left - start))];
})"""


def scroll_tables(browser: Any) -> list[tuple[float, set[int]]]:
    """Scroll every table to its last column. Returns of each by how many pixels it moved, and where its first column
    is then: pixels from the left of its box."""
    return [(moved, set(lefts)) for moved, *lefts in browser.execute_script(SCROLL_TABLES)]


def sideways(browser: Any) -> int:
    """By how many pixels the page itself can be scrolled sideways."""
    return browser.execute_script("const page = document.documentElement; return page.scrollWidth - page.clientWidth")


def asked_for(browser: Any) -> set[str]:
    """The addresses that pages asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    addresses = {one["request"]["url"] for one in requests if one["documentURL"].startswith(("file:", "http:"))}
    return {address for address in addresses if not address.startswith("data:")}
