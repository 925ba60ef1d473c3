"""The peers of learning: the published scripts' training loops, written plainly on diffusers' stock modules.

What they have in common: the word's tokens are added to the tokenizer and the embedding resized, AdamW holds the whole
embedding where the word learns (all other rows' gradients are zeroed; where it learns alone, they are put back),
every picture goes through the VAE and every
caption through the text encoder at every step, start-token keys and values are detached in a processor of its own. What
is learned, at which rates, and what is shown is a `Course`, the same as ours; so are loss, batch and augmentation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL.Image import Image
from torch import Tensor

from motif.learn.augment import Placement, fitted, place, valid
from motif.learn.recipes import Recipe
from motif.learn.trained import Rates

DUMMY = "a"
"""Stands in a caption where ICO's contexts go."""


class DetachedStart:
    """Stock attention, with the first token's keys and values detached."""

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if encoder_hidden_states is not None:
            keep = torch.ones_like(k)
            keep[:, :1] = 0
            k, v = keep * k + (1 - keep) * k.detach(), keep * v + (1 - keep) * v.detach()
        q, k, v = (
            x.view(len(x), -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2) for x in (q, k, v)
        )
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


@dataclass(frozen=True, eq=False)
class Course:
    """What a script trains, and what it shows."""

    recipe: Recipe
    rates: Rates  # of the whole batch
    words: Tensor  # [vector, channel]: what the word's tokens start from
    captions: Sequence[str]  # of each photo, with the word as `TOKEN`
    of_class: str  # what the prior's pictures show
    batch_size: int
    names: Sequence[str] = ()  # of the UNet's parameters that learn
    contexts: tuple[Tensor, Tensor] | None = (
        None  # ICO's [photo, vector, channel], before the word and at the end
    )
    augment: bool = False  # resize photos at random; else they are whole

    @property
    def tokens(self) -> list[str]:
        """One for each vector."""
        return [TOKEN, *(f"<new1_{i}>" for i in range(1, len(self.words)))]


TOKEN = "<new1>"


@dataclass(frozen=True, eq=False)
class Draw:
    """What a step draws."""

    photos: Sequence[tuple[int, Placement]]
    prior: Sequence[tuple[int, bool]]  # and whether it is mirrored
    z: Tensor  # of the posterior, of photos and prior
    eps: Tensor
    t: Tensor


def draws(course: Course, photos: int, prior: int, pipe: Any, seed: int = 0) -> Iterator[Draw]:
    """Draws for ever, among so many pictures."""
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    side, resizing, n = side_of(pipe), course.recipe.resizing, course.batch_size
    cells, channels = pipe.unet.config.sample_size, pipe.unet.config.in_channels
    while True:
        shown = [(int(i), resizing.draw(side, rng) if course.augment else resizing.whole(side, rng))
                 for i in rng.integers(0, photos, n)]  # fmt: skip
        beside = [(int(i), bool(rng.random() < 0.5)) for i in rng.integers(0, prior, n if prior else 0)]
        z, eps = (
            torch.randn(len(shown) + len(beside), channels, cells, cells, generator=noise) for _ in "ze"
        )
        yield Draw(shown, beside, z, eps, torch.randint(0, 1000, (len(z),), generator=noise))


def side_of(pipe: Any) -> int:
    """Of the pipeline's pictures, in pixels."""
    return pipe.unet.config.sample_size * pipe.vae_scale_factor


def ready(pipe: Any, course: Course) -> Any:
    """A pipeline to be trained: the word's tokens are there, and nothing but what learns wants gradients."""
    from diffusers import DDPMScheduler

    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    pipe.tokenizer.add_tokens(course.tokens)
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        model.requires_grad_(False)
    for name in course.names:
        pipe.unet.get_parameter(name).requires_grad_(True)
    if course.recipe.detached:
        pipe.unet.set_attn_processor(DetachedStart())
    table = table_of(pipe)
    with torch.no_grad():
        table[rows_of(pipe, course)] = course.words.to(table)
    table.requires_grad_(course.rates.words > 0)
    return pipe


def table_of(pipe: Any) -> Tensor:
    """The text encoder's embedding."""
    return pipe.text_encoder.get_input_embeddings().weight


def rows_of(pipe: Any, course: Course) -> list[int]:
    """Where in it the word's vectors are."""
    return pipe.tokenizer.convert_tokens_to_ids(course.tokens)


