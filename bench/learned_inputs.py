"""StyleDiffusion's figure 13, right: whose input of cross-attention is learned, the values', the keys', or both.

`python bench/learned_inputs.py` inverts held-out pictures of `bench/editing.py` whose object changes by value-embedding
with its release's updates, and edits them by P2Plus, with the default windows: how well the edit shows the target
(CLIP-T, and how much more than the source's words), what changes outside of the object (NS-LPIPS), and PSNR of the
reconstruction. Leaves OUT/learned-inputs/cells for `make reproduction`, and a sheet; what is there is not made again.
About 10 minutes of one core; `--quick` is one picture and few steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import editing_cases
from cells import cell, code_of, known_by
from editing_cases import cases

ROWS = ("values", "keys", "both")


def edited(base: Any, case: Any, inputs: str, how: dict[str, Any], kept: list[Any]) -> dict[str, Any]:
    """What an edit scores whose inversion learned this input; the picture goes to those that are kept."""
    from motif import measure, methods
    from motif.features.perceptual import Perceptual
    from motif.images import to_images

    found = methods.load("invert", "value-embedding")(base, case.before, case.source, inputs=inputs, **how)
    again = to_images(base.decode(found.reconstruct(base)))
    (image,) = methods.load("edit", "p2plus")(base, found, case.target).images
    kept.append(image)
    lpips = Perceptual.load("pocket", paper="alex")
    shown = {text: measure.clip_t([image], text).per_image[0] for text in (case.target, case.source)}
    return {
        "target": [shown[case.target]],
        "target over source": [shown[case.target] - shown[case.source]],
        "outside": [*measure.ns_lpips([image], [case.before], masks=[case.mask], encoder=lpips).per_image],
        "PSNR": [*measure.psnr(again, [case.before]).per_image],
    }


def main() -> None:
    """Invert, edit, score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.out /= "quick"  # its cells are no results
    from motif.base import Base
    from motif.grids import grid
    from motif.images import save_image

    base, folder = Base.load("pocket", device="cpu"), asked.out / "learned-inputs"
    how: dict[str, Any] = {"steps": 4, "inner_steps": 2} if asked.quick else {"steps": 10}
    chosen = [case for case in cases(5 if asked.quick else 20) if case.kind == "class"]
    sheet: list[Any] = []
    for number, case in enumerate(chosen[:1] if asked.quick else chosen):
        kept: list[Any] = [case.before]
        for inputs in ROWS:
            known = known_by(base, how, code_of(Path(editing_cases.__file__)))
            by = ["invert value-embedding", "edit p2plus"]
            make = lambda case=case, inputs=inputs, kept=kept: edited(base, case, inputs, how, kept)  # noqa: E731
            cell(folder / "cells", f"{number:02d}", inputs, known, make, by=by)
        if len(kept) == len(ROWS) + 1:
            sheet += kept
            save_image(grid(sheet, columns=len(kept)), folder / "sheet.png")


if __name__ == "__main__":
    main()
