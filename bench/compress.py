"""Two claims of Custom Diffusion that no other bench measures: compression, and which weights change most.

`python bench/compress.py` learns four held-out objects with Custom Diffusion, draws the exam's prompts with the whole
concept, with 60 % and 10 % of its singular values' sum and with rank 1, and scores them beside the files' sizes; then
fine-tunes all weights on two objects, and takes ‖W − W₀‖ / ‖W₀‖ of every matrix of cross-attention, of self-attention
and of the rest (the paper's figures 14 and 3). Leaves OUT/compress/cells and OUT/weights/cells for `make reproduction`;
what is there is not made again. About 12 minutes of one core; `--quick` is one object and two steps, to see that it
runs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cells import cell, exam, known_by, learned

OBJECTS = ("boat", "cactus", "car", "cat")
FORMS: Mapping[str, dict[str, Any]] = {
    "whole": {},
    "energy 0.6": {"energy": 0.6},
    "energy 0.1": {"energy": 0.1},
    "rank 1": {"rank": 1},
}
GROUPS = ("cross-attention", "self-attention", "other")


def megabytes(concept: Any) -> float:
    """Of the concept's file."""
    with tempfile.TemporaryDirectory() as folder:
        return concept.save(Path(folder) / "c.safetensors").stat().st_size / 1e6


def moved(base: Any, concept: Any) -> dict[str, list[float]]:
    """‖W − W₀‖ / ‖W₀‖ of every matrix that changed, by what it belongs to."""
    found: dict[str, list[float]] = {group: [] for group in GROUPS}
    for name, change in concept.changes.items():
        weight = base.models.parameter(name)
        if weight.ndim > 1:
            group = GROUPS[0 if ".attn2." in name else 1 if ".attn1." in name else 2]
            found[group].append(float(change.full().norm() / weight.norm()))
    return found


def main() -> None:
    """Learn, compress, draw, score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.out /= "quick"  # its cells are no results
    from motif.base import Base
    from motif.learn.compress import compress
    from motif.pocket.concepts import held_out

    base, by_name = Base.load("pocket", device="cpu"), {subject.name: subject for subject in held_out()}
    few: dict[str, Any] = {"steps": 2, "prior_count": 2, "prior_steps": 1} if asked.quick else {}
    how: dict[str, Any] = {"prompts": 8, "seeds": asked.seeds, "steps": 25}
    how |= {"prompts": 1, "seeds": 1, "steps": 2} if asked.quick else {}
    for name in OBJECTS[:1] if asked.quick else OBJECTS:
        subject = by_name[name]
        for form, settings in FORMS.items():

            def scored(subject: Any = subject, settings: dict[str, Any] = settings) -> dict[str, Any]:
                concept, _ = learned(
                    base, subject, "custom-diffusion", asked.out / "compress" / "concepts", **few
                )
                small = compress(concept, **settings) if settings else concept
                scores = exam(subject, base.wear(small), f"<new1> {subject.noun}", **how)
                return scores | {"megabytes": megabytes(small)}

            known, by = known_by(base, how, few), ["learn custom-diffusion"]
            cell(asked.out / "compress" / "cells", name, form, known, scored, by=by)
    for name in OBJECTS[:1] if asked.quick else OBJECTS[2:]:
        for group in GROUPS:

            def share(subject: Any = by_name[name], group: str = group) -> dict[str, Any]:
                concept, _ = learned(
                    base, subject, "fine-tune-all", asked.out / "weights" / "concepts", **few
                )
                return {"moved": moved(base, concept)[group]}

            known, by = known_by(base, few), ["learn fine-tune-all"]
            cell(asked.out / "weights" / "cells", name, group, known, share, by=by)


if __name__ == "__main__":
    main()
