"""What ELITE trains on: pictures with an object in each, from a folder, tar files, or pocket's rendered shards.

    folder    pictures; masks NAME-mask.png or alpha; or boxes: {"file_name": ..., "text": null, "box": [l, t, r, b]} in
              metadata.jsonl, in pixels; captions that name a <token> stand for a template, others are not read
    tars      webdataset's shards: NAME.jpg with NAME.mask.png, NAME.txt or NAME.json ({"box": ...}), to the same effect
    shards    train-0000.avif and its companions (`motif pocket render`), each picture with a caption of its scene; the
              instances that pocket's recipe keeps apart are left out here too

Card 2.7 and 3.7: boxes of 2 to 80 % of the picture train the global network; masks of 100 px (of 512) and more both
ways, and no longer than twice their width, the local one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from motif.elite.tars import MASKS, PICTURES, samples, shards
from motif.errors import InputError
from motif.files import read_text
from motif.images import Picture, mask_path, open_picture
from motif.learn.survey import survey
from motif.tokens import TOKEN

Box = tuple[int, int, int, int]
LEAST, MOST = 0.02, 0.8  # of the picture's area
EXTENT = 100 / 512  # of the picture's longer side
SLENDER = 2.0

Opened = tuple[Image.Image, Image.Image | None]


@dataclass(frozen=True)
class Subject:
    """One object in one picture."""

    name: str
    open: Callable[[], Opened]
    box: Box | None = None  # else the mask's, else the whole picture
    caption: str = ""  # of the whole picture, with {} where the object is named
    words: str = ""  # for the object, where they are known: "red and white striped cat"
    masked: bool = False

    def seen(self) -> tuple[Image.Image, Image.Image | None, Box]:
        """(picture, mask, box of the object). InputError for a box that lies outside of the picture."""
        image, mask = self.open()
        box = self.box or (mask.getbbox() if mask else None) or (0, 0, *image.size)
        if box[0] >= image.width or box[1] >= image.height:
            raise InputError(
                f"{self.name}: its box {list(box)} lies outside of the picture of {image.width}x{image.height}"
            )
        return image, mask, (box[0], box[1], min(box[2], image.width), min(box[3], image.height))


def fits_global(image: Image.Image, box: Box) -> bool:
    """Whether the object is neither tiny nor nearly everything; a picture without a box is its own object."""
    left, top, right, bottom = box
    share = (right - left) * (bottom - top) / (image.width * image.height)
    return box == (0, 0, *image.size) or LEAST <= share <= MOST


def fits_local(image: Image.Image, box: Box) -> bool:
    """Whether a mask's extent is large enough, and not slender."""
    width, height = box[2] - box[0], box[3] - box[1]
    large = min(width, height) >= EXTENT * max(image.size)
    return large and max(width, height) <= SLENDER * min(width, height)


def read_subjects(place: str | Path, *, limit: int = 0) -> tuple[Subject, ...]:
    """The objects of a folder or of tar files, in order; the first `limit` of them where it is not 0.

    Raises:
        InputError: nothing there, a broken metadata.jsonl or tar file, or a box that is none.
    """
    folder = Path(place).expanduser()
    if tars := shards(folder):
        if folder.is_dir() and (
            beside := [p for p in folder.iterdir() if p.suffix.lower().lstrip(".") in PICTURES]
        ):
            raise InputError(
                f"{min(beside)}: lies beside tar files, and would not be seen: put one of them elsewhere"
            )
        found = _tars(tars, limit)
    elif not folder.is_dir():
        raise InputError(f"{place}: no such folder of pictures, and no tar file")
    else:
        found = _shards(folder, limit) if any(folder.glob("train-*.avif")) else _folder(folder)
    return tuple(found[:limit] if limit else found)


def _tars(paths: list[Path], limit: int) -> list[Subject]:
    found = list[Subject]()
    for sample in (sample for path in paths for sample in samples(path)):
        masked = bool(sample.ending(MASKS)) or sample.ending(PICTURES) in ("png", "webp")
        opener, caption = _opener(sample.picture), _to_fill(sample.caption())
        found += [
            Subject(sample.name, opener, box, caption, masked=masked) for box in sample.boxes() or [None]
        ]
        if limit and len(found) >= limit:
            break
    if not found:
        raise InputError(f"{paths[0]}: no pictures in there (NAME.jpg, .png or .webp)")
    return found


def _shards(folder: Path, limit: int) -> list[Subject]:
    from motif.pocket.world.grammar import caption, described
    from motif.pocket.world.shards import is_held_out, read_shards

    pictures = read_shards(folder, limit=limit or None)

    def opener(i: int) -> Callable[[], Opened]:
        return lambda: (Image.fromarray(pictures.rgb[i]), Image.fromarray(pictures.mask[i]))

    return [
        Subject(
            f"{name}/{i}",
            opener(i),
            caption=unnamed(caption(scene, np.random.default_rng(i)), scene.instance.noun),
            words=described(scene.instance),
            masked=True,
        )
        for i, (name, scene) in enumerate(zip(pictures.instances, pictures.scenes, strict=True))
        if np.any(pictures.mask[i]) and not is_held_out(name)
    ]


def unnamed(caption: str, noun: str) -> str:
    """A caption of pocket's world with {} for its object: "a {} in the snow" of "a red and white striped cat in the
    snow"."""
    from motif.pocket.world.scene import COLOURS, PATTERNS

    looks = "|".join(("shiny", "and", *COLOURS, *PATTERNS))
    return re.sub(rf"\b(an?|the) (?:(?:{looks}) )*{noun}\b", _article, caption, count=1)


def _article(found: re.Match[str]) -> str:
    return "the {}" if found.group(1) == "the" else "a {}"


def _folder(folder: Path) -> list[Subject]:
    boxes, found = _boxes(folder), list[Subject]()
    for file in survey(folder, opened=False).require_used():
        caption = _to_fill(file.caption or "")
        masked = mask_path(file.path).is_file() or file.path.suffix.lower() in {".png", ".webp"}
        opener = _opener(partial(open_picture, file.path))
        for box in boxes.get(file.path.name) or [None]:
            found.append(Subject(file.path.name, opener, box, caption, masked=masked))
    return found


def _to_fill(caption: str) -> str:
    """A caption that names a <token>, with {} in its place; "" of any other."""
    return TOKEN.sub("{}", caption, count=1) if TOKEN.search(caption) else ""


def _opener(read: Callable[[], Picture]) -> Callable[[], Opened]:
    def opened() -> Opened:
        picture = read()
        return picture.image, picture.mask

    return opened


def _boxes(folder: Path) -> dict[str, list[Box]]:
    """{file name: its boxes}; the survey has seen to it that every line is a mapping with a file name."""
    path, found = folder / "metadata.jsonl", dict[str, list[Box]]()
    for number, line in enumerate(read_text(path).splitlines() if path.is_file() else (), 1):
        try:
            entry = json.loads(line) if line.strip() else {}
            if entry.get("box") is not None:
                left, top, right, bottom = (int(side) for side in entry["box"])
                if not (0 <= left < right and 0 <= top < bottom):
                    raise ValueError
                found.setdefault(str(entry["file_name"]), []).append((left, top, right, bottom))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(
                f"{path}, line {number}: a box is [left, top, right, bottom] in pixels"
            ) from None
    return found
