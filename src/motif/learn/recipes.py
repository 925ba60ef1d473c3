"""How a step sees photos and weighs them: the published codes, and what differs between them (card 1.4 to 1.9)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from motif.learn.augment import Resizing


@dataclass(frozen=True)
class Recipe:
    """What differs between published codes (card 1.9)."""

    resizing: Resizing
    crop: bool  # centre square crop of the photos; else they are squashed
    border: bool  # the mask of a whole picture loses a cell all around
    bilinear: bool  # the filter that resizes photos; else bicubic
    target_weight: float  # of the photos' term against the prior's, per element
    max_norm: float | None
    class_prompt: str  # what the prior shows of a class; {} is the noun
    detached: bool = True  # no gradient through the start token's keys and values (card 1.2)


COMPVIS = Recipe(
    Resizing(),
    crop=True,
    border=False,
    bilinear=False,
    target_weight=1.0,
    max_norm=None,
    class_prompt="photo of a {}",
)
ADOBE = Recipe(
    Resizing(flip=0.0),
    crop=False,
    border=False,
    bilinear=True,
    target_weight=4.0,
    max_norm=1.0,
    class_prompt="{}",
)
DIFFUSERS = replace(
    ADOBE, resizing=Resizing(zoom=0.34, shrink_middle=True, even=False, flip=0.0), border=True
)
RECIPES = {"compvis": COMPVIS, "adobe-diffusers": ADOBE, "diffusers": DIFFUSERS}
"""[CV] gave the paper's numbers; [OD] and [HF] weigh the photos four times the prior (their masked sum is not
divided by the latent's channels)."""

WHOLE = replace(COMPVIS, resizing=Resizing(zoom=0.0, shrink=False), detached=False)
"""Photos as they are, mirrored in half of the steps (card 6)."""
