"""Every method's short run, as one process or one of several takes it: what `test_ranks` compares.

Started by a launcher as `two_ranks.py PHOTOS OUT`; rank 0 leaves OUT/CASE.pt for each case.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import tiny
from motif import methods
from motif.learn import Examples, keep
from motif.learn.descent import Descent

PROMPT = "photo of a <new1> cat"
ODD = {"batch_size": 3, "prior": "base", "ema": 0.5, "min_snr": 5.0}
EVEN = {"batch_size": 4, "prior": "generate", "prior_count": 3, "prior_steps": 1, "accumulate": 2}
KEPT = {"batch_size": 2, "prior": "none", "keep": "best", "keep_encoder": "pocket"}
CASES = {f"{name} sd1": ("sd1", name, ODD) for name in sorted(methods.LEARN)} | {
    "custom-diffusion sd1 even": ("sd1", "custom-diffusion", EVEN),
    "custom-diffusion sd2-v": ("sd2-v", "custom-diffusion", ODD),
    "custom-diffusion sdxl": ("sdxl", "custom-diffusion", EVEN),
    "ico sdxl": ("sdxl", "ico", ODD),
    "textual-inversion sd1 kept": ("sd1", "textual-inversion", KEPT),
}


def taken(case: str, photos: Path, folder: Path) -> dict[str, Any]:
    """The losses, each step's gradients and the settings of a run of three steps, or of two where it ends itself."""
    family, name, settings = CASES[case]
    losses, gradients, step = list[float | None](), list[dict[str, torch.Tensor]](), Descent.step

    def watched(self: Descent, k: int) -> None:
        gradients.append({n: p.grad.clone() for n, p in self.parameters.items() if p.grad is not None})
        step(self, k)

    before = keep.SEEDS, keep.STEPS, keep.passed
    Descent.step, keep.SEEDS, keep.STEPS = watched, (0,), 2
    keep.passed = lambda start, readings, patience: readings[0].step if readings else None
    try:
        concept = methods.load("learn", name)(
            tiny.base_of(tiny.pipeline(family)), Examples(photos, PROMPT), steps=3, lr=1e-2, preview_every=2,
            checkpoint_every=2, folder=folder / case, on_progress=lambda p: losses.append(p.loss), **settings,
        )  # fmt: skip
    finally:
        Descent.step, (keep.SEEDS, keep.STEPS, keep.passed) = step, before
    values = {**concept.tokens, **{n: (change.full(),) for n, change in concept.changes.items()}}
    return {
        "losses": losses,
        "gradients": gradients,
        "values": values,
        "settings": dict(concept.record.settings),
    }


if __name__ == "__main__":
    place = Path(sys.argv[2])
    for case in CASES:
        found = taken(case, Path(sys.argv[1]), place)
        torch.save(found, place / f"{case} {os.environ['RANK']}.pt")
