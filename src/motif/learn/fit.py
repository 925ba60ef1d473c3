"""The one training loop. A method brings the values to train and the loss of a step; everything else is here.

Every random choice of step k is drawn from a generator seeded with (seed, k). So a run that stops and resumes at any
step takes the very steps that it would have taken, and the state file needs the values, the descent's state and k
alone.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Record
from motif.errors import InputError, Interrupted
from motif.learn.descent import Descent
from motif.learn.ranks import Ranks
from motif.learn.run import Run
from motif.learn.trained import Trained
from motif.weights import not_finite


@dataclass(frozen=True)
class Progress:
    """Where a training run stands, after a step (or before the first, with its preview)."""

    step: int  # steps done
    steps: int
    loss: float | None  # of this step; None before a run's, or a resumed run's, first
    rate: float  # steps per second, previews and checkpoints left out; 0 before the first
    seconds_left: float
    preview: Path | None = None  # a sheet of pictures drawn at this step


def fit(
    base: Base,
    trained: Trained,
    loss: Callable[[Base, int, slice], Tensor],
    *,
    record: Record,
    descent: Descent,
    accumulate: int = 1,
    gradient_checkpointing: bool = False,
    ranks: Ranks,
    run: Run,
    enough: Callable[[int], bool] | None = None,
) -> Iterator[Progress]:
    """Take the descent's steps on `loss(dressed base, step, part)`, yielding after each. A step's loss is the sum of
    its parts', which are computed one after another, and shared out among the ranks.

    With a folder it writes the log, checkpoints, previews and the state for `resume` (`Run`, checked before).
    `enough` is asked at every checkpoint whether the run may end there; so is a resumed run's first step.
    Ctrl-C ends the step that runs, saves, and raises Interrupted. A loss or a value that is not finite raises
    InputError with the step; nothing is saved from it.
    """
    steps, parts = descent.way.steps, ranks.parts(accumulate)
    first, busy = run.begin(trained, descent, record, steps), 0.0
    if preview := run.draw(descent.settled, base, first):  # a stop leaves that of its own step undrawn
        yield Progress(first, steps, None, 0.0, math.inf, preview)
    with _stopping() as stop:
        for step in range(first, steps):
            if enough and _asks(run, step, first) and ranks.told(0.0, enough(step))[1]:
                run.end(record, step)
                break
            begun = time.monotonic()
            with _checkpointing(base.models.unet, gradient_checkpointing):
                mine = sum(_backward(trained.on(base), loss, step, part, descent) for part in parts)
            reached, stopped = ranks.told(mine, stop.is_set())
            if not math.isfinite(reached):
                raise InputError(f"the loss at step {step} is {reached}: lower --lr, or use --precision fp32")
            ranks.add_gradients(trained.parameters().values())
            descent.step(step)
            busy += time.monotonic() - begun
            done, rate = step + 1, (step + 1 - first) / busy
            run.note({"step": done, "loss": reached, "steps_per_second": round(rate, 3)})
            due = run.folder and (done % run.checkpoint_every == 0 or stopped)
            if (due or done == steps) and (broken := not_finite(trained.parameters())):
                raise InputError(
                    f"{broken} is not finite after step {done}: lower --lr, or use --precision fp32"
                )
            if due or done == steps:
                run.save(trained, descent, descent.settled.concept(base, record), done, steps)
            if stopped and done < steps:
                where = (
                    f"go on with --resume ({run.folder})"
                    if run.folder
                    else "nothing was saved (no run folder)"
                )
                raise Interrupted(f"stopped after step {done} of {steps}; {where}")
            preview = run.draw(descent.settled, base, done)
            yield Progress(done, steps, reached, rate, (steps - done) / rate, preview)


def _asks(run: Run, step: int, first: int) -> bool:
    return step > 0 and (step == first or step % run.checkpoint_every == 0)


def _backward(
    dressed: Base, loss: Callable[[Base, int, slice], Tensor], step: int, part: slice, descent: Descent
) -> float:
    """Loss and gradients of a part of a step, in the base's type where that is not float32."""
    dtype = dressed.dtype  # of the base's own weights: those that learn are in float32
    with dressed.on(), torch.autocast(dressed.device.type, dtype, enabled=dtype != torch.float32):
        value = loss(dressed, step, part)
        descent.backward(value)
    return float(value.detach())


@contextlib.contextmanager
def _checkpointing(unet: Any, wanted: bool) -> Iterator[None]:
    """The UNet keeps few activations for backward and computes the others again: the same gradients, in less memory."""
    if wanted:
        unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        if wanted:
            unet.disable_gradient_checkpointing()


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Ctrl-C (and a polite kill) asks the loop to end its step; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in kept:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
