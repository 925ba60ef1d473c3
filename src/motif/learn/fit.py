"""The one training loop. A method brings the values to train and the loss of a step; everything else is here.

Every random choice of step k is drawn from a generator seeded with (seed, k). So a run that stops and resumes at any
step takes the very steps that it would have taken, and the state file needs the values, the optimiser and k alone.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError, Interrupted
from motif.files import written
from motif.weights import Change

if TYPE_CHECKING:
    from PIL.Image import Image

STATE = "state.pt"
METRICS = "metrics.jsonl"


@dataclass(frozen=True, eq=False)
class Trained:
    """The values under training, in float32: whole weights by full name, and the vectors of each new token."""

    weights: Mapping[str, nn.Parameter]
    vectors: Mapping[str, tuple[nn.Parameter, ...]]
    nouns: Mapping[str, str]

    @staticmethod
    def start(
        base: Base, names: list[str], vectors: Mapping[str, tuple[Tensor, ...]], nouns: Mapping[str, str]
    ) -> Trained:
        """Copies of the base's weights of those names, and of the vectors to start from."""
        device = base.device
        weights = {name: nn.Parameter(_fp32(base.models.parameter(name), device)) for name in names}
        rows = {
            token: tuple(nn.Parameter(_fp32(v, device)) for v in parts) for token, parts in vectors.items()
        }
        return Trained(weights, rows, nouns)

    def on(self, base: Base) -> Base:
        """The base wearing these very parameters."""
        return base.dressed(
            {**base.weights, **self.weights}, {**base.vectors, **self.vectors}, {**base.nouns, **self.nouns}
        )

    def parameters(self) -> dict[str, nn.Parameter]:
        rows = {f"{token}/{i}": part for token, parts in self.vectors.items() for i, part in enumerate(parts)}
        return {**self.weights, **rows}

    def groups(self, lr: float, token_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's groups: new token rows have their own rate and never decay."""
        rows = [part for parts in self.vectors.values() for part in parts]
        groups = [
            {"params": list(self.weights.values()), "lr": lr, "weight_decay": weight_decay},
            {"params": rows, "lr": token_lr, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def concept(self, base: Base, record: Record) -> Concept:
        """What was learned so far: W − W₀ in float32, and the token rows."""
        changes = {
            name: Change(dense=(weight.detach() - base.models.parameter(name).float()).cpu())
            for name, weight in self.weights.items()
        }
        tokens = {
            token: tuple(v.detach().cpu().clone() for v in parts) for token, parts in self.vectors.items()
        }
        return Concept(tokens, changes, record)


@dataclass(frozen=True)
class Progress:
    """Where a training run stands, after a step."""

    step: int  # steps done
    steps: int
    loss: float  # of this step
    rate: float  # steps per second
    seconds_left: float
    preview: Path | None = None  # a grid of pictures drawn at this step


@dataclass(frozen=True, eq=False)
class Run:
    """Where and how often a run leaves its traces. Without a folder nothing is written."""

    folder: Path | None = None
    resume: bool = False
    checkpoint_every: int = 50
    preview_every: int = 0
    preview: Callable[[Base], Image] | None = (
        None  # a grid of fixed prompts and seeds, drawn by the dressed base
    )

    def file(self, name: str) -> Path | None:
        return self.folder / name if self.folder else None


def fit(
    base: Base,
    trained: Trained,
    loss: Callable[[Base, int], Tensor],
    *,
    record: Record,
    steps: int,
    lr: float,
    token_lr: float,
    weight_decay: float = 1e-2,
    max_norm: float | None = None,
    run: Run = Run(),
) -> Iterator[Progress]:
    """Take AdamW steps on `loss(dressed base, step)` until `steps`, yielding after each.

    With a folder it writes metrics.jsonl, checkpoints (`concept-0050.safetensors`), previews and the state for
    `resume`. Ctrl-C ends the step that runs, saves, and raises Interrupted. A loss that is not finite raises InputError
    with the step; nothing is saved from it.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}: train at least one")
    if base.dtype == torch.float16:
        raise InputError("training in fp16 loses small gradients: use --precision bf16 or fp32")
    optimiser = torch.optim.AdamW(
        trained.groups(lr, token_lr, weight_decay), betas=(0.9, 0.999), eps=1e-8, fused=True
    )
    dressed = trained.on(base)
    first = _restore(run, trained, optimiser, record) if run.resume else 0
    if run.folder:
        _begin(run, first)
    began, mixed = time.monotonic(), base.dtype != torch.float32
    preview = _preview(run, dressed, 0) if first == 0 else None
    if preview:
        yield Progress(0, steps, math.nan, 0.0, math.nan, preview)
    with _stopping() as stop:
        for step in range(first, steps):
            with dressed.on(), torch.autocast(base.device.type, base.dtype, enabled=mixed):
                value = loss(dressed, step)
                if not torch.isfinite(value):
                    raise InputError(
                        f"the loss at step {step} is {float(value.detach())}: lower --lr, or use --precision fp32"
                    )
                value.backward()
            reached = float(value.detach())
            if max_norm is not None:
                nn.utils.clip_grad_norm_(list(trained.parameters().values()), max_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            done, rate = step + 1, (step + 1 - first) / (time.monotonic() - began)
            stopped = stop.is_set()
            due = run.folder is not None and (done % run.checkpoint_every == 0 or done == steps or stopped)
            if run.folder:
                _note(run, {"step": done, "loss": reached, "steps_per_second": round(rate, 3)})
            if due:
                _save(run, trained, optimiser, record, done, trained.concept(base, record))
            drawn = (
                _preview(run, dressed, done) if run.preview_every and done % run.preview_every == 0 else None
            )
            yield Progress(done, steps, reached, rate, (steps - done) / rate, drawn)
            if stopped and done < steps:
                where = (
                    f"; go on with --resume ({run.folder})"
                    if run.folder
                    else "; nothing was saved (no run folder)"
                )
                raise Interrupted(f"stopped after step {done} of {steps}{where}")


def _fp32(weight: Tensor, device: torch.device) -> Tensor:
    return weight.detach().to(device=device, dtype=torch.float32, copy=True)


def _begin(run: Run, first: int) -> None:
    """The run's folder; a fresh run clears its old log, a resumed one drops the lines beyond its state."""
    assert run.folder is not None
    run.folder.mkdir(parents=True, exist_ok=True)
    metrics = run.folder / METRICS
    lines = metrics.read_text().splitlines() if first and metrics.is_file() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= first]
    metrics.write_text("".join(f"{line}\n" for line in kept))


def _note(run: Run, entry: Mapping[str, Any]) -> None:
    assert run.folder is not None
    with (run.folder / METRICS).open("a") as file:
        file.write(json.dumps(entry) + "\n")


def _save(
    run: Run, trained: Trained, optimiser: torch.optim.Optimizer, record: Record, step: int, concept: Concept
) -> None:
    """The state to resume from, and the concept as it is; each beside its place, then renamed."""
    assert run.folder is not None
    values = {name: value.detach().cpu() for name, value in trained.parameters().items()}
    state = {"step": step, "values": values, "optimiser": optimiser.state_dict(), "record": _key(record)}
    with written(run.folder / STATE) as part:
        torch.save(state, part)
    concept.save(run.folder / f"concept-{step:04d}.safetensors")


def _restore(run: Run, trained: Trained, optimiser: torch.optim.Optimizer, record: Record) -> int:
    """Put the saved values back and return the step to go on from; 0 where the run has not begun."""
    path = run.file(STATE)
    if path is None:
        raise InputError("--resume needs the run's folder")
    if not path.is_file():
        return 0
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    mine, theirs = json.loads(_key(record)), json.loads(state["record"])
    if differing := sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k)):
        name = differing[0]
        raise InputError(
            f"{path} was trained with {name} = {theirs.get(name)}, not {mine.get(name)}: resume with the same settings"
        )
    with torch.no_grad():
        for name, value in trained.parameters().items():
            value.copy_(state["values"][name])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _key(record: Record) -> str:
    """What must not change between stop and resume: all settings but how long and how loudly to train."""
    free = ("steps", "checkpoint_every", "preview_every", "previews", "resume", "folder")
    settings = {name: value for name, value in record.settings.items() if name not in free}
    return json.dumps(
        {"method": record.method, "prompt": record.prompt, "base": record.base.shape, **settings}, default=str
    )


def _preview(run: Run, dressed: Base, step: int) -> Path | None:
    if run.preview is None or run.folder is None or not run.preview_every:
        return None
    path = run.folder / f"preview-{step:04d}.png"
    if not path.is_file() or step:
        with written(path) as part:
            run.preview(dressed).save(part)
    return path


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


def advised(base: Base, method: str, paper: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A method's settings as plain JSON values, for use and for the record: what was given, else the base's
    advice, else the paper's."""
    advice = base.advice.get(method, {})
    names = given.keys() | paper.keys()
    settings = {
        n: given[n] if given.get(n) is not None else advice.get(n, paper.get(n)) for n in sorted(names)
    }
    return json.loads(json.dumps(settings, default=str))
