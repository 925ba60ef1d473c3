"""Two prompts, word by word: where each position of the target's attention maps comes from in the source's.

    refine    M*[n] ← a_n M[m(n)] + (1 − a_n) M*[n]      what both prompts say (Needleman & Wunsch 1970; gap 0, match 1,
                                                          mismatch −1), new words keep their own map
    replace   M*[n] ← Σ_w M[w] R[w, n]                    the swapped words' maps go to the words in their place

Prompt-to-Prompt (Hertz et al. 2022, arXiv 2208.01626), section 3.2; card 6.5. Ours: a word is aligned whole, however
many tokens or learned vectors it has; and the tail behind a swap of unequal length keeps its own source ("fixed"),
where the release shifts it ("official").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from motif.errors import InputError
from motif.text import Tokens

Tail = Literal["fixed", "official"]

GAP, MATCH, MISMATCH = 0, 1, -1


@dataclass(frozen=True)
class Unit:
    """A word, a learned token, a punctuation sign, or one of the two ends: what is aligned as one."""

    text: str
    span: slice
    key: tuple[object, ...]  # equal where the encoder reads the same: ids and learned vectors


def units(tokens: Tokens) -> list[Unit]:
    """The units of a prompt from its start to its first end-of-text, in order."""
    learned = {position: (token, i) for position, token, i in tokens.splices}
    spans = {span.start: (text, span) for text, span in tokens.words()}
    found: list[Unit] = []
    at = 0
    while at <= tokens.end:
        text, span = spans.get(at, ("", slice(at, at + 1)))
        key = tuple(learned.get(i, tokens.ids[i]) for i in range(span.start, span.stop))
        found.append(Unit(text, span, key))
        at = span.stop
    return found


def aligned(source: Sequence[Unit], target: Sequence[Unit]) -> list[int | None]:
    """For every target unit the source unit that it is, or None for a new one.

    Ties go as the release's: new in the target before dropped from the source before a match. So a unit is matched with
    the first of several equal ones.
    """
    best = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]
    for i in range(len(source) + 1):
        for j in range(len(target) + 1):
            if not i or not j:
                best[i][j] = GAP * (i + j)
            else:
                same = MATCH if source[i - 1].key == target[j - 1].key else MISMATCH
                best[i][j] = max(best[i][j - 1] + GAP, best[i - 1][j] + GAP, best[i - 1][j - 1] + same)
    found: list[int | None] = [None] * len(target)
    i, j = len(source), len(target)
    while j:
        if best[i][j] == best[i][j - 1] + GAP:
            j -= 1
        elif i and best[i][j] == best[i - 1][j] + GAP:
            i -= 1
        else:
            i, j = i - 1, j - 1
            found[j] = i
    return found


@dataclass(frozen=True, eq=False)
class TokenMap:
    """How maps of the source's positions become maps of the target's: by `origin` and `shared`, or by `matrix`."""

    origin: Tensor  # [target position]: m(n)
    shared: Tensor  # [target position]: a_n
    matrix: Tensor | None = None  # [source position, target position]: R

    def carry(self, source: Tensor, target: Tensor) -> Tensor:
        """Maps [..., source position] and the target's own [..., target position] -> the injected ones."""
        if self.matrix is not None:
            return source @ self.matrix.to(source)
        shared = self.shared.to(source.device, torch.bool)
        return torch.where(shared, source[..., self.origin.to(source.device)], target)


def refined(source: Tokens, target: Tokens) -> TokenMap:
    """What both prompts say is taken from the source; new words keep their own. Padding maps to itself."""
    length = _same_length(source, target)
    before, after = units(source), units(target)
    origin, shared = torch.arange(length), torch.ones(length)
    for unit, found in zip(after, aligned(before, after), strict=True):
        if found is None:
            shared[unit.span] = 0.0
        else:
            first = before[found].span.start
            origin[unit.span] = torch.arange(first, first + unit.span.stop - unit.span.start)
    return TokenMap(origin, shared)


def replaced(source: Tokens, target: Tokens, *, tail: Tail = "fixed") -> TokenMap:
    """Word k of the target takes the map of word k of the source; n tokens in the place of m share it evenly.

    Raises InputError where the prompts have not the same number of words.
    """
    length = _same_length(source, target)
    before, after = units(source), units(target)
    if len(before) != len(after):
        raise InputError(
            f'"{target.prompt}" has {len(after) - 2} words and "{source.prompt}" {len(before) - 2}: words can be '
            "replaced one by one only where there are as many (mode refine takes any two prompts)"
        )
    matrix = torch.zeros(length, length)
    pairs = list(zip(before, after, strict=True))
    for old, new in pairs:
        s, u = old.span, new.span
        n, m = s.stop - s.start, u.stop - u.start
        matrix[s, u] = torch.eye(n) if n == m else torch.full((n, m), 1 / m)
    uneven = [k for k, (old, new) in enumerate(pairs) if old.key != new.key]
    if tail == "official" and uneven:
        matrix[:, pairs[uneven[-1]][1].span.stop :] = 0
    first = pairs[uneven[-1]][1].span.stop if tail == "official" and uneven else after[-1].span.stop
    shift = 0 if tail == "official" else before[-1].span.stop - after[-1].span.stop
    for position in range(first, length):
        origin = position + shift
        matrix[origin if origin < length else position, position] = 1.0
    return TokenMap(torch.arange(length), torch.ones(length), matrix)


def swapped(source: Tokens, target: Tokens) -> list[tuple[Unit, Unit]]:
    """The words that stand in others' places, where both prompts have as many; else nothing."""
    before, after = units(source), units(target)
    if len(before) != len(after):
        return []
    return [(a, b) for a, b in zip(before, after, strict=True) if a.key != b.key]


def chosen(source: Tokens, target: Tokens) -> Literal["replace", "refine"]:
    """Replace where words are swapped for others and all that stay keep their place; refine elsewhere, and where a
    swapped word is a learned one: the map of the word in its place would force a shape on it (Custom-Edit)."""
    pairs = swapped(source, target)
    learned = {position for position, _, _ in target.splices}
    before, after = units(source), units(target)
    staying = sum(i is not None for i in aligned(before, after))
    in_place = sum(a.key == b.key for a, b in zip(before, after, strict=False))
    if not pairs or staying > in_place or any(new.span.start in learned for _, new in pairs):
        return "refine"
    return "replace"


def dropped(source: Tokens, target: Tokens) -> list[str]:
    """The source's words that the target no longer says."""
    before, after = units(source), units(target)
    kept = {i for i in aligned(before, after) if i is not None}
    return [unit.text for i, unit in enumerate(before) if i not in kept and unit.text]


def places(tokens: Tokens, phrase: str) -> list[int]:
    """The positions of a word or phrase, wherever it stands. InputError where the prompt does not hold it."""
    found = list(range(*tokens.span(phrase).indices(len(tokens.ids))))
    occurrence = 1
    while True:
        try:
            span = tokens.span(phrase, occurrence=occurrence)
        except InputError:
            return found
        found += range(span.start, span.stop)
        occurrence += 1


def holds(tokens: Tokens, phrase: str) -> bool:
    """Whether a prompt holds a phrase."""
    try:
        tokens.span(phrase)
    except InputError:
        return False
    return True


def _same_length(source: Tokens, target: Tokens) -> int:
    assert len(source.ids) == len(target.ids)  # one encoder reads both
    return len(source.ids)
