"""The pages of two compared runs and of an ablation in Chromium: by day and by night, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dabs_rq.cli import main
from dabs_rq.report import comparison
from dabs_rq.share.compare import compare
from tests import shared_run
from tests.browser import asked_for, keep, look, scroll_tables, sideways
from tests.test_pretrain import SMALL

pytestmark = pytest.mark.slow
PAGES = ("comparison", "ablation")


def worse(outputs: np.ndarray) -> np.ndarray:
    outputs[:20] = -outputs[:20]
    return outputs


@pytest.fixture(scope="module")
def pages(miniature: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> the page."""
    folder = tmp_path_factory.mktemp("pages")
    a = shared_run.computed(miniature)
    b = shared_run.copied(a, folder / "theirs" / "runs")
    for task, method in (("digits", "rq"), ("digits", "none"), ("sst2", "rq")):
        shared_run.rewritten(shared_run.file_of(b, task, method), worse, commit="f" * 40)
    words = ("domain=digits", "method=rq", "pretrain.steps=2", "transfer.max_examples=100", "seeds=0,1", *SMALL)
    places = (f"runs={folder / 'runs'}", f"out={folder / 'ablation'}", "suite.executor=in_process")
    assert main(["ablate", "--over", "method.bins=2,8", *words, *places]) == 0
    (ablation,) = (folder / "ablation").rglob("ablation.html")
    return {"comparison": comparison.write(compare(a, b), folder / "comparison"), "ablation": ablation}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_asks_for_nothing_else(
    name: str,
    width: int,
    scheme: str,
    pages: dict[str, Path],
    browser: Any,
    request: pytest.FixtureRequest,
) -> None:
    look(browser, width, scheme)
    asked_for(browser)
    browser.get(pages[name].as_uri())
    assert asked_for(browser) == {pages[name].as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert browser.execute_script(
        "return [...document.querySelectorAll('figure svg')].every((one) => one.getBoundingClientRect().width > 200)"
    )
    keep(browser, request, f"{name}-{'phone' if width < 500 else scheme}")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("name", PAGES)
def test_tables_scroll_in_their_own_boxes_beside_their_first_columns(
    name: str, pages: dict[str, Path], browser: Any
) -> None:
    look(browser, 390, "light")
    browser.get(pages[name].as_uri())
    tables = scroll_tables(browser)
    assert tables and max(moved for moved, _ in tables) > 50
    assert all(lefts == {0} for _, lefts in tables) and sideways(browser) == 0


def test_compared_cells_are_sorted_and_filtered(pages: dict[str, Path], browser: Any) -> None:
    look(browser, 1280, "light")
    browser.get(pages["comparison"].as_uri())

    def differences() -> list[float]:
        rows = browser.find_elements("css selector", ".results tbody tr")
        cells = [row.find_elements("css selector", "td")[5] for row in rows if row.is_displayed()]
        return [float(value) for cell in cells if (value := cell.get_attribute("data-value"))]

    before = differences()
    browser.find_element("css selector", ".results th:nth-child(7) button").click()
    assert differences() == sorted(before, reverse=True) and min(before) < max(before)
    browser.execute_script("document.querySelector('input[value=digits]').click()")
    assert len(differences()) == 2 and browser.find_element("css selector", ".count").text == "2 of 6 rows."
    shown = [one for one in browser.find_elements("css selector", "figure") if one.is_displayed()]
    assert [one.get_attribute("data-domain") for one in shown] == [None, "digits"]
