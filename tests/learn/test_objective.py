"""The objective and the optimiser against the published formulas, written out by hand (card 1.1, 1.6, 1.8, 1.9).

A network that knows the right answer and is off by a known error stands in for the UNet, and pictures are their own
latents; so every number of a step is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from motif.base import Base
from motif.learn import Examples, custom_diffusion
from motif.learn.batches import Batches, Group, Shown
from motif.learn.prior import Prior
from motif.learn.recipes import RECIPES
from motif.learn.starts import rare_rows
from motif.learn.trained import Trained
from motif.schedule import Schedule
from pieces import Model

PROMPT, SIDE, PHOTOS = "photo of a <new1> cat", 16, 2
BOXES = ((0, 0, 8, 16), (3, 2, 9, 7), (5, 1, 14, 12))  # of the subjects, in pixels; latent cells have two
RATIO = {"compvis": 1.0, "adobe-diffusers": 4.0, "diffusers": 4.0}  # of the photos' weight to the prior's
MAX_NORM = {"compvis": float("inf"), "adobe-diffusers": 1.0, "diffusers": 1.0}
TRIM = {"compvis": 0, "adobe-diffusers": 0, "diffusers": 1}  # cells a whole photo's mask loses all around

recipes = pytest.mark.parametrize("recipe", sorted(RECIPES))


class Network:
    """Answers what is right at x_t, plus `error(x0)`. ᾱ has SD's schedule: 1000 steps, linear in the roots of β."""

    error: Callable[[Tensor], Tensor] = staticmethod(torch.zeros_like)
    x0: Tensor
    eps: Tensor
    t: Tensor

    def __init__(self, patch: pytest.MonkeyPatch, *, std: float = 0.0) -> None:
        noised, roots = Schedule.noise, np.linspace(0.00085**0.5, 0.0120**0.5, 1000)
        self.alpha_bar = torch.from_numpy(np.cumprod(1 - roots**2))

        def noise(schedule: Schedule, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
            self.x0, self.eps, self.t = x0, eps, t
            return noised(schedule, x0, eps, t)

        def posterior(_: Base, pictures: Tensor) -> tuple[Tensor, Tensor]:
            """Latents are brightness: 0 is black, 1 is white."""
            bright = torch.nn.functional.avg_pool2d((pictures.mean(1, keepdim=True) + 1) / 2, 2)
            return bright.expand(-1, 4, -1, -1), torch.full((len(bright), 4, *bright.shape[-2:]), std)

        patch.setattr(Schedule, "noise", noise)
        patch.setattr(Base, "posterior", posterior)
        patch.setattr(Base, "predict", lambda base, x, t, *_: self.answer(base.schedule.prediction, x, t))

    def answer(self, prediction: str, x: Tensor, t: Tensor) -> Tensor:
        a, b = (root.sqrt().view(-1, 1, 1, 1) for root in (self.alpha_bar[t], 1 - self.alpha_bar[t]))
        assert torch.equal(t, self.t)
        assert torch.allclose(x.double(), a * self.x0 + b * self.eps, atol=1e-5)
        right = self.eps if prediction == "epsilon" else a * self.eps - b * self.x0
        return (right + self.error(self.x0)).float()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """White subjects on black, each its own mask: a photo's latents are the share of each cell that counts."""
    folder = tmp_path_factory.mktemp("subjects")
    for i, box in enumerate(BOXES):
        photo = Image.new("L", (SIDE, SIDE))
        photo.paste(255, box)
        photo.save(folder / f"{i}-mask.png")
        photo.convert("RGB").save(folder / f"{i}.png")
    return folder


def dressed(base: Any) -> Base:
    """The base with the new word alone."""
    return Trained.start(base, [], rare_rows(base, ("<new1>",), ("ktn",)), {"<new1>": "cat"}).on(base)


def batches(
    base: Any, photos: Path, recipe: str, *, prior: int = 2, masked: bool = False, augment: bool = False
) -> Batches:
    """Steps of two photos, and of two grey prior pictures or none."""
    pictures = Prior((Image.new("RGB", (SIDE, SIDE), "gray"),) * prior, ("a cat", "cat")[:prior])
    chosen = RECIPES[recipe]
    shown = Shown.all(base, Examples(photos, PROMPT), chosen, SIDE, masked=masked)
    return Batches(
        base, [Group(shown, pictures)], chosen, batch_size=PHOTOS, seed=0, side=SIDE, augment=augment
    )


def published(recipe: str, error: Tensor, masks: Tensor, prior_weight: float) -> float:
    """l = Σ m e² / Σ m adds up four channels over one area. [CV] sends the prior through it too, with m = 1: the factor
    of 4 before everything is left out, as Adam does not see it. [OD] and [HF] add the prior's plain mean."""

    def per_sample(e: Tensor, m: Tensor) -> float:
        return float((m * e**2).sum() / m.sum())

    photos = np.mean([per_sample(e, m) for e, m in zip(error[:PHOTOS], masks, strict=True)])
    prior = error[PHOTOS:] if len(error) > PHOTOS else torch.zeros(1, 4, 8, 8)
    if recipe == "compvis":
        everywhere = np.mean([per_sample(e, torch.ones(1, 8, 8)) for e in prior])
        return float(photos + prior_weight * everywhere) / 4
    return float(photos + prior_weight * float((prior**2).mean()))


@recipes
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("prior", [2, 0])
def test_the_loss_is_the_published_one(
    base: Any, subjects: Path, network: Network, recipe: str, masked: bool, prior: int
) -> None:
    """Card 1.6, for errors that differ in every row, channel and cell, and masks that cut cells."""
    material = batches(base, subjects, recipe, masked=masked, prior=prior)
    areas, inside = set[float](), slice(TRIM[recipe], 8 - TRIM[recipe])
    for step in range(3):
        error = torch.randn(PHOTOS + prior, 4, 8, 8, generator=torch.Generator().manual_seed(step))
        error *= torch.arange(1.0, PHOTOS + prior + 1).view(-1, 1, 1, 1)
        network.error = lambda _, error=error: error
        loss = float(material.loss(dressed(base), step, 0.3))
        subject, inner = network.x0[:PHOTOS, :1], torch.zeros(PHOTOS, 1, 8, 8)
        inner[..., inside, inside] = 1
        masks = inner * subject if masked else inner
        assert loss == pytest.approx(published(recipe, error, masks, 0.3), rel=1e-4)
        areas |= {round(float(mask.sum()), 2) for mask in masks}
    assert len(areas) > 1 or not masked, "every mask has one area: a mean over all cells would pass"


@recipes
def test_how_much_more_the_photos_weigh_than_the_prior(
    base: Any, subjects: Path, network: Network, recipe: str
) -> None:
    """Card 1.6, 1.9: an error of 1 on the photos alone, and on the prior alone, with the default prior weight."""
    material = batches(base, subjects, recipe, masked=True)

    def cost(rows: slice) -> float:
        error = torch.zeros(2 * PHOTOS, 4, 8, 8)
        error[rows] = 1
        network.error = lambda _: error
        return float(material.loss(dressed(base), 0, 1.0))

    photos, prior = cost(slice(PHOTOS)), cost(slice(PHOTOS, None))
    assert photos / prior == pytest.approx(RATIO[recipe], rel=1e-5)
    assert prior == pytest.approx(1, rel=1e-5), "per element, as an error of 1 is"


@recipes
def test_beside_a_shrunk_photo_nothing_counts(
    sd1: Model, tmp_path: Path, network: Network, recipe: str
) -> None:
    """Where the canvas shows grey, errors are free; inside the photo they are not (card 1.5)."""
    Image.new("RGB", (SIDE, SIDE), "white").save(tmp_path / "white.png")
    material, me, shrunk = batches(sd1.base, tmp_path, recipe, augment=True, prior=0), dressed(sd1.base), 0
    for step in range(20):
        network.error = lambda x0: (x0 < 0.999).double()
        assert float(material.loss(me, step, 1.0)) == pytest.approx(0, abs=1e-9)
        shrunk += int((network.x0 < 0.999).any())
        network.error = lambda x0: (x0 > 0.999).double()
        assert float(material.loss(me, step, 1.0)) == pytest.approx(RATIO[recipe], rel=1e-5)
    assert shrunk > 5


def test_noise_and_timesteps_are_spread_as_the_card_says(
    sd1: Model, subjects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ε and the posterior's draw are standard normal and every row's own; t is uniform over all timesteps."""
    network = Network(monkeypatch, std=0.5)
    material, me = batches(sd1.base, subjects, "compvis"), dressed(sd1.base)
    eps, times, spread = list[Tensor](), list[Tensor](), list[float]()
    for step in range(150):
        material.loss(me, step, 1.0)
        eps, times = [*eps, network.eps], [*times, network.t]
        spread.append(float(network.x0[PHOTOS:].std()))  # the prior's pictures are of one grey
    drawn, t = torch.cat(eps).flatten(1), torch.cat(times)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    assert float(torch.corrcoef(drawn[:20]).fill_diagonal_(0).abs().max()) < 0.4, "two rows share their noise"
    assert np.mean(spread) == pytest.approx(0.5, abs=0.02)
    assert int(t.min()) < 10 and 990 <= int(t.max()) < 1000
    assert float(t.float().mean()) == pytest.approx(499.5, abs=40)


# -- the optimiser -------------------------------------------------------------------------------------------------


def pulls(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """A gradient for every value: magnitudes over seven decades, and a joint norm of one."""
    draw = torch.Generator().manual_seed(0)
    found = dict[str, Tensor]()
    for name, value in sorted(values.items()):
        size = 10 ** (-7 * torch.rand(value.shape, generator=draw).double())
        found[name] = size * torch.randn(value.shape, generator=draw).double()
    norm = torch.cat([pull.flatten() for pull in found.values()]).norm()
    return {name: pull / norm for name, pull in found.items()}


def adamw(value: Tensor, gradients: Sequence[Tensor], *, lr: float, decay: float) -> Tensor:
    """Loshchilov and Hutter 2019, algorithm 2, with the card's β = (0.9, 0.999) and ε = 1e-8 (card 1.8)."""
    value, m, v = value.double(), torch.zeros(()).double(), torch.zeros(()).double()
    for k, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        value = value - lr * (m / (1 - 0.9**k) / ((v / (1 - 0.999**k)).sqrt() + 1e-8) + decay * value)
    return value


@recipes
def test_steps_are_adamw_s_and_clipped_as_published(
    base: Any, subjects: Path, monkeypatch: pytest.MonkeyPatch, recipe: Any
) -> None:
    """On gradients of norm 10, 0.1 and 2: keys and values decay by 1e-2, the word does not (card 1.3), each has its own
    rate, and the joint norm is clipped to 1 by the diffusers codes alone (card 1.6)."""
    slopes, rates, pull = (10.0, 0.1, 2.0), {"lr": 1e-2, "token_lr": 3e-3}, dict[str, Tensor]()

    def loss(_: Batches, on: Base, step: int, *__: Any) -> Tensor:
        values = {**on.weights, **{f"<new1>/{i}": row for i, row in enumerate(on.vectors["<new1>"])}}
        pull.update(pull or pulls(values))
        return torch.stack([slopes[step] * (pull[n] * v).sum() for n, v in values.items()]).sum()

    monkeypatch.setattr(Batches, "loss", loss)
    settings: dict[str, Any] = {"steps": len(slopes), "prior": "none", "scale_lr": False, "recipe": recipe}
    concept = custom_diffusion(base, Examples(subjects, PROMPT), **settings, **rates)
    scales = [slope * min(1, MAX_NORM[recipe] / slope) for slope in slopes]
    gradients = {name: [scale * one for scale in scales] for name, one in pull.items()}
    for name, change in concept.changes.items():
        old = base.models.parameter(name)
        expected = adamw(old, gradients.pop(name), lr=rates["lr"], decay=1e-2) - old
        assert torch.allclose(change.full().double(), expected, rtol=0, atol=1e-6), name
    rare = rare_rows(base, ("<new1>",), ("ktn",))["<new1>"]
    for i, (old, new) in enumerate(zip(rare, concept.tokens["<new1>"], strict=True)):
        expected = adamw(old, gradients.pop(f"<new1>/{i}"), lr=rates["token_lr"], decay=0.0)
        assert torch.allclose(new.double(), expected, rtol=0, atol=1e-6), i
    assert concept.changes and not gradients, "something was trained, and is not in the concept"


@pytest.mark.parametrize(
    ("settings", "lr", "token_lr"),
    [
        ({}, 8e-5, 8e-5),
        ({"prior": "none"}, 4e-5, 4e-5),
        ({"scale_lr": False}, 1e-5, 1e-5),
        ({"token_lr": 5e-5}, 8e-5, 4e-4),
        ({"lr": 0.0, "token_lr": 1e-5}, None, 8e-5),
        ({"token_lr": 0.0}, 8e-5, None),
    ],
)
def test_the_optimiser_s_groups_are_the_paper_s(
    sd1: Model, subjects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any], lr: float | None, token_lr: float | None,
) -> None:  # fmt: skip
    """Card 1.8, as a run's state keeps them: 1e-5 times a batch of 4 + 4; what has no rate is in no group."""

    def loss(_: Batches, on: Base, *__: Any) -> Tensor:
        return torch.stack([value.sum() for value in (*on.weights.values(), *on.vectors["<new1>"])]).sum()

    monkeypatch.setattr(Batches, "loss", loss)
    quick: dict[str, Any] = {"steps": 1, "preview_every": 0}
    quick |= {} if "prior" in settings else {"prior_count": 2, "prior_steps": 1}
    custom_diffusion(sd1.base, Examples(subjects, PROMPT), **quick, **settings, folder=tmp_path / "run")
    groups = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["optimiser"]["param_groups"]
    expected = [(pytest.approx(rate), decay) for rate, decay in ((lr, 1e-2), (token_lr, 0.0)) if rate]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == expected
    assert all(group["betas"] == (0.9, 0.999) and group["eps"] == 1e-8 for group in groups)
