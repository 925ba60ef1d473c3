"""The values under training: whole weights by full name and the vectors of new tokens, each a parameter of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.weights import Change


@dataclass(frozen=True, eq=False)
class Trained:
    """Parameters in float32, on the base's device."""

    weights: Mapping[str, nn.Parameter]
    vectors: Mapping[str, tuple[nn.Parameter, ...]]
    nouns: Mapping[str, str]

    @staticmethod
    def start(
        base: Base,
        names: Sequence[str],
        vectors: Mapping[str, tuple[Tensor, ...]],
        nouns: Mapping[str, str],
    ) -> Trained:
        """Copies of the base's weights of those names, and of the vectors to start from.

        InputError where the base wears a concept that changes those weights, or has one of those tokens: what is
        learned would hide it, or hold it twice.
        """
        if worn := base.weights.keys() & set(names):
            raise InputError(f"the base wears a concept that changes {min(worn)}: learn on the bare base")
        if known := base.vectors.keys() & vectors.keys():
            raise InputError(f"the base wears a concept with the token {min(known)}: choose another one")
        weights = {name: _parameter(base.models.parameter(name), base.device) for name in names}
        rows = {token: tuple(_parameter(v, base.device) for v in parts) for token, parts in vectors.items()}
        return Trained(weights, rows, nouns)

    def on(self, base: Base) -> Base:
        """The base wearing these very parameters; gradients reach them."""
        return self._dressed(base, self.weights, self.vectors)

    def settled(self, base: Base) -> Base:
        """The base wearing their values as they are now, in its own type: for pictures as it goes."""
        weights = {name: weight.detach().to(base.dtype) for name, weight in self.weights.items()}
        vectors = {t: tuple(v.detach().to(base.dtype) for v in parts) for t, parts in self.vectors.items()}
        return self._dressed(base, weights, vectors)

    def _dressed(
        self, base: Base, weights: Mapping[str, Tensor], vectors: Mapping[str, tuple[Tensor, ...]]
    ) -> Base:
        nouns = {**base.nouns, **self.nouns}
        return base.dressed({**base.weights, **weights}, {**base.vectors, **vectors}, nouns)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter by a name of its own."""
        rows = {f"{token}/{i}": part for token, parts in self.vectors.items() for i, part in enumerate(parts)}
        return {**self.weights, **rows}

    def groups(self, lr: float, token_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's groups: new token rows have their own rate and never decay. What has rate 0 is frozen."""
        rows = [part for parts in self.vectors.values() for part in parts]
        groups: list[dict[str, Any]] = [
            {"params": list(self.weights.values()), "lr": lr, "weight_decay": weight_decay},
            {"params": rows, "lr": token_lr, "weight_decay": 0.0},
        ]
        for group in groups:
            for value in group["params"]:
                value.requires_grad_(group["lr"] > 0)
        return [group for group in groups if group["params"] and group["lr"] > 0]

    def concept(self, base: Base, record: Record) -> Concept:
        """What was learned so far: W − W₀ in float32, and the token rows."""
        changes = {
            name: Change(dense=(weight.detach() - base.models.parameter(name).float()).cpu())
            for name, weight in self.weights.items()
        }
        tokens = {t: tuple(v.detach().cpu().clone() for v in parts) for t, parts in self.vectors.items()}
        return Concept(tokens, changes, record)


def _parameter(value: Tensor, device: torch.device) -> nn.Parameter:
    return nn.Parameter(value.detach().to(device=device, dtype=torch.float32, copy=True))
