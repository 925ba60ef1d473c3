"""The peers of edits, over `plain_editing.Plain`: maps taken over, the local blend, and pix2pix-zero.

Rows are [∅ of the source, ∅ of the target, source, target], as in the releases.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.bench.plain_editing import Edit, Plain, coarse


class Taken:
    """Prompt-to-Prompt's maps: the target takes the source's over, cross maps by `origins` [position], -1 where a word
    is the target's own; the default is word for word. `unguided` is P2Plus's part of the run."""

    def __init__(
        self,
        plain: Plain,
        noise: Tensor,
        origins: Tensor | None = None,
        *,
        cross: float = 0.8,
        unguided: float = 0.0,
    ) -> None:
        self.origins, self.pixels = origins, noise.shape[-2] * noise.shape[-1] // 4
        self.cross, self.own = int(cross * (plain.steps + 1)), int(0.4 * plain.steps)
        self.unguided = int(unguided * plain.steps)

    def __call__(self, step: int, maps: Tensor, cross: bool) -> Tensor:
        if cross and step < self.cross:
            taken = maps[2:3]
            if self.origins is not None:
                taken = torch.where(self.origins >= 0, taken[..., self.origins.clamp(min=0)], maps[3:])
            return torch.cat([maps[:3], taken])
        if not cross and maps.shape[2] <= self.pixels:
            if step < self.own:
                maps = torch.cat([maps[:3], maps[2:3]])
            if step < self.unguided:
                maps = torch.cat([maps[:1], maps[:1], maps[2:]])
        return maps


def origins(before: Sequence[object], after: Sequence[object], length: int) -> Tensor:
    """Where each position of a refined prompt comes from, token by token; padding stays at its place."""
    found = [*[-1] * len(after), *range(len(after), length)]
    for i, j, count in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        found[j : j + count] = range(i, i + count)
    return torch.tensor(found)


class Blend:
    """The local blend by the source's words at those positions: outside of them the target is the source."""

    def __init__(self, plain: Plain, noise: Tensor, edit: Edit, words: Sequence[int]) -> None:
        self.edit, self.words, self.pixels = edit, list(words), coarse(noise)
        self.first, self.total = int(0.2 * plain.steps), noise.new_zeros(self.pixels)

    def maps(self, step: int, maps: Tensor, cross: bool) -> Tensor:
        """Edited, and the source's counted."""
        maps = self.edit(step, maps, cross)
        if cross and maps.shape[2] == self.pixels:
            self.total = self.total + maps[2][..., self.words].sum(-1).mean(0)
        return maps

    def after(self, step: int, pair: Tensor) -> Tensor:
        """The target's latents where the words are."""
        if step < self.first:
            return pair
        side = round(self.pixels**0.5)
        large = F.interpolate(F.max_pool2d(self.total.view(1, 1, side, side), 3, 1, 1), size=pair.shape[-2:])
        return torch.cat([pair[:1], torch.where(large > 0.3 * large.max(), pair[1:], pair[:1])])


def pix2pix_zero(
    plain: Plain,
    x0: Tensor,
    caption: Tensor,
    moved: Tensor,
    *,
    rounds: int,
    amount: float,
    draw: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """(the edit's last latents, the reference's): up with regularised noise, down once to see the reference's maps, and
    once more held to them."""
    start = plain.ddim(x0, caption, change=lambda noise: regular(noise, rounds, draw))[-1]
    reference, kept = start, list[list[Tensor]]()
    for step in range(plain.steps):
        with torch.no_grad():
            both, maps = plain.seen(torch.cat([reference] * 2), step, torch.cat([caption, caption]))
        kept.append(maps)
        reference = plain.down(reference, step, *both.chunk(2))
    x, texts = start, torch.cat([caption, moved])
    for step in range(plain.steps):
        pair = torch.cat([x, x]).requires_grad_(True)
        _, maps = plain.seen(pair, step, texts)
        gaps = [(a - b).square().sum((-2, -1)).mean() for a, b in zip(maps, kept[step], strict=True)]
        torch.stack(gaps).sum().backward()
        assert pair.grad is not None
        pair = (pair - amount * pair.grad).detach()
        with torch.no_grad():
            x = plain.down(pair[:1], step, *plain.output(pair, step, texts).chunk(2))
    return x, reference


def regular(noise: Tensor, rounds: int, draw: torch.Generator) -> Tensor:
    """Noise of one picture that looks more like noise: its autocorrelation five times, then its divergence, each down
    its slope; all of it so many rounds (weights 20, as published)."""
    for _ in range(rounds):
        for _ in range(5):
            here = noise.detach().requires_grad_(True)
            loss, small = here.new_zeros(()), here
            while True:
                for axis in (2, 3):
                    shift = int(torch.randint(small.shape[axis] // 2, (), generator=draw))
                    for channel in small.unbind(1):
                        loss = loss + (channel * channel.roll(shift, axis - 1)).mean() ** 2
                if small.shape[-1] <= 8:
                    break
                small = F.avg_pool2d(small, 2)
            noise = noise - 20.0 / 5 * torch.autograd.grad(loss, here)[0]
        here = noise.detach().requires_grad_(True)
        loss = here.var() + here.mean() ** 2 - 1 - torch.log(here.var() + 1e-7)
        noise = noise - 20.0 * torch.autograd.grad(loss, here)[0]
    return noise
