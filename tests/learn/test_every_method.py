"""The laws of every way to learn: a method is tested by being listed in `methods.LEARN`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from motif import methods
from motif.concept import Concept
from motif.errors import InputError, Interrupted
from motif.learn import Examples, custom_diffusion
from motif.learn.batches import Batches
from motif.learn.fit import Progress
from pieces import Model, concept_of, fingerprint, gap, predict

PROMPT = "photo of a <new1> cat"
SHORT: dict[str, Any] = {"steps": 2, "batch_size": 2, "lr": 1e-2}
QUICK = SHORT | {"prior": "generate", "prior_count": 3, "prior_steps": 2}
ALONE = SHORT | {"prior": "none"}

Learn = Callable[..., Concept]


@pytest.fixture(params=sorted(methods.LEARN))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def learn(name: str) -> Learn:
    return methods.load("learn", name)


@pytest.fixture
def examples(photos: Path) -> Examples:
    return Examples(photos, PROMPT)


def same(a: Concept, b: Concept) -> bool:
    """Equal to the bit, whatever their records say."""
    return dataclasses.replace(a, record=b.record) == b


def test_the_base_stays_as_it_was_and_the_concept_changes_what_it_says(
    base: Any, learn: Learn, name: str, examples: Examples
) -> None:
    """Also its record: the method, the base, the noun, and every setting as it was used."""
    before = fingerprint(base)
    concept = learn(base, examples, **QUICK)
    assert fingerprint(base) == before
    assert all(p.grad is None for p in base.models.own.values())
    x = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))  # not square
    with torch.no_grad():
        mine = predict(base.wear(concept), x, PROMPT)
        theirs = predict(base.wear(concept_of(base)), x, PROMPT)
    assert mine.isfinite().all() and not torch.equal(mine, theirs)
    record, settings = concept.record, concept.record.settings
    assert (record.method, record.base, record.nouns) == (name, base.origin, {"<new1>": "cat"})
    assert {k: settings[k] for k in QUICK} == QUICK and settings["class_prompt"]
    handled = {"base", "examples", "folder", "resume", "on_progress", "on_picture"}
    assert inspect.signature(learn).parameters.keys() - handled <= settings.keys()
    assert all(settings[k] is not None for k in ("masked", "seed"))


def test_same_seed_same_bits_and_another_seed_others(sd1: Model, learn: Learn, examples: Examples) -> None:
    first, again, other = (learn(sd1.base, examples, **ALONE, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert not same(first, other)


def test_resumed_is_never_stopped(sd1: Model, learn: Learn, examples: Examples, tmp_path: Path) -> None:
    base, settings = sd1.base, QUICK | {"checkpoint_every": 1, "preview_every": 0}
    whole = learn(base, examples, **settings | {"steps": 3}, folder=tmp_path / "whole")
    learn(base, examples, **settings | {"steps": 1}, folder=tmp_path / "parts")
    parts = learn(base, examples, **settings | {"steps": 3}, folder=tmp_path / "parts", resume=True)
    assert same(whole, parts)
    lines = [json.loads(line) for line in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    last = Concept.load(tmp_path / "parts" / "concept-0003.safetensors")
    assert last == parts and len(list((tmp_path / "parts").glob("concept-*"))) == 3


def test_ctrl_c_saves_and_resume_goes_on(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path
) -> None:
    settings = ALONE | {"steps": 3, "preview_every": 0}

    def press(progress: Progress) -> None:
        if progress.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="--resume"):
        learn(sd1.base, examples, **settings, folder=tmp_path, on_progress=press)
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 2
    seen: list[int] = []
    again = learn(
        sd1.base, examples, **settings, folder=tmp_path, resume=True,
        on_progress=lambda p: seen.append(p.step),
    )  # fmt: skip
    assert seen == [3] and same(again, learn(sd1.base, examples, **settings))


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"lr": 0.5}, "lr"), ({"seed": 5}, "seed"), ({"masked": None, "resolution": 32}, "resolution")],
)
def test_resume_with_another_setting_is_refused_by_name(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path, changed: dict[str, Any], word: str
) -> None:
    settings = ALONE | {"preview_every": 0, "folder": tmp_path}
    learn(sd1.base, examples, **settings)
    with pytest.raises(InputError, match=word):
        learn(sd1.base, examples, **settings | changed, resume=True)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"prior": "nowhere"}, "prior 'nowhere'"),
        ({"lr": -1.0}, "-1.0"),
        ({"steps": 0}, "steps 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"seed": -1}, "seed -1"),
        ({"prior": "generate", "prior_count": -1}, "prior_count"),
        ({"prior": "base", "prior_weight": -0.5}, "prior_weight"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"resume": True}, "run's folder"),
        ({"resolution": 17}, "multiples"),
        ({"previews": (PROMPT,)}, "previews are off"),
        ({"previews": ("a <new9> cat",), "preview_every": 1}, "<new9>|folder"),
        ({"retrieve_threshold": 0.9}, "add --retrieve"),
        ({"prior": "none", "class_prompt": ["a cat"]}, "the prior is none"),
        ({"masked": True}, "no photo has a mask"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_first_step(
    sd1: Model, learn: Learn, examples: Examples, settings: dict[str, Any], word: str
) -> None:
    def never(_: Progress) -> None:
        pytest.fail("a step was taken")

    with pytest.raises(InputError, match=word):
        learn(sd1.base, examples, **ALONE | settings, on_progress=never)


def test_a_setting_that_it_does_not_have_is_refused(sd1: Model, learn: Learn, examples: Examples) -> None:
    with pytest.raises(TypeError, match="learning_rate"):
        learn(sd1.base, examples, **ALONE, learning_rate=1e-3)


def test_previews_are_drawn_before_the_first_step_and_as_it_goes(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    learn(sd1.base, examples, **ALONE, preview_every=1, folder=tmp_path, on_progress=seen.append)
    assert [p.step for p in seen] == [0, 1, 2]
    pictures = [p.preview.read_bytes() for p in seen if p.preview]
    assert len(pictures) == 3 and pictures[0] != pictures[2]


def test_a_base_advises_and_only_what_it_may(sd1: Model, learn: Learn, name: str, examples: Examples) -> None:
    def advised(**advice: Any) -> Any:
        return dataclasses.replace(sd1.base, advice={name: advice})

    settings = {k: v for k, v in ALONE.items() if k not in ("steps", "lr")}
    concept = learn(advised(steps=1, lr=1e-3), examples, **settings)
    assert (concept.record.settings["steps"], concept.record.settings["lr"]) == (1, 1e-3)
    for advice, word in (({"scale_lr": False}, "scale_lr"), ({"steps": 2.5}, "steps = 2.5")):
        with pytest.raises(InputError, match=word):
            learn(advised(**advice), examples, **settings)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_learns_in_float32(learn: Learn, examples: Examples, kind: torch.dtype) -> None:
    low = tiny.base_of(tiny.pipeline("sd1"))
    for model in (low.models.unet, *(reader.encoder for reader in low.models.readers)):
        model.to(kind)
    concept = learn(low, examples, **ALONE | {"prior": "base"})
    assert concept.record.settings["precision"] == str(kind).removeprefix("torch.")
    learned = [*(c.full() for c in concept.changes.values()), *concept.tokens["<new1>"]]
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in learned)


def test_gradient_checkpointing_gives_the_same_values(sd1: Model, learn: Learn, examples: Examples) -> None:
    plain, sparing = (learn(sd1.base, examples, **ALONE, gradient_checkpointing=way) for way in (False, True))
    for a, b in zip(plain.tokens["<new1>"], sparing.tokens["<new1>"], strict=True):
        assert gap(a, b) < 1e-4
    assert all(gap(c.full(), sparing.changes[n].full()) < 1e-2 for n, c in plain.changes.items())


def test_what_the_base_says_of_the_class_is_kept_without_pictures(
    base: Any, learn: Learn, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--prior base`: before the first step the base's answer is met exactly; later it is not, and pulls."""
    loss, terms = Batches.loss, list[float]()

    def watched(self: Batches, on: Any, step: int, weight: float, *_: Any) -> Any:
        with torch.no_grad():
            terms.append(float(loss(self, on, step, 1.0)) - float(loss(self, on, step, 0.0)))
        return loss(self, on, step, weight)

    monkeypatch.setattr(Batches, "loss", watched)
    concept = learn(base, examples, **SHORT | {"prior": "base"})
    assert terms[0] == pytest.approx(0, abs=1e-6)
    assert not concept.changes or terms[1] > 1e-6


