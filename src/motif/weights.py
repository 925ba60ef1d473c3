"""Weights as values: swap them in for a block, select them by name, keep changes dense or at low rank.

A base is never edited. `worn` exchanges parameter objects by name for the length of a `with` and puts the very same
objects back, also after an exception, so the base stays bit-identical and gradients reach the worn tensors.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def worn(module: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Swap parameters by name for the length of the block.

    Backward through gradient checkpointing belongs inside the block. A name the module does not have, or a shape that
    differs, raises KeyError or ValueError before anything is changed.
    """
    kept: list[tuple[dict[str, Any], str, Any]] = []
    for name, weight in weights.items():
        owner, _, leaf = name.rpartition(".")
        slots = _slots(module, owner)
        if slots.get(leaf) is None:
            raise KeyError(name)
        if slots[leaf].shape != weight.shape:
            raise ValueError(f"{name} is {tuple(slots[leaf].shape)}, not {tuple(weight.shape)}")
        kept.append((slots, leaf, slots[leaf]))
    try:
        for (slots, leaf, _), weight in zip(kept, weights.values(), strict=True):
            slots[leaf] = weight
        yield module
    finally:
        for slots, leaf, weight in kept:
            slots[leaf] = weight


def _slots(module: nn.Module, owner: str) -> dict[str, Any]:
    """The parameters that a submodule holds itself, by leaf name; empty where there is no such submodule."""
    try:
        return module.get_submodule(owner)._parameters  # pyright: ignore[reportPrivateUsage]
    except AttributeError:
        return {}


def select(module: nn.Module, wanted: Callable[[str], bool]) -> dict[str, nn.Parameter]:
    """The parameters whose name is wanted, in the module's order."""
    return {name: weight for name, weight in module.named_parameters() if wanted(name)}


def is_cross_kv(name: str) -> bool:
    """Wk or Wv of a cross-attention layer: what Custom Diffusion trains (card 1.2)."""
    return name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight"))


def is_cross(name: str) -> bool:
    """Any parameter of a cross-attention layer: q, k, v and out (recommended for faces; card 1.2)."""
    return ".attn2." in name


@dataclass(frozen=True, eq=False)
class Change:
    """W − W₀ of one weight, dense or as a product of two thin matrices."""

    dense: Tensor | None = None  # W₀'s shape
    up: Tensor | None = None  # [out, rank]
    down: Tensor | None = None  # [rank, in]

    def __post_init__(self) -> None:
        if (self.dense is None) != (self.up is not None and self.down is not None):
            raise ValueError("a change is either dense, or up and down")
        if self.up is not None and self.down is not None:
            shapes = tuple(self.up.shape), tuple(self.down.shape)
            if [len(shape) for shape in shapes] != [2, 2] or shapes[0][1] != shapes[1][0]:
                raise ValueError(f"up {shapes[0]} and down {shapes[1]} have no product")

    @property
    def shape(self) -> tuple[int, ...]:
        """W₀'s shape."""
        if self.dense is not None:
            return tuple(self.dense.shape)
        assert self.up is not None and self.down is not None
        return self.up.shape[0], self.down.shape[1]

    def full(self) -> Tensor:
        """W − W₀ in W₀'s shape."""
        if self.dense is not None:
            return self.dense
        assert self.up is not None and self.down is not None
        return self.up @ self.down

    def on(self, weight: Tensor) -> Tensor:
        """W₀ + (W − W₀), added in float32 and given back in W₀'s type and device."""
        return (weight.detach().float() + self.full().to(weight.device).float()).to(weight.dtype)

    def tensors(self) -> dict[str, Tensor]:
        """What a file stores, by the name of the part."""
        parts = {"dense": self.dense, "up": self.up, "down": self.down}
        return {name: part for name, part in parts.items() if part is not None}


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinity; None where there is none."""
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)


SAMPLE = 1 << 16
"""So many numbers of a weight, at most, are projected."""

SMALL = 1e-4
"""Weights of a smaller root mean square are taken for so large: float16 has few digits below."""


def signature(weights: Mapping[str, Tensor]) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """(shape, norms, signs): what tells one base from another; see `Origin.same_weights`.

        shape     a hash of every name and shape (the architecture)
        norms     ‖W‖ of up to 32 evenly spaced weights
        signs     Σᵢ ±wᵢ / ‖w‖ of every weight, w its evenly spaced rows (at most 65,536 numbers)

    The signs ± are a fixed random pattern, so that of W + Δ the last one differs by about ‖δ‖ / ‖w‖ whatever Δ is.
    Sums are in float64 on the CPU, and rounded: they depend on the weights alone, not on device or threads.
    """
    names = sorted(weights)
    lines = [f"{name}{tuple(weights[name].shape)}" for name in names]
    shape = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    some = names[:: max(1, len(weights) // 32)][:32]
    norms = (float(torch.linalg.vector_norm(weights[name].detach().cpu().double())) for name in some)
    return shape, tuple(float(f"{norm:.6g}") for norm in norms), tuple(_sign(weights[name]) for name in names)


def _sign(weight: Tensor) -> float:
    """A weight's projection on the fixed signs, as a share of its norm."""
    rows = torch.atleast_1d(weight.detach())[:: -(-weight.numel() // SAMPLE) or 1]
    w = rows.flatten()[:SAMPLE].cpu().double()
    norm = max(float(torch.linalg.vector_norm(w)), SMALL * max(len(w), 1) ** 0.5)
    return round(float(w @ _signs()[: len(w)]) / norm, 4)


@cache
def _signs() -> Tensor:
    """±1 by the counter i alone: a bit of the hash of i (splitmix64's last steps, in wrapping 64-bit integers)."""
    i = torch.arange(1, SAMPLE + 1, dtype=torch.int64)
    i = i * -0x61C8864680B583EB  # 2⁶⁴ / the golden ratio
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        i = (i ^ (i >> shift)) * factor
    return (((i ^ (i >> 31)) & 1) * 2 - 1).double()
