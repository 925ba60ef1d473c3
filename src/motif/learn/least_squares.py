"""The update that moves some rows least and gives other rows what they are to have (card 2.1 and 2.3).

    Δ = argmin ‖Δ Rᵀ‖² + λ‖Δ‖²   subject to   Δ Cᵀ = E        Δ = E (C G⁻¹ Cᵀ)⁻¹ C G⁻¹,   G = RᵀR + λ

With G = B g Bᵀ (its eigenvectors) and the thin SVD g^-½ Bᵀ Cᵀ = P S Nᵀ this is Δ = E N S⁻¹ Pᵀ g^-½ Bᵀ: nothing is
inverted whose condition number is squared, and where rows of C are (nearly) the same, cutting S makes it least squares.
Directions that neither R nor C has are left out of B: a text encoder's last layer norm leaves one, in which there is
rounding alone. λ is for those that C alone has, and 0 where there are none. All of it is float64 on the CPU; C and R
do not depend on the layer, so that one factorisation serves all.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from motif.weights import Change

log = logging.getLogger("motif")

FAINT = 1e-5
"""A direction in which the rows are smaller than this share of the largest holds float32's rounding."""

RIDGE = 1e-8
"""λ as a share of G's mean eigenvalue (card 2.3)."""

CUT = 1e-9
"""Directions of the words that are smaller than this share of the largest are none."""


@dataclass(frozen=True, eq=False)
class Update:
    """Everything of Δ but E. Float64, on the CPU."""

    spread: Tensor  # A with A Aᵀ = RᵀR: [channel, direction]
    ridge: float  # λ as a share of G's mean eigenvalue
    left: Tensor  # [row, rank]
    right: Tensor  # [rank, channel], orthonormal rows

    def change(self, errors: Tensor) -> Change:
        """Δ for E [out, row], at low rank in float32: its rounding is that of Δ itself, as `right` is orthonormal."""
        up = errors.double() @ self.left
        return Change(up=up.float().contiguous(), down=self.right.float().contiguous())


def solve(words: Tensor, held: Tensor) -> Update:
    """Factor C and R once, for every E.

    Args:
        words: C, [row, channel].
        held: R, [row, channel].
    """
    words, held = words.double().cpu(), held.double().cpu()
    values, said = _directions(held)
    unsaid = _unsaid(words, said)
    ridge = RIDGE if len(unsaid.T) else 0.0
    if ridge:
        log.warning(
            "the words go in %d directions that the captions never take: there nothing is held; give more captions",
            len(unsaid.T),
        )
    axes = torch.cat([said, unsaid], 1)  # B
    cost = torch.cat([values, values.new_zeros(len(unsaid.T))]) + ridge * float(values.sum()) / len(axes)
    p, scales, n = torch.linalg.svd((words @ axes / cost.sqrt()).T, full_matrices=False)
    kept = scales > CUT * scales[0]
    right, rest = torch.linalg.qr(p[:, kept] / cost.sqrt()[:, None])
    left = n[kept].T / scales[kept] @ rest.T
    return Update(said * values.sqrt(), ridge, left, (axes @ right).T)


def _directions(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues of RᵀR that are no rounding, and their vectors [channel, direction]."""
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    kept = values > FAINT**2 * values[-1]
    return values[kept], vectors[:, kept]


def _unsaid(words: Tensor, said: Tensor) -> Tensor:
    """The directions that words have beside those, [channel, direction]."""
    _, scales, found = torch.linalg.svd(words - words @ said @ said.T, full_matrices=False)
    return found[scales > FAINT * torch.linalg.matrix_norm(words, 2)].T
