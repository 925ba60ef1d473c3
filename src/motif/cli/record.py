"""`pictures.json`: what a folder of pictures was made of (prompt, settings, each picture's seed).

`motif sample` keeps it true at every moment of its work, and `motif measure` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motif.cli.outputs import is_picture, strangers
from motif.errors import InputError
from motif.files import read_json, written
from motif.images import save_image

if TYPE_CHECKING:
    from PIL.Image import Image

RECORD = "pictures.json"
OFTEN = 200
"""Of so many pictures every one is written down at once; of more every second, third..., or the record of thousands
would cost more than they do."""


@dataclass(frozen=True, eq=False)
class Album:
    """Pictures, saved as they are drawn. The record of a folder lists those that are there, and no others."""

    output: Path  # a folder, or the file of one picture
    first: int  # the first picture's seed
    about: dict[str, Any]  # what all of them were made of
    files: list[Path] = field(default_factory=list[Path])
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])  # what each was made of

    def keep(self, image: Image, *, seed: int | None = None, label: str = "", prompt: str = "") -> None:
        """Save the next picture. An older run's record goes before it comes.

        Args:
            image: The picture.
            seed: Its own; the default is the next one.
            label: What tells it from others of its seed.
            prompt: Its own, where not all have the same.
        """
        if not self.files and not is_picture(self.output):
            (self.output / RECORD).unlink(missing_ok=True)
        seed = self.first + len(self.files) if seed is None else seed
        self.files.append(save_image(image, place(self.output, seed, label)))
        told = {"label": label, "prompt": prompt}
        row: dict[str, Any] = {"file": self.files[-1].name, "seed": seed}
        self.rows.append(row | {name: text for name, text in told.items() if text})
        if len(self.rows) % (1 + len(self.rows) // OFTEN) == 0:
            self.write()

    def go_on(self, prompts: Sequence[str], n: int) -> int:
        """Take in the pictures of a run of the same that was stopped, as its record tells: how many of these prompts
        are drawn, n pictures of each. The last that was begun is drawn again."""
        record = None if is_picture(self.output) else record_of(self.output)
        same = json.loads(json.dumps({**self.about, "pictures": []}))
        if record is None or {**record, "pictures": []} != same:
            return 0
        rows = record["pictures"]
        if not all((self.output / row["file"]).is_file() for row in rows):
            return 0
        begun = [(int(row["seed"]) - self.first) // n for row in rows]
        done = max(begun, default=0)
        for i, row in zip(begun, rows, strict=True):
            if i < done and row.get("prompt") == prompts[i]:
                self.rows.append(row)
                self.files.append(self.output / row["file"])
        return done

    def strangers(self) -> list[Path]:
        """Pictures in the folder that are no part of the record: an earlier run's, or somebody's."""
        return [] if is_picture(self.output) else strangers(self.output, self.files)

    def record(self) -> dict[str, Any]:
        """What the pictures so far were made of."""
        return {**self.about, "pictures": self.rows}

    def write(self) -> None:
        """Put the record beside the pictures; one picture's own file has none."""
        if not is_picture(self.output):
            with written(self.output / RECORD) as part:
                part.write_text(
                    json.dumps(self.record(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
                )


def place(output: Path, seed: int, label: str = "") -> Path:
    """Where the picture of a seed goes: into the folder, or to the one file; a label becomes a part of the name."""
    mark = "".join(f"_{word}" for word in label.split())
    return output.with_stem(output.stem + mark) if is_picture(output) else output / f"{seed:04d}{mark}.png"


def beside(output: Path, name: str) -> Path:
    """Where a sheet goes: into the folder by its name, or beside the one file."""
    return output.with_stem(f"{output.stem}_{name}") if is_picture(output) else output / f"{name}.png"


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
