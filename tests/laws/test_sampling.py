"""Sampling is diffusers' own: the same latents through its pipeline with DDIM give the same latents and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from motif.errors import InputError
from motif.lanes import Lane, denoise, finish
from motif.sample.plain import plain
from motif.schedule import draw_noise
from pieces import gap

STEPS = 4
PROMPT = "photo of a cat on the beach, café"


def generators(n: int, seed: int = 11) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def theirs(
    model: Any, *, size: tuple[int, int], eta: float, negative: str, guidance: float, output: str, n: int
) -> Any:
    return model.stock(
        [PROMPT] * n, negative_prompt=[negative] * n if negative else None, num_inference_steps=STEPS, eta=eta,
        guidance_scale=guidance, generator=generators(n), height=size[0], width=size[1], output_type=output,
    ).images  # fmt: skip


@pytest.mark.parametrize(("eta", "negative"), [(0.0, ""), (1.0, "blurry")])
def test_latents_are_diffusers_own(model, eta, negative):
    base, side = model.base, model.base.size
    wanted = theirs(model, size=(side, side), eta=eta, negative=negative, guidance=5.0, output="latent", n=2)
    with torch.no_grad():
        draws = generators(2)
        x = draw_noise(base.latent_shape(), draws, torch.zeros(1))
        lane = Lane("main", x, base.read(PROMPT), base.read_uncond(negative), 5.0)
        ours = finish(denoise(base, [lane], steps=STEPS, eta=eta, draws=draws))["main"]
    assert gap(ours, wanted) < 1e-5


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_latents_need_not_be_square_to_be_diffusers_own(model, guidance):
    base, unit = model.base, 4 * model.base.latent_factor
    if unit % 8:
        pytest.skip("diffusers' pipeline wants multiples of 8")
    size = (2 * unit, unit)
    wanted = theirs(model, size=size, eta=0.0, negative="", guidance=guidance, output="latent", n=1)
    with torch.no_grad():
        x = draw_noise(base.latent_shape(size), generators(1), torch.zeros(1))
        lane = Lane("main", x, base.read(PROMPT), base.read_uncond(), guidance)
        ours = finish(denoise(base, [lane], steps=STEPS))["main"]
    assert gap(ours, wanted) < 1e-5


@pytest.mark.parametrize(("eta", "negative"), [(1.0, ""), (0.0, "blurry")])
def test_plain_draws_diffusers_pictures(model, eta, negative):
    side = model.base.size
    wanted = theirs(model, size=(side, side), eta=eta, negative=negative, guidance=5.0, output="pil", n=2)
    ours = plain(model.base, PROMPT, n=2, seed=11, steps=STEPS, guidance=5.0, eta=eta, negative=negative)
    for a, b in zip(ours, wanted, strict=True):
        assert a.size == b.size
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_a_seed_is_a_picture(small):
    first = plain(small.base, PROMPT, n=2, seed=3, steps=2)
    again, next_one = (
        plain(small.base, PROMPT, n=2, seed=3, steps=2),
        plain(small.base, PROMPT, seed=4, steps=2),
    )
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]
    difference = np.asarray(first[1]).astype(int) - np.asarray(next_one[0])
    assert np.abs(difference).max() <= 1 and first[0].tobytes() != first[1].tobytes()


def test_height_and_width_are_the_pictures(small):
    factor = small.base.latent_factor
    (image,) = plain(small.base, PROMPT, steps=1, height=4 * factor, width=6 * factor)
    assert image.size == (6 * factor, 4 * factor)


@pytest.mark.parametrize("bad", [{"n": 0}, {"height": 13}, {"steps": 0}, {"prompt": "a <new9> cat"}])
def test_what_cannot_be_drawn_is_refused_before_the_work(small, bad):
    with pytest.raises(InputError):
        plain(small.base, **{"prompt": PROMPT, "steps": 2} | bad)
