"""Our Custom Diffusion step against a plain one, on the same base, photos and batch: `python bench/speed.py`.

`--base sd15` is a pipeline of Stable Diffusion 1's shapes with random weights.

Each side runs in a process of its own, in turns (ours, plain, ours, plain ...), so that a busy machine slows both; the
table gives the mean step of the median turn, the median ratio of a turn with the least and the greatest, and each
process's peak resident memory, libraries and all. What ours computes once, before its first step, is not in steps/s;
its seconds stand beside the table. Everything that is made for it lies in a temporary folder that goes with the run.
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


def measure(side: str, folder: str, work: Path, asked: argparse.Namespace) -> dict[str, float]:
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

        base = Base.load(folder, precision=asked.precision)
        ticks: list[float] = []
        prior = str(_prior(work, subject, base.size))
        begun = time.perf_counter()
        custom_diffusion(
            base,
            Examples(subject.folder, f"photo of a <new1> {subject.noun}"),
            steps=asked.steps + 2,
            batch_size=asked.batch_size,
            lr=1e-6,
            prior=prior,
            masked=False,
            augment=asked.augment,
            on_progress=lambda _: ticks.append(time.perf_counter()),
        )
        seconds = [after - before for before, after in pairwise(ticks[1:])]
        once = ticks[0] - begun - statistics.mean(seconds)
    else:
        from PIL import Image

        from motif.bench.plain_learning import Course, draws, ready, table_of, train
        from motif.bench.plain_pipelines import stock
        from motif.images import open_picture
        from motif.learn.recipes import COMPVIS
        from motif.learn.trained import Rates
        from motif.weights import is_cross_kv, select

        photos = [open_picture(path).image for path in subject.references]
        prior = [Image.open(path).convert("RGB") for path in sorted(_prior(work, subject, 0).glob("*.png"))]
        kind = torch.bfloat16 if asked.precision == "bf16" else torch.float32
        said, rates = f"photo of a <new1> {subject.noun}", Rates(weights=1e-6, words=1e-6)
        pipe = stock(folder, torch.device("cpu"), torch.float32)
        course = Course(COMPVIS, rates, table_of(pipe)[5:6].detach().clone(), [said] * len(photos),
                        f"photo of a {subject.noun}", asked.batch_size, list(select(pipe.unet, is_cross_kv)),
                        augment=asked.augment)  # fmt: skip
        pipe = ready(pipe, course)
        run = train(pipe, photos, prior, course, draws(course, len(photos), len(prior), pipe), kind)
        for step in range(asked.steps + 2):
            begun = time.perf_counter()
            next(run)
            if step >= 2:
                seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.mean(seconds), "megabytes": peak, "once": once}


def _prior(work: Path, subject: Any, size: int) -> Path:
    """A folder of 16 class pictures for both sides: the floor's pictures of other objects of the class."""
    from motif.images import open_picture, square

    folder = work / "prior"
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
    parser.add_argument(
        "--augment", action=argparse.BooleanOptionalAction, default=True, help="resize the photos"
    )
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, help="write the table there too")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    from stable_diffusion_shape import build

    from motif.loading import pocket_weights

    if asked.side:
        print(json.dumps(measure(asked.side, asked.base, asked.work, asked)))
        return
    with tempfile.TemporaryDirectory(prefix="motif-bench-") as work:
        folder = asked.base or str(pocket_weights() / "pipeline")
        if asked.base == "sd15":
            folder = str(build(Path(work) / "sd15", side=asked.size))
        found = {side: list[dict[str, float]]() for side in SIDES}
        for _ in range(asked.turns):
            for side in SIDES:
                own = ["--base", folder, "--side", side, "--work", work]
                done = subprocess.run(
                    [sys.executable, __file__, *sys.argv[1:], *own],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    sys.exit(done.stderr)
                found[side].append(json.loads(done.stdout.splitlines()[-1]))
    text = "\n".join(table(found, asked))
    print(text)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n", encoding="utf-8")


def table(found: dict[str, list[dict[str, float]]], asked: argparse.Namespace) -> list[str]:
    """Both sides of all turns, and what they were measured on."""
    from machine import processor

    name = {"": "pocket", "sd15": f"Stable Diffusion 1.5's shapes at {asked.size} px"}.get(
        asked.base, asked.base
    )
    how = "with the resize augmentation" if asked.augment else "whole photos, without the resize augmentation"
    rows = {
        side: {
            key: statistics.median(turn[key] for turn in turns) for key in ("seconds", "megabytes", "once")
        }
        for side, turns in found.items()
    }
    pairs = list(zip(*(found[side] for side in SIDES), strict=True))
    faster, less = ([theirs[key] / ours[key] for ours, theirs in pairs] for key in ("seconds", "megabytes"))
    return [
        f"Base {name}, {asked.batch_size} photos + {asked.batch_size} prior pictures a step, 2 threads, "
        f"{asked.precision}, {asked.turns} turns of {asked.steps} steps each, {processor()}, {date.today()}. "
        f"Both sides {how}.",
        "",
        "| | steps/s | peak memory, MB |",
        "|---|---|---|",
        *(f"| {side} | {1 / row['seconds']:.3g} | {row['megabytes']:.0f} |" for side, row in rows.items()),
        f"| ratio | {_spread(faster)} faster | {_spread(less)} less |",
        "",
        f"Not in steps/s: motif takes {rows[SIDES[0]]['once']:.1f} s before its first step to read the photos and "
        "encode what does not change over the run, once; plain diffusers encodes its batch in every step. Peak memory "
        "is the whole process's, libraries included.",
    ]


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
