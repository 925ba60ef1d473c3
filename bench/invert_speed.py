"""Null-text inversion and Prompt-to-Prompt beside a plain implementation of the released procedure.

`python bench/invert_speed.py`: one photo a turn, both sides in one process, each turn the other first, both warmed by
a photo that is not measured. The plain side (`motif.bench.plain_editing`) evaluates the denoiser as the releases do,
computes attention explicitly everywhere, lays its UNet out as a release loads it, and leaves its weights unfrozen, so
that every backward pass makes their gradients too. Ours leaves out what it knows: half of a step's last evaluation, the
way of the edit's source. Both sides encode the photo and decode what comes back (ours twice, and scores it: the cost
stays in its time). Outputs are compared, and one that is further apart than `--tolerance` fails the run; ratios are of
each turn's pair of times. `null-text --variant fast` inverts every photo too, beside the paper's search: seconds, and
PSNR of both, picture by picture; with `--updates` other than its four it is named so, for a look at margins.

`--base sd15` is a pipeline of Stable Diffusion 1's shapes with random weights: speed alone, its pictures are noise.
`--precision bf16` runs both sides in bfloat16, what is fitted stays float32; its rounding parts two fits, so that the
distance of the outputs is told and does not fail the run. `--quick` sees that everything runs.
On a GPU: `--base sd15 --size 512 --steps 50 --turns 2 --device cuda --ours` times DDIM, null-text and the edit alone,
beside what is wanted of an H200 (`ON_GPU`); every other run says that those were not run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

GUIDANCE = 5.0
FAST = "null-text fast (beside the paper's, ours)"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
GOALS = {"null-text": 1.5, FAST: 2.0, "prompt-to-prompt": 1.2}
"""Ratios that are wanted."""
ON_GPU = {"ddim": None, "null-text": 10.0, "null-text fast": None, "prompt-to-prompt": 2.0}
"""Seconds that are wanted at most, of a photo at 512 px in 50 steps, with Stable Diffusion 1's shapes, on an H200."""
TOLERANCE = 1e-3
"""How far outputs may be apart, as a share of the largest value: twenty steps of rounding, and fitted ones at that."""


def timed(work: Callable[[], Any], asked: argparse.Namespace) -> tuple[Any, float]:
    """(what it gives, seconds); a GPU has finished before either look at the clock."""
    clock = CLOCKS[asked.clock]
    _wait(asked.device)
    begun = clock()
    found = work()
    _wait(asked.device)
    return found, clock() - begun


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((a.cpu() - b.cpu()).abs().max() / b.abs().max())


def turn(base: Any, plain: Any, case: Any, asked: argparse.Namespace, first: str) -> dict[str, Any]:
    """{row: ((seconds of ours, of the other), how far outputs are apart)} of one photo, and {"psnr": (paper, fast)}.

    `first` is who begins: "ours" or "plain".
    """
    from motif.bench.plain_edits import Taken
    from motif.edit import prompt_to_prompt
    from motif.images import to_images
    from motif.invert import null_text
    from motif.photo import encode, read_photos

    told: Any = {"steps": asked.steps, "guidance": GUIDANCE}
    given = (base, case.before, case.source)
    size: Any = {"height": asked.size, "width": asked.size} if asked.base == "sd15" else {}

    def released() -> tuple[Tensor, Tensor]:
        """The photo is encoded and what comes back decoded, as ours are."""
        with torch.no_grad():
            source, empty = (base.read(text).states for text in (case.source, ""))
            x0 = encode(base, read_photos(base, case.before, **size))
        nulls, back = plain.fitted(x0, source, empty, asked.rounds)
        with torch.no_grad():
            to_images(base.decode(back))
        return nulls, back

    def inverted(**more: Any) -> Any:
        return null_text(*given, **told, **size, **more)

    work = {"ours": lambda: inverted(inner_steps=asked.rounds), "plain": released}
    pair = {who: timed(work[who], asked) for who in _order(first)}
    ours, mine = pair["ours"]
    (_, back), theirs = pair["plain"]
    found: dict[str, Any] = {"null-text": ((mine, theirs), gap(ours.reconstruct(base), back))}
    fast, quick = timed(lambda: inverted(variant="fast", inner_steps=asked.updates), asked)
    found[FAST if asked.updates == 4 else f"{FAST}, {asked.updates} updates"] = ((quick, mine), 0.0)
    found["psnr"] = ours.made.scores["psnr"], fast.made.scores["psnr"]

    def edited_plainly() -> Tensor:
        """Texts are read and both pictures decoded, as our edit does."""
        with torch.no_grad():
            one, other = (base.read(text).states for text in (case.source, case.target))
            uncond = ours.uncond.to(base.device)
            start, texts = ours.start.to(base.device), torch.cat([one, other])
            both = plain.walk(torch.cat([start, start]), uncond, texts, edit=Taken(plain, start))
            to_images(base.decode(both))
        return both[1:]

    work = {
        "ours": lambda: prompt_to_prompt(base, ours, case.target, mode="replace"),
        "plain": edited_plainly,
    }
    pair = {who: timed(work[who], asked) for who in _order(first)}
    (edited, mine), (latents, theirs) = pair["ours"], pair["plain"]
    found["prompt-to-prompt"] = ((mine, theirs), gap(edited.latents[0], latents))
    return found


