"""Adam over rows: one row of every tensor belongs to one photo, and a photo that is done rests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def falling(lr: float, step: int, steps: int) -> float:
    """The release's rate of a step, lr (1 − i/100); a run of more than 100 steps falls over its whole length."""
    return lr * (1 - step / max(100, steps))


class Adam:
    """Adam (Kingma & Ba 2015) in place on tensors [image, ...]; rows that rest are left alone."""

    def __init__(
        self, values: Sequence[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.values, self.lr, self.betas = values, lr, betas
        self.moments = [(torch.zeros_like(value), torch.zeros_like(value)) for value in values]

    def update(self, rows: list[int], slopes: Sequence[Tensor], done: int) -> None:
        """One update of some rows, which have had `done` before; slopes [row, ...] of every tensor."""
        b1, b2 = self.betas
        for value, (mean, square), slope in zip(self.values, self.moments, slopes, strict=True):
            mean[rows] = b1 * mean[rows] + (1 - b1) * slope
            square[rows] = b2 * square[rows] + (1 - b2) * slope.square()
            m, v = mean[rows] / (1 - b1 ** (done + 1)), square[rows] / (1 - b2 ** (done + 1))
            value[rows] -= self.lr * m / (v.sqrt() + 1e-8)
