"""The peer of `encode`: ELITE's networks as torch's own modules, and two passes of transformers' CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from motif.images import open_picture


def network(weights: Mapping[str, Tensor]) -> nn.ModuleDict:
    """A mapping network of these tensors, by the published checkpoints' names."""
    parts = sorted({name.partition(".")[0] for name in weights})
    made = nn.ModuleDict()
    for part in parts:
        wide, into = weights[f"{part}.0.weight"].shape
        out = len(weights[f"{part}.6.weight"])
        made[part] = nn.Sequential(
            nn.Linear(into, wide), nn.LayerNorm(wide), nn.LeakyReLU(), nn.Linear(wide, wide), nn.LayerNorm(wide),
            nn.LeakyReLU(), nn.Linear(wide, out),
        )  # fmt: skip
    made.load_state_dict(dict(weights))
    return made


class Encoding:
    """An encoder's two networks and its projections, beside its image encoder."""

    def __init__(self, encoder: Any, device: torch.device) -> None:
        self.layers, self.tower = encoder.layers, encoder.tower(str(device))
        self.words, self.patches = (
            network(part.weights).to(device) for part in (encoder.words, encoder.patches)
        )
        self.projections = dict[str, nn.Linear]()
        for name, weight in encoder.projections.items():
            self.projections[name] = layer = nn.Linear(*weight.shape[::-1], bias=False).to(device)
            layer.load_state_dict({"weight": weight})

    @torch.no_grad()
    def encode(self, path: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """(the primary word [1, channel], {projection: [patch, channel]}) of a photo, cut to its object."""
        picture = open_picture(path)
        image, mask = picture.image, picture.mask
        if mask is not None:
            from motif.elite.photos import PADDING
            from motif.elite.tower import around

            bounds = mask.getbbox() or (0, 0, *image.size)
            box = around(image, bounds, max(round(PADDING * max(image.size)), 1))
            image, mask = image.crop(box), mask.crop(box)
        own = (
            image if mask is None else Image.composite(image, Image.new("RGB", image.size), mask.convert("L"))
        )
        cls, patches = self._mapped(self.words, image)[0]
        ends = self._mapped(self.patches, own)
        e = torch.stack([a + b for a, b in ends]).mean(0)
        if mask is not None:
            there = torch.from_numpy(_array(mask.convert("L")) > 0).float().to(e.device)
            cells = round(e.shape[1] ** 0.5)
            e = e * F.interpolate(there[None, None], size=(cells, cells), mode="nearest").view(1, -1, 1)
        return (cls + patches.mean(1, keepdim=True))[0], {
            k: layer(e)[0] for k, layer in self.projections.items()
        }

    def _mapped(self, networks: nn.ModuleDict, image: Image.Image) -> list[tuple[Tensor, Tensor]]:
        """What each layer's two networks make of a picture."""
        tower = self.tower
        pixels = torch.from_numpy(
            _array(image.convert("RGB").resize((tower.side,) * 2, Image.Resampling.BICUBIC))
        )
        mean, std = (torch.tensor(part).view(3, 1, 1) for part in (tower.mean, tower.std))
        pixels = ((pixels.permute(2, 0, 1).float() / 255 - mean) / std)[None].to(tower.model.device)
        hidden = tower.model(pixel_values=pixels, output_hidden_states=True).hidden_states
        states = [hidden[layer] for layer in self.layers]
        return [(networks[f"mapping_{i}"](s[:, :1]), networks[f"mapping_patch_{i}"](s[:, 1:]))
                for i, s in enumerate(states)]  # fmt: skip


def _array(image: Image.Image) -> Any:
    import numpy as np

    return np.array(image)
