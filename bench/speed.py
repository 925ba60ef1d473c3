"""Our Custom Diffusion step against a plain one, on the same base, photos and batch: `python bench/speed.py`.

`--base sd15` is a pipeline of Stable Diffusion 1's shapes with random weights, made in the temporary folder.

Each side runs in a process of its own, in turns (ours, plain, ours, plain ...), so that a busy machine slows both; the
table gives the mean step of the median turn, the ratio, and each process's peak resident memory, libraries and all.
Ours encodes the prior once, before its first step; that is not in steps/s, and its seconds stand beside the table.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

SIDES = ("motif", "plain diffusers")


def measure(side: str, folder: str, batch_size: int, steps: int, precision: str) -> dict[str, float]:
    """Seconds per step (after two to warm up), ours before its first step, and the process's peak resident memory."""
    import torch

    from motif.pocket.concepts import held_out

    torch.set_num_threads(2)
    subject = held_out()[0]
    seconds: list[float] = []
    once = 0.0
    if side == "motif":
        from motif.base import Base
        from motif.learn import Examples, custom_diffusion

        base = Base.load(folder, precision=precision)
        ticks: list[float] = []
        prior = str(_prior(subject, base.size))
        begun = time.perf_counter()
        custom_diffusion(
            base,
            Examples(subject.folder, f"photo of a <new1> {subject.noun}"),
            steps=steps + 2,
            batch_size=batch_size,
            lr=1e-6,
            prior=prior,
            augment=True,
            on_progress=lambda _: ticks.append(time.perf_counter()),
        )
        seconds = [after - before for before, after in pairwise(ticks[1:])]
        once = ticks[0] - begun - statistics.mean(seconds)
    else:
        from PIL import Image
        from plain_custom_diffusion import train

        from motif.images import open_picture

        photos = [open_picture(path).image for path in subject.references]
        prior = [Image.open(path).convert("RGB") for path in sorted(_prior(subject, 0).glob("*.png"))]
        run = train(folder, photos, prior, prompt=f"photo of a <new1> {subject.noun}", noun=subject.noun,
                    batch_size=batch_size, lr=1e-6, precision=precision)  # fmt: skip
        for step in range(steps + 2):
            begun = time.perf_counter()
            next(run)
            if step >= 2:
                seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.mean(seconds), "megabytes": peak, "once": once}


def _prior(subject: Any, size: int) -> Path:
    """A folder of 16 class pictures for both sides: the floor's pictures of other objects of the class."""
    from motif.images import open_picture, square

    folder = Path(tempfile.gettempdir()) / "motif-bench-prior"
    folder.mkdir(exist_ok=True)
    if size:
        for i, image in enumerate(subject.others):
            square(image if not isinstance(image, Path) else open_picture(image).image, size).save(
                folder / f"{i:02d}.png"
            )
    return folder


def main() -> None:
    """Run both sides in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="", help="a diffusers folder, or sd15; the default is pocket")
    parser.add_argument("--size", type=int, default=512, help="sd15: the side of its pictures, in pixels")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both sides")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, help="write the table there too")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    from machine import processor
    from stable_diffusion_shape import build

    from motif.loading import pocket_weights

    folder = asked.base or str(pocket_weights() / "pipeline")
    if asked.base == "sd15":
        folder = str(build(Path(tempfile.gettempdir()) / f"motif-bench-sd15-{asked.size}", side=asked.size))
    if asked.side:
        print(json.dumps(measure(asked.side, folder, asked.batch_size, asked.steps, asked.precision)))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(asked.turns):
        for side in SIDES:
            settings = [
                "--batch-size",
                str(asked.batch_size),
                "--steps",
                str(asked.steps),
                "--precision",
                asked.precision,
            ]
            command = [sys.executable, __file__, "--side", side, "--base", folder, *settings]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    ours, plain = (
        {
            key: statistics.median(turn[key] for turn in found[side])
            for key in ("seconds", "megabytes", "once")
        }
        for side in SIDES
    )
    name = {"": "pocket", "sd15": f"Stable Diffusion 1.5's shapes at {asked.size} px"}.get(
        asked.base, asked.base
    )
    lines = [
        f"Base {name}, {asked.batch_size} photos + {asked.batch_size} prior pictures a step, "
        f"2 threads, {asked.precision}, {asked.turns} turns of {asked.steps} steps each, "
        f"{processor()}, {date.today()}. Both sides with the resize augmentation (`augment=True`).",
        "",
        "| | steps/s | peak memory, MB |",
        "|---|---|---|",
        *(
            f"| {side} | {1 / row['seconds']:.3g} | {row['megabytes']:.0f} |"
            for side, row in zip(SIDES, (ours, plain), strict=True)
        ),
        f"| ratio | {plain['seconds'] / ours['seconds']:.2f}x faster "
        f"| {plain['megabytes'] / ours['megabytes']:.2f}x less |",
        "",
        f"Not in steps/s: motif takes {ours['once']:.1f} s before its first step to read the photos and encode the "
        "prior's pictures and captions, once; plain diffusers encodes its batch in every step. Peak memory is the "
        "whole process's, libraries included.",
    ]
    print("\n".join(lines))
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
