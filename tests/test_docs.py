"""`make docs`: a page for every module, without warnings, and docstrings that come out as they were meant."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dabs_rq import registry
from tests.page_commands import made_by

# What Markdown makes. Any other is a <word> that a docstring did not put into backticks, and which nobody would see.
KNOWN = {"a", "code", "div", "em", "h1", "h2", "h3", "h4", "li", "ol", "p", "pre", "span", "strong", "ul"}


class Docstrings(HTMLParser):
    """The tags inside of the docstrings of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.tags = 0, set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.depth:
            self.tags.add(tag)
            self.depth += 1
        elif tag == "div" and "docstring" in (dict(attrs).get("class") or ""):
            self.depth = 1

    def handle_endtag(self, tag: str) -> None:
        self.depth -= self.depth > 0


@pytest.mark.slow
def test_the_pages_of_the_api(tmp_path: Path) -> None:
    words = made_by("docs")
    words[words.index("build/docs")] = str(tmp_path)
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, cwd=registry.PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    for file in registry.PACKAGE.rglob("*.py"):
        name = file.parent if file.name == "__init__.py" else file.with_suffix("")
        page = tmp_path / name.relative_to(registry.PACKAGE.parent).with_suffix(".html")
        if file.name == "__main__.py":
            continue
        read = Docstrings()
        read.feed(page.read_text(encoding="utf-8"))
        assert read.tags <= KNOWN, (file, read.tags - KNOWN)
    quantizer = (tmp_path / "dabs_rq" / "quantize.html").read_text(encoding="utf-8")
    assert "Quantize each channel of each example" in quantizer
