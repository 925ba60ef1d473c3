"""A control that changes nothing: it counts a run's evaluations of the denoiser, and tells of its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from motif.attention import Call, Control, Side
from motif.progress import Progress, Ticker


class Counted(Control):
    """Counts the denoiser's evaluations, each of one picture, and tells of every step."""

    def __init__(self, tell: Callable[[Progress], None] | None, steps: int) -> None:
        self.ticker, self.evaluations = Ticker(tell, steps), 0

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return False

    def predicted(
        self, call: Call, outputs: Mapping[tuple[str, Side], Tensor]
    ) -> Mapping[tuple[str, Side], Tensor]:
        self.evaluations += sum(len(x) for x in outputs.values())
        return outputs

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        self.ticker.tick()
        return latents
