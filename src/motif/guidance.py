"""Classifier-free guidance of lanes, also of one that borrows the unconditional prediction of another.

    ε̂ = ε_u + g (ε_c − ε_u)          (Ho & Salimans 2022)

What is lent is the noise: at the borrower's latents the same ε_u is another v or x₀.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from motif.attention import Side
from motif.schedule import Schedule

if TYPE_CHECKING:
    from motif.lanes import Lane

Outputs = Mapping[tuple[str, Side], Tensor]
"""The denoiser's, {(lane, side): [image, c, h, w]}."""


def lend(
    schedule: Schedule, lanes: Sequence[Lane], outputs: Outputs, latents: Mapping[str, Tensor], t: float
) -> Outputs:
    """With an unconditional side for the lanes that borrow."""
    found = dict(outputs)
    for lane in lanes:
        if lane.borrows and (lane.borrows, "uncond") in outputs:
            theirs = outputs[lane.borrows, "uncond"]
            found[lane.name, "uncond"] = schedule.lent(theirs, latents[lane.borrows], latents[lane.name], t)
    return found


def guided(lane: Lane, outputs: Outputs) -> Tensor:
    """A lane's output after guidance."""
    cond, uncond = outputs[lane.name, "cond"], outputs.get((lane.name, "uncond"))
    return cond if uncond is None else uncond + lane.guidance * (cond - uncond)
