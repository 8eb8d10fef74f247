"""Converts the words of a command line, "key=value", to options by name, and back."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dabs_rq.errors import OptionError
from dabs_rq.run.options import PATHS, PLURALS, SEVERAL

_PLAIN = re.compile(r"[\w.+-]+")
_WORD = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)


def parse(words: Iterable[str]) -> dict[str, Any]:
    """Parse words to options by name, without checking them.

    A value is text, None for `null`, or a list: `[a,b]`, or `a,b` for an option that takes several values. The last
    word counts if an option is repeated.
    Raises: OptionError for a word of another form.
    """
    given: dict[str, Any] = {}
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            raise OptionError(f"expected an option as key=value, such as domain=sensor; got {word!r}")
        key = PLURALS.get(match[1], match[1])
        given[key] = _value(key, match[2])
    return given


def _value(key: str, text: str) -> Any:
    if key in PATHS:
        return None if text in ("", "null") else text
    stripped = text.strip()
    if stripped == "null":
        return None
    if stripped.startswith(("[", '"', "'")):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(stripped)
        try:  # a list without quotes
            return yaml.load(stripped, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            raise OptionError(f"{key}: {text!r} is not a list such as [a,b]: {str(error).splitlines()[0]}") from error
    if key in SEVERAL:
        return [part.strip() for part in stripped.split(",")] if stripped else []
    return stripped


def to_words(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words that `parse` converts to `given`."""
    return tuple(f"{key}={_text(key, value)}" for key, value in given.items())


def shell_line(command: str, words: Iterable[str]) -> str:
    """Write a command as one types it in a shell."""
    return shlex.join(["python", "-m", "dabs_rq", command, *words])


def value_text(value: Any) -> str:
    """Write a single value as on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(key: str, value: Any) -> str:
    if value is None:
        return "null"
    if key in PATHS:
        return str(value)
    if isinstance(value, list | tuple):
        plain = value and all(isinstance(part, str) and _PLAIN.fullmatch(part) for part in value)
        if key in SEVERAL and plain and (joined := ",".join(value)) != "null":
            return joined
        return json.dumps([str(part) if isinstance(part, Path) else part for part in value], ensure_ascii=False)
    text = value_text(value)
    return json.dumps(text, ensure_ascii=False) if text.strip().startswith(("[", '"', "'")) or text == "null" else text
