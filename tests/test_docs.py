"""The documentation: a site that builds without warnings, loads nothing from elsewhere and has no broken link, a
reference that lists every option, and code on pages that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dabs_rq import registry
from dabs_rq.run import options
from dabs_rq.typed import field_names
from tests.page_commands import made_by

ROOT = registry.PACKAGE.parent
LOADED = {"src": ("script", "img", "iframe", "source", "video"), "href": ("link",), "data": ("object",)}
RUN = ("quantizer", "results")  # pages whose Python runs


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


@pytest.mark.parametrize("page", RUN)
def test_the_code_of_a_page_runs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), names)
