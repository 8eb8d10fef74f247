"""The page: templates filled with what the other modules found. One file, no address in it is ever loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dabs_rq.report.cells import Cells, Opened
from dabs_rq.report.figure import Drawn
from dabs_rq.table.contents import DASH
from dabs_rq.table.layout import DIFFERS, DOUBTFUL, Layout

MEANINGS = {DOUBTFUL: "not clearly above a constant answer", DIFFERS: "differs significantly, see the notes"}


@dataclass(frozen=True)
class Figure:
    domain: str
    drawn: Drawn
    about: str = ""


@dataclass
class Part:
    """A section of figures. `texts`: what has to be known to read them. `missing`: which are not there, and why."""

    anchor: str
    title: str
    texts: list[str]
    figures: list[Figure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def render(
    title: str,
    warning: str,
    facts: Sequence[tuple[str, str]],
    titles: Mapping[str, str],
    shown: Layout,
    found: Cells,
    parts: Sequence[Part],
    problems: Sequence[str],
    folder: str,
) -> str:
    """`titles`: name of each domain that is shown -> its title. `folder`: of the figures, relative to the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=PackageLoader("dabs_rq.report"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    texts = {
        name: Markup(templates.get_template(f"report.{kind}").render())
        for name, kind in (("style", "css"), ("script", "js"))
    }
    sections = [("table", "Table"), *((part.anchor, part.title) for part in parts)]
    return templates.get_template("report.html").render(
        **texts,
        title=title,
        warning=warning,
        facts=facts,
        sections=[*sections, ("missing", "Missing and failed"), ("notes", "Notes")],
        domains=list(titles.items()),
        titles=titles,
        blocks=shown.blocks,
        rows=found.rows,
        averages=found.averages,
        meanings=MEANINGS,
        dash=DASH,
        figures=parts,
        folder=folder,
        problems=problems,
        notes=shown.notes,
        records=_pooled(found.opened),
    )


def _pooled(opened: Sequence[Opened]) -> dict[str, Any]:
    """Opened cells with every text as its place in `strings`: records share most of them."""
    places: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(text, len(places))

    cells = [
        {
            "title": place(one.title),
            "seeds": one.seeds,
            "facts": [[place(label), [place(value) for value in values]] for label, values in one.facts],
        }
        for one in opened
    ]
    return {"strings": list(places), "cells": cells}
