"""How far a long run is, told after every step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run stands, after a step."""

    step: int  # steps done
    steps: int
    rate: float  # steps per second
    seconds_left: float
    loss: float | None = None  # where something is fitted


class Ticker:
    """Counts steps, and tells of each. It keeps time from its making."""

    def __init__(self, tell: Callable[[Progress], None] | None, steps: int) -> None:
        self.tell, self.steps, self.done, self.begun = tell, steps, 0, time.perf_counter()
        self.skipped = 0

    def skip(self, steps: int) -> None:
        """So many steps were done before: they count, and say nothing of the speed."""
        self.done, self.skipped = self.done + steps, self.skipped + steps

    def tick(self, steps: int = 1, *, loss: float | None = None) -> None:
        """So many steps more are done."""
        self.done += steps
        rate = (self.done - self.skipped) / max(self.seconds, 1e-9)
        if self.tell:
            self.tell(Progress(self.done, self.steps, rate, (self.steps - self.done) / rate, loss))

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begun
