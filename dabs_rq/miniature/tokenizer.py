"""A small tokenizer of a published family for made-up text: miniatures have no other way to one.

The library's own trainers give another vocabulary every time, so the pieces are counted here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dabs_rq.data.readers.tokenizer import TOKENIZERS
from dabs_rq.files import write_text


def train(root: Path, name: str, texts: Iterable[str], size: int) -> None:
    """Save below `root`, under a published `name`, a tokenizer of about `size` ids: the characters of `texts`, then
    their most frequent pieces. "bert-base-uncased" has word pieces in lower case, "xlm-roberta-base" unigrams of any
    script. The same texts, in any order, give the same bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    if name == "bert-base-uncased":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        single, pair = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"
        prepare: tuple[Any, Any] = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        words = _words(texts, *prepare)
        characters = sorted({character for word in words for character in word})
        pieces = special + characters + [f"##{character}" for character in characters]
        pieces += [word for word in _by_count(words) if len(word) > 1][: max(0, size - len(pieces))]
        tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
        tokenizer.decoder = decoders.WordPiece()
    elif name == "xlm-roberta-base":
        special, single, pair = ["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>", "<s> $A </s> </s> $B </s>"
        prepare = normalizers.NFKC(), pre_tokenizers.Metaspace()
        parts: Counter[str] = Counter()
        for word, count in _words(texts, *prepare).items():
            inside = {word[i:j] for i in range(len(word)) for j in range(i + 1, min(i + 6, len(word)) + 1)}
            parts.update(dict.fromkeys(inside | {word}, count))
        characters = sorted(part for part in parts if len(part) == 1)
        longer = _by_count(Counter({part: count * len(part) for part, count in parts.items() if len(part) > 1}))
        kept, total = characters + longer[: max(0, size - len(special) - len(characters))], sum(parts.values())
        # A piece's log probability, as the trainer would give it; the worst of all for the special ones.
        scored = [(token, 0.0) for token in special]
        scored += [(part, round(math.log(parts[part] / total), 6)) for part in kept]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=special.index("<unk>")))
        tokenizer.decoder = decoders.Metaspace()
        tokenizer.add_special_tokens(["<mask>"])
    else:
        raise ValueError(f"no family of tokenizers is known by the name {name!r}")
    tokenizer.normalizer, tokenizer.pre_tokenizer = prepare
    tokenizer.add_special_tokens(special)
    used = [(token, tokenizer.token_to_id(token)) for token in special if token in single]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)
    write_text(root / TOKENIZERS / name / "tokenizer.json", tokenizer.to_str(pretty=True))


def _words(texts: Iterable[str], normalizer: Any, splitter: Any) -> Counter[str]:
    words: Counter[str] = Counter()
    for text, count in Counter(texts).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            words[word] += count
    return words


def _by_count(counted: Counter[str]) -> list[str]:
    return sorted(counted, key=lambda piece: (-counted[piece], piece))
