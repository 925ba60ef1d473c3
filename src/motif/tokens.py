"""What a learned token looks like in words: `<new1>`, `<my-cat>`. The one pattern that everything reads them by."""

from __future__ import annotations

import re

TOKEN = re.compile(r"<[^<>\s|]+>")
"""A learned token. A tokenizer's own specials (`<|endoftext|>`) are none."""


def without_tokens(prompt: str) -> str:
    """ "photo of a <new1> cat" -> "photo of a cat": learned tokens are words that no encoder has seen."""
    return " ".join(TOKEN.sub(" ", prompt).split())
