"""Hooks of MkDocs: pages written from declarations, files outside docs/ that pages link to, and what the code
of tutorials prints and draws.

`build` hands MkDocs the pages of reference/; nothing in them is written by hand.
"""

from __future__ import annotations

import dataclasses
import html
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")
BOX = re.compile(r'(<li class="task-list-item">)(<input type="checkbox"[^>]*>)(.*?)(?=</li>)', re.DOTALL)
RUNNER = Path(__file__).with_name("tutorial.py")
SHOWN: dict[str, list[dict[str, Any]]] = {}  # page -> what its blocks printed and drew
API = {
    "The quantizer": ["dabs_rq.quantize"],
    "Score a network": ["dabs_rq.api.scoring", "dabs_rq.api.encoders", "dabs_rq.api.frame", "dabs_rq.networks.declare"],
    "Runs and results": ["dabs_rq.run.run", "dabs_rq.table", "dabs_rq.records.record", "dabs_rq.checkpoint"],
    "Contracts": [
        "dabs_rq.domain",
        "dabs_rq.spec",
        "dabs_rq.methods.base",
        "dabs_rq.encoders.base",
        "dabs_rq.data.examples",
        "dabs_rq.metrics.base",
        "dabs_rq.errors",
    ],
    "Your own data": [
        "dabs_rq.data.readers.own_source",
        "dabs_rq.data.readers.folder_of_images",
        "dabs_rq.data.readers.csv_rows",
        "dabs_rq.data.readers.parquet_rows",
        "dabs_rq.data.readers.hub_dataset",
        "dabs_rq.data.readers.rows",
        "dabs_rq.data.readers.cells",
    ],
    "Methods and encoders": [
        "dabs_rq.methods.rq",
        "dabs_rq.methods.emix",
        "dabs_rq.methods.shed",
        "dabs_rq.methods.mae",
        "dabs_rq.methods.capri",
        "dabs_rq.methods.moco",
        "dabs_rq.methods.supervised",
        "dabs_rq.encoders.transformer",
        "dabs_rq.encoders.resnet",
    ],
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of reference/, and the files outside docs/ that pages link to."""
    for name, text in (
        ("options", "\n".join(_options())),
        ("tasks", "\n".join(_tasks())),
        ("records", "\n".join(_records())),
        ("api", "\n".join(_api())),
    ):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    linked = {path for file in files.documentation_pages() for path, _ in LINK.findall(file.content_string)}
    for path in sorted(linked):
        source = ROOT / path
        if source.suffix != ".md" and source.is_file():
            name = f"files/{path}{'.txt' if source.suffix == '.py' else ''}"
            files.append(File.generated(config, name, content=source.read_bytes()))
    tutorials = [file for file in files.documentation_pages() if _runner().BLOCK.search(file.content_string)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shown = pool.map(_shown, [Path(str(file.abs_src_path)) for file in tutorials])
        SHOWN.update(zip([file.src_uri for file in tutorials], shown, strict=True))
    return files


def _runner() -> Any:
    """Return docs/tutorial.py as a module; docs/ is no package."""
    if (known := sys.modules.get("tutorial_runner")) is None:
        spec = importlib.util.spec_from_file_location("tutorial_runner", RUNNER)
        assert spec and spec.loader
        known = sys.modules["tutorial_runner"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(known)
    return known


def _shown(page: Path) -> list[dict[str, Any]]:
    """Run the code of a page in a process of its own. Raises PluginError with what it printed if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "shown.json"
        done = subprocess.run([sys.executable, RUNNER, page, target], capture_output=True, text=True)
        if done.returncode:
            raise PluginError(f"the code of {page} failed:\n{done.stderr}")
        return json.loads(target.read_text(encoding="utf-8"))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files outside docs/ to the copies in the site; a link to a folder becomes its text. Show below each
    block that ran what it printed and drew."""

    def replaced(match: re.Match[str]) -> str:
        path, anchor = match[1], match[2] or ""
        for name in (f"files/{path}", f"files/{path}.txt"):
            if files.get_file_from_path(name):
                up = "../" * page.file.src_uri.count("/")
                return f"]({up}{name}{anchor})"
        return "](\0)"

    markdown = re.sub(r"\[([^\]]*)\]\(\0\)", r"\1", LINK.sub(replaced, markdown))
    shown = iter(SHOWN.get(page.file.src_uri, ()))
    return _runner().BLOCK.sub(lambda block: _with_results(block, next(shown)), markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the text of each item of a checklist the label of its box."""
    return BOX.sub(r"\1<label>\2\3</label>", content)


def _with_results(block: re.Match[str], shown: Mapping[str, Any]) -> str:
    parts = [f"```{block[1]}\n{block[2]}```"]
    if text := shown["text"].strip("\n"):
        parts.append(f"```{{.text .printed}}\n{text}\n```")
    for picture in shown["pictures"]:
        style = f"max-width: {1.4 * picture['points']:.0f}px"
        caption = html.escape(picture["caption"])
        parts.append(f'<figure style="{style}">{picture["svg"]}<figcaption>{caption}</figcaption></figure>')
    return "\n\n".join(parts) + "\n"


# ---- the reference -------------------------------------------------------------------------------------------------


def _options() -> Iterator[str]:
    from dabs_rq import registry
    from dabs_rq.protocol import Protocol
    from dabs_rq.run import compose, options

    choices = {
        "scale": compose.choices("scale"),
        "protocol": compose.choices("protocol"),
        "encoder": registry.encoder_names(),
        "method": registry.method_names(),
        "domain": registry.domain_names(),
    }
    yield "# Options\n"
    yield (
        "Every option is a word `key=value` of a command, and in make a part of `OPTIONS='...'`. Values are checked "
        "before any data are read. Defaults are those of the code; a scale (`configs/scale/`) sets budgets of its own, "
        "and `--show-options` prints what a command would use.\n"
    )
    yield from _dataclass("Which run", "", options.Names, choices=choices)
    for group, kind in options.GROUPS.items():
        yield from _dataclass(f"`{group}`", f"{group}.", kind)
    for name in registry.method_names():
        spec = registry.method(name)
        yield from _dataclass(f"`method`: {spec.title}", "method.", spec.options, note=f"With `method={name}`.")
    for name in registry.encoder_names():
        encoder = registry.encoder(name)
        text = f"With `encoder={name}`."
        yield from _dataclass(f"`encoder`: {encoder.title}", "encoder.", encoder.options, note=text)
    yield "## `protocol`\n"
    yield "What the two protocols set; [Two protocols](../protocol.md) explains each option.\n"
    yield "| option | published | corrected |\n|---|---|---|"
    kinds = [Protocol, *(domain.protocol for domain in registry.domains())]
    kinds += [registry.method(name).protocol for name in registry.method_names()]
    declared = {one.name: one for kind in kinds for one in dataclasses.fields(kind) if "published" in one.metadata}
    for name, one in declared.items():
        yield f"| `protocol.{name}` | `{_value(one.metadata['published'])}` | `{_value(one.metadata['corrected'])}` |"
    yield ""


def _dataclass(
    title: str, prefix: str, kind: type[Any], *, note: str = "", choices: Mapping[str, Iterable[str]] | None = None
) -> Iterator[str]:
    """Describe the options that a dataclass declares. choices: legal values that its annotations do not list."""
    yield f"## {title}\n"
    if note:
        yield f"{note}\n"
    declared = dataclasses.fields(kind)
    if declared:
        hints = get_type_hints(kind, include_extras=True)
        yield "| option | legal values | default |\n|---|---|---|"
        for one in declared:
            names = ", ".join(f"`{name}`" for name in (choices or {}).get(one.name, ()))
            yield f"| `{prefix}{one.name}` | {names or _legal(hints[one.name])} | `{_value(one.default)}` |"
        yield ""
    doc = inspect.cleandoc(kind.__doc__ or "")
    if doc and not doc.startswith(f"{kind.__name__}("):  # what dataclass writes where there is none
        yield f"{doc}\n"


def _legal(annotation: Any) -> str:
    """Return the legal values of an annotation in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = {
            name: getattr(mark, name, None)
            for constraint in arguments[1:]
            for mark in (constraint, *getattr(constraint, "metadata", ()))
            for name in ("ge", "gt", "le", "lt")
            if getattr(mark, name, None) is not None
        }
        signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        told = {sign: limit for sign, limit in limits.items() if limit < 2**31 - 1}  # others only keep out nonsense
        said = ", ".join(f"{words} {told[sign]:g}" for sign, words in signs.items() if sign in told)
        return f"{_legal(arguments[0])}{f', {said}' if said else ''}"
    if origin is Literal:
        return ", ".join(f"`{_value(value)}`" for value in arguments)
    if origin is tuple:
        return f"list of: {_legal(arguments[0])}"
    if origin is Union or type(annotation).__name__ == "UnionType":
        return " or ".join(_legal(part) for part in arguments)
    words = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", Path: "path"}
    return "`null`" if annotation is type(None) else words.get(annotation, getattr(annotation, "__name__", "any"))


def _value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{','.join(map(_value, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tasks() -> Iterator[str]:
    from dabs_rq import registry
    from dabs_rq.metrics import metric

    yield "# Domains and tasks\n"
    yield "`make domains DATA=/root` says which sources are there, and where the others belong.\n"
    for domain in registry.domains():
        others = "in the table of DABS 2.0 only" if domain.tables else "outside the tables"
        where = "" if "rq" in domain.tables else f" ({others})"
        yield f"## {domain.title}{where}\n"
        source = domain.pretraining.source
        yield f"`domain={domain.name}`, pretrained on {source.title} (`{source.folder}`).\n"
        yield "| task | row | metric | source | licence |\n|---|---|---|---|---|"
        for task in domain.tasks:
            source = task.source
            yield (
                f"| `{task.name}` | {task.row} | {metric(task.metric).title} | {source.title} (`{source.folder}`) | "
                f"{source.licence} |"
            )
        yield ""


def _records() -> Iterator[str]:
    from dabs_rq.records.record import FORMAT, Record

    yield "# Records\n"
    yield (
        f"Every result is a record: a JSON file of format {FORMAT}, with its predictions as Parquet (`id`, `target`, "
        "`output`) beside it. Records lie in `runs/<data>/<scale>/<protocol>/records/`. "
        "[Read the results](../results.md) shows how to read them.\n"
    )
    yield f"{inspect.cleandoc(Record.__doc__ or '')}\n"
    yield "| field | type |\n|---|---|"
    hints = get_type_hints(Record, include_extras=True)
    for one in dataclasses.fields(Record):
        yield f"| `{one.name}` | {_legal(hints[one.name])} |"
    yield ""


def _api() -> Iterator[str]:
    yield "# Python\n"
    for title, modules in API.items():
        yield f"## {title}\n"
        yield from (f"::: {module}\n" for module in modules)
