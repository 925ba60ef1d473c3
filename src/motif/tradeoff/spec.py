"""What a trade-off is asked for: a TOML file, read strictly.

    base = "pocket"
    concepts = ["cat", "boat"]                            # pocket's held-out objects, [[concepts]] with photos, or
                                                          # a benchmark's own file (`benchmarks`)
    prompts = ["a photo of a {concept} {place}"]          # or a file with one a line, {concept} or {} in it
    seeds = 4
    [[methods]]
    learn = "custom-diffusion"
    settings = {steps = [50, 100, 200], lr = 2e-6}        # a list is a grid; along one of them runs a curve

`metrics` are names, or tables with settings of their own; one metric can stand there several times, by names that tell
its columns apart, which `axes` name too:

    metrics = ["clip-t", {name = "kid-clip", metric = "kid", settings = {features = "clip"}},
               {name = "kid-dino", metric = "kid", settings = {features = "dino"}}]

A name that is not known is refused, with the nearest one that is.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from motif import methods
from motif.errors import InputError
from motif.files import read_text
from motif.tradeoff.benchmarks import benchmark, prompts_in


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    """TOML has lists; fields here are tuples, which do not change."""
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def _counted(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"seeds {value}: how many there are, from 1 up, or a list of them")
        return tuple(range(value))
    return _listed(value)


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Point = tuple[float, float]


class Concept(_Strict):
    """An object to be learned: one of pocket's held-out ones by its name, or photos with a prompt.

    `places` are what `{place}` stands for in prompts; `prompts` are asked of this concept instead of everybody's.
    `prior` and `class_prompt` are those of every method that learns from a prior and does not name its own.
    """

    name: str = Field(min_length=1)
    photos: str = ""  # a folder, seen from the spec's
    prompt: str = ""  # "photo of a <new1> cat"
    noun: str = ""
    places: Words = ()
    prompts: Words = ()
    prior: str = ""  # "none", or a folder or list of captions, seen from the spec's
    class_prompt: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.photos) != bool(self.prompt):
            raise ValueError(f"{self.name}: photos and prompt belong together (neither: a held-out object)")
        return self


class Metric(_Strict):
    """A metric with settings of its own."""

    name: str = Field(min_length=1)  # in the tables
    metric: str = ""  # which one it is, where the name does not say it
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _named_as_none(self) -> Self:
        if self.which != self.name and self.name in methods.table("measure"):
            raise ValueError(f"{self.name} is a metric, and here the name of {self.which}: give it another")
        return self

    @property
    def which(self) -> str:
        """Its name among the metrics."""
        return self.metric or self.name


class Method(_Strict):
    """A way to learn, and a way to draw; without `learn`, the base itself with the class word.

    With `noun = false` the word is learned and drawn without its noun ("a photo of a <new1>"), as Textual Inversion's
    paper does; what pictures are scored by keeps the noun, so that all methods are asked the same.
    """

    name: str = ""  # in the tables; the default is made of the two
    learn: str = ""
    sample: str = "plain"
    noun: bool = True  # whether it stands behind the word, in prompts of learning and of drawing
    settings: dict[str, Any] = {}  # of learning
    sampling: dict[str, Any] = {}  # of drawing, beside the spec's
    along: str = ""  # which setting a curve runs along, where several have more than one value

    @model_validator(mode="after")
    def _worded(self) -> Self:
        if not (self.noun or self.learn):
            raise ValueError(
                f"{self.called} learns no word that could stand without its noun: name `learn`, or leave out noun"
            )
        return self

    @property
    def called(self) -> str:
        """Its name in tables."""
        parts = [self.learn or "the base", *([self.sample] if self.sample != "plain" else [])]
        return self.name or " + ".join(parts)


class Spec(_Strict):
    """A whole trade-off."""

    base: str = "pocket"
    precision: str = ""
    concepts: Annotated[
        tuple[Annotated[Concept, BeforeValidator(_named)], ...], BeforeValidator(_listed), Field(min_length=1)
    ]
    methods: Annotated[tuple[Method, ...], BeforeValidator(_listed), Field(min_length=1)]
    prompts: Words = ()
    seeds: Annotated[tuple[int, ...], BeforeValidator(_counted), Field(min_length=1)] = (0, 1, 2, 3)
    sampling: dict[str, Any] = {}  # settings of every way to draw
    metrics: Annotated[
        tuple[Annotated[Metric, BeforeValidator(_named)], ...], BeforeValidator(_listed), Field(min_length=1)
    ] = (Metric(name="clip-t"), Metric(name="clip-i"))
    encoder: str = ""  # of metrics that do not name their own; pocket's on pocket, else the papers'
    axes: Annotated[tuple[str, str] | None, BeforeValidator(_listed)] = None  # across and up
    reference: Annotated[Point | None, BeforeValidator(_listed)] = None  # the worst corner, for hypervolumes
    batch_size: int = Field(8, ge=1)  # pictures drawn at a time; rounding alone depends on it
    threads: int = Field(1, ge=1)  # of a worker, wherever it runs: rounding depends on it

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("concept", [c.name for c in self.concepts]),
            ("method", [m.called for m in self.methods]),
            ("metric", [m.name for m in self.metrics]),
            ("seed", [str(seed) for seed in self.seeds]),
        ):
            if twice := {name for name in names if names.count(name) > 1}:
                how = "names are told apart by `name`"
                if what == "metric":
                    how = f'give one another name, as {{name = "{min(twice)}-2", metric = "{min(twice)}"}}'
                raise ValueError(f"the {what} {min(twice)} is there twice: {how}")
        if min(self.seeds) < 0:
            raise ValueError(f"seed {min(self.seeds)}: seeds are 0 or more")
        for concept in self.concepts:
            asked = concept.prompts or self.prompts
            if not asked:
                raise ValueError(f"{concept.name} has no prompts: name some for it, or for all")
            if lost := [prompt for prompt in asked if "{concept}" not in prompt]:
                raise ValueError(f'the prompt "{lost[0]}" does not say where the {{concept}} stands')
        names = [metric.name for metric in self.metrics]
        if missing := [axis for axis in self.axes or () if axis not in names]:
            raise ValueError(f"the axis {missing[0]} is none of the metrics ({', '.join(names)})")
        if self.reference is None and (less := [axis for axis in self.shown or () if axis in self.lower]):
            raise ValueError(
                f"of {less[0]} less is better: name the worst corner that a hypervolume counts from, as "
                f"reference = [{', '.join('100.0' if axis in less else '0.0' for axis in self.shown or ())}]"
            )
        if self.reference and not all(map(math.isfinite, self.reference)):
            raise ValueError("the reference must be two finite numbers")
        return self

    @property
    def lower(self) -> frozenset[str]:
        """The metrics of which less is better, as tables name them."""
        return frozenset(metric.name for metric in self.metrics if methods.less_is_better(metric.which))

    @property
    def shown(self) -> tuple[str, str] | None:
        """The two metrics of the curves, across and up; None where one metric is all there is."""
        names = [metric.name for metric in self.metrics]
        if self.axes or len(names) < 2:
            return self.axes
        return ("clip-t", "clip-i") if {"clip-t", "clip-i"} <= {*names} else (names[0], names[1])


def read_spec(path: str | Path) -> Spec:
    """Read a spec. Photos are looked for beside it. InputError says in one line what is wrong with it."""
    path = Path(path).expanduser()
    try:
        raw = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    home = path.resolve().parent
    if isinstance(raw.get("concepts"), str):
        raw["concepts"] = benchmark(home / Path(raw["concepts"]).expanduser())
    spec = made(_with_prompts(raw, home), str(path))
    concepts = [c.model_copy(update=_found_from(home, c)) for c in spec.concepts]
    return spec.model_copy(update={"concepts": tuple(concepts)})


def _with_prompts(raw: dict[str, Any], home: Path) -> dict[str, Any]:
    """A spec with the prompts of the files that it names instead: those for all, and a concept's own."""
    tables: list[Any] = [raw, *(raw["concepts"] if isinstance(raw.get("concepts"), list) else [])]
    for table in tables:
        if isinstance(table, dict) and isinstance(table.get("prompts"), str):  # pyright: ignore[reportUnknownMemberType]
            table["prompts"] = prompts_in(home / Path(str(table["prompts"])).expanduser())  # pyright: ignore[reportUnknownArgumentType]
    return raw


