"""How far a draw is, told after every denoising step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from motif.attention import Call, Control
from motif.progress import Progress, Ticker

__all__ = ["Progress", "Told"]


class Told(Control):
    """Tells of every step, over all passes, and changes nothing."""

    def __init__(self, tell: Callable[[Progress], None], steps: int) -> None:
        self.ticker = Ticker(tell, steps)

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        self.ticker.tick()
        return latents
