"""The folder of a training run of ELITE: its log, and the state that it goes on from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from motif.errors import InputError, Interrupted
from motif.files import written
from motif.learn.ranks import Ranks

STATE, METRICS = "state.pt", "metrics.jsonl"
FREE = ("text_steps", "steps", "local_steps")
"""Settings that may change between stop and resume."""

STAGES = ("text", "global", "local")

Own = Callable[[Any], Mapping[str, Tensor]]


@dataclass(frozen=True)
class State:
    """Where a run leaves its traces; without a folder nothing is written."""

    folder: Path | None
    settings: Mapping[str, Any]
    leads: bool = True  # of several processes one writes

    def led_by(self, ranks: Ranks) -> State:
        """The same in a process of several."""
        return replace(self, leads=ranks.leads)

    @property
    def key(self) -> str:
        told = {name: value for name, value in self.settings.items() if name not in FREE}
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    def check(self, resume: bool) -> None:
        """Before any work: InputError where this run cannot begin, or go on, in its folder."""
        if self.folder is None:
            if resume:
                raise InputError("resume needs the run's folder: name one")
            return
        there = (self.folder / STATE).is_file()
        if resume and not there:
            raise InputError(f"{self.folder} holds no state to resume from: start without --resume")
        if there and not resume:
            raise InputError(f"{self.folder} holds a run: go on with --resume, or choose another run folder")
        if resume and self._saved()["key"] != self.key:
            raise InputError(
                f"the run in {self.folder} has other settings, pictures or another base: resume with the same"
            )

    def _saved(self) -> dict[str, Any]:
        assert self.folder is not None
        try:
            return torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError):
            raise InputError(
                f"{self.folder / STATE} is damaged or cut short: choose another run folder"
            ) from None

    def read(self, own: Own, steps: Mapping[str, int]) -> tuple[Any, int, Any]:
        """(stage, steps done, the state as saved); the values are put back. InputError where a stage is over and was of
        another number of steps than is asked for."""
        saved = self._saved()
        for stage in STAGES[: STAGES.index(saved["stage"])]:
            if saved["steps"][stage] != steps[stage]:
                raise InputError(
                    f"the {stage} stage is over, after {saved['steps'][stage]} steps and not {steps[stage]}: ask for "
                    "as many"
                )
        with torch.no_grad():
            for stage in ("global", "local"):
                for name, value in own(stage).items():
                    value.copy_(saved["values"][name])
        if self.leads:
            self._cut(saved["stage"], saved["step"])
        return saved["stage"], int(saved["step"]), saved

    def _cut(self, stage: str, step: int) -> None:
        """The log, without what came behind the state."""
        assert self.folder is not None
        path = self.folder / METRICS
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        kept = [e for e in entries if (STAGES.index(e["stage"]), e["step"]) <= (STAGES.index(stage), step)]
        with written(path) as part:
            part.write_text("".join(f"{json.dumps(entry)}\n" for entry in kept))

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        if self.folder and self.leads:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / METRICS).open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def save(
        self,
        stage: str,
        step: int,
        own: Own,
        optimiser: torch.optim.Optimizer,
        average: Mapping[str, Tensor],
    ) -> None:
        """All values, and the optimiser and the average of the stage."""
        if self.folder is None or not self.leads:
            return
        values = {n: v.detach().cpu() for one in ("global", "local") for n, v in own(one).items()}
        told = {
            "key": self.key,
            "stage": stage,
            "step": step,
            "steps": dict(zip(STAGES, (self.settings[name] for name in FREE), strict=True)),
            "values": values,
            "optimiser": optimiser.state_dict(),
            "average": {name: value.cpu() for name, value in average.items()},
        }
        with written(self.folder / STATE) as part:
            torch.save(told, part)

    @contextlib.contextmanager
    def stopping(self) -> Iterator[threading.Event]:
        """Ctrl-C asks the loop to end its step; a second one stops at once."""
        stop = threading.Event()
        if threading.current_thread() is not threading.main_thread():
            yield stop
            return

        def ask(*_: object) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            stop.set()

        kept = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield stop
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def stop(self, stopped: bool, stage: str, step: int, total: int) -> None:
        """Interrupted, where it was asked for; the state is saved."""
        if stopped:
            where = (
                f"go on with --resume ({self.folder})" if self.folder else "nothing was saved (no run folder)"
            )
            raise Interrupted(f"stopped after step {step} of {total} of the {stage} stage; {where}")
