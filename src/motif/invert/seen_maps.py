"""Cross-attention as an inversion saw it: the maps at a quarter of the latent's side, kept step by step.

StyleDiffusion's attention loss compares them with those of the way back (Li et al. 2023, arXiv 2303.15649, eq. 7; card
10): 16 x 16 of Stable Diffusion's 64 x 64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from motif.attention import Call, Control, Site
from motif.errors import InputError
from motif.invert.pivot import Task

PART = 4
"""The maps that are compared: those of this part of the latent's side."""


class Maps(Control):
    """Collects the cross maps of every step that it sees: {step: {site: maps}}."""

    def __init__(self) -> None:
        self.steps = dict[int, dict[str, Tensor]]()

    @staticmethod
    def of(task: Task) -> Maps:
        """InputError where the base has no such layers."""
        h, w = task.base.latent_shape((task.photos.shape[-2], task.photos.shape[-1]))[1:]
        level = Call((), 0, 1, 0, (h, w)).level(PART)
        if not any(site.kind == "cross" and site.level == level for site in task.base.models.sites):
            raise InputError(
                f"{task.base.name} has no cross-attention at a quarter of its latents: nothing to compare"
            )
        return Maps()

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross" and site.level == call.level(PART)

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        self.steps.setdefault(call.step, {})[site.name] = maps
        return maps


def apart(seen: Mapping[str, Tensor], wanted: Mapping[str, Tensor], images: Sequence[int]) -> Tensor:
    """How far each of these images' maps are from those wanted of all: means over a layer, summed over the layers."""
    gaps = [(maps.float() - wanted[name][list(images)]).square().flatten(1).mean(1)
            for name, maps in seen.items()]  # fmt: skip
    total = gaps[0]
    for gap in gaps[1:]:
        total = total + gap
    return total
