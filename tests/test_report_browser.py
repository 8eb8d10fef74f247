"""The report in Chromium: sorted, filtered and opened by keyboard, in the dark, on a phone, without any request.

Screenshots are kept in .pytest_cache/d/report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from tests import report_run
from tests.browser import asked_for, contrast, keep, look, luminance, scroll_tables, sideways

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(miniature: Callable[[str], Path]) -> Path:
    return report_run.written(miniature).page


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Any]:
    """The page as it is when one comes to it, on a desk and in daylight."""
    look(browser, 1280, "light")
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def press(browser: Any, *keys: str) -> None:
    """Keys for whatever has the focus."""
    browser.switch_to.active_element.send_keys(*keys)


def focus(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).focus({focusVisible: true})", selector)


def column(browser: Any, number: int) -> list[str]:
    """What is seen of a column of the table, from top to bottom."""
    return browser.execute_script(
        "return [...document.querySelector('.results').tBodies[0].rows].filter((row) => row.offsetParent)"
        ".map((row) => row.cells[arguments[0]].dataset.value ?? row.cells[arguments[0]].firstChild?.data ?? '')",
        number,
    )


def test_it_loads_and_asks_for_nothing_else(opened: Any, page: Path, request: pytest.FixtureRequest) -> None:
    keep(opened, request, "desk")
    assert asked_for(opened) == {page.as_uri()}
    broken = "return [...document.querySelectorAll('svg image')].filter((one) => !one.getBBox().width).length"
    assert opened.execute_script("return document.querySelectorAll('svg image').length") > 0
    assert opened.execute_script(broken) == 0


def test_a_header_sorts_by_click_and_by_keyboard(opened: Any) -> None:
    before = column(opened, 0)
    header = opened.find_element("css selector", "thead th:nth-child(4)")
    header.find_element("css selector", "button").click()
    numbers = [float(value) for value in column(opened, 3) if value]
    assert header.get_attribute("aria-sort") == "descending" and numbers == sorted(numbers, reverse=True)
    assert len(numbers) > 3 and column(opened, 3)[len(numbers) :] == [""] * (12 - len(numbers))
    press(opened, "\ue007")  # Enter
    numbers = [float(value) for value in column(opened, 3) if value]
    assert header.get_attribute("aria-sort") == "ascending" and numbers == sorted(numbers)
    assert column(opened, 3)[len(numbers) :] == [""] * (12 - len(numbers))
    focus(opened, "thead th:first-child button")
    press(opened, " ")
    assert column(opened, 0) == sorted(before, key=str.lower)
    assert opened.execute_script("return document.querySelectorAll('[aria-sort]:not([aria-sort=none])').length") == 1
    press(opened, " ", " ")
    assert column(opened, 0) == before


def test_columns_of_intervals_and_differences_are_switched_on(opened: Any) -> None:
    def seen(kind: str) -> int:
        return len([one for one in opened.find_elements("css selector", f"td.{kind}") if one.is_displayed()])

    assert seen("spread") == seen("difference") == 0
    focus(opened, "[name=column][value=spread]")
    press(opened, " ")
    assert seen("spread") > 3 * 12 and seen("difference") == 0
    focus(opened, "[name=column][value=difference]")
    press(opened, " ")
    header = opened.find_element("css selector", "th.difference")
    header.find_element("css selector", "button").click()
    numbers = [float(value) for value in column(opened, 7) if value]
    assert header.get_attribute("aria-sort") == "descending" and len(numbers) > 2
    assert numbers == sorted(numbers, reverse=True)
    for box in opened.find_elements("css selector", "[name=column]"):
        box.click()
    assert seen("spread") == seen("difference") == 0


def test_the_table_is_copied_and_saved(opened: Any, page: Path, tmp_path: Path) -> None:
    opened.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    opened.find_element("css selector", "[data-copy=LaTeX]").click()
    said = opened.find_element("css selector", ".said")
    WebDriverWait(opened, 10).until(lambda _: said.text)
    assert said.text == "LaTeX copied."
    copied = opened.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == (page.parent / "table.tex").read_text()
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    opened.find_element("css selector", "[data-save=CSV]").click()
    saved, expected = tmp_path / "table.csv", (page.parent / "table.csv").read_bytes()
    WebDriverWait(opened, 10).until(lambda _: saved.exists() and saved.read_bytes() == expected)


def test_the_table_is_copied_and_saved_by_keyboard(opened: Any, page: Path, tmp_path: Path) -> None:
    opened.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    focus(opened, "[name=column][value=difference]")
    said = opened.find_element("css selector", ".said")
    for title, name in (("CSV", "table.csv"), ("LaTeX", "table.tex"), ("BibTeX", "references.bib")):
        press(opened, "\ue004")  # Tab
        assert opened.switch_to.active_element.text == f"Copy {title}"
        press(opened, "\ue007")  # Enter
        WebDriverWait(opened, 10).until(lambda _, title=title: said.text == f"{title} copied.")
        press(opened, "\ue004")
        assert opened.switch_to.active_element.accessible_name == f"Save {name}"
        press(opened, " ")
        saved = tmp_path / name
        copied = opened.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        WebDriverWait(opened, 10).until(lambda _, file=saved: file.exists())
        WebDriverWait(opened, 10).until(lambda _, file=saved, text=copied: file.read_text() == text)


def test_a_domain_is_chosen_by_keyboard(opened: Any) -> None:
    focus(opened, "input[name=domain]")
    press(opened, "\ue014", "\ue014")  # right: English Text, then Sensor
    assert column(opened, 1) == ["Sensor"]
    assert opened.find_element("css selector", "[role=status]").text == "1 of 12 rows."
    figures = [one for one in opened.find_elements("css selector", "figure") if one.is_displayed()]
    assert [one.get_attribute("data-domain") for one in figures] == ["sensor"] * 3
    press(opened, "\ue012", "\ue012")  # left
    assert len(column(opened, 1)) == 12


def test_a_record_is_opened_and_closed_by_keyboard(opened: Any, request: pytest.FixtureRequest) -> None:
    button = opened.find_element("css selector", "tr[data-domain=sensor] .open")
    dialog = opened.find_element("css selector", "dialog")
    assert not dialog.is_displayed()
    focus(opened, "tr[data-domain=sensor] .open")
    press(opened, "\ue007")
    assert dialog.is_displayed() and opened.find_element("id", "record-title").text == "PAMAP2, None"
    assert "Checkpoint" in dialog.text and "pamap2.json" in dialog.text
    assert opened.switch_to.active_element.text == "Close"
    opened.save_screenshot(str(request.config.cache.mkdir("report") / "record.png"))  # type: ignore[union-attr]
    press(opened, "\ue00c")  # Escape
    assert not dialog.is_displayed() and opened.switch_to.active_element == button
    button.click()
    press(opened, "\ue007")  # Close has the focus
    assert not dialog.is_displayed()


def test_the_focus_is_seen(opened: Any) -> None:
    press(opened, "\ue004")  # Tab
    assert opened.switch_to.active_element.text == "Skip to the table"
    for selector in ("thead button", ".open", ".scroll"):
        focus(opened, selector)
        outline = opened.switch_to.active_element.value_of_css_property("outline-style")
        assert outline == "solid", selector


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_by_day_and_by_night(opened: Any, scheme: str, request: pytest.FixtureRequest) -> None:
    look(opened, 1280, scheme)
    style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    papers = [luminance(opened.execute_script(style, selector, "backgroundColor")) for selector in ("body", "figure")]
    assert all((paper < 0.2) == (scheme == "dark") for paper in papers)
    for selector, what, least in (
        ("body", "color", 7),
        (".lead", "color", 4.5),
        ("nav a", "color", 4.5),
        ("figure svg text", "fill", 7),
        ("figcaption span", "color", 4.5),
        ("#scores g[style*='series-0'], #scores [style*='series-0']", "stroke", 3),
        ("#scores [style*='series-1']", "stroke", 3),
        ("#scores [style*='series-2']", "stroke", 3),
    ):
        ink = luminance(opened.execute_script(style, selector, what))
        for paper in papers:
            assert contrast(ink, paper) >= least, (selector, scheme)
    keep(opened, request, scheme)


def test_a_wide_table_scrolls_in_its_own_box_beside_its_first_column(
    opened: Any, request: pytest.FixtureRequest
) -> None:
    look(opened, 390, "light")
    for box in opened.find_elements("css selector", "[name=column]"):
        box.click()
    ((moved, lefts),) = scroll_tables(opened)
    assert moved > 200 and lefts == {0} and sideways(opened) == 0
    opened.execute_script("document.getElementById('table').scrollIntoView()")
    opened.save_screenshot(str(request.config.cache.mkdir("report") / "scrolled.png"))  # type: ignore[union-attr]
    for box in opened.find_elements("css selector", "[name=column]"):
        box.click()


def test_it_fits_a_phone(opened: Any, request: pytest.FixtureRequest) -> None:
    look(opened, 360, "light")
    assert opened.execute_script("return document.documentElement.scrollWidth <= 360 && innerWidth === 360")
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('figure svg text')].map((one) => one.getBoundingClientRect().height)"
    )
    assert min(size for size in sizes if size) > 8
    opened.find_element("css selector", ".open").click()
    assert opened.find_element("css selector", "dialog").rect["width"] <= 360
    assert opened.execute_script("return document.documentElement.scrollWidth <= 360")
    press(opened, "\ue00c")
    keep(opened, request, "phone")
