"""What `bench/editing.py` writes of its results: tables, the papers' orderings, and a sheet of pictures per edit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curves import over

from reproduction import word_of

INVERSIONS = (
    "ddim", "null-text", "null-text-plus", "text-embedding", "negative-prompt", "proximal", "direct", "value-embedding",
)  # fmt: skip
EDITS = (
    "prompt-to-prompt", "p2p + blend", "p2plus", "word-swap", "pix2pix-zero", "pix2pix-zero, two captions",
    "style-transfer", "sdedit",
)  # fmt: skip
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
PHOTO = "(photo)"


def number(score: Any, digits: int, scale: float = 1.0) -> str:
    """ "0.123 ± 0.004"."""
    if score is None:
        return ""
    error = "" if score.standard_error is None else f" ± {score.standard_error * scale:.{digits}f}"
    return f"{score.mean * scale:.{digits}f}{error}"


def difference(a: Any, b: Any) -> tuple[float, float | None]:
    """Mean of a − b over the pictures that have both, and its standard error; of one picture there is none."""
    pairs = zip(a.per_image, b.per_image, strict=True)
    gaps = [x - y for x, y in pairs if x is not None and y is not None]
    mean = math.fsum(gaps) / len(gaps)
    if len(gaps) == 1:
        return mean, None
    spread = math.fsum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
    return mean, math.sqrt(spread / len(gaps))


def verdict(claim: str, gap: float, error: float | None, unit: str = "", scale: float = 1.0) -> str:
    """A line that says whether a claim holds: `gap` is positive where it does."""
    more = "" if error is None else f" ± {error * scale:.3g}"
    return f"- {claim}: {word_of(gap, error)} ({gap * scale:+.3g}{more}{unit and ' ' + unit})."


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
    for edit in EDITS:
        for name in (PHOTO, *INVERSIONS):
            if (name, edit) not in found:
                continue
            mine, plain = found[name, edit], found.get((name, "prompt-to-prompt"))
            rows.append((edit, name, mine))
            if plain and edit == "p2p + blend" and len(mine.cases) < len(plain.cases):
                rows.append(("prompt-to-prompt, of the same", name, part(plain, mine.cases)))
    for edit, name, r in rows:
        s, n = r.scores, len(r.cases)
        cells = [number(s["structure"], 2, 1e3), number(s.get("MSE outside"), 1, 1e4),
                 number(s.get("NS-LPIPS"), 2, 1e3), number(s["CLIP-T"], 3), number(s["like true edit"], 3),
                 number(s["like source"], 3), f"{r.seconds / n:.2f}", f"{r.evaluations / n:.0f}"]  # fmt: skip
        lines.append(f"| {edit} | {name} | {n} | " + " | ".join(cells) + " |")
    return lines


def part(result: Any, cases: Sequence[int]) -> Any:
    """The same of some of its pictures; seconds and evaluations are the mean's share."""
    places = [result.cases.index(case) for case in cases]
    share = len(places) / len(result.cases)
    scores: dict[str, Any] = {}
    for key, score in result.scores.items():
        values = tuple(score.per_image[i] for i in places)
        if any(value is not None for value in values):
            scores[key] = replace(score, per_image=values, images=())
    return replace(result, cases=[*cases], images=[result.images[i] for i in places if result.images], scores=scores,
                   seconds=result.seconds * share, evaluations=result.evaluations * share)  # fmt: skip


def by_kind(cases: Sequence[Any], found: Any) -> list[str]:
    """A table for what tells kinds of edits apart: every edit's mean over the pictures of each kind."""
    kinds = [*dict.fromkeys(case.kind for case in cases)]
    lines: list[str] = []
    for key, title, digits, scale in (("like true edit", "Like the true edit", 3, 1.0),
                                      ("structure", "Structure distance x 10³", 1, 1e3),
                                      ("NS-LPIPS", "Change outside of the mask, NS-LPIPS x 10³", 1, 1e3)):  # fmt: skip
        lines += [f"\n{title}, by kind:\n", f"| edit | inversion | {' | '.join(kinds)} |"]
        lines.append("|---" * (2 + len(kinds)) + "|")
        for edit in EDITS:
            for name in (name for name in (PHOTO, *INVERSIONS) if (name, edit) in found):
                whole, cells = found[name, edit], list[str]()
                for kind in kinds:
                    mine = [i for i in whole.cases if cases[i].kind == kind]
                    cells.append(number(part(whole, mine).scores.get(key), digits, scale) if mine else "")
                lines.append(f"| {edit} | {name} | {' | '.join(cells)} |")
    return lines


