"""The prior: pictures of the class with their captions, trained on beside the photos so that the class stays itself.

Kumari et al. 2023, section 3.1 ("regularization"); card 1.7. The paper retrieves 200 captioned pictures from
LAION, whose service is gone. Here a prior is one of

    none          photos alone
    generate      the base draws its own class pictures ("photo of a cat"; DDIM, 50 steps, η 1, guidance 6)
    FOLDER        your pictures, with captions in sidecar files, or the class prompt for all; with `retrieve`, only
                  those nearest to the class prompts: captions whose CLIP text cosine is at least 0.85 (the
                  paper's rule), or, where no picture has a caption, the pictures that CLIP finds nearest
    FILE.txt      captions, one per line; the base draws a picture of each
    base          no pictures: what the base itself answers to the class prompt, at the photos' own noisy latents

`find` decides which pictures and captions they are, before any work, so that a run is known by them alone; `gather`
brings them. A folder's pictures are listed by name, and only those that are taken are opened (without captions to
retrieve by, all).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from PIL.Image import Image

from motif.base import Base
from motif.errors import InputError, Interrupted
from motif.files import read_text
from motif.images import open_picture, save_image, square
from motif.lanes import draw
from motif.learn.examples import Photo, plain
from motif.learn.retrieval import either, opened, require_classes, retrieved, unopened

log = logging.getLogger("motif")

WORDS = ("none", "generate", "base")
"""Priors that are no place: a folder of such a name is ./none, ./generate or ./base."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Pictures of the class at the base's size, each with its caption; or captions alone, where the base's own answer
    to them is the target."""

    images: tuple[Image, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def pictured(self) -> bool:
        return bool(self.images)


@dataclass(frozen=True)
class Source:
    """What a `--prior` word names: captions to draw, or pictures of a folder."""

    count: int  # pictures asked for
    captions: tuple[str, ...] = ()
    photos: tuple[Photo, ...] = ()
    pictured: bool = True  # else captions are all there is

    def content(self) -> str:
        """A digest of its captions and pictures, for a run to know them by; "" for none."""
        what = [
            *self.captions,
            *(photo.record() for photo in self.photos),
            *([] if self.pictured else ["base"]),
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16] if what else ""


def find(
    source: str,
    prompts: Sequence[str],
    *,
    count: int = 200,
    retrieve: str = "",
    threshold: float = 0.85,
    device: str = "cpu",
) -> Source:
    """Look at the prior that a `--prior` word names, before any work.

    Args:
        prompts: What pictures of the classes show ("photo of a cat"); a drawn prior is shared out among them.
        count: How many pictures, at most.
        retrieve: Take from a folder only what this CLIP finds nearest to the class prompts: `pocket`, `paper`,
            a transformers folder or a hub id; empty takes the first pictures.
        threshold: The least cosine of a caption with a class prompt.
        device: Where the CLIP computes.
    Raises:
        InputError: no such folder or file, an empty one, a class word missing where a caption needs it, or nothing
            near enough.
    """
    path, classes = Path(source).expanduser(), tuple(prompts)
    if count < 0 or (count == 0 and source != "none"):
        raise InputError(f"prior_count is {count}: ask for at least one picture, or use --prior none")
    folder = source not in WORDS and path.is_dir()
    if retrieve and not folder:
        raise InputError(f"retrieval picks from a folder of pictures, and the prior is {source!r}")
    if source == "none":
        return Source(0)
    if retrieve:
        return Source(count, photos=retrieved(path, classes, count, retrieve, threshold, device))
    if folder:
        return Source(count, photos=_first(path, classes, count))
    if source == "generate":
        require_classes(classes)
        return Source(count, tuple(islice(cycle(classes), count)))
    if source == "base":
        require_classes(classes)
        return Source(len(classes), classes, pictured=False)
    return Source(count, _captions(path, source)[:count])


def placed(source: str) -> str:
    """A prior as it is named from anywhere: a folder or file by its whole path."""
    return source if source in ("", *WORDS) else os.path.abspath(Path(source).expanduser())


def gather(
    base: Base,
    source: Source,
    *,
    steps: int = 50,
    guidance: float = 6.0,
    seed: int = 0,
    side: int | None = None,
    batch_size: int = 8,
    cache: Path | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> Prior:
    """Bring the pictures of a prior.

    Drawn pictures are kept in `cache` under a name made of everything they depend on, and drawn once.

    Args:
        side: Of the square pictures, in pixels; the default is the base's size.
        batch_size: Pictures drawn at a time.
        on_picture: Told of every picture that is drawn: how many, of how many.
    Raises:
        Interrupted: Ctrl-C while pictures are drawn.
    """
    side = side or base.size
    if not source.pictured:
        return Prior((), source.captions)
    if source.photos:
        captions = tuple(photo.caption for photo in source.photos)
        images = [square(photo.image, side) for photo in source.photos]
    else:
        captions = source.captions
        how: dict[str, Any] = {"steps": steps, "guidance": guidance, "size": (side, side)}
        try:
            images = _drawn(base, captions, seed, cache, on_picture, batch_size=batch_size, **how)
        except KeyboardInterrupt:
            kept = (
                f"its pictures so far are kept in {cache}, and the same command goes on"
                if cache
                else "nothing is kept"
            )
            raise Interrupted(f"stopped while the prior was drawn, before the first step; {kept}") from None
    if len(images) < source.count:
        log.info("the prior has %d pictures, and %d were asked for", len(images), source.count)
    return Prior(tuple(images), captions)


def _captions(path: Path, source: str) -> tuple[str, ...]:
    """The lines of a file of captions."""
    if not path.is_file() or path.suffix != ".txt":
        raise InputError(
            f"prior {source!r}: use none, generate, base, a folder of pictures, or a .txt file of captions"
        )
    lines = read_text(path).splitlines()
    if captions := tuple(filter(None, map(plain, lines))):
        return captions
    raise InputError(f"{path} holds no caption: write one per line")


def _first(folder: Path, prompts: Sequence[str], count: int) -> tuple[Photo, ...]:
    """A folder's first pictures; those without a caption are of the class."""
    photos = opened(unopened(folder), count, prompts[0] if prompts else "")
    if bare := [photo for photo in photos if not photo.captioned]:
        require_classes(prompts)
        if len(prompts) > 1:
            raise InputError(
                f"{bare[0].path} has no caption, and which of {either(prompts)} it shows is unknown: caption the "
                "pictures (NAME.txt beside NAME.*), or use --retrieve"
            )
    return photos


