"""What pictures were asked to show, as files beside them tell: prompts.json or NAME.txt.

prompts.json is {a picture's name without its ending: its prompt}, as Custom Diffusion's evaluate.py reads it: beside
the pictures, or beside their folder where that is called `samples`, as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from motif.errors import InputError
from motif.files import read_json, read_text

PROMPTS = "prompts.json"


def prompts_told(pictures: Sequence[Path], file: Path | None = None) -> list[str]:
    """The prompt of each picture; "" where nothing says it.

    Args:
        pictures: The pictures' files.
        file: A prompts.json of theirs, which alone tells then; the default is the one beside each.
    """
    found: dict[Path, Mapping[str, str]] = {}
    said: list[str] = []
    for path in pictures:
        place = file or _beside(path.parent)
        if place not in found:
            found[place] = _read(place) if file or place.is_file() else {}
        text = path.with_suffix(".txt")
        beside = read_text(text).strip() if file is None and text.is_file() else ""
        said.append(found[place].get(path.stem) or beside)
    return said


def _beside(folder: Path) -> Path:
    place = folder / PROMPTS
    if folder.resolve().name == "samples" and not place.is_file():
        return folder.resolve().parent / PROMPTS
    return place


def _read(place: Path) -> dict[str, str]:
    if not place.is_file():
        raise InputError(f"{place}: no such file of prompts")
    told = read_json(place)
    if wrong := [name for name, prompt in told.items() if not isinstance(prompt, str)]:
        raise InputError(f"{place}: the prompt of {wrong[0]} is no text")
    return told
