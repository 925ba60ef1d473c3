"""What inversions and edits cost at the papers' own steps (card 17), and where their runs begin and stop (8, 10.4).

The denoiser is a stand-in of two layers that answers at once: what is counted is asked of it. It never comes back along
Z*, so that every search takes all the updates that it may.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from edit_pieces import SOURCE, photo
from motif import edit, invert, methods
from motif.attention import Call, Site
from motif.base import Base
from pieces import Model

TARGET = "a dog on sea"
LAYERS = {Site("cross", "cross", "up", 0): (64, 20), Site("self", "self", "up", 1): (16, 16)}
"""(pixels, words) of each layer's map; of latents of 8 x 8."""

UPDATES = [
    100, 91, 82, 75, 68, 61, 55, 50, 45, 41, 37, 34, 31, 28, 25, 23, 21, 19, 17, 15, 14, 13, 12, 11, 10, 9, 8, 7, 7, 6,
]  # fmt: skip
"""N_i of 30 steps (card 10.4)."""


class Quick:
    """In the place of `Base.predict`. `asked` are the timesteps of all its calls, `learned` counts those that are
    learned from."""

    def __init__(self) -> None:
        self.asked, self.learned = list[int](), Counter[int]()
        self.off = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def __call__(self, base: Base, x: Tensor, t: Any, states: Tensor, pooled: Any, call: Call) -> Tensor:
        keys = values = states
        for layer, (pixels, words) in LAYERS.items():
            if layer.kind == "cross":
                for control in call.controls:
                    keys, values = control.context(layer, call, keys, values)
            maps = x.mean((1, 2, 3), keepdim=True).expand(-1, 2, pixels, words)
            for control in call.controls:
                if control.looks(layer, call):
                    maps = control.maps(layer, call, maps)
                    call.looked.add(id(control))
        self.asked.append(int(call.t))
        self.learned[int(call.t)] += int(values.requires_grad)
        out = 0.1 * x + 1e-3 * (keys + values).mean((1, 2))[:, None, None, None]
        guides = [row.span for row in call.rows if row.side == "uncond"]
        return torch.cat([out[i : i + 1] + self._away(i, guides) for i in range(len(out))])

    def _away(self, image: int, guides: list[slice]) -> Tensor | float:
        """What the empty prompt's answer is off, which nothing that is learned makes good."""
        return 3 * self.off if any(span.start <= image < span.stop for span in guides) else 0.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Quick:
    found = Quick()
    monkeypatch.setattr(
        Base, "predict", lambda base, x, t, states, pooled, call: found(base, x, t, states, pooled, call)
    )
    return found


def inverted(base: Any, name: str, **settings: Any) -> Any:
    """At the method's own number of steps where none is given."""
    return methods.load("invert", name)(base, photo(), SOURCE, guidance=7.5, **settings)


def walked(inversion: Any) -> Any:
    """Without the way that it came back by, as in the releases."""
    return dataclasses.replace(inversion, way=None)


@pytest.mark.parametrize("name", ["ddim", "negative-prompt", "proximal", "direct"])
def test_an_inversion_is_an_evaluation_a_step(sd1: Model, quick: Quick, name: str) -> None:
    found = inverted(sd1.base, name)
    assert found.steps == 50 and (found.made.cost["forwards"], found.made.cost["backwards"]) == (50, 0)
    assert quick.asked[:50] == [*range(1, 1000, 20)]


def test_null_text_takes_ten_updates_a_step(sd1: Model, quick: Quick) -> None:
    """Card: T up, three a step beside its updates; ours asks for the caption's answer once and has the guided step."""
    cost = inverted(sd1.base, "null-text").made.cost
    assert (cost["forwards"], cost["backwards"]) == (50 + 2 * 50 + 500, 500)
    assert cost["forwards"] <= 700 and set(quick.learned.values()) == {10}


def test_value_embedding_takes_fewer_updates_step_by_step(sd1: Model, quick: Quick) -> None:
    """1015 in its 30 steps, 1071 in 50 (whose first 30 are the same)."""
    parameters = inspect.signature(invert.value_embedding).parameters
    assert (parameters["steps"].default, parameters["inner_steps"].default) == (30, 100)
    found = inverted(sd1.base, "value-embedding", head="free", steps=50)
    taken = [quick.learned[t] for t in found.times]
    assert taken[:30] == UPDATES and sum(UPDATES) == 1015 and sum(taken) == 1071
    cost = found.made.cost
    assert (cost["forwards"], cost["backwards"]) == (50 + 2 * 50 + 1071, 1071)  # card: at most 1271


def test_the_paper_s_noisiest_maps_are_an_evaluation_more(sd1: Model, quick: Quick) -> None:
    settings: Any = {"steps": 4, "inner_steps": 2, "head": "free"}
    costs = [
        inverted(sd1.base, "value-embedding", variant=variant, **settings).made.cost["forwards"]
        for variant in ("release", "paper")
    ]
    assert costs[1] == costs[0] + 1


@pytest.mark.parametrize("name", ["prompt_to_prompt", "p2plus", "word_swap"])
def test_an_edit_of_one_target_is_four_evaluations_a_step(sd1: Model, quick: Quick, name: str) -> None:
    """Fewer where the source's way is known: then the target's two, and of the source what is injected."""
    inversion = inverted(sd1.base, "ddim")
    run = getattr(edit, name)
    quick.asked.clear()
    assert run(sd1.base, walked(inversion), TARGET).evaluations == 200
    assert quick.asked == [*inversion.times], "in one call a step"
    known = run(sd1.base, inversion, TARGET).evaluations
    assert known == 100 + {"prompt_to_prompt": 40, "p2plus": 40 + 25, "word_swap": 0}[name]


def test_a_proximal_edit_costs_as_much(sd1: Model, quick: Quick) -> None:
    assert edit.word_swap(sd1.base, inverted(sd1.base, "proximal"), TARGET).evaluations == 200


def test_a_value_embedding_edit_is_four_evaluations_a_step(sd1: Model, quick: Quick) -> None:
    inversion = inverted(sd1.base, "value-embedding", head="free", inner_steps=1)
    assert inversion.made.cost["forwards"] == 30 + 2 * 30 + 30 and inversion.steps == 30
    assert edit.prompt_to_prompt(sd1.base, walked(inversion), TARGET).evaluations == 120


def test_pix2pix_zero_costs_no_more_than_the_paper_s(sd1: Model, quick: Quick) -> None:
    """Reference 2 T and edit 4 T; ours asks once where both sides of the reference are the caption."""
    found = edit.pix2pix_zero(sd1.base, inverted(sd1.base, "ddim"), TARGET, regularise=0)
    assert found.evaluations == 50 + 200 <= 100 + 200


@pytest.mark.parametrize(("strength", "start"), [(0.5, 481), (0.6, 581), (0.7, 681), (0.8, 781)])
def test_sdedit_starts_at_the_card_s_timesteps(sd1: Model, quick: Quick, strength: float, start: int) -> None:
    found = edit.sdedit(sd1.base, photo(), TARGET, strength=strength, steps=50)
    assert quick.asked == [*range(start, 0, -20)]
    assert found.evaluations == 2 * math.floor(50 * strength + 1e-9)
