"""Workers that are Ray actors: on this machine, or on a cluster that is there. One actor holds one base.

Jobs go to them as small values, and results are files: every node must see the store's folder, and the photos, under
the same path. Nothing but "done" comes back to the head.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.tradeoff.jobs import Job
from motif.tradeoff.scatter import Done, Failure, attempt
from motif.tradeoff.work import Setup, Worker


class Hand:
    """What an actor does."""

    def __init__(self, setup: Setup, home: str) -> None:
        if not Path(setup.folder).is_dir():
            raise InputError(f"{setup.folder} is not on this node: the folder must be one that all nodes see")
        if os.path.isdir(home):
            os.chdir(home)  # settings may name files
        self.worker = Worker(setup)

    def do(self, number: int, job: Job) -> Done:
        """A job."""
        return Done(number, attempt(self.worker, job))


@dataclass(eq=False)
class _Given:
    actor: Any
    number: int
    job: Job


class Actors:
    """As many actors as asked for, each with a processor for every thread, or a GPU where the base is on one."""

    def __init__(self, setup: Setup, workers: int, at: str = "") -> None:
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError:
            raise InputError(
                'Ray is not installed: pip install "motif[scale]", or use --on processes'
            ) from None
        self.setup, self.hands = setup, workers
        self.started = not self.ray.is_initialized()
        if self.started:
            local: dict[str, Any] = {"num_cpus": workers * setup.threads, "include_dashboard": False}
            where: dict[str, Any] = {"address": at} if at else local
            try:
                self.ray.init(log_to_driver=False, logging_level="ERROR", **where)
            except Exception as error:  # Ray raises bare ones too, as when a busy machine is slow to start it
                why = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise InputError(f"Ray cannot start at {at or 'this machine'}: {why}") from None
        self.free: list[Any] = []
        self.busy: dict[Any, _Given] = {}

    def give(self, number: int, job: Job) -> None:
        """To an actor that is free, or a new one."""
        actor = self.free.pop() if self.free else self._start()
        self.busy[actor.do.remote(number, job)] = _Given(actor, number, job)

    def take(self) -> Done:
        """The next that ends. An actor that died is replaced."""
        ready, _ = self.ray.wait(list(self.busy), num_returns=1)
        given = self.busy.pop(ready[0])
        try:
            done: Done = self.ray.get(ready[0])
        except self.ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            return Done(given.number, Failure(given.job.label, f"its actor ended: {first}", str(error)))
        self.free.append(given.actor)
        return done

    def close(self) -> None:
        """Let the actors go, and Ray where it was started here."""
        for actor in [*self.free, *(given.actor for given in self.busy.values())]:
            self.ray.kill(actor)
        self.free, self.busy = [], {}
        if self.started:
            self.ray.shutdown()

    def _start(self) -> Any:
        gpu = self.setup.device.startswith("cuda")
        wants = {"num_gpus": 1} if gpu else {"num_cpus": self.setup.threads}
        return self.ray.remote(**wants)(Hand).remote(self.setup, os.getcwd())
