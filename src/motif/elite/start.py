"""An encoder as training finds it: fresh networks, and copies of the base's own projections (card 2.4, 3.3).

Ours: both networks begin to speak softly, so that a short training does not have to come back from afar first. A word
that says what a phrase says is ten times as large as the text encoder's own (pocket: 3 to 0.3; torch's start is 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from motif.base import Base
from motif.elite.encoder import Encoder
from motif.elite.mapper import Mapper
from motif.elite.tower import Tower, layers_of
from motif.errors import InputError
from motif.weights import is_cross_kv

WORDS, PATCHES = 0.25, 0.1
"""The networks' last layers, of torch's own start."""


def fresh(
    base: Base,
    image: str = "",
    *,
    seed: int = 0,
    hidden: int = 0,
    layers: Sequence[int] = (),
    settings: dict[str, Any] | None = None,
) -> Encoder:
    """Untrained: random words, no change of the base, and patches read by the base's own keys and values.

    `layers` are those of the image encoder that the words read, the primary word's first; the default is the paper's.
    """
    tower = Tower.load(image or default_image(base))
    layers = tuple(layers) or layers_of(tower.depth)
    if not all(1 <= layer <= tower.depth for layer in layers):
        raise InputError(f"layers {layers}: {tower.name} has the layers 1 to {tower.depth}")
    widths = tuple(reader.width for reader in base.models.readers)
    names = [name for name in base.models.own if name.startswith("unet.") and is_cross_kv(name)]
    own = {name: base.models.parameter(name).detach().float().cpu() for name in names}
    context = next(weight.shape[1] for weight in own.values())
    return Encoder(
        base.origin,
        tower.name,
        tower.fingerprint,
        layers,
        widths,
        Mapper.fresh(len(layers), tower.width, sum(widths), seed=seed, hidden=hidden, scale=WORDS),
        {name: torch.zeros_like(weight) for name, weight in own.items()},
        Mapper.fresh(len(layers), tower.width, context, seed=seed + 1, hidden=hidden, scale=PATCHES),
        {projection(name): weight.clone() for name, weight in own.items()},
        settings or {},
    )


def default_image(base: Base) -> str:
    """pocket's own tower on pocket, CLIP ViT-L/14 elsewhere."""
    return "pocket" if base.name == "pocket" else "paper"


def projection(name: str) -> str:
    """A weight's full name as the local projection's: "<layer>.to_k"."""
    return name.removeprefix("unet.").removesuffix(".weight")
