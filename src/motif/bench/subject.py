"""What the jobs are about: one of pocket's held-out objects, its class's pictures as prior, and concepts of random
numbers, which cost what learned ones do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from motif.base import Base
from motif.concept import Concept, Record
from motif.images import save_image, square
from motif.pocket.concepts import HeldOut, held_out
from motif.weights import Change, is_cross_kv, select

PRIOR = 12


@dataclass(frozen=True)
class Subject:
    """The object, and what is said of it."""

    one: HeldOut
    prior: Path

    @property
    def source(self) -> str:
        """What a photo shows, for inversions."""
        return f"a photo of a {self.one.noun} in the snow"

    @property
    def target(self) -> str:
        """What it is to show: a word is replaced."""
        return f"a photo of a {self.one.noun} in the forest"

    @property
    def photo(self) -> Path:
        """An unseen view."""
        return self.one.views[0]


def subject(folder: Path, size: int) -> Subject:
    """The object; pictures of its class are written to the folder."""
    one = held_out()[0]
    for number, image in enumerate(one.others[:PRIOR]):
        save_image(square(image, size), folder / f"{number:02d}.png")
    return Subject(one, folder)


def concept(base: Base, number: int, noun: str) -> Concept:
    """A random one, of the size of a learned one: changes of 1 % of each weight's norm, dense."""
    draw = torch.Generator().manual_seed(number)
    changes: dict[str, Change] = {}
    for name, weight in select(base.models.unet, is_cross_kv).items():
        delta = torch.randn(weight.shape, generator=draw)
        norm = float(weight.detach().float().norm())
        changes[f"unet.{name}"] = Change(dense=delta * (0.01 * norm / float(delta.norm())))
    token = f"<new{number}>"
    rows = tuple(0.02 * torch.randn(1, reader.width, generator=draw) for reader in base.models.readers)
    return Concept(
        {token: rows}, changes, Record("random", base.origin, {token: noun}, [f"photo of a {token} {noun}"])
    )
