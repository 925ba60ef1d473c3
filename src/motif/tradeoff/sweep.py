"""`motif tradeoff`: a spec in, a folder with results, table and report out; stopped at any moment, it goes on.

The numbers are functions of the spec, the base, the photos and the code alone: whoever runs the jobs, and however often
they were stopped, the table is the same. More seeds keep the pictures that are there; drawn beside others, they would
differ by rounding alone.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from motif.base import Base
from motif.errors import InputError, Interrupted
from motif.files import read_text, written
from motif.loading import precision_of
from motif.tradeoff.jobs import Job, Plan
from motif.tradeoff.plan import Planner
from motif.tradeoff.rehearse import rehearse
from motif.tradeoff.scatter import Crew, Failure, crew, scatter
from motif.tradeoff.spec import Spec, read_spec
from motif.tradeoff.store import Store
from motif.tradeoff.table import Table, table
from motif.tradeoff.ways import read_way
from motif.tradeoff.work import Setup, encoder_of
from motif.versions import versions

log = logging.getLogger("motif")

On = Literal["loop", "processes", "ray"]
Told = Callable[[int, int, Job], None]


@dataclass(frozen=True, eq=False)
class Sweep:
    """One spec on one base, with the folder and the crew that do its jobs."""

    spec: Spec
    base: Base
    store: Store
    on: On = "loop"
    workers: int = 2
    at: str = ""
    device: str = ""

    def crew(self) -> Crew:
        """Whoever does the jobs, on the device and in the precision that the base has here: elsewhere, what is taken
        where nothing is said may be another."""
        setup = Setup(
            str(self.store.folder), self.spec.base, self.base.origin.fingerprint, precision_of(self.base.dtype),
            self.device or str(self.base.device), self.spec.threads,
        )  # fmt: skip
        return crew(self.on, setup, workers=self.workers, at=self.at, base=self.base)

    def missing(self, plan: Plan) -> set[Job]:
        """The jobs without a result."""
        return {job for job in plan.jobs if not all(map(self.store.has, job.makes))}

    def run(self, plan: Plan, on_job: Told | None = None) -> dict[str, Failure]:
        """Do what is not done yet."""
        return scatter(plan.jobs, self.store, self.crew, on_job=on_job)

    def table(self, plan: Plan, lost: dict[str, Failure]) -> Table:
        """What it gave."""
        return table(plan, self.store, lost, self.spec.shown, self.spec.reference, self.spec.lower)


def tradeoff(
    spec: Spec | str | Path,
    out: str | Path,
    *,
    on: On = "loop",
    workers: int = 2,
    address: str = "",
    optimise: int = 0,
    device: str | None = None,
    on_plan: Callable[[int, int], None] | None = None,
    on_job: Told | None = None,
    base: Base | None = None,
) -> Table:
    """Run a trade-off, and write table.json, sheet.png and report.html.

    Args:
        spec: The spec's file, or the spec.
        out: The folder for results and report. The same folder again goes on, and does again only what changed.
        on: Where the jobs run: a loop in this process, processes of this machine, or ray (extra "scale").
        workers: How many processes or actors, each with a base and the spec's threads.
        address: A Ray cluster's; the default is this machine. All nodes must see DIR and the photos.
        optimise: Search the settings for the front with so many points (optuna, extra "scale"); 0 runs the grid.
        device: cpu, cuda, cuda:1...; the default is a GPU where there is one.
        on_plan: Told how many jobs there are, and how many of them are to be done.
        on_job: Told of each job that is done: how many, of how many.
        base: The base, where it is loaded already.
    Raises:
        InputError: a spec that cannot work, found before any work, or a folder that another run works in.
        Interrupted: stopped; the same call goes on.
    """
    text = (
        read_text(Path(spec).expanduser()) if not isinstance(spec, Spec) else spec.model_dump_json(indent=1)
    )
    asked = spec if isinstance(spec, Spec) else read_spec(spec)
    if optimise < 0:
        raise InputError(f"optimise {optimise}: how many points, from 1 up; 0 runs the grid")
    for method in asked.methods:  # what can be wrong without the base is told before it is loaded
        read_way(method, asked)
    for name, library, instead in (
        ("ray", "Ray", "use --on processes"),
        ("optuna", "optuna", "run the grid"),
    ):
        if (on == "ray" if name == "ray" else optimise) and find_spec(name) is None:
            raise InputError(f'{library} is not installed: pip install "motif[scale]", or {instead}')
    store, begun = Store(Path(out).expanduser().resolve()), time.monotonic()
    base = base or Base.load(asked.base, device=device, precision=asked.precision or None)
    planner = Planner(asked, base)
    plan, lost = None if optimise else planner.plan(), dict[str, Failure]()
    for _, metric, settings in planner.metrics:
        if "encoder" in settings:
            encoder_of(metric.function, settings["encoder"], device or str(base.device))
    busy = f"{out}: another trade-off works there: wait, or choose another"
    with store.alone("tradeoff", wait=False, busy=busy):
        store.clean()
        sweep = Sweep(asked, base, store, on, workers, address, device or "")
        try:
            if plan is None:
                plan, lost = _searched(sweep, planner, optimise, on_job)
            else:
                missing = sweep.missing(plan)
                if on_plan:
                    on_plan(len(plan.jobs), len(missing))
                rehearse(plan.jobs, base, missing)
                lost = sweep.run(plan, on_job)
        except (KeyboardInterrupt, Interrupted):
            told = f"stopped: what is done is kept in {out}, and the same command goes on"
            raise Interrupted(told) from None
        found = sweep.table(plan, lost)
        how, asked_for = (
            f"{time.monotonic() - begun:.0f} seconds, {on}",
            f" --optimise {optimise}" * bool(optimise),
        )
        _written(store.folder, found, store, plan, text, how, asked_for)
        return found


def _searched(
    sweep: Sweep, planner: Planner, points: int, on_job: Told | None
) -> tuple[Plan, dict[str, Failure]]:
    from motif.tradeoff.search import search

    return search(sweep, planner, points, on_job=on_job)


def _written(
    folder: Path, found: Table, store: Store, plan: Plan, spec: str, how: str, options: str = ""
) -> None:
    """The table and the page."""
    from motif.tradeoff.report import report

    told: dict[str, Any] = found.as_dict()
    with written(folder / "table.json") as part:
        part.write_text(
            json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    report(
        folder, found, store, plan.photos, spec=spec, command=f"motif tradeoff SPEC.toml -o {folder.name}{options}",
        foot=f"{len(plan.jobs)} jobs; {how}. {made}.",
    )  # fmt: skip
