"""Textual Inversion: only the vectors learn; where they start; what is said of the photos (card 6)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from motif.errors import InputError
from motif.learn import Examples, textual_inversion
from motif.learn.textual_inversion import PAPER, TEMPLATES
from pieces import Model

PROMPT = "photo of a <new1> cat"
QUICK: dict[str, Any] = {"steps": 2, "batch_size": 2, "lr": 1e-3}


def rows(base: Any, phrase: str) -> list[torch.Tensor]:
    """The token table's rows of a phrase, in every encoder."""
    return [
        r.encoder.get_input_embeddings().weight[r.tokenizer(phrase, add_special_tokens=False)["input_ids"]]
        for r in base.models.readers
    ]


def test_only_the_word_learns(base: Any, photos: Path) -> None:
    concept = textual_inversion(base, Examples(photos, PROMPT), **QUICK)
    assert not concept.changes and concept.record.settings["prior"] == "none"
    for learned, (start,) in zip(concept.tokens["<new1>"], rows(base, "cat"), strict=True):
        assert learned.shape == (1, 24) and not torch.allclose(learned[0], start)


@pytest.mark.parametrize(
    ("initial", "vectors", "how"),
    [
        ("", 1, "row"),
        ("cat of tea", 3, "rows"),
        ("cat of tea", 1, "mean"),
        ("cat", 4, "mean"),
        ("photo of", 2, "rows"),
    ],
)
def test_where_the_vectors_start(base: Any, photos: Path, initial: str, vectors: int, how: str) -> None:
    """A phrase of as many tokens gives its rows, another one its mean."""
    concept = textual_inversion(
        base, Examples(photos, PROMPT), initial=initial, vectors=vectors, **QUICK | {"lr": 1e-9}
    )
    for learned, found in zip(concept.tokens["<new1>"], rows(base, initial or "cat"), strict=True):
        expected = found if how in ("row", "rows") else found.mean(0, keepdim=True).expand(vectors, -1)
        assert torch.allclose(learned, expected, atol=1e-6)


def test_the_vectors_of_one_word_become_different_ones(sd1: Model, photos: Path) -> None:
    concept = textual_inversion(sd1.base, Examples(photos, PROMPT), vectors=2, **QUICK)
    (learned,) = concept.tokens["<new1>"]
    assert not torch.allclose(learned[0], learned[1])


@pytest.mark.parametrize(
    ("prompt", "settings", "words"),
    [
        ("photo of a <new1>", {}, "--initial"),
        (PROMPT, {"vectors": 0}, "vectors 0"),
        ("a <new1> cat and a <new2> tea", {}, "<new2> too"),
    ],
)
def test_what_cannot_be_learned(
    sd1: Model, photos: Path, prompt: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        textual_inversion(sd1.base, Examples(photos, prompt), **QUICK | settings)


def test_photos_that_teach_no_word_are_refused(sd1: Model, photos: Path) -> None:
    with pytest.raises(InputError, match="teach none"):
        textual_inversion(sd1.base, Examples(photos, "photo of a cat", token=None), **QUICK)


@pytest.mark.parametrize(
    ("kind", "prompt"), [("object", PROMPT), ("style", "painting in the style of <new1>")]
)
def test_every_template_is_drawn_and_the_prompt_s_words_stand_in_it(
    sd1: Model, photos: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, prompt: str
) -> None:
    """Each with equal chances; photos are whole, and flipped in half of the draws."""
    plan = textual_inversion.plan(sd1.base, Examples(photos, prompt), templates=kind, initial="cat", lr=1e-3)
    import numpy as np

    from motif.learn.augment import look

    rng, n = np.random.default_rng(0), 6000
    drawn = [look(plan.recipe.resizing, 16, 2, rng, augment=False)[0] for _ in range(n)]
    counts = Counter(how.prefix for how in drawn)
    assert set(counts) == set(TEMPLATES[kind]) and all(how.whole(16) for how in drawn)
    for template, expected in Counter(TEMPLATES[kind]).items():
        assert counts[template] == pytest.approx(n * expected / len(TEMPLATES[kind]), rel=0.35)
    assert plan.captions == [["<new1> cat" if kind == "object" else "<new1>"] * 3]


def test_the_paper_s_numbers() -> None:
    assert (len(TEMPLATES["object"]), len(TEMPLATES["style"])) == (27, 19)
    assert len(set(TEMPLATES["object"])) == 27 and len(set(TEMPLATES["style"])) == 17
    assert (PAPER["steps"], PAPER["batch_size"], PAPER["lr"]) == (5000, 4, 5e-3)
