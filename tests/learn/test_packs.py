"""Prompts read together have the states of prompts read alone, and common beginnings are read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from motif.base import Base
from motif.learn import general as general_states
from motif.learn import target_words
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


def test_general_captions_are_read_once_and_kept_to_the_bit(
    small: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever a merge takes of them: the rows are those of all of them read together; a damaged file is made again."""
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "cache"))
    general, base = ["a photo of a cat", "a photo of tea", "a beach", "pot"], small.base
    calls: list[int] = []

    def spy(base: Base, captions: list[str]) -> list[torch.Tensor]:
        calls.append(len(captions))
        return target_words._rows_of(base, captions)

    fresh = general_states.kept_rows(base, general, spy)
    again = general_states.kept_rows(base, general, spy)
    assert calls == [4] and all(torch.equal(fresh[caption], again[caption]) for caption in general)
    asked = ["a photo of a cat on a beach", "pot", "a beach"]
    rows = caption_rows(base, asked, general)
    assert torch.equal(rows[-len(fresh["a beach"]) :], fresh["a beach"])
    assert torch.allclose(rows, caption_rows(base, asked), atol=2e-5)
    place = general_states.place_of(base, general)
    assert place.is_file() and place != general_states.place_of(base, general[:3])
    place.write_bytes(place.read_bytes()[:100])
    mended = general_states.kept_rows(base, general, spy)
    assert calls == [4, 4] and torch.equal(mended["pot"], fresh["pot"])
    assert torch.equal(general_states.kept_rows(base, general, spy)["pot"], fresh["pot"]) and calls == [4, 4]


def test_a_cache_that_cannot_be_written_is_none(
    small: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "file"))
    rows = caption_rows(small.base, ["a beach"], ["a beach", "pot"])
    assert torch.allclose(rows, caption_rows(small.base, ["a beach"]), atol=2e-5)


def test_other_weights_have_states_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path))
    one, other = (tiny.base_of(tiny.pipeline("sd1", seed=seed)) for seed in (0, 1))
    rows = [caption_rows(base, ["a beach"], ["a beach"]) for base in (one, other)]
    assert not torch.allclose(rows[0], rows[1], atol=1e-2)
