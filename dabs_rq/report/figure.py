"""Figures: one look for all, kept as PDF and SVG, and as SVG that takes its colours from the page it stands in."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from dabs_rq import registry
from dabs_rq.errors import OptionError
from dabs_rq.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 4.4  # inches: legible on a phone, and a column of a paper
INK, FAINT = "#1f2329", "#8d959e"
# Okabe and Ito's colours, which colour-blind readers can tell apart; markers tell methods apart without any.
COLOURS = ("#6f7782", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = "osD^vPX"
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.labelsize": "medium",
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": "medium",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 9,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "image.interpolation": "none",
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "dabs_rq",  # the same figure, the same file
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Drawn:
    """`name`: of the files. `svg`: for a page that has the variables `--ink`, `--faint` and `--series-<n>`."""

    name: str
    svg: str


@contextmanager
def style() -> Iterator[None]:
    """Raises OptionError where matplotlib is missing."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise OptionError(f"a report needs a package: pip install 'dabs_rq[report]' ({error})") from error
    with matplotlib.rc_context(_STYLE):
        yield


def look(method: str) -> tuple[str, str]:
    """Colour and marker of a method: the same whatever else is shown."""
    place = registry.method_names().index(method)
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def new(height: float) -> Figure:
    """An empty figure of this height in inches. Figures do not go through pyplot: nothing global holds them."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def keep(figure: Figure, folder: Path, name: str, alternative: str) -> Drawn:
    """Write `<name>.pdf` and `<name>.svg`. `alternative`: what is said to those who do not see the figure."""
    with atomic_path(folder / f"{name}.pdf") as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})
    figure.set_layout_engine("none")  # it is laid out now
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    write_text(folder / f"{name}.svg", text.getvalue())
    return Drawn(name, _inline(text.getvalue(), name, alternative))


_SPACE, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def _inline(text: str, name: str, alternative: str) -> str:
    """An SVG document as an element of a page: ids of its own, no size of its own, a name, colours of the page."""
    root = ElementTree.fromstring(text)
    used = set(re.findall(r"#([\w-]+)", " ".join(_references(root))))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SPACE)
        identity = element.attrib.pop("id", None)
        if identity in used:
            element.set("id", f"{name}-{identity}")
        for key, value in list(element.attrib.items()):
            if key == _LINK:
                del element.attrib[key]
                element.set("href", re.sub("^#", f"#{name}-", value))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    width, height = (float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height"))
    root.attrib = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": alternative}
    page = ElementTree.tostring(root, encoding="unicode")
    variables = {INK: "--ink", FAINT: "--faint"} | {one: f"--series-{n}" for n, one in enumerate(COLOURS)}
    for colour, variable in variables.items():
        page = page.replace(colour, f"var({variable})")
    return page


def _references(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        yield from (value for key, value in element.attrib.items() if key == _LINK or "url(#" in value)
