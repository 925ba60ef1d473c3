"""Inversions x edits on pocket: `python bench/editing.py` (`--quick`: 5 pictures, fewer steps).

The pictures are `editing_cases`. All pictures of an inversion are inverted in one batch; an edit has its own prompt for
every picture, and runs picture by picture. StyleDiffusion makes its release's updates (100 at the first step, falling),
as null-text makes its ten. pix2pix-zero moves along banks of captions, and once more along the two captions alone.
Style transfer takes the style of another picture, drawn in the target's style by the renderer. The sweep of strengths
moves Prompt-to-Prompt's self maps alone, at cross maps until .2 and .6, and SDEdit's noise, of three seeds; each
picture's scores are means over those. Evaluations are forward passes: pix2pix-zero's backward passes
show in its seconds alone. Errors are standard errors over pictures; cost is per picture.

Parts that are done are small files, kept in docs/results/editing (`editing_parts`; of other pictures or steps than the
default's, under OUT), so that another session goes on. `--part 1/2` and `--part 2/2` share the work between two
processes; a run without `--part` makes what is missing and writes editing.md, editing.json, a sheet per edit and one of
all; of other pictures, steps or inversions than the default's into OUT/quick or OUT/part, which are no results.
Pictures are not kept: sheets show those made under OUT, and all of them with `--pictures-again`. About 25 minutes of
one core, 10 of them StyleDiffusion's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from cells import part_of, share
from editing_cases import cases
from editing_parts import Found, Plan, Result, Sweep, averaged, encoders, job, scored
from editing_report import INVERSIONS, by_kind, orderings, overview, sheets, tables

__all__ = ["Result", "averaged", "main"]

KEPT = Path(__file__).parents[1] / "docs" / "results" / "editing"
COUNT, STEPS = 20, 10
WORK = (
    "null-text", "value-embedding", "ddim", "null-text-plus", "text-embedding", "proximal", "negative-prompt", "direct",
)  # fmt: skip
"""The longest first; every other one is half of the work."""


def main() -> None:
    """Make what is not there, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench/editing"))
    parser.add_argument("--part", type=part_of, help="1/2: every second inversion alone, and no report")
    parser.add_argument("--pictures", type=int, default=COUNT)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--inversions", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--quick", action="store_true", help="5 pictures and 5 steps")
    parser.add_argument(
        "--pictures-again", action="store_true", help="make parts again whose pictures are not under OUT"
    )
    asked = parser.parse_args()
    import torch

    if asked.quick:
        asked.pictures, asked.steps = 5, 5
    full = (asked.pictures, asked.steps) == (COUNT, STEPS)
    whole = full and {*asked.inversions} == {*WORK}
    report = asked.out if whole else asked.out / ("quick" if asked.quick else "part")
    parts = KEPT if full else asked.out / f"parts-{asked.pictures}-{asked.steps}"
    plan = Plan(asked.pictures, asked.steps, parts, asked.out / "pictures", asked.pictures_again)
    torch.set_num_threads(
        1
    )  # what a table's seconds are of, and what two processes on two cores are best with
    found: Found = {}
    sweep: Sweep = {}
    for name in share(asked.inversions, asked.part):
        more, swept = job(plan, name)
        found |= more
        sweep |= swept
    if asked.part is None:
        write(plan, found, sweep, report)


def write(plan: Plan, found: Found, sweep: Sweep, out: Path) -> None:
    """The report, the results and the sheets."""
    out.mkdir(parents=True, exist_ok=True)
    chosen, models = cases(plan.count), encoders()
    sheets(chosen, found, out)
    overview(chosen, found, out / "overview.png")
    bounds = {
        name: scored(Result([*range(plan.count)], [getattr(c, which) for c in chosen]), chosen, models)
        for name, which in (("(nothing)", "before"), ("(the true edit)", "after"))
    }
    again = {name: found[name, "reconstruction"] for name in INVERSIONS if (name, "reconstruction") in found}
    scores = {name: r.scores | r.cost | {"seconds": r.seconds / plan.count} for name, r in again.items()}
    lines = [
        made_by(plan, [*found.values()]),
        *tables(bounds, scores, found),
        *by_kind(chosen, found),
        "\n## The papers' orderings\n",
        *orderings(scores, found, sweep),
    ]
    (out / "editing.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows: dict[str, dict[str, Any]] = {
        f"{edit} | {name}": {key: s.as_dict() for key, s in r.scores.items()}
        for (name, edit), r in found.items()
        if edit != "reconstruction"
    }
    rows |= {f"{edit} {s:g}": {key: score.as_dict() for key, score in scores_of.items()}
             for (edit, s), scores_of in sweep.items()}  # fmt: skip
    rows |= {name: {key: s.as_dict() for key, s in r.scores.items()} for name, r in again.items()}
    (out / "editing.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))


def made_by(plan: Plan, results: Sequence[Result]) -> str:
    """Where, when and with what the parts were made."""
    machines, days, codes = (sorted({getattr(r, key) for r in results}) for key in ("machine", "day", "code"))
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    more = f" by {len(codes)} states of motif's code" if len(codes) > 1 else ""
    return (
        f"`python bench/editing.py --pictures {plan.count} --steps {plan.steps}`, pocket's guidance, seed 0, one "
        f"thread of {', '.join(machines)}, {span}{more}; written {date.today()}. Mean ± standard error over pictures; "
        "seconds and evaluations of the denoiser per picture.\n"
    )


if __name__ == "__main__":
    main()
