"""The states of words as cross-attention reads them: a concept's own words, and those of captions (card 2.2).

A concept's words are its token with its noun, found by name, and the end of the text behind them, in two captions: the
words alone, and the prompt that it was learned with. Of other captions every word counts, and the end; the start of the
text counts in neither. Text encoders of Stable Diffusion look back only, so that prompts are cut behind their end, and
what several begin with is read once (`packs`): the states are the same, and several times quicker to come by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.learn.examples import plain_words
from motif.learn.general import kept_rows
from motif.learn.packs import read_together
from motif.text import Tokens
from motif.tokens import TOKEN

STYLES = frozenset(("art", "painting", "style"))
"""Nouns of styles, as whole words: "cartoon" is none (card 9.1, 15)."""

IN_A_ROW = re.compile(rf"{TOKEN.pattern}(?:\s+{TOKEN.pattern})+")
"""One word of several learned tokens."""


@dataclass(frozen=True, eq=False)
class Words:
    """The states of one concept's words in one caption."""

    concept: int
    phrase: str  # "<new1> dog"
    rows: Tensor  # [row, channel], float64 on the CPU


def word_rows(
    base: Base, concepts: Sequence[Concept], vectors: Mapping[str, tuple[Tensor, ...]]
) -> list[Words]:
    """The rows of every concept, in order; `vectors` are those of all their tokens."""
    told = [
        (i, phrase, where) for i, concept in enumerate(concepts) for phrase, where in captions_of(concept)
    ]
    placed = {t: tuple(v.to(base.device) for v in parts) for t, parts in vectors.items()}
    dressed = base.dressed({}, placed, {})
    states = _states(dressed, [where for _, _, where in told])
    return [
        Words(i, phrase, state[_positions(tokens, phrase)])
        for (i, phrase, _), (tokens, state) in zip(told, states, strict=True)
    ]


def caption_rows(base: Base, captions: Sequence[str], general: Sequence[str] = ()) -> Tensor:
    """The states of every word of every caption and of its end: [row, channel], float64 on the CPU. Of those captions
    that are general ones they are kept on this machine."""
    known = kept_rows(base, general, _rows_of) if set(captions) & set(general) else {}
    own = [caption for caption in captions if caption not in known]
    rows = known | dict(zip(own, _rows_of(base, own), strict=True))
    return torch.cat([rows[caption] for caption in captions])


def _rows_of(base: Base, captions: Sequence[str]) -> list[Tensor]:
    return [state[1 : tokens.end + 1] for tokens, state in _states(base, captions)]


def captions_of(concept: Concept) -> list[tuple[str, str]]:
    """(words, caption) pairs that stand for a concept. InputError where its words are not known."""
    prompts = concept.record.prompts
    contexts = {
        **{phrase: _context(phrase, tokens, prompts) for phrase, tokens in _named(concept).items()},
        **_plain(prompts),
    }
    if contexts:
        return [(phrase, caption) for phrase, context in contexts.items() for caption in (phrase, context)]
    raise InputError(
        f"a concept by {concept.record.method} has neither a token nor a prompt: what it is called is not known"
    )


def phrases_of(concept: Concept) -> tuple[str, ...]:
    """What a concept's words are: its tokens with their nouns, and the words of prompts that name no token."""
    return (*_named(concept), *_plain(concept.record.prompts))


def _named(concept: Concept) -> dict[str, tuple[str, ...]]:
    """{a token with its noun, or tokens that were learned in a row with theirs: those tokens}."""
    rows = [tuple(TOKEN.findall(row.group())) for p in concept.record.prompts for row in IN_A_ROW.finditer(p)]
    rows = [row for row in dict.fromkeys(rows) if concept.tokens.keys() >= {*row}]
    alone = [(token,) for token in concept.tokens if not any(token in row for row in rows)]
    nouns = concept.record.nouns
    return {f"{' '.join(words)} {nouns.get(words[-1], '')}".strip(): words for words in (*alone, *rows)}


def _plain(prompts: Sequence[str]) -> dict[str, str]:
    """{what a prompt without a token is of: that prompt}."""
    found = {plain_words(prompt): prompt for prompt in prompts if not TOKEN.search(prompt)}
    return {phrase: prompt for phrase, prompt in found.items() if phrase}


def _context(phrase: str, tokens: Sequence[str], prompts: Sequence[str]) -> str:
    """The prompt that a word was learned with, where one names that word alone; else the field's."""
    for prompt in prompts:
        if set(TOKEN.findall(prompt)) == {*tokens} and phrase.lower() in prompt.lower():
            return prompt
    style = STYLES & set(phrase.lower().split())
    return f"painting in the style of {phrase}" if style else f"photo of a {phrase}"


def _positions(tokens: Tokens, phrase: str) -> list[int]:
    """Of the words, and of the end of the text."""
    span = tokens.span(phrase)
    return [*range(span.start, span.stop), tokens.end]


def _states(base: Base, prompts: Sequence[str]) -> list[tuple[Tokens, Tensor]]:
    """(tokens, states [position, channel]) of every prompt in order, read in float32, the encoders' side by side."""
    cuts = base.tokenise(prompts)  # [encoder][prompt]
    lengths = [max(tokens.end for tokens in prompt) + 1 for prompt in zip(*cuts, strict=True)]
    exact = _in_float32(base)
    with exact.on(), torch.no_grad():
        read = [
            read_together(reader, cut, lengths, {token: v[i] for token, v in exact.vectors.items()})
            for i, (reader, cut) in enumerate(zip(exact.models.readers, cuts, strict=True))
        ]
    states = (torch.cat(parts, -1).double().cpu() for parts in zip(*read, strict=True))
    return list(zip(cuts[0], states, strict=True))


def _in_float32(base: Base) -> Base:
    """The base with its text encoders in float32."""
    own = {name: w for name, w in base.models.own.items() if name.startswith("text_encoder")}
    exact = {name: w.detach().float() for name, w in own.items() if w.dtype != torch.float32}
    return base.dressed(exact, base.vectors, {})
