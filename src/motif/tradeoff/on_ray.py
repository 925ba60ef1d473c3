"""Workers that are Ray actors: on this machine, or on a cluster that is there. One actor holds one base.

Jobs go to them as small values, and results are files: every node must see the store's folder, and the photos, under
the same path. Nothing but "done" comes back to the head.

Ray starts an actor where a node has what it asks for, and lets it wait for ever where none has: so there is a look at
the nodes before. It shows an actor the GPU that it gave it, and none to those that asked for none.
"""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.tradeoff.jobs import Job
from motif.tradeoff.scatter import Done, Failure, attempt
from motif.tradeoff.work import Setup, Worker

log = logging.getLogger("motif")

PATIENCE = 60.0
"""Seconds without a result, after which it is looked whether actors still wait for their places."""

UNITS = {"num_cpus": "CPU", "num_gpus": "GPU"}
"""What Ray calls them in actors, and in nodes."""


class Hand:
    """What an actor does."""

    def __init__(self, setup: Setup, home: str) -> None:
        if not Path(setup.folder).is_dir():
            raise InputError(f"{setup.folder} is not on this node: the folder must be one that all nodes see")
        if os.path.isdir(home):
            os.chdir(home)  # settings may name files
        self.worker = Worker(setup)

    def here(self) -> None:
        """Answered by an actor that has its place."""

    def do(self, number: int, job: Job) -> Done:
        """A job."""
        return Done(number, attempt(self.worker, job))


@dataclass(eq=False)
class _Given:
    actor: Any
    number: int
    job: Job


class Actors:
    """As many actors as asked for, or as have room: each with a processor for every thread, or with a GPU where the
    base is on one."""

    def __init__(self, setup: Setup, workers: int, at: str = "") -> None:
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError:
            raise InputError(
                'Ray is not installed: pip install "motif[scale]", or use --on processes'
            ) from None
        if (gpu := setup.device.startswith("cuda")) and setup.device not in ("cuda", "cuda:0"):
            raise InputError(
                f"device {setup.device}: Ray deals out GPUs itself: use cuda, and CUDA_VISIBLE_DEVICES for some of them"
            )
        self.setup = replace(setup, device="cuda") if gpu else setup  # the one that an actor sees
        self.wants = {"num_gpus": 1, "num_cpus": 0} if gpu else {"num_cpus": setup.threads}
        self.free: list[Any] = []
        self.busy: dict[Any, _Given] = {}
        self.coming: list[Any] = []  # answers of new actors to the question whether they are there
        self.started = not self.ray.is_initialized()
        if self.started:
            local: dict[str, Any] = {"num_cpus": workers * setup.threads, "include_dashboard": False}
            where: dict[str, Any] = {"address": at} if at else local
            try:
                self.ray.init(log_to_driver=False, logging_level="ERROR", **where)
            except Exception as error:  # Ray raises bare ones too, as when a busy machine is slow to start it
                why = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise InputError(f"Ray cannot start at {at or 'this machine'}: {why}") from None
        try:
            self.hands = self._room(workers, at)
        except BaseException:
            self.close()
            raise

    def give(self, number: int, job: Job) -> None:
        """To an actor that is free, or a new one."""
        actor = self.free.pop() if self.free else self._start()
        self.busy[actor.do.remote(number, job)] = _Given(actor, number, job)

    def take(self) -> Done:
        """The next that ends. An actor that died is replaced."""
        ready, _ = self.ray.wait(list(self.busy), num_returns=1, timeout=PATIENCE)
        if not ready:
            self._look()
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
        self.free, self.busy, self.coming = [], {}, []
        if self.started:
            self.ray.shutdown()

    def _start(self) -> Any:
        actor = self.ray.remote(**self.wants)(Hand).remote(self.setup, os.getcwd())
        self.coming.append(actor.here.remote())
        return actor

    def _room(self, workers: int, at: str) -> int:
        """For how many of the workers there is room, node by node. InputError where there is for none."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        asked = {UNITS[unit]: n for unit, n in self.wants.items() if n}
        room = sum(int(min(node.get(unit, 0) // n for unit, n in asked.items())) for node in nodes)
        each, where = ", ".join(f"{n} {unit}" for unit, n in asked.items()), at or "this machine"
        if not room:
            raise InputError(
                f"Ray at {where} has no node with {each}, which is what a worker needs: start one that has, "
                "or set the spec's threads, or --device"
            )
        if room < workers:
            log.warning(
                "Ray at %s has room for %d of %d workers, %s each: %d start", where, room, workers, each, room
            )
        return min(room, workers)

    def _look(self) -> None:
        """Say once how many actors wait for what others have."""
        asked, self.coming = self.coming, []
        if away := self.ray.wait(asked, num_returns=len(asked), timeout=0)[1] if asked else []:
            log.warning(
                "%d of %d workers wait for their places: something else holds what they need of the Ray cluster",
                len(away), self.hands,
            )  # fmt: skip
