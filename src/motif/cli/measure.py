"""`motif measure METRIC IMAGES ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from motif.cli.command import Command, Methods
from motif.cli.options import given, options, positionals, summary
from motif.cli.sample import RECORD
from motif.cli.voice import Voice, aligned, tree
from motif.errors import InputError
from motif.methods import Method

ABOUT = {
    "images": "IMAGES: the generated pictures, a folder or a file.",
    "references": "REFERENCES: the photos they are compared with, a folder or a file.",
    "prompts": "PROMPTS: one prompt for all; or a .txt file with one per picture, in their order. The default is what "
    f"`motif sample` wrote to {RECORD} in the folder of pictures.",
}


def meter(name: str, method: Method) -> Command:
    """The command of one metric."""
    function = method.load()
    settings, places = options(function), positionals(function)
    names = [option.name or "" for option in settings]

    def run(voice: Voice, **values: Any) -> None:
        sources = {place: values[place] for place in places}
        if "prompts" in sources:
            sources["prompts"] = prompts_of(sources["prompts"], Path(sources[places[0]]).expanduser())
        score = function(**sources, **given(values, names))
        row = score.row()
        text = aligned([list(row.values())], list(row)) + "\n\n" + tree(score.choices)
        voice.result(score.as_dict(), text)

    arguments = [
        click.Argument([place], metavar=place.upper(), required=place != "prompts") for place in places
    ]
    about = "\n\n".join(ABOUT[place] for place in places if place in ABOUT)
    text = f"{summary(function)}\n\n{about}\n\n{method.paper}"
    return Command(name, callback=run, params=[*arguments, *settings], help=text, short_help=method.summary)


def prompts_of(given_prompts: str | None, images: Path) -> str | list[str]:
    """One prompt, the lines of a .txt file, or the prompt that the folder's record names."""
    if given_prompts is None:
        record = images / RECORD
        if not record.is_file():
            raise InputError(
                f"{images}: give PROMPTS; there is no {RECORD} that would say what the pictures were asked to show"
            )
        try:
            return str(json.loads(record.read_text(encoding="utf-8"))["prompt"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{record}: not a record of `motif sample`: give PROMPTS") from None
    path = Path(given_prompts).expanduser()
    if path.suffix == ".txt":
        if not path.is_file():
            raise InputError(f"{path}: no such file of prompts")
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return given_prompts


measure = Methods(
    "measure",
    meter,
    short_help="Score pictures against photos or prompts.",
    help="Score pictures against photos or prompts, with every choice named.",
)