def _found_from(home: Path, concept: Concept) -> dict[str, str]:
    """A concept's places, seen from the spec's folder; a prior may be a word."""
    told = {"photos": concept.photos, "prior": concept.prior}
    places = {name: home / Path(place).expanduser() for name, place in told.items() if place}
    return {name: str(path) for name, path in places.items() if name == "photos" or path.exists()}


def made(raw: Mapping[str, Any], where: str = "the spec") -> Spec:
    """A spec of plain values, checked. InputError names the first thing that is wrong."""
    try:
        return Spec.model_validate(dict(raw))
    except ValidationError as error:
        raise InputError(f"{where}: {_told(error)}") from None


PARTS: Mapping[str, type[BaseModel]] = {"concepts": Concept, "methods": Method, "metrics": Metric}


def _told(error: ValidationError) -> str:
    """The first error in our words."""
    first = error.errors()[0]
    steps = [step for step in first["loc"] if not str(step).startswith("function-")]
    place = ".".join(map(str, steps))
    if first["type"] == "extra_forbidden":
        model = PARTS.get(str(steps[0]), Spec) if len(steps) > 1 else Spec
        within = f" in {'.'.join(map(str, steps[:-1]))}" if steps[:-1] else ""
        return f"no setting {steps[-1]} here{within}{nearest(str(steps[-1]), [*model.model_fields])}"
    if first["type"] == "missing":
        return f"{place} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place and first["type"] != "value_error" else message


def nearest(word: str, known: list[str]) -> str:
    """ "; did you mean steps?" where a known word is near, else what there is."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there is {', '.join(known)}"
