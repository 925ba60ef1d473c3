"""Pictures of a folder as a prior: the first, or those that CLIP finds nearest to the class prompts (card 1.7)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, cosines
from motif.learn.examples import Examples, Photo
from motif.learn.survey import File, Survey, survey

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("motif")


def require_classes(prompts: Sequence[str]) -> None:
    """InputError where nothing says what the prior shows."""
    if not prompts:
        raise InputError(
            'the prior is of the class word: write it behind the token ("photo of a <new1> cat"), '
            "or say what the prior shows (--class-prompt)"
        )


def retrieved(
    folder: Path, prompts: Sequence[str], count: int, encoder: str, threshold: float, device: str
) -> tuple[Photo, ...]:
    """Pictures of a folder by falling nearness to the class prompts, in turn: of their captions, from the threshold
    up; of the pictures themselves where none has a caption of its own."""
    require_classes(prompts)
    listed = unopened(folder)
    captioned = [file for file in listed.used if file.caption]
    clip = ClipEncoder.load(encoder, device=device)
    if not captioned:
        return _nearest_pictures(clip, opened(listed, len(listed.used), ""), prompts)[:count]
    ranked = _nearest_captions(clip, captioned, prompts, threshold)
    log.info(
        "prior: %d captions reach %g with %s, and %d are taken; %d are below, %d pictures have no caption",
        len(ranked), threshold, either(prompts), min(len(ranked), count), len(captioned) - len(ranked),
        len(listed.used) - len(captioned),
    )  # fmt: skip
    return opened(replace(listed, files=tuple(ranked)), count, "")


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
        f'no caption reaches {threshold} with {either(prompts)}; the nearest, "{best}", has {float(near.max()):.2f}: '
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


def unopened(folder: Path) -> Survey:
    """A folder's pictures by name, with their captions; what is wrong with the place is told."""
    listed = survey(folder, opened=False)
    for line in (*listed.notices, *listed.problems):
        log.warning("%s", line)
    listed.require_used()
    return listed


def opened(listed: Survey, count: int, prompt: str) -> tuple[Photo, ...]:
    """The first `count` pictures that can be opened; the prompt stands in for a caption."""
    found, rest = replace(listed, files=(), notices=()), iter(listed.used)
    captions = {file.path: file.caption for file in listed.used}
    while some := list(islice(rest, count - len(found.used))):
        looked = survey([file.path for file in some])
        for line in looked.problems:
            log.warning("%s", line)
        told = (replace(file, caption=captions[file.path]) for file in looked.files)
        found = replace(found, files=(*found.files, *told))
    return Examples(found, prompt, token=None).photos


def either(prompts: Sequence[str]) -> str:
    """The prompts in words."""
    return " or ".join(f'"{prompt}"' for prompt in prompts)


def _in_turn(near: Tensor) -> list[int]:
    """Rows of cosines [picture, class] by falling nearness, the classes in turn; a row stands with its nearest."""
    best, mine = near.max(1)
    order = best.argsort(descending=True, stable=True).tolist()
    queues = [[i for i in order if mine[i] == k] for k in range(near.shape[1])]
    return [i for turn in zip_longest(*queues) for i in turn if i is not None]
