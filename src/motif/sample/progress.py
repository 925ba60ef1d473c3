"""How far a draw is, told after every denoising step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from motif.attention import Call, Control


@dataclass(frozen=True)
class Progress:
    """Where a draw stands, after a denoising step."""

    step: int  # steps done, over all passes
    steps: int
    rate: float  # steps per second
    seconds_left: float


class Told(Control):
    """Tells of every step, and changes nothing."""

    def __init__(self, tell: Callable[[Progress], None], steps: int) -> None:
        self.tell, self.steps, self.done, self.begun = tell, steps, 0, time.perf_counter()

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        self.done += 1
        rate = self.done / (time.perf_counter() - self.begun)
        self.tell(Progress(self.done, self.steps, rate, (self.steps - self.done) / rate))
        return latents
