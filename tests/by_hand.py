"""Inversions and edits by hand: straight loops over pocket's stock diffusers UNet and DDIM scheduler.

Written from `methods/editing.md` (the sections are named), with attention processors of its own; nothing of motif's
lanes, controls, schedule, alignment or fitting is used. One photo, one caption, one target. What motif makes is held
against it in `tests/invert/test_inversions_by_hand.py` and `tests/edit/test_edits_by_hand.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

Edit = Callable[[Tensor, bool], Tensor]
"""(maps [row, head, pixel, word or pixel], whether they are of cross-attention) -> the maps to use."""

Output = Callable[[Tensor], Tensor]
"""What attention gives, [row, head, pixel, channel], before its heads are put together -> what to use."""


class Attention:
    """A diffusers attention processor that makes its maps, hands them to `hook.edit` and what comes of them to
    `hook.output`, and may read values elsewhere; `hook.layer` is its name meanwhile."""

    def __init__(self, hook: ByHand, name: str) -> None:
        self.hook, self.name, self.cross = hook, name, ".attn2." in name

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        self.hook.layer = self.name
        keys = values = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if self.cross and self.hook.values is not None:
            values = self.hook.values
        q, k, v = attn.to_q(hidden_states), attn.to_k(keys), attn.to_v(values)
        rows, heads = len(q), attn.heads
        q, k, v = (attn.head_to_batch_dim(x) for x in (q, k, v))
        maps = (torch.bmm(q, k.transpose(1, 2)) * attn.scale).softmax(-1)
        if self.hook.edit is not None:
            maps = self.hook.edit(maps.view(rows, heads, *maps.shape[1:]), self.cross).flatten(0, 1)
        out = torch.bmm(maps, v)
        if self.hook.output is not None:
            out = self.hook.output(out.view(rows, heads, *out.shape[1:])).flatten(0, 1)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(out)))


@cache
def _pipeline() -> Any:
    from diffusers import StableDiffusionPipeline

    from motif.loading import pocket_weights

    pipe = StableDiffusionPipeline.from_pretrained(
        pocket_weights() / "pipeline", local_files_only=True, dtype=torch.float32, safety_checker=None,
        requires_safety_checker=False,
    )  # fmt: skip
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False).eval()
    return pipe


def photo() -> Image.Image:
    """The first held-out photo; the tests' caption is not its own, so that there is something to fit."""
    from motif.pocket.world import held_out

    pictures, _, _ = held_out.read_pairs(Path(held_out.__file__).parents[1] / "data")
    return Image.fromarray(pictures.rgb[0])


