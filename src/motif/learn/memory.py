"""How much memory a run will take, before anything is loaded; and what takes less, when it was not enough.

    weights + 4 n (values) + 4 n (gradients) + n · moments + 4 n (average) + what backward keeps of one part of a step

with n the values that learn. What backward keeps is counted, not guessed: a forward pass of the very UNet on torch's
meta device, where tensors have shapes and no contents, with a hook on all that autograd saves.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from motif.base import Base
from motif.errors import InputError
from motif.files import tells_no_memory
from motif.learn.activations import activations
from motif.learn.lesson import Lesson
from motif.learn.optimisers import OPTIMISERS
from motif.learn.trained import Trained

LIBRARIES = 600 * 2**20
"""What Python with torch, diffusers and transformers takes before a model is there, on a CPU (measured)."""


@dataclass(frozen=True)
class Estimate:
    """Bytes, by what they are for."""

    weights: int
    learned: int  # values, gradients, moments, average
    activations: int  # what backward keeps of one part of a step
    free: int | None = None

    @property
    def total(self) -> int:
        return self.weights + self.learned + self.activations

    def __str__(self) -> str:
        """One line, with what is free."""
        parts = (
            f"{_gb(self.weights)} the base, {_gb(self.learned)} what learns, {_gb(self.activations)} a step"
        )
        free = "" if self.free is None else f"; {_gb(self.free)} is free"
        return f"about {_gb(self.total)} of memory ({parts}){free}"


def estimate(
    shape: Base, lesson: Lesson, settings: Mapping[str, Any], device: torch.device, processes: int = 1
) -> Estimate:
    """Of each process of a run of these settings, planned on a base without values (`outline`)."""
    models, learned = shape.models, lesson.learned()
    parts = (models.unet, models.vae, *(reader.encoder for reader in models.readers))
    weights = sum(p.numel() * p.element_size() for part in parts for p in part.parameters())
    whole = sum(models.parameter(name).numel() for name in learned)
    n = lesson.size(shape) // 4
    each = 4 + 4 + OPTIMISERS[settings["optimiser"]].moments + (4 if settings["ema"] else 0)
    made = 8 * whole if lesson.rank else 0  # W + up down, and its gradient
    rows = settings["batch_size"] * (1 if settings["prior"] == "none" else 2)
    side = settings["resolution"] or shape.size
    kept = activations(shape, learned, math.ceil(rows / settings["accumulate"] / processes), side,
                       checkpointing=settings["gradient_checkpointing"])  # fmt: skip
    beside = LIBRARIES if device.type == "cpu" else 0
    return Estimate(weights + beside, int(each * n) + made, kept, free(device))


def free(device: torch.device) -> int | None:
    """Bytes that are free there; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable"))
        return 1024 * int(found.split()[1])
    except (OSError, StopIteration, ValueError):
        names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
        return (
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in names else None
        )


@contextlib.contextmanager
def scarce(
    settings: Mapping[str, Any], values: Trained, concepts: int, kept: Callable[[], Path | None]
) -> Iterator[None]:
    """Where memory runs out in the block, an InputError of one line says what takes less, and what is kept."""
    try:
        yield
    except Exception as error:
        if not tells_no_memory(error):
            raise
        learned = sum(value.numel() for value in values.parameters().values())
        ways, last = ", ".join(switches(settings, learned, concepts)), kept()
        hint = f"; {last} is kept, and --resume goes on with what gives the same result" if last else ""
        raise InputError(f"out of memory; what takes less, cheapest first: {ways}{hint}") from None


def switches(settings: Mapping[str, Any], learned: int, concepts: int = 1) -> list[str]:
    """The three cheapest ways to need less, for a run of these settings, as the command line spells them.

    Args:
        learned: How many values learn.
        concepts: They share a batch.
    """
    batch, parts = settings["batch_size"], settings["accumulate"]
    more = next((k for k in range(parts + 1, batch + 1) if batch % k == 0), 0)
    side = settings["resolution"]
    found = [
        f"--accumulate {more} (the same result)" if more else "",
        "" if settings["gradient_checkpointing"] else "--gradient-checkpointing (the same result, slower)",
        "--optimiser adafactor" if settings["optimiser"] != "adafactor" and learned > 10**8 else "",
        "--precision bf16" if settings["precision"] == "float32" else "",
        f"--batch-size {max(batch // 2 // concepts, 1) * concepts}" if batch > concepts else "",
        "--prior none" if settings["prior"] != "none" else "",
        f"--resolution {side // 2 if side else 'N'} (smaller pictures)",
        "--optimiser adafactor" if settings["optimiser"] != "adafactor" and learned <= 10**8 else "",
    ]
    return [switch for switch in found if switch][:3]


def _gb(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 / 10 else f"{size / 2**20:.0f} MB"
