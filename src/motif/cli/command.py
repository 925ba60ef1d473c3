"""The kinds of commands: one with the common options, a group with suggestions, and a group of a verb's methods."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from motif import methods
from motif.cli.voice import Voice
from motif.errors import InputError
from motif.files import read_text

DEBUG = "motif.debug"
"""Where a command tells `main` that --debug was asked for, in words or in a file."""

WIDTH = {"max_content_width": 110, "help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """A command with --json, --quiet, --debug and --config; its function gets a Voice as `voice`."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        keywords.setdefault("context_settings", {}).update(WIDTH)
        super().__init__(*args, **keywords)
        taken = {name for parameter in self.params for name in parameter.opts}
        self.params += [option for option in _common() if not taken & set(option.opts)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command's function with its voice, its log on stderr."""
        flags = {name: bool(ctx.params.pop(name, False)) for name in ("json", "quiet", "debug")}
        voice = ctx.params["voice"] = Voice(**flags)
        ctx.meta[DEBUG] = voice.debug
        with voice.logging():
            try:
                return super().invoke(ctx)
            except InputError as error:
                error.args = (spelled(str(error), self.params),)
                raise


def _common() -> list[click.Option]:
    path = click.Path(path_type=Path)
    return [
        click.Option(["--config"], type=path, callback=_read, is_eager=True, expose_value=False, metavar="FILE.toml",
                     help="Read options from a file: the same names, one per line."),
        click.Option(["--json"], is_flag=True, help="Print the result as JSON."),
        click.Option(["--quiet"], is_flag=True, help="No progress and no notes; warnings stay."),
        click.Option(["--debug"], is_flag=True, help="On an error, show the traceback."),
    ]  # fmt: skip


def _read(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Take a TOML file's values as defaults. They go the same way as words on the command line, and are checked so."""
    if path is None:
        return
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    known = {
        parameter.name or "": parameter for parameter in ctx.command.params if parameter.name != "config"
    }
    flags = {name.replace("_", "-"): name for name in known}
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known and key not in flags:
            raise InputError(f"{path}: no setting {key} here{suggestion(key, [*flags])}")
        name = key if key in known else flags[key]
        if isinstance(value, dict):
            raise InputError(f"{path}: {key} is a table: write settings as name = value, without [sections]")
        several = known[name].multiple or known[name].nargs != 1
        found[name] = _words([value] if several and not isinstance(value, list) else value)
        try:
            known[name].type_cast_value(ctx, found[name])
        except click.BadParameter as error:
            raise InputError(f"{path}: {key}: {error.message}") from None
    ctx.default_map = found


def _words(value: Any) -> Any:
    """A TOML value as the command line would spell it, so that 2.5 is no integer and "False" no truth."""
    if isinstance(value, list):
        return [_words(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value).lower() if isinstance(value, bool) else str(value)


def spelled(message: str, parameters: Iterable[click.Parameter]) -> str:
    """A message with the settings' names as this command line has them: "--prior-count" where it says "prior_count"."""
    for parameter in parameters:
        flag = next((option for option in parameter.opts if option.startswith("--")), "")
        if flag and "_" in (name := parameter.name or ""):
            message = re.sub(rf"(?<![\w./<\"'=-]){name}(?![\w/>\"'=-]|\.\w)", flag, message)
    return message


def suggestion(word: str, known: Iterable[str]) -> str:
    """ "; did you mean steps?" where a known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class Group(click.Group):
    """Commands in the order they were added; a wrong name gets a suggestion."""

    command_class = Command

    def __init__(self, *args: Any, **keywords: Any) -> None:
        keywords.setdefault("context_settings", {}).update(WIDTH)
        super().__init__(*args, **keywords)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in order."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with our words for a name that is not there."""
        word, known = args[0], self.list_commands(ctx)
        if word not in known and not word.startswith("-"):
            hint = suggestion(word, known) or f"; there is {', '.join(known)}"
            raise click.UsageError(f"no {self.noun} {word}{hint}", ctx)
        return super().resolve_command(ctx, args)

    @property
    def noun(self) -> str:
        """What its members are called."""
        return "command"


Maker = Callable[[str, methods.Method], click.Command]


class Methods(Group):
    """The methods of a verb, each a command made from its function when it is asked for; `others` are made their own
    way."""

    def __init__(
        self,
        verb: str,
        make: Maker,
        *,
        others: Mapping[str, tuple[methods.Method, Maker]] | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(verb, subcommand_metavar="METHOD [ARGS]...", **keywords)
        self.verb, self.make, self.others = verb, make, others or {}

    @property
    def noun(self) -> str:
        """What its members are called."""
        return "metric" if self.verb == "measure" else "method"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The table's names."""
        return [*self.commands, *methods.table(self.verb), *self.others]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the method and make its command."""
        if cmd_name in self.others:
            method, make = self.others[cmd_name]
            return make(cmd_name, method)
        table: Mapping[str, methods.Method] = methods.table(self.verb)
        return self.make(cmd_name, table[cmd_name]) if cmd_name in table else self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the methods without importing them."""
        with formatter.section("Metrics" if self.noun == "metric" else "Methods"):
            rows = [(name, method.summary) for name, method in methods.table(self.verb).items()]
            formatter.write_dl(
                [*rows, *((name, method.summary) for name, (method, _) in self.others.items())]
            )
