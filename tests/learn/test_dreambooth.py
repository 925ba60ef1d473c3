"""DreamBooth and fine-tune-all: every weight learns, low rank or whole; a rare word or a token (card 1.2, 7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from motif.concept import Concept
from motif.errors import InputError
from motif.lanes import draw
from motif.learn import Examples, dreambooth, fine_tune_all
from motif.learn.dreambooth import LAYERS
from pieces import Model

PROMPT, RARE = "photo of a <new1> cat", "a sks cat"
QUICK: dict[str, Any] = {"steps": 2, "batch_size": 2, "lr": 1e-3, "prior": "base"}


def rare(photos: Path) -> Examples:
    return Examples(photos, RARE, token=None)


def test_every_weight_of_the_unet_learns_and_the_rare_word_does_not(base: Any, photos: Path) -> None:
    concept = dreambooth(base, Examples(photos, PROMPT), **QUICK)
    assert set(concept.changes) == {name for name in base.models.own if name.startswith("unet.")}
    for reader, (row,) in zip(base.models.readers, concept.tokens["<new1>"], strict=True):
        assert torch.equal(row, reader.encoder.get_input_embeddings().weight[reader.token_id("ktn")])
    moved = [float(change.full().abs().max()) > 0 for change in concept.changes.values()]
    assert sum(moved) > 0.9 * len(moved)


def test_a_rare_word_makes_a_concept_without_a_token(base: Any, photos: Path, tmp_path: Path) -> None:
    concept = dreambooth(base, rare(photos), **QUICK)
    assert not concept.tokens and not concept.record.nouns and concept.record.prompt == RARE
    assert concept.record.settings["class_prompt"] == ["a cat"]
    again = Concept.load(concept.save(tmp_path / "c.safetensors"))
    assert again == concept
    mine, theirs = (next(draw(b, [RARE], seeds=[0], steps=2)) for b in (base.wear(again), base))
    assert mine.tobytes() != theirs.tobytes()


@pytest.mark.parametrize("rank", [1, 4])
def test_low_rank_changes_are_of_the_attention_alone_and_saved_as_such(
    base: Any, photos: Path, tmp_path: Path, rank: int
) -> None:
    concept = dreambooth(base, rare(photos), **QUICK, lora=rank)
    attention = {
        f"unet.{s.name}.{p}.weight" for s in base.models.sites for p in ("to_q", "to_k", "to_v", "to_out.0")
    }
    assert set(concept.changes) == attention
    for change in concept.changes.values():
        assert change.dense is None and change.up is not None and change.up.shape[1] == rank
        assert change.full().abs().max() > 0
    assert Concept.load(concept.save(tmp_path / "c.safetensors")) == concept


def test_low_rank_starts_at_the_base(sd1: Model, photos: Path) -> None:
    """up is zero, down is not: the first step's gradient moves up alone, so nothing is lost at the start."""
    from motif.learn.trained import Trained

    names = [n for n in sd1.base.models.own if LAYERS.search(n) and n.startswith("unet.")]
    values = Trained.start(sd1.base, names, {}, {}, rank=2, seed=3)
    dressed = values.on(sd1.base)
    assert all(torch.equal(dressed.weight(n), sd1.base.weight(n)) for n in names)
    downs = torch.cat([down.flatten() for _, down in values.thin.values()])
    assert float(downs.detach().std()) == pytest.approx(0.5, rel=0.1)
    again = Trained.start(sd1.base, names, {}, {}, rank=2, seed=3)
    assert all(torch.equal(values.thin[n][1], again.thin[n][1]) for n in names)


@pytest.mark.parametrize("lora", [0, 2])
def test_the_text_encoders_learn_where_they_are_asked_to(base: Any, photos: Path, lora: int) -> None:
    concept = dreambooth(base, rare(photos), **QUICK, train_text_encoder=True, lora=lora)
    text = {name for name in concept.changes if name.startswith("text_encoder")}
    assert {name.split(".")[0] for name in text} == base.models.parts().keys() - {"unet"}
    if lora:
        assert all(name.endswith("_proj.weight") for name in text)
    moved = [name for name in text if concept.changes[name].full().abs().max() > 0]
    assert len(moved) > 0.5 * len(text)
    with torch.no_grad():
        assert not torch.equal(base.wear(concept).read(RARE).states, base.read(RARE).states)


