"""Latents of what the denoiser learns to draw; those of a picture that is always seen whole are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from motif.base import Base
from motif.elite.views import View

ROOM = 2**29
"""Bytes that a run keeps (pocket: 30,000 pictures); what comes behind is encoded whenever it is seen."""


@dataclass(eq=False)
class Targets:
    """The VAE's answers, by the names of views that keep their target."""

    base: Base
    room: int = ROOM
    _known: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def of(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every view's latents, [image, c, h, w] each."""
        both: list[Tensor] = []
        for view in views:
            found = self._known.get(view.kept)
            if found is None:
                found = torch.stack(self.base.posterior(view.target[None]))[
                    :, 0
                ]  # [mean or deviation, c, h, w]
                size = found.numel() * found.element_size()
                if view.kept and size <= self.room:
                    self._known[view.kept] = found
                    self.room -= size
            both.append(found)
        mean, deviation = torch.stack(both, 1)
        return mean, deviation
