"""What lies in a folder of photos: every file, its fate, and why.

    used       a photo; with its caption, its mask, and notes on what was done to it
    caption    NAME.txt beside NAME.*, or metadata.jsonl with one {"file_name": ..., "text": ...} a line; a folder with
               images.txt and caption.txt (the released retrieve.py's) is what these list, line by line
    mask       NAME-mask.png beside NAME.*
    skipped    hidden files, text, videos, folders, masks that are no PNG, whatever is no picture
    refused    a picture that cannot be used: damaged, or too small; it is named, never deleted

Captions are found in other letter case too. A survey changes nothing and fails only where the place itself cannot be
read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image, UnidentifiedImageError

from motif.errors import InputError
from motif.files import read_text
from motif.images import DAMAGE, mask_path, open_picture
from motif.learn.listing import (
    CAPTIONED,
    PICTURED,
    PICTURES,
    Folder,
    find,
    masked_photo,
    paths_in,
    retrieved_set,
)

Fate = Literal["used", "caption", "mask", "skipped", "refused"]

SMALLEST = 16
"""The shortest side of a photo, in pixels; smaller ones are refused."""

VIDEOS = frozenset(".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .3gp".split())
TEXTS = frozenset(".txt .caption .md .json .jsonl .csv .tsv .yaml .yml .toml .xml .html .log".split())
CLUTTER = frozenset({"thumbs.db", "desktop.ini"})
KOHYA = re.compile(r"(\d+)_(.+)")


@dataclass(frozen=True)
class File:
    """One file and what becomes of it."""

    path: Path
    fate: Fate
    why: str = ""
    size: tuple[int, int] | None = None  # (width, height) in pixels, upright
    caption: str | None = None
    notes: tuple[str, ...] = ()  # what was done, or is good to know
    warnings: tuple[str, ...] = ()  # what will make the result worse

    def row(self) -> dict[str, Any]:
        """For tables and JSON."""
        return {
            "file": self.path.name,
            "fate": self.fate,
            "size": list(self.size) if self.size else None,
            "why": self.why,
            "caption": self.caption,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Survey:
    """Every file of a place, in natural order, and remarks on the place itself."""

    place: str
    files: tuple[File, ...]
    notices: tuple[str, ...] = ()

    def of(self, fate: Fate) -> tuple[File, ...]:
        """The files of one fate."""
        return tuple(file for file in self.files if file.fate == fate)

    @property
    def used(self) -> tuple[File, ...]:
        return self.of("used")

    @property
    def problems(self) -> tuple[str, ...]:
        """What the user should look at, a line each: refused files, and warnings about used ones."""
        lines = [f"{f.path}: refused: {f.why}" for f in self.of("refused")]
        return (*lines, *(f"{f.path}: {warning}" for f in self.files for warning in f.warnings))

    def require_used(self) -> tuple[File, ...]:
        """The photos; InputError, saying what was found instead, where there are none."""
        if self.used:
            return self.used
        raise InputError(f"{self.place}: no photo to learn from; {self._instead()}")

    def _instead(self) -> str:
        if refused := self.of("refused"):
            first, *rest = refused
            more = f" (and {len(rest)} more)" if rest else ""
            return f"{first.path.name} is refused{more}: {first.why}"
        if not self.files:
            return "it is empty: put a few photos there (.jpg, .png, .webp)"
        kinds = Counter(file.why for file in self.files)
        found = ", ".join(f"{kind} ({n})" if n > 1 else kind for kind, n in kinds.most_common(4))
        names = ", ".join(file.path.name for file in self.files[:3])
        return f"found instead: {found}: {names}{', ...' if len(self.files) > 3 else ''}"


def survey(
    photos: str | Path | Sequence[str | Path], *, resolution: int | None = None, opened: bool = True
) -> Survey:
    """Look at a folder, one file, or a list of files; every picture is opened once.

    Args:
        resolution: The side the photos will be learned at, in pixels; photos under a quarter of it are warned about.
        opened: False opens no picture, for a folder of very many: names are believed, and sizes stay unknown.
    Raises:
        InputError: nothing is there, or it cannot be read; a broken metadata.jsonl.
    """
    place, paths, notices, captions = _listed(photos)
    folders = {folder: Folder.read(folder) for folder in {path.parent for path in paths}}
    files, seen = [_fate(path, folders[path.parent]) for path in paths], dict[str, str]()
    files = [_captioned(file, captions.get(file.path, "")) for file in files]
    if opened:
        files = [_opened(file, resolution, seen) if file.fate == "used" else file for file in files]
    for folder, inside in folders.items():
        lost = sorted(inside.lines.keys() - {path.name for path in inside.files.values()})
        notices += [f"{folder / 'metadata.jsonl'}: {name} is not there" for name in lost[:3]]
    return Survey(place, tuple(files), tuple(notices))


def _listed(
    photos: str | Path | Sequence[str | Path],
) -> tuple[str, list[Path], list[str], dict[Path, str]]:
    """(what to call the place, its files, notices, captions that the place has of them)."""
    if not isinstance(photos, str | Path):
        paths = [Path(p).expanduser() for p in photos]
        if missing := [path for path in paths if not path.is_file()]:
            raise InputError(f"{missing[0]}: no such picture")
        return f"the list of {len(paths)} photo{'s' * (len(paths) != 1)}", paths, [], {}
    if str(photos).startswith(("http://", "https://")):
        raise InputError(f"{photos}: photos are read from this machine: download them into a folder first")
    place = Path(photos).expanduser()
    if place.is_file():
        return str(place), [place], [], {}
    if not place.is_dir():
        raise InputError(f"{place}: no such folder or picture")
    captions, lost = retrieved_set(place)
    if captions or lost:
        told = f"{place}: {len(lost)} of {len(captions) + len(lost)} pictures of {PICTURED} are not there"
        return str(place), [*captions], [f"{told}: {lost[0]}"] if lost else [], captions
    return *_inside(place), {}


def _inside(place: Path) -> tuple[str, list[Path], list[str]]:
    """(what to call a folder, its files, notices). Of a folder with one folder of pictures and none beside it, what is
    in there."""
    paths, notices = paths_in(place), list[str]()
    inner = [path for path in paths if path.is_dir() and not path.name.startswith(".")]
    named = [path for path in inner if KOHYA.fullmatch(path.name)] or inner
    if len(named) == 1 and not _pictured(paths) and _pictured(within := paths_in(named[0])):
        notices = [f"{place}: its pictures are those of {named[0].name}"]
        place, paths = named[0], within
    if match := KOHYA.fullmatch(place.name):
        notices = [
            f"{place}: a kohya folder: its photos are read, its {match[1]} repeats are not needed (motif counts "
            f'steps), and "{match[2]}" is not used: the prompt says what they show'
        ]
    return str(place), paths, notices


def _pictured(paths: Sequence[Path]) -> bool:
    return any(path.suffix.lower() in PICTURES for path in paths)


def _captioned(file: File, caption: str) -> File:
    """A file of a retrieved set with its line of the captions, where it has none of its own."""
    if not caption or file.caption or file.fate != "used":
        return file
    return replace(file, caption=caption, notes=(*file.notes, f"caption from {CAPTIONED}"))


def _fate(path: Path, folder: Folder) -> File:
    """What becomes of a file by its name; a picture, not opened yet, is used."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or path.name.lower() in CLUTTER:
        return File(path, "skipped", "hidden file")
    if not path.is_file():
        why = "folder: only files directly inside are read" if path.is_dir() else "not a regular file"
        return File(path, "skipped", why)
    if path.name == "metadata.jsonl":
        return File(path, "caption", f"captions of {sum(map(bool, folder.lines.values()))} files")
    if suffix in TEXTS:
        photo = find(folder.photos, path.stem)
        if photo and folder.caption_file(photo) == path:
            return File(path, "caption", f"caption of {photo.stem}.*")
        return File(path, "skipped", "text")
    if suffix in VIDEOS:
        return File(path, "skipped", "video: export a few frames as pictures")
    if suffix not in PICTURES and not _is_picture(path):
        return File(path, "skipped", "no picture")
    if photo := masked_photo(path, folder.photos):
        mask = mask_path(photo)
        if mask.is_file() and mask.samefile(path):
            return File(path, "mask", f"mask of {photo.stem}.*")
        return File(
            path, "skipped", why := f"not read as a mask: save it as {photo.stem}-mask.png", warnings=(why,)
        )
    if path.name.lower().endswith("-mask.png"):
        return File(path, "skipped", "named like a mask, without its picture: rename it to use it as a photo")
    return _photo(path, folder)


