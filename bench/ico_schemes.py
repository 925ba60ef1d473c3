"""ICO's figure 8 on held-out objects: more vectors of the word, and more contexts around it.

`python bench/ico_schemes.py` learns four objects with ICO, the word of one, two and three vectors (contexts 4 + 2), and
two vectors with contexts of 1 + 1 beside the 4 + 2, each at pocket's advised rates for two numbers of steps; draws
eight prompts with four seeds and scores them. Leaves OUT/ico-schemes/cells for `make reproduction`; what is there is
not made again. About 25 minutes of one core; `--quick` is one object and two steps, to see that it runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cells import cell, exam, known_by, learned

OBJECTS = ("boat", "cactus", "car", "cat")
BASE = "base, class word"
SCHEMES: dict[str, dict[str, Any]] = {
    "vectors 1": {"vectors": 1},
    "vectors 2": {"vectors": 2},
    "vectors 3": {"vectors": 3},
    "contexts 2": {"before": 1, "after": 1, "vectors": 2},
}
"""What each row sets; "contexts 6" is "vectors 2", the scheme's own, under the name that figure 8's claim compares."""


def main() -> None:
    """Learn, draw, score."""
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
    from motif.pocket.concepts import held_out

    base, by_name = Base.load("pocket", device="cpu"), {subject.name: subject for subject in held_out()}
    few: dict[str, Any] = {"prior_count": 2, "prior_steps": 1} if asked.quick else {}
    how: dict[str, Any] = {"prompts": 8, "seeds": asked.seeds, "steps": 25}
    how |= {"prompts": 1, "seeds": 1, "steps": 2} if asked.quick else {}
    folder, steps = asked.out / "ico-schemes", (1, 2) if asked.quick else (100, 200)
    for name in OBJECTS[:1] if asked.quick else OBJECTS:
        subject, known = by_name[name], known_by(base, how, few, steps)
        cell(folder / "cells", name, BASE, known, lambda s=subject: exam(s, base, s.noun, **how))
        for row, settings in SCHEMES.items():

            def scored(subject: Any = subject, settings: dict[str, Any] = settings) -> dict[str, Any]:
                """Both numbers of steps, one after the other: a point of the curve is their mean."""
                found: dict[str, Any] = {}
                for count in steps:
                    concept, _ = learned(
                        base, subject, "ico", folder / "concepts", steps=count, **settings, **few
                    )
                    scores = exam(subject, base.wear(concept), f"<new1> {subject.noun}", **how)
                    found = {metric: [*found.get(metric, ()), *values] for metric, values in scores.items()}
                return found

            scores = cell(folder / "cells", name, row, known, scored)
            if row == "vectors 2":
                cell(folder / "cells", name, "contexts 6", known, lambda scores=scores: scores)


if __name__ == "__main__":
    main()