class ByHand:
    """A run of so many steps at one guidance scale (card 0.3)."""

    def __init__(self, steps: int, guidance: float) -> None:
        from diffusers import DDIMScheduler

        pipe = _pipeline()
        self.pipe, self.unet, self.steps, self.guidance = pipe, pipe.unet, steps, guidance
        self.edit: Edit | None = None
        self.output: Output | None = None
        self.values: Tensor | None = None
        self.layer = ""
        self.unet.set_attn_processor({name: Attention(self, name) for name in self.unet.attn_processors})
        self.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        self.scheduler.set_timesteps(steps)
        self.times = [int(t) for t in self.scheduler.timesteps]  # t_0 the noisiest

    def alpha(self, level: int) -> float:
        """A_k: ᾱ of a level; level 0 is the clean one."""
        bars = self.scheduler.alphas_cumprod
        return float(bars[self.times[self.steps - level]] if level else self.scheduler.final_alpha_cumprod)

    def read(self, prompt: str) -> Tensor:
        """[1, word, channel]."""
        tokens = self.pipe.tokenizer(
            prompt, padding="max_length", max_length=self.pipe.tokenizer.model_max_length, return_tensors="pt"
        )
        with torch.no_grad():
            return self.pipe.text_encoder(tokens.input_ids)[0]

    def encode(self, picture: Image.Image) -> Tensor:
        """The posterior's mean, scaled."""
        x = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            return self.pipe.vae.encode(x).latent_dist.mean * self.pipe.vae.config.scaling_factor

    def noise(self, z: Tensor, step: int, states: Tensor) -> Tensor:
        """ε of every row."""
        return self.unet(z, self.times[step], encoder_hidden_states=states).sample

    def guided(self, uncond: Tensor, cond: Tensor) -> Tensor:
        return uncond + self.guidance * (cond - uncond)

    def down(self, z: Tensor, step: int, noise: Tensor) -> Tensor:
        """A step of the stock scheduler."""
        return self.scheduler.step(noise, self.times[step], z).prev_sample

    # -- inversions --------------------------------------------------------------------------------------------

    def climb(
        self, z: Tensor, caption: Tensor, change: Callable[[Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """DDIM inversion (card 1): Z*[0 … T]; the label is the next level's."""
        found = [z]
        for k in range(1, self.steps + 1):
            with torch.no_grad():
                noise = self.noise(found[-1], self.steps - k, caption)
            noise = noise if change is None else change(noise)
            a, b = self.alpha(k - 1), self.alpha(k)
            slope = math.sqrt(b) * (math.sqrt(1 / b - 1) - math.sqrt(1 / a - 1))
            found.append(math.sqrt(b / a) * found[-1] + slope * noise)
        return found

    def null_text(
        self, way: Sequence[Tensor], caption: Tensor, updates: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Card 2: (∅ of every step, z̄ of every level from the noise down)."""
        z, null = way[-1], self.read("")
        nulls, back = [], [way[-1]]
        for i in range(self.steps):
            null = null.detach().clone().requires_grad_(True)
            adam = torch.optim.Adam([null], lr=0.01 * (1 - i / 100))
            with torch.no_grad():
                cond = self.noise(z, i, caption)
            for _ in range(updates):
                moved = self.down(z, i, self.guided(self.noise(z, i, null), cond))
                loss = F.mse_loss(moved, way[self.steps - 1 - i])
                adam.zero_grad()
                loss.backward()
                adam.step()
                if loss.item() < 1e-5 + 2e-5 * i:
                    break
            with torch.no_grad():
                z = self.down(z, i, self.guided(self.noise(z, i, null), cond))
            nulls.append(null.detach())
            back.append(z)
        return nulls, back

    def value_embedding(
        self,
        photo: Tensor,
        caption: Tensor,
        tokens: Tensor,
        networks: Any,
        updates: int,
        pixels: int,
        paper: tuple[float, float] | None = None,
    ) -> tuple[list[tuple[Tensor, ...]], list[Tensor]]:
        """Card 10 as released: ((scale, shift) of every step, z̄ of every level from the noise down).

        `tokens` are E(x); `networks` the mapping network of the first step, which each step goes on from; maps of so
        many pixels are compared. `paper` is the paper's form (10.2 to 10.4; the list in 16.A): c̃ itself instead of the
        two, a rate of 1e-4 at every step, and maps of Z*[T] of its own; Adam's betas, which the card does not know, are
        given.
        """
        seen: list[Tensor] = []

        def watch(maps: Tensor, cross: bool) -> Tensor:
            if cross and maps.shape[2] == pixels:
                seen.append(maps)
            return maps

        wanted: list[list[Tensor]] = []  # Â[m]: of the input Z*[m]
        way = [photo]
        for k in range(1, self.steps + 1):
            seen.clear()
            self.edit = watch
            with torch.no_grad():
                noise = self.noise(way[-1], self.steps - k, caption)
            wanted.append([*seen])
            a, b = self.alpha(k - 1), self.alpha(k)
            clean = (way[-1] - math.sqrt(1 - a) * noise) / math.sqrt(a)
            way.append(math.sqrt(b) * clean + math.sqrt(1 - b) * noise)
        seen.clear()
        if paper:  # one evaluation more: of Z*[T], at the noisiest label there is
            with torch.no_grad():
                self.noise(way[-1], 0, caption)
        wanted.append([*seen] if paper else wanted[-1])
        self.edit = None
        z, empty = way[-1], self.read("")
        found, back = [], [z]
        for i in range(self.steps):
            with torch.no_grad():
                uncond = self.noise(z, i, empty)
            lr, betas = (1e-4, paper) if paper else (0.01 * (1 - i / 100), (0.9, 0.999))
            adam = torch.optim.Adam(networks.parameters(), lr=lr, betas=betas)

            def step(i: int = i, z: Tensor = z, uncond: Tensor = uncond) -> tuple[Tensor, ...]:
                made = networks(tokens).chunk(1 if paper else 2, dim=1)
                seen.clear()
                self.edit, self.values = watch, made[0] if paper else caption * made[0] + made[1]
                cond = self.noise(z, i, caption)
                self.edit = self.values = None
                return self.down(z, i, self.guided(uncond, cond)), *made

            for _ in range(math.ceil(updates * math.exp(-0.1 * i))):
                moved = step()[0]
                loss = F.mse_loss(moved, way[self.steps - 1 - i])
                for mine, theirs in zip(seen, wanted[self.steps - i], strict=True):
                    loss = loss + F.mse_loss(mine, theirs)
                adam.zero_grad()
                loss.backward()
                adam.step()
                if loss.item() < 1e-5 + 2e-5 * i:
                    break
            with torch.no_grad():
                z, *made = step()
            found.append((*made,))
            back.append(z)
        return found, back

    # -- edits -------------------------------------------------------------------------------------------------

    def pair(
        self,
        z: Tensor,
        empties: Sequence[Tensor],
        captions: tuple[Tensor, Tensor],
        *,
        edit: Callable[[int, Tensor, bool], Tensor] | None = None,
        output: Callable[[int, Tensor], Tensor] | None = None,
        values: Callable[[int], Tensor] | None = None,
        shrink: Callable[[int, Tensor], Tensor] | None = None,
        after: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Source and target side by side, rows [u_src, u_tgt, c_src, c_tgt] in one call (card 0.4, 6.7): [2, c, h, w].

        `edit` sees the maps of all four rows, `output` what attention makes of them, `values` gives what all four read
        their values from, `shrink` acts on ε_c − ε_u, `after` on the latents behind the scheduler's step.
        """
        z = torch.cat([z, z])
        for i in range(self.steps):
            self.edit = None if edit is None else (lambda maps, cross, i=i: edit(i, maps, cross))
            self.output = None if output is None else (lambda out, i=i: output(i, out))
            self.values = None if values is None else values(i)
            with torch.no_grad():
                both = self.noise(torch.cat([z, z]), i, torch.cat([empties[i], empties[i], *captions]))
            uncond, gap = both[:2], both[2:] - both[:2]
            gap = gap if shrink is None else shrink(i, gap)
            z = self.down(z, i, uncond + self.guidance * gap)
            z = z if after is None else after(i, z)
        self.edit = self.output = self.values = None
        return z


class PromptToPrompt:
    """Maps of four rows edited in place of their words (card 6, and 9 for the first two rows): `origins[n]` is where
    target position n comes from in the source's prompt, None for a word of its own; behind the list's end it is n.
    `words` are the windows of single positions of the target (6.3)."""

    def __init__(
        self,
        run: ByHand,
        origins: Sequence[int | None],
        *,
        cross_until: float,
        self_until: float,
        cross_from: float = 0.0,
        self_from: float = 0.0,
        uncond_from: float = 0.0,
        uncond_until: float = 0.0,
        words: Mapping[int, tuple[float, float]] | None = None,
        pixels: int,
        louder: Mapping[int, float] | None = None,
    ) -> None:
        self.run, self.origins, self.pixels, self.louder = run, origins, pixels, louder or {}
        self.cross, self.words = (cross_from, cross_until), words or {}
        self.own, self.uncond = (self_from, self_until), (uncond_from, uncond_until)

    def __call__(self, step: int, maps: Tensor, cross: bool) -> Tensor:
        new, steps = maps.clone(), self.run.steps
        if cross:
            for position in range(maps.shape[-1]):
                if self._within(step, self.words.get(position, self.cross), steps + 1):
                    column = self._column(maps[2:], position)
                    new[3, :, :, position] = self.louder.get(position, 1.0) * column
        elif maps.shape[2] <= self.pixels:
            if self._within(step, self.own, steps):
                new[3] = maps[2]
            if self._within(step, self.uncond, steps):
                new[1] = maps[0]
        return new

    @staticmethod
    def _within(step: int, window: tuple[float, float], count: int) -> bool:
        """⌊a n⌋ ≤ i < ⌊b n⌋, where n is T + 1 for cross maps and T for self maps."""
        return math.floor(window[0] * count) <= step < math.floor(window[1] * count)

    def _column(self, pair: Tensor, position: int) -> Tensor:
        origin = self.origins[position] if position < len(self.origins) else position
        return pair[1, :, :, position] if origin is None else pair[0, :, :, origin]


class StyleTransfer:
    """Card 10.6 (c) on four rows: in the decoder's self-attention the content's q and k, which are its map, in the
    first `maps` of the steps; at its coarsest block what the content's self-attention gives, in the first `features`;
    the target's caption side reads its values from the style's embedding in the first `values`."""

    def __init__(self, run: ByHand, *, maps: float, features: float, values: float) -> None:
        self.run = run
        self.until = [math.floor(share * run.steps) for share in (maps, features)]
        self.fed = values * run.steps  # i < T τ_v (10.5)
        decoder = [name for name in run.unet.attn_processors if name.startswith("up_blocks.")]
        self.coarsest = min(decoder, key=lambda name: int(name.split(".")[1])).split(".")[1]

    def maps(self, step: int, maps: Tensor, cross: bool) -> Tensor:
        if cross or step >= self.until[0] or not self.run.layer.startswith("up_blocks."):
            return maps
        return maps[[0, 0, 2, 2]]

    def features(self, step: int, out: Tensor) -> Tensor:
        here = self.run.layer.startswith(f"up_blocks.{self.coarsest}.") and ".attn1." in self.run.layer
        return out[[0, 0, 2, 2]] if here and step < self.until[1] else out

    def values(self, step: int, rows: Sequence[Tensor], scale: Tensor, shift: Tensor) -> Tensor:
        """Of the rows' own text states [1, word, channel]: what each reads its values from."""
        last = rows[3] * scale + shift if step < self.fed else rows[3]
        return torch.cat([*rows[:3], last])


class Blend:
    """Local blend (card 6.6): the words' positions in each prompt; of the source's alone, where the target has none."""

    def __init__(
        self, run: ByHand, edit: Any, words: tuple[Sequence[int], Sequence[int]], *, side: int,
        threshold: float, start: float,
    ) -> None:  # fmt: skip
        self.run, self.edit, self.words, self.side = run, edit, words, side
        self.threshold, self.first = threshold, math.floor(start * run.steps)
        self.sums: list[Tensor] = [torch.zeros(side, side), torch.zeros(side, side)]
        self.mask = torch.zeros(0)

    def maps(self, step: int, maps: Tensor, cross: bool) -> Tensor:
        new = self.edit(step, maps, cross)
        if cross and new.shape[2] == self.side**2:
            for row in (0, 1):
                for position in self.words[row]:
                    for head in range(new.shape[1]):
                        seen = new[2 + row, head, :, position].view(self.side, self.side)
                        self.sums[row] = self.sums[row] + seen / new.shape[1]
        return new

    def after(self, step: int, z: Tensor) -> Tensor:
        if step < self.first:
            return z
        masks = []
        for row in (0, 1):
            pooled = F.max_pool2d(self.sums[row][None, None], 3, stride=1, padding=1)
            large = F.interpolate(pooled, size=z.shape[-2:])
            masks.append(large / large.max() > self.threshold)  # 0/0 is no mask
        self.mask = (masks[0] | masks[1]).float()
        return torch.cat([z[:1], z[:1] + self.mask * (z[1:] - z[:1])])


def pix2pix_zero(
    run: ByHand, way: Sequence[Tensor], caption: Tensor, moved: Tensor, amount: float
) -> tuple[Tensor, Tensor]:
    """Card 11: (the reference's last latents, the edit's)."""
    kept: list[list[Tensor]] = []
    seen: list[Tensor] = []

    def watch(maps: Tensor, cross: bool) -> Tensor:
        if cross:
            seen.append(maps)
        return maps

    reference, z = way[-1], way[-1]
    for i in range(run.steps):
        seen.clear()
        run.edit = watch
        with torch.no_grad():
            both = run.noise(torch.cat([reference, reference]), i, torch.cat([caption, caption]))
        kept.append([*seen])
        reference = run.down(reference, i, run.guided(both[:1], both[1:]))
    for i in range(run.steps):
        seen.clear()
        x = torch.cat([z, z]).requires_grad_(True)
        run.noise(x, i, torch.cat([caption, moved]))
        loss = torch.zeros(())
        for mine, theirs in zip(seen, kept[i], strict=True):
            loss = loss + ((mine - theirs) ** 2).sum((2, 3)).mean()
        (slope,) = torch.autograd.grad(loss, x)
        x = (x - amount * slope).detach()
        with torch.no_grad():
            both = run.noise(x, i, torch.cat([caption, moved]))
        z = run.down(x[:1], i, run.guided(both[:1], both[1:]))
    run.edit = None
    return reference, z


def regular(noise: Tensor, draw: torch.Generator, rounds: int, weights: tuple[float, float]) -> Tensor:
    """Card 11's regularisation of ε: five pulls of autocorrelation and one of divergence, so many times."""
    for _ in range(rounds):
        for _ in range(5):
            eta = noise.detach().requires_grad_(True)
            loss, small = torch.zeros(()), eta
            while True:
                for axis in (2, 3):
                    shift = int(torch.randint(small.shape[axis] // 2, (), generator=draw))
                    for channel in range(small.shape[1]):
                        one = small[:, channel : channel + 1]
                        loss = loss + (one * torch.roll(one, shift, axis)).mean() ** 2
                if small.shape[-1] <= 8:
                    break
                small = F.avg_pool2d(small, 2)
            (slope,) = torch.autograd.grad(loss, eta)
            noise = noise - weights[0] / 5 * slope
        eta = noise.detach().requires_grad_(True)
        loss = eta.var() + eta.mean() ** 2 - 1 - torch.log(eta.var() + 1e-7)
        (slope,) = torch.autograd.grad(loss, eta)
        noise = noise - weights[1] * slope
    return noise


def proximal(gap: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
    """Card 4, soft: (prox of ε_c − ε_u of [source, target], where the target is edited); λ is over both rows."""
    least = torch.quantile(gap.abs().flatten(), quantile)
    soft = gap - gap.clamp(-least, least)
    return soft, (gap[1:].abs() > least).float()
