"""`motif measure METRIC IMAGES ...`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from motif.cli.command import Command, Methods
from motif.cli.options import given, options, positionals, summary
from motif.cli.record import RECORD, listed, record_of
from motif.cli.voice import Voice, aligned, tree
from motif.errors import InputError
from motif.features.pictures import gather
from motif.files import read_text
from motif.images import open_picture
from motif.methods import Method

log = logging.getLogger("motif")

LARGE = 128
"""Pixels: a picture with a longer side is none of pocket's world."""

ABOUT = {
    "images": "IMAGES: the generated pictures, a folder or a file. Of a folder that `motif sample` wrote, the pictures "
    f"that its {RECORD} lists.",
    "references": "REFERENCES: the photos they are compared with, likewise.",
    "sources": "SOURCES: what each picture was before it was edited, by name or in order; or one for all.",
    "before": "BEFORE: the class word's pictures without the concept, with the same prompts and seeds.",
    "images_by_concept": "IMAGES_BY_CONCEPT: a folder with a folder of pictures for each concept; or pictures that "
    "show all of them together.",
    "references_by_concept": "REFERENCES_BY_CONCEPT: a folder with a folder of photos for each concept.",
    "prompts": "PROMPTS: one prompt for all; or a .txt file with one per picture, in their order. The default is what "
    f"`motif sample` wrote to {RECORD} beside the pictures.",
}


def meter(name: str, method: Method) -> Command:
    """The command of one metric."""
    function = method.load()
    settings, places = options(function), positionals(function)
    names = [option.name or "" for option in settings]
    pictures = [place for place in places if place != "prompts"]

    def run(voice: Voice, **values: Any) -> None:
        sources: dict[str, Any] = {place: shelved(values[place], place) for place in pictures}
        if "prompts" in places:
            sources["prompts"] = prompts_of(values["prompts"], Path(values[places[0]]).expanduser())
        if values.get("encoder") == "pocket":
            for place in pictures:
                _warn_of_size(values[place], sources[place])
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


def shelved(source: str, place: str) -> str | list[Path] | dict[str, str | list[Path]]:
    """The pictures that a place of a command names; for several concepts {concept: its pictures}."""
    folder = Path(source).expanduser()
    if place.endswith("_by_concept") and folder.is_dir():
        shelves = sorted(each for each in folder.iterdir() if each.is_dir())
        if shelves:
            return {each.name: listed(str(each)) for each in shelves}
    return listed(source)


def _warn_of_size(name: str, source: Any) -> None:
    """pocket's encoders have seen its own 64 px renders alone; on other pictures their scores mean little."""
    if isinstance(source, dict):
        for concept, pictures in source.items():
            _warn_of_size(f"{name}/{concept}", pictures)
        return
    if (record_of(Path(name).expanduser()) or {}).get("base") == "pocket":
        return
    first = gather(source)[0]
    size = open_picture(first).size if isinstance(first, Path) else first.size
    if max(size) > LARGE:
        log.warning(
            "%s: pictures of %dx%d pixels and --encoder pocket, which has seen its own renders of 64x64 alone: the "
            "score means little; --encoder paper is what the papers measure with",
            name,
            *size,
        )


def prompts_of(given_prompts: str | None, images: Path) -> str | list[str]:
    """One prompt, the lines of a .txt file, or the prompt that the folder's record names."""
    if given_prompts is None:
        record = record_of(images)
        if record is None:
            raise InputError(
                f"{images}: give PROMPTS; there is no {RECORD} that would say what was asked to be shown"
            )
        if "prompt" not in record:
            raise InputError(f"{images}: its {RECORD} names no prompt: give PROMPTS")
        return str(record["prompt"])
    path = Path(given_prompts).expanduser()
    if path.suffix == ".txt":
        if not path.is_file():
            raise InputError(f"{path}: no such file of prompts")
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    return given_prompts


measure = Methods(
    "measure",
    meter,
    short_help="Score pictures against photos or prompts.",
    help="Score pictures against photos or prompts, with every choice named.",
)
