"""`pictures.json`: what a folder of pictures was made of (prompt, settings, each picture's seed).

`motif sample` keeps it true at every moment of its work, and `motif measure` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motif.cli.outputs import is_picture
from motif.errors import InputError
from motif.files import read_json, written
from motif.images import save_image

if TYPE_CHECKING:
    from PIL.Image import Image

RECORD = "pictures.json"


@dataclass(frozen=True, eq=False)
class Album:
    """Pictures, saved as they are drawn. The record of a folder lists those that are there, and no others."""

    output: Path  # a folder, or the file of one picture
    first: int  # the first picture's seed
    about: Mapping[str, Any]  # what all of them were made of
    files: list[Path] = field(default_factory=list[Path])

    def keep(self, image: Image) -> None:
        """Save the next picture. An older run's record goes before it comes."""
        if not self.files and not is_picture(self.output):
            (self.output / RECORD).unlink(missing_ok=True)
        self.files.append(save_image(image, place(self.output, self.first + len(self.files))))
        self.write()

    def record(self) -> dict[str, Any]:
        """What the pictures so far were made of."""
        rows = [{"file": path.name, "seed": self.first + i} for i, path in enumerate(self.files)]
        return {**self.about, "pictures": rows}

    def write(self) -> None:
        """Put the record beside the pictures; one picture's own file has none."""
        if not is_picture(self.output):
            with written(self.output / RECORD) as part:
                part.write_text(
                    json.dumps(self.record(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
                )


def place(output: Path, seed: int) -> Path:
    """Where the picture of a seed goes: into the folder, or to the one file."""
    return output if is_picture(output) else output / f"{seed:04d}.png"


def record_of(source: Path) -> dict[str, Any] | None:
    """What `motif sample` wrote of a folder's pictures, or of one picture; None where nothing is written of them."""
    single = source.is_file()
    path = (source.parent if single else source) / RECORD
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        return record if not single or source.name in names(record, path) else None
    except InputError:
        if single:
            return None
        raise InputError(
            f"{path}: not a record of `motif sample`: remove it to score every picture beside it"
        ) from None


def names(record: Mapping[str, Any], path: Path) -> list[str]:
    """The files that a record lists."""
    try:
        return [str(picture["file"]) for picture in record["pictures"]]
    except (KeyError, TypeError):
        raise InputError(f"{path}: lists no pictures: remove it to score every picture beside it") from None


def listed(source: str) -> str | list[Path]:
    """The pictures that a folder's record lists, as they were drawn; the source itself where there is no record.

    So older pictures in a folder that was used again, and a sheet beside them, do not enter the mean.
    """
    folder = Path(source).expanduser()
    record = record_of(folder)
    if record is None or folder.is_file():
        return source
    files = [folder / name for name in names(record, folder / RECORD)]
    if lost := [path for path in files if not path.is_file()]:
        raise InputError(
            f"{lost[0]}: {RECORD} lists it and it is not there ({len(lost)} of {len(files)}): draw it again, "
            f"or remove {RECORD} to score every picture in the folder"
        )
    return files


def require_unlisted(path: Path) -> None:
    """InputError where a record describes the picture at this path, and would be wrong of another in its place."""
    if record_of(path):
        raise InputError(f"{path}: {path.parent / RECORD} says what it was drawn from: choose another name")
