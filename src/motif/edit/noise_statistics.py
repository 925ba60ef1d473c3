"""Noise that looks like noise: pix2pix-zero's regularisation of what an inversion predicts.

    L_ac = Σ_channels Σ_scales (mean(η ⊙ roll_rows(η, δ)))² + (mean(η ⊙ roll_columns(η, δ)))²     δ uniform, fresh
    L_kl = σ² + μ² − 1 − log σ²
    ε ← ε − λ_ac/K ∇L_ac (K times), then ε ← ε − λ_kl ∇L_kl; all of it N times

Parmar et al. 2023 (arXiv 2302.03027), section 3.2; card 11. Scales halve the latent down to 8 cells. v-prediction and
x₀-prediction are regularised as the ε that they mean. Ours: every image by itself, δ from a seed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.schedule import Schedule

ROLLS, LEAST = 5, 8


def regularised(eps: Tensor, draw: torch.Generator, *, rounds: int, ac: float, kl: float) -> Tensor:
    """ε [image, c, h, w] after so many rounds."""
    for _ in range(rounds):
        for _ in range(ROLLS):
            eps = _down(eps, lambda x: autocorrelation(x, draw), ac / ROLLS)
        eps = _down(eps, divergence, kl)
    return eps


def autocorrelation(eps: Tensor, draw: torch.Generator) -> Tensor:
    """L_ac, summed over the images."""
    total = eps.new_zeros(())
    while True:
        for dim in (-2, -1):
            shift = int(torch.randint(max(eps.shape[dim] // 2, 1), (), generator=draw))
            total = total + (eps * eps.roll(shift, dim)).mean((-2, -1)).square().sum()
        if min(eps.shape[-2:]) <= LEAST:
            return total
        eps = F.avg_pool2d(eps, 2)


def divergence(eps: Tensor) -> Tensor:
    """L_kl, summed over the images."""
    flat = eps.flatten(1)
    variance = flat.var(1)
    return (variance + flat.mean(1).square() - 1 - torch.log(variance + 1e-7)).sum()


def output_of(schedule: Schedule, x: Tensor, eps: Tensor, t: int) -> Tensor:
    """What the network would have answered at x_t, had it meant this ε (the inverse of `Schedule.split`)."""
    if schedule.prediction == "epsilon":
        return eps
    a, b = schedule.at(t) ** 0.5, (1 - schedule.at(t)) ** 0.5
    x0 = (x - b * eps) / a
    return x0 if schedule.prediction == "sample" else a * eps - b * x0


def _down(eps: Tensor, loss: Callable[[Tensor], Tensor], rate: float) -> Tensor:
    with torch.enable_grad():
        here = eps.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(here), here)
    return eps - rate * slope