def _is_picture(path: Path) -> bool:
    """Whether a file with an unknown name is one of the usual kinds of picture."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")):
            return True
    except (UnidentifiedImageError, Image.DecompressionBombError, *DAMAGE):
        return False


def _photo(path: Path, folder: Folder) -> File:
    """A picture with its caption: of NAME.txt, else of metadata.jsonl."""
    line, beside = folder.lines.get(path.name) or None, folder.caption_file(path)
    if beside is None:
        return File(path, "used", "photo", None, line, ("caption from metadata.jsonl",) if line else ())
    try:
        text = " ".join(read_text(beside).split())
    except InputError as error:
        return File(path, "refused", f"its caption {error}")
    note = f"caption from {beside.name}" if text else f"its caption {beside.name} is empty"
    return File(path, "used", "photo", None, text or line, (note,))


def _opened(file: File, resolution: int | None, seen: dict[str, str]) -> File:
    """A photo once it was looked at: with its size, or refused."""
    path = file.path
    try:
        picture = open_picture(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except InputError as error:
        return File(path, "refused", str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return File(path, "refused", f"cannot be read: {error.strerror}")
    size, notes, warnings = picture.size, [*picture.notes, *file.notes], list[str]()
    short, long, pixels = *sorted(size), f"{size[0]}x{size[1]} pixels"
    if short < SMALLEST:
        return File(path, "refused", f"{pixels}: too small, at least {SMALLEST} a side", size)
    if resolution and short * 4 < resolution:
        warnings.append(f"only {pixels}: it will be blurred at {resolution}")
    if long > short:
        share = f"the centre square keeps {round(100 * short / long)} % of it"
        (warnings if short * 2 < long else notes).append(share)
    if picture.image.getcolors(1):
        warnings.append("one flat colour: nothing can be learned from it")
    if digest in seen:
        warnings.append(f"the same file as {seen[digest]}: it counts twice")
    seen.setdefault(digest, path.name)
    return replace(file, size=size, notes=tuple(notes), warnings=tuple(warnings))