def _order(first: str) -> tuple[str, str]:
    return ("ours", "plain") if first == "ours" else ("plain", "ours")


def verdicts(
    seconds: dict[str, list[tuple[float, float]]],
    gaps: dict[str, list[float]],
    psnr: list[tuple[float, float]],
    tolerance: float | None,
) -> tuple[list[str], bool]:
    """(what the goals came to, whether outputs are as near as they must be: without a tolerance always)."""
    from reproduction import HOLDS, NOT, signed, word_of

    lines: list[str] = []
    near = True
    if tolerance is not None:
        near = all(gap <= tolerance for each in gaps.values() for gap in each)
        lines.append(
            f"- outputs are apart by at most {tolerance:g} of the largest value: {'yes' if near else 'NO'}"
        )
    for name, pairs in seconds.items():
        goal = GOALS[FAST if name.startswith(FAST) else name]
        ratios = [theirs / mine for mine, theirs in pairs]
        median, reached = statistics.median(ratios), sum(ratio >= goal for ratio in ratios)
        word = HOLDS if median >= goal else NOT
        lines.append(
            f"- {name} at least {goal:g} times: {word} ({median:.2f}; {reached} of {len(ratios)} turns)"
        )
    gains = [fast - paper for paper, fast in psnr]
    mean = statistics.fmean(gains)
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
    told = signed(mean) + ("" if error is None else f" ± {error:.3f}")
    word = HOLDS if mean >= 0 and error is not None else word_of(mean, error)
    lines.append(f"- the fast one comes back as near as the paper's search, or nearer: {word} ({told} dB)")
    return lines, near


def report(
    asked: argparse.Namespace,
    seconds: dict[str, list[tuple[float, float]]],
    gaps: dict[str, list[float]],
    psnr: list[tuple[float, float]],
) -> bool:
    """Print the table and the verdicts; whether outputs are as near as they must be."""
    print(
        "| | motif, s | plain, s | ratio | lowest to highest | outputs differ by at most |\n|---|---|---|---|---|---|"
    )
    for name, pairs in seconds.items():
        found = sorted(theirs / mine for mine, theirs in pairs)
        mine, theirs = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        apart = f"{max(gaps[name]):.1e}" if max(gaps[name]) else ""
        print(f"| {name} | {mine:.2f} | {theirs:.2f} | {statistics.median(found):.2f}x | {found[0]:.2f} to "
              f"{found[-1]:.2f} | {apart} |")  # fmt: skip
    paper, fast = (statistics.fmean(pair[i] for pair in psnr) for i in (0, 1))
    print(
        f"\nPSNR of the reconstruction: {paper:.2f} dB by the paper's search, {fast:.2f} dB by the fast one.\n"
    )
    lines, near = verdicts(seconds, gaps, psnr, asked.tolerance)
    lines = [*lines[:1], "- a quick run: nothing else is judged"] if asked.quick else lines
    print("\n".join([*lines, "", *on_gpu(None)]))
    return near


def on_gpu(rows: Sequence[Mapping[str, float]] | None) -> list[str]:
    """The issue's table of an H200: medians over photos, or that it was not run."""
    lines = [
        "| one photo, Stable Diffusion 1's shapes, 512 px, 50 steps, H200 | seconds | wanted |",
        "|---|---|---|",
    ]
    for name, most in ON_GPU.items():
        goal = "" if most is None else f"at most {most:g}"
        if rows is None:
            lines.append(f"| {name} | not run here | {goal} |")
            continue
        found = sorted(row[name] for row in rows)
        spread = f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"
        word = (
            ""
            if most is None
            else f": {'holds' if statistics.median(found) <= most else '**does not hold**'}"
        )
        lines.append(f"| {name} | {spread} | {goal}{word} |")
    return lines


