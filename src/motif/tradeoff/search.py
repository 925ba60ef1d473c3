"""`--optimise`: settings searched for the front, by optuna's multi-objective tree-structured Parzen estimator.

What a spec lists is chosen among, a {low, high} is a range. Points are asked for in rounds of a fixed size and told in
their order, from a fixed seed: so the same command asks the same points whoever runs their jobs, and after a stop it
goes over what is done in no time. Before the first point, both ends of every range and every choice are rehearsed.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from motif.errors import InputError
from motif.tradeoff.jobs import Plan
from motif.tradeoff.plan import Planner, Point
from motif.tradeoff.rehearse import rehearse
from motif.tradeoff.scatter import Failure
from motif.tradeoff.settings import Choices
from motif.tradeoff.ways import Way

if TYPE_CHECKING:
    from motif.tradeoff.sweep import Sweep, Told

ROUND = 4
"""Points that are asked for at a time."""


def search(
    sweep: Sweep, planner: Planner, points: int, *, seed: int = 0, on_job: Told | None = None
) -> tuple[Plan, dict[str, Failure]]:
    """Ask for so many points, run them, and give the plan of all of them.

    InputError where optuna is not there, there are not two metrics, there is nothing to choose, or where a method
    refuses the end of a range, or a choice.
    """
    try:
        library: Any = importlib.import_module("optuna")
    except ImportError:
        raise InputError('optuna is not installed: pip install "motif[scale]", or run the grid') from None
    axes, lower = sweep.spec.shown, sweep.spec.lower
    if axes is None:
        raise InputError("a search needs two metrics to weigh: name them in `metrics`")
    if not any(way.names for way in planner.ways) and len(planner.ways) < 2:
        raise InputError(
            "there is nothing to search: give a setting a list of values, or {low = ..., high = ...}"
        )
    ends = planner.ends()
    rehearse(ends.jobs, sweep.base, sweep.missing(ends))
    library.logging.set_verbosity(library.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is experimental in it
        sampler = library.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(points // 2, 1)))
        study = library.create_study(
            directions=["minimize" if a in lower else "maximize" for a in axes], sampler=sampler
        )
        asked: list[Point] = []
        lost: dict[str, Failure] = {}
        for first in range(0, points, ROUND):
            trials = [study.ask() for _ in range(min(ROUND, points - first))]
            fresh = [_point(trial, planner.ways) for trial in trials]
            plan = planner.of(fresh)
            lost |= sweep.run(plan, on_job)
            for trial, row in zip(trials, sweep.table(plan, lost).rows, strict=True):
                place = row.at(axes)
                if place is None:
                    study.tell(trial, state=library.trial.TrialState.FAIL)
                else:
                    study.tell(trial, list(place))
            asked += fresh
    different = {repr((way.asked.called, learning, sampling)): (way, learning, sampling)
                 for way, learning, sampling in asked}  # fmt: skip
    return planner.of(list(different.values())), lost


def _point(trial: Any, ways: list[Way]) -> Point:
    """A method and its settings, as a trial suggests them."""
    names = [way.asked.called for way in ways]
    way = ways[names.index(trial.suggest_categorical("method", names))] if len(ways) > 1 else ways[0]
    made = [
        {name: _suggested(trial, f"{way.asked.called}/{part}/{name}", each) for name, each in choices.items()}
        for part, choices in (("learn", way.learning), ("sample", way.sampling))
    ]
    return way, made[0], made[1]


def _suggested(trial: Any, name: str, choices: Choices) -> Any:
    span = choices.range
    if span is None:
        place = (
            trial.suggest_categorical(name, [*range(len(choices.values))]) if len(choices.values) > 1 else 0
        )
        return choices.values[place]
    if span.whole:
        return trial.suggest_int(name, int(span.low), int(span.high), log=span.log)
    return trial.suggest_float(name, span.low, span.high, log=span.log)
