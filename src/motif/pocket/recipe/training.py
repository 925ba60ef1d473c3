"""One training loop for every part of pocket.

A part is a `Stage`: modules, a loss of the step's number, and what to show now and then. The loop owns the
rest: the optimisers, warm-up and cosine, an exponential moving average (EMA), gradient clipping, checkpoints,
a log.

The random numbers of step `k` depend on (seed, k) alone, so a run stopped at any step and resumed is bit for
bit the run that never stopped (on one machine, with a budget in steps; a budget in minutes makes the learning
rate depend on the clock).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motif.errors import InputError
from motif.files import written
from motif.pocket.recipe.optimiser import optimisers
from motif.pocket.recipe.processes import average_gradients, rank, shared, wait

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
BROKEN = 100  # so many steps in a row with a broken gradient end a stage


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    steps, minutes: the budget; whichever is spent first ends the stage (minutes count over all resumed runs).
    lr, muon_lr: the peaks for AdamW and Muon; reached after `warm_up` steps, held for the share `hold` of the
    budget, then a cosine down to `floor` times the peak.
    """

    steps: int
    batch: int
    lr: float
    minutes: float | None = None
    warm_up: int = 50
    hold: float = 0.1
    floor: float = 0.02
    muon_lr: float = 0.02
    ema: float = 0.998
    weight_decay: float = 0.01
    clip: float = 1.0
    save_minutes: float = 3.0
    show_minutes: float = 10.0


@dataclass(frozen=True)
class Stage:
    """What the loop needs to know of one part.

    loss(step, rng): the loss of one batch and the figures to log; all randomness is from `rng` or torch's generator.
    show(step): called with the EMA weights in place: measure, draw a grid, write the weights; returns figures to log.
    """

    name: str
    module: nn.Module
    loss: Callable[[int, np.random.Generator], tuple[Tensor, dict[str, float]]]
    show: Callable[[int], dict[str, Any]]


class Average:
    """EMA of a module's parameters: a ← d a + (1 − d) p with d = min(decay, (1 + n) / (10 + n)) at the n-th update."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Moves the average towards the module's present parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for value, parameter in zip(self.values, module.parameters(), strict=True):
            value.lerp_(parameter, 1 - decay)

    @contextmanager
    def worn(self, module: nn.Module) -> Iterator[None]:
        """The module carries the averaged parameters (and is in eval mode) inside the block; undone exactly."""
        parameters = list(module.parameters())
        own = [p.detach().clone() for p in parameters]
        training = module.training
        try:
            fill(parameters, self.values)
            module.eval()
            yield
        finally:
            fill(parameters, own)
            module.train(training)


@torch.no_grad()
def fill(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    """Sets the parameters' values, in place."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def pace(schedule: Schedule, step: int, progress: float) -> float:
    """The learning rate over its peak: min(1, (step+1)/warm_up) · (1 while progress < hold, then ½(1 + cos
    πs) down to `floor`), s the rest's share.
    """
    rest = min(1.0, max(0.0, (progress - schedule.hold) / max(1e-9, 1 - schedule.hold)))
    cosine = schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * rest))
    return min(1.0, (step + 1) / max(1, schedule.warm_up)) * cosine


def step_rng(seed: int, step: int) -> np.random.Generator:
    """Seeds torch's global generator and returns numpy's for one step, both functions of (seed, step) alone
    (and of the process's number, beside other processes).
    """
    rng = np.random.default_rng((seed, step, rank()) if rank() else (seed, step))
    torch.manual_seed(int(rng.integers(2**62)))
    return rng