def _drawn(
    base: Base,
    captions: Sequence[str],
    seed: int,
    cache: Path | None,
    on_picture: Callable[[int, int], None] | None,
    *,
    batch_size: int,
    **settings: Any,
) -> list[Image]:
    """The base's own pictures of these captions (DDPM steps), from the cache as far as they are there."""
    worn = [concept.fingerprint for concept in base.concepts]
    what = [base.origin.fingerprint, seed, sorted(settings.items()), *worn]
    folder = cache / f"prior-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]}" if cache else None
    paths = [folder / _file(i, caption) if folder else None for i, caption in enumerate(captions)]
    missing = [i for i, path in enumerate(paths) if path is None or not path.is_file()]
    fresh: dict[int, Image] = {}
    if missing:
        seeds = [seed + i for i in missing]
        drawn = draw(
            base, [captions[i] for i in missing], seeds=seeds, eta=1.0, batch_size=batch_size, **settings
        )
        for done, (i, image) in enumerate(zip(missing, drawn, strict=True), 1):
            fresh[i] = image
            if path := paths[i]:
                save_image(image, path)
            if on_picture:
                on_picture(done, len(missing))
    return [fresh[i] if i in fresh else _read(paths[i]) for i in range(len(captions))]


def _file(i: int, caption: str) -> str:
    return f"{i:04d}-{hashlib.sha256(caption.encode()).hexdigest()[:8]}.png"


def _read(path: Path | None) -> Image:
    assert path is not None
    return open_picture(path).image