def orderings(scores: Any, found: Any, sweep: Any) -> list[str]:
    """Whether what the papers report holds here, by the rule of `reproduction.py`: differences are paired, with
    standard errors. A claim whose rows were not asked for is left out."""
    lines: list[str] = []

    def told(claim: str, key: str, a: Any, b: Any, sign: int, unit: str = "", scale: float = 1.0) -> None:
        if a and b and key in a and key in b:
            mean, error = difference(a[key], b[key])
            lines.append(verdict(claim, mean * sign, error, unit, scale))

    def of(name: str, edit: str) -> Any:
        return found[name, edit].scores if (name, edit) in found else None

    for name, who in (("null-text", "null-text"), ("value-embedding", "StyleDiffusion")):
        told(f"{who} reconstructs better than DDIM", "PSNR", scores.get(name), scores.get("ddim"), 1, "dB")
    told("StyleDiffusion reconstructs better than null-text", "PSNR", scores.get("value-embedding"),
         scores.get("null-text"), 1, "dB")  # fmt: skip
    for edit in ("prompt-to-prompt", "p2plus"):
        told(f"StyleDiffusion changes less outside the mask than null-text ({edit}, NS-LPIPS)", "NS-LPIPS",
             of("value-embedding", edit), of("null-text", edit), -1, "x 10⁻³", 1e3)  # fmt: skip
    for name in ("null-text", "direct"):
        a, b = of(name, "prompt-to-prompt"), of(PHOTO, "sdedit")
        told(f"Prompt-to-Prompt ({name}) changes less outside the mask than SDEdit at strength .6 (NS-LPIPS)",
             "NS-LPIPS", a, b, -1, "x 10⁻³", 1e3)  # fmt: skip
        told(
            f"Prompt-to-Prompt ({name}) is more like the true edit than that SDEdit",
            "like true edit",
            a,
            b,
            1,
        )
    return [*lines, *(at_equal_likeness(sweep) if sweep else [])]


def at_equal_likeness(sweep: Mapping[tuple[str, float], Mapping[str, Any]]) -> list[str]:
    """Prompt-to-Prompt's curve over SDEdit's, each joined in the order of its strengths."""
    both = {edit: {s: scores for (name, s), scores in sweep.items() if name == edit}
            for edit in ("prompt-to-prompt", "sdedit")}  # fmt: skip
    found: list[dict[str, list[tuple[float, float]]]] = []
    for scores in both.values():
        columns = [zip(one["like true edit"].per_image, one["like source"].per_image, strict=True)
                   for _, one in sorted(scores.items())]  # fmt: skip
        found.append({str(i): [*curve] for i, curve in enumerate(zip(*columns, strict=True))})
    value = over(*found)
    claim = "Prompt-to-Prompt is more like its source than SDEdit at equal likeness to the true edit"
    if value.error is None:
        lines = [f"- {claim}: {word_of(value.mean, None)} ({value.note})."]
    else:
        lines = [f"{verdict(claim, value.mean, value.error).removesuffix(').')}; {value.note})."]
    for edit, scores in both.items():
        points = [f"{s:g}: {one['like true edit'].mean:.3f}, {one['like source'].mean:.3f}"
                  for s, one in sorted(scores.items())]  # fmt: skip
        lines.append(f"  - {edit} (strength: like the true edit, like the source): {'; '.join(points)}.")
    return lines


def picture(result: Any, case: int) -> Any:
    """What was made of a case; white where there is none."""
    from PIL import Image

    return (
        result.images[result.cases.index(case)]
        if case in result.cases
        else Image.new("RGB", (64, 64), "white")
    )


def sheets(cases: Sequence[Any], found: Any, folder: Path) -> None:
    """One for every edit: a row for every source, a column for every inversion whose pictures are there."""
    from motif.images import grid, save_image

    for edit in (*EDITS, "reconstruction"):
        names = [n for n in (PHOTO, *INVERSIONS) if (n, edit) in found and found[n, edit].images]
        if not names:
            continue
        cells: list[Any] = []
        labels: list[str] = []
        for i, case in enumerate(cases):
            cells += [case.before, case.after, case.mask]
            labels += [case.source, case.target, case.kind]
            for name in names:
                cells.append(picture(found[name, edit], i))
                labels.append(name if i in found[name, edit].cases else "")
        sheet = grid(cells, columns=3 + len(names), labels=labels, title=edit, cell=128)
        save_image(sheet, folder / f"{edit.replace(' + ', '-')}.png")


def overview(cases: Sequence[Any], found: Any, path: Path) -> None:
    """The last picture of each kind: source, true edit, and what the edits make of it."""
    from motif.images import grid, save_image

    columns = [("null-text", "prompt-to-prompt"), ("direct", "prompt-to-prompt"), ("direct", "p2p + blend"),
               ("value-embedding", "prompt-to-prompt"), ("ddim", "word-swap"), ("ddim", "pix2pix-zero"),
               (PHOTO, "sdedit"), ("direct", "style-transfer")]  # fmt: skip
    columns = [pair for pair in columns if pair in found and found[pair].images]
    last = {case.kind: i for i, case in enumerate(cases)}
    cells: list[Any] = []
    labels: list[str] = []
    for i in last.values():
        cells += [cases[i].before, cases[i].after]
        labels += [cases[i].source, cases[i].target]
        for name, edit in columns:
            cells.append(picture(found[name, edit], i))
            labels.append(f"{edit}, {name}" if i in found[name, edit].cases else "")
    save_image(grid(cells, columns=2 + len(columns), labels=labels, cell=104), path)
