"""The peer of inversions and of Prompt-to-Prompt: the released procedures, written plainly.

Attention is computed explicitly everywhere, as the release does, and the UNet's weights are left unfrozen, so that
every backward pass makes their gradients too. Of each step of null-text the caption's side is evaluated twice, as the
release does; ours keeps it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Explicit:
    """Attention with its maps in memory at every layer; `edit` may change them."""

    def __init__(self) -> None:
        self.edit: Callable[[Tensor, bool], Tensor] | None = None

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        if self.edit:
            maps = self.edit(maps, encoder_hidden_states is not None)
        return attn.to_out[1](attn.to_out[0]((maps @ v).transpose(1, 2).flatten(2)))


class Plain:
    """The procedures over a copy of a base's UNet."""

    def __init__(self, base: Any, steps: int, guidance: float) -> None:
        self.unet, self.steps, self.guidance = copy.deepcopy(base.models.unet), steps, guidance
        self.unet.requires_grad_(True)
        self.dtype: torch.dtype = base.dtype
        self.attention = Explicit()
        self.unet.set_attn_processor(self.attention)
        self.times = base.schedule.timesteps(steps)
        self.level = [float(base.schedule.at(t)) for t in (*self.times, -1)]  # ᾱ, from noise to the clean

    def output(self, x: Tensor, step: int, states: Tensor) -> Tensor:
        """The predicted noise."""
        states = states.to(self.dtype)
        out: Tensor = self.unet(x.to(self.dtype), self.times[step], encoder_hidden_states=states).sample
        return out.to(x.dtype)

    def move(self, x: Tensor, noise: Tensor, a: float, b: float) -> Tensor:
        """DDIM from ᾱ = a to ᾱ = b, either way."""
        clean = (x - (1 - a) ** 0.5 * noise) / a**0.5
        return b**0.5 * clean + (1 - b) ** 0.5 * noise

    def ddim(self, x0: Tensor, cond: Tensor) -> list[Tensor]:
        """The latents from the photo's to the noise."""
        way = [x0]
        for step in reversed(range(self.steps)):
            with torch.no_grad():
                noise = self.output(way[-1], step, cond)
            way.append(self.move(way[-1], noise, self.level[step + 1], self.level[step]))
        return way

    def null_text(self, x0: Tensor, cond: Tensor, empty: Tensor, rounds: int = 10) -> tuple[Tensor, Tensor]:
        """(∅ of every step, the latents that come back)."""
        way = self.ddim(x0, cond)
        x, null, found = way[-1], empty.float(), list[Tensor]()  # what is fitted is float32, as ours is
        for step in range(self.steps):
            null = null.clone().detach().requires_grad_(True)
            adam = torch.optim.Adam([null], lr=1e-2 * (1 - step / 100))
            a, b, target = self.level[step], self.level[step + 1], way[self.steps - 1 - step]
            with torch.no_grad():
                noise_cond = self.output(x, step, cond)
            for _ in range(rounds):
                noise = self.output(x, step, null)
                guided = noise + self.guidance * (noise_cond - noise)
                loss = (self.move(x, guided, a, b) - target).square().mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
                if loss.item() < 1e-5 + 2e-5 * step:
                    break
            found.append(null.detach())
            with torch.no_grad():
                both = self.output(torch.cat([x, x]), step, torch.cat([found[-1], cond]))
                noise, noise_cond = both.chunk(2)
                x = self.move(x, noise + self.guidance * (noise_cond - noise), a, b)
        return torch.stack(found), x

    def prompt_to_prompt(self, x: Tensor, nulls: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Both latents; words are replaced one for one, so that a map stays at its word's place."""
        pair, pixels = torch.cat([x, x]), x.shape[-2] * x.shape[-1] // 4
        for step in range(self.steps):
            cross, own = step < int(0.8 * (self.steps + 1)), step < int(0.4 * self.steps)

            def edit(maps: Tensor, is_cross: bool, cross: bool = cross, own: bool = own) -> Tensor:
                if cross if is_cross else own and maps.shape[2] <= pixels:
                    maps = torch.cat([maps[:3], maps[2:3]])
                return maps

            self.attention.edit = edit
            with torch.no_grad():
                states = torch.cat([nulls[step], nulls[step], source, target])
                uncond, cond = self.output(torch.cat([pair, pair]), step, states).chunk(2)
            noise = uncond + self.guidance * (cond - uncond)
            pair = self.move(pair, noise, self.level[step], self.level[step + 1])
        self.attention.edit = None
        return pair
