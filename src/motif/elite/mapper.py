"""The two mapping networks: hidden states of an image encoder to words, or to patches that attention can read.

    wᵢ = Mᵢ(clsᵢ) + mean over patches of Pᵢ(patchᵢ)      v = [w₀ ... w_N−1], one word for each layer    (eq. 3)
    e  = m ⊙ mean over layers of (Mᵢ(clsᵢ) + Pᵢ(patchᵢ))   one vector for each patch, 0 outside of m      (eq. 5)

Wei et al. 2023 (arXiv 2302.13848); card 2.2 and 3.1. Mᵢ and Pᵢ are Linear - LayerNorm - LeakyReLU twice, and a Linear.
A mapper is its tensors, by the names of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.01  # of LeakyReLU
PARTS = ("mapping", "mapping_patch")  # of the class token, and of the patches


@dataclass(frozen=True, eq=False)
class Mapper:
    """Tensors by name: mapping_0.0.weight, mapping_patch_0.0.weight, ..."""

    weights: Mapping[str, Tensor]

    @staticmethod
    def fresh(layers: int, into: int, out: int, *, seed: int, hidden: int = 0, scale: float = 1.0) -> Mapper:
        """Torch's own start: uniform in ±1/√(channels read); norms are 1 and 0.

        Args:
            layers: Of the image encoder that it reads.
            into: Channels that it reads.
            out: Channels that it gives.
            seed: Of the start.
            hidden: Channels inside; 0 is as many as it reads (the release).
            scale: What the last matrices and biases are multiplied by (release: 1).
        """
        draw, weights, wide = torch.Generator().manual_seed(seed), dict[str, Tensor](), hidden or into
        for part in PARTS:
            for i in range(layers):
                for spot, rows, columns in ((0, wide, into), (3, wide, wide), (6, out, wide)):
                    for name, shape in (("weight", (rows, columns)), ("bias", (rows,))):
                        values = (2 * torch.rand(shape, generator=draw) - 1) / columns**0.5
                        weights[f"{part}_{i}.{spot}.{name}"] = values * (scale if spot == 6 else 1.0)
                for spot in (1, 4):
                    weights[f"{part}_{i}.{spot}.weight"] = torch.ones(wide)
                    weights[f"{part}_{i}.{spot}.bias"] = torch.zeros(wide)
        return Mapper(weights)

    @property
    def layers(self) -> int:
        """How many layers it reads: how many words it has."""
        return sum(name.startswith("mapping_patch_") and name.endswith(".0.bias") for name in self.weights)

    @property
    def shape(self) -> tuple[int, int]:
        """(channels that it reads, channels that it gives)."""
        return self.weights["mapping_0.0.weight"].shape[1], len(self.weights["mapping_0.6.weight"])

    def words(self, states: Sequence[Tensor]) -> Tensor:
        """[image, word, channel] of [image, 1 + patch, channel] of every layer."""
        return torch.stack([cls[:, 0] + patches.mean(1) for cls, patches in self._mapped(states)], 1)

    def patches(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """[image, patch, channel]; mask [image, patch]."""
        return torch.stack([cls + patches for cls, patches in self._mapped(states)]).mean(0) * mask[..., None]

    def _mapped(self, states: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        return [
            (self._one(f"mapping_{i}", state[:, :1]), self._one(f"mapping_patch_{i}", state[:, 1:]))
            for i, state in enumerate(states)
        ]

    def _one(self, prefix: str, x: Tensor) -> Tensor:
        def linear(x: Tensor, spot: int) -> Tensor:
            return F.linear(x, self.weights[f"{prefix}.{spot}.weight"], self.weights[f"{prefix}.{spot}.bias"])

        for spot in (0, 3):
            scale, shift = (self.weights[f"{prefix}.{spot + 1}.{part}"] for part in ("weight", "bias"))
            x = F.leaky_relu(F.layer_norm(linear(x, spot), scale.shape, scale, shift), SLOPE)
        return linear(x, 6)