def test_the_prior_s_text_is_read_anew_where_the_encoder_learns(sd1: Model, photos: Path) -> None:
    """Its gradient reaches the encoder: with a heavy prior the encoder ends elsewhere than without one."""
    light, heavy = (
        dreambooth(sd1.base, rare(photos), **QUICK | {"prior": "generate", "prior_count": 2, "prior_steps": 2},
                   train_text_encoder=True, prior_weight=weight)
        for weight in (0.0, 100.0)
    )  # fmt: skip
    name = next(n for n in light.changes if n.startswith("text_encoder.") and n.endswith("q_proj.weight"))
    assert not torch.equal(light.changes[name].full(), heavy.changes[name].full())


@pytest.mark.parametrize(
    ("prompt", "settings", "words"),
    [
        ("a cat", {}, "neither a <token> nor the rare word"),
        ("a zwx cat", {"rare_word": "sks"}, "sks"),
        ("a sksy cat", {}, "neither"),
        (RARE, {"lora": -1}, "lora -1"),
        (RARE, {"token_lr": 1e-3}, "token_lr is of a new word"),
    ],
)
def test_what_cannot_work(
    sd1: Model, photos: Path, prompt: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        dreambooth(sd1.base, Examples(photos, prompt, token=None), **QUICK | settings)


def test_two_concepts_share_every_step_and_each_has_its_class(sd1: Model, photos: Path) -> None:
    both = [Examples(photos, PROMPT), Examples(photos, "photo of a <new2> tea pot")]
    assert dreambooth.settle(sd1.base, both)["steps"] == 2 * 800
    concept = dreambooth(sd1.base, both, **QUICK | {"batch_size": 2, "prior": "base"})
    assert list(concept.tokens) == ["<new1>", "<new2>"]
    assert concept.record.settings["class_prompt"] == ["photo of a cat", "photo of a tea pot"]
    assert not torch.equal(
        *(parts[0] for parts in concept.tokens.values())
    )  # a rare token of its own for each
    with pytest.raises(InputError, match=r'each has a <token>, and "a sks cat" names none'):
        dreambooth(sd1.base, [both[0], rare(photos)], **QUICK | {"batch_size": 2})


def test_a_rare_word_beside_a_token_is_refused_and_another_one_is_heard(sd1: Model, photos: Path) -> None:
    with pytest.raises(InputError, match="leave the rare word zwx out"):
        dreambooth(sd1.base, Examples(photos, PROMPT), **QUICK, rare_word="zwx")
    concept = dreambooth(sd1.base, Examples(photos, "a zwx cat", token=None), **QUICK, rare_word="zwx")
    assert concept.record.settings["class_prompt"] == ["a cat"]


def test_the_published_numbers(sd1: Model, photos: Path) -> None:
    for given, steps, lr in (({}, 800, 5e-6), ({"lora": 4}, 500, 1e-4)):
        settings = dreambooth.settle(sd1.base, rare(photos), **given)
        assert (settings["steps"], settings["lr"], settings["batch_size"]) == (steps, lr, 1)
        assert settings["scale_lr"] is False and settings["prior_count"] == 200
    settings = fine_tune_all.settle(sd1.base, Examples(photos, PROMPT))
    assert (settings["steps"], settings["lr"], settings["token_lr"], settings["batch_size"]) == (
        500,
        1e-6,
        1e-6,
        4,
    )


def test_advice_for_low_rank_changes_is_their_own(sd1: Model, photos: Path) -> None:
    import dataclasses

    base = dataclasses.replace(sd1.base, advice={"dreambooth": {"steps": 3}, "dreambooth-lora": {"lr": 1e-2}})
    whole, thin = (dreambooth.settle(base, rare(photos), lora=rank) for rank in (0, 2))
    assert (whole["steps"], whole["lr"], thin["steps"], thin["lr"]) == (3, 5e-6, 500, 1e-2)


def test_fine_tune_all_moves_the_unet_and_the_word(base: Any, photos: Path) -> None:
    concept = fine_tune_all(base, Examples(photos, PROMPT), **QUICK)
    assert set(concept.changes) == {name for name in base.models.own if name.startswith("unet.")}
    for reader, (row,) in zip(base.models.readers, concept.tokens["<new1>"], strict=True):
        assert not torch.equal(row, reader.encoder.get_input_embeddings().weight[reader.token_id("ktn")])
