"""What `bench/editing.py` writes of its results: tables, the papers' orderings, and a sheet of pictures per edit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

INVERSIONS = (
    "ddim", "null-text", "null-text-plus", "text-embedding", "negative-prompt", "proximal", "direct", "value-embedding",
)  # fmt: skip
EDITS = ("prompt-to-prompt", "p2p + blend", "p2plus", "word-swap", "pix2pix-zero", "style-transfer", "sdedit")
STRENGTHS = (0.2, 0.4, 0.6, 0.8)
PHOTO = "(photo)"


def number(score: Any, digits: int, scale: float = 1.0) -> str:
    """ "0.123 ± 0.004"."""
    if score is None:
        return ""
    error = "" if score.standard_error is None else f" ± {score.standard_error * scale:.{digits}f}"
    return f"{score.mean * scale:.{digits}f}{error}"


def difference(a: Any, b: Any) -> tuple[float, float]:
    """Mean of a − b over the pictures that have both, and its standard error."""
    pairs = zip(a.per_image, b.per_image, strict=True)
    gaps = [x - y for x, y in pairs if x is not None and y is not None]
    mean = math.fsum(gaps) / len(gaps)
    spread = math.fsum((gap - mean) ** 2 for gap in gaps) / max(len(gaps) - 1, 1)
    return mean, math.sqrt(spread / len(gaps))


def tables(bounds: Any, scores: Any, found: Any) -> list[str]:
    """Both tables."""
    lines = ["| inversion | PSNR | SSIM | seconds | forwards | backwards |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {number(s['PSNR'], 2)} | {number(s['SSIM'], 3)} | {s['seconds']:.1f} | {s['forwards']:.0f} "
        f"| {s['backwards']:.0f} |"
        for name, s in scores.items()
    ]
    lines += [f"\nThe VAE alone reaches {next(iter(scores.values()))['VAE']:.2f} dB.\n"]
    lines += [
        "| edit | inversion | n | structure x 10³ | MSE outside x 10⁴ | NS-LPIPS x 10³ | CLIP-T | like true edit "
        "| like source | seconds | evaluations |", "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    rows = [(name, "", result) for name, result in bounds.items()]
    rows += [(edit, name, found[name, edit]) for edit in EDITS for name in (PHOTO, *INVERSIONS)
             if (name, edit) in found]  # fmt: skip
    for edit, name, r in rows:
        s, n = r.scores, len(r.cases)
        cells = [number(s["structure"], 2, 1e3), number(s.get("MSE outside"), 1, 1e4),
                 number(s.get("NS-LPIPS"), 2, 1e3), number(s["CLIP-T"], 3), number(s["like true edit"], 3),
                 number(s["like source"], 3), f"{r.seconds / n:.2f}", f"{r.evaluations / n:.0f}"]  # fmt: skip
        lines.append(f"| {edit} | {name} | {n} | " + " | ".join(cells) + " |")
    return lines


def orderings(scores: Any, found: Any, sweep: Any) -> list[str]:
    """Whether what the papers report holds here; differences are paired, with standard errors."""
    lines: list[str] = []

    def told(claim: str, a: Any, b: Any, sign: int, unit: str, scale: float = 1.0) -> None:
        mean, error = difference(a, b)
        verdict = "no difference beyond two errors" if abs(mean) < 2 * error else (
            "holds" if mean * sign > 0 else "does not hold")  # fmt: skip
        lines.append(f"- {claim}: {verdict} ({mean * scale:+.2f} ± {error * scale:.2f} {unit}).")

    for name, who in (("null-text", "null-text"), ("value-embedding", "StyleDiffusion")):
        told(f"{who} reconstructs better than DDIM", scores[name]["PSNR"], scores["ddim"]["PSNR"], 1, "dB")
    for edit in ("prompt-to-prompt", "p2plus"):
        a, b = found["value-embedding", edit].scores, found["null-text", edit].scores
        told(f"StyleDiffusion changes less outside the mask than null-text ({edit}, NS-LPIPS)", a["NS-LPIPS"],
             b["NS-LPIPS"], -1, "x 10⁻³", 1e3)  # fmt: skip
    for name in ("null-text", "direct"):
        a, b = found[name, "prompt-to-prompt"].scores, found[PHOTO, "sdedit"].scores
        told(f"Prompt-to-Prompt ({name}) changes less outside the mask than SDEdit at strength .6 (NS-LPIPS)",
             a["NS-LPIPS"], b["NS-LPIPS"], -1, "x 10⁻³", 1e3)  # fmt: skip
        told(f"Prompt-to-Prompt ({name}) is as like the true edit as that SDEdit, or more", a["like true edit"],
             b["like true edit"], 1, "")  # fmt: skip
    lines.append("- Prompt-to-Prompt is more like its source than SDEdit at equal likeness to the true edit:")
    curve = sorted((sweep["sdedit", s].scores["like true edit"].mean, sweep["sdedit", s].scores["like source"].mean)
                   for s in STRENGTHS)  # fmt: skip
    for s in STRENGTHS:
        mine = sweep["prompt-to-prompt", s].scores
        x, y = mine["like true edit"].mean, mine["like source"].mean
        reached = [b0 + (b1 - b0) * (x - a0) / (a1 - a0 or 1)
                   for (a0, b0), (a1, b1) in pairwise(curve) if a0 <= x <= a1]  # fmt: skip
        other = f"SDEdit's curve runs from {curve[0][0]:.3f} to {curve[-1][0]:.3f} and has no such point"
        if reached:
            other = f"SDEdit is at {reached[0]:.3f} there: {'holds' if y > reached[0] else 'does not hold'}"
        lines.append(f"  - strength {s:g}: {x:.3f} like the true edit, {y:.3f} like the source; {other}.")
    points = [f"{s:g}: {sweep['sdedit', s].scores['like true edit'].mean:.3f}, "
              f"{sweep['sdedit', s].scores['like source'].mean:.3f}" for s in STRENGTHS]  # fmt: skip
    return [*lines, f"  - SDEdit's (strength: like the true edit, like the source): {'; '.join(points)}."]


def sheets(cases: Sequence[Any], found: Any, folder: Path) -> None:
    """One for every edit: a row for every source, a column for every inversion."""
    from PIL import Image

    from motif.images import grid, save_image

    for edit in (*EDITS, "reconstruction"):
        names = [name for name in (PHOTO, *INVERSIONS) if (name, edit) in found]
        cells: list[Any] = []
        labels: list[str] = []
        for i, case in enumerate(cases):
            cells += [case.before, case.after, case.mask]
            labels += [case.source, case.target, case.kind]
            for name in names:
                result = found[name, edit]
                there = i in result.cases
                cells.append(
                    result.images[result.cases.index(i)] if there else Image.new("RGB", (64, 64), "white")
                )
                labels.append(name if there else "")
        sheet = grid(cells, columns=3 + len(names), labels=labels, title=edit, cell=128)
        save_image(sheet, folder / f"{edit.replace(' + ', '-')}.png")


def overview(cases: Sequence[Any], found: Any, path: Path) -> None:
    """The last picture of each kind: source, true edit, and what the edits make of it."""
    from PIL import Image

    from motif.images import grid, save_image

    columns = [("null-text", "prompt-to-prompt"), ("direct", "prompt-to-prompt"), ("direct", "p2p + blend"),
               ("value-embedding", "prompt-to-prompt"), ("ddim", "word-swap"), ("ddim", "pix2pix-zero"),
               (PHOTO, "sdedit"), ("direct", "style-transfer")]  # fmt: skip
    columns = [pair for pair in columns if pair in found]
    last = {case.kind: i for i, case in enumerate(cases)}
    cells: list[Any] = []
    labels: list[str] = []
    for i in last.values():
        cells += [cases[i].before, cases[i].after]
        labels += [cases[i].source, cases[i].target]
        for name, edit in columns:
            result = found[name, edit]
            there = i in result.cases
            cells.append(
                result.images[result.cases.index(i)] if there else Image.new("RGB", (64, 64), "white")
            )
            labels.append(f"{edit}, {name}" if there else "")
    save_image(grid(cells, columns=2 + len(columns), labels=labels, cell=104), path)
