"""The commands for results that travel. Heavy imports wait until a command runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from dabs_rq.cli.printing import print_errors
from dabs_rq.errors import OptionError, printable


def export_results(words: list[str], form: str) -> int:
    from dabs_rq.share import eval_results, every_eval_ever
    from dabs_rq.share.cells import choose, selection

    run, out = selection(words)
    chosen = choose(run)
    folder = run.places.table / form if out is None else out
    if form == "eval-results":
        files, without = eval_results.write(chosen, folder)
    else:
        files, without = every_eval_ever.write(chosen, folder), []
    print("\n".join(f"wrote {file}" for file in files))
    if without:
        print("\nin the model cards, but not in .eval_results, which is for data sets of the hub:")
        print("\n".join(f"  {why}" for why in without))
    _say("left out", [*chosen.without_score, *chosen.not_chosen])
    return print_errors(chosen.errors, " (left out)")


def _say(what: str, lines: Iterable[str]) -> None:
    if lines := list(lines):
        print(f"\n{what}:")
        print("\n".join(f"  {printable(line)}" for line in lines))


def bundle(words: list[str], check: str | None) -> int:
    from pathlib import Path

    from dabs_rq.share import bundle

    if check is not None:
        if words:
            raise OptionError(f"--check takes a bundle alone, not {' '.join(words)}")
        checked = bundle.check(Path(check).expanduser())
        made_up = " MADE-UP DATA." if checked.manifest["made_up_data"] else ""
        print(
            f"{check}: {len(checked.manifest['files'])} files are intact, {len(checked.records)} scores follow from "
            f"their predictions, {checked.checkpoints} checkpoints have their weights.{made_up}"
        )
        if checked.without:
            print(f"{checked.without} records are of checkpoints that are not in it")
        _say("missing in it", checked.manifest["missing"])
        return 0
    from dabs_rq.share.cells import choose, selection

    run, out = selection(words)
    chosen = choose(run)
    file, missing = bundle.pack(chosen, out)
    print(f"wrote {file}, {file.stat().st_size:,} bytes. `bundle --check {file}` verifies it.")
    _say("missing in it", missing)
    return print_errors(chosen.errors, " (left out)")


def push(words: list[str], repo: str | None, dry_run: bool, create: bool, packed: str | None) -> int:
    import tempfile
    from pathlib import Path

    from dabs_rq.run.options import NetworkOptions
    from dabs_rq.share import bundle, contents, push
    from dabs_rq.share.cells import choose, selection

    if repo is None:
        raise OptionError("give --repo user/name (make: REPO=user/name)")
    push.check_repo(repo)
    timeout, code = NetworkOptions.hub_timeout, 0
    with tempfile.TemporaryDirectory(prefix="dabs_rq-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        if packed is not None:
            if words:
                raise OptionError(f"--bundle says what is sent; leave out {' '.join(words)}")
            file = Path(packed).expanduser()
            folder = stack.enter_context(bundle.unpacked(file))
            missing = bundle.check_contents(file, folder).manifest["missing"]
        else:
            run, _ = selection(words)
            timeout, chosen = run.options.network.hub_timeout, choose(run)
            missing = contents.write(chosen, folder)
            code = print_errors(chosen.errors, " (left out)")
        print(push.listing(folder, repo), flush=True)
        _say("missing in it", missing)
        if dry_run:
            print("\nnothing was sent (--dry-run)")
        else:
            print(f"committed {push.push(folder, repo, create=create, timeout=timeout)}")
    return code


def compare(words: list[str]) -> int:
    from pathlib import Path

    from dabs_rq.report import comparison as page
    from dabs_rq.report import figure
    from dabs_rq.run.words import parse
    from dabs_rq.share import compared
    from dabs_rq.share.compare import compare

    places = [word for word in words if word and not word.startswith("out=")]
    if len(places) != 2:
        raise OptionError(
            f"give two folders of runs, or two bundles: compare A B [out=folder]; got {' '.join(words)!r}"
        )
    out = parse([word for word in words if word.startswith("out=")]).get("out")
    found = compare(*(Path(place).expanduser() for place in places))
    folder = compared.write(found, compared.FOLDER if out is None else Path(out).expanduser())
    print(compared.to_table(found) if found.pairs else "no cell is in both")
    for side, names in found.only.items():
        _say(f"only in {side}", (name for _, name in names))
    _say("without a score", found.without_score)
    page.write(found, folder)
    print(f"\nwrote {folder / 'compare.csv'}, .md and .html: also what else differs, and how differences are computed")
    if no_figures := figure.unavailable():
        print(f"no figures: {no_figures}")
    return print_errors(found.errors, " (left out)")
