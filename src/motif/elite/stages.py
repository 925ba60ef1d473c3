"""What the two stages of ELITE's training minimise, and the parameters that each of them has.

    global   E ‖ε − ε_θ(x_t, t, τ(y with all words v))‖² + 0.01 mean |v|         M_g, W_kᵍ, W_vᵍ      (eq. 4)
    local    Σ M (ε − ε_θ)² / Σ M, with w₀ and the patches, λ = 1, + 0.0001 mean |V_l|   M_l, W_kˡ, W_vˡ   (eq. 7)

Card 2.5 and 3.6. Norms are means, and Σ M runs over one channel of the latents, as in the release. Whatever a stage
does not own is frozen. Every image of a batch has a token of its own, so that each reads its own words and patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from motif.attention import Call, Row
from motif.base import Base
from motif.concept import Origin
from motif.elite.encoder import Encoder
from motif.elite.mapper import Mapper
from motif.elite.tower import Tower
from motif.elite.views import View
from motif.local import LocalAttention

Stage = Literal["global", "local"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step sees, as tensors."""

    latents: Tensor  # [image, c, h, w]
    noise: Tensor
    times: Tensor  # [image]
    cells: Tensor  # [image, 1, h, w]
    states: list[Tensor]  # of the pictures, at each layer
    captions: tuple[str, ...]
    objects: list[Tensor] | None = None  # of the objects
    masks: Tensor | None = None  # [image, patch]

    @staticmethod
    def of(
        base: Base, tower: Tower, layers: Sequence[int], views: Sequence[View], draws: Sequence[Any]
    ) -> Batch:
        """The views of a step, each with noise and a timestep from its own generator."""
        device = base.device
        with torch.no_grad():
            mean, std = base.posterior(torch.stack([view.target for view in views]))
            shape = tuple(mean.shape[1:])
            chance, noise = (
                torch.stack([torch.randn(shape, generator=draw) for draw in draws]).to(mean) for _ in range(2)
            )
            times = torch.cat([torch.randint(base.schedule.length, (1,), generator=draw) for draw in draws])
            states = tower.states(torch.stack([view.picture for view in views]).to(device), layers)
            seen = [view.object for view in views if view.object is not None]
            masks = [view.mask for view in views if view.mask is not None]
            objects = tower.states(torch.stack(seen).to(device), layers) if seen else None
        cells = torch.stack([view.cells for view in views])[:, None].to(mean)
        return Batch(
            mean + std * chance, noise, times.to(device), cells, states, tuple(view.caption for view in views),
            objects, torch.stack(masks).to(device) if masks else None,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Learning:
    """An encoder under training: every tensor a parameter, those of one stage with gradients."""

    words: Mapping[str, nn.Parameter]
    weights: Mapping[str, nn.Parameter]  # W_g by the base's full name
    patches: Mapping[str, nn.Parameter]
    projections: Mapping[str, nn.Parameter]

    @staticmethod
    def of(encoder: Encoder, base: Base) -> Learning:
        """From an encoder of that base; nothing learns yet."""

        def parameters(named: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
            return {
                name: nn.Parameter(t.detach().float().clone().to(base.device), requires_grad=False)
                for name, t in named.items()
            }

        worn = {n: base.models.parameter(n).float() + c.to(base.device) for n, c in encoder.changes.items()}
        patches = encoder.patches.weights if encoder.patches else {}
        return Learning(
            *(parameters(one) for one in (encoder.words.weights, worn, patches, encoder.projections))
        )

    def own(self, stage: Stage) -> dict[str, nn.Parameter]:
        """A stage's parameters, by names of their own."""
        parts = (self.words, self.weights) if stage == "global" else (self.patches, self.projections)
        return {f"{stage}/{name}": value for part in parts for name, value in part.items()}

    def begin(self, stage: Stage) -> None:
        """Gradients for one stage, and for nothing else."""
        for one in ("global", "local"):
            for value in self.own(one).values():
                value.requires_grad_(one == stage)

    def encoder(
        self, before: Encoder, base: Base, *, local: bool, settings: Mapping[str, Any], origin: Origin
    ) -> Encoder:
        """What was learned so far, as a value."""

        def values(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.detach().cpu().clone() for name, value in named.items()}

        changes = {n: (w.detach() - base.models.parameter(n).float()).cpu() for n, w in self.weights.items()}
        return Encoder(
            origin, before.image, before.image_weights, before.layers, before.widths, Mapper(values(self.words)),
            changes, Mapper(values(self.patches)) if local else None, values(self.projections) if local else {},
            settings,
        )  # fmt: skip


def global_loss(base: Base, learning: Learning, widths: Sequence[int], batch: Batch, l1: float) -> Tensor:
    """Equation 4, over all words."""
    words = Mapper(learning.words).words(batch.states)
    output, target = _answer(base, learning, widths, batch, words, None)
    return (target - output).square().mean() + l1 * words.abs().mean()


def local_loss(base: Base, learning: Learning, widths: Sequence[int], batch: Batch, l1: float) -> Tensor:
    """Equation 7, with the primary word alone, on the cells that the picture fills."""
    assert batch.objects is not None and batch.masks is not None
    with torch.no_grad():
        words = Mapper(learning.words).words(batch.states)[:, :1]
    e = Mapper(learning.patches).patches(batch.objects, batch.masks)
    sites = sorted({name.rpartition(".")[0] for name in learning.projections})
    keys, values = (
        {site: e @ learning.projections[f"{site}.{side}"].T for site in sites} for side in ("to_k", "to_v")
    )
    local = {
        f"<s{i}>": {site: (keys[site][i], values[site][i]) for site in sites}
        for i in range(len(batch.latents))
    }
    output, target = _answer(base, learning, widths, batch, words, LocalAttention(local, 1.0))
    squares = ((target - output).square() * batch.cells).sum((1, 2, 3)) / batch.cells.sum((1, 2, 3))
    return squares.mean() + l1 * torch.stack([value.abs().mean() for value in values.values()]).mean()


def _answer(
    base: Base,
    learning: Learning,
    widths: Sequence[int],
    batch: Batch,
    words: Tensor,
    local: LocalAttention | None,
) -> tuple[Tensor, Tensor]:
    """(what the denoiser answers, what it should), with these words in the captions."""
    tokens = [f"<s{i}>" for i in range(len(words))]
    vectors = {token: one.split(tuple(widths), dim=-1) for token, one in zip(tokens, words, strict=True)}
    dressed = base.dressed({**base.weights, **learning.weights}, vectors, {})
    captions = [caption.replace("{}", token) for caption, token in zip(batch.captions, tokens, strict=True)]
    text = dressed.read(captions)
    x = base.schedule.noise(batch.latents, batch.noise, batch.times)
    h, w = x.shape[-2:]
    controls = (local,) if local else ()
    row = Row("main", "cond", slice(0, len(x)), text)
    call = Call((row,), 0, 1, 0, (h, w), controls)
    output = dressed.predict(x, batch.times, text.states, text.pooled, call)
    return output, base.schedule.target(batch.latents, batch.noise, batch.times)