def test_what_is_worn_is_learned_on_and_is_in_the_concept(
    base: Any, learn: Learn, photos: Path, name: str
) -> None:
    """Sequential training: the result, on the bare base, has both words and the worn changes."""
    worn = concept_of(base, "<old>")
    quick = ALONE | {"lr": 1e-9, "scale_lr": False, "gradient_checkpointing": False}
    both = learn(base.wear(worn), Examples(photos, PROMPT), **quick)
    assert list(both.tokens) == ["<old>", "<new1>"] and both.record.nouns == {"<old>": "cat", "<new1>": "cat"}
    assert all(torch.equal(a, b) for a, b in zip(both.tokens["<old>"], worn.tokens["<old>"], strict=True))
    assert both.record.settings["worn"] == [worn.fingerprint]
    for change, told in worn.changes.items():
        assert torch.allclose(both.changes[change].full(), told.full(), atol=1e-6), change
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        says, said = (predict(base.wear(c), x, "photo of a <old> cat") for c in (both, worn))
    assert gap(says, said) < 1e-3
    with pytest.raises(InputError, match="choose another"):
        learn(base.wear(worn), Examples(photos, "photo of a <old> cat"), **quick)


def test_a_value_that_is_not_finite_is_never_saved(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path
) -> None:
    settings = ALONE | {"lr": 1e38, "scale_lr": False, "preview_every": 0, "checkpoint_every": 1}
    with pytest.raises(InputError, match=r"not finite|the loss at step|is nan"):
        learn(sd1.base, examples, **settings, folder=tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_resume_on_a_base_that_wears_something_else_is_refused(
    sd1: Model, photos: Path, tmp_path: Path
) -> None:
    settings = ALONE | {"preview_every": 0, "folder": tmp_path}
    custom_diffusion(sd1.base.wear(concept_of(sd1.base, "<old>")), Examples(photos, PROMPT), **settings)
    with pytest.raises(InputError, match="another concept worn"):
        custom_diffusion(sd1.base, Examples(photos, PROMPT), **settings, resume=True)