def alone(base: Any, case: Any, asked: argparse.Namespace) -> dict[str, float]:
    """Seconds of ours, without a peer: what each takes of one photo."""
    from motif.edit import prompt_to_prompt
    from motif.invert import ddim, null_text

    told: Any = {"steps": asked.steps, "guidance": GUIDANCE}
    told |= {"height": asked.size, "width": asked.size} if asked.base == "sd15" else {}
    given = (base, case.before, case.source)
    _, up = timed(lambda: ddim(*given, **told), asked)
    ours, paper = timed(lambda: null_text(*given, inner_steps=asked.rounds, **told), asked)
    _, fast = timed(lambda: null_text(*given, variant="fast", inner_steps=asked.updates, **told), asked)
    _, edit = timed(lambda: prompt_to_prompt(base, ours, case.target, mode="replace"), asked)
    return {"ddim": up, "null-text": paper, "null-text fast": fast, "prompt-to-prompt": edit}


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", choices=("pocket", "sd15"), default="pocket")
    parser.add_argument("--size", type=int, default=256, help="sd15: the side of its pictures, in pixels")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10, help="the paper's search: updates a step at most")
    parser.add_argument("--updates", type=int, default=4, help="the fast search: updates a step at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--quick", action="store_true", help="one photo, few steps: to see that it runs")
    parser.add_argument("--ours", action="store_true", help="ours alone, without the plain side")
    parser.add_argument(
        "--tolerance",
        type=float,
        help=f"of outputs: further apart is a failure (fp32: {TOLERANCE:g}; bf16: none)",
    )
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: of this process, on a busy machine"
    )
    asked = parser.parse_args()
    if asked.quick:
        asked.turns, asked.steps, asked.rounds, asked.updates = 1, 3, 2, 2
    if asked.tolerance is None and asked.precision == "fp32":
        asked.tolerance = TOLERANCE
    from editing_cases import cases
    from machine import processor
    from stable_diffusion_shape import build

    from motif.base import Base
    from motif.bench.plain_editing import Plain

    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory(prefix="motif-bench-") as work:
        folder = str(build(Path(work), side=asked.size)) if asked.base == "sd15" else "pocket"
        base = Base.load(folder, device=asked.device, precision=asked.precision)
    name = "pocket" if asked.base == "pocket" else f"Stable Diffusion 1.5's shapes at {asked.size} px"
    where = processor() if asked.device == "cpu" else torch.cuda.get_device_name()
    print(f"{name}, {asked.precision}, {asked.steps} steps, at most {asked.rounds} updates a step (fast: "
          f"{asked.updates}), {asked.threads} threads, {asked.turns} photos, {asked.clock} s, {where}, "
          f"{date.today()}\n")  # fmt: skip
    # words are replaced one for one on the plain side: what adds words, or a style, is left out
    chosen = [case for case in cases(20) if case.kind in ("class", "colour", "context")]
    order = [chosen[i * len(chosen) // (asked.turns + 1)] for i in range(asked.turns + 1)]
    short = argparse.Namespace(**{**vars(asked), "steps": 3, "rounds": 1, "updates": 1})
    if asked.ours:
        alone(base, order[0], short)  # first uses are slower
        rows = [alone(base, case, asked) for case in order[1:]]
        there = (asked.base, asked.size, asked.steps) == ("sd15", 512, 50) and asked.device != "cpu"
        print("| | seconds of one photo |\n|---|---|")
        for row in rows[0]:
            print(f"| {row} | {statistics.median(one[row] for one in rows):.2f} |")
        print("\n".join(["", *on_gpu(rows if there else None)]))
        return
    warm = Plain(base, short.steps, GUIDANCE)
    warm.unet.to(memory_format=torch.contiguous_format)
    turn(base, warm, order[0], short, "ours")  # of both sides: first uses are slower
    del warm
    plain = Plain(base, asked.steps, GUIDANCE)
    plain.unet.to(memory_format=torch.contiguous_format)  # as a release loads it
    seconds: dict[str, list[tuple[float, float]]] = {}
    gaps: dict[str, list[float]] = {}
    psnr: list[tuple[float, float]] = []
    for number, case in enumerate(order[1:]):
        found = turn(base, plain, case, asked, ("ours", "plain")[number % 2])
        psnr.append(found.pop("psnr"))
        for row, (pair, apart) in found.items():
            seconds.setdefault(row, []).append(pair)
            gaps.setdefault(row, []).append(apart)
    if not report(asked, seconds, gaps, psnr):
        sys.exit(1)


if __name__ == "__main__":
    main()
