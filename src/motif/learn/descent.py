"""How gradients become values: an optimiser, its rates over the steps, the scale of an fp16 loss, and an average.

    θ_k+1 = optimiser(θ_k, g_k, rate · f(k)),    θ̄_k+1 = β_k θ̄_k + (1 − β_k) θ_k+1,   β_k = min(β, (1 + k) / (10 + k))

f and β_k are functions of k alone, so that the state of a run is the optimiser's, the scale's, and θ̄. β_k starts low
(as diffusers' and TensorFlow's averages do): a short run's average is of its last steps, not of its start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from motif.errors import InputError
from motif.learn.optimisers import chosen
from motif.learn.trained import Rates, Trained


@dataclass(frozen=True)
class Way:
    """The settings of a descent; `steps` is where its rates end."""

    steps: int
    optimiser: str = "adamw"
    schedule: str = "constant"
    warmup: int = 0
    ema: float = 0.0
    max_norm: float | None = None

    def check(self, device: torch.device) -> None:
        """InputError for what cannot be, before any work."""
        chosen(self.optimiser, device)
        if not 0 <= self.warmup < self.steps:
            raise InputError(
                f"lr_warmup {self.warmup} of {self.steps} steps: rates rise over some of the steps, or 0 of them"
            )
        if not 0 <= self.ema < 1:
            raise InputError(
                f"ema {self.ema}: a share of the average that each step keeps, such as 0.999; 0 is off"
            )

    def factor(self) -> Callable[[int], float]:
        """{step: what its rates are multiplied by}, through diffusers' schedulers. They stand one step further than at
        diffusers, so that neither the first step of a warm-up nor the last of a descent has rate 0."""
        from diffusers.optimization import get_scheduler

        name = "constant_with_warmup" if self.schedule == "constant" else self.schedule
        stand_in = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        curve: Any = get_scheduler(
            name, stand_in, num_warmup_steps=self.warmup, num_training_steps=self.steps + 1
        )
        return lambda step: float(curve.lr_lambdas[0](step + 1))


class Descent:
    """One run's. `state_dict` is all that its next step depends on beside the values."""

    def __init__(
        self, trained: Trained, rates: Rates, way: Way, device: torch.device, *, fp16: bool = False
    ) -> None:
        """An optimiser for the values that learn.

        Args:
            fp16: The loss is scaled, so that small gradients stay in range.
        """
        self.trained, self.way, self.factor = trained, way, way.factor()
        kind, groups = chosen(way.optimiser, device), trained.groups(rates)
        self.rates = [1.0 if kind.finds_rate else float(group["lr"]) for group in groups]
        self.parameters = trained.parameters()
        learning = [{**group, "lr": rate} for group, rate in zip(groups, self.rates, strict=True)]
        self.optimiser: torch.optim.Optimizer = kind.make(learning)
        self.scaler = torch.amp.GradScaler(device.type, enabled=fp16)
        self.average = (
            {name: value.detach().clone() for name, value in self.parameters.items()} if way.ema else {}
        )

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part of the step's loss."""
        self.scaler.scale(loss).backward()

    def step(self, k: int) -> None:
        """Take step k on the gradients that are there, and forget them."""
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.factor(k)
        if self.way.max_norm is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_([*self.parameters.values()], self.way.max_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        keep = min(self.way.ema, (1 + k) / (10 + k))
        for name, mean in self.average.items():
            mean.lerp_(self.parameters[name].detach(), 1 - keep)

    @property
    def settled(self) -> Trained:
        """The values as they are shown and saved: their average, where one is kept."""
        return self.trained.holding(self.average) if self.average else self.trained

    def state_dict(self) -> dict[str, Any]:
        """All of it, in tensors and plain values."""
        average = {name: value.cpu() for name, value in self.average.items()}
        return {
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": average,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])