@dataclass
class Run:
    """The state of a stage under way: all that a checkpoint holds."""

    stage: Stage
    schedule: Schedule
    folder: Path
    optimisers: list[torch.optim.Optimizer]
    average: Average
    step: int = 0
    seconds: float = 0.0
    broken: int = 0  # steps in a row that changed nothing

    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        share = self.step / self.schedule.steps
        if self.schedule.minutes is not None:
            share = max(share, self.seconds / (60 * self.schedule.minutes))
        return min(1.0, share)

    def save(self) -> None:
        """Writes the checkpoint (parameters, average, optimiser, step, seconds), atomically."""
        if rank():
            return
        state = {
            "module": self.stage.module.state_dict(),
            "average": self.average.values,
            "updates": self.average.updates,
            "optimisers": [one.state_dict() for one in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
        }
        with written(self.folder / CHECKPOINT) as path:
            torch.save(state, path)

    def log(self, figures: dict[str, Any]) -> None:
        """Appends one line to the stage's JSONL log."""
        if rank():
            return
        line = {"step": self.step, "seconds": round(self.seconds, 1), **figures}
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def started(module: Any, folder: Path, load: Callable[[Path], nn.Module]) -> Any:
    """The module with the weights that `folder` holds, if it is there: a stage without a checkpoint goes on from its
    last EMA weights, with fresh optimisers. Raises InputError where they have another shape.
    """
    if folder.exists():
        try:
            module.load_state_dict(load(folder).state_dict())
        except RuntimeError as error:
            raise InputError(f"{folder} holds weights of another size: choose another run folder") from error
    return module


def begin(stage: Stage, schedule: Schedule, folder: Path) -> Run:
    """A new run of the stage, or that of `folder`'s checkpoint; InputError where it is of other shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    average = Average(stage.module, schedule.ema)
    pair = optimisers(
        stage.module, lr=schedule.lr, muon_lr=schedule.muon_lr, weight_decay=schedule.weight_decay
    )
    run = Run(stage, schedule, folder, pair, average)
    if (folder / CHECKPOINT).exists():
        state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
        try:
            stage.module.load_state_dict(state["module"])
            for one, saved in zip(run.optimisers, state["optimisers"], strict=True):
                one.load_state_dict(saved)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{folder / CHECKPOINT} is of another size: choose another run folder"
            ) from error
        for mine, saved in zip(average.values, state["average"], strict=True):
            mine.copy_(saved)
        average.updates, run.step, run.seconds = state["updates"], state["step"], state["seconds"]
    return run


def advance(run: Run, seed: int) -> dict[str, float]:
    """One optimisation step; returns its finite figures, "broken" being 1 where it changed nothing."""
    rng = step_rng(seed, run.step)
    share = pace(run.schedule, run.step, run.progress())
    for one, peak in zip(run.optimisers, (run.schedule.lr, run.schedule.muon_lr), strict=False):
        for group in one.param_groups:
            group["lr"] = peak * share
    loss, figures = run.stage.loss(run.step, rng)
    run.stage.module.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(run.stage.module.parameters())
    norm = nn.utils.clip_grad_norm_(run.stage.module.parameters(), run.schedule.clip)
    if torch.isfinite(norm):  # a step with a broken gradient changes nothing
        for one in run.optimisers:
            one.step()
        run.average.update(run.stage.module)
        run.broken = 0
    else:
        run.broken += 1
    run.step += 1
    told = {"loss": loss.item(), **figures, "gradient": norm.item(), "pace": share, "broken": run.broken > 0}
    return {key: value for key, value in told.items() if math.isfinite(value)}


def show(run: Run) -> dict[str, Any]:
    """The stage's own measurement and pictures, with the EMA weights in place; logged. Process 0 alone does it."""
    if rank():
        return {}
    with run.average.worn(run.stage.module), torch.no_grad():
        figures = run.stage.show(run.step)
    run.log({"shown": figures})
    return figures


def shown_at(folder: Path, step: int) -> dict[str, Any] | None:
    """The figures that the stage's log tells for a step, if it was shown."""
    if not (folder / LOG).exists():
        return None
    lines = [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
    return next((line["shown"] for line in reversed(lines) if line["step"] == step and "shown" in line), None)


def train_stage(
    stage: Stage,
    schedule: Schedule,
    folder: Path,
    *,
    seed: int = 0,
    until: int | None = None,
    log_every: int = 50,
) -> dict[str, Any]:
    """Trains until the budget is spent (or `until` steps are done), resuming from `folder`'s checkpoint.

    Returns the figures of the last `show`. A checkpoint is left in any case; where nothing was left to do,
    nothing is written.
    """
    run = begin(stage, schedule, folder)
    if run.progress() >= 1 and (known := shown_at(folder, run.step)) is not None:
        return known
    device = str(next(stage.module.parameters()).device)
    wait()  # all have read the checkpoint before one writes the next
    stage.module.train()
    mean: dict[str, float] = {}
    start, before = time.monotonic(), run.seconds
    saved = shown = before
    while run.progress() < 1 and (until is None or run.step < until):
        figures = advance(run, seed)
        if run.broken == BROKEN:
            raise InputError(
                f"{folder}: {BROKEN} steps in a row had no finite gradient: a broken picture, or too high a rate"
            )
        run.seconds = shared(before + time.monotonic() - start, device)
        mean = {
            key: mean.get(key, value) + 0.05 * (value - mean.get(key, value))
            for key, value in figures.items()
        }
        if run.step % log_every == 0:
            run.log({key: round(value, 6) for key, value in mean.items()})
        if run.seconds - saved > 60 * schedule.save_minutes:
            run.save()
            saved = run.seconds
        if run.seconds - shown > 60 * schedule.show_minutes:
            show(run)
            shown = run.seconds
    run.save()
    figures = show(run)
    wait()
    return figures
