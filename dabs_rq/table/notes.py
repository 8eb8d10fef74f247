"""The footnotes of a table: data, protocol, scale, seeds, missing results and assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dabs_rq import registry
from dabs_rq.records.fit import at_end_of_grid, unconverged
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.table.columns import column as column_name
from dabs_rq.table.columns import column_title, method_title
from dabs_rq.table.published import Published
from dabs_rq.table.records import LeftOut, Row


def table_title(run: Run) -> str:
    options = run.options
    data = " and ".join(["made-up miniature data"] * run.made_up + ["real data"] * run.real)
    return f"Linear probes of frozen encoders: scale {options.scale.name}, protocol {options.protocol.name}, {data}"


def footnotes(
    run: Run,
    methods: Sequence[str],
    rows: Sequence[tuple[str, Row]],
    changed: Mapping[str, object],
    published: Published | None,
) -> tuple[str, ...]:
    """Write the footnotes. `rows`: the title and the records of each row. `changed`: options that differ from
    configs/."""
    options = run.options
    seeds = sorted({seed for _, row in rows for by_seed in row.records.values() for seed in by_seed})
    several = len(seeds) > 1
    spread = {"std": "standard deviation over seeds", "interval": "95 % interval of the mean over seeds (Student's t)"}
    notes = [
        run.data_note,
        *run.source_notes,
        f"Scale {options.scale.name}, protocol {options.protocol.name}, seeds {', '.join(map(str, seeds)) or 'none'}; "
        "numbers in percent" + (f", ± {spread[options.table.spread]}." if several else "."),
    ]
    if not seeds:
        notes.append("There are no results yet: `make suite` with the same options computes them.")
    elif missing := [str(seed) for seed in options.seeds if seed not in seeds]:
        notes.append(f"Seeds without any result: {', '.join(missing)}.")
    if several:
        notes += _fewer_seeds(methods, rows, len(seeds))
    notes += _failed(methods, rows)
    notes += _different_examples(rows)
    notes += _fits(rows)
    if changed:
        listed = ", ".join(f"{key}={value}" for key, value in sorted(changed.items()))
        notes.append(f"Options that differ from configs/: {listed}.")
    if published is not None:
        notes.append(
            f"Published: one number each, from {published.file}. "
            + (f"No differences: {published.reason}." if published.reason else "Difference: this run minus published.")
        )
        notes += _published_averages(run, methods, published)
    notes += _quantized_apart(run)
    for method in options.methods:
        if note := registry.method(method.name).note_for(method.options):
            notes.append(f"{method_title(method.name)}: {note}")
    return tuple(notes)


def _published_averages(run: Run, methods: Sequence[str], published: Published) -> list[str]:
    """Name the numbers that are published as averages of the rows of a domain only."""
    return [
        f"Published for {domain.title}, as the average of all its rows only: "
        + ", ".join(f"{method_title(name)} {scores[name]:.2f}" for name in methods if name in scores)
        + "."
        for domain in run.domains
        if (scores := published.averages.get(domain.name))
    ]


def of_other_options(left_out: Sequence[LeftOut]) -> list[str]:
    """Name the results that are not shown because options that affect them have changed."""
    by_changes: dict[tuple[str, ...], dict[str, None]] = {}
    for result, changes in left_out:
        title = registry.task(result.domain, result.task).row
        name = f"{title} with {column_title(column_name(result.method, result.further_probe))}, seed {result.seed}"
        by_changes.setdefault(changes, {})[name] = None
    return [
        f"Left out, computed with other options ({'; '.join(changes)}): {', '.join(names)}. "
        "`make suite` with the same options computes them again."
        for changes, names in by_changes.items()
    ]


def of_undeclared(records: Sequence[Record]) -> list[str]:
    """Show the results of tasks that nobody declares now, as their records say them; nothing can check them."""
    by_task: dict[tuple[str, str], list[str]] = {}
    for one in records:
        score = "failed" if one.score is None else f"{100 * one.score:.2f}"
        name = column_title(column_name(one.method, one.further_probe))
        by_task.setdefault((one.domain, one.task), []).append(f"{name} {score} (seed {one.seed})")
    return [
        f"Not in the table and not checked, because nobody declares task {task!r} of domain {domain!r} (was it in a "
        f"folder named in DABS_RQ_PATH?): {', '.join(results)}."
        for (domain, task), results in sorted(by_task.items())
    ]


def _fewer_seeds(methods: Sequence[str], rows: Sequence[tuple[str, Row]], seeds: int) -> list[str]:
    """Note which results have fewer seeds than the table."""
    incomplete: dict[tuple[str, int], list[str]] = {}
    for name, row in rows:
        for method in methods:
            if 0 < (count := len(row.records.get(method, ()))) < seeds:
                incomplete.setdefault((method, count), []).append(name)
    return [
        f"{method_title(method)} has {count} of {seeds} seeds in: {', '.join(names)}."
        for (method, count), names in sorted(
            incomplete.items(), key=lambda item: (methods.index(item[0][0]), -item[0][1])
        )
    ]


def _quantized_apart(run: Run) -> list[str]:
    """Note the domains of which a method quantizes several inputs, each on its own."""
    titles = [domain.title for domain in run.domains if len(domain.inputs.get(run.options.scale.inputs, ())) > 1]
    methods = [method_title(method.name) for method in run.options.methods if hasattr(method.options, "level")]
    if not titles or not methods:
        return []
    return [f"{', '.join(methods)} in {', '.join(titles)}: each input, such as image and text, is quantized apart."]


def _failed(methods: Sequence[str], rows: Sequence[tuple[str, Row]]) -> list[str]:
    return [
        f"{name}, {method_title(method)}, seed {seed}: no score ({record.why_no_score})."
        for name, row in rows
        for (method, seed), record in sorted(
            row.failed.items(), key=lambda item: (methods.index(item[0][0]), item[0][1])
        )
    ]


def _fits(rows: Sequence[tuple[str, Row]]) -> list[str]:
    """Note the columns and rows whose probes were cut off, or chose a strength at an end of the grid."""
    cut_off: dict[str, list[str]] = {}
    at_end: dict[str, list[str]] = {}
    for name, row in rows:
        for column, by_seed in row.records.items():
            if any(map(unconverged, by_seed.values())):
                cut_off.setdefault(column, []).append(name)
            if any(map(at_end_of_grid, by_seed.values())):
                at_end.setdefault(column, []).append(name)
    return [
        f"‡ {column_title(column)}: the probe did not converge in {', '.join(names)}; raise transfer.max_iterations "
        "and compute these rows again."
        for column, names in cut_off.items()
    ] + [
        f"§ {column_title(column)}: the strength selected is at an end of the grid (transfer.strengths) in "
        f"{len(names)} of {len(rows)} rows: {', '.join(names)}."
        for column, names in at_end.items()
    ]


def _different_examples(rows: Sequence[tuple[str, Row]]) -> list[str]:
    """Note rows whose results come from different examples because the data changed between runs."""
    differing = []
    for name, row in rows:
        records = [record for by_seed in row.records.values() for record in by_seed.values()]
        if len({(record.train_split, record.test_split) for record in records}) > 1:
            differing.append(name)
    if not differing:
        return []
    return [
        f"Results of one row have different training or test examples, do not compare them: {', '.join(differing)} "
        "(the data changed between runs; `suite --refresh` computes them again)."
    ]
