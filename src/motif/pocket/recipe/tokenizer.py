"""pocket's tokenizer: a CLIPTokenizer of our own.

Byte-pair encoding in CLIP's format: 256 byte symbols, the same 256 ending a word, the merges that make every
word of pocket's world one token, two specials. Any English text tokenises (down to bytes); the world's own
words are single tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from transformers import CLIPTokenizer

from motif.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokenizer: Any = CLIPTokenizer  # its annotations do not know merges as pairs
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
LENGTH = 32


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes in GPT-2's and CLIP's tokenizers, in byte-symbol
    order.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def merges_for(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until every word is one symbol (ties: the greater pair)."""
    spelled = {word: [*word[:-1], word[-1] + WORD_END] for word in sorted(set(words))}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for symbols in spelled.values() for pair in pairwise(symbols))
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        spelled = {word: merged(symbols, best) for word, symbols in spelled.items()}


def merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """The symbols with every occurrence of the pair joined, from the left."""
    out: list[str] = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            out.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerBase:
    """A CLIPTokenizer in which each of `words` (lower case, letters only) is one token.

    Raises InputError, naming the first offender, for a word that CLIP's pre-tokenizer would split (digits,
    punctuation).
    """
    chosen = sorted(set(words))
    if bad := [word for word in chosen if not (word.isascii() and word.isalpha() and word.islower())]:
        raise InputError(f"the word {bad[0]!r} cannot be one token: use lower-case letters a to z only")
    merges = merges_for(chosen)
    base = byte_symbols()
    symbols = [*base, *(symbol + WORD_END for symbol in base), *(a + b for a, b in merges), START, END]
    vocabulary = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
    return Tokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH, pad_token=END)
