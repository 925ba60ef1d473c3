"""DreamBooth: a concept in all weights of the UNet, behind a rare word, with the class kept by a prior.

    L = E ‖ x̂(x_t, c) − x ‖² + λ E ‖ x̂(x'_t, c_class) − x' ‖²           x' the base's own pictures of the class; λ = 1

Ruiz et al. 2023 (arXiv 2208.12242), section 3; card 7. Both terms are errors of the network's prediction, as all train
it on latents. The word is either a rare one of the vocabulary, "a sks cat", or a token that starts from one. With
`lora` the attention layers learn W + up down instead (Hu et al. 2021), and nothing else does. Several concepts share
every step, as in Custom Diffusion's comparison of pairs (Kumari et al. 2023, appendix).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

from motif.base import Base
from motif.errors import InputError
from motif.learn.examples import Examples
from motif.learn.lesson import Lesson
from motif.learn.recipes import WHOLE
from motif.learn.starts import everything, rare_rows, text_weights, weights
from motif.learn.trained import Rates
from motif.learn.training import Training, method
from motif.tokens import without_tokens

PAPER = {
    "steps": 800, "batch_size": 1, "lr": 5e-6, "token_lr": 0.0, "prior_count": 200, "prior_steps": 50, "masked": False,
}  # fmt: skip
"""The published recipe on Stable Diffusion (card 7: diffusers, with a prior); the word itself does not learn."""

LORA = {**PAPER, "steps": 500, "lr": 1e-4}

RECIPE = replace(WHOLE, resizing=replace(WHOLE.resizing, flip=0.0), max_norm=1.0)

RARE = "sks"
"""The word that everybody uses."""

LAYERS = re.compile(r"\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|self_attn\.(q|k|v|out)_proj)\.weight$")


@method("dreambooth", PAPER, variants={"lora": LORA}, scale_lr=False, checkpoint_every=500)
def dreambooth(
    base: Base,
    examples: Examples | Sequence[Examples],
    *,
    rare_word: str = RARE,
    token_lr: float | None = None,
    rare_tokens: Sequence[str] = ("ktn", "pll", "ucd"),
    train_text_encoder: bool = False,
    lora: int = 0,
    **training: Unpack[Training],
) -> Lesson:
    """Learn a concept from a few photos by DreamBooth.

    The prompt says the rare word, "a sks cat", or a <token>. The default class prompt is the prompt without it. Several
    concepts have a <token> each, and take as many steps for each.

    Args:
        rare_word: The word that stands for the concept in a prompt without a <token>.
        token_lr: The base learning rate of a <token>'s vector (paper: it stays a rare token's).
        rare_tokens: The vocabulary entries that a <token> starts from, in order.
        train_text_encoder: Learn the weights of the text encoders too.
        lora: Learn changes of this rank of the attention layers instead of all weights, by default in 500 steps at
            1e-4; 0 learns all.
    """
    if lora < 0:
        raise InputError(f"lora {lora}: a rank is positive, or 0 for whole weights")
    concepts = [examples] if isinstance(examples, Examples) else [*examples]
    wordless = [one for one in concepts if one.token is None]
    if wordless and len(concepts) > 1:
        raise InputError(
            f'of several concepts each has a <token>, and "{wordless[0].prompt}" names none: write <new1>, <new2>, ...'
        )
    text = text_weights(base, _adapted if lora else everything) if train_text_encoder else []
    return Lesson(
        RECIPE,
        Rates(weights=training.get("lr") or 0.0, words=token_lr or 0.0),
        [_class_prompt(one, rare_word) for one in concepts],
        weights=[*weights(base, _adapted if lora else everything), *text],
        rank=lora,
        words=rare_rows(base, [token for one in concepts for token in one.tokens], rare_tokens),
    )


def _class_prompt(examples: Examples, rare_word: str) -> list[str]:
    """The prompt without the word that names the concept."""
    named = _named(examples, rare_word)
    bare = re.sub(rf"(?<!\w){re.escape(named)}(?!\w)", " ", without_tokens(examples.prompt)).split()
    return [" ".join(bare)] if bare else []


def _adapted(name: str) -> bool:
    """Whether low-rank changes are learned of a weight: the attention layers' (card 7)."""
    return LAYERS.search(name) is not None


def _named(examples: Examples, rare_word: str) -> str:
    """The word that names the concept. InputError where the prompt names it by none."""
    if examples.token is not None and rare_word != RARE:
        raise InputError(f"the prompt names {examples.token}: leave the rare word {rare_word} out")
    if examples.token is not None:
        return examples.token
    if rare_word and re.search(rf"(?<!\w){re.escape(rare_word)}(?!\w)", examples.prompt):
        return rare_word
    raise InputError(
        f'the prompt "{examples.prompt}" names neither a <token> nor the rare word "{rare_word}": write '
        f'"a {rare_word or RARE} cat", or say which word it is (--rare-word)'
    )
