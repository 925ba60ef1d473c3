"""The peer of `learn custom-diffusion`: Custom Diffusion written plainly on diffusers' stock modules.

What the published scripts do: the token is added to the tokenizer and the embedding resized, AdamW holds the whole
embedding beside every cross-attention K and V (all other rows' gradients are zeroed), every picture goes
through the VAE and every caption through the text encoder at every step, start-token keys and values are
detached in a processor of its own. Same loss, same batch and same augmentation as ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL.Image import Image
from torch import Tensor

from motif.bench.plain_pipelines import stock
from motif.learn.augment import Placement, Resizing, fitted, place, valid


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


def pipeline(folder: str, device: torch.device) -> Any:
    """Ready to be trained: a token more, nothing of the models wants gradients yet."""
    pipe = stock(folder, device, torch.float32)
    pipe.tokenizer.add_tokens(["<new1>"])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        model.requires_grad_(False)
    pipe.unet.set_attn_processor(DetachedStart())
    return pipe


def train(
    pipe: Any,
    photos: Sequence[Image],
    prior: Sequence[Image],
    *,
    prompt: str,
    noun: str,
    batch_size: int,
    lr: float,
    dtype: torch.dtype = torch.float32,
    augment: bool = False,
    seed: int = 0,
) -> Iterator[float]:
    """Yield the loss of every step, forever; photos are resized at random where `augment` says so."""
    from diffusers import DDPMScheduler

    device = pipe.unet.device
    noise_schedule: Any = DDPMScheduler.from_config(pipe.scheduler.config)
    table: Tensor = pipe.text_encoder.get_input_embeddings().weight
    token = int(pipe.tokenizer.convert_tokens_to_ids("<new1>"))
    with torch.no_grad():
        table[token] = table[5]
    trained = [
        p.requires_grad_(True)
        for n, p in pipe.unet.named_parameters()
        if "attn2.to_k" in n or "attn2.to_v" in n
    ]
    optimiser = torch.optim.AdamW([*trained, table.requires_grad_(True)], lr=lr, weight_decay=1e-2)
    factor = pipe.vae_scale_factor
    side, rng = pipe.unet.config.sample_size * factor, np.random.default_rng(seed)
    while True:
        chosen = [photos[i] for i in rng.integers(0, len(photos), batch_size)]
        chosen += [prior[i] for i in rng.integers(0, len(prior), batch_size)]
        where = [Resizing().draw(side, rng) if augment else Placement(side) for _ in range(batch_size)]
        where += [Placement(side)] * batch_size
        captions = [each.prefix + prompt for each in where[:batch_size]] + [f"photo of a {noun}"] * batch_size
        pairs = zip(chosen, where, strict=True)
        pixels = np.stack([place(fitted(one, side, crop=True), each, side) for one, each in pairs])
        counts = torch.from_numpy(np.stack([valid(each, side, factor) for each in where]))[:, None].to(device)
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device)
        ids = pipe.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            x0 = pipe.vae.encode(x).latent_dist.sample().float() * pipe.vae.config.scaling_factor
            eps, t = torch.randn_like(x0), torch.randint(0, 1000, (len(x0),), device=device)
            states = pipe.text_encoder(ids.to(device)).last_hidden_state
            out = pipe.unet(noise_schedule.add_noise(x0, eps, t), t, encoder_hidden_states=states).sample
        gap = (out.float() - eps).square() * counts
        error = gap.sum((1, 2, 3)) / counts.sum((1, 2, 3)) / x0.shape[1]
        loss = error[:batch_size].mean() + error[batch_size:].mean()
        loss.backward()
        assert table.grad is not None
        table.grad[torch.arange(len(table), device=device) != token] = 0
        optimiser.step()
        optimiser.zero_grad()
        yield float(loss.detach())
