"""Runs the blocks of a page that are marked `run`, in order, and writes down what each printed and drew.

    python docs/tutorial.py docs/quantizer.md shown.json

Python blocks share their names. A figure is drawn as in the report; its label is its caption and its text alternative.
In sh blocks, `make` uses this interpreter. Everything runs in a folder that is deleted afterwards.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|sh) run\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
LENT = ("examples", "results")  # folders of the repository that blocks read


def run(page: Path, folder: Path) -> list[dict[str, Any]]:
    """Run the blocks of a page in `folder`. Returns of each block what it printed, `text`, and its `pictures`: caption,
    inline SVG and width in points. Raises what a block raises."""
    for name in LENT:
        (folder / name).symlink_to(ROOT / name)
    names: dict[str, Any] = {"__name__": "__main__"}
    text = page.read_text(encoding="utf-8")
    shown = []
    with contextlib.chdir(folder), _drawing():
        for block in BLOCK.finditer(text):
            language, code = block.groups()
            if language == "sh":
                shown.append({"text": _shell(code), "pictures": []})
                continue
            line = text.count("\n", 0, block.start(2))
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * line + code, str(page), "exec"), names)
            shown.append({"text": printed.getvalue(), "pictures": list(_pictures(f"{page.stem}-{len(shown)}"))})
    return shown


@contextlib.contextmanager
def _drawing():
    """Draw without a screen, in the report's style."""
    import matplotlib
    from matplotlib import pyplot

    from dabs_rq.report import figure

    matplotlib.use("agg")
    with figure.style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
        try:
            yield
        finally:
            pyplot.close("all")


def _pictures(name: str):
    """Save and close the figures that are open."""
    from matplotlib import pyplot

    from dabs_rq.report import figure

    for number in pyplot.get_fignums():
        drawn = pyplot.figure(number)
        caption = str(drawn.get_label())
        if not caption:
            raise ValueError(f"{name}: a figure has no label; give it one: plt.figure('what it shows')")
        with tempfile.TemporaryDirectory() as folder:
            plot = figure.save(drawn, Path(folder), f"{name}-{number}", caption)
        yield {"caption": caption, "svg": " ".join(plot.svg.split()), "points": 72 * drawn.get_figwidth()}
        pyplot.close(drawn)


def _shell(code: str) -> str:
    """Run commands. `make` takes this interpreter and sets nothing up."""
    words = ("make", "-s", "-f", str(ROOT / "Makefile"), "-o", ".venv/.set-up", f"BIN={Path(sys.executable).parent}")
    script = f'make() {{ command {shlex.join(words)} "$@"; }}\n{code}'
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{code}ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as place:
        shown = run(Path(sys.argv[1]).resolve(), Path(place))
    Path(sys.argv[2]).write_text(json.dumps(shown), encoding="utf-8")
