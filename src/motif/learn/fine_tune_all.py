"""Fine-tuning the whole UNet with a new word: Custom Diffusion's baseline ("w/ fine-tune all").

Kumari et al. 2023 (arXiv 2212.04488), section 4 and appendix; card 1.2 and 1.8. As Custom Diffusion in everything but
that every weight of the UNet learns, at a tenth of the rate (8e-6 in all), for 500 steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

from motif.base import Base
from motif.learn.custom_diffusion import PAPER as CUSTOM_DIFFUSION
from motif.learn.custom_diffusion import custom_diffusion
from motif.learn.examples import Examples
from motif.learn.lesson import Lesson
from motif.learn.starts import everything, weights
from motif.learn.training import Training, method

PAPER = {**CUSTOM_DIFFUSION, "steps": 500, "lr": 1e-6}


@method("fine-tune-all", PAPER, checkpoint_every=500)
def fine_tune_all(
    base: Base,
    examples: Examples | Sequence[Examples],
    *,
    token_lr: float | None = None,
    rare_tokens: Sequence[str] = ("ktn", "pll", "ucd"),
    recipe: Literal["compvis", "adobe-diffusers", "diffusers"] = "compvis",
    augment: bool | None = None,
    **training: Unpack[Training],
) -> Lesson:
    """Learn concepts by fine-tuning the whole UNet and a new word.

    Args:
        token_lr: The new token's base learning rate (paper: the same as lr); 0 leaves it as it starts.
        rare_tokens: The vocabulary entries that new tokens start from, in order (paper: ktn, pll).
        recipe: compvis (gave the paper's numbers), adobe-diffusers or diffusers: augmentation, mask and weights of
            each.
        augment: Resize the photos and say so in the prompt.
    """
    same: dict[str, Any] = {
        "token_lr": token_lr,
        "rare_tokens": rare_tokens,
        "recipe": recipe,
        "augment": augment,
    }
    return replace(
        custom_diffusion.plan(base, examples, **same, **training), weights=weights(base, everything)
    )
