"""`sample.elite` and local attention: the equation, the limits, several concepts, other samplers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motif.attention import Call, Row, Site
from motif.errors import InputError
from motif.local import LocalAttention
from motif.sample import dci, plain
from motif.sample.elite import TEMPLATES, default_strength, elite
from motif.text import Text, Tokens
from pieces import concept_of, encoded

SITE = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"


def same(a: Any, b: Any) -> bool:
    return [image.tobytes() for image in a] == [image.tobytes() for image in b]


def near(a: Any, b: Any) -> bool:
    return all(
        np.abs(np.asarray(x).astype(int) - np.asarray(y)).max() <= 1 for x, y in zip(a, b, strict=True)
    )


def call_of(splices: list[tuple[tuple[int, str, int], ...]], control: Any) -> Call:
    tokens = tuple(Tokens("", (0,) * 6, (None,) * 6, one, 5) for one in splices)
    text = Text(("",) * len(tokens), torch.zeros(len(tokens), 6, 3), None, tokens)
    empty = Text(("",), torch.zeros(1, 6, 3), None, (Tokens("", (0,) * 6, (None,) * 6, (), 1),))
    rows = (Row("main", "uncond", slice(0, 2), empty), Row("main", "cond", slice(2, 4), text))
    return Call(rows, 0, 1, 1, (2, 3), (control,))


@given(
    seed=st.integers(0, 999), strength=st.floats(0.1, 2), form=st.sampled_from(["image", "release", "none"])
)
def test_the_equation(seed, strength, form):
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    k, v = random(5, 8), random(5, 8)
    k[2:4], v[2:4] = 0, 0  # masked patches stay in the softmax
    control = LocalAttention({"<S>": {SITE: (k, v)}}, strength, form)
    call = call_of([((1, "<S>", 0),), ((4, "<S>", 0),)], control)
    q, out = random(4, 2, 6, 4), random(4, 2, 6, 4)
    maps = random(4, 2, 6, 6).softmax(-1)
    site = Site(SITE, "cross", "down")
    got = control.output(site, call, q, maps, out)
    assert torch.equal(got[:2], out[:2])  # the empty prompt hears nothing
    shares = [maps[2][:, :, 1], maps[3][:, :, 4]]
    for i, share in enumerate(shares):
        most = {"image": share.max(), "release": max(s.max() for s in shares)}.get(form)
        share = torch.ones_like(share) if most is None else share / most
        for head in range(2):
            cut = slice(4 * head, 4 * head + 4)
            local = (q[2 + i, head] @ k[:, cut].T / 4**0.5).softmax(-1) * share[head][:, None]
            wanted = out[2 + i, head] + strength * local @ v[:, cut]
            assert torch.allclose(got[2 + i, head], wanted, atol=1e-5)


def test_0_is_the_word_alone(small):
    concept = encoded(small.base)
    word = small.base.wear(dataclasses.replace(concept, local={}))
    full = small.base.wear(concept)
    alone = plain(word, "a <S> cat", n=2, steps=2)
    assert same(elite(full, "a <S> cat", n=2, steps=2, local=0), alone)
    assert not same(elite(full, "a <S> cat", n=2, steps=2, local=0.8), alone)
    zero = {site: (0 * k, 0 * v) for site, (k, v) in concept.local["<S>"].items()}  # an all-zero mask
    assert near(
        elite(small.base.wear(dataclasses.replace(concept, local={"<S>": zero})), "a <S> cat", n=2, steps=2),
        alone,
    )


def test_batches_change_nothing_but_in_release(small):
    base = small.base.wear(encoded(small.base))
    settings: dict[str, Any] = {"n": 2, "steps": 2, "local": 1}
    assert near(elite(base, "a <S>", **settings), elite(base, "a <S>", **settings, batch_size=1))
    one = elite(base, "a <S>", n=1, steps=2, local=1, maximum="release")
    assert near(one, elite(base, "a <S>", n=1, steps=2, local=1))


def test_oblong(small):
    base = small.base.wear(encoded(small.base))
    assert elite(base, "a <S>", steps=1, height=16, width=24)[0].size == (24, 16)


def test_two_concepts_each_at_its_own_word(small):
    one, two = encoded(small.base), encoded(small.base, "<S2>", seed=5, patches=7)
    base = small.base.wear(one, two)
    both = elite(base, "a <S> and <S2>", steps=2)
    assert not same(both, elite(base, "a <S2> and <S>", steps=2))
    alone = small.base.wear(one, dataclasses.replace(two, local={}))
    assert not same(both, elite(alone, "a <S> and <S2>", steps=2))


def test_the_default_strength_is_the_paper_s(sd1):
    assert {default_strength(t.format("<S>")) for t in TEMPLATES} == {0.8}
    assert len(set(TEMPLATES)) == 27
    assert default_strength("a <S> on the beach") == 0.6
    base = sd1.base.wear(encoded(sd1.base))
    assert same(elite(base, "A photo of a <S>", steps=2), elite(base, "A photo of a <S>", steps=2, local=0.8))
    assert same(elite(base, "a <S> cat", steps=2), elite(base, "a <S> cat", steps=2, local=0.6))


def test_other_samplers_hear_it_too(small):
    base = small.base.wear(encoded(small.base))
    assert same(plain(base, "a <S> cat", steps=2), elite(base, "a <S> cat", steps=2, local=0.6))
    word = small.base.wear(dataclasses.replace(encoded(small.base), local={}))
    drawn = dci(base, "a <S> cat", steps=2, until=0.5, stand_in={"<S> cat": "tea"})
    assert not same(drawn, dci(word, "a <S> cat", steps=2, until=0.5, stand_in={"<S> cat": "tea"}))


@pytest.mark.parametrize(
    ("prompt", "settings", "says"),
    [
        ("a cat", {}, "names no encoded photo"),
        ("a <S>", {"local": -1}, "strength is -1"),
        ("a <S>", {"local": float("nan")}, "strength is nan"),
        ("a <S>", {"local": 0, "maximum": "release"}, "no local attention"),
    ],
)
def test_what_is_refused(sd1, prompt, settings, says):
    base = sd1.base.wear(encoded(sd1.base))
    with pytest.raises(InputError, match=says):
        elite(base, prompt, steps=1, **settings)
    if "maximum" not in settings:
        with pytest.raises(InputError):
            elite(sd1.base.wear(concept_of(sd1.base)), "a <new1>", steps=1)


DREAMBENCH = """
a {} in the jungle|a {} on a cobblestone street|a {} on top of a purple rug in a forest|a {} floating on top of water
a {} with the Eiffel Tower in the background|a red {}|a cube shaped {}|a {} wearing a black top hat and a monocle
zoomed in photo of the {}|a photo of my {}, wet|a photo of a {}'s hat|the {}.
"""  # card 8.1 and 4, and signs around the placeholder


@pytest.mark.parametrize("words", [1, 5])
def test_the_placeholder_is_found_by_tokens_whatever_words_stand_before_it(pocket, words):
    """Card 4: "close-up" and "zoomed" are several tokens, so that a count of words finds the wrong place; card 2.3:
    several words move what follows."""
    (reader,) = pocket.models.readers
    several = 0
    for prompt in [*TEMPLATES, *DREAMBENCH.strip().replace("\n", "|").split("|")]:
        before, _, behind = prompt.partition("{}")
        cut = [reader.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, behind)]
        found = reader.tokenise(prompt.replace("{}", "<S>"), {"<S>": words})
        first = 1 + len(cut[0])
        assert [at for at, _, _ in found.splices] == list(range(first, first + words))
        assert list(found.ids[1:first]) == cut[0]
        room = found.end - first - words
        assert list(found.ids[first + words : found.end]) == cut[1][:room] and (
            room == len(cut[1]) or found.end == reader.length - 1
        )
        several += first > 1 + len(before.split())
    assert several  # where a count of words would fail
