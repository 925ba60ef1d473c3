"""A method's settings: checked against its signature, and grids of them taken apart.

A list is a grid, unless the setting itself takes a list (then a grid is a list of lists); a table {low, high, log} is a
range to search (`--optimise`). Names and types are the function's own.

A setting names a file or a folder where its type has a Path in it, or where it is one of `PLACES`: a result is known by
what is there. Every other word is a word, whatever lies in the folder that the command runs in.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

from motif.errors import InputError
from motif.learn.prior import WORDS
from motif.tradeoff.digest import content
from motif.tradeoff.spec import nearest

OWN = frozenset(
    "base examples images prompts references prompt n controls folder resume checkpoint_every preview_every previews "
    "on_progress on_picture on_image balances auto show_masks device batch_size track".split()
)
"""Parameters that are the trade-off's to fill, or that would give something else than one picture a seed."""

LEARN_OWN = OWN - {"batch_size", "checkpoint_every"}

ENCODERS = ("pocket", "paper")
"""Names of encoders that are no place (`motif.features.models.find`)."""

PLACES: Mapping[str, tuple[str, ...]] = {
    "prior": WORDS, "encoder": ENCODERS, "retrieve_encoder": ENCODERS, "keep_encoder": ENCODERS,
}  # fmt: skip
"""Settings that may name a file or a folder though their type is any text's; and what they take for no place."""


@dataclass(frozen=True)
class Range:
    """What a search may choose from."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choices:
    """A setting's values: a grid's, or one of a range."""

    values: tuple[Any, ...] = ()
    range: Range | None = None

    @property
    def varies(self) -> bool:
        return len(self.values) > 1 or self.range is not None

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every value of a grid, and both ends of a range."""
        span = self.range
        if span is None:
            return self.values
        return (int(span.low), int(span.high)) if span.whole else (float(span.low), float(span.high))


@dataclass(frozen=True, eq=False)
class Signature:
    """What a function can be told."""

    name: str  # "custom-diffusion", for messages
    function: Callable[..., Any]
    own: frozenset[str] = OWN

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        found = inspect.signature(self.function).parameters
        return {n: p for n, p in found.items() if p.kind is p.KEYWORD_ONLY}

    def read(self, settings: Mapping[str, Any]) -> dict[str, Choices]:
        """Every setting's values, each of its type. InputError names what does not fit."""
        return {name: self._choices(name, value) for name, value in settings.items()}

    def _choices(self, name: str, value: Any) -> Choices:
        known = self.parameters
        if name not in known or name in self.own:
            why = " that a trade-off can set" if name in known else ""
            raise InputError(
                f"{self.name} has no setting {name}{why}{nearest(name, [k for k in known if k not in self.own])}"
            )
        kind = _kind(self.function, known[name])
        if (one := _fitting(kind, value)) is not None:
            return Choices((one,))
        if isinstance(value, dict) and (found := _range(cast(dict[str, Any], value), kind)):
            return Choices(range=found)
        if isinstance(value, list) and value:
            each = [_fitting(kind, part) for part in cast(list[Any], value)]
            if None not in each and len({repr(one) for one in each}) == len(each):
                return Choices(tuple(each))
        raise InputError(
            f"{self.name}: {name} = {value!r} is no value, or list of different values, of {_told(kind)}"
        )

    def defaults(self, given: Mapping[str, Any], **known: Any) -> dict[str, Any]:
        """All settings as JSON values: what is given, what is known otherwise, and the function's own defaults."""
        found: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if name in self.own:
                continue
            value = given.get(name, None if parameter.default is parameter.empty else parameter.default)
            found[name] = known.get(name) if value is None else value
        return self.plain(found)

    def plain(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as JSON values, each with what lies where it may name a place."""
        return {name: plain(value, self._words(name)) for name, value in settings.items()}

    def _words(self, name: str) -> tuple[str, ...] | None:
        """The words that name no place; None where the whole setting is none."""
        if name in PLACES:
            return PLACES[name]
        parts = _parts(_kind(self.function, self.parameters[name])) if name in self.parameters else []
        if not any(inspect.isclass(part) and issubclass(part, Path) for part in parts):
            return None
        return ENCODERS if any(_is_encoder(part) for part in parts) else ()


def _is_encoder(part: Any) -> bool:
    """Whether it is a class that is loaded by a name; a picture is loaded too, but not by one."""
    return isinstance(inspect.getattr_static(part, "load", None), classmethod | staticmethod)


def plain(value: Any, words: Container[str] | None = None) -> Any:
    """A value as JSON has it; with `words`, what lies where it names a place, unless it is one of them."""
    if isinstance(value, str | Path):
        word = os.path.expanduser(value)
        there = words is not None and str(value) not in words and os.path.exists(word)
        return [str(value), content(word)] if there else str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v, words) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part, words) for part in cast(Iterable[Any], value)]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def grid(choices: Mapping[str, Choices]) -> list[dict[str, Any]]:
    """Every combination, the last setting fastest. InputError for a range: it is for a search."""
    if ranges := [name for name, each in choices.items() if each.range]:
        raise InputError(
            f"{ranges[0]} is a range, and a grid needs values: list them, or search with --optimise N"
        )
    combined = itertools.product(*(each.values for each in choices.values()))
    return [dict(zip(choices, values, strict=True)) for values in combined]


def _kind(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """A parameter's type; None where only type checkers know it."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:
        return eval(parameter.annotation, getattr(function, "__globals__", {}))
    except NameError:
        return None


def _parts(kind: Any) -> list[Any]:
    """A type, and all that it is made of."""
    return [kind, *(part for inner in get_args(kind) for part in _parts(inner))]


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def _fitting(kind: Any, value: Any) -> Any:
    """The value where it is of that type, else None."""
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, ValidationError

    if kind is None or value is None:
        return None
    try:
        adapter = _adapter(kind)
        return adapter.validate_json(_json(value))  # as JSON, so that lists fit tuples, and words paths
    except ValidationError:
        return None
    except (PydanticSchemaGenerationError, PydanticUserError):  # a type of somebody's own
        return value if isinstance(value, str | int | float | bool) else None


def _json(value: Any) -> str:
    import json

    return json.dumps(value, default=str)


def _range(value: Mapping[str, Any], kind: Any) -> Range | None:
    """{low, high, log} of a number."""
    if not {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        return None
    low, high, log = _fitting(kind, value["low"]), _fitting(kind, value["high"]), value.get("log", False)
    if low is None or high is None or isinstance(low, str | bool) or not isinstance(log, bool):
        return None
    if not low < high or (log and low <= 0):
        raise InputError(f"a range from {low} to {high} is empty, or has no logarithm")
    return Range(low, high, log, isinstance(low, int) and isinstance(high, int) and kind is not float)


def _told(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)).replace("typing.", "")


def label(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    """ "steps 100, lr 1e-05": those settings in words."""
    return ", ".join(f"{name} {_word(settings[name])}" for name in names if name in settings)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
