"""pocket's denoiser: a UNet2DConditionModel that predicts ε, conditioned on the text tower of the
conditioning CLIP.

Loss: E_t w(t) ‖ε − ε̂(√ᾱ_t x₀ + √(1−ᾱ_t) ε, t, c)‖², w = min(SNR, 5)/SNR (Hang et al. 2023, eq. 8 for ε), SNR
= ᾱ/(1−ᾱ); t stratified over the batch, c dropped to the empty prompt for one picture in ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from motif.pocket.recipe.latents import Latents, text_states
from motif.pocket.recipe.material import as_bytes, write_grid
from motif.pocket.recipe.speed import autocast, precision
from motif.pocket.recipe.training import Schedule, Stage, started, train_stage
from motif.pocket.world import scene

UNet: Any = UNet2DConditionModel  # its annotations are narrower than what it takes
GUIDANCE, STEPS = 5.0, 30
"""The shipped guidance and number of DDIM steps."""


@dataclass(frozen=True)
class UnetSettings:
    """Shape and training of the UNet. A picture with an accessory is drawn `accessory_draws` times as often as
    one without: small things are learned last.
    """

    schedule: Schedule
    channels: tuple[int, ...] = (64, 128, 192)
    heads: tuple[int, ...] = (2, 2, 4)
    layers: int = 1
    groups: int = 16
    captions: int = 4
    caption_drop: float = 0.1
    accessory_draws: int = 2
    snr_cap: float = 5.0


def build_scheduler() -> Any:
    """Stable Diffusion 1's noise schedule, sampled with DDIM."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def build_unet(settings: UnetSettings, *, latent_channels: int, text_width: int) -> Any:
    """A fresh UNet on 16 x 16 latents with cross-attention at 16, 8 and 4 and in the middle."""
    levels = len(settings.channels)
    return UNet(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        cross_attention_dim=text_width,
        attention_head_dim=settings.heads,  # diffusers: the number of heads
        norm_num_groups=settings.groups,
    )


def stratified_times(count: int, rng: np.random.Generator) -> Tensor:
    """[count] time steps of 0..999, one in each of `count` equal slices, in random order."""
    places = (rng.permutation(count) + rng.random(count)) / count
    return torch.from_numpy((places * 1000).astype(np.int64).clip(0, 999))


def denoising_loss(
    predicted: Tensor, noise: Tensor, alpha_bar: Tensor, *, cap: float
) -> tuple[Tensor, Tensor]:
    """(weighted loss, plain mean squared error); predicted, noise [image, c, h, w], alpha_bar [image]."""
    error = (predicted.float() - noise).square().mean((1, 2, 3))
    snr = alpha_bar / (1 - alpha_bar)
    weight = snr.clamp(max=cap) / snr
    return (weight * error).sum() / weight.sum(), error.mean()


