"""Two folders of pictures as pairs: by prompt and seed, as `motif sample` recorded them, or by name.

A side is a folder with all its subfolders. A folder with a pictures.json holds the pictures that are listed there; in
another every picture counts, and its prompt is what prompts.json ({name: prompt}) or NAME.txt says.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from motif.errors import InputError
from motif.features.pictures import gather
from motif.features.told import prompts_told
from motif.files import natural, read_json
from motif.tokens import without_tokens

log = logging.getLogger("motif")

RECORD = "pictures.json"
By = Literal["auto", "record", "name"]
Key = tuple[object, ...]


@dataclass(frozen=True)
class Drawn:
    """A picture of one side."""

    path: Path
    name: str  # its path in its side's folder, without the ending
    prompt: str = ""  # learned tokens left out, no rater knows them; "" where nothing says it
    seed: int | None = None  # None where no record says it
    label: str = ""


@dataclass(frozen=True)
class Pair:
    """Two pictures that answer one request."""

    a: Drawn
    b: Drawn

    @property
    def prompt(self) -> str:
        """What was asked to be shown."""
        return self.a.prompt or self.b.prompt


def side(folder: Path) -> list[Drawn]:
    """Every picture of a side. InputError where there is none."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: {'a file' if folder.exists() else 'no such folder'}: name a folder of pictures"
        )
    shelves = [folder, *sorted((each for each in folder.rglob("*") if each.is_dir()), key=str)]
    hidden = (".", "__")
    found = [
        drawn
        for shelf in shelves
        if not any(part.startswith(hidden) for part in shelf.relative_to(folder).parts)
        for drawn in _shelf(shelf, folder)
    ]
    if not found:
        raise InputError(f"{folder}: no pictures in it or its subfolders")
    return found


def _shelf(shelf: Path, root: Path) -> Iterator[Drawn]:
    """The pictures that lie in one folder."""

    def name(path: Path) -> str:
        return path.relative_to(root).with_suffix("").as_posix()

    if (shelf / RECORD).is_file():
        record = read_json(shelf / RECORD)
        for row in _rows(record, shelf / RECORD):
            path = shelf / str(row["file"])
            if not path.is_file():
                raise InputError(f"{path}: {RECORD} lists it and it is not there: draw it again")
            prompt = without_tokens(str(row.get("prompt", record.get("prompt", ""))))
            yield Drawn(path, name(path), prompt, int(row["seed"]), str(row.get("label", "")))
        return
    found = pictures(shelf)
    for path, said in zip(found, prompts_told(found), strict=True):
        yield Drawn(path, name(path), without_tokens(said))


def _rows(record: Mapping[str, Any], path: Path) -> list[Mapping[str, Any]]:
    rows: Any = record.get("pictures")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and "file" in row and isinstance(row.get("seed"), int) for row in rows
    ):
        raise InputError(f"{path}: not a record of `motif sample`: remove it to pair the pictures by name")
    return rows


def pictures(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, in the order of their names; none is no error."""
    try:
        found = gather(folder)
    except InputError:
        return []
    return sorted((path for path in found if isinstance(path, Path)), key=natural)


def pairs(a: Path, b: Path, *, by: By = "auto", shelves: Sequence[str] = ()) -> list[Pair]:
    """Every picture of A with its partner in B.

    Args:
        a: One side's folder.
        b: The other's.
        by: record, name, or auto: the record where every picture of both sides has one.
        shelves: Subfolders that tell concepts apart: only pictures within the same one are paired.

    Raises:
        InputError: a picture without a partner, or with two.
    """
    if a.resolve() == b.resolve():
        raise InputError(f"{a}: both sides are this folder: a picture is not compared with itself")
    left, right = side(a), side(b)
    unknown = [drawn for drawn in (*left, *right) if drawn.seed is None]
    if by == "record" and unknown:
        raise InputError(f"{unknown[0].path}: no {RECORD} says its prompt and seed: pair them with --by name")
    recorded = by == "record" or (by == "auto" and not unknown)

    def key(drawn: Drawn) -> Key:
        if not recorded:
            return (drawn.name,)
        first = drawn.name.partition("/")[0]
        return (first if first in shelves else "", drawn.prompt, drawn.seed, drawn.label)

    mine, theirs = _keyed(left, a, key), _keyed(right, b, key)
    _require_same(mine, theirs, a, b, recorded)
    _require_same(theirs, mine, b, a, recorded)
    found = [Pair(drawn, theirs[k]) for k, drawn in mine.items()]
    differ = [pair for pair in found if pair.b.prompt and pair.prompt != pair.b.prompt]
    if differ:
        log.warning(
            'the prompts of %d pairs differ ("%s" and "%s"): raters read those of %s',
            len(differ), differ[0].prompt, differ[0].b.prompt, a,
        )  # fmt: skip
    return found


def _keyed(drawn: Sequence[Drawn], folder: Path, key: Any) -> dict[Key, Drawn]:
    counts = Counter(key(one) for one in drawn)
    twice = [one for one in drawn if counts[key(one)] > 1]
    if twice:
        raise InputError(
            f"{folder}: {twice[0].name} and {twice[1].name} are of one prompt and seed"
            if twice[0].name != twice[1].name
            else f"{folder}: two pictures are named {twice[0].name}: keep one of them"
        )
    return {key(one): one for one in drawn}


def _require_same(
    mine: Mapping[Key, Drawn], theirs: Mapping[Key, Drawn], a: Path, b: Path, recorded: bool
) -> None:
    alone = [drawn for k, drawn in mine.items() if k not in theirs]
    if not alone:
        return
    one = alone[0]
    said = f'the prompt "{one.prompt}" with seed {one.seed}' if recorded else f"the name {one.name}"
    other = "pair them with --by name" if recorded else "name partners alike"
    raise InputError(
        f"{one.path}: no picture in {b} has {said} ({len(alone)} of {len(mine)} in {a} have no partner): draw what is "
        f"missing, or {other}"
    )
