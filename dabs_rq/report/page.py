"""Renders the page from templates. The page is one file and never loads anything from an address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dabs_rq.report.cells import Cells, Details
from dabs_rq.report.figure import Plot
from dabs_rq.table.contents import DASH
from dabs_rq.table.layout import MEANINGS, Layout

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@dataclass(frozen=True)
class Figure:
    """A figure of a domain. heading: above it; by default the domain's title."""

    domain: str
    plot: Plot
    caption: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Copy:
    """A text that the page offers to copy and to save. title: of the text. name: of the file."""

    title: str
    name: str
    text: str


@dataclass
class Section:
    """A section of figures. `texts`: how to read them. `warnings`: about what they show. `missing`: a message for each
    missing figure. `links`: title and address, relative to the page, of pages that show more."""

    anchor: str
    title: str
    texts: list[str]
    figures: list[Figure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)


def render(
    title: str,
    warning: str,
    facts: Sequence[tuple[str, str]],
    titles: Mapping[str, str],
    layout: Layout,
    page_cells: Cells,
    sections: Sequence[Section],
    copies: Sequence[Copy],
    beside: Sequence[tuple[str, Sequence[str]]],
    reference: str,
    problems: Sequence[str],
    folder: str,
) -> str:
    """Render the page. `titles`: name of each shown domain -> its title. `copies`: the table in other formats, and what
    to cite. `beside`: of each method, its title and the kinds of hidden columns beside its own. `reference`: the title
    of the method that differences are from. `folder`: of figures, relative to the page."""
    links = [("table", "Table"), *((section.anchor, section.title) for section in sections)]
    links += [("missing", "Missing and failed"), ("notes", "Notes")]
    return fill(
        "report.html",
        ("table.js", "report.js"),
        title=title,
        warning=warning,
        facts=facts,
        links=links,
        domains=list(titles.items()),
        titles=titles,
        blocks=layout.blocks,
        rows=page_cells.rows,
        averages=page_cells.averages,
        meanings=MEANINGS,
        dash=DASH,
        sections=sections,
        copies=copies,
        texts={copy.title: {"name": copy.name, "text": copy.text} for copy in copies},
        beside=beside,
        reference=reference,
        folder=folder,
        problems=problems,
        notes=layout.notes,
        records=_deduplicated(page_cells.details),
    )


def fill(template: str, scripts: Sequence[str] = (), **values: object) -> str:
    """Fill a template of a page, with the style of all pages and the scripts in these files."""
    from markupsafe import Markup

    templates = environment()
    texts = [Markup(templates.get_template(name).render()) for name in ("report.css", *scripts)]
    script = Markup("\n").join(texts[1:])
    return templates.get_template(template).render(style=texts[0], script=script, **values)


def environment() -> Environment:
    """Return the templates of this package. They escape what they are given, and refuse what they are not."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("dabs_rq.report"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    templates.filters["code"] = _with_code
    return templates


def _with_code(text: str) -> Markup:
    """Escape a text, and show what stands between backquotes as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _deduplicated(details: Sequence[Details]) -> dict[str, Any]:
    """Replace every text by its index in `strings`, since records share most of their texts."""
    indices: dict[str, int] = {}

    def index(text: str) -> int:
        return indices.setdefault(text, len(indices))

    cells = [
        {
            "title": index(cell.title),
            "seeds": cell.seeds,
            "facts": [[index(label), [index(value) for value in values]] for label, values in cell.facts],
        }
        for cell in details
    ]
    return {"strings": list(indices), "cells": cells}