def train(
    pipe: Any,
    photos: Sequence[Image],
    prior: Sequence[Image],
    course: Course,
    drawn: Iterator[Draw],
    dtype: torch.dtype = torch.float32,
) -> Iterator[float]:
    """Yield the loss of every step."""
    table, own = table_of(pipe), rows_of(pipe, course)
    weights = [pipe.unet.get_parameter(name) for name in course.names]
    contexts = [part.clone().to(table).requires_grad_(True) for part in course.contexts or ()]
    rates, values = course.rates, [*weights, *contexts]
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": rates.weights},
        {"params": contexts, "lr": rates.contexts},
    ]
    if rates.words:
        groups.append({"params": [table], "lr": rates.words})
        values.append(table)
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=1e-2)
    others = torch.ones(len(table), dtype=torch.bool, device=table.device)
    others[own] = False
    kept = table.detach().clone() if rates.words and not course.names else None  # Textual Inversion's script
    for draw in drawn:
        with torch.autocast(table.device.type, dtype, enabled=dtype != torch.float32):
            loss = _loss(pipe, photos, prior, course, draw, contexts)
        loss.backward()
        if table.grad is not None:
            table.grad[others] = 0
        if course.recipe.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(values, course.recipe.max_norm)
        optimiser.step()
        optimiser.zero_grad()
        if kept is not None:
            with torch.no_grad():
                table[others] = kept[others]
        yield float(loss.detach())


def _loss(
    pipe: Any,
    photos: Sequence[Image],
    prior: Sequence[Image],
    course: Course,
    draw: Draw,
    contexts: Sequence[Tensor],
) -> Tensor:
    """Of one step: everything is read and encoded anew."""
    recipe, device, side, n = course.recipe, pipe.unet.device, side_of(pipe), len(draw.photos)
    shown = [(photos[i], how) for i, how in draw.photos] + [
        (prior[i], Placement(side, flip=flip)) for i, flip in draw.prior
    ]
    told = [how.prefix + course.captions[i] for i, how in draw.photos] + [course.of_class] * len(draw.prior)
    counted = [
        valid(how, side, pipe.vae_scale_factor, border=recipe.border and k < n)
        for k, (_, how) in enumerate(shown)
    ]
    counts = torch.from_numpy(np.stack(counted))[:, None].to(device)
    pixels = [place(fitted(one, side, crop=recipe.crop, bilinear=recipe.bilinear), how, side, bilinear=recipe.bilinear)
              for one, how in shown]  # fmt: skip
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous().to(device)
    z, eps, t = draw.z.to(device), draw.eps.to(device), draw.t.to(device)
    posterior = pipe.vae.encode(x).latent_dist
    x0 = (posterior.mean + posterior.std * z).float() * pipe.vae.config.scaling_factor
    told = [text.replace(TOKEN, " ".join(course.tokens)) for text in told]
    ids = pipe.tokenizer(told, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(
        device
    )
    with _spliced(pipe, course, ids, [i for i, _ in draw.photos], contexts):
        states = pipe.text_encoder(ids).last_hidden_state
    out = pipe.unet(pipe.scheduler.add_noise(x0, eps, t), t, encoder_hidden_states=states).sample
    error = ((out.float() - eps).square() * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3)) / x0.shape[1]
    loss = recipe.target_weight * error[:n].mean()
    return loss + error[n:].mean() if draw.prior else loss


@contextlib.contextmanager
def _spliced(
    pipe: Any, course: Course, ids: Tensor, photos: Sequence[int], contexts: Sequence[Tensor]
) -> Iterator[None]:
    """ICO's captions, as its code reads them: behind the position embedding, each photo's contexts stand before the
    word and at the end, the word has the positions 1, 2 ..., and all else is detached."""
    if not contexts:
        yield
        return
    encoder = getattr(pipe.text_encoder, "text_model", pipe.text_encoder)
    (before, after), word = contexts, table_of(pipe)[rows_of(pipe, course)]
    word = word + encoder.embeddings.position_embedding.weight[1 : len(word) + 1]
    first, length = before.shape[1], len(word)

    def splice(_: Any, __: Any, embedded: Tensor) -> Tensor:
        new = embedded.detach().clone()
        for row, photo in enumerate(photos):
            end = ids[row].tolist().index(pipe.tokenizer.eos_token_id)
            new[row, 1 : 1 + first] = before[photo].to(new)
            new[row, 1 + first : 1 + first + length] = word.to(new)
            new[row, end - after.shape[1] : end] = after[photo].to(new)
        return new

    hook = encoder.embeddings.register_forward_hook(splice)
    try:
        yield
    finally:
        hook.remove()
