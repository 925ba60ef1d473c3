"""The peer that `bench/speed.py` compares with: Custom Diffusion written plainly on diffusers' stock modules.

What the published scripts do: the token is added to the tokenizer and the embedding resized, AdamW holds the whole
embedding beside every cross-attention K and V (all other rows' gradients are zeroed), every picture goes
through the VAE and every caption through the text encoder at every step, start-token keys and values are
detached in a processor of its own. Same losses, same augmentation, same batch as ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import Attention
from PIL.Image import Image
from torch import Tensor

from motif.learn.augment import Placement, Resizing, place, valid


class DetachedStart:
    """Stock attention, with the first token's keys and values detached."""

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
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


def train(
    folder: str,
    photos: list[Image],
    prior: list[Image],
    *,
    prompt: str,
    noun: str,
    batch_size: int,
    lr: float,
    precision: str = "fp32",
    augment: bool = True,
    seed: int = 0,
) -> Iterator[float]:
    """Yield the loss of every step, forever."""
    pipe: Any = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    noise_schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    pipe.tokenizer.add_tokens(["<new1>"])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    table = pipe.text_encoder.get_input_embeddings().weight
    token = pipe.tokenizer.convert_tokens_to_ids("<new1>")
    with torch.no_grad():
        table[token] = table[5]
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        model.requires_grad_(False)
    pipe.unet.set_attn_processor(DetachedStart())
    trained = [
        p.requires_grad_(True)
        for n, p in pipe.unet.named_parameters()
        if "attn2.to_k" in n or "attn2.to_v" in n
    ]
    optimiser = torch.optim.AdamW([*trained, table.requires_grad_(True)], lr=lr, weight_decay=1e-2)
    side, factor = pipe.unet.config.sample_size * pipe.vae_scale_factor, pipe.vae_scale_factor
    rng, resizing, step = np.random.default_rng(seed), Resizing(), 0
    while True:
        pixels, masks, captions = [], [], []
        for i in rng.integers(0, len(photos), batch_size):
            placement = resizing.draw(side, rng) if augment else Placement(side)
            pixels.append(place(photos[i], placement, side))
            masks.append(valid(placement, side, factor))
            captions.append(placement.prefix + prompt)
        for i in rng.integers(0, len(prior), batch_size):
            pixels.append(np.asarray(prior[i], dtype=np.float32) / 127.5 - 1)
            masks.append(np.ones_like(masks[0]))
            captions.append(f"photo of a {noun}")
        x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
        mask = torch.from_numpy(np.stack(masks))[:, None]
        ids = pipe.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            x0 = pipe.vae.encode(x).latent_dist.sample().float() * pipe.vae.config.scaling_factor
            eps, t = torch.randn_like(x0), torch.randint(0, 1000, (len(x0),))
            states = pipe.text_encoder(ids).last_hidden_state
            out = pipe.unet(noise_schedule.add_noise(x0, eps, t), t, encoder_hidden_states=states).sample
        error = (out.float() - eps).square()
        each = (error * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)) / x0.shape[1]
        loss = each[:batch_size].mean() + each[batch_size:].mean()
        loss.backward()
        others = torch.arange(len(table)) != token
        table.grad[others] = 0
        optimiser.step()
        optimiser.zero_grad()
        step += 1
        yield float(loss.detach())
