"""The command lines in the pages of docs/, and what `make` makes of its words."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Command:
    """`python -m <module> <words>`; environment: what stands before the command."""

    line: str
    module: str
    words: tuple[str, ...]
    environment: dict[str, str]


def commands(page: str) -> list[Command]:
    """Every line of the page's ```sh blocks. One that runs no Python module is of module ""."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [_command(line) for block in blocks for line in block.splitlines() if line.strip()]


def made_by(*words: str) -> list[str]:
    """The command that `make <words>` runs, as words; nothing is run."""
    told = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    told = told.replace("\\\n", " ")
    words = shlex.split([line for line in told.splitlines() if ".venv/bin/python " in line][-1])
    return words[words.index(".venv/bin/python") :]


def _command(line: str) -> Command:
    words = shlex.split(line, comments=True)
    environment = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    if words[0] == "make":
        words = made_by(*words[1:])
    module = words[2] if words[1:2] == ["-m"] else ""
    return Command(line, module, tuple(words[3:]), environment)
