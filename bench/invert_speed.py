"""Null-text inversion and Prompt-to-Prompt beside a plain implementation of the released procedure.

`python bench/invert_speed.py`: one photo a turn, both sides in turns in one process. The plain side
(`motif.bench.plain_editing`) evaluates the denoiser as the releases do, computes attention explicitly everywhere, lays
its UNet out as a release loads it, and leaves its weights unfrozen, so that every backward pass makes their gradients
too. Ours leaves out what it knows: half of a step's last evaluation, the way of the edit's source. Outputs are
compared; ratios are of each turn's pair of times. `null-text --variant fast` inverts every photo too, beside the
paper's search: seconds, and PSNR of both.

`--base sd15` is a pipeline of Stable Diffusion 1's shapes with random weights: speed alone, its pictures are noise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

GUIDANCE = 5.0


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def timed(work: Callable[[], Any], clock: str) -> tuple[Any, float]:
    """(what it gives, seconds)."""
    begun = CLOCKS[clock]()
    return work(), CLOCKS[clock]() - begun


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

    name = "pocket" if asked.base == "pocket" else f"Stable Diffusion 1.5's shapes at {asked.size} px, fp32"
    print(f"{name}, {asked.steps} steps, at most {asked.rounds} updates a step, {asked.threads} threads, {asked.turns} "
          f"photos, {asked.clock} seconds, {processor()}, {date.today()}\n\n"
          "| | motif, s | plain, s | ratio | lowest to highest | "
          "outputs differ by at most |\n|---|---|---|---|---|---|")  # fmt: skip
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


def turn(base: Any, plain: Any, case: Any, asked: argparse.Namespace) -> dict[str, Any]:
    """{row: ((seconds of ours, of the other), how far outputs are apart)} of one photo, and {"psnr": (paper, fast)}."""
    from motif.edit import prompt_to_prompt
    from motif.images import to_images
    from motif.invert import null_text

    told: Any = {"steps": asked.steps, "guidance": GUIDANCE}
    with torch.no_grad():
        source, empty = (base.read(text).states for text in (case.source, ""))
    given, clock = (base, case.before, case.source), asked.clock
    ours, mine = timed(lambda: null_text(*given, inner_steps=asked.rounds, **told), clock)
    (_, back), theirs = timed(lambda: plain.null_text(ours.latents[0], source, empty, asked.rounds), clock)
    found: dict[str, Any] = {"null-text": ((mine, theirs), gap(ours.reconstruct(base), back))}
    fast, quick = timed(lambda: null_text(*given, variant="fast", **told), clock)
    found["null-text fast (beside the paper's, ours)"] = ((quick, mine), 0.0)
    found["psnr"] = ours.made.scores["psnr"], fast.made.scores["psnr"]
    edited, mine = timed(lambda: prompt_to_prompt(base, ours, case.target, mode="replace"), clock)

    def released() -> Tensor:
        """Texts are read and both pictures decoded, as our edit does."""
        with torch.no_grad():
            one, other = (base.read(text).states for text in (case.source, case.target))
            pair = plain.prompt_to_prompt(ours.start, ours.uncond, one, other)
            to_images(base.decode(pair))
        return pair[1:]

    latents, theirs = timed(released, clock)
    found["prompt-to-prompt"] = ((mine, theirs), gap(edited.latents[0], latents))
    return found


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", choices=("pocket", "sd15"), default="pocket")
    parser.add_argument("--size", type=int, default=256, help="sd15: the side of its pictures, in pixels")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10, help="the paper's search: updates a step at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: of this process, on a busy machine"
    )
    asked = parser.parse_args()
    from editing import cases
    from stable_diffusion_shape import build

    from motif.base import Base
    from motif.bench.plain_editing import Plain
    from motif.invert import null_text

    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory(prefix="motif-bench-") as work:
        folder = str(build(Path(work), side=asked.size)) if asked.base == "sd15" else "pocket"
        base = Base.load(folder, device="cpu", precision="fp32")
    plain = Plain(base, asked.steps, GUIDANCE)
    plain.unet.to(memory_format=torch.contiguous_format)  # as a release loads it
    null_text(base, "examples/cat2/00.jpg", "a photo of a cat", steps=1)  # first uses are slower
    seconds: dict[str, list[tuple[float, float]]] = {}
    gaps: dict[str, list[float]] = {}
    psnr: list[tuple[float, float]] = []
    for case in [case for case in cases(2 * asked.turns) if case.kind != "style"][: asked.turns]:
        found = turn(base, plain, case, asked)
        psnr.append(found.pop("psnr"))
        for name, (pair, apart) in found.items():
            seconds.setdefault(name, []).append(pair)
            gaps.setdefault(name, []).append(apart)
    report(asked, seconds, gaps, psnr)


if __name__ == "__main__":
    main()
