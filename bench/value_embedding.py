"""StyleDiffusion's ablations on held-out pictures: its attention loss, what it learns, its cost, and short captions.

`python bench/value_embedding.py` inverts pictures of `bench/editing.py` by value-embedding with and without its
attention loss, by learning the values' input without a mapping, by fitting the text embedding (keys and values), and
by null-text, with full captions; PSNR and SSIM of the reconstruction, and seconds of a timestep. StyleDiffusion makes
its release's updates, 100 at the first step, with the mapping and without. Then once more with captions that name the
object alone ("a photo of a cat"), and edits those whose object changes (null-text by Prompt-to-Prompt, value-embedding
by P2Plus, as the paper does): NS-LPIPS and structure distance to the source. Leaves OUT/value-embedding/cells and
OUT/short-captions/cells for `make reproduction`, a cell for each picture and row; what is there is not made again.
About 20 minutes of one core; `--quick` is one picture and few steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import editing_cases
from cells import cell, code_of, known_by
from editing_cases import cases

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "null-text": ("null-text", {}),
    "attention loss": ("value-embedding", {"attention_weight": 1.0}),
    "no attention loss": ("value-embedding", {"attention_weight": 0.0}),
    "no mapping": ("value-embedding", {"head": "free"}),
    "text-embedding": ("text-embedding", {}),
}
SHORT = {"null-text": "prompt-to-prompt", "value-embedding": "p2plus"}
"""How each is edited behind a short caption."""


def inverted(
    base: Any, method: str, photo: Any, caption: str, how: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """(an inversion, what its reconstruction scores and what it costs)."""
    from motif import measure, methods
    from motif.images import to_images

    found = methods.load("invert", method)(base, photo, caption, **how)
    again = to_images(base.decode(found.reconstruct(base)))
    return found, {
        "PSNR": [*measure.psnr(again, [photo]).per_image],
        "SSIM": [*measure.ssim(again, [photo]).per_image],
        "seconds a step": found.made.cost["seconds"] / how["steps"],
    }


def edited(base: Any, method: str, case: Any, how: dict[str, Any]) -> dict[str, Any]:
    """What changes outside of the edited region where the captions say little; reconstruction too."""
    from motif import measure, methods
    from motif.features.perceptual import Perceptual

    source, target = (f"a photo of a {noun}" for noun in case.blend)
    inversion, scores = inverted(base, method, case.before, source, how)
    (image,) = methods.load("edit", SHORT[method])(base, inversion, target).images
    lpips = Perceptual.load("pocket", paper="alex")
    outside = measure.ns_lpips([image], [case.before], masks=[case.mask], encoder=lpips)
    return scores | {
        "NS-LPIPS": [*outside.per_image],
        "structure": [*measure.structure([image], [case.before]).per_image],
    }


def main() -> None:
    """Invert, edit, score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.out /= "quick"  # its cells are no results
    from motif.base import Base

    base = Base.load("pocket", device="cpu")
    how: dict[str, Any] = {"steps": 5, "inner_steps": 1} if asked.quick else {"steps": asked.steps}
    chosen = cases(1 if asked.quick else asked.pictures)
    known = known_by(base, how, code_of(Path(editing_cases.__file__)))
    for number, case in enumerate(chosen):
        for row, (method, settings) in ROWS.items():

            def scored(
                case: Any = case, method: str = method, settings: dict[str, Any] = settings
            ) -> dict[str, Any]:
                return inverted(base, method, case.before, case.source, how | settings)[1]

            cell(
                asked.out / "value-embedding" / "cells", f"{number:02d}", row, known, scored,
                by=[f"invert {method}"],
            )  # fmt: skip
    pairs = [
        case for case in cases(5 if asked.quick else 20) if case.kind == "class" and len(case.blend) == 2
    ]
    for number, case in enumerate(pairs[:1] if asked.quick else pairs):
        for method in SHORT:

            def done(case: Any = case, method: str = method) -> dict[str, Any]:
                return edited(base, method, case, how)

            cell(
                asked.out / "short-captions" / "cells", f"{number:02d}", method, known, done,
                by=[f"invert {method}", f"edit {SHORT[method]}"],
            )  # fmt: skip


if __name__ == "__main__":
    main()
