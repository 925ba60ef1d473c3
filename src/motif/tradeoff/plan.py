"""From a spec to jobs: every combination, checked against the methods' own signatures before any work.

Settings are known by what they come to (`settle`: given, else the base's advice, else the paper's), so that writing a
default out changes nothing. Training steps are no part of a run's name where a run goes through them all: its
checkpoints are the shorter runs (`motif.learn.fit`: step k is drawn from (seed, k) alone).
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from motif import methods
from motif.base import Base
from motif.errors import InputError, MissingModel
from motif.features.models import find
from motif.tradeoff import spec as asked
from motif.tradeoff.digest import address, code, content
from motif.tradeoff.jobs import Cell, Draw, Job, Learn, Measure, Plan, Spot, blocks
from motif.tradeoff.settings import LEARN_OWN, Signature, grid, label
from motif.tradeoff.subjects import Subject, look_at
from motif.tradeoff.ways import Way, read_way

COMPARED = {"images", "references", "prompts"}
"""What a metric of a trade-off may compare."""

TOGETHER = {"maximum": "release"}
"""Settings of drawing with which a picture depends on those beside it: it is known by all of their seeds."""

Point = tuple[Way, Mapping[str, Any], Mapping[str, Any]]
"""A method with settings of learning and of drawing."""


@dataclass(eq=False)
class Planner:
    """Makes plans of one spec on one base."""

    spec: asked.Spec
    base: Base
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])

    @cached_property
    def subjects(self) -> list[Subject]:
        """The concepts, looked at."""
        return [look_at(concept, self.spec) for concept in self.spec.concepts]

    @cached_property
    def ways(self) -> list[Way]:
        """The methods, checked."""
        return [read_way(one, self.spec) for one in self.spec.methods]

    @cached_property
    def metrics(self) -> list[tuple[asked.Metric, Signature, dict[str, Any]]]:
        """The metrics, checked, each with its function and all settings that it is given."""
        return [self._metric(each) for each in self.spec.metrics]

    @cached_property
    def world(self) -> list[str]:
        """The base, as results know it."""
        return [self.base.origin.fingerprint, str(self.base.dtype)]

    @cached_property
    def eyes(self) -> list[str]:
        """What is in pocket's encoders: a metric knows them by a word, and that may come to mean other ones."""
        found: list[str] = []
        for part in ("clip", "dino"):
            with contextlib.suppress(MissingModel):  # told where it is asked for
                found.append(content(find("pocket", part=part, paper="").folder))
        return found

    def plan(self) -> Plan:
        """The whole grid. InputError where a concept's own setting changes nothing."""
        return self._heard([(way, *settings) for way in self.ways for settings in way.grid()])

    def ends(self) -> Plan:
        """What a search will choose from, by its ends and its choices; InputError as of a grid."""
        return self._heard([(way, *settings) for way in self.ways for settings in way.ends()])

    def _heard(self, points: Sequence[Point]) -> Plan:
        """These points, of which some must hear what a concept brings."""
        for who in self.subjects:
            for name, value in who.own.items():
                if not any(way.taught({name: value}, given) != given for way, given, _ in points):
                    raise InputError(
                        f"{who.name} brings a {name}, and every method here learns without one or names its own"
                    )
        return self.of(points)

    def of(self, points: Sequence[Point]) -> Plan:
        """These points alone."""
        self.jobs = {}
        runs = self._runs(points)
        spots: list[Spot] = []
        for way, learning, sampling in points:
            cells: list[Cell] = []
            varying = way.varying(learning, sampling)
            what = f"{way.asked.called} {label(varying, [*varying])}".strip()
            for whole in self.subjects:
                who = way.shown(whole)
                learned = self._learned(way, who, learning, runs)
                draws, prompts = self._draws(way, who, whole, learned, sampling, f"{who.name}: {what}")
                scores = {
                    metric.name: self._measure(
                        metric, function, settings, (*draws,), prompts, who, f"{who.name}: {what}"
                    )
                    for metric, function, settings in self.metrics
                }
                cells.append(Cell(who.name, draws, scores))
            spots.append(Spot(way.asked.called, varying, way.along, tuple(cells)))
        return Plan(tuple(self.jobs.values()), tuple(spots), {s.name: s.references for s in self.subjects})

    # -- learning ------------------------------------------------------------------------------------------------

    def _runs(self, points: Sequence[Point]) -> dict[str, set[int]]:
        """{run: every number of steps that some point asks of it}."""
        runs: dict[str, set[int]] = {}
        for way, learning, _ in points:
            for who in map(way.shown, self.subjects) if way.learn else ():
                name, steps, _ = self._run(way, who, way.taught(who.own, learning))
                runs.setdefault(name, set()).add(steps)
        return runs

    def _run(self, way: Way, who: Subject, given: Mapping[str, Any]) -> tuple[str, int, dict[str, Any]]:
        """A training run's name, the steps that are asked of it, and its settled settings."""
        assert way.learn is not None
        function: Any = way.learn.function
        settled = function.settle(self.base, who.examples, **given) if hasattr(function, "settle") else {}
        settled = {k: v for k, v in settled.items() if k not in LEARN_OWN}
        settled = way.learn.plain(settled) or way.learn.defaults(given)
        steps = int(settled.get("steps") or 0)
        if "steps" in settled and steps < 1:
            raise InputError(f"{way.asked.called}: steps {steps}: one or more")
        free: set[str] = set()  # nothing depends on them
        if settled.get("keep", "last") == "last":  # the best is one of the checkpoints
            free = {"checkpoint_every", *(["steps"] if goes_on(function, settled) else [])}
        known = {k: v for k, v in settled.items() if k not in free}
        name = address(
            "run", base=self.world, method=way.asked.learn, settings=known, prompt=who.examples.prompt,
            noun=who.examples.noun, photos=who.examples.record(), masks=who.examples.masks(),
            code=code(methods.find("learn", way.asked.learn).path),
        )  # fmt: skip
        return name, steps, settled

    def _learned(self, way: Way, who: Subject, given: Mapping[str, Any], runs: Mapping[str, set[int]]) -> str:
        """The concept's address; its run is a job."""
        if way.learn is None:
            return ""
        given = way.taught(who.own, given)
        name, steps, settled = self._run(way, who, given)
        gives = {n: address("learn", run=name, steps=n) for n in sorted(runs[name])}
        rest = {k: v for k, v in given.items() if k != "steps"}
        if name not in self.jobs:
            varying = [name for name, each in way.learning.items() if each.varies and name != "steps"]
            told = f"{way.asked.called} {label(given, varying)}".strip()
            reach = f" to step {max(gives)}" if max(gives) else ""
            self.jobs[name] = Learn(
                name, gives, way.asked.learn, who.photos, rest, self._prior(who, settled),
                f"{who.name}: learn {told}{reach}",
            )  # fmt: skip
        return gives[steps]

    def _prior(self, who: Subject, settled: Mapping[str, Any]) -> str:
        """What a drawn prior depends on, and maybe more."""
        parts = ("prior", "class_prompt", "resolution", "seed", "batch_size")
        return address(
            "prior", base=self.world, noun=who.examples.noun, prompt=who.examples.prompt,
            settings={k: v for k, v in settled.items() if k.startswith(parts)},
        )  # fmt: skip

    # -- drawing and measuring -----------------------------------------------------------------------------------

    def _draws(
        self, way: Way, who: Subject, whole: Subject, learned: str, given: Mapping[str, Any], told: str
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """({a picture's address: what it is to show}, the same of all, in order): the prompt, with the noun."""
        base, sampler = self.base, way.asked.sample
        known = {"guidance": base.guidance, "height": base.size, "width": base.size}
        settings = way.sample.defaults(given, **known)
        version = code(methods.find("sample", sampler).path)
        together = any(settings.get(name) == value for name, value in TOGETHER.items())
        draws: dict[str, str] = {}
        prompts: list[str] = []
        for prompt, shows in zip(*(each.said(bool(learned)) for each in (who, whole)), strict=True):
            for seeds in blocks(self.spec.seeds, self.spec.batch_size):
                gives = {
                    seed: address(
                        "draw", base=self.world, learned=learned, sampler=sampler, settings=settings, prompt=prompt,
                        seed=[seed, *(seeds if together else ())], code=version,
                    )
                    for seed in seeds
                }  # fmt: skip
                job = Draw(gives, sampler, prompt, dict(given), f'{told}: draw "{prompt}"', learned)
                self.jobs.setdefault(gives[seeds[0]], job)
                draws |= {where: shows for where in gives.values()}
                prompts += [shows] * len(seeds)
        return draws, tuple(prompts)

    def _metric(self, metric: asked.Metric) -> tuple[asked.Metric, Signature, dict[str, Any]]:
        """A metric's function and settings, checked."""
        function = methods.load("measure", metric.which)
        places = [
            p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.KEYWORD_ONLY
        ]
        if strange := [place for place in places if place not in COMPARED]:
            raise InputError(
                f"{metric.name} compares pictures with their {strange[0]}, which a trade-off does not have"
            )
        found = Signature(metric.name, function)
        choices = found.read(metric.settings)
        if lists := [setting for setting, each in choices.items() if each.varies]:
            raise InputError(f"{metric.name}: {lists[0]} has several values, and a metric has one")
        settings = grid(choices)[0]
        if "encoder" in found.parameters:
            settings.setdefault(
                "encoder", self.spec.encoder or ("pocket" if self.spec.base == "pocket" else "paper")
            )
        return metric, found, settings

    def _measure(
        self, metric: asked.Metric, found: Signature, settings: Mapping[str, Any], draws: tuple[str, ...],
        prompts: tuple[str, ...], who: Subject, told: str,
    ) -> str:  # fmt: skip
        """A score's address; making it is a job."""
        places = inspect.signature(found.function).parameters
        references = who.references if "references" in places else ()
        said = prompts if "prompts" in places else ()
        where = address(
            "measure", metric=metric.which, settings=found.defaults(settings), draws=draws, prompts=said,
            eyes=self.eyes if settings.get("encoder") == "pocket" else [],
            references=[content(path) for path in references], code=code(methods.find("measure", metric.which).path),
        )  # fmt: skip
        job = Measure(where, metric.which, dict(settings), draws, said, references, f"{told}: {metric.name}")
        self.jobs.setdefault(where, job)
        return where


def goes_on(function: Any, settled: Mapping[str, Any]) -> bool:
    """Whether a run's checkpoints are the shorter runs: it can be resumed, and nothing looks at its last step."""
    known = inspect.signature(function).parameters
    return {"resume", "folder", "steps"} <= known.keys() and settled.get(
        "lr_schedule", "constant"
    ) == "constant"
