"""Null-text inversion and Prompt-to-Prompt beside a plain implementation of the released procedure, on pocket.

`python bench/invert_speed.py`: both do the same evaluations of the denoiser on one photo, in turns in one process. The
plain side computes attention explicitly everywhere, as the release does, and leaves the UNet's weights unfrozen, so
that every backward pass makes their gradients too. Outputs are compared; ratios are of each turn's pair of times. Every
turn has another photo; `null-text --variant fast` inverts it too, beside the paper's search: seconds, and PSNR of both.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import torch
from torch import Tensor

GUIDANCE = 5.0


class Explicit:
    """Attention with its maps in memory at every layer; `edit` may change them."""

    def __init__(self) -> None:
        self.edit: Callable[[Tensor, bool], Tensor] | None = None

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        split = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
        q, k, v = split(attn.to_q(hidden_states)), split(attn.to_k(context)), split(attn.to_v(context))
        maps = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        if self.edit:
            maps = self.edit(maps, encoder_hidden_states is not None)
        return attn.to_out[1](attn.to_out[0]((maps @ v).transpose(1, 2).flatten(2)))


class Plain:
    """The released procedures, written plainly."""

    def __init__(self, base: Any, steps: int) -> None:
        self.unet, self.base, self.steps = copy.deepcopy(base.models.unet), base, steps
        self.unet.requires_grad_(True).to(memory_format=torch.contiguous_format)  # as a release loads it
        self.attention = Explicit()
        self.unet.set_attn_processor(self.attention)
        self.times = base.schedule.timesteps(steps)
        self.level = [
            float(base.schedule.at(t)) for t in (*self.times, -1)
        ]  # ᾱ, from the noisiest to the clean

    def output(self, x: Tensor, step: int, states: Tensor) -> Tensor:
        return self.unet(x, self.times[step], encoder_hidden_states=states).sample

    def move(self, x: Tensor, noise: Tensor, a: float, b: float) -> Tensor:
        """DDIM from ᾱ = a to ᾱ = b, either way."""
        clean = (x - (1 - a) ** 0.5 * noise) / a**0.5
        return b**0.5 * clean + (1 - b) ** 0.5 * noise

    def null_text(self, x0: Tensor, cond: Tensor, empty: Tensor) -> tuple[Tensor, Tensor]:
        """(∅ of every step, the latents that come back)."""
        way = [x0]
        for step in reversed(range(self.steps)):
            with torch.no_grad():
                noise = self.output(way[-1], step, cond)
            way.append(self.move(way[-1], noise, self.level[step + 1], self.level[step]))
        x, null, found = way[-1], empty.clone(), list[Tensor]()
        for step in range(self.steps):
            null = null.clone().detach().requires_grad_(True)
            adam = torch.optim.Adam([null], lr=1e-2 * (1 - step / 100))
            a, b, target = self.level[step], self.level[step + 1], way[self.steps - 1 - step]
            with torch.no_grad():
                noise_cond = self.output(x, step, cond)
            for _ in range(10):
                noise = self.output(x, step, null)
                loss = (self.move(x, noise + GUIDANCE * (noise_cond - noise), a, b) - target).square().mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
                if loss.item() < 1e-5 + 2e-5 * step:
                    break
            found.append(null.detach())
            with torch.no_grad():
                noise, noise_cond = self.output(torch.cat([x, x]), step, torch.cat([found[-1], cond])).chunk(
                    2
                )
                x = self.move(x, noise + GUIDANCE * (noise_cond - noise), a, b)
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
            noise = uncond + GUIDANCE * (cond - uncond)
            pair = self.move(pair, noise, self.level[step], self.level[step + 1])
        self.attention.edit = None
        return pair


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """(what it gives, seconds)."""
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((a - b).abs().max() / b.abs().max())


def report(
    asked: argparse.Namespace,
    seconds: dict[str, list[tuple[float, float]]],
    gaps: dict[str, list[float]],
    psnr: list[tuple[float, float]],
) -> None:
    """Print the table."""
    from machine import processor

    print(f"pocket, {asked.steps} steps, {asked.threads} threads, {asked.turns} photos, {processor()}, "
          f"{date.today()}\n\n| | motif, s | plain, s | ratio | lowest to highest | outputs differ by at most |\n"
          "|---|---|---|---|---|---|")  # fmt: skip
    for name, pairs in seconds.items():
        found = sorted(theirs / mine for mine, theirs in pairs)
        mine, theirs = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        apart = f"{max(gaps[name]):.1e}" if max(gaps[name]) else ""
        print(f"| {name} | {mine:.2f} | {theirs:.2f} | {statistics.median(found):.2f}x | {found[0]:.2f} to "
              f"{found[-1]:.2f} | {apart} |")  # fmt: skip
    paper, fast = (statistics.fmean(pair[i] for pair in psnr) for i in (0, 1))
    print(
        f"\nPSNR of the reconstruction: {paper:.2f} dB by the paper's search, {fast:.2f} dB by the fast one."
    )


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    from editing import cases

    from motif.base import Base
    from motif.edit import prompt_to_prompt
    from motif.images import to_images
    from motif.invert import null_text

    torch.set_num_threads(asked.threads)
    base = Base.load("pocket", device="cpu")
    plain = Plain(base, asked.steps)
    null_text(base, "examples/cat2/00.jpg", "a photo of a cat", steps=1)  # first uses are slower
    seconds: dict[str, list[tuple[float, float]]] = {}
    gaps: dict[str, list[float]] = {}
    psnr: list[tuple[float, float]] = []

    def note(name: str, pair: tuple[float, float], apart: float) -> None:
        seconds.setdefault(name, []).append(pair)
        gaps.setdefault(name, []).append(apart)

    for case in [case for case in cases(2 * asked.turns) if case.kind != "style"][: asked.turns]:
        with torch.no_grad():
            source, empty = (base.read(text).states for text in (case.source, ""))
        told: Any = {"steps": asked.steps, "guidance": GUIDANCE}
        ours, mine = timed(lambda case=case, told=told: null_text(base, case.before, case.source, **told))
        fast, quick = timed(
            lambda case=case, told=told: null_text(base, case.before, case.source, variant="fast", **told)
        )
        x0 = ours.latents[0]
        (_, back), theirs = timed(lambda x0=x0, s=source, e=empty: plain.null_text(x0, s, e))
        note("null-text", (mine, theirs), gap(ours.reconstruct(base), back))
        note("null-text fast (beside the paper's, ours)", (quick, mine), 0.0)
        psnr.append((ours.made.scores["psnr"], fast.made.scores["psnr"]))
        edited, mine = timed(
            lambda case=case, ours=ours: prompt_to_prompt(base, ours, case.target, mode="replace")
        )

        def released(ours: Any = ours, case: Any = case) -> Tensor:
            """Texts are read and both pictures decoded, as our edit does."""
            with torch.no_grad():
                one, other = (base.read(text).states for text in (case.source, case.target))
                pair = plain.prompt_to_prompt(ours.start, ours.uncond, one, other)
                to_images(base.decode(pair))
            return pair[1:]

        latents, theirs = timed(released)
        note("prompt-to-prompt", (mine, theirs), gap(edited.latents[0], latents))
    report(asked, seconds, gaps, psnr)


if __name__ == "__main__":
    main()
