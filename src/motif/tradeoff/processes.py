"""Workers that are processes of this machine, each with a base of its own.

A worker whose process ends (killed, out of memory) fails the job that it had, by name, and another takes its place. A
worker whose driver is gone ends at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from motif.errors import Interrupted
from motif.tradeoff.jobs import Job
from motif.tradeoff.scatter import Done, Failure, attempt
from motif.tradeoff.work import Setup, Worker

PATIENCE = 30.0
"""Seconds that a stopped worker has to save its run."""


@dataclass(eq=False)
class _Hand:
    process: SpawnProcess
    line: Connection
    number: int | None = None
    job: Job | None = None


class Processes:
    """As many workers as asked for, started when they are needed."""

    def __init__(self, setup: Setup, workers: int) -> None:
        self.setup, self.hands = setup, workers
        self.crew: list[_Hand] = []

    def give(self, number: int, job: Job) -> None:
        """To a worker that is free, or a new one."""
        free = next((hand for hand in self.crew if hand.job is None), None) or self._start()
        free.number, free.job = number, job
        try:
            free.line.send((number, job))
        except OSError:  # it has died meanwhile, which `take` will find
            pass

    def take(self) -> Done:
        """The next that ends."""
        busy = [hand for hand in self.crew if hand.job is not None]
        ready = wait([part for hand in busy for part in (hand.line, hand.process.sentinel)])
        hand = next(hand for hand in busy if hand.line in ready or hand.process.sentinel in ready)
        try:
            done: Done | None = hand.line.recv() if hand.line.poll() else None
        except (EOFError, OSError):
            done = None
        if done is not None:
            hand.number = hand.job = None
            return done
        hand.process.join()
        self.crew.remove(hand)
        assert hand.number is not None and hand.job is not None
        code = hand.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        why = f"its process ended ({how}): out of memory, or killed"
        return Done(hand.number, Failure(hand.job.label, why))

    def close(self) -> None:
        """Ask all to stop, and make them."""
        for hand in self.crew:
            hand.line.close()
            if hand.job is not None:
                hand.process.terminate()  # a training run saves its state
        last = time.monotonic() + PATIENCE
        for hand in self.crew:
            hand.process.join(max(last - time.monotonic(), 0.1))
            hand.process.kill()
        self.crew.clear()

    def _start(self) -> _Hand:
        context: Any = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        process = cast(SpawnProcess, context.Process(target=_work, args=(self.setup, theirs), daemon=True))
        process.start()
        theirs.close()
        hand = _Hand(process, mine)
        self.crew.append(hand)
        return hand


def _work(setup: Setup, line: Connection) -> None:
    """A worker's life."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    worker = Worker(setup)
    try:
        while True:
            number, job = line.recv()
            line.send(Done(number, attempt(worker, job)))
    except (EOFError, OSError, KeyboardInterrupt, Interrupted):
        pass


def _watch(parent: int) -> None:
    """End with the driver: what it left is to be done by the next one alone."""
    while os.getppid() == parent:
        time.sleep(0.3)
    os._exit(1)
