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


def luminance(colour: str) -> float:
    """Relative, as WCAG 2 has it, of "rgb(r, g, b)"."""
    values = [int(value) / 255 for value in colour.split("(")[1].rstrip(")").split(",")[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink: float, paper: float) -> float:
    """Of two luminances, as WCAG 2 has it."""
    return (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)


PAINTED = """
const parts = (colour) => {
  const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
  return [[red, green, blue], alpha];
};
const over = ([ink, alpha], paper) => paper.map((under, n) => Math.round(alpha * ink[n] + (1 - alpha) * under));
return [...document.querySelectorAll(arguments[0])].filter((one) => one.getClientRects().length).map((one) => {
  const around = [];
  for (let element = one; element; element = element.parentElement) around.unshift(getComputedStyle(element));
  const paper = around.reduce((under, style) => over(parts(style.backgroundColor), under), [255, 255, 255]);
  const [ink, alpha] = parts(getComputedStyle(one).color);
  const opacity = around.reduce((all, style) => all * style.opacity, alpha);
  return [over([ink, opacity], paper), paper].map((colour) => `rgb(${colour.join(", ")})`);
});"""


def contrasts(browser: Any, selector: str) -> list[float]:
    """The contrasts of the texts that match, with what is painted below them."""
    painted = browser.execute_script(PAINTED, selector)
    return [contrast(luminance(ink), luminance(paper)) for ink, paper in painted]


def asked_for(browser: Any) -> set[str]:
    """The addresses that pages asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    addresses = {one["request"]["url"] for one in requests if one["documentURL"].startswith(("file:", "http:"))}
    return {address for address in addresses if not address.startswith("data:")}
