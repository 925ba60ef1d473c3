"""`motif measure METRIC IMAGES ...`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from motif.cli.command import Command, Methods
from motif.cli.options import given, options, positionals, summary
from motif.cli.prompts import lines_of
from motif.cli.record import RECORD, listed, record_of
from motif.cli.voice import Voice, aligned, tree
from motif.errors import InputError
from motif.features.pictures import gather
from motif.features.told import PROMPTS, prompts_told
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
    "prompts": "PROMPTS: one prompt for all; a .txt file with one per picture, in their order; or a .json file, {name: "
    f"prompt}}. The default is what `motif sample` wrote to {RECORD} beside the pictures; or what {PROMPTS} says "
    "there, or beside a folder of theirs called samples; or what NAME.txt says.",
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
    """One prompt, the lines of a .txt file, those of a prompts.json, or what the pictures' record or files beside them
    say."""
    if given_prompts is None:
        record = record_of(images)
        return told_beside(images) if record is None else recorded(record, images)
    if given_prompts.endswith(".json"):
        return told_beside(images, Path(given_prompts).expanduser())
    lines = lines_of(given_prompts)
    return given_prompts if lines is None else lines


def recorded(record: Mapping[str, Any], images: Path) -> str | list[str]:
    """The prompt that a record of `motif sample` names; one for each picture where they have their own."""
    rows = [row for row in record.get("pictures", ()) if isinstance(row, dict)]
    if images.is_file():
        rows = [row for row in rows if row.get("file") == images.name]
    own = [row.get("prompt", record.get("prompt")) for row in rows]
    if None not in own and any("prompt" in row for row in rows):
        return [str(prompt) for prompt in own]
    if "prompt" not in record:
        raise InputError(f"{images}: its {RECORD} names no prompt: give PROMPTS")
    return str(record["prompt"])


def told_beside(images: Path, file: Path | None = None) -> list[str]:
    """The prompt of each picture by a prompts.json or by NAME.txt."""
    found = listed(str(images))
    try:
        pictures = [Path(str(path)) for path in gather(found if isinstance(found, list) else images)]
    except InputError:
        pictures = []
    said = prompts_told(pictures, file)
    if not any(said) and file is None:
        raise InputError(
            f"{images}: give PROMPTS; there is no {RECORD} that would say what was asked to be shown, "
            f"and no {PROMPTS}"
        )
    if lost := [path for path, prompt in zip(pictures, said, strict=True) if not prompt]:
        raise InputError(f"{lost[0]}: {file or PROMPTS} names no prompt for it ({len(lost)} of {len(said)})")
    return said


measure = Methods(
    "measure",
    meter,
    short_help="Score pictures against photos or prompts.",
    help="Score pictures against photos or prompts, with every choice named.",
)
