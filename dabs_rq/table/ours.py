"""Which files of results our commands wrote. Only those are replaced: others may be the user's, under the same name."""

from __future__ import annotations

import re
import zlib
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
    ".md": rb"\A\| Dataset +\| Domain +\| Metric |\n- Effective rank and top share: of the features of up to |"
    rb"\A# Two runs compared\n\n- A: |\A---\n.*\n---\n\n<!-- Written by dabs_rq",
    ".html": rb'tabindex="0">\n<table>\n<caption id="caption">|--ink: #1f2329; --soft: #59626d;',
    ".svg": rb'<g id="figure_1">.*#(8d959e|1f2329)',
    ".pdf": rb"/Creator \(" + CREATOR.encode() + rb"\)",
    # the list of a report's figures; results in the form of Every Eval Ever
    ".json": rb'\A\{(\}|\s*"[\w-]+\.(pdf|svg)": "[0-9a-f]{16}"|'
    rb'\s*"schema_version": "[\d.]+",\s*"evaluation_id": "dabs_rq)',
    ".yaml": rb"\A# Written by dabs_rq",
    # A bundle begins with its manifest; in a .gz it is packed.
    ".gz": rb'\Amanifest\.json\0.*?\{\s*"made_by": "dabs_rq ',
    ".zip": rb'\APK\x03\x04.{26}manifest\.json\{\s*"made_by": "dabs_rq ',
    # A checkpoint under DABS's names: a zip file of torch whose first part is a pickle of a dict with our name.
    ".ckpt": rb"\APK\x03\x04.{26,600}?\x80\x02\}q\x00\(X\x07\x00\x00\x00dabs_rqq",
}


def is_ours(file: Path, kind: str | None = None) -> bool:
    """Return whether one of our commands wrote a file of results, by its content; an empty file counts as ours.

    kind: the suffix that the file should have, by default the one that it has. A PDF is ours too if the SVG beside it
    is: figures of earlier versions have no mark.
    """
    kind = kind or file.suffix
    if not file.is_file():  # a folder, a pipe, or a link to nothing
        return False
    with file.open("rb") as opened:
        content = opened.read(READ)
        if opened.seek(0, 2) > READ:
            opened.seek(max(READ, opened.tell() - READ))
            content += opened.read()
    if not content:
        return True
    if kind == ".gz":
        content = _unpacked(content)
    if re.search(_FORMS[kind], content, re.DOTALL):
        return True
    drawn = file.with_suffix(".svg")
    return kind == ".pdf" and drawn.is_file() and is_ours(drawn)


def _unpacked(content: bytes) -> bytes:
    """Return at most `READ` bytes of what a gzip file begins with; none if it is not one."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content, READ)
    except zlib.error:
        return b""


def check_replaceable(files: Iterable[Path], kind: str | None = None) -> None:
    """Raise RecordError for a file that is there and that none of our commands wrote. kind: see `is_ours`."""
    for file in files:
        if (file.exists() or file.is_symlink()) and not is_ours(file, kind):
            raise RecordError(
                f"{file} is there already, and its content is not what dabs_rq writes; it stays as it is. Give another "
                f"{'folder' if kind is None else 'file'}: out=. What is computed stays, and is not computed again."
            )
