"""The numbers on the pages are those of the committed results."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dabs_rq import registry

ROOT = registry.PACKAGE.parent
PROBES = ("lbfgs", "adamw_standardised", "adamw")


def table_rows(page: Path, header: str) -> list[list[str]]:
    """The cells of the rows of the one Markdown table of a page whose header begins so."""
    lines = page.read_text(encoding="utf-8").splitlines()
    (first,) = (number for number, line in enumerate(lines) if " ".join(line.split()).startswith(header))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_what_the_readme_says_about_shed_is_what_the_published_tables_say() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    dabs = pd.read_csv(ROOT / "results" / "published_dabs2.csv")
    of_rq = pd.read_csv(ROOT / "results" / "published.csv")
    for domain, task, said in (
        ("text", "glue_average", "(GLUE average {shed:.2f}; e-Mix {emix:.2f}, RQ's ten rows {rq:.2f})"),
        ("sensor", "pamap2", "({shed:.2f}; {emix:.2f}, {rq:.2f})"),
    ):
        scores = dabs[dabs["task"] == task].iloc[0][["none", "emix", "shed"]].astype(float).to_dict()
        scores["rq"] = of_rq[of_rq["domain"] == domain]["rq"].mean()
        assert max(scores, key=lambda name: scores[name]) == "shed"
        assert said.format(**scores) in text
    assert dabs[["mae", "capri"]].isna().all(axis=None) and "shed" not in of_rq


@pytest.mark.parametrize(
    ("page", "header", "rows"),
    [("README.md", "| column | regression", ("Digits",)), ("docs/evidence.md", "| task | column | regression", None)],
)
def test_the_table_of_the_evidence_is_that_of_its_results(page: str, header: str, rows: tuple[str, ...] | None) -> None:
    results = pd.read_csv(ROOT / "results" / "evidence" / "evidence.csv", na_values="-", keep_default_na=False)
    expected = []
    for (row, title), of_cell in results.groupby(["row", "title"], sort=False):
        by_probe = of_cell.set_index("probe")
        scores = [
            f"{by_probe.loc[probe, 'score']:.1f} [{by_probe.loc[probe, 'low']:.1f}, {by_probe.loc[probe, 'high']:.1f}]"
            for probe in PROBES
        ]
        spectrum = [f"{by_probe['effective_rank'].iloc[0]:.1f}", f"{by_probe['top_share'].iloc[0]:.2f}"]
        if rows is None or row in rows:
            expected.append([row, title, *scores, *spectrum] if rows is None else [title, *scores, *spectrum])
    assert table_rows(ROOT / page, header) == expected
