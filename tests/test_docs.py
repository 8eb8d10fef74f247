"""The documentation: a site that builds without warnings, loads nothing from elsewhere and has no broken link, a
reference that lists every option, and code on pages that runs."""

from __future__ import annotations

import functools
import html
import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dabs_rq import registry
from dabs_rq.run import options
from dabs_rq.typed import field_names
from tests.browser import asked_for, contrasts, keep, look
from tests.page_commands import made_by

ROOT = registry.PACKAGE.parent
LOADED = {"src": ("script", "img", "iframe", "source", "video"), "href": ("link",), "data": ("object",)}
TUTORIALS = ("quantizer", "results", "score-your-encoder", "add-a-task", "add-a-domain", "add-a-method")


class Links(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.targets, self.loaded, self.anchors = list[str](), list[str](), set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in LOADED and value and tag in LOADED[name]:
                self.loaded.append(value)
            if name in ("href", "src") and value:
                self.targets.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = made_by("docs")
    words[words.index("build/docs")] = str(folder)
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> Iterator[tuple[Path, Links]]:
    for file in sorted(site.rglob("*.html")):
        read = Links()
        read.feed(file.read_text(encoding="utf-8"))
        yield file, read


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere_and_has_no_broken_link(site: Path) -> None:
    known = {file.resolve(): read.anchors for file, read in pages(site)}
    assert len(known) > 15
    for file, read in pages(site):
        if file.name == "404.html":  # its links are absolute: it is shown at any address
            continue
        assert not [one for one in read.loaded if re.match("(https?:)?//", one)], file
        for target in read.targets:
            path, _, anchor = target.partition("#")
            if re.match("[a-z]+:", target) or target == ".":
                continue
            place = (file.parent / path).resolve() if path else file.resolve()
            assert place.exists(), f"{file.relative_to(site)} links to {target}"
            if anchor and place in known:
                assert anchor in known[place], f"{file.relative_to(site)} links to {target}"


@pytest.mark.slow
def test_the_reference_has_every_option_task_and_public_name(site: Path) -> None:
    text = (site / "reference" / "options.html").read_text(encoding="utf-8")
    names = [*field_names(options.Names)]
    names += [f"{group}.{name}" for group, kind in options.GROUPS.items() for name in field_names(kind)]
    names += [f"method.{one}" for name in registry.method_names() for one in field_names(registry.method(name).options)]
    missing = [name for name in names if f"<code>{name}</code>" not in text]
    assert not missing
    tasks = (site / "reference" / "tasks.html").read_text(encoding="utf-8")
    assert all(f"<code>{task.name}</code>" in tasks for domain in registry.domains() for task in domain.tasks)
    assert "Quantize each channel of each example" in (site / "reference" / "api.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_tutorials_show_what_their_code_prints_and_draws(site: Path) -> None:
    """The build runs their code, and fails if a block does."""
    for name in TUTORIALS:
        source = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        drawn = re.findall(r'^caption = "(.+)"$', source, re.MULTILINE)
        text = html.unescape((site / f"{name}.html").read_text(encoding="utf-8"))
        assert drawn and all(f"<figcaption>{caption}</figcaption>" in text for caption in drawn), name
        assert text.count('role="img"') == len(drawn) and 'class="printed' in text.replace("language-text ", ""), name
    assert "| Digits    | Digits   | Accuracy |" in (site / "add-a-method.html").read_text(encoding="utf-8")


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the site is served, as on the web: a browser lets no page from a folder search."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.slow
def test_every_page_opens_without_errors_and_fits_a_phone(
    site: Path, address: str, browser: Any, request: pytest.FixtureRequest
) -> None:
    names = [file.relative_to(site).as_posix() for file, _ in pages(site)]
    asked_for(browser)
    for name in names:
        look(browser, 360, "light")
        browser.get(address + name)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360, name
        errors = [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]
        assert not errors, name
    assert {one for one in asked_for(browser) if not one.startswith((address, "blob:"))} == set()
    for name in TUTORIALS:
        for width, scheme in ((1280, "light"), (1280, "dark"), (360, "light")):
            look(browser, width, scheme)
            browser.get(f"{address}{name}.html")
            browser.execute_script("localStorage.clear()")  # the site remembers the scheme of the first visit
            browser.refresh()
            painted = browser.execute_script("return document.body.dataset.mdColorScheme")
            assert painted == {"light": "default", "dark": "slate"}[scheme]
            figures = browser.find_elements("css selector", "figure svg")
            assert figures and all(one.rect["width"] > 250 for one in figures)
            keep(browser, request, f"docs-{name}-{'phone' if width < 500 else scheme}")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_is_legible_and_its_parts_have_names(scheme: str, address: str, browser: Any) -> None:
    look(browser, 1280, scheme)
    browser.get(f"{address}add-a-domain.html")
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    assert browser.execute_script("return document.readyState") == "complete"
    for selector in ("p", "p a", ".md-tabs__link", "td a code", ".highlight code", ".highlight span", ".md-copyright"):
        found = contrasts(browser, selector)
        assert found and min(found) >= 4.5, selector
    labels = "return [...document.querySelectorAll('.task-list-item input')].map((box) => box.labels[0]?.innerText)"
    source = (ROOT / "docs" / "add-a-domain.md").read_text(encoding="utf-8")
    texts = browser.execute_script(labels)
    assert len(texts) == source.count("\n- [ ] ") > 3 and all(len(text) > 10 for text in texts)
    names = (
        "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())"
        ".map((one) => one.ariaLabel)"
    )
    assert browser.execute_script(names, "[role=dialog]") == ["Search"]
    landmarks = browser.execute_script(names, "nav:not([role=none], [aria-labelledby])")
    assert len(landmarks) > 3 and all(landmarks) and len(set(landmarks)) == len(landmarks)


@pytest.fixture
def tutorial() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorial", ROOT / "docs" / "tutorial.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_blocks_share_names_and_only_marked_ones_run(tutorial: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python run\nimport matplotlib.pyplot as plt\nvalue = 3\nplt.plot([1, value])\nplt.show()\n"
        "plt.gcf().set_label('A <line>')\n```\n\n```python\nraise ValueError\n```\n"
        "```sh run\nmake -n domains DOMAIN=digits\ncat results/published.csv | head -1\n```\n"
        "```python run\nprint(value + 1)\n```\n"
    )
    (tmp_path / "place").mkdir()
    first, second, third = tutorial.run(page, tmp_path / "place")
    (picture,) = first["pictures"]
    assert picture["caption"] == "A <line>" and picture["svg"].startswith("<svg") and "\n" not in picture["svg"]
    assert f"{Path(sys.executable).parent}/python -m dabs_rq domains" in second["text"] and "task" in second["text"]
    assert third == {"text": "4\n", "pictures": []}


@pytest.mark.parametrize(
    ("block", "error", "told"),
    [
        ("```python run\n1 / 0\n```\n", ZeroDivisionError, "division"),
        ("```sh run\necho half\nfalse\n```\n", RuntimeError, "half"),
        ("```python run\nimport matplotlib.pyplot as plt\nplt.plot([1])\n```\n", ValueError, "no label"),
    ],
)
def test_a_block_that_fails_stops_the_page(
    block: str, error: type[Exception], told: str, tutorial: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "page.md").write_text(block)
    (tmp_path / "place").mkdir()
    with pytest.raises(error, match=told):
        tutorial.run(tmp_path / "page.md", tmp_path / "place")


def test_the_code_for_pandas_runs(tutorial: ModuleType, tmp_path: Path) -> None:
    table, *drawn = tutorial.run(ROOT / "docs" / "results.md", tmp_path)
    assert "RQ on inputs" in table["text"] and [len(one["pictures"]) for one in drawn] == [1, 1]
