"""Solvers: LMS is diffusers' own in ε and v, each lane remembers its own steps, and DDIM stays as it was to the bit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LMSDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from motif.base import Base
from motif.errors import InputError
from motif.lanes import Lane, denoise, finish
from motif.sample import elite, plain
from motif.schedule import CLEAN, Schedule, draw_noise
from motif.solver import begun, shares, walk
from pieces import Flat, encoded, gap, predict

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""diffusers' LMSDiscreteScheduler and numpy 2."""

PROMPT = "photo of a cat on the beach"
STEPS = 7
"""More than LMS remembers."""


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def lms(small: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """diffusers' pipeline with LMS, constructed directly, as the release of ELITE does (card 5.4)."""
    told = ("beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
    config = {key: small.base.schedule.config[key] for key in told}
    monkeypatch.setattr(small.stock, "scheduler", LMSDiscreteScheduler(**config))
    return small


def theirs(model: Any, output: str, guidance: float, negative: str = "") -> Any:
    generators = [torch.Generator().manual_seed(seed) for seed in (11, 12)]
    return model.stock(
        [PROMPT] * 2, negative_prompt=[negative] * 2 if negative else None, num_inference_steps=STEPS,
        guidance_scale=guidance, generator=generators, height=model.base.size, width=model.base.size,
        output_type=output,
    ).images  # fmt: skip


def lanes(model: Any, guidance: float = 5.0, seed: int = 11) -> list[Lane]:
    draws = [torch.Generator().manual_seed(seed + i) for i in range(2)]
    base: Base = model.base
    x = begun("lms", base.schedule, draw_noise(base.latent_shape(), draws, torch.zeros(1)))
    return [Lane("main", x, base.read(PROMPT), base.read_uncond(), guidance)]


def run(model: Any, lanes: list[Lane], **extra: Any) -> Any:
    return finish(denoise(model.base, lanes, **{"steps": STEPS, "solver": "lms"} | extra))


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_latents_are_diffusers_own(lms, guidance):
    wanted = theirs(lms, "latent", guidance)
    assert gap(run(lms, lanes(lms, guidance))["main"], wanted) < 1e-3
    assert (
        gap(run(lms, lanes(lms, guidance), solver="ddim")["main"], wanted) > 1e-2
    )  # where it could be missed


def test_plain_draws_diffusers_pictures(lms):
    wanted = theirs(lms, "pil", 5.0, "blurry")
    settings: dict[str, Any] = {"n": 2, "seed": 11, "steps": STEPS, "guidance": 5.0, "negative": "blurry"}
    ours = plain(lms.base, PROMPT, **settings, solver="lms")
    for a, b in zip(ours, wanted, strict=True):
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_every_lane_remembers_its_own_steps_and_controls_are_heard(small):
    (one,) = lanes(small)
    other = Lane("aux", lanes(small, seed=40)[0].latents, small.base.read("a teapot"), one.uncond, 3.0)
    alone = run(small, [one])["main"]
    both = run(small, [one, other])
    assert gap(both["main"], alone) < 1e-5 and gap(both["aux"], run(small, [other])["aux"]) < 1e-5
    flat = run(small, [one, other], controls=[Flat("aux")])
    assert gap(flat["main"], alone) < 1e-5 and gap(flat["aux"], both["aux"]) > 1e-3


def test_elite_takes_it(sd1):
    base = sd1.base.wear(encoded(sd1.base))
    settings: dict[str, Any] = {"steps": 3, "n": 2}
    drawn = elite(base, "a <S> cat", **settings, solver="lms", local=0)
    assert [i.tobytes() for i in drawn] != [
        i.tobytes() for i in elite(base, "a <S> cat", **settings, local=0)
    ]
    near = elite(base, "a <S> cat", **settings, solver="lms", local=2)
    assert [i.tobytes() for i in drawn] != [i.tobytes() for i in near]


def test_ddim_is_the_default_and_its_steps_are_the_schedule_s_to_the_bit(small):
    x, schedule = small.noise(2), small.base.schedule
    text = small.base.read(PROMPT)
    found = finish(denoise(small.base, [Lane("main", x, text)], steps=4))["main"]
    named = finish(denoise(small.base, [Lane("main", x, text)], steps=4, solver="ddim"))["main"]
    times = [*schedule.timesteps(4), CLEAN]
    for t, s in pairwise(times):
        x = schedule.move(x, predict(small.base, x, PROMPT, t=t), t, s)
    assert torch.equal(found, named) and torch.equal(found, x)


def test_its_first_step_is_ddims_and_it_comes_nearer_with_fewer_steps():
    """On the flow of one Gaussian, whose ε̂ is known: x₀ of variance v has ε̂ = √(1−ᾱ) x / (ᾱ v + 1 − ᾱ), and its
    flow keeps x / √(ᾱ v + 1 − ᾱ)."""
    schedule = Schedule.read({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
    v = 0.25

    def gone(solver: Any, steps: int) -> float:
        course, x = walk(solver, schedule, steps, 0.0), torch.ones(1, dtype=torch.float64)
        first, last = (schedule.at(t) for t in (course.times[0], CLEAN))
        for step, t in enumerate(course.times):
            a = schedule.at(t)
            x = course.move("main", x, (1 - a) ** 0.5 * x / (a * v + 1 - a), step, None)
        wanted = ((last * v + 1 - last) / (first * v + 1 - first)) ** 0.5
        return abs(float(x) / wanted - 1)

    assert gone("lms", 20) < gone("ddim", 20) / 5
    course = walk("lms", schedule, 10, 0.0)
    x, eps = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    ddim = schedule.move(x, eps, *course.times[:2])
    assert torch.allclose(course.move("main", x, eps, 0, None), ddim, atol=1e-12)


@given(st.lists(st.floats(0.1, 15), min_size=1, max_size=4, unique=True), st.floats(0, 14), st.integers(0, 9))
def test_shares_integrate_every_polynomial_that_they_can_tell(places, end, seed):
    places = sorted(places, reverse=True)
    if min([a - b for a, b in pairwise(places)], default=1) < 0.05:
        return
    p = np.polynomial.Polynomial(np.random.default_rng(seed).normal(size=len(places)))
    whole = p.integ()
    wanted = whole(end) - whole(places[0])
    found = sum(c * p(place) for c, place in zip(shares(places, end), places, strict=True))
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_between_two_timesteps_the_noise_lies_between_theirs(sd1):
    schedule = sd1.base.schedule
    levels = [schedule.at(t) for t in (400, 400.25, 401)]
    assert levels == sorted(levels, reverse=True)
    theirs = LMSDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    theirs.set_timesteps(6)  # 999, 799.2, 599.4 ...
    ours = [(1 / schedule.at(t) - 1) ** 0.5 for t in walk("lms", schedule, 6, 0.0).times]
    assert torch.allclose(torch.tensor([*ours, 0.0]), theirs.sigmas, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"eta": 1.0}, "eta is 1: the solver lms adds no noise"),
        ({"steps": 1}, "between 2 and 1000"),
        ({"steps": 1001}, "between 2 and 1000"),
        ({"solver": "euler"}, "there is ddim and lms"),
    ],
)
def test_what_it_cannot_do_is_refused(sd1, settings, says):
    with pytest.raises(InputError, match=says):
        plain(sd1.base, "a cat", **{"solver": "lms", "steps": 3} | settings)


def test_a_known_way_and_a_schedule_that_ends_in_noise_alone_are_refused(sd1):
    (one,) = lanes(sd1)
    known = Lane("main", one.latents, one.text, way=torch.zeros(STEPS + 1, *one.latents.shape))
    with pytest.raises(InputError, match="of lms"):
        run(sd1, [known])
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    schedule = Schedule.read({**config, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"})
    assert schedule.at(999) == 0
    with pytest.raises(InputError, match="take ddim"):
        walk("lms", schedule, 10, 0.0)
