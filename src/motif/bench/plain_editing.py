"""The peers of inversions and edits: the released procedures, written plainly over a copy of the UNet.

Attention is computed explicitly everywhere, as the releases do, and the UNet's weights are left unfrozen, so that
every backward pass makes their gradients too. Whatever a release evaluates twice is evaluated twice: of each step of
null-text the caption's side, of an edit the source's way, of a reconstruction both sides of guidance. What the edits
do to the maps is in `plain_edits`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Edit = Callable[[int, Tensor, bool], Tensor]
"""(step, maps [row, head, pixel, word or pixel], whether they are of cross-attention) -> the maps to use."""

After = Callable[[int, Tensor], Tensor]
"""(step, latents behind it) -> those to go on with."""


class Explicit:
    """Attention with its maps in memory at every layer; `edit` may change them, `mix` what comes of them, and `values`
    are what cross-attention reads its values from."""

    def __init__(self) -> None:
        self.edit: Callable[[Tensor, bool], Tensor] | None = None
        self.mix: Callable[[Tensor, Tensor], Tensor] | None = None
        self.values: Tensor | None = None

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        cross = encoder_hidden_states is not None
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        values = context if self.values is None or not cross else self.values.to(context.dtype)
        q, k, v = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(values))
        )
        maps = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        if self.edit:
            maps = self.edit(maps, cross)
        out = maps @ v
        if self.mix and cross:
            out = self.mix(maps, out)
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2)))


class Plain:
    """The procedures over a copy of a base's UNet, with what the base wears."""

    def __init__(self, base: Any, steps: int, guidance: float) -> None:
        self.unet, self.guidance = copy.deepcopy(base.models.unet), guidance
        with torch.no_grad():
            for name, weight in base.weights.items():
                self.unet.get_parameter(name.removeprefix("unet.")).copy_(weight)
        self.unet.requires_grad_(True)
        self.dtype: torch.dtype = base.dtype
        self.attention = Explicit()
        self.unet.set_attn_processor(self.attention)
        self.take(base, steps)

    def take(self, base: Any, steps: int) -> None:
        """So many steps from now on."""
        self.steps, self.times = steps, base.schedule.timesteps(steps)
        self.level = [float(base.schedule.at(t)) for t in (*self.times, -1)]  # ᾱ, from noise to the clean

    # -- one step ----------------------------------------------------------------------------------------------

    def output(self, x: Tensor, step: int, states: Tensor) -> Tensor:
        """The predicted noise."""
        states = states.to(self.dtype)
        out: Tensor = self.unet(x.to(self.dtype), self.times[step], encoder_hidden_states=states).sample
        return out.to(x.dtype)

    def seen(
        self, x: Tensor, step: int, states: Tensor, pixels: int = 0, values: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(the predicted noise, the cross maps of so many pixels; 0 is all)."""
        found: list[Tensor] = []

        def watch(maps: Tensor, cross: bool) -> Tensor:
            found.extend([maps] if cross and pixels in (0, maps.shape[2]) else [])
            return maps

        self.attention.edit, self.attention.values = watch, values
        out = self.output(x, step, states)
        self.attention.edit = self.attention.values = None
        return out, found

    def move(self, x: Tensor, noise: Tensor, a: float, b: float) -> Tensor:
        """DDIM from ᾱ = a to ᾱ = b, either way."""
        clean = (x - (1 - a) ** 0.5 * noise) / a**0.5
        return b**0.5 * clean + (1 - b) ** 0.5 * noise

    def down(self, x: Tensor, step: int, uncond: Tensor, cond: Tensor) -> Tensor:
        """A guided step."""
        noise = uncond + self.guidance * (cond - uncond)
        return self.move(x, noise, self.level[step], self.level[step + 1])

    # -- whole ways --------------------------------------------------------------------------------------------

    def ddim(
        self,
        x0: Tensor,
        cond: Tensor,
        *,
        change: Callable[[Tensor], Tensor] | None = None,
        maps: list[list[Tensor]] | None = None,
    ) -> list[Tensor]:
        """The latents from the photo's to the noise; `change` acts on the noise, `maps` gets the coarse cross maps."""
        way = [x0]
        for step in reversed(range(self.steps)):
            with torch.no_grad():
                if maps is None:
                    noise = self.output(way[-1], step, cond)
                else:
                    noise, found = self.seen(way[-1], step, cond, coarse(x0))
                    maps.append(found)
            noise = change(noise) if change else noise
            way.append(self.move(way[-1], noise, self.level[step + 1], self.level[step]))
        return way

    @torch.no_grad()
    def walk(
        self,
        x: Tensor,
        nulls: Sequence[Tensor],
        texts: Tensor,
        *,
        edit: Edit | None = None,
        after: After | None = None,
    ) -> Tensor:
        """Guided from the noise down, one row of x for each of the texts; every step has its own ∅."""
        for step in range(self.steps):
            if edit:
                self.attention.edit = lambda maps, cross, step=step: edit(step, maps, cross)
            states = torch.cat([*[nulls[step]] * len(texts), texts])
            uncond, cond = self.output(torch.cat([x, x]), step, states).chunk(2)
            x = self.down(x, step, uncond, cond)
            x = after(step, x) if after else x
        self.attention.edit = None
        return x

    # -- inversions that fit something -------------------------------------------------------------------------

    def fitted(
        self,
        x0: Tensor,
        cond: Tensor,
        empty: Tensor,
        rounds: int = 10,
        *,
        side: Literal["uncond", "cond"] = "uncond",
        weight: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """(the fitted text of every step, the latents that come back): ∅ of null-text, or the caption of text-embedding
        inversion; `weight` is of the maps where a step arrives (null-text+)."""
        seen: list[list[Tensor]] = []
        way = self.ddim(x0, cond, maps=seen if weight else None)
        x, mine = way[-1], (empty if side == "uncond" else cond).float()  # float32, as ours is
        found: list[Tensor] = []
        for step in range(self.steps):
            mine = mine.clone().detach().requires_grad_(True)
            adam = torch.optim.Adam([mine], lr=1e-2 * (1 - step / 100))
            target = way[self.steps - 1 - step]
            with torch.no_grad():
                other = self.output(x, step, cond if side == "uncond" else empty)
            for _ in range(rounds):
                own = self.output(x, step, mine)
                moved = self.down(x, step, *((own, other) if side == "uncond" else (other, own)))
                loss = F.mse_loss(moved, target)
                if weight:
                    _, maps = self.seen(moved, step, cond, coarse(x0))
                    loss = loss + weight * apart(maps, seen[self.steps - 1 - step])
                adam.zero_grad()
                loss.backward()
                adam.step()
                if loss.item() < 1e-5 + 2e-5 * step:
                    break
            found.append(mine.detach())
            pair = [found[-1], cond] if side == "uncond" else [empty, found[-1]]
            with torch.no_grad():
                both = self.output(torch.cat([x, x]), step, torch.cat(pair))
                x = self.down(x, step, *both.chunk(2))
        return torch.stack(found), x

    def value_embedding(
        self, x0: Tensor, cond: Tensor, empty: Tensor, tokens: Tensor, network: nn.Module, updates: int
    ) -> Tensor:
        """StyleDiffusion's release: the latents that come back. The network of each step goes on from the last one's,
        and gives a scale and a shift of the caption, of which cross-attention makes its values."""
        seen: list[list[Tensor]] = []
        way = self.ddim(x0, cond, maps=seen)
        x = way[-1]
        for step in range(self.steps):
            with torch.no_grad():
                uncond = self.output(x, step, empty)
            adam = torch.optim.Adam(network.parameters(), lr=1e-2 * (1 - step / 100))
            target, wanted = way[self.steps - 1 - step], seen[min(self.steps - step, self.steps - 1)]

            def tried(
                x: Tensor = x, step: int = step, uncond: Tensor = uncond
            ) -> tuple[Tensor, list[Tensor]]:
                scale, shift = network(tokens).chunk(2, dim=1)
                noise, maps = self.seen(x, step, cond, coarse(x0), values=cond * scale + shift)
                return self.down(x, step, uncond, noise), maps

            for _ in range(math.ceil(updates * math.exp(-0.1 * step))):
                moved, maps = tried()
                loss = F.mse_loss(moved, target) + apart(maps, wanted)
                adam.zero_grad()
                loss.backward()
                adam.step()
                if loss.item() < 1e-5 + 2e-5 * step:
                    break
            with torch.no_grad():
                x, _ = tried()
        return x


def coarse(x: Tensor) -> int:
    """Pixels of the maps at a quarter of the latent's side; at half of it where those are too few (pocket)."""
    cells = x.shape[-2] * x.shape[-1]
    return cells // 16 if cells // 16 > 16 else cells // 4


def apart(seen: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """How far maps are from those wanted: means over a layer, summed over the layers."""
    return torch.stack([F.mse_loss(a, b) for a, b in zip(seen, wanted, strict=True)]).sum()


def mapping(tokens: int, words: int) -> nn.Sequential:
    """StyleDiffusion's mapping network, in training mode for ever; the first values are those that ours begins with."""
    from motif.invert.mapping import fresh

    wide = 2 * words
    made = nn.Sequential(
        nn.Conv1d(tokens, wide, 1), nn.Conv1d(wide, wide, 1), nn.BatchNorm1d(wide), nn.LeakyReLU(0.01),
        nn.Conv1d(wide, wide, 1),
    ).train()  # fmt: skip
    drawn = [
        part[0]
        for part in fresh(
            1, tokens, words, head="affine", start="default", seed=0, device=torch.device("cpu")
        )
    ]
    with torch.no_grad():
        for place, (weight, bias) in zip((0, 1, 4), zip(drawn[:6:2], drawn[1:6:2], strict=True), strict=True):
            made[place].get_parameter("weight").copy_(weight[..., None])
            made[place].get_parameter("bias").copy_(bias[:, 0])
    return made