@torch.no_grad()
def sample(
    unet: Any,
    vae: Any,
    cond: Tensor,
    uncond: Tensor,
    *,
    guidance: float = GUIDANCE,
    steps: int = STEPS,
    seed: int = 0,
) -> Tensor:
    """Images [image, 3, 64, 64] in -1..1 by DDIM with guidance; cond [image, 32, width], uncond [1, 32,
    width].
    """
    device = str(next(unet.parameters()).device)
    scheduler = build_scheduler()
    scheduler.set_timesteps(steps)
    shape = (len(cond), unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
    noise = torch.Generator().manual_seed(seed)
    x_t = torch.randn(shape, generator=noise).to(device)
    text = torch.cat([uncond.expand_as(cond), cond]).float().to(device)
    for t in scheduler.timesteps:
        with autocast(device):
            without, with_text = (
                unet(torch.cat([x_t, x_t]), t, encoder_hidden_states=text).sample.float().chunk(2)
            )
        x_t = scheduler.step(without + guidance * (with_text - without), t, x_t).prev_sample
    with autocast(device):
        return vae.decode(x_t / vae.config.scaling_factor).sample.float().clamp(-1, 1)


def show_prompts() -> list[str]:
    """Prompts of the grids: every noun in a context, each with another colour, then accessories and styles."""
    places = {
        "beach": "on the beach",
        "snow": "in the snow",
        "desert": "in the desert",
        "night": "at night",
        "studio": "in a studio",
    }
    phrases = list(places.values())
    plain = [
        f"a photo of a {scene.COLOURS[i % len(scene.COLOURS)]} {noun} {phrases[i % len(phrases)]}"
        for i, noun in enumerate(scene.NOUNS)
    ]
    rest = [
        "a photo of a dog wearing a red hat on the beach",
        "a photo of a cat",
        "a photo of a striped duck in the snow",
        "a photo of a robot next to a yellow ball",
        "a pencil drawing of a house",
        "a watercolour painting of a car",
    ]
    return [*plain, *rest]


def train_unet(
    latents: Latents,
    vae: Any,
    text_encoder: Any,
    tokenizer: Any,
    folder: Path,
    settings: UnetSettings,
    *,
    dressed: Tensor,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains (or goes on training) the UNet; `folder/unet` holds the EMA weights, `folder` the sample grids
    and the log. `dressed` are the rows of pictures with an accessory.
    """
    torch.manual_seed(seed)
    pool = drawn_from(latents.latents.shape[1], dressed, settings.accessory_draws)
    unet = build_unet(settings, latent_channels=latents.latents.shape[2], text_width=latents.states.shape[2])
    unet = started(unet, folder / "unet", UNet.from_pretrained).to(device)
    unet = unet.to(memory_format=torch.channels_last)
    if device == "cpu" and precision(device) == torch.bfloat16:
        unet.set_attn_processor(AttnProcessor())  # a third faster there: the fused one's backward is slow
    alpha_bar = build_scheduler().alphas_cumprod
    prompts = show_prompts()
    shown = text_states(text_encoder, tokenizer, prompts, device)

    def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        x_0, text = draw_pairs(latents, pool, settings, rng)
        t = stratified_times(len(x_0), rng)
        noise = torch.randn_like(x_0)
        alpha = alpha_bar[t]
        x_t = alpha.sqrt()[:, None, None, None] * x_0 + (1 - alpha).sqrt()[:, None, None, None] * noise
        with autocast(device):
            moved = x_t.to(device).contiguous(memory_format=torch.channels_last)
            predicted = unet(moved, t.to(device), encoder_hidden_states=text.to(device)).sample
        total, plain = denoising_loss(predicted, noise.to(device), alpha.to(device), cap=settings.snr_cap)
        return total, {"mse": plain.item()}

    def show(step: int) -> dict[str, Any]:
        unet.save_pretrained(folder / "unet")
        write_grid(
            as_bytes(sample(unet, vae, shown, latents.states[:1])), 10, folder / f"grid-{step:06d}.png"
        )
        return {"prompts": len(prompts)}

    return train_stage(Stage("unet", unet, loss, show), settings.schedule, folder, seed=seed)


def drawn_from(pictures: int, dressed: Tensor, draws: int) -> Tensor:
    """The rows to draw evenly from: every picture once, those of `dressed` so many times."""
    return torch.cat([torch.arange(pictures), dressed.repeat(draws - 1)])


def draw_pairs(
    latents: Latents, pool: Tensor, settings: UnetSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A batch of (x_0 [image, c, 16, 16], text states [image, 32, width]), both float32, from the rows `pool`;
    some captions dropped.
    """
    count = settings.schedule.batch
    flips, each = latents.latents.shape[0], latents.caption.shape[1]
    rows = pool[torch.from_numpy(rng.integers(0, len(pool), count))]
    x_0 = latents.latents[torch.from_numpy(rng.integers(0, flips, count)), rows].float()
    caption = latents.caption[rows, torch.from_numpy(rng.integers(0, each, count))]
    dropped = torch.from_numpy(rng.random(count) < settings.caption_drop)
    return x_0, latents.states[caption.masked_fill(dropped, 0)].float()


def load_unet(folder: Path, device: str = "cpu") -> Any:
    """The EMA UNet that `train_unet` left in `folder`."""
    return UNet.from_pretrained(folder / "unet").to(device).eval()
