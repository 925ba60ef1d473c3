"""Compression: every change of a matrix as a product of two thin ones.

Kumari et al. 2023 (arXiv 2212.04488), section 3.3 and appendix; card 3. Of W − W₀ = U S Vᵀ the r leading components are
kept (Eckart and Young: no other rank r comes nearer):

    r = the largest with Σᵢ₌₁ʳ sᵢ / Σ sᵢ ≤ energy, and at least 1        up = U S,  down = Vᵀ

The shares are of the singular values themselves, as in the released code, not of their squares. Ours: the first
component stays where it alone has more than the share (there the released code keeps none), energy 1 keeps the last
one, and what would not get smaller stays as it is. Vectors of tokens, biases and convolutions stay too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from motif.concept import Concept
from motif.errors import InputError
from motif.weights import Change

ENERGY = 0.6
"""The released code's share: a fifth of the size, and the same pictures (card 3)."""

ROUNDING = 1e-6
"""A share of the largest singular value: what is smaller is float32's rounding."""


@dataclass(frozen=True)
class Residual:
    """What became of one weight."""

    weight: str
    rank: int  # 0: stays as it is
    of: int  # the most it could have
    before: int  # bytes
    after: int
    residual: float  # ‖Δ − up down‖ / ‖Δ‖


@dataclass(frozen=True)
class Report:
    """What a compression saved, and what it lost."""

    before: int  # bytes of all tensors, tokens included
    after: int
    residuals: tuple[Residual, ...]

    def data(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def compress(
    concept: Concept,
    *,
    energy: float | None = None,
    rank: int | None = None,
    on_report: Callable[[Report], None] | None = None,
) -> Concept:
    """Store a concept's changes of weights at low rank, in a fraction of the size.

    Args:
        energy: The share of the singular values' sum that is kept, above 0 and up to 1 (the default; paper: 0.6).
        rank: Keep so many components of every weight instead.
        on_report: Told the sizes, and what every weight lost.
    Raises:
        InputError: energy and rank both, out of range, or a concept that has no matrix to compress.
    """
    if energy is not None and rank is not None:
        raise InputError("energy and rank are two ways to say the same: give one")
    share = ENERGY if energy is None else energy
    if not 0 < share <= 1:
        raise InputError(f"energy is {share:g}: a share above 0 and up to 1")
    if rank is not None and rank < 1:
        raise InputError(f"rank is {rank}: keep at least one component")
    if fault := concept.fault():
        raise InputError(f"the concept is damaged: {fault}")
    if not any(len(change.shape) == 2 for change in concept.changes.values()):
        who = " ".join(concept.tokens) or concept.record.method
        raise InputError(f"{who} changes no matrix: it is as small as it can be")
    found = {name: _smaller(name, change, share, rank) for name, change in concept.changes.items()}
    said = {"energy": share} if rank is None else {"rank": rank}
    record = replace(concept.record, settings={**concept.record.settings, "compressed": said})
    if on_report:
        words = sum(_bytes(part) for parts in concept.tokens.values() for part in parts)
        rows = tuple(row for _, row in found.values())
        before, after = (words + sum(getattr(row, when) for row in rows) for when in ("before", "after"))
        on_report(Report(before, after, rows))
    return replace(concept, changes={name: change for name, (change, _) in found.items()}, record=record)


def _smaller(name: str, change: Change, energy: float, rank: int | None) -> tuple[Change, Residual]:
    """One change at low rank, or as it is where that is no larger."""
    before, of = sum(map(_bytes, change.tensors().values())), min(change.shape) if change.shape else 0
    if len(change.shape) != 2:
        return change, Residual(name, 0, of, before, before, 0.0)
    u, scales, v = _svd(change)
    kept = kept_rank(scales, energy) if rank is None else min(rank, len(scales))
    thin = Change(up=_as(u[:, :kept] * scales[:kept], change), down=_as(v[:kept], change))
    after = sum(map(_bytes, thin.tensors().values()))
    if after >= before:
        return change, Residual(name, 0, of, before, before, 0.0)
    lost = float((scales[kept:].norm() / scales.norm()).nan_to_num())
    return thin, Residual(name, kept, of, before, after, lost)


def kept_rank(scales: Tensor, energy: float) -> int:
    """How many of the singular values, which fall, have at most that share of their sum; at least 1."""
    shares = scales.double().cumsum(0) / scales.double().sum()
    return max(int((shares <= energy + 1e-12).sum()), 1)


def _svd(change: Change) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vᵀ without components of rounding; of a product, through the small matrix between its factors."""
    if change.dense is not None:
        u, scales, v = torch.linalg.svd(change.dense.float(), full_matrices=False)
    else:
        assert change.up is not None and change.down is not None
        left, upper = torch.linalg.qr(change.up.double())
        right, lower = torch.linalg.qr(change.down.double().T)
        u, scales, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
        u, v = left @ u, v @ right.T
    kept = max(int((scales > ROUNDING * scales[0]).sum()), 1)
    return u[:, :kept], scales[:kept], v[:kept]


def _as(part: Tensor, change: Change) -> Tensor:
    """In the type that the change is stored in."""
    like = next(iter(change.tensors().values()))
    return part.to(like.dtype).cpu().contiguous()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
