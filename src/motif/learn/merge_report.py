"""How well a merge holds: of every weight, its words' error, and how far the keys and values of captions move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept
from motif.learn.least_squares import Update
from motif.weights import Change


@dataclass(frozen=True)
class Residual:
    """What became of one weight, in shares of the norm of the keys or values."""

    weight: str
    words: float  # ‖W Cᵀ − V‖ / ‖V‖
    captions: float  # ‖(W − W₀) Rᵀ‖ / ‖W₀ Rᵀ‖
    added: float  # the same, where the concepts' changes are added up instead


@dataclass(frozen=True)
class Report:
    """What was merged, and how well it holds."""

    words: tuple[str, ...]  # what the concepts are called by: "<new1> dog"
    renamed: tuple[tuple[str, str], ...]  # ("<new1> cat", its token from now on), in the concepts' order
    rows: int  # of C
    captions: int
    caption_rows: int  # of R
    ridge: float
    residuals: tuple[Residual, ...]

    def mean(self, column: str) -> float:
        """Of one column of the residuals; 0 where no weight changes."""
        values = [float(getattr(row, column)) for row in self.residuals]
        return sum(values) / max(len(values), 1)

    def data(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def residuals(
    base: Base,
    concepts: Sequence[Concept],
    changes: Mapping[str, Change],
    words: Tensor,
    errors: Mapping[str, Tensor],
    update: Update,
) -> Iterator[Residual]:
    """‖W Rᵀ‖ = ‖W A‖ for RᵀR = AAᵀ: the captions' part needs no rows. In float32, on the base's device.

    Args:
        words: [row, channel], with equal rows, which may be wanted to become different things.
        errors: What each concept makes of them, {weight: [out, row]}.
    """
    spread = update.spread.to(base.device, torch.float32)
    columns = words.T.to(base.device, torch.float32)
    for name, change in changes.items():
        own = base.models.parameter(name).detach().float()
        target = own @ columns + errors[name].to(columns)
        missed = times(change, words.T) - errors[name]
        added = _added([c.changes[name] for c in concepts if name in c.changes], spread)
        whole = float((own @ spread).norm())
        yield Residual(
            name,
            float(missed.norm()) / float(target.norm()),
            float(times(change, spread).norm()) / whole,
            float(added.norm()) / whole,
        )


def _added(changes: Sequence[Change], columns: Tensor) -> Tensor:
    """Σ (W_i − W₀) x, dense changes summed before they are multiplied."""
    dense = [change.dense.to(columns) for change in changes if change.dense is not None]
    thin = [times(change, columns) for change in changes if change.dense is None]
    return sum(thin, start=(sum(dense[1:], start=dense[0]) @ columns if dense else columns.new_zeros(())))


def times(change: Change, columns: Tensor) -> Tensor:
    """(W − W₀) x in the type and on the device of x."""
    if change.dense is not None:
        return change.dense.to(columns) @ columns
    assert change.up is not None and change.down is not None
    return change.up.to(columns) @ (change.down.to(columns) @ columns)
