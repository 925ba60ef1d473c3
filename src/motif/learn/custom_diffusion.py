"""Custom Diffusion: a concept in the keys and values of cross-attention, and one new word.

Kumari et al. 2023 (arXiv 2212.04488), section 3.1 and appendix; card 1. Trained are Wᵏ and Wᵛ of every cross-attention
layer and the vector of a new token V*, started from a rare token, on

    L = E ‖ m (ε − ε_θ(x_t, c, t)) ‖² / |m|        photos, resized and masked (`augment`), and the prior's pictures

No gradient reaches Wᵏ, Wᵛ through the start-of-text token. Ours beyond the paper: the token is a parameter of its own
(no Adam over the whole embedding, no decay of other words), the latents of whole pictures and the text of
prior captions are computed once, and equal captions of a batch are encoded once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.images import grid
from motif.lanes import draw
from motif.learn.augment import SMALL, ZOOMED
from motif.learn.batches import Batches, Shown
from motif.learn.examples import Examples, check_token
from motif.learn.fit import Progress, advised, fit
from motif.learn.prior import Prior, Source, find, gather
from motif.learn.recipes import RECIPES
from motif.learn.run import Run
from motif.learn.trained import Trained
from motif.tokens import TOKEN
from motif.versions import versions
from motif.weights import is_cross, is_cross_kv, select

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("motif")

PAPER = {
    "steps": 250, "batch_size": 4, "lr": 1e-5, "token_lr": None, "prior_count": 200, "prior_steps": 50, "augment": True,
    "masked": False,
}  # fmt: skip
"""The paper's numbers (card 1.8), which a base's advice can replace; the token's rate is the others'."""

HANDLED = ("base", "examples", "folder", "resume", "on_progress", "on_picture")
"""Parameters that are no settings."""

TRAINABLE = {"crossattn_kv": is_cross_kv, "crossattn": is_cross}


def custom_diffusion(
    base: Base,
    examples: Examples,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    token_lr: float | None = None,
    scale_lr: bool = True,
    prior: str = "generate",
    prior_count: int | None = None,
    prior_steps: int | None = None,
    prior_weight: float = 1.0,
    class_prompt: Sequence[str] = (),
    retrieve: bool = False,
    retrieve_threshold: float = 0.85,
    retrieve_encoder: str = "",
    resolution: int | None = None,
    masked: bool | None = None,
    trained: Literal["crossattn_kv", "crossattn"] = "crossattn_kv",
    rare_tokens: Sequence[str] = ("ktn", "pll", "ucd"),
    recipe: Literal["compvis", "adobe-diffusers", "diffusers"] = "compvis",
    augment: bool | None = None,
    gradient_checkpointing: bool = False,
    seed: int = 23,
    checkpoint_every: int = 50,
    preview_every: int | None = None,
    previews: Sequence[str] = (),
    folder: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> Concept:
    """Learn a concept from a few photos by Custom Diffusion.

    What is not given comes from the base's advice where it has some (pocket does), and from the paper elsewhere.

    Args:
        steps: Training steps (paper: 250 for one concept).
        batch_size: Photos per step; as many prior pictures come with them (paper: 4 + 4).
        lr: Base learning rate (paper: 1e-5); 0 learns the token alone.
        token_lr: The new token's base learning rate (paper: the same as lr); 0 leaves it as it starts.
        scale_lr: Multiply rates by the total batch, prior included (paper: 1e-5 x 8 = 8e-5).
        prior: none, generate, a folder of pictures, or a .txt file of captions.
        prior_count: How many prior pictures (paper: 200).
        prior_steps: Denoising steps of a generated prior picture (paper: 50).
        prior_weight: Weight of the prior's term.
        class_prompt: What the prior shows: drawn by it, retrieved by it, the caption of pictures without one. The
            default is the recipe's for every class word: "photo of a NOUN" (compvis), the bare word elsewhere and
            for a style.
        retrieve: Take from the prior folder only what CLIP finds nearest to the class prompt.
        retrieve_threshold: The least cosine of a retrieved caption with the class prompt (paper: 0.85).
        retrieve_encoder: The CLIP that retrieves: pocket, paper (ViT-B/32), a transformers folder or a hub id; the
            default is pocket's on pocket, and the paper's elsewhere.
        resolution: Side of the pictures to train on, in pixels; the default is the base's size.
        masked: Where a photo has a mask (NAME-mask.png, or alpha), learn its subject alone (paper: whole photos).
        trained: crossattn_kv (the paper), or crossattn: q, k, v and out of the cross-attention layers (faces).
        rare_tokens: The vocabulary entries that new tokens start from, in order (paper: ktn, id 42170; pll, 47629).
        recipe: compvis (gave the paper's numbers), adobe-diffusers or diffusers: augmentation, mask and weights of
            each.
        augment: Resize the photos and say so in the prompt (paper: yes).
        gradient_checkpointing: Keep few activations for backward and compute the others again: the same result in
            less memory, at about two thirds of the speed.
        seed: Seed of every random choice.
        checkpoint_every: Save a checkpoint every so many steps.
        preview_every: Draw the preview prompts every so many steps, and before the first; 0 is never. The default is
            50 where the run has a folder.
        previews: Preview prompts; the default is the photos' prompt.
        on_picture: Told of every prior picture that is drawn: how many, of how many.
    Raises:
        InputError: photos, prompt, prior or settings that cannot work, found before the first step.
    """
    given = {k: v for k, v in locals().items() if k not in HANDLED}
    settings = advised(base, "custom-diffusion", PAPER, given)
    use: Any = SimpleNamespace(**settings)
    _heard(use)
    if masked is None and use.masked and not any(photo.mask for photo in examples.photos):
        use.masked = settings["masked"] = False  # advice for photos that have masks
        log.info("no photo has a mask of its subject: whole photos are learned")
    use.token_lr = settings["token_lr"] = use.lr if use.token_lr is None else use.token_lr
    use.class_prompt = settings["class_prompt"] = _class_prompts(use, examples)
    side, chosen = use.resolution or base.size, RECIPES[recipe]
    shown = [*previews] or [examples.prompt]
    run = _run(use, folder, resume, shown, side)
    values = _checked(base, examples, use, side)
    prefixes = ("", *ZOOMED, *SMALL) if use.augment else ("",)
    seen = [prefix + photo.caption for photo in examples.photos for prefix in prefixes]
    values.on(base).tokenise([*shown, *seen])  # what is too long or unknown fails here, not at step 50
    source = _source(base, use)
    settings |= {"photos": examples.record(), "prior_content": source.content()}
    settings |= {"masks": examples.masks()} if use.masked else {}
    record = Record(
        "custom-diffusion", base.origin, dict(examples.nouns), examples.prompt, settings, versions()
    )
    run.check(record, use.steps)
    photos = Shown.all(base, examples, chosen, side, masked=use.masked)
    batches = Batches(
        base,
        photos,
        _prior(base, source, use, folder, on_picture),
        chosen,
        batch_size=use.batch_size,
        seed=seed,
        side=side,
        augment=use.augment,
    )
    total = use.batch_size * (2 if batches.prior_captions else 1) if scale_lr else 1
    log.info("learning rate %.3g, the token's %.3g (x %d)", use.lr * total, use.token_lr * total, total)
    for progress in fit(
        base,
        values,
        lambda dressed, step: batches.loss(dressed, step, prior_weight),
        record=record,
        steps=use.steps,
        lr=use.lr * total,
        token_lr=use.token_lr * total,
        max_norm=chosen.max_norm,
        gradient_checkpointing=gradient_checkpointing,
        run=run,
    ):
        if on_progress:
            on_progress(progress)
    return values.concept(base, record)


def _run(use: Any, folder: Path | None, resume: bool, shown: Sequence[str], side: int) -> Run:
    every = use.preview_every if use.preview_every is not None else (50 if folder else 0)
    if use.previews and not every:
        raise InputError("preview prompts are given and previews are off: set preview_every and a run folder")
    return Run(folder, resume, use.checkpoint_every, every, lambda dressed: _sheet(dressed, shown, side))


def _checked(base: Base, examples: Examples, use: Any, side: int) -> Trained:
    """The values to train, once everything that can be wrong with the settings has been looked at."""
    if min(use.steps, use.batch_size) < 1:
        raise InputError(f"steps {use.steps}, batch_size {use.batch_size}: both must be positive")
    if min(use.lr, use.token_lr) < 0 or not (use.lr or (use.token_lr and examples.tokens)):
        raise InputError(
            f"lr {use.lr}, token_lr {use.token_lr}: none may be negative, and one must be positive"
        )
    if use.prior_weight < 0:
        raise InputError(f"prior_weight {use.prior_weight}: 0 or more (--prior none leaves the prior out)")
    if not 0 <= use.seed < 2**63:
        raise InputError(f"seed {use.seed}: a seed is 0 or more, and less than 2^63")
    if base.dtype == torch.float16:
        raise InputError("training in fp16 loses small gradients: use --precision bf16 or fp32")
    base.latent_shape((side, side))
    for token in examples.tokens:
        check_token(base.models.readers[0].tokenizer, token)
    rare = _rare(base, examples.tokens, use.rare_tokens)
    return Trained.start(base, _names(base, use.trained) if use.lr else [], rare, examples.nouns)


def _heard(use: Any) -> None:
    """InputError for a setting of the prior that nothing would hear."""
    if not use.retrieve and (use.retrieve_encoder or use.retrieve_threshold != 0.85):
        raise InputError("retrieve_threshold and retrieve_encoder are of a retrieved prior: add --retrieve")
    if use.prior == "none" and (use.class_prompt or use.prior_weight != 1.0):
        raise InputError("class_prompt and prior_weight are of a prior, and the prior is none")


def _class_prompts(use: Any, examples: Examples) -> list[str]:
    """What the prior shows, as given, or of each class word: the recipe's prompt; the word alone where its token is a
    style's ("painting in the style of <new1> art": captions similar to "art"; card 1.4, 1.7)."""
    if given := use.class_prompt:
        return [given] if isinstance(given, str) else [*given]
    styles = re.findall(rf"\bstyle of (?:an? |the )?({TOKEN.pattern})", examples.prompt)
    prompt = RECIPES[use.recipe].class_prompt
    found = [("{}" if t in styles else prompt).format(noun) for t, noun in examples.nouns.items() if noun]
    return list(dict.fromkeys(found))


def _source(base: Base, use: Any) -> Source:
    """The pictures and captions of the prior, not drawn and not brought yet."""
    encoder = use.retrieve_encoder or ("pocket" if base.name == "pocket" else "paper")
    return find(
        use.prior,
        use.class_prompt,
        count=use.prior_count,
        retrieve=encoder if use.retrieve else "",
        threshold=use.retrieve_threshold,
        device=str(base.device),
    )


def _prior(
    base: Base,
    source: Source,
    use: Any,
    folder: Path | None,
    on_picture: Callable[[int, int], None] | None,
) -> Prior:
    """The pictures of the prior; kept in the run's folder where the base draws them."""
    return gather(
        base,
        source,
        steps=use.prior_steps,
        seed=use.seed,
        side=use.resolution,
        batch_size=2 * use.batch_size,
        cache=folder,
        on_picture=on_picture,
    )


def _names(base: Base, trained: str) -> list[str]:
    names = [f"unet.{name}" for name in select(base.models.unet, TRAINABLE[trained])]
    if not names:
        raise InputError(f"{base.name} has no cross-attention weights to train")
    return names


def _rare(base: Base, tokens: Sequence[str], rare_tokens: Sequence[str]) -> dict[str, tuple[Tensor, ...]]:
    """Each V* starts from a rare token's row, in every text encoder (card 1.3), in the order given; of two tokens,
    [CV] gives the first the second row."""
    if len(rare_tokens) < len(tokens):
        raise InputError(
            f"{len(tokens)} new tokens, {len(rare_tokens)} rare tokens to start from: name one for each"
        )
    return {
        token: tuple(
            r.encoder.get_input_embeddings().weight[r.token_id(rare)][None].clone()
            for r in base.models.readers
        )
        for token, rare in zip(tokens, rare_tokens, strict=False)
    }


def _sheet(dressed: Base, prompts: Sequence[str], side: int) -> Image:
    """Two fixed-seed pictures of every preview prompt."""
    texts = [prompt for prompt in prompts for _ in range(2)]
    images = list(draw(dressed, texts, seeds=[0, 1] * len(prompts), steps=25, size=(side, side)))
    return grid(images, columns=2, labels=texts)
