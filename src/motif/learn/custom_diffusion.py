"""Custom Diffusion: a concept in the keys and values of cross-attention, and one new word.

Kumari et al. 2023 (arXiv 2212.04488), section 3.1 and appendix; card 1. Trained are Wᵏ and Wᵛ of every cross-attention
layer and the vector of a new token V*, started from a rare token, on

    L = E ‖ m (ε − ε_θ(x_t, c, t)) ‖² / |m|        photos, resized and masked (`augment`), and the prior's pictures

No gradient reaches Wᵏ, Wᵛ through the start-of-text token. Several concepts share every step, each with its part of the
batch; a base that wears a concept is learned on as it is (the paper's sequential training). Ours beyond the paper: the
token is a parameter of its own (no Adam over the whole embedding, no decay of other words), the latents of whole
pictures and the text of prior captions are computed once, and equal captions of a batch are encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from motif.base import Base
from motif.learn.examples import Examples
from motif.learn.lesson import Lesson
from motif.learn.recipes import RECIPES
from motif.learn.starts import class_prompts, rare_rows, weights
from motif.learn.trained import Rates
from motif.learn.training import Training, method
from motif.weights import is_cross, is_cross_kv

PAPER = {
    "steps": 250, "batch_size": 4, "lr": 1e-5, "token_lr": None, "prior_count": 200, "prior_steps": 50, "augment": True,
    "masked": False,
}  # fmt: skip
"""The paper's numbers (card 1.8), which a base's advice can replace; the token's rate is the others'."""

TRAINABLE = {"crossattn_kv": is_cross_kv, "crossattn": is_cross}


@method("custom-diffusion", PAPER)
def custom_diffusion(
    base: Base,
    examples: Examples | Sequence[Examples],
    *,
    token_lr: float | None = None,
    trained: Literal["crossattn_kv", "crossattn"] = "crossattn_kv",
    rare_tokens: Sequence[str] = ("ktn", "pll", "ucd"),
    recipe: Literal["compvis", "adobe-diffusers", "diffusers"] = "compvis",
    augment: bool | None = None,
    **training: Unpack[Training],
) -> Lesson:
    """Learn concepts from a few photos of each by Custom Diffusion.

    What is not given comes from the base's advice where it has some (pocket does), and from the paper elsewhere.
    Several concepts take as many steps for each. Rates are multiplied by the whole batch (paper: 1e-5 x 8 = 8e-5).

    Args:
        token_lr: The new token's base learning rate (paper: the same as lr); 0 leaves it as it starts.
        trained: crossattn_kv (the paper), or crossattn: q, k, v and out of the cross-attention layers (faces).
        rare_tokens: The vocabulary entries that new tokens start from, in order (paper: ktn, id 42170; pll, 47629);
            tokens of worn concepts, such as an encoded photo's <S>; or <random>, a row drawn as the table's are.
        recipe: compvis (gave the paper's numbers), adobe-diffusers or diffusers: augmentation, mask and weights of
            each.
        augment: Resize the photos and say so in the prompt.
    """
    concepts = [examples] if isinstance(examples, Examples) else examples
    chosen, tokens = RECIPES[recipe], [token for one in concepts for token in one.tokens]
    return Lesson(
        chosen,
        Rates(weights=training.get("lr") or 0.0, words=token_lr or 0.0),
        [class_prompts(one, chosen) for one in concepts],
        weights=weights(base, TRAINABLE[trained]),
        words=rare_rows(base, tokens, rare_tokens),
        augment=bool(augment),
    )
