"""Custom-Edit's way to learn: Custom Diffusion with a word for the looks, varied templates, and crops.

Choi et al. 2023 (arXiv 2305.15779), section 2.1 and appendix; card 8. The concept is named "V* [modifier] [class]"
("<new1> patterned teapot"); two thirds of the photos are whole, under five templates, one third are crops that say so.
The crop's size and the rate are not published: crops are Custom Diffusion's zooms, and the rate is its rule at batch
2 + 2, 4e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

from motif.base import Base
from motif.learn.augment import Resizing
from motif.learn.custom_diffusion import PAPER as CUSTOM_DIFFUSION
from motif.learn.custom_diffusion import custom_diffusion
from motif.learn.examples import Examples
from motif.learn.lesson import Lesson
from motif.learn.recipes import COMPVIS
from motif.learn.starts import require_word
from motif.learn.training import Training, method

PAPER = {**CUSTOM_DIFFUSION, "steps": 500, "batch_size": 2}

RECIPE = replace(
    COMPVIS,
    resizing=Resizing(
        shrink=False,
        plain=tuple(f"{kind} of a " for kind in "photo rendering illustration depiction rendition".split()),
        zoomed=tuple(f"{kind} photo of a " for kind in ("zoomed in", "close up in", "cropped in")),
    ),
)


@method("custom-edit", PAPER)
def custom_edit(
    base: Base,
    examples: Examples,
    *,
    token_lr: float | None = None,
    trained: Literal["crossattn_kv", "crossattn"] = "crossattn_kv",
    rare_tokens: Sequence[str] = ("ktn", "pll", "ucd"),
    augment: bool | None = None,
    **training: Unpack[Training],
) -> Lesson:
    """Learn the looks of a concept for editing by Custom-Edit's recipe.

    The prompt names the concept with a modifier before its class: "photo of a <new1> patterned teapot". Its words from
    the token on stand in the templates; photos' own captions are not used.

    Args:
        token_lr: The new token's base learning rate (paper: the same as lr); 0 leaves it as it starts.
        trained: crossattn_kv (the paper), or crossattn: q, k, v and out of the cross-attention layers.
        rare_tokens: The vocabulary entries that new tokens start from, in order.
        augment: Crop a third of the photos and say so.
    """
    require_word(examples, "custom-edit")
    same: dict[str, Any] = {
        "token_lr": token_lr,
        "rare_tokens": rare_tokens,
        "trained": trained,
        "augment": augment,
    }
    lesson = custom_diffusion.plan(base, examples, **same, **training)
    return replace(lesson, recipe=RECIPE, captions=[[examples.phrase] * len(examples)])
