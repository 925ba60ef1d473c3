"""A method made of its plan: one signature, one docstring, settings settled before the plan sees them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Unpack

import pytest

from motif.base import Base
from motif.cli.options import arguments_help, options, summary
from motif.concept import Concept
from motif.learn import Examples
from motif.learn.lesson import Lesson
from motif.learn.recipes import WHOLE
from motif.learn.starts import rare_rows
from motif.learn.trained import Rates
from motif.learn.training import DEFAULTS, Training, method
from pieces import Model

SEEN: list[dict[str, Any]] = []


PAPER = {"steps": 7, "lr": 1e-2, "batch_size": 2, "masked": False, "prior_count": 2, "prior_steps": 2}
LOUD = {**PAPER, "steps": 9, "lr": 1e-3}


@method("toy", PAPER, variants={"loud": LOUD}, prior="none")
def toy(
    base: Base,
    examples: Examples,
    *,
    loud: bool = False,
    token_lr: float | None = None,
    **training: Unpack[Training],
) -> Lesson:
    """Learn a word.

    More of it.

    Args:
        loud: Whether to shout, over
            two lines.
        token_lr: The word's rate.
    """
    SEEN.append({"loud": loud, "token_lr": token_lr, **training})
    words = rare_rows(base, examples.tokens, ("ktn",))
    return Lesson(WHOLE, Rates(0.0, token_lr or 0.0), [["a cat"]], words=words)


def test_its_signature_is_the_plan_s_and_everybody_s() -> None:
    parameters = inspect.signature(toy).parameters
    assert list(parameters)[:4] == ["base", "examples", "loud", "token_lr"]
    assert parameters.keys() - {"base", "examples", "loud", "token_lr"} == Training.__annotations__.keys()
    assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[2:])
    assert parameters["prior"].default == "none" and parameters["seed"].default == DEFAULTS["seed"]
    assert inspect.signature(toy).return_annotation is Concept


def test_its_help_has_every_setting_and_the_paper_s_numbers() -> None:
    told = arguments_help(toy)
    assert summary(toy) == "Learn a word."
    assert told["loud"] == "Whether to shout, over two lines."
    assert told["steps"] == "Training steps (paper: 7)." and told["lr"].endswith("(paper: 0.01).")
    assert told["masked"].endswith("(paper: no).")
    assert inspect.signature(toy).parameters.keys() - {"base", "examples"} == told.keys()
    assert {option.name for option in options(toy)} >= {"loud", "steps", "class_prompt", "resume"}


def test_the_plan_sees_settled_settings(sd1: Model, photos: Path) -> None:
    examples = Examples(photos, "photo of a <new1> cat")
    SEEN.clear()
    for loud, steps, lr in ((False, 7, 1e-2), (True, 9, 1e-3)):
        concept = toy(sd1.base, examples, loud=loud)
        assert (SEEN[-1]["steps"], SEEN[-1]["lr"], SEEN[-1]["token_lr"]) == (steps, lr, lr)
        assert concept.record.settings["steps"] == steps and concept.record.method == "toy"
    assert toy.settle(sd1.base, examples, steps=3, token_lr=0.5)["token_lr"] == 0.5


@pytest.mark.parametrize("name", ["learning_rate", "examples_of"])
def test_what_it_does_not_have_is_refused(sd1: Model, photos: Path, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        toy(sd1.base, Examples(photos, "photo of a <new1> cat"), **{name: 1})
