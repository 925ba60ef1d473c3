"""The prior: pictures of the class with their captions, trained on beside the photos so that the class stays itself.

Kumari et al. 2023, section 3.1 ("regularization"); card 1.7. The paper retrieves 200 captioned pictures from
LAION, whose service is gone. Here a prior is one of

    none          photos alone
    generate      the base draws its own class pictures ("photo of a cat"; DDIM, 50 steps, η 1, guidance 6)
    FOLDER        your pictures, with captions in sidecar files, or the class prompt for all; with `retrieve`, only
                  those nearest to the class prompts: captions whose CLIP text cosine is at least 0.85 (the
                  paper's rule), or, where no picture has a caption, the pictures that CLIP finds nearest
    FILE.txt      captions, one per line; the base draws a picture of each

`find` decides which pictures and captions they are, before any work, so that a run is known by them alone; `gather`
brings them. A folder's pictures are listed by name, and only those that are taken are opened (without captions to
retrieve by, all).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from motif.base import Base
from motif.errors import InputError
from motif.features.extractors import ClipEncoder, cosines
from motif.files import read_text
from motif.images import open_picture, save_image, square
from motif.lanes import draw
from motif.learn.examples import Examples, Photo, plain
from motif.learn.survey import File, Survey, survey

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("motif")

WORDS = ("none", "generate")
"""Priors that are no place: a folder of such a name is ./none or ./generate."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Pictures of the class at the base's size, each with its caption."""

    images: tuple[Image, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Source:
    """What a `--prior` word names: captions to draw, or pictures of a folder."""

    count: int  # pictures asked for
    captions: tuple[str, ...] = ()
    photos: tuple[Photo, ...] = ()

    def content(self) -> str:
        """A digest of its captions and pictures, for a run to know them by; "" for none."""
        what = [*self.captions, *(photo.record() for photo in self.photos)]
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
        return Source(count, photos=_retrieved(path, classes, count, retrieve, threshold, device))
    if folder:
        return Source(count, photos=_first(path, classes, count))
    if source == "generate":
        _require(classes)
        return Source(count, tuple(islice(cycle(classes), count)))
    return Source(count, _captions(path, source)[:count])


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
    """
    side = side or base.size
    if source.photos:
        captions = tuple(photo.caption for photo in source.photos)
        images = [square(photo.image, side) for photo in source.photos]
    else:
        captions = source.captions
        how: dict[str, Any] = {"steps": steps, "guidance": guidance, "size": (side, side)}
        images = _drawn(base, captions, seed, cache, on_picture, batch_size=batch_size, **how)
    if len(images) < source.count:
        log.info("the prior has %d pictures, and %d were asked for", len(images), source.count)
    return Prior(tuple(images), captions)


def _captions(path: Path, source: str) -> tuple[str, ...]:
    """The lines of a file of captions."""
    if not path.is_file() or path.suffix != ".txt":
        raise InputError(
            f"prior {source!r}: use none, generate, a folder of pictures, or a .txt file of captions"
        )
    lines = read_text(path).splitlines()
    if captions := tuple(filter(None, map(plain, lines))):
        return captions
    raise InputError(f"{path} holds no caption: write one per line")


def _require(prompts: Sequence[str]) -> None:
    if not prompts:
        raise InputError(
            'the prior is of the class word: write it behind the token ("photo of a <new1> cat"), '
            "or say what the prior shows (--class-prompt)"
        )


def _first(folder: Path, prompts: Sequence[str], count: int) -> tuple[Photo, ...]:
    """A folder's first pictures; those without a caption are of the class."""
    photos = _opened(_unopened(folder), count, prompts[0] if prompts else "")
    if bare := [photo for photo in photos if not photo.captioned]:
        _require(prompts)
        if len(prompts) > 1:
            raise InputError(
                f"{bare[0].path} has no caption, and which of {_either(prompts)} it shows is unknown: caption the "
                "pictures (NAME.txt beside NAME.*), or use --retrieve"
            )
    return photos


def _retrieved(
    folder: Path, prompts: Sequence[str], count: int, encoder: str, threshold: float, device: str
) -> tuple[Photo, ...]:
    """Pictures of a folder by falling nearness to the class prompts, in turn: of their captions, from the threshold
    up; of the pictures themselves where none has a caption of its own."""
    _require(prompts)
    listed = _unopened(folder)
    captioned = [file for file in listed.used if file.caption]
    clip = ClipEncoder.load(encoder, device=device)
    if not captioned:
        return _nearest_pictures(clip, _opened(listed, len(listed.used), ""), prompts)[:count]
    ranked = _nearest_captions(clip, captioned, prompts, threshold)
    log.info(
        "prior: %d captions reach %g with %s, and %d are taken; %d are below, %d pictures have no caption",
        len(ranked), threshold, _either(prompts), min(len(ranked), count), len(captioned) - len(ranked),
        len(listed.used) - len(captioned),
    )  # fmt: skip
    return _opened(replace(listed, files=tuple(ranked)), count, "")


def _nearest_captions(
    clip: ClipEncoder, files: Sequence[File], prompts: Sequence[str], threshold: float
) -> list[File]:
    """Files by their captions. Equal captions are one text, so that files beside them change no order."""
    texts = {text: i for i, text in enumerate(dict.fromkeys(file.caption or "" for file in files))}
    rows = [texts[file.caption or ""] for file in files]
    near = cosines(clip.texts([*texts]), clip.texts(prompts))[rows]  # [file, class]
    nearest = near.max(1).values
    if found := [files[i] for i in _in_turn(near) if nearest[i] >= threshold]:
        return found
    best = files[int(nearest.argmax())].caption
    raise InputError(
        f'no caption reaches {threshold} with {_either(prompts)}; the nearest, "{best}", has {float(near.max()):.2f}: '
        "lower the threshold, or bring pictures of the class"
    )


def _nearest_pictures(
    clip: ClipEncoder, photos: Sequence[Photo], prompts: Sequence[str]
) -> tuple[Photo, ...]:
    """Photos by what they show, each with its nearest prompt for a caption."""
    log.info("prior: none of %d pictures has a caption: they are taken by what they show", len(photos))
    near = cosines(clip.images([photo.path for photo in photos]), clip.texts(prompts))  # [photo, class]
    best = near.argmax(1).tolist()
    return tuple(replace(photos[i], caption=prompts[best[i]]) for i in _in_turn(near))


def _unopened(folder: Path) -> Survey:
    """A folder's pictures by name, with their captions; what is wrong with the place is told."""
    listed = survey(folder, opened=False)
    for line in (*listed.notices, *listed.problems):
        log.warning("%s", line)
    listed.require_used()
    return listed


def _opened(listed: Survey, count: int, prompt: str) -> tuple[Photo, ...]:
    """The first `count` pictures that can be opened; the prompt stands in for a caption."""
    found, rest = replace(listed, files=(), notices=()), iter(listed.used)
    while some := list(islice(rest, count - len(found.used))):
        looked = survey([file.path for file in some])
        for line in looked.problems:
            log.warning("%s", line)
        found = replace(found, files=(*found.files, *looked.files))
    return Examples(found, prompt, token=None).photos


def _either(prompts: Sequence[str]) -> str:
    return " or ".join(f'"{prompt}"' for prompt in prompts)


def _in_turn(near: Tensor) -> list[int]:
    """Rows of cosines [picture, class] by falling nearness, the classes in turn; a row stands with its nearest."""
    best, mine = near.max(1)
    order = best.argsort(descending=True, stable=True).tolist()
    queues = [[i for i in order if mine[i] == k] for k in range(near.shape[1])]
    return [i for turn in zip_longest(*queues) for i in turn if i is not None]


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
    what = [base.origin.fingerprint, seed, sorted(settings.items())]
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
