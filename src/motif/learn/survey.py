"""What lies in a folder of photos: every file, its fate, and why.

    used       a photo; with its caption, its mask, and notes on what was done to it
    caption    NAME.txt beside NAME.*, or metadata.jsonl with one {"file_name": ..., "text": ...} a line
    mask       NAME-mask.png beside NAME.*
    skipped    hidden files, text, videos, folders, whatever is no picture
    refused    a picture that cannot be used: damaged, or too small; it is named, never deleted

A survey changes nothing and fails only where the place itself cannot be read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image, UnidentifiedImageError

from motif.errors import InputError
from motif.files import natural
from motif.images import DAMAGE, open_picture

Fate = Literal["used", "caption", "mask", "skipped", "refused"]

SMALLEST = 16
"""The shortest side of a photo, in pixels; smaller ones are refused."""

PICTURES = frozenset(
    ".jpg .jpeg .jfif .png .webp .bmp .gif .tif .tiff .avif .heic .heif .jp2 .ppm .pgm .tga".split()
)
VIDEOS = frozenset(".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .3gp".split())
TEXTS = frozenset(".txt .caption .md .json .jsonl .csv .tsv .yaml .yml .toml .xml .html .log".split())
CAPTIONS = (".txt", ".caption")
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


def survey(photos: str | Path | Sequence[str | Path], *, resolution: int | None = None) -> Survey:
    """Look at a folder, one file, or a list of files; every picture is opened once.

    Args:
        resolution: The side the photos will be learned at, in pixels; photos under a quarter of it are warned about.
    Raises:
        InputError: nothing is there, or it cannot be read; a broken metadata.jsonl.
    """
    place, paths, notices = _listed(photos)
    captions = {folder: _metadata(folder) for folder in {path.parent for path in paths}}
    names = {
        (path.parent, path.stem) for path in paths if path.suffix.lower() in PICTURES and not _is_mask(path)
    }
    seen: dict[str, str] = {}
    files = [_fate(path, names, captions[path.parent], resolution, seen) for path in paths]
    for folder, lines in captions.items():
        here = {path.name for path in paths if path.parent == folder}
        lost = sorted(lines.keys() - here) if isinstance(photos, str | Path) else []
        notices += [f"{folder / 'metadata.jsonl'}: {name} is not there" for name in lost[:3]]
    return Survey(place, tuple(files), tuple(notices))


def _listed(photos: str | Path | Sequence[str | Path]) -> tuple[str, list[Path], list[str]]:
    """(what to call the place, its files, notices)."""
    if not isinstance(photos, str | Path):
        paths = [Path(p).expanduser() for p in photos]
        for path in paths:
            if not path.is_file():
                raise InputError(f"{path}: no such picture")
        return f"the list of {len(paths)} photos", paths, []
    if str(photos).startswith(("http://", "https://")):
        raise InputError(f"{photos}: photos are read from this machine: download them into a folder first")
    place = Path(photos).expanduser()
    if place.is_file():
        return str(place), [place], []
    if not place.is_dir():
        raise InputError(f"{place}: no such folder or picture")
    try:
        paths = sorted(place.iterdir(), key=natural)
        named = [p for p in paths if p.is_dir() and KOHYA.fullmatch(p.name)]
        if len(named) == 1 and not any(p.suffix.lower() in PICTURES for p in paths):
            place, paths = named[0], sorted(named[0].iterdir(), key=natural)
    except PermissionError:
        raise InputError(f"{place}: no permission to read this folder") from None
    if match := KOHYA.fullmatch(place.name):
        repeats, words = match.groups()
        notice = (
            f"{place}: a kohya folder: its photos are read, its {repeats} repeats are not needed (motif counts "
            f'steps), and "{words}" is not used: the prompt says what they show'
        )
        return str(place), paths, [notice]
    return str(place), paths, []


def _is_mask(path: Path) -> bool:
    return path.name.endswith("-mask.png")


def _fate(
    path: Path,
    names: set[tuple[Path, str]],
    lines: Mapping[str, str],
    resolution: int | None,
    seen: dict[str, str],
) -> File:
    suffix, stem = path.suffix.lower(), path.stem
    if path.name.startswith(".") or path.name.lower() in CLUTTER:
        return File(path, "skipped", "hidden file")
    if path.is_dir():
        return File(path, "skipped", "folder: only files directly inside are read")
    if not path.is_file():
        return File(path, "skipped", "not a regular file")
    if path.name == "metadata.jsonl":
        return File(path, "caption", f"captions of {len(lines)} files")
    if suffix in TEXTS:
        if suffix in CAPTIONS and (path.parent, stem) in names:
            return File(path, "caption", f"caption of {stem}.*")
        return File(path, "skipped", "text")
    if _is_mask(path):
        if (path.parent, stem.removesuffix("-mask")) in names:
            return File(path, "mask", f"mask of {stem.removesuffix('-mask')}.*")
        return File(path, "skipped", "named like a mask, without its picture: rename it to use it as a photo")
    if suffix in VIDEOS:
        return File(path, "skipped", "video: export a few frames as pictures")
    if suffix not in PICTURES and not _is_picture(path):
        return File(path, "skipped", "no picture")
    return _photo(path, lines, resolution, seen)


def _is_picture(path: Path) -> bool:
    """Whether a file with an unknown name is one of the usual kinds of picture."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")):
            return True
    except (UnidentifiedImageError, Image.DecompressionBombError, *DAMAGE):
        return False


