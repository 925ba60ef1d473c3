"""Options from a function: each keyword-only parameter is one, with its type, its default, and its line under "Args:".

So a method's signature is the only place where a setting is written.
"""

from __future__ import annotations

import inspect
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin

import click

HANDLED = frozenset(
    {
        "base",
        "concepts",
        "controls",
        "examples",
        "folder",
        "images",
        "inversion",
        "on_image",
        "on_picture",
        "on_progress",
        "report",
    }
)
"""Parameters that a command fills in itself."""


class Number(click.types.FloatParamType):
    """A float that is a number: not nan, not infinite."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it from text; fails with the option's name."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


ALWAYS = {
    "resume": "Go on from the state in the run's folder; the same settings are needed.",
    "seed": "Seed of every random choice.",
}
"""Help for parameters that mean the same everywhere, where a docstring does not say."""

BOUNDED: Mapping[str, dict[str, Any]] = {"seed": {"type": click.IntRange(min=0)}}
"""click's keywords for parameters whose name says more than their type."""

SIMPLE: Mapping[Any, Any] = {
    int: click.INT,
    float: Number(),
    str: click.STRING,
    Path: click.Path(path_type=Path),
}


def options(function: Callable[..., Any], *, hidden: Iterable[str] = ()) -> list[click.Option]:
    """One option per keyword-only parameter, in the signature's order; those of HANDLED and `hidden` are left out.

    A parameter whose type has no place on a command line (a callback, a loaded model) is left out too; it needs a
    default.
    """
    documented, out = arguments_help(function), HANDLED | set(hidden)
    found: list[click.Option] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in out:
            continue
        kind = BOUNDED.get(parameter.name) or option_type(annotation(function, parameter))
        if kind is not None:
            found.append(
                _option(parameter, kind, documented.get(parameter.name) or ALWAYS.get(parameter.name, ""))
            )
    return found


def annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """A parameter's type; text annotations are looked up in the function's own module."""
    kind = parameter.annotation
    if isinstance(kind, str):
        try:
            return eval(kind, getattr(function, "__globals__", {}))
        except NameError:  # a name that is imported for type checkers only
            return None
    return kind


def option_type(kind: Any) -> dict[str, Any] | None:
    """click's keywords for a Python type, or None where a command line cannot give one."""
    if kind is bool:
        return {"is_flag": True}
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"type": click.Choice([str(part) for part in parts])}
    if origin in {Union, types.UnionType}:
        inner = [part for part in parts if part is not type(None)]
        return option_type(str if str in inner and len(inner) > 1 else inner[0]) if inner else None
    if origin is tuple and parts and Ellipsis not in parts and parts[0] in SIMPLE:
        return {"type": SIMPLE[parts[0]], "nargs": len(parts)}
    if inspect.isclass(origin) and issubclass(origin, Iterable) and parts and parts[0] in SIMPLE:
        return {"type": SIMPLE[parts[0]], "multiple": True}
    return None


def _option(parameter: inspect.Parameter, kind: dict[str, Any], text: str) -> click.Option:
    name = parameter.name.replace("_", "-")
    flags = [f"--{name}"] if len(name) > 1 else [f"-{name}", f"--{name}"]
    if kind.get("is_flag"):
        kind, flags = {}, [f"--{name}/--no-{name}"]
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    shown = default is not None and not (kind.get("multiple") and not default) and default != ""
    if kind.get("multiple"):
        text = f"{text} May be given several times.".strip()
    return click.Option(
        [parameter.name, *flags],
        default=default,
        show_default=shown,
        required=required,
        help=text or None,
        **kind,
    )


def summary(function: Callable[..., Any]) -> str:
    """The first paragraph of a docstring."""
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def arguments_help(function: Callable[..., Any]) -> dict[str, str]:
    """{parameter: its text} from the "Args:" section of a docstring."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.getdoc(function) or "", re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in section.group(1).splitlines() if section else []:
        if match := re.match(r" {4}(\w+): ?(.*)", line):
            name = match.group(1)
            found[name] = match.group(2)
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def positionals(function: Callable[..., Any]) -> list[str]:
    """The names of a function's positional parameters, in order."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]


def given(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The settings among a command's values; lists that were not given are left to the function."""
    empty = cast(tuple[Any, ...], ())
    return {name: values[name] for name in names if name in values and values[name] not in (None, empty)}


def accepted(function: Callable[..., Any], **callbacks: Any) -> dict[str, Any]:
    """Those of the callbacks that a function takes."""
    return {name: call for name, call in callbacks.items() if name in inspect.signature(function).parameters}
