"""The names in one folder of photos: which file is whose caption, and whose mask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from motif.errors import InputError
from motif.files import natural, read_text

PICTURES = frozenset(
    ".jpg .jpeg .jfif .png .webp .bmp .gif .tif .tiff .avif .heic .heif .jp2 .ppm .pgm .tga".split()
)
CAPTIONS = (".txt", ".caption")
PICTURED, CAPTIONED = "images.txt", "caption.txt"
"""What the released code's retrieve.py writes beside its pictures: their paths and their captions, line by line."""


def paths_in(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order. InputError where it cannot be read."""
    try:
        return sorted(folder.iterdir(), key=natural)
    except PermissionError:
        raise InputError(f"{folder}: no permission to read this folder") from None


@dataclass(frozen=True)
class Folder:
    """The names in one folder. Where a name as written is not there, its case-folded form may be."""

    files: Mapping[str, Path]  # by name
    photos: Mapping[str, Path]  # by stem; no masks
    lines: Mapping[str, str]  # of metadata.jsonl: {file name: text, or "" for none}

    @staticmethod
    def read(folder: Path) -> Folder:
        paths = paths_in(folder)
        pictures = by_name((path.stem, path) for path in paths if path.suffix.lower() in PICTURES)
        photos = by_name((path.stem, path) for path in pictures.values() if not masked_photo(path, pictures))
        return Folder(by_name((path.name, path) for path in paths), photos, _metadata(folder))

    def caption_file(self, photo: Path) -> Path | None:
        """NAME.txt or NAME.caption; in other letter case only where it is no other photo's."""
        for suffix in CAPTIONS:
            found = find(self.files, photo.stem + suffix)
            owner = find(self.photos, found.stem) if found else None
            if found and found.is_file() and (owner is None or owner.stem == photo.stem):
                return found
        return None


def retrieved_set(folder: Path) -> tuple[dict[Path, str], list[str]]:
    """({picture: its caption}, lines that name none) of a folder with images.txt and caption.txt; empty without them.

    A picture is looked for beside the lists first, for such folders travel and their paths are whole. InputError where
    the lists do not go together.
    """
    if not (folder / PICTURED).is_file() or not (folder / CAPTIONED).is_file():
        return {}, []
    places, captions = (read_text(folder / name).rstrip("\n").split("\n") for name in (PICTURED, CAPTIONED))
    if len(places) != len(captions):
        raise InputError(
            f"{folder}: {PICTURED} has {len(places)} lines and {CAPTIONED} {len(captions)}: each picture needs its line"
        )
    found, lost = dict[Path, str](), list[str]()
    for place, caption in zip(places, captions, strict=True):
        path = Path(place.strip())
        near = (folder / path.parent.name / path.name, folder / path.name, path)
        if there := next((each for each in near if each.is_file()), None):
            found[there] = " ".join(caption.split())
        else:
            lost.append(place.strip())
    return found, lost


def by_name(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """By name as written, and by its case-folded form where nothing else is written so."""
    exact = dict(named)
    return {name.casefold(): path for name, path in exact.items()} | exact


def find(paths: Mapping[str, Path], name: str) -> Path | None:
    """The file of that name, or of its case-folded form."""
    return paths.get(name) or paths.get(name.casefold())


def masked_photo(path: Path, photos: Mapping[str, Path]) -> Path | None:
    """The photo that a file is named to be the mask of: STEM.* of STEM-mask.*"""
    ending = "-mask"
    return find(photos, path.stem[: -len(ending)]) if path.stem.casefold().endswith(ending) else None


def _metadata(folder: Path) -> dict[str, str]:
    """{file name: text, or "" for none} of a folder's metadata.jsonl; InputError names a broken line."""
    path, found = folder / "metadata.jsonl", dict[str, str]()
    for number, line in enumerate(read_text(path).splitlines() if path.is_file() else (), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name, text = entry["file_name"], entry["text"]
            if not isinstance(name, str) or not isinstance(text, str | None):
                raise TypeError
            found[name] = " ".join((text or "").split())
        except (ValueError, KeyError, TypeError):
            raise InputError(f'{path}, line {number}: needs {{"file_name": "...", "text": "..."}}') from None
    return found
