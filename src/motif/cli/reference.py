"""The reference page of the command line, made from the commands themselves: `make docs` writes it, a test compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from motif.cli.app import app
from motif.files import written

WIDTH = 100
HEAD = """# Commands

Made by `make docs` from `motif COMMAND --help`. Every option of a method is a keyword of its Python function, with the
same default. Exits: 0 done, 2 the user's input, 3 a model that is not here, 130 interrupted (the state is saved), 1 a
bug.
"""


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name, in the order of the help."""
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command:
            yield " ".join((*path, name)), command


def reference() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for name, command in commands(app, ("motif",)):
        settings: dict[str, Any] = {
            **command.context_settings,
            "max_content_width": WIDTH,
            "terminal_width": WIDTH,
        }
        context = click.Context(command, info_name=name, **settings)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    with written(Path(sys.argv[1])) as page:
        page.write_text(reference(), encoding="utf-8")
