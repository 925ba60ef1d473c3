"""Doing jobs somewhere: in a loop, in processes, or on Ray; the same results, as they are files with one name.

A crew takes jobs while it has a hand free, and tells of each when it is done. What a failed job would have given is
missing, so that those that need it cannot be done; all others go on.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from motif.base import Base
from motif.errors import InputError, Interrupted, MotifError
from motif.tradeoff.jobs import Job
from motif.tradeoff.store import Store
from motif.tradeoff.work import Setup, Worker

log = logging.getLogger("motif")


@dataclass(frozen=True)
class Failure:
    """What went wrong with a job: a line, and all that Python has to say."""

    label: str
    why: str
    trace: str = ""
    wrong_input: bool = False


@dataclass(frozen=True)
class Done:
    """A job that ended; `failure` says how where it failed."""

    number: int
    failure: Failure | None = None


class Crew(Protocol):
    """Whoever does jobs."""

    hands: int

    def give(self, number: int, job: Job) -> None:
        """Start a job; never more than `hands` at a time."""
        ...

    def take(self) -> Done:
        """Wait until one of them ends."""
        ...

    def close(self) -> None:
        """Let go of everything; jobs that still run are stopped."""
        ...


class Loop:
    """This process, one job after another."""

    hands = 1

    def __init__(self, setup: Setup, base: Base | None = None) -> None:
        self.worker, self.ahead = Worker(setup, base), deque[tuple[int, Job]]()

    def give(self, number: int, job: Job) -> None:
        self.ahead.append((number, job))

    def take(self) -> Done:
        number, job = self.ahead.popleft()
        level = log.level
        log.setLevel(logging.WARNING)  # what a job has to say beside warnings is not asked for here
        try:
            return Done(number, attempt(self.worker, job))
        finally:
            log.setLevel(level)

    def close(self) -> None:
        self.ahead.clear()


def attempt(worker: Worker, job: Job) -> Failure | None:
    """Do a job; what goes wrong is told, but for a stop."""
    try:
        worker.do(job)
    except (Interrupted, KeyboardInterrupt):
        raise
    except Exception as error:
        known = isinstance(error, MotifError)
        why = str(error) if known else f"{type(error).__name__}: {error}"
        first = " ".join(why.split()) or type(error).__name__
        return Failure(job.label, first, traceback.format_exc(), isinstance(error, InputError))
    return None


def crew(on: str, setup: Setup, *, workers: int, at: str = "", base: Base | None = None) -> Crew:
    """The crew of that name. InputError for a name or a number that is none."""
    if workers < 1:
        raise InputError(f"{workers} workers: at least one")
    if at and on != "ray":
        raise InputError(f"an address is of a Ray cluster: add --on ray, or leave {at} out")
    if on == "loop":
        return Loop(setup, base)
    if on == "processes":
        from motif.tradeoff.processes import Processes

        return Processes(setup, workers)
    if on == "ray":
        from motif.tradeoff.on_ray import Actors

        return Actors(setup, workers, at)
    raise InputError(f"on {on!r}: use loop, processes or ray")


def scatter(
    jobs: Sequence[Job],
    store: Store,
    makes: Callable[[], Crew],
    *,
    on_job: Callable[[int, int, Job], None] | None = None,
) -> dict[str, Failure]:
    """Do all jobs whose results are not there. Returns {address: failure} of every result that could not be made.

    Args:
        jobs: In an order in which they can be done.
        makes: Makes the crew, when there is something to do.
        on_job: Told of each job that is done: how many, of how many.
    """
    ahead = [job for job in jobs if not all(map(store.has, job.makes))]
    if not ahead:
        return {}
    pending = {address for job in ahead for address in job.makes}
    lost: dict[str, Failure] = {}
    running: dict[int, Job] = {}
    waiting, ended, hands = dict(enumerate(ahead)), 0, makes()
    try:
        while waiting or running:
            for number, job in list(waiting.items()):
                if broken := [lost[need] for need in job.needs if need in lost]:
                    del waiting[number]
                    lost.update(dict.fromkeys(job.makes, broken[0]))
                    pending.difference_update(job.makes)
                    ended += 1
                elif len(running) == hands.hands:
                    break
                elif pending.isdisjoint(job.needs):
                    running[number] = waiting.pop(number)
                    hands.give(number, job)
            if not running:
                continue
            done = hands.take()
            job, ended = running.pop(done.number), ended + 1
            pending.difference_update(job.makes)
            if done.failure:
                log.warning("%s: %s", job.label, done.failure.why)
                told = [job.label, done.failure.why, done.failure.trace]
                store.failed(job.makes[0], "\n\n".join(told))
                lost |= {address: done.failure for address in job.makes if not store.has(address)}
            if on_job:
                on_job(ended, len(ahead), job)
    finally:
        hands.close()
    return lost
