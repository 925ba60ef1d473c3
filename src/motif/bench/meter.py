"""What a job costs: seconds, steps per second, evaluations of the denoiser, and the peak of memory while it runs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Meter:
    """Watches one job."""

    device: torch.device
    evaluations: int = 0
    ticks: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])

    def tick(self, step: int, *, last: bool = False) -> None:
        """A step is done. A GPU is waited for at the first and the last one alone."""
        if last or not self.ticks:
            self._wait()
        self.ticks.append((step, time.perf_counter()))

    def told(self, progress: Any) -> None:
        """`on_progress` of our own functions."""
        if progress.step:
            self.tick(progress.step, last=progress.step == progress.steps)

    @contextlib.contextmanager
    def watching(self, unet: torch.nn.Module | None) -> Iterator[None]:
        """Count the rows that go through a denoiser."""
        if unet is None:
            yield
            return

        def count(_: torch.nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            self.evaluations += len(args[0] if args else named["sample"])

        handle = unet.register_forward_pre_hook(count, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def timed(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """(what it gives, seconds)."""
        self._wait()
        begun = time.perf_counter()
        made = work()
        self._wait()
        return made, time.perf_counter() - begun

    @property
    def rate(self) -> float | None:
        """Steps per second after the first one; None of fewer than two."""
        if len(self.ticks) < 2:
            return None
        (first, begun), (last, ended) = self.ticks[0], self.ticks[-1]
        return (last - first) / max(ended - begun, 1e-9)

    def begin(self) -> bool:
        """The peak counts from now on; False where the system keeps that of the whole process."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return True
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return True

    def peak(self) -> int:
        """Bytes since `begin`: of a GPU's memory what was taken at once, else the process's, libraries and all."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resident()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def put_away(modules: Iterable[torch.nn.Module]) -> None:
    """Let go of the memory of modules that are not asked again: every parameter keeps its shape and is not a number."""
    for module in modules:
        for weight in module.parameters():
            nothing = torch.full((), float("nan"), dtype=weight.dtype, device=weight.device)
            weight.data = nothing.expand(weight.shape)
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc's: what is free goes back to the system
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """The most memory that this process has held, in bytes; on Linux since the peak was last forgotten (`Meter.begin`).
    `ru_maxrss` would keep what the parent held at the fork."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
