"""Prompts of a command line: one in words, or a .txt file with one a line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motif.errors import InputError
from motif.files import read_text

if TYPE_CHECKING:
    from motif.base import Base

log = logging.getLogger("motif")


def lines_of(given: str) -> list[str] | None:
    """The prompts of a .txt file; None where a prompt itself is given."""
    if not given.endswith(".txt"):
        return None
    path = Path(given).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: no such file of prompts")
    found = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not found:
        raise InputError(f"{path}: no prompts in it: write one a line")
    return found


def require_tokens(base: Base, prompt: str, *, beside: Sequence[str] = ()) -> None:
    """InputError where neither the prompt nor one beside it names a concept that is worn; a warning for each that they
    leave out."""
    _warn_of(left_out(base, prompt, beside))


def require_named(base: Base, prompts: Sequence[str], *, unnamed: bool) -> None:
    """The same of several prompts, with one warning for each concept.

    Args:
        base: What is worn.
        prompts: What is drawn.
        unnamed: Whether pictures without the concept are meant: then a concept has to be worn that a prompt leaves out.
    """
    if not unnamed:
        _warn_of(list(dict.fromkeys(token for prompt in prompts for token in left_out(base, prompt))))
        return
    base.tokenise([*prompts])
    if not base.concepts:
        raise InputError("--unnamed: no concept is worn: name one with --wear, or leave --unnamed out")
    if base.vectors and all(token in prompt for prompt in prompts for token in base.vectors):
        raise InputError(f"--unnamed: the prompt names {' and '.join(base.vectors)}: leave --unnamed out")


def left_out(base: Base, prompt: str, beside: Sequence[str] = ()) -> list[str]:
    """The worn tokens that neither a prompt nor one beside it names. InputError where they name none."""
    base.tokenise([prompt])  # names what nobody has learned
    unnamed = [token for token in base.vectors if not any(token in text for text in (prompt, *beside))]
    if unnamed and len(unnamed) == len(base.vectors):
        phrase = f"{unnamed[0]} {base.nouns.get(unnamed[0], '')}".strip()
        raise InputError(
            f'the prompt "{prompt}" does not name {unnamed[0]}: write "{phrase}" where the concept is meant'
        )
    return unnamed


def _warn_of(tokens: Sequence[str]) -> None:
    for token in tokens:
        log.warning("%s is worn and the prompt does not name it: it changes the pictures all the same", token)
