"""`make`: two folders of pictures become a study's folder, in which nothing tells a rater what made a picture.

An attention check asks the study's own question of a picture and the same picture with its tiles scrambled: whoever
looks knows the answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from PIL import Image, ImageChops

from motif.errors import InputError
from motif.files import written
from motif.images import open_picture, save_image
from motif.study.pairing import By, Drawn, Pair, pairs, pictures, side
from motif.study.questions import asked
from motif.study.sheet import FILE, PICTURES, Comparison, Study

log = logging.getLogger("motif")

TILES = 6
"""Tiles along each side of a scrambled picture."""

SEEN = 16
"""Grey levels of 255 by which some pixel differs where a scrambled picture can be told."""


def make(
    a: str | Path,
    b: str | Path,
    output: str | Path,
    *,
    refs: str | Path | None = None,
    sources: str | Path | None = None,
    question: Sequence[str] = (),
    by: By = "auto",
    per_rater: int = 30,
    checks: int = 3,
    refs_shown: int = 4,
    seed: int = 0,
) -> Study:
    """Make a paired forced-choice study of two folders of pictures.

    Args:
        a: The pictures of one method, a folder with its subfolders.
        b: The other's, of the same prompts and seeds (pictures.json) or of the same names.
        output: The study's folder; one that holds a study is left alone.
        refs: Photos of the concept; or a folder of photos for each subfolder of the pictures, by name.
        sources: The photos that were edited, by the pictures' names; or one for all.
        question: text, image (Custom Diffusion), objects, both (ELITE), subject, description (ICO + DCI), edit
            (StyleDiffusion). The default is text, and image where there are photos; with sources, edit.
        by: Pair by record (prompt and seed), by name, or auto: by record where all pictures have one.
        per_rater: Pairs that a rater is shown for each question, at most (ELITE: 30).
        checks: Attention checks for each rater.
        refs_shown: Photos of the concept beside a pair, at most (Custom Diffusion: 2 to 4).
        seed: Seed of order, sides, and who is shown which pairs.

    Raises:
        InputError: pictures that do not pair, a question without what it shows, a folder that holds a study.
    """
    left, right, output = (Path(path).expanduser() for path in (a, b, output))
    if (output / FILE).exists():
        raise InputError(f"{output}: holds a study already: name another folder")
    for name, value, least in (
        ("per-rater", per_rater, 1),
        ("checks", checks, 0),
        ("refs-shown", refs_shown, 1),
    ):
        if value < least:
            raise InputError(f"--{name} {value}: {least} or more is needed")
    questions = asked(question, references=refs is not None, sources=sources is not None)
    photos = _references(Path(refs).expanduser(), refs_shown) if refs else {}
    found = pairs(left, right, by=by, shelves=[name for name in photos if name])
    if any("prompt" in each.shows for each in questions) and (mute := [p for p in found if not p.prompt]):
        raise InputError(
            f"{mute[0].a.path}: nothing says its prompt ({len(mute)} of {len(found)} pairs): put it into "
            f"{mute[0].a.path.with_suffix('.txt').name} beside it, or ask --question image"
        )
    edited = {each.name: each.path for each in side(Path(sources).expanduser())} if sources else {}
    shelf = _Shelf(output, seed)
    torn = set(random.Random(f"{seed}/torn").sample(range(len(found)), min(len(found), 4 * checks)))
    with _whole_or_nothing(output):
        compared = [shelf.compared(pair, _photos(pair, photos), _source(pair, edited), i in torn)
                    for i, pair in enumerate(found)]  # fmt: skip
        if checks and not any(one.torn for one in compared):
            raise InputError(
                f"{left}: none of its pictures looks another when scrambled, as --checks needs: --checks 0"
            )
    shelf.tell_sizes()
    names = (left.name, right.name) if left.name != right.name else (str(left), str(right))
    known_by = _name(seed, per_rater, checks, *(q.name for q in questions), *(c.id for c in compared))
    study = Study(known_by, names, questions, tuple(compared), min(per_rater, len(compared)), checks, seed)
    with written(output / FILE) as part:
        part.write_text(json.dumps(study.data(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return study


@contextlib.contextmanager
def _whole_or_nothing(output: Path) -> Iterator[None]:
    """Where the pictures cannot all be kept, none is, and a folder that was not there is gone again."""
    new = [path for path in (output / PICTURES, output) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _references(folder: Path, count: int) -> dict[str, list[Path]]:
    """{subfolder of the pictures: its concept's photos}; "" is all pictures."""
    if not folder.is_dir():
        raise InputError(f"{folder}: --refs is a folder of photos, and this is none")
    if photos := pictures(folder):
        return {"": _spread(photos, count)}
    shelves = {each.name: pictures(each) for each in sorted(folder.iterdir()) if each.is_dir()}
    found = {name: _spread(photos, count) for name, photos in shelves.items() if photos}
    if not found:
        raise InputError(f"{folder}: no photos in it or its subfolders")
    return found


def _spread(photos: Sequence[Path], count: int) -> list[Path]:
    """So many of them, evenly."""
    count = min(count, len(photos))
    return [photos[i * len(photos) // count] for i in range(count)]


def _photos(pair: Pair, photos: Mapping[str, list[Path]]) -> list[Path]:
    """The photos beside a pair."""
    first = pair.a.name.partition("/")[0]
    if photos and "" not in photos and first not in photos:
        raise InputError(f"{pair.a.path}: --refs has no folder {first} with photos of its concept")
    return photos.get("") or photos.get(first, [])


def _source(pair: Pair, sources: Mapping[str, Path]) -> Path | None:
    """What a pair was edited from."""
    if not sources:
        return None
    stem = Path(pair.a.name).name
    found = sources.get(pair.a.name) or sources.get(stem)
    if found is None and len(sources) == 1:
        return next(iter(sources.values()))
    if found is None:
        raise InputError(f"{pair.a.path}: --sources has no picture named {stem}")
    return found


class _Shelf:
    """Pictures, written under names that tell nothing, as pixels alone."""

    def __init__(self, output: Path, seed: int) -> None:
        self.folder, self.seed = output / PICTURES, seed
        self.sizes: set[tuple[tuple[int, int], tuple[int, int]]] = set()
        self.kept: dict[Path, str] = {}

    def compared(self, pair: Pair, photos: Sequence[Path], source: Path | None, torn: bool) -> Comparison:
        """A pair with its pictures written."""
        one, other = (open_picture(drawn.path).image for drawn in (pair.a, pair.b))
        if one.size == other.size and one.tobytes() == other.tobytes():
            raise InputError(
                f"{pair.a.path}: the same picture as {pair.b.path}: there is nothing to choose; take both out"
            )
        self.sizes.add((one.size, other.size))
        name = _name(self.seed, *(f"{drawn.name}/{drawn.prompt}/{drawn.seed}" for drawn in (pair.a, pair.b)))
        return Comparison(
            name,
            pair.prompt,
            self._keep(one, name, "a"),
            self._keep(other, name, "b"),
            self._torn(one, name) if torn else "",
            tuple(self._photo(path) for path in photos),
            self._photo(source) if source else "",
            (_file(pair.a), _file(pair.b)),
        )

    def _torn(self, image: Image.Image, name: str) -> str:
        """A scrambled picture; none of one that looks the same then, as a black one does: nobody could choose."""
        torn = scrambled(image, random.Random(name))
        found = ImageChops.difference(image.convert("L"), torn.convert("L")).getextrema()
        return self._keep(torn, name, "torn") if cast(tuple[int, int], found)[1] >= SEEN else ""

    def _photo(self, path: Path) -> str:
        if path not in self.kept:
            self.kept[path] = self._keep(open_picture(path).image, path)
        return self.kept[path]

    def _keep(self, image: Image.Image, *of: object) -> str:
        name = f"{_name(self.seed, *of)}.png"
        save_image(image, self.folder / name)
        return name

    def tell_sizes(self) -> None:
        """A warning where pictures of one pair have different sizes: that may tell raters which is whose."""
        differ = sorted(sizes for sizes in self.sizes if sizes[0] != sizes[1])
        if differ:
            (w, h), (x, y) = differ[0]
            log.warning("pictures of a pair differ in size (%dx%d and %dx%d): the sharper one may be known by it",
                        w, h, x, y)  # fmt: skip


def _file(drawn: Drawn) -> str:
    return drawn.path.as_posix()


def scrambled(image: Image.Image, rng: random.Random) -> Image.Image:
    """The picture with its tiles in another order."""
    across, down = (max(side // TILES, 1) for side in image.size)
    corners = [
        (x * across, y * down) for y in range(image.height // down) for x in range(image.width // across)
    ]
    torn = image.copy()
    for (x, y), (u, v) in zip(corners, rng.sample(corners, len(corners)), strict=True):
        torn.paste(image.crop((u, v, u + across, v + down)), (x, y))
    return torn


def _name(*of: object) -> str:
    return hashlib.sha256("/".join(map(str, of)).encode()).hexdigest()[:16]
