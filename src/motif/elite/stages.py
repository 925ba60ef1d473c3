"""What the stages of ELITE's training minimise, and the parameters that each of them has.

    text     E ‖τ(y with w₀) − τ(y with words that say it)‖² from the object on, and the same with all of v       M_g
    global   E ‖ε − ε_θ(x_t, t, τ(y with all words v))‖² + 0.01 mean |v|         M_g, W_kᵍ, W_vᵍ      (eq. 4)
    local    Σ M (ε − ε_θ)² / Σ M, with w₀ and the patches, λ = 1, + 0.0001 mean |V_l|   M_l, W_kˡ, W_vˡ   (eq. 7)

Card 2.5 and 3.6. Norms are means, and Σ M runs over one channel of the latents, as in the release. Whatever a stage
does not own is frozen. Every image of a batch has a token of its own, so that each reads its own words and patches.
Ours: the text stage, a start for short trainings where the objects' words are known; a denoiser has no part in it, so
that a picture costs a tenth of what it costs later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from motif.attention import Call, Row
from motif.base import Base
from motif.elite.encoder import Encoder
from motif.elite.mapper import Mapper
from motif.elite.targets import Targets
from motif.elite.tower import Tower
from motif.elite.views import View
from motif.local import LocalAttention
from motif.origin import Origin
from motif.sample.stand_in import positions
from motif.text import Text

Stage = Literal["text", "global", "local"]
STAGES: tuple[Stage, ...] = ("text", "global", "local")


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
        base: Base,
        tower: Tower,
        layers: Sequence[int],
        views: Sequence[View],
        draws: Sequence[Any],
        targets: Targets,
    ) -> Batch:
        """The views of a step, each with noise and a timestep from its own generator."""
        device = base.device
        with torch.no_grad():
            mean, std = targets.of(views)
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

    def parts(self, stage: Stage) -> tuple[Mapping[str, nn.Parameter], Mapping[str, nn.Parameter]]:
        """A stage's network, and its keys and values."""
        if stage == "local":
            return self.patches, self.projections
        return self.words, (self.weights if stage == "global" else {})

    def own(self, stage: Stage) -> dict[str, nn.Parameter]:
        """A stage's parameters, by names of their own."""
        kind = "local" if stage == "local" else "global"
        return {f"{kind}/{name}": value for part in self.parts(stage) for name, value in part.items()}

    def begin(self, stage: Stage) -> None:
        """Gradients for one stage, and for nothing else."""
        mine = self.own(stage)
        for one in STAGES:
            for name, value in self.own(one).items():
                value.requires_grad_(name in mine)

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


def text_loss(
    base: Base,
    learning: Learning,
    widths: Sequence[int],
    states: Sequence[Tensor],
    captions: Sequence[str],
    said: Sequence[str],
) -> Tensor:
    """How far the captions with words of the network are from the captions with words for the objects, in what the
    denoiser reads: at the object's last word and behind it, where a text encoder has heard of it."""
    words = Mapper(learning.words).words(states)
    told = [caption.replace("{}", one) for caption, one in zip(captions, said, strict=True)]
    with torch.no_grad():
        meant = base.read(told)
    spans = [(c.index("{}"), c.index("{}") + len(one)) for c, one in zip(captions, said, strict=True)]
    last = [positions(tokens, [span])[-1] for tokens, span in zip(meant.tokens, spans, strict=True)]
    loss = torch.zeros(())
    for chosen in (words[:, :1], words):
        text = _dressed(base, learning, widths, captions, chosen)[1]
        mine = torch.tensor([tokens.splices[-1][0] for tokens in text.tokens])[:, None]
        length = torch.arange(text.states.shape[1])[None]
        place = (length - mine + torch.tensor(last)[:, None]).clamp(0, text.states.shape[1] - 1)
        rows = torch.arange(len(words))[:, None]
        squares = (text.states - meant.states[rows, place]).square().mean(-1)
        loss = loss + squares[(length >= mine).to(squares.device)].mean()
    return loss


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
    dressed, text = _dressed(base, learning, widths, batch.captions, words)
    x = base.schedule.noise(batch.latents, batch.noise, batch.times)
    h, w = x.shape[-2:]
    controls = (local,) if local else ()
    row = Row("main", "cond", slice(0, len(x)), text)
    call = Call((row,), 0, 1, 0, (h, w), controls)
    output = dressed.predict(x, batch.times, text.states, text.pooled, call)
    return output, base.schedule.target(batch.latents, batch.noise, batch.times)


def _dressed(
    base: Base, learning: Learning, widths: Sequence[int], captions: Sequence[str], words: Tensor
) -> tuple[Base, Text]:
    """The base with what is learned on, and the captions with every image's own words."""
    tokens = [f"<s{i}>" for i in range(len(words))]
    vectors = {token: one.split(tuple(widths), dim=-1) for token, one in zip(tokens, words, strict=True)}
    dressed = base.dressed({**base.weights, **learning.weights}, vectors, {})
    named = [caption.replace("{}", token) for caption, token in zip(captions, tokens, strict=True)]
    return dressed, dressed.read(named)
