"""The prior: pictures of the class with their captions, trained on beside the photos so that the class stays itself.

Kumari et al. 2023, section 3.1 ("regularization"); card 1.7. The paper retrieves 200 captioned pictures from
LAION, whose service is gone. Here a prior is one of

    none          photos alone
    generate      the base draws its own class pictures ("photo of a cat"; DDIM, 50 steps, η 1, guidance 6)
    FOLDER        your pictures, with captions in sidecar files, or the class prompt for all; with `retrieve`, only
                  those nearest to the class prompt: captions whose CLIP text cosine is at least 0.85 (the
                  paper's rule), or, where no picture has a caption, the pictures that CLIP finds nearest
    FILE.txt      captions, one per line; the base draws a picture of each
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from motif.base import Base
from motif.errors import InputError
from motif.features.extractors import ClipEncoder, cosines
from motif.images import open_picture, save_image, square
from motif.lanes import draw
from motif.learn.examples import Examples, Photo


@dataclass(frozen=True, eq=False)
class Prior:
    """Pictures of the class at the base's size, each with its caption."""

    images: tuple[Image, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def gather(
    base: Base,
    source: str,
    nouns: Sequence[str],
    *,
    count: int = 200,
    steps: int = 50,
    guidance: float = 6.0,
    seed: int = 0,
    side: int | None = None,
    batch_size: int = 8,
    retrieve: str = "",
    threshold: float = 0.85,
    cache: Path | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> Prior:
    """The prior that a `--prior` word names.

    Drawn pictures are kept in `cache` under a name made of everything they depend on, and drawn once.

    Args:
        nouns: The class words; a drawn prior is shared out among them.
        side: Of the square pictures, in pixels; the default is the base's size.
        batch_size: Pictures drawn at a time.
        retrieve: Take from a folder only what this CLIP finds nearest to the class prompt: `pocket`, `paper`,
            a transformers folder or a hub id; empty takes the first pictures.
        threshold: The least cosine of a caption with the class prompt.
        on_picture: Told of every picture that is drawn: how many, of how many.
    Raises:
        InputError: no such folder or file, an empty one, a class noun missing where a caption needs it, or nothing near
            enough.
    """
    side, path = side or base.size, Path(source)
    if retrieve and not path.is_dir():
        raise InputError(f"retrieval picks from a folder of pictures, and the prior is {source!r}")
    if source == "none":
        return Prior((), ())
    if path.is_dir():
        found = _collected(path, nouns, retrieve, threshold)[:count]
        return Prior(
            tuple(square(photo.image, side) for photo in found), tuple(photo.caption for photo in found)
        )
    captions = _captions(source, nouns, count)
    how: dict[str, Any] = {"steps": steps, "guidance": guidance, "size": (side, side)}
    images = _drawn(base, captions, seed, cache, on_picture, batch_size=batch_size, **how)
    return Prior(tuple(images), tuple(captions))


def _captions(source: str, nouns: Sequence[str], count: int) -> list[str]:
    """What the base is to draw."""
    path = Path(source)
    if source == "generate":
        _require(nouns)
        return [f"photo of a {nouns[i % len(nouns)]}" for i in range(count)]
    if not path.is_file() or path.suffix != ".txt":
        raise InputError(
            f"prior {source!r}: use none, generate, a folder of pictures, or a .txt file of captions"
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    if captions := [line for line in lines if line][:count]:
        return captions
    raise InputError(f"{path} holds no caption: write one per line")


def _collected(folder: Path, nouns: Sequence[str], retrieve: str, threshold: float) -> list[Photo]:
    """A folder's pictures; those without a caption are of the class."""
    prompt = f"photo of a {nouns[0]}" if nouns else ""
    photos = list(Examples(folder, prompt, token=None).photos)
    if retrieve or any(photo.caption == prompt for photo in photos):
        _require(nouns)
    return _nearest(photos, prompt, retrieve, threshold) if retrieve else photos


def _require(nouns: Sequence[str]) -> None:
    if not nouns:
        raise InputError(
            'the prior is of the class word: write it behind the token ("photo of a <new1> cat")'
        )


def _nearest(photos: Sequence[Photo], prompt: str, encoder: str, threshold: float) -> list[Photo]:
    """Photos by falling nearness to the class prompt: of their captions, above the threshold, or of the pictures."""
    clip = ClipEncoder.load(encoder)
    captioned = [photo for photo in photos if photo.caption != prompt]
    if not captioned:
        near = cosines(clip.images([photo.path for photo in photos]), clip.texts([prompt]))[:, 0]
        return [photos[int(i)] for i in near.argsort(descending=True)]
    near = cosines(clip.texts([photo.caption for photo in captioned]), clip.texts([prompt]))[:, 0]
    found = [captioned[int(i)] for i in near.argsort(descending=True) if near[i] >= threshold]
    if not found:
        best = captioned[int(near.argmax())].caption
        raise InputError(
            f'no caption reaches {threshold} with "{prompt}"; the nearest, "{best}", has {float(near.max()):.2f}: '
            "lower the threshold, or bring pictures of the class"
        )
    return found


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
    what = [base.origin.shape, base.origin.norms, seed, sorted(settings.items())]
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
