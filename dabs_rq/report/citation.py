"""What to cite, as BibTeX: the references of CITATION.cff."""

from __future__ import annotations

from typing import Any

from dabs_rq import registry

FILE = registry.PACKAGE / "report" / "CITATION.cff"


def bibtex() -> str:
    """Write an entry for each reference of CITATION.cff, and one for this software."""
    import yaml

    known = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return "\n".join([*map(_article, known["references"]), _software(known)])


def _article(reference: dict[str, Any]) -> str:
    authors = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in reference["authors"])
    key = f"{reference['authors'][0]['family-names'].lower()}{reference['year']}"
    fields = {
        "title": f"{{{reference['title']}}}",
        "author": authors,
        "year": reference["year"],
        "journal": reference["journal"],
        "url": reference["url"],
    }
    return _entry("article", key, fields)


def _software(known: dict[str, Any]) -> str:
    fields = {"title": f"{{{known['title']}}}".replace("_", r"\_"), "author": "{The dabs\\_rq authors}"}
    return _entry("misc", "dabs_rq", fields)


def _entry(kind: str, key: str, fields: dict[str, Any]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])
