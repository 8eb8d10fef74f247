"""What a tokenizer file may ask for: it can rewrite its input, and is obeyed for every text.

`check` refuses a file that would make a text many times longer, take time without bound, or draw ids at random. What
remains, such as a regular expression that does not end, stops inside the library, whose errors become ours.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from dabs_rq.errors import DataError, shown

MAX_BYTES = 256 << 20  # xlm-roberta-base has 17 MB
GROWTH = 64  # a text may become so many times longer; xlm-roberta-base: 33, its longest replacement
PATTERN = 200  # characters of a regular expression
WORD = 1000  # characters of a word that word pieces are searched in, which takes the square of that; bert: 100
TEMPLATE = 64  # pieces around a text or a pair
_GROWING = {"NFKC": 18, "NFKD": 18, "ByteLevel": 2}  # Unicode's longest compatibility form has 18 characters


def check(content: Any, where: object) -> None:
    """Raise DataError, naming `where`, unless the parsed tokenizer.json `content` stays within the limits."""
    if not isinstance(content, dict):
        raise DataError(f"{where}: not a tokenizer: expected an object, found {shown(content)}")
    growth = 1
    for part in [*_parts(content.get("normalizer")), *_parts(content.get("pre_tokenizer"))]:
        growth *= _growth(part)
        if growth > GROWTH:
            raise DataError(f"{where}: its normalizer can make a text {growth} times longer, expected at most {GROWTH}")
        pattern = part.get("pattern")
        if isinstance(pattern, dict) and len(str(pattern.get("Regex", ""))) > PATTERN:
            raise DataError(f"{where}: a pattern of {len(pattern['Regex'])} characters, expected at most {PATTERN}")
    model = content.get("model")
    model = model if isinstance(model, dict) else {}
    if model.get("dropout"):
        raise DataError(f"{where}: its model draws at random (dropout {shown(model['dropout'])}), expected none")
    longest = model.get("max_input_chars_per_word", 0)
    if isinstance(longest, int) and longest > WORD:
        raise DataError(f"{where}: max_input_chars_per_word is {shown(longest)}, expected at most {WORD}")
    for part in _parts(content.get("post_processor")):
        for name in ("single", "pair"):
            if isinstance(template := part.get(name), list) and len(template) > TEMPLATE:
                raise DataError(f"{where}: its template has {len(template)} pieces, expected at most {TEMPLATE}")
        special = part.get("special_tokens")
        for token in special.values() if isinstance(special, dict) else ():
            if isinstance(token, dict) and len(token.get("ids") or ()) > TEMPLATE:
                raise DataError(f"{where}: a special token stands for more than {TEMPLATE} ids")


def _parts(component: Any) -> Iterator[dict[str, Any]]:
    """Yield a component and, of a sequence, every component in it."""
    waiting = [component]
    while waiting:
        if isinstance(part := waiting.pop(), dict):
            yield part
            for name in ("normalizers", "pretokenizers", "processors"):
                if isinstance(inner := part.get(name), list):
                    waiting += inner


def _growth(part: dict[str, Any]) -> int:
    """Return how many times longer a normalizer can make a text of one character, in bytes."""
    kind = part.get("type")
    if kind == "Replace":
        added = len(str(part.get("content", "")).encode(errors="replace"))
        empty = part.get("pattern") == {"String": ""} or "Regex" in (part.get("pattern") or {})
        return max(1, added + empty)
    if kind == "Prepend":
        return 1 + len(str(part.get("prepend", "")).encode(errors="replace"))
    if kind == "Precompiled":
        try:  # the length of a table, the table, and the replacements, each with a zero at its end
            raw = base64.b64decode(part.get("precompiled_charsmap") or "", validate=True)
        except (TypeError, ValueError):
            return 1  # the library refuses it
        replacements = raw[4 + int.from_bytes(raw[:4], "little") :]
        return max(1, *map(len, replacements.split(b"\0")))
    return _GROWING.get(str(kind), 1)
