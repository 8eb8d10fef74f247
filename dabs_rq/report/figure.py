"""Figures in one style, saved as PDF and SVG, and as inline SVG that uses the colours of its page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from dabs_rq import registry
from dabs_rq.errors import MissingPackageError, needing_extra
from dabs_rq.files import atomic_path, digest, write_text
from dabs_rq.table import ours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIST = ".figures.json"  # beside the folder of figures: those of its page, with the hashes of their contents
WIDTH = 4.4  # inches: legible on a phone, and a column of a paper
INK, FAINT = "#1f2329", "#8d959e"
# Okabe and Ito's colours, which colour-blind readers can distinguish. Markers distinguish methods without colour.
COLOURS = ("#6f7782", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b")
MARKERS = "osD^vPXp"
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
    "svg.hashsalt": "dabs_rq",  # makes files reproducible
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Plot:
    """A saved figure. `name`: of its files. `svg`: inline SVG for a page that defines the variables `--ink`, `--faint`
    and `--series-<n>`."""

    name: str
    svg: str


@contextmanager
def style() -> Iterator[None]:
    """Apply the style within this block. Raises MissingPackageError if matplotlib is missing."""
    with needing_extra("a page with figures", "report"):
        import matplotlib
    with matplotlib.rc_context(_STYLE):
        yield


def unavailable() -> str:
    """Say what a page with figures needs; "" if it is there."""
    try:
        with style():
            return ""
    except MissingPackageError as error:
        return str(error)


def method_style(method: str) -> tuple[str, str]:
    """Return the colour and the marker of a method. They do not depend on which other methods are shown; those of a
    network follow from its name."""
    known = registry.method_names()
    position = known.index(method) if method in known else len(known) + int(digest(method), 16)
    return COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]


def new(height: float) -> Figure:
    """Create an empty figure; `height` is in inches. It does not use pyplot, which would keep it in global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def legend_columns(labels: Sequence[str]) -> int:
    """Return how many columns of a legend fit above a figure: at most four. Entries fill one column after another."""
    for columns in (4, 3, 2):
        lines = -(-len(labels) // columns)
        widths = [max(map(len, labels[start : start + lines])) for start in range(0, len(labels), lines)]
        if sum(widths) + 6 * len(widths) <= 60:  # in letters; 6 for a marker and the space beside it
            return columns
    return 1


def save(figure: Figure, folder: Path, name: str, alternative: str) -> Plot:
    """Write `<name>.pdf` and `<name>.svg`, unless they show the same already. `alternative`: the text alternative for
    screen readers.

    Raises RecordError if there is a file of these names that is not ours."""
    pdf, svg = (folder / f"{name}.{kind}" for kind in ("pdf", "svg"))
    ours.check_replaceable((pdf, svg))
    _lay_out(figure)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = stream.getvalue()
    known = listed(folder)
    if not (_is_listed(pdf, known) and _is_listed(svg, known) and svg.read_text(encoding="utf-8") == text):
        with atomic_path(pdf) as temporary:  # most of the time of a figure, which embeds its fonts
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Creator": ours.CREATOR})
        write_text(svg, text)
    return Plot(name, _inline(text, name, alternative))


def _lay_out(figure: Figure) -> None:
    """Place the parts of a figure for all formats as a PDF needs it."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    resolution = figure.dpi
    FigureCanvasPdf(figure)
    figure.draw_without_rendering()  # leaves the resolution of a PDF behind
    figure.set_layout_engine("none")
    figure.set_dpi(resolution)


def listed(folder: Path) -> dict[str, Any]:
    """Read which files of a folder of figures its page had shown, with the hashes of their contents."""
    try:
        names = json.loads((folder.parent / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return names if isinstance(names, dict) else {}


def _is_listed(file: Path, known: Mapping[str, Any]) -> bool:
    """Return whether a figure is as the page that wrote the list `known` had shown it."""
    return file.is_file() and known.get(file.name) == digest(file.read_bytes())


_SPACE, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def _inline(text: str, name: str, alternative: str) -> str:
    """Turn an SVG document into an element for a page: with unique ids, a text alternative and the page's colours, and
    without a fixed size."""
    root = ElementTree.fromstring(text)
    referenced = set(re.findall(r"#([\w-]+)", " ".join(_references(root))))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SPACE)
        identity = element.attrib.pop("id", None)
        if identity in referenced:
            element.set("id", f"{name}-{identity}")
        for key, value in list(element.attrib.items()):
            if key == _LINK:
                del element.attrib[key]
                element.set("href", re.sub("^#", f"#{name}-", value))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    width, height = (float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height"))
    root.attrib = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": alternative}
    svg = ElementTree.tostring(root, encoding="unicode")
    variables = {INK: "--ink", FAINT: "--faint"} | {colour: f"--series-{n}" for n, colour in enumerate(COLOURS)}
    for colour, variable in variables.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg


def _references(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        yield from (value for key, value in element.attrib.items() if key == _LINK or "url(#" in value)