def _photo(path: Path, lines: Mapping[str, str], resolution: int | None, seen: dict[str, str]) -> File:
    try:
        picture = open_picture(path)
        caption, caption_notes = _caption(path, lines)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except InputError as error:
        return File(path, "refused", str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return File(path, "refused", f"cannot be read: {error.strerror}")
    size, notes, warnings = picture.size, [*picture.notes, *caption_notes], list[str]()
    file = File(path, "used", "photo", size, caption)
    short, long = sorted(size)
    if short < SMALLEST:
        return replace(
            file, fate="refused", why=f"{size[0]}x{size[1]} pixels: too small, at least {SMALLEST} a side"
        )
    if resolution and short * 4 < resolution:
        warnings.append(f"only {size[0]}x{size[1]} pixels: it will be blurred at {resolution}")
    if long > short:
        share = f"the centre square keeps {round(100 * short / long)} % of it"
        (warnings if short * 2 < long else notes).append(share)
    if picture.image.getcolors(1):
        warnings.append("one flat colour: nothing can be learned from it")
    if digest in seen:
        warnings.append(f"the same file as {seen[digest]}: it counts twice")
    seen.setdefault(digest, path.name)
    return replace(file, notes=tuple(notes), warnings=tuple(warnings))


def _caption(path: Path, lines: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """(the caption of a photo or None, notes): NAME.txt first, then metadata.jsonl."""
    for beside in (path.with_suffix(suffix) for suffix in CAPTIONS):
        if beside.is_file():
            try:
                text = " ".join(beside.read_text(encoding="utf-8-sig").split())
            except UnicodeDecodeError:
                raise InputError(f"its caption {beside.name} is not UTF-8 text: save it as UTF-8") from None
            if text:
                return text, [f"caption from {beside.name}"]
            return lines.get(path.name), [f"its caption {beside.name} is empty"]
    if path.name in lines:
        return lines[path.name], ["caption from metadata.jsonl"]
    return None, []


def _metadata(folder: Path) -> dict[str, str]:
    """{file name: text} of a folder's metadata.jsonl; InputError names a broken line."""
    path = folder / "metadata.jsonl"
    found: dict[str, str] = {}
    if not path.is_file():
        return found
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: cannot be read as UTF-8 text") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["file_name"])] = " ".join(str(entry["text"]).split())
        except (ValueError, KeyError, TypeError):
            raise InputError(f'{path}, line {number}: needs {{"file_name": "...", "text": "..."}}') from None
    return found
