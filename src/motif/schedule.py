"""The noise schedule, and the one step that every sampler and every inversion takes.

    x_t = √ᾱ_t x₀ + √(1−ᾱ_t) ε                                             (forward process; Ho et al. 2020, eq. 4)
    x_s = √ᾱ_s x̂₀ + √(1−ᾱ_s−σ²) ε̂ + σ z,   σ² = η² (1−ᾱ_s)/(1−ᾱ_t) (1−ᾱ_t/ᾱ_s)   (DDIM; Song et al. 2021, eq. 12, 16)

`move` goes either way: down the schedule it samples, up the schedule it inverts. What the network predicts (ε, v or x₀)
is read from the base's scheduler and is converted here only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from motif.errors import InputError

Prediction = Literal["epsilon", "v_prediction", "sample"]

CLEAN = -1
"""The timestep of a finished picture, one below 0; its ᾱ is 1, or ᾱ_0 where the scheduler says so."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """ᾱ per timestep, and which timesteps a run of so many steps visits (diffusers' DDIM reading of the config)."""

    alpha_bar: Tensor  # [timestep], float64, falling
    final: float  # ᾱ at CLEAN
    prediction: Prediction
    config: Mapping[str, Any]

    @staticmethod
    def read(config: Mapping[str, Any]) -> Schedule:
        """From any diffusers scheduler config. Samples are latents, so clipping and thresholding are never applied."""
        from diffusers import DDIMScheduler

        kind = str(config.get("_class_name", "scheduler"))
        if "FlowMatch" in kind or "EDM" in kind or config.get("sigma_data") is not None:
            raise InputError(
                f"the base's {kind} has no steps of ᾱ: motif reads the models of SD1, SD2 and SDXL"
            )
        known = {key: value for key, value in config.items() if not key.startswith("_")}
        try:
            scheduler: Any = DDIMScheduler.from_config({**known, "clip_sample": False, "thresholding": False})
            scheduler.set_timesteps(2)
        except (
            NotImplementedError,
            ValueError,
            TypeError,
        ) as error:  # diffusers, for a schedule it does not know
            raise InputError(f"the base's {kind} cannot be read as DDIM: {error}") from None
        prediction = scheduler.config.prediction_type
        if prediction not in ("epsilon", "v_prediction", "sample"):
            raise InputError(
                f"the base's scheduler predicts {prediction!r}; motif knows epsilon, v_prediction and sample"
            )
        final = float(scheduler.final_alpha_cumprod)
        return Schedule(scheduler.alphas_cumprod.double(), final, prediction, dict(scheduler.config))

    @property
    def length(self) -> int:
        """How many timesteps the base was trained with (1000)."""
        return len(self.alpha_bar)

    def timesteps(self, steps: int) -> tuple[int, ...]:
        """The timesteps of a run, from the noisiest down; `CLEAN` comes after the last."""
        from diffusers import DDIMScheduler

        if not 1 <= steps <= self.length:
            raise InputError(f"steps is {steps}: it must lie between 1 and {self.length}")
        scheduler: Any = DDIMScheduler.from_config(dict(self.config))
        scheduler.set_timesteps(steps)
        times = [int(t) for t in scheduler.timesteps if t >= 0][:steps]  # rounding may add a last one of -1
        above = max(times[0] - (self.length - 1), 0)  # the offset of 1000 steps in 1000 leads past the table
        return tuple(t - above for t in times)

    def at(self, t: float) -> float:
        """ᾱ_t. Between two timesteps σ = √((1−ᾱ)/ᾱ) lies on the line between theirs, as in k-diffusion."""
        if t == CLEAN:
            return self.final
        if t == (low := int(t)):
            return float(self.alpha_bar[low])
        below, above = ((1 / float(self.alpha_bar[i]) - 1) ** 0.5 for i in (low, low + 1))
        return 1 / (1 + (below + (t - low) * (above - below)) ** 2)

    def split(self, x: Tensor, output: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """(x̂₀, ε̂) from the network's output at x_t.

        ε:  x̂₀ = (x_t − √(1−ᾱ) ε) / √ᾱ;     v: x̂₀ = √ᾱ x_t − √(1−ᾱ) v,  ε̂ = √ᾱ v + √(1−ᾱ) x_t   (Salimans & Ho 2022)
        """
        a, b = self.at(t) ** 0.5, (1 - self.at(t)) ** 0.5
        if self.prediction == "epsilon":
            return (x - b * output) / a, output
        if self.prediction == "v_prediction":
            return a * x - b * output, a * output + b * x
        return output, (x - a * output) / b

    def lent(self, output: Tensor, x: Tensor, other: Tensor, t: float) -> Tensor:
        """The output at `other` that means the ε̂ of an output at x.

        ε: itself;   v: v + √(1−ᾱ)/√ᾱ (x − other);   x₀: x₀ + (other − x)/√ᾱ.   Where ᾱ is 0 no output says anything of
        ε̂, and it stays as it is.
        """
        a, b = self.at(t) ** 0.5, (1 - self.at(t)) ** 0.5
        if self.prediction == "epsilon" or not a:
            return output
        return output + (b * (x - other) if self.prediction == "v_prediction" else other - x) / a

    def move(
        self, x: Tensor, output: Tensor, t: float, s: float, *, eta: float = 0.0, noise: Tensor | None = None
    ) -> Tensor:
        """x_t → x_s by DDIM. With `eta` > 0 (and s below t) `noise` is z, of x's shape."""
        x0, eps = self.split(x, output, t)
        at_t, at_s = self.at(t), self.at(s)
        variance = eta**2 * (1 - at_s) / (1 - at_t) * (1 - at_t / at_s) if eta else 0.0
        moved = at_s**0.5 * x0 + max(1 - at_s - variance, 0.0) ** 0.5 * eps
        return moved if noise is None or not eta else moved + variance**0.5 * noise

    def noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of every image; `t [image]`."""
        a, b = self._roots(t, x0)
        return a * x0 + b * eps

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What the network should answer at x_t: ε, v = √ᾱ ε − √(1−ᾱ) x₀, or x₀."""
        if self.prediction == "epsilon":
            return eps
        if self.prediction == "sample":
            return x0
        a, b = self._roots(t, x0)
        return a * eps - b * x0

    def _roots(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = self.alpha_bar[t.cpu()].view(-1, 1, 1, 1)
        return alpha_bar.sqrt().to(like), (1 - alpha_bar).sqrt().to(like)


def draw_noise(shape: tuple[int, ...], draws: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """ε of every image from its own generator, drawn on the CPU so that it is the same on every device.

    `shape` is [c, h, w]; the result is [image, c, h, w] with `like`'s type and device.
    """
    return torch.stack([torch.randn(shape, generator=draw) for draw in draws]).to(like)
