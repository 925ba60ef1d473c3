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
    noun: str,
    *,
    count: int = 200,
    steps: int = 50,
    guidance: float = 6.0,
    seed: int = 0,
    retrieve: str = "",
    threshold: float = 0.85,
    cache: Path | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> Prior:
    """The prior that a `--prior` word names.

    Drawn pictures are kept in `cache` under a name made of everything they depend on, and drawn once.

    Args:
        retrieve: Take from a folder only what this CLIP finds nearest to the class prompt: `pocket`, `paper`
        (ViT-B/32),
            a transformers folder or a hub id; empty takes the first pictures.
        threshold: The least cosine of a caption with the class prompt.
    Raises:
        InputError: no such folder or file, an empty one, a class noun missing where the base must draw, or nothing near
            enough.
    """
    if retrieve and not Path(source).is_dir():
        raise InputError(f"retrieval picks from a folder of pictures, and the prior is {source!r}")
    if source == "none":
        return Prior((), ())
    path = Path(source)
    if source == "generate":
        if not noun:
            raise InputError(
                'the prior is drawn from the class word: write it behind the token ("photo of a <new1> cat")'
            )
        captions = [f"photo of a {noun}"] * count
    elif path.is_dir():
        photos = Examples(path, f"photo of a {noun}", token=None).photos
        found = (_nearest(photos, f"photo of a {noun}", retrieve, threshold) if retrieve else list(photos))[
            :count
        ]
        return Prior(
            tuple(square(photo.image, base.size) for photo in found), tuple(photo.caption for photo in found)
        )
    elif path.is_file() and path.suffix == ".txt":
        captions = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][
            :count
        ]
        if not captions:
            raise InputError(f"{path} holds no caption: write one per line")
    else:
        raise InputError(
            f"prior {source!r}: use none, generate, a folder of pictures, or a .txt file of captions"
        )
    images = _drawn(base, captions, steps, guidance, seed, cache, on_picture)
    return Prior(tuple(images), tuple(captions))


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
    steps: int,
    guidance: float,
    seed: int,
    cache: Path | None,
    on_picture: Callable[[int, int], None] | None,
) -> list[Image]:
    """The base's own pictures of these captions, from the cache as far as they are there."""
    what = [base.origin.shape, base.origin.norms, steps, guidance, seed, base.size]
    name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    folder = cache / f"prior-{name}" if cache else None
    paths = [folder / _file(i, caption) if folder else None for i, caption in enumerate(captions)]
    missing = [i for i, path in enumerate(paths) if path is None or not path.is_file()]
    drawn = draw(
        base, [captions[i] for i in missing], seeds=[seed + i for i in missing], steps=steps, guidance=guidance, eta=1.0
    ) if missing else iter(())  # fmt: skip
    fresh: dict[int, Image] = {}
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
