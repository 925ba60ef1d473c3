"""ICO: which positions hold what, which of them learn, and that contexts are thrown away (card of ICO 2, 3, 11)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from motif.errors import InputError
from motif.learn import Examples, ico
from motif.learn.batches import Batches, Group, Shown
from motif.learn.ico import SCHEMES
from motif.learn.prior import Prior
from motif.learn.recipes import COMPVIS
from motif.learn.trained import Trained
from motif.text import spliced
from pieces import Model

PROMPT = "photo of a <new1> tea pot"
QUICK: dict[str, Any] = {"steps": 2, "batch_size": 2, "lr": 1e-3, "prior": "base"}

positions = pytest.mark.parametrize("positions", ["official", "clean"])
schemes = pytest.mark.parametrize("scheme", sorted(SCHEMES))


def start(base: Any, photos: Path, **settings: Any) -> tuple[Any, Trained]:
    """A lesson and its values before the first step."""
    examples = Examples(photos, PROMPT)
    settled = {k: v for k, v in ico.settle(base, examples, **settings).items() if k != "precision"}
    lesson = ico.plan(base, examples, **settled)
    values = Trained.start(
        base, lesson.weights, lesson.words, {}, contexts=lesson.contexts, shifts=lesson.shifts
    )
    return lesson, values


def read_in(base: Any, values: Trained, caption: str) -> list[Tensor]:
    """What each text transformer reads: token plus position embeddings, [position, channel]."""
    dressed, found = values.on(base), list[Tensor]()
    cuts = dressed.tokenise([caption])
    for k, (reader, cut) in enumerate(zip(base.models.readers, cuts, strict=True)):
        embeddings = getattr(reader.encoder, "text_model", reader.encoder).embeddings
        with torch.no_grad(), spliced(reader.encoder, cut, {t: p[k] for t, p in dressed.vectors.items()}):
            found.append(embeddings(input_ids=torch.tensor([cut[0].ids]))[0])
    return found


@schemes
@positions
def test_every_position_holds_what_the_card_says(
    base: Any, photos: Path, scheme: str, positions: str
) -> None:
    """Card 2.1, 2.2: contexts start from a template's words; V* from rare tokens, the last one from ktn; the noun and
    the rest are plain. Officially contexts bring the positions of the template on its own, and V* has 1 ... S."""
    m, last, s = SCHEMES[scheme]
    lesson, values = start(base, photos, scheme=scheme, positions=positions)
    words = {1: "a", 4: "a photo of a"}[m].split()
    for reader, read in zip(base.models.readers, read_in(base, values, lesson.captions[0][0]), strict=True):
        embeddings = getattr(reader.encoder, "text_model", reader.encoder).embeddings
        table, places = embeddings.token_embedding.weight, embeddings.position_embedding.weight
        noun = reader.tokenizer("tea pot", add_special_tokens=False)["input_ids"]
        ids = [
            reader.tokenizer.bos_token_id,
            *(reader.token_id(f"{word}</w>") for word in words),
            *(reader.token_id(entry) for entry in ["ktn", "pll", "ucd</w>"][:s][::-1]),
            *noun,
            *[reader.token_id(".</w>")] * last,
        ]
        ids += [reader.tokenizer.eos_token_id] + [reader.tokenizer.pad_token_id] * (len(read) - len(ids) - 1)
        where = list(range(len(read)))
        if positions == "official":
            where[1 + m : 1 + m + s] = range(1, s + 1)
            first = 1 + m + s + len(noun)
            where[first : first + last] = range(1, last + 1)
        expected = table[ids] + places[where]
        assert torch.allclose(read, expected, atol=1e-6)


@positions
def test_each_photo_has_contexts_of_its_own_and_they_are_no_part_of_the_concept(
    base: Any, photos: Path, positions: str
) -> None:
    lesson, _ = start(base, photos)
    assert len(lesson.contexts) == 6 and len(set(lesson.captions[0])) == 3
    concept = ico(base, Examples(photos, PROMPT), **QUICK, positions=positions)
    assert list(concept.tokens) == ["<new1>"] and all(len(part) == 2 for part in concept.tokens["<new1>"])
    assert {name.rsplit(".", 2)[1] for name in concept.changes} == {"to_k", "to_v"}
    assert base.wear(concept).tokenise([f"a {PROMPT} on the beach"])


def loss(
    base: Any, lesson: Any, values: Trained, photos: Path, *, prior: bool, weight: float = 1.0
) -> Tensor:
    from PIL import Image

    pictures = (
        Prior((Image.new("RGB", (16, 16), "red"),) * 2, ("photo of a cat", "a cat"))
        if prior
        else Prior((), ())
    )
    shown = Shown.all(base, Examples(photos, PROMPT), COMPVIS, 16, masked=False, captions=lesson.captions[0])
    group = Group(shown, pictures)
    return Batches(base, [group], COMPVIS, batch_size=1, seed=0, side=16, augment=False).loss(
        values.on(base), 0, weight
    )


@positions
def test_gradients_reach_the_word_the_weights_and_the_shown_photo_s_contexts_alone(
    base: Any, photos: Path, positions: str
) -> None:
    """Card 2.3: of one photo's step, only its contexts; never the token table, nor the encoder."""
    lesson, values = start(base, photos, positions=positions)
    loss(base, lesson, values, photos, prior=False).backward()
    for name, value in {
        **values.weights,
        **{f"v{i}": v for i, v in enumerate(values.vectors["<new1>"])},
    }.items():
        assert value.grad is not None and value.grad.abs().max() > 0, name
    assert all(v.grad.abs().amax(1).gt(0).all() for v in values.vectors["<new1>"] if v.grad is not None)
    reached = {name[-2] for name, parts in values.contexts.items() if parts[0].grad is not None}
    assert len(reached) == 1, "the contexts of photos that were not shown learn"
    for name, parts in values.contexts.items():
        if name[-2] in reached:
            assert all(p.grad is not None and p.grad.abs().amax(1).gt(0).all() for p in parts), name
    for reader in base.models.readers:
        assert all(p.grad is None for p in reader.encoder.parameters())


