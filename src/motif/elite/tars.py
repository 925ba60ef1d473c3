"""Webdataset's shards: tar files in which what belongs together has one name up to its first dot.

    data-000.tar    00017.jpg   00017.mask.png   00017.txt   00017.json ({"box": [l, t, r, b]}, or {"boxes": [...]})

They are read in place: a pass over the headers notes where every file lies, and a picture is read when a step asks for
it, since a step of training depends on its number alone (the webdataset library's streams are read in their own order).
"""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import natural, reason
from motif.images import Picture, open_picture

PICTURES = ("jpg", "jpeg", "png", "webp")
MASKS = tuple(f"mask.{kind}" for kind in PICTURES)
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Sample:
    """What belongs together: {ending: (where its bytes begin, how many)}."""

    shard: Path
    key: str
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    @property
    def name(self) -> str:
        """For messages and records."""
        return f"{self.shard.name}/{self.key}"

    def ending(self, among: tuple[str, ...]) -> str:
        """The first of these that it has; "" where it has none."""
        return next((each for each in among if each in self.parts), "")

    def read(self, ending: str) -> bytes:
        """A part's bytes."""
        begins, count = self.parts[ending]
        try:
            with self.shard.open("rb") as file:
                file.seek(begins)
                found = file.read(count)
        except OSError as error:
            raise InputError(f"{self.shard}: {reason(error)}") from None
        if len(found) != count:
            raise InputError(f"{self.shard}: cut short in {self.key}.{ending}: fetch it again")
        return found

    def picture(self) -> Picture:
        """Its picture with its mask, by the policy of `open_picture`."""
        with tempfile.TemporaryDirectory(prefix="motif-shard-") as folder:
            kind, mask = self.ending(PICTURES), self.ending(MASKS)
            path = Path(folder) / f"picture.{kind}"
            path.write_bytes(self.read(kind))
            try:
                if mask:
                    beside = Path(folder) / "picture-mask.png"
                    beside.write_bytes(self.read(mask))
                return open_picture(path)
            except InputError as error:
                raise InputError(str(error).replace(f"{folder}/", f"{self.name}: ")) from None

    def caption(self) -> str:
        """Of the text, else of the record."""
        if "txt" in self.parts:
            return self.read("txt").decode("utf-8", "replace").strip()
        told = self.record()
        return str(told.get("caption") or told.get("text") or "").strip()

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """In pixels; none where the record has none."""
        told = self.record()
        given = told.get("boxes") or ([told["box"]] if told.get("box") is not None else [])
        found: list[tuple[int, int, int, int]] = []
        try:
            for box in given:
                left, top, right, bottom = (int(side) for side in box)
                if not (0 <= left < right and 0 <= top < bottom):
                    raise ValueError
                found.append((left, top, right, bottom))
        except (ValueError, TypeError):
            raise InputError(f"{self.name}.json: a box is [left, top, right, bottom] in pixels") from None
        return found

    def record(self) -> dict[str, Any]:
        """Its JSON; {} where it has none."""
        if "json" not in self.parts:
            return {}
        try:
            return dict(json.loads(self.read("json")))
        except (ValueError, TypeError):
            raise InputError(f"{self.name}.json: is no JSON object") from None


def shards(place: str | Path) -> list[Path]:
    """The tar files of a folder, of "data-{000..012}.tar" or of "data-*.tar", or the one that is named, in order; none
    where the place names no tar file. InputError for one of them that is not there."""
    place = Path(place).expanduser()
    if place.is_dir():
        return sorted(place.glob("*.tar"), key=natural)
    if place.suffix != ".tar":
        return []
    if found := RANGE.search(place.name):
        first, last = found.groups()
        named = [
            place.with_name(RANGE.sub(f"{number:0{len(first)}d}", place.name, count=1))
            for number in range(int(first), int(last) + 1)
        ]
    else:
        named = sorted(place.parent.glob(place.name), key=natural) if "*" in place.name else [place]
    if lost := [path for path in named or [place] if not path.is_file()]:
        raise InputError(f"{lost[0]}: no such tar file")
    return named


def samples(path: Path) -> Iterator[Sample]:
    """What a tar file holds with a picture among it. InputError where it is none, is compressed or damaged, or has a
    name twice."""
    key, parts = "", dict[str, tuple[int, int]]()
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                shard.members.clear()  # it would keep them all  # pyright: ignore
                if not member.isfile():
                    continue
                name, ending = _parted(member.name)
                if name != key:
                    yield from _whole(path, key, parts)
                    key, parts = name, {}
                if ending in parts:
                    raise InputError(
                        f"{path}: {member.name} is there twice: names part samples from each other"
                    )
                parts[ending] = (member.offset_data, member.size)
    except tarfile.TarError as error:
        with path.open("rb") as file:
            hint = ": unpack it first (gunzip)" if file.read(2) == b"\x1f\x8b" else ""
        raise InputError(f"{path}: not a plain tar file, or damaged ({error}){hint}") from None
    except OSError as error:
        raise InputError(f"{path}: {reason(error)}") from None
    yield from _whole(path, key, parts)


def _parted(name: str) -> tuple[str, str]:
    """ "a/b.c.mask.png" -> "a/b", "c.mask.png": up to the first dot of the last part, and behind it."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def _whole(path: Path, key: str, parts: dict[str, tuple[int, int]]) -> Iterator[Sample]:
    sample = Sample(path, key, parts)
    if sample.ending(PICTURES):
        yield sample
