"""Which files of results our commands wrote. Only those are replaced: others may be the user's, under the same name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dabs_rq.errors import RecordError

READ = 1 << 16  # bytes at each end of a file in which its form shows
CREATOR = "dabs_rq"  # in the metadata of figures
# What each kind of our files holds, and hardly any other does. Keep a form when a writer changes: results of earlier
# versions lie in folders.
_FORMS = {
    ".csv": rb"\A(domain,task,row,metric|what,domain,rows|task,method,against,difference)[,\n]",
    ".tex": rb"\A% Needs \\usepackage\{booktabs\}\.\n\\begingroup\\footnotesize",
    ".md": rb"\A\| Dataset +\| Domain +\| Metric |\n- Effective rank and top share: of the features of up to ",
    ".html": rb'tabindex="0">\n<table>\n<caption id="caption">|--ink: #1f2329; --soft: #59626d;',
    ".svg": rb'<g id="figure_1">.*#(8d959e|1f2329)',
    ".pdf": rb"/Creator \(" + CREATOR.encode() + rb"\)",
    ".json": rb'\A\{(\}|\s*"[\w-]+\.(pdf|svg)": "[0-9a-f]{16}")',  # the list of a report's figures
}


def is_ours(file: Path) -> bool:
    """Return whether one of our commands wrote a file of results, by its content; an empty file counts as ours.

    A PDF is ours too if the SVG beside it is: figures of earlier versions have no mark.
    """
    if not file.is_file():  # a folder, a pipe, or a link to nothing
        return False
    with file.open("rb") as opened:
        content = opened.read(READ)
        if opened.seek(0, 2) > READ:
            opened.seek(max(READ, opened.tell() - READ))
            content += opened.read()
    if not content or re.search(_FORMS[file.suffix], content, re.DOTALL):
        return True
    drawn = file.with_suffix(".svg")
    return file.suffix == ".pdf" and drawn.is_file() and is_ours(drawn)


def check_replaceable(files: Iterable[Path]) -> None:
    """Raise RecordError for a file that is there and that none of our commands wrote."""
    for file in files:
        if (file.exists() or file.is_symlink()) and not is_ours(file):
            raise RecordError(
                f"{file} is there already, and its content is not what dabs_rq writes; it stays as it is. Give another "
                "folder: out=. What is computed stays, and is not computed again."
            )
