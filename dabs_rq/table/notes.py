"""The footnotes of a table: data, protocol, scale, seeds, what is missing, assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dabs_rq import registry
from dabs_rq.run import Run
from dabs_rq.table.published import Published
from dabs_rq.table.records import Row


def method_title(method: str) -> str:
    """The title of a method's column: that of the published table where the method stands in it."""
    spec = registry.method(method)
    return spec.published_title or spec.title


def title(run: Run) -> str:
    options, data = run.options, "made-up miniature data" if run.made_up else "real data"
    return f"Linear probes of frozen encoders: scale {options.scale.name}, protocol {options.protocol.name}, {data}"


def notes(
    run: Run,
    methods: Sequence[str],
    rows: Sequence[tuple[str, Row]],
    changed: Mapping[str, object],
    published: Published | None,
) -> tuple[str, ...]:
    """`rows`: the title of each row and what it is made of."""
    options = run.options
    seeds = sorted({seed for _, row in rows for of_method in row.records.values() for seed in of_method})
    several = len(seeds) > 1
    spread = {"std": "standard deviation over seeds", "interval": "95 % interval of the mean over seeds (Student's t)"}
    found = [
        run.data_note,
        f"Scale {options.scale.name}, protocol {options.protocol.name}, seeds {', '.join(map(str, seeds)) or 'none'}; "
        "numbers in percent" + (f", ± {spread[options.table.spread]}." if several else "."),
    ]
    if not seeds:
        found.append("There are no results yet: `make suite`, with the same options, computes them.")
    elif missing := [str(seed) for seed in options.seeds if seed not in seeds]:
        found.append(f"Seeds without any result: {', '.join(missing)}.")
    if several:
        found += _fewer(methods, rows, len(seeds))
    found += _failed(methods, rows)
    found += _other_examples(rows)
    if changed:
        listed = ", ".join(f"{key}={value}" for key, value in sorted(changed.items()))
        found.append(f"Options that differ from configs/: {listed}.")
    if published is not None:
        found.append(
            "Published: one number each, as in results/published.csv. "
            + (f"No differences: {published.reason}." if published.reason else "Difference: this run minus published.")
        )
    for method in options.methods:
        if note := registry.method(method.name).note_for(method.options):
            found.append(f"{method_title(method.name)}: {note}")
    return tuple(found)


def _fewer(methods: Sequence[str], rows: Sequence[tuple[str, Row]], seeds: int) -> list[str]:
    """Which results are of fewer seeds than the table has."""
    found: dict[tuple[str, int], list[str]] = {}
    for name, row in rows:
        for method in methods:
            if 0 < (count := len(row.records.get(method, ()))) < seeds:
                found.setdefault((method, count), []).append(name)
    return [
        f"{method_title(method)} has {count} of {seeds} seeds in: {', '.join(names)}."
        for (method, count), names in sorted(found.items(), key=lambda one: (methods.index(one[0][0]), -one[0][1]))
    ]


def _failed(methods: Sequence[str], rows: Sequence[tuple[str, Row]]) -> list[str]:
    return [
        f"{name}, {method_title(method)}, seed {seed}: no score ({one.why_no_score})."
        for name, row in rows
        for (method, seed), one in sorted(row.failed.items(), key=lambda item: (methods.index(item[0][0]), item[0][1]))
    ]


def _other_examples(rows: Sequence[tuple[str, Row]]) -> list[str]:
    """Rows whose results are of different examples: the data changed between them."""
    found = []
    for name, row in rows:
        splits = {(one.train_split, one.test_split) for by_seed in row.records.values() for one in by_seed.values()}
        if len(splits) > 1:
            found.append(name)
    if not found:
        return []
    return [
        f"Results of one row have different training or test examples, do not compare them: {', '.join(found)} "
        "(the data changed in between; delete the older records and run again)."
    ]