def test_the_prior_teaches_no_word(base: Any, photos: Path) -> None:
    """Regularisation captions hold none: their share of the gradient is the weights' alone."""
    lesson, values = start(base, photos)
    words = [*values.vectors["<new1>"], *(p for parts in values.contexts.values() for p in parts)]
    matrices = [*values.weights.values()]
    found = [
        torch.autograd.grad(
            loss(base, lesson, values, photos, prior=True, weight=weight),
            [*words, *matrices],
            allow_unused=True,
        )
        for weight in (0.0, 1.0)
    ]
    without, beside = (part[: len(words)] for part in found)
    assert any(g is not None for g in without)
    for one, other in zip(without, beside, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-7)
    for one, other in zip(*(part[len(words) :] for part in found), strict=True):
        assert (one - other).abs().max() > 1e-6, "the prior teaches nothing at all"


def test_contexts_learn_ten_times_as_fast(sd1: Model, photos: Path) -> None:
    lesson, values = start(sd1.base, photos)
    rates = lesson.rates.times(6)
    assert (rates.weights, rates.words, rates.contexts) == pytest.approx((6e-5, 6e-5, 6e-4))
    groups = values.groups(rates)
    assert [group["lr"] for group in groups] == pytest.approx([6e-5, 6e-5, 6e-4])
    assert len(groups[2]["params"]) == 6
    faster, _ = start(sd1.base, photos, token_lr=1e-3, context_factor=3.0)
    assert faster.rates.contexts == pytest.approx(3e-3)


@pytest.mark.parametrize(
    ("prompt", "settings", "words"),
    [
        ("photo of a <new1>", {}, "its class"),
        ("photo of a <new1> cat and a <new2> tea", {}, "one token"),
        (PROMPT, {"before": 5}, "0 to 4"),
        (PROMPT, {"vectors": 4}, "1 to 3 vectors"),
        (PROMPT, {"after": -1}, "after -1"),
        (PROMPT, {"after": 12}, "too long"),
    ],
)
def test_what_cannot_work(
    sd1: Model, photos: Path, prompt: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        ico(sd1.base, Examples(photos, prompt), **QUICK | settings)


def test_no_contexts_and_one_vector_is_a_word_before_its_noun(sd1: Model, photos: Path) -> None:
    lesson, _ = start(sd1.base, photos, before=0, after=0, vectors=1)
    assert lesson.captions == [["<new1> tea pot"] * 3] and not lesson.contexts
    assert all(float(part.abs().max()) == 0 for part in lesson.shifts["<new1>"])
