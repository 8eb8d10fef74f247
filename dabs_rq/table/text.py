"""Writes the table as CSV, Markdown and LaTeX."""

from __future__ import annotations

import unicodedata

from dabs_rq.table.contents import DASH, Table
from dabs_rq.table.layout import AT_END, CUT_OFF, DIFFERS, DOUBTFUL, Cell, Layout, Line, lay_out


def to_csv(table: Table) -> str:
    """Write one line per task and nothing else: averages and comparisons have their own files."""
    return table.frame.round(4).to_csv(index=False, na_rep=DASH, lineterminator="\n")


def to_markdown(table: Table) -> str:
    """Write the rows, then the averages, then the notes."""
    import pandas as pd

    layout = lay_out(table)
    titles = ["Dataset", "Domain", "Metric"]
    for block, names in layout.blocks:
        suffix = f" ({block.lower()})" if block in ("Published", "Difference") else ""
        titles += [f"{name}{suffix}" for name in names]
    rows = [_words(line, group.title) for group in layout.groups for line in group.lines]
    rows += [_words(group.mean, group.title) for group in layout.groups if group.mean]
    rows += [_words(layout.rank, "")] if layout.rank else []
    alignment = ["left"] * 3 + ["right"] * layout.width
    frame = pd.DataFrame(rows, columns=titles)
    lines = frame.to_markdown(index=False, disable_numparse=True, colalign=alignment if rows else None)
    return lines + "\n\n" + "\n".join(f"- {_one_line(note)}" for note in layout.notes) + "\n"


def _words(line: Line, domain: str) -> list[str]:
    cells = [" ".join([f"**{cell.text}**" if cell.best else cell.text, *cell.marks]) for cell in line.cells]
    return [_one_line(text).replace("|", r"\|") for text in (line.title, domain, line.metric, *cells)]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def to_latex(table: Table) -> str:
    """Write a booktabs tabular with a heading per domain, and the notes as text below it.

    It compiles with \\input in an article."""
    layout = lay_out(table, table.options.headings)
    columns = layout.width + 2
    lines = [
        "% Needs \\usepackage{booktabs}.",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{4pt}\setlength{\parindent}{0pt}",
        r"\makebox[\linewidth]{%",  # centred even if it is wider than the text
        rf"\begin{{tabular}}{{ll{'r' * layout.width}}}",
        r"\toprule",
        *_head(layout),
    ]
    for group in layout.groups:
        lines += [r"\midrule", rf"\multicolumn{{{columns}}}{{l}}{{\textit{{{to_tex(group.title)}}}}} \\"]
        lines += [_row(line) for line in (*group.lines, *([group.mean] if group.mean else []))]
    if layout.rank:
        lines += [r"\midrule", _row(layout.rank)]
    lines += [r"\bottomrule", r"\end{tabular}}", "", r"\par\smallskip"]
    return "\n".join([*lines, *(rf"{to_tex(note)}\par" for note in layout.notes), r"\endgroup", ""])


def _head(layout: Layout) -> list[str]:
    names = ["Dataset", "Metric", *(name for _, titles in layout.blocks for name in titles)]
    plain = " & ".join(map(to_tex, names)) + r" \\"
    if len(layout.blocks) == 1:
        return [plain]
    above, rules, first = [], [], 3
    for block, titles in layout.blocks:
        above.append(rf"\multicolumn{{{len(titles)}}}{{c}}{{{to_tex(block)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + len(titles) - 1}}}")
        first += len(titles)
    return [rf" & & {' & '.join(above)} \\", "".join(rules), plain]


def _row(line: Line) -> str:
    return " & ".join([to_tex(line.title), to_tex(line.metric), *map(_cell, line.cells)]) + r" \\"


def _cell(cell: Cell) -> str:
    text = cell.text if cell.text == DASH else to_tex(cell.text).replace("-", "$-$").replace("+", "$+$")
    if cell.best:
        text = rf"\textbf{{{text}}}"
    marks = "".join(map(to_tex, cell.marks))
    return text + (rf"\rlap{{{marks}}}" if marks else "")  # marks have no width, so that digits stay aligned


_TEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    # At the start of a row, LaTeX would read these as arguments of the \\ before it.
    "[": "{[}",
    "*": "{*}",
    DOUBTFUL: r"$^{\circ}$",
    DIFFERS: r"$^{\dagger}$",
    CUT_OFF: r"$^{\ddagger}$",
    AT_END: r"$^{\S}$",
}


def to_tex(text: str) -> str:
    """Escape text for LaTeX, on one line."""
    return "".join(map(_tex_character, _one_line(text)))


def _tex_character(character: str) -> str:
    """Escape a character. One that plain pdflatex cannot typeset becomes its nearest ASCII letter, or "?"."""
    if character in _TEX:
        return _TEX[character]
    if character.isascii():
        return character if character.isprintable() else "?"
    plain = unicodedata.normalize("NFKD", character)[0]
    return plain if plain.isascii() and plain.isalnum() else "?"
