"""The image encoder that ELITE reads photos with: a frozen CLIP vision tower, its hidden states, and two views.

Card 2.1, 3.2 and 5.1. Word i reads layer i of (24, 4, 8, 12, 16) of 24: the deepest one, then a sixth, a third, a half
and two thirds of the way. Other depths take the same shares, each layer once. Photos are squashed to the encoder's
square; the object's view is black outside of the mask, before the encoder's statistics are taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from motif.errors import InputError, MissingModel
from motif.features.extractors import fingerprint
from motif.features.models import find
from motif.hub import quiet

PAPER = "openai/clip-vit-large-patch14"
SHARES = (1.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3)
"""Depths of the words' layers; the first word's, the primary one, is the deepest."""


def layers_of(depth: int) -> tuple[int, ...]:
    """The layers that the words read, each once, in the words' order: (24, 4, 8, 12, 16) of 24."""
    return tuple(dict.fromkeys(max(round(share * depth), 1) for share in SHARES))


@dataclass(frozen=True, eq=False)
class Tower:
    """An image encoder."""

    name: str
    fingerprint: str  # of its weights
    model: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def load(name: str, *, device: str = "cpu") -> Tower:
        """`pocket`, `paper` (CLIP ViT-L/14), a transformers folder or a hub id. It is read once per process.

        Raises:
            MissingModel: not on this machine. InputError: its preprocessor gives no statistics.
        """
        return _loaded(name, device)

    @property
    def depth(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def side(self) -> int:
        """Of its pictures, in pixels."""
        return int(self.model.config.image_size)

    @property
    def cells(self) -> int:
        """Patches on a side."""
        return self.side // int(self.model.config.patch_size)

    def states(self, pictures: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """[image, 1 + patch, channel] behind each of those layers; pictures [image, 3, side, side] in [0, 1]."""
        mean, std = (torch.tensor(x, device=pictures.device).view(3, 1, 1) for x in (self.mean, self.std))
        with torch.no_grad():
            out = self.model(pixel_values=(pictures - mean) / std, output_hidden_states=True)
        return [out.hidden_states[layer] for layer in layers]


@cache
def _loaded(name: str, device: str) -> Tower:
    from transformers import CLIPVisionModel

    files = find(name, part="condition-clip", paper=PAPER)
    mean, std = (files.preprocessor.get(key) for key in ("image_mean", "image_std"))
    if not mean or not std:
        raise InputError(f"{files.folder}: its preprocessor gives no image_mean and image_std")
    load: Any = CLIPVisionModel
    try:
        with quiet():
            model = load.from_pretrained(files.folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingModel(
            f"{files.folder}: cannot be read ({str(error).splitlines()[0]}); {files.fetch}"
        ) from error
    model = model.eval().requires_grad_(False).to(device)
    return Tower(files.name, fingerprint(model), model, tuple(mean), tuple(std))


def whole(image: Image.Image, side: int) -> Tensor:
    """[3, side, side] in [0, 1]: the picture squashed to a square, bicubic."""
    return pixels(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def pixels(image: Image.Image) -> Tensor:
    """[channel, h, w] in [0, 1]."""
    import numpy as np

    values = torch.as_tensor(np.array(image, dtype=np.float32) / 255)
    return values[None] if values.dim() == 2 else values.permute(2, 0, 1)


def cut_out(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The object on black; `mask` is white on it."""
    return Image.composite(image.convert("RGB"), Image.new("RGB", image.size), mask.convert("L"))


def marked(mask: Image.Image, cells: int) -> Tensor:
    """[patch], 1 where the first pixel of a patch is the object's, row by row: plain "nearest", as in the release (card
    3.2 and 5.1; the paper does not say). InputError where none is."""
    there = (pixels(mask.convert("L")) > 0).float()
    found = F.interpolate(there[None], size=(cells, cells), mode="nearest")[0, 0].flatten()
    if not found.any():
        # it lies between those pixels, and the release would lose it: the patches that it touches
        found = F.adaptive_max_pool2d(there[None], cells)[0, 0].flatten()
    if not found.any():
        raise InputError("the mask is all black, it marks nothing: white is the object")
    return found


def around(image: Image.Image, box: tuple[int, int, int, int], padding: int) -> tuple[int, int, int, int]:
    """A box grown on every side, within the picture."""
    left, top, right, bottom = box
    width, height = image.size
    return (
        max(left - padding, 0),
        max(top - padding, 0),
        min(right + padding, width),
        min(bottom + padding, height),
    )
