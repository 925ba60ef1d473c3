"""Whole weights W in a foreign file against changes W − W₀ in a concept.

    W = W₀ + Δ on the way out, in float32;   Δ = W − W₀ on the way in

What is worn, W₀ + Δ, comes back bit for bit; Δ itself does where W − W₀ is exact, as it is of everything that was
learned in float32 (Sterbenz: W within a factor of 2 of W₀).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.linalg import vector_norm

from motif.base import Base
from motif.errors import WrongBase
from motif.interop.foreign import tensor
from motif.weights import Change

log = logging.getLogger("motif")

FAR = 0.5
"""Learning moves weights by a few per cent. Beyond this share of the norm, they are likely another base's."""


def whole(base: Base, name: str, change: Change) -> Tensor:
    """W = W₀ + Δ of one weight, in float32."""
    return change.on(base.models.parameter(name).float()).cpu()


def change_of(base: Base, name: str, value: Any) -> Change:
    """W − W₀ of a whole weight; {"u", "v"}, the compressed form, is the product u v itself (card 3)."""
    if isinstance(value, Mapping) and set(value) == {"u", "v"}:
        up, down = (tensor(value[part], f"{name}.{part}") for part in ("u", "v"))
        try:
            return Change(up=up, down=down)
        except ValueError as error:
            raise WrongBase(f"{name}: {error}") from None
    weight = tensor(value, name)
    if name not in base.models.own:
        raise WrongBase(
            f"the file changes {name}, which {base.name} does not have: choose its base with --base"
        )
    own = base.models.parameter(name)
    if weight.shape != own.shape:
        raise WrongBase(
            f"the file has {name} as {tuple(weight.shape)}; in {base.name} it is {tuple(own.shape)}: "
            "choose its base with --base"
        )
    return Change(dense=weight - own.float().cpu())


def tell_far(base: Base, changes: Mapping[str, Change]) -> None:
    """Warn where whole weights are so far from the base's that they are likely of another one."""
    shares = [
        float(
            vector_norm(change.full())
            / vector_norm(base.models.parameter(name).float().cpu()).clamp_min(1e-12)
        )
        for name, change in changes.items()
        if change.dense is not None
    ]
    middle = sorted(shares)[len(shares) // 2] if shares else 0.0
    if middle > FAR:
        share = f"{middle:.0%}"
        log.warning("the weights are %s away from %s's: was the file made on another base?", share, base.name)
