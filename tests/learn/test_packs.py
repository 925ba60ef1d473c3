"""Prompts read together have the states of prompts read alone, and common beginnings are read once."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from motif.base import Base
from motif.learn.packs import read_together
from motif.learn.target_words import caption_rows
from motif.text import Reader
from pieces import concept_of

WORDS = ("photo", "cat", "of", "tea", "pot", "beach", "a", "<new1>", "<new2>")


def together(base: Base, prompts: list[str]) -> list[torch.Tensor]:
    """States of every prompt as far as its end, by packs: [prompt][position, channel]."""
    cuts = base.tokenise(prompts)
    lengths = [tokens.end + 1 for tokens in cuts[0]]
    with torch.no_grad():
        parts = [
            read_together(reader, cut, lengths, {t: v[i] for t, v in base.vectors.items()})
            for i, (reader, cut) in enumerate(zip(base.models.readers, cuts, strict=True))
        ]
    return [torch.cat(states, -1) for states in zip(*parts, strict=True)]


def alone(base: Base, prompt: str) -> torch.Tensor:
    text = base.read(prompt)
    return text.states[0, : text.tokens[0].end + 1]


def worn(base: Base) -> Base:
    return base.wear(concept_of(base, vectors=2), concept_of(base, "<new2>", seed=2))


@cache
def tiny_worn() -> Base:
    return worn(tiny.base_of(tiny.pipeline("sd1")))


def test_states_are_those_of_prompts_read_alone(small: Any) -> None:
    """Learned tokens of several vectors, prompts within prompts, the same prompt twice, an empty one, a long one."""
    base = worn(small.base)
    prompts = [
        "a photo of a cat", "a photo", "a photo of a <new1> cat", "a photo of a <new2> cat", "", "cat",
        "a photo of a <new1> cat", "a photo of a <new1>", " ".join(WORDS[:7] * 4),
    ]  # fmt: skip
    for prompt, states in zip(prompts, together(base, prompts), strict=True):
        assert torch.allclose(states, alone(base, prompt), atol=2e-5), prompt


@settings(max_examples=15)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1, max_size=12))
def test_any_prompts_in_any_order(prompts: list[str]) -> None:
    base = tiny_worn()
    for prompt, states in zip(prompts, together(base, prompts), strict=True):
        assert torch.allclose(states, alone(base, prompt), atol=2e-5), prompt


def test_a_common_beginning_is_read_once(sd1: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base, read = sd1.base, list[torch.Tensor]()
    forward = base.models.readers[0].encoder.forward

    def spy(**given: Any) -> Any:
        read.append(given["input_ids"])
        return forward(**given)

    monkeypatch.setattr(base.models.readers[0].encoder, "forward", spy)
    prompts = [f"a photo of a cat on a {word}" for word in ("beach", "pot", "photo", "cat")]
    caption_rows(base, prompts)
    reader: Reader = base.models.readers[0]
    (cut,) = base.tokenise(prompts[:1])
    lengths = [tokens.end + 1 for tokens in base.tokenise(prompts)[0]]
    shared = cut[0].span("beach").start
    assert [ids.shape for ids in read] == [(1, shared + sum(n - shared for n in lengths))]
    assert read[0].shape[1] < reader.length
