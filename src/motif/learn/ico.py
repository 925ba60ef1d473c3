"""ICO: image-specific contexts around a word of several vectors, so that what one photo says does not go into the word.

    P_i = [I]ⁱ_1 ... [I]ⁱ_M  [T]_1 ... [T]_S  [E]  [I]ⁱ_M+1 ... [I]ⁱ_M+L         (eq. 2; contexts I, word T, noun E)

Jin et al. 2024 (arXiv 2412.04831), section 3.2; card of ICO and DCI 2 and 3. As Custom Diffusion on whole photos; each
photo has M + L context vectors of its own, which learn ten times as fast, and are thrown away. "official" positions are
the published code's: contexts are what the text transformer reads after its position embedding (they start from the
rows at positions 1 ... of a template), and V* has the position embeddings 1 ... S while it is learned; "clean" ones put
everything where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

import torch
from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.learn.examples import Examples
from motif.learn.lesson import Lesson
from motif.learn.recipes import COMPVIS
from motif.learn.starts import class_prompts, require_word, row, weights
from motif.learn.trained import Rates, Vectors
from motif.learn.training import Training, method
from motif.text import Reader
from motif.weights import is_cross_kv

PAPER = {
    "steps": 900, "batch_size": 3, "lr": 1e-5, "token_lr": None, "prior_count": 118, "prior_steps": 50, "masked": False,
    "context_factor": 10.0,
}  # fmt: skip
"""The published code's numbers (card 3.2): 6 pictures a step on three GPUs, 6e-5 in all."""

SCHEMES = {"ico": (4, 2, 2), "ico-for-dci": (1, 1, 3)}
"""(M contexts before, L behind, S vectors of the word)."""

BEFORE = ("", "a", "photo of", "photo of a", "a photo of a")
"""What M contexts start from; those behind the noun start from full stops."""


@method("ico", PAPER)
def ico(
    base: Base,
    examples: Examples,
    *,
    token_lr: float | None = None,
    scheme: Literal["ico", "ico-for-dci"] = "ico",
    before: int | None = None,
    after: int | None = None,
    vectors: int | None = None,
    context_factor: float | None = None,
    positions: Literal["official", "clean"] = "official",
    rare_tokens: Sequence[str] = ("ktn", "pll", "ucd</w>"),
    **training: Unpack[Training],
) -> Lesson:
    """Learn a concept from a few photos by Image-specific Context Optimization.

    Only the token and the noun of the prompt count: contexts stand in the place of the other words, and photos' own
    captions are not used.

    Args:
        token_lr: The word's base learning rate (paper: the same as lr); 0 leaves it as it starts.
        scheme: ico (4 contexts before, 2 behind, 2 vectors), or ico-for-dci (1, 1, 3).
        before: Contexts before the word, 0 to 4; the default is the scheme's.
        after: Contexts behind the noun; the default is the scheme's.
        vectors: Vectors of the word; the default is the scheme's.
        context_factor: How many times as fast as the word the contexts learn; as the weights, where the word does not.
        positions: official (as the published code embeds positions) or clean (everything where it stands).
        rare_tokens: The vocabulary entries that the word's vectors start from, the last first (paper: ktn, pll, ucd).
    """
    token = require_word(examples, "ico")
    asked = zip((before, after, vectors), SCHEMES[scheme], strict=True)
    first, last, length = (default if given is None else given for given, default in asked)
    if not (0 <= first < len(BEFORE) and last >= 0 and 1 <= length <= len(rare_tokens)):
        raise InputError(
            f"before {first}, after {last}, vectors {length}: 0 to {len(BEFORE) - 1} contexts before, none or more "
            f"behind, and 1 to {len(rare_tokens)} vectors, one for each rare token"
        )
    if not examples.noun or examples.tokens != (token,):
        raise InputError(
            f'the prompt "{examples.prompt}" must name one token and its class: "photo of a <new1> cat"'
        )
    ends = [
        (f"<·before·{i}>" if first else "", f"<·after·{i}>" if last else "") for i in range(len(examples))
    ]
    captions = [f"{head} {examples.phrase} {tail}".strip() for head, tail in ends]
    rare = list(rare_tokens)[:length][::-1]
    words = {token: _rows(base, rare)}
    heads = {head: _rows(base, _entries(BEFORE[first])) for head, _ in ends if head}
    tails = {tail: _rows(base, _entries("." * last)) for _, tail in ends if tail}
    contexts, shifts = {**heads, **tails}, dict[str, tuple[Tensor, ...]]()
    if positions == "official":
        contexts, shifts = _official(base, captions, token, words, contexts)
    lr, word_lr = training.get("lr") or 0.0, token_lr or 0.0
    return Lesson(
        COMPVIS,
        Rates(weights=lr, words=word_lr, contexts=(context_factor or 0.0) * (word_lr or lr)),
        [class_prompts(examples, COMPVIS)],
        weights=weights(base, is_cross_kv),
        words=words,
        contexts=contexts,
        shifts=shifts,
        captions=[captions],
    )


def _official(
    base: Base, captions: Sequence[str], token: str, words: Vectors, contexts: Vectors
) -> tuple[dict[str, tuple[Tensor, ...]], dict[str, tuple[Tensor, ...]]]:
    """The contexts with the position embeddings 1 ... that they start from, and what takes away from every vector the
    embedding of the place where it stands, and gives V* those of 1 ... S."""
    started, shifts = dict[str, list[Tensor]](), dict[str, list[Tensor]]()
    for k, reader in enumerate(base.models.readers):
        table = _positions(reader)
        where = _places(reader, captions, {**words, **contexts})
        for name, parts in (*words.items(), *contexts.items()):
            first = table[1 : len(parts[k]) + 1]
            if name != token:
                started.setdefault(name, []).append(parts[k] + first)
            shifts.setdefault(name, []).append((first if name == token else 0.0) - table[where[name]])
    return {n: tuple(v) for n, v in started.items()}, {n: tuple(v) for n, v in shifts.items()}


def _entries(words: str) -> list[str]:
    """Vocabulary entries of words that are one token each, and of full stops."""
    return [f"{word}</w>" for word in words.replace(".", " . ").split()]


def _rows(base: Base, entries: Sequence[str]) -> tuple[Tensor, ...]:
    return tuple(torch.cat([row(reader, entry) for entry in entries]) for reader in base.models.readers)


def _positions(reader: Reader) -> Tensor:
    """The position embeddings [position, channel] of a text encoder."""
    encoder: Any = getattr(reader.encoder, "text_model", reader.encoder)
    return encoder.embeddings.position_embedding.weight.detach()


def _places(reader: Reader, captions: Sequence[str], words: Vectors) -> Mapping[str, list[int]]:
    """{word: the positions that its vectors have in the captions}."""
    lengths = {name: len(parts[0]) for name, parts in words.items()}
    found: dict[str, list[int]] = {}
    for caption in captions:
        places: dict[str, list[int]] = {}
        for position, name, _ in reader.tokenise(caption, lengths).splices:
            places.setdefault(name, []).append(position)
        found |= places
    return found
