"""When a map is injected, and for which words: windows as fractions of the run, and what the command line calls them.

cross maps   step i of T where ⌊a (T+1)⌋ ≤ i < ⌊b (T+1)⌋
self maps    step i of T where ⌊a T⌋ ≤ i < ⌊b T⌋                        (card 6.3; T + 1 and T as the release has them)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from motif.edit.alignment import places
from motif.errors import InputError
from motif.text import Tokens


@dataclass(frozen=True)
class Window:
    """A part of a run, as fractions of it: [first, last)."""

    first: float
    last: float

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= 1:
            raise InputError(
                f"the window from {self.first:g} to {self.last:g} is none: fractions of the run, from 0 to 1, in order"
            )

    def holds(self, step: int, steps: int) -> bool:
        """Whether a step of a run of `steps` lies in it."""
        return math.floor(self.first * steps + 1e-9) <= step < math.floor(self.last * steps + 1e-9)

    def acts(self, steps: int, *, cross: bool = False) -> bool:
        """Whether any step of the run does; of cross maps, whose windows count T + 1 steps, the last is none."""
        return any(self.holds(step, steps + cross) for step in range(steps))


WordWindow = float | tuple[float, float] | Window


def window(value: WordWindow) -> Window:
    """0.4 is the first 40 % of the run, (0.2, 0.4) the part between."""
    if isinstance(value, Window):
        return value
    return Window(*value) if isinstance(value, tuple) else Window(0.0, float(value))


def words_with_numbers(given: Mapping[str, float] | Sequence[str], option: str) -> dict[str, float]:
    """{"cat": 2.0} from itself or from ["cat=2"]."""
    found: dict[str, float] = {}
    for word, value in _pairs(given, option):
        found[word] = _number(value, word, option)
        if not math.isfinite(found[word]):
            raise InputError(f"{option} {word}={value}: not a finite number")
    return found


def words_with_windows(given: Mapping[str, WordWindow] | Sequence[str], option: str) -> dict[str, Window]:
    """{"cat": Window(0, 0.3)} from {"cat": 0.3} or ["cat=0.3"]; "cat=0.1:0.5" is a window between."""
    found: dict[str, Window] = {}
    for word, value in _pairs(given, option):
        if isinstance(value, str):
            ends = [_number(part, word, option) for part in value.split(":")]
            if len(ends) > 2:
                raise InputError(f"{option} {word}={value}: write WORD=UNTIL or WORD=FROM:UNTIL")
            value = ends[0] if len(ends) == 1 else (ends[0], ends[1])
        found[word] = window(cast(WordWindow, value))
    return found


def shares(tokens: Tokens, default: Window, words: Mapping[str, Window], steps: int) -> Tensor:
    """α of one prompt: [step, position], 1 where a position's map is injected."""
    table = torch.zeros(steps, len(tokens.ids))
    for step in range(steps):
        table[step] = float(default.holds(step, steps + 1))
        for word, span in words.items():
            table[step, places(tokens, word)] = float(span.holds(step, steps + 1))
    return table


def factors(tokens: Tokens, words: Mapping[str, float]) -> Tensor:
    """E of one prompt: [position], what each position's map is multiplied by."""
    found = torch.ones(len(tokens.ids))
    for word, factor in words.items():
        found[places(tokens, word)] = factor
    return found


def _pairs(given: Mapping[str, object] | Sequence[str], option: str) -> list[tuple[str, object]]:
    if isinstance(given, Mapping):
        return list(given.items())
    found: list[tuple[str, object]] = []
    for text in [given] if isinstance(given, str) else given:
        word, sign, value = text.rpartition("=")
        if not sign or not word.strip():
            raise InputError(f"{option} {text}: write WORD=NUMBER")
        found.append((word.strip(), value))
    return found


def _number(value: object, word: str, option: str) -> float:
    try:
        return float(cast(float, value))
    except (TypeError, ValueError):
        raise InputError(f"{option} {word}={value}: not a number") from None
