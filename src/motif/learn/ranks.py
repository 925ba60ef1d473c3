"""The processes of one run, where a launcher started several: `accelerate launch --num_processes 2 -m motif learn ...`.

    L = Σ_r L_r,    g = Σ_r g_r        rank r of R computes the rows r, r + R, r + 2R, ... of every step's batch

A step is the same as in one process, to rounding: `batch_size` is of all ranks together. Every random choice comes
from (seed, step) and a sum has the same bits on every rank, so the ranks stay equal; only gradients, the loss and the
wish to stop travel (through accelerate). Rank 0 alone writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

from motif.errors import InputError

NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher tells each of several processes, beside WORLD_SIZE."""

PATIENCE = timedelta(days=7)
"""How long a rank waits for another, which may be drawing a prior meanwhile."""


@dataclass(frozen=True)
class Ranks:
    """This process, among those of the run."""

    rank: int = 0
    count: int = 1
    device: torch.device | None = None

    @staticmethod
    def here(device: torch.device | str) -> Ranks:
        """Join the others, where there are any; a GPU without a number becomes this rank's own.

        InputError where several processes are announced and cannot find each other, or would share one GPU.
        """
        device = torch.device(device)
        count = os.environ.get("WORLD_SIZE", "1")
        if not count.isdecimal() or int(count) < 2:
            return Ranks(device=device)
        if missing := [name for name in NEEDED if not os.environ.get(name)]:
            raise InputError(
                f"WORLD_SIZE is {count} and {missing[0]} is not set: start several processes with accelerate launch "
                "or torchrun, or unset WORLD_SIZE"
            )
        own = int(os.environ["LOCAL_RANK"])
        if device.type == "cuda" and device.index not in (None, own):
            raise InputError(
                f"{device} for each of {count} processes: name cuda alone, and each takes its own"
            )
        from accelerate import PartialState

        state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
        return Ranks(
            state.process_index,
            state.num_processes,
            torch.device("cuda", own) if device.type == "cuda" else device,
        )

    @property
    def leads(self) -> bool:
        """Whether this rank writes and speaks."""
        return self.rank == 0

    def parts(self, accumulate: int) -> list[slice]:
        """The rows of a step that are this rank's, in so many parts."""
        return [slice(self.rank + self.count * i, None, self.count * accumulate) for i in range(accumulate)]

    def told(self, loss: float, stop: bool) -> tuple[float, bool]:
        """The loss of all ranks together, and whether any of them was asked to stop."""
        if self.count == 1:
            return loss, stop
        both = self._sum(torch.tensor([loss, float(stop)], dtype=torch.float64, device=self.device))
        return float(both[0]), bool(both[1] > 0)

    def add_gradients(self, values: Collection[Tensor]) -> None:
        """Every rank's gradients become the sum of all; what has none on any rank keeps none."""
        if self.count == 1:
            return
        has = torch.tensor([float(value.grad is not None) for value in values], device=self.device)
        for value, somewhere in zip(values, self._sum(has).tolist(), strict=True):
            if somewhere:
                value.grad = self._sum(torch.zeros_like(value) if value.grad is None else value.grad)

    def wait(self) -> None:
        """Until every rank is here."""
        if self.count > 1:
            self._sum(torch.zeros(1, device=self.device))

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """The others go through the block when rank 0 has, and find what it left."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    @contextlib.contextmanager
    def one_voice(self) -> Iterator[None]:
        """In the block, what the others print goes nowhere; what they raise is raised."""
        if self.leads:
            yield
            return
        with (
            open(os.devnull, "w") as gone,
            contextlib.redirect_stdout(gone),
            contextlib.redirect_stderr(gone),
        ):
            yield

    def _sum(self, value: Tensor) -> Tensor:
        from accelerate.utils import reduce

        try:
            return reduce(value, "sum")  # pyright: ignore[reportReturnType]
        except RuntimeError as error:  # the connection: shapes and types are the same everywhere
            raise InputError(
                f"process {self.rank} of {self.count} lost another one, whose message says why: what was saved "
                "goes on with --resume"
            ) from error
