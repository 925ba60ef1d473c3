"""The same numbers whoever does the jobs, and workers that die."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motif.base import Base
from motif.errors import InputError
from motif.tradeoff.jobs import Draw, Measure
from motif.tradeoff.plan import Planner
from motif.tradeoff.scatter import crew
from motif.tradeoff.spec import Spec
from motif.tradeoff.store import Store
from motif.tradeoff.sweep import tradeoff
from motif.tradeoff.work import Setup

Make = Callable[..., Spec]


@pytest.fixture
def small(spec: Make, raw: Any) -> Spec:
    """A base row and a run of two checkpoints, one prompt, one metric more than needed."""
    return spec(
        prompts=["a {concept}"], concepts=[raw()["concepts"][0], {**raw()["concepts"][0], "name": "twin"}]
    )


@pytest.mark.timeout(300)
def test_processes_give_the_loops_numbers(tmp_path: Path, small: Spec, tiny_base: Base) -> None:
    first = tradeoff(small, tmp_path / "loop", base=tiny_base)
    second = tradeoff(small, tmp_path / "processes", on="processes", workers=2, device="cpu")
    assert not first.failures and second.as_dict() == first.as_dict()
    files = [(tmp_path / on / "table.json").read_bytes() for on in ("loop", "processes")]
    assert files[0] == files[1]


@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_fails_its_job_alone(tmp_path: Path, small: Spec, tiny_base: Base) -> None:
    from motif.tradeoff.processes import Processes

    class Deadly(Processes):
        """Kills whoever measures CLIP-I of the base."""

        def give(self, number: int, job: Any) -> None:
            super().give(number, job)
            if (
                isinstance(job, Measure)
                and job.metric == "clip-i"
                and "the base" in job.label
                and "toy" in job.label
            ):
                hand = next(hand for hand in self.crew if hand.number == number)
                os.kill(hand.process.pid or 0, signal.SIGKILL)

    from motif.tradeoff.scatter import scatter

    plan, store = Planner(small, tiny_base).plan(), Store(tmp_path)
    setup = Setup(str(tmp_path), small.base, tiny_base.origin.fingerprint, device="cpu")
    jobs = [job for job in plan.jobs if isinstance(job, Draw | Measure) and "the base" in job.label]
    lost = scatter(jobs, store, lambda: Deadly(setup, 1))
    assert len(lost) == 1 and "SIGKILL" in next(iter(lost.values())).why
    assert sum(all(map(store.has, job.makes)) for job in jobs) == len(jobs) - 1


def test_a_crew_is_one_that_is_known(tmp_path: Path) -> None:
    setup = Setup(str(tmp_path), "pocket", "")
    for on, given, words in (
        ("lop", {"workers": 1}, "use loop, processes or ray"),
        ("loop", {"workers": 0}, "at least one"),
        ("loop", {"workers": 1, "at": "10.0.0.1"}, "Ray cluster"),
    ):
        with pytest.raises(InputError, match=words):
            crew(on, setup, **given)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("draw", [1, 2])
def test_killed_at_random_moments_it_ends_with_the_same_table(
    tmp_path: Path, small: Spec, tiny_base: Base, draw: int
) -> None:
    """SIGKILL to a process that runs the loop, again and again, then a run to the end."""
    whole, out = tradeoff(small, tmp_path / "whole", base=tiny_base), tmp_path / "out"
    moments, kills = random.Random(draw), 0
    for _ in range(6):
        if not (child := os.fork()):
            try:
                tradeoff(small, out, base=tiny_base)
            finally:
                os._exit(0)
        time.sleep(moments.uniform(0.02, 0.5))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status):
            break
    found = tradeoff(small, out, base=tiny_base)
    assert kills and found.as_dict() == whole.as_dict()
    assert (out / "table.json").read_bytes() == (tmp_path / "whole" / "table.json").read_bytes()
    assert not list(out.rglob("*.part"))
