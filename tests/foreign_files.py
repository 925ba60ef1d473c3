"""Foreign files as their tools write them, by the method card; nothing here asks `motif.interop`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept


def whole(base: Base, concept: Concept) -> dict[str, Tensor]:
    """{diffusers' name in the UNet: W₀ + Δ}."""
    return {
        name.removeprefix("unet."): base.models.parameter(name) + change.full()
        for name, change in concept.changes.items()
    }


def deltas(base: Base, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """{motif's name: W − W₀} of whole weights."""
    return {f"unet.{n}": w - base.models.parameter(f"unet.{n}") for n, w in weights.items()}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kv_layers(base: Base) -> list[str]:
    """diffusers' names of the matrices that Custom Diffusion trains, without `.weight`."""
    names = [name.removeprefix("unet.").removesuffix(".weight") for name in base.models.own]
    return [name for name in names if name.endswith(("attn2.to_k", "attn2.to_v"))]


def learned(base: Base, concept: Concept) -> Concept:
    """The concept with changes as learning leaves them: W − W₀ of some W in float32, which is exact."""
    from dataclasses import replace

    from motif.weights import Change

    changes: dict[str, Any] = {}
    for name, change in concept.changes.items():
        w0 = base.models.parameter(name)
        near = w0 * (1 + change.full().clamp(-0.4, 0.4))
        changes[name] = Change(dense=near - w0)
    return replace(concept, changes=changes)


def same(a: Concept, b: Concept) -> bool:
    """Equal in every tensor: words bit for bit, changes as W − W₀ bit for bit."""
    assert list(a.tokens) == list(b.tokens)
    assert a.changes.keys() == b.changes.keys()
    words = all(torch.equal(x, y) for t in a.tokens for x, y in zip(a.tokens[t], b.tokens[t], strict=True))
    return words and all(torch.equal(a.changes[n].full(), b.changes[n].full()) for n in a.changes)
