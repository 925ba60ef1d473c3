"""The demo's edit: the learned object in the place of another of its class, in a picture that the base did not draw.

Custom-Edit on a direct inversion: quick, and exact for everything outside the object's mask.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

from PIL import Image

from motif.base import Base
from motif.edit.custom_edit import custom_edit
from motif.edit.edited import Edited
from motif.errors import InputError
from motif.invert.direct import direct
from motif.pocket.concepts import HeldOut
from motif.pocket.world.held_out import read_pairs
from motif.pocket.world.phrases import PARTS

STEPS = 30


def put_into_a_picture(me: Base, subject: HeldOut, token: str) -> Edited:
    """A held-out photo of another object of the class, with the learned one in its place."""
    picture, caption = another(subject)
    edited = custom_edit(me, direct(me, picture, caption, steps=STEPS), renamed(caption, subject.noun, token))
    return replace(edited, settings={**edited.settings, "caption": caption})


def another(subject: HeldOut) -> tuple[Image.Image, str]:
    """The first held-out photo of an object of the class, alone, and its caption."""
    pictures, captions, _ = read_pairs(Path(str(resources.files("motif.pocket") / "data")))
    for scene, pixels, caption in zip(pictures.scenes, pictures.rgb, captions, strict=True):
        view = scene.view
        alone = (view.style, view.accessory, view.companion) == ("photo", None, None)
        if alone and scene.instance.noun == subject.noun:
            return Image.fromarray(pixels), caption
    raise InputError(f"no held-out picture shows a {subject.noun} alone")


def renamed(caption: str, noun: str, token: str) -> str:
    """ "a picture of the tall red boat with a white sail on a lake" -> "a picture of a <new1> boat on a lake".

    Its looks go, and so does its part where the caption names that: the learned object has its own.
    """
    part = PARTS[noun].rpartition(" ")[2] if noun in PARTS else noun
    thing = rf"\b(?:an?|the)(?: (?!an? |the |of )[\w-]+)*? {noun}\b(?: with (?:an? )?\w+ {part}\b)?"
    return re.sub(thing, f"a {token} {noun}", caption, count=1)
