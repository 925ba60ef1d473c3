"""The optimiser of the recipe: Muon for hidden matrices and kernels, AdamW for the rest.

Muon (Jordan et al. 2024) moves a weight matrix along the orthogonal matrix nearest to its momentum. Measured for this
recipe: the VAE from scratch, 150 s of one Zen 3 core, 19.7 dB with AdamW and 23.6 dB with Muon, although a step costs a
quarter more; the UNet from one checkpoint, 200 steps of 64 pictures, the mean squared error falls from .1293 to .1222
with AdamW (1e-3), .1203 with Muon at .004 and .1297 at .02, a step costing a sixth more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from motif.pocket.recipe.speed import precision

OUTER = ("embed", "conv_in", "conv_out", "head", "position", "logit_scale")
"""Parts of the names of weights that touch pixels, tokens or labels: these take AdamW."""


def orthogonalised(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """U Vᵀ of each matrix U S Vᵀ, nearly: the quintic Newton-Schulz iteration X ← a X + (b A + c A²) X, A = X
    Xᵀ.

    matrices: [matrix, rows, columns]; the singular values of the result lie in about 0.7 to 1.2.
    """
    x = matrices.transpose(1, 2) if matrices.shape[1] > matrices.shape[2] else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).to(precision(matrices.device.type))
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    x = x.to(matrices.dtype)
    return x.transpose(1, 2) if matrices.shape[1] > matrices.shape[2] else x


class Muon(torch.optim.Optimizer):
    """w ← (1 − lr·decay) w − lr √max(1, rows/columns) · orthogonalised(g + μ m), m ← μ m + g.

    Kernels [out, in, h, w] count as matrices [out, in·h·w]. Weights of one shape are orthogonalised together.
    """

    def __init__(
        self, parameters: list[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
            for (rows, columns), parameters in alike.items():
                ahead = torch.stack(
                    [self._ahead(p, group["momentum"]).reshape(rows, columns) for p in parameters]
                )
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                for parameter, direction in zip(parameters, orthogonalised(ahead), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction.reshape(parameter.shape), alpha=-size)

    def _ahead(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's look ahead; updates the momentum kept in the parameter's state."""
        state: dict[str, Any] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        kept = state["momentum"].mul_(momentum).add_(parameter.grad)
        return parameter.grad.add(kept, alpha=momentum)


def optimisers(
    module: nn.Module, *, lr: float, muon_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """[AdamW for outer weights, gains and biases; Muon for hidden matrices], Muon left out where `muon_lr`
    is 0.
    """
    hidden: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    gains: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = muon_lr > 0 and parameter.ndim >= 2 and not any(part in name for part in OUTER)
        (hidden if inner else matrices if parameter.ndim >= 2 else gains).append(parameter)
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": gains, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=lr, betas=(0.9, 0.98), fused=True
    )
    return [adam, Muon(hidden, lr=muon_lr, weight_decay=weight_decay)] if hidden else [adam]
