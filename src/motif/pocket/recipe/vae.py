"""pocket's autoencoder: 64 px pictures ↔ latents of 16 x 16 with 8 channels (diffusers' AutoencoderKL).

Loss: Σ over scales s of w_s ‖pool_s(x̂ − x)‖² + λ‖μ‖² with x̂ = decode(μ + σ ε). That is the VAE's bound with
a fixed posterior width σ: noise and penalty together give every latent direction the size that its use
deserves, which diffusion then profits from. (L1 and gradient losses lost the hue of small objects in the
prototype; the pooled terms keep it.)
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from motif.pocket.recipe.material import Material, as_bytes, normalised, write_grid
from motif.pocket.recipe.speed import autocast
from motif.pocket.recipe.training import Schedule, Stage, train_stage

Autoencoder: Any = AutoencoderKL  # its annotations are narrower than what it takes
SCALING = 0.18215
"""Latents are stored like Stable Diffusion's: std 1 after multiplication by this."""


@dataclass(frozen=True)
class VaeSettings:
    """Shape and training of the autoencoder."""

    schedule: Schedule
    channels: tuple[int, ...] = (32, 64, 128)
    latent_channels: int = 8
    layers: int = 1
    groups: int = 16
    crop: int = 32
    noise: float = 0.05
    penalty: float = 1e-4
    scales: tuple[tuple[int, float], ...] = ((1, 1.0), (2, 2.0), (4, 4.0))


def build_vae(settings: VaeSettings) -> Any:
    """A fresh AutoencoderKL; every level but the last halves the side."""
    levels = len(settings.channels)
    return Autoencoder(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.groups,
        sample_size=64,
        scaling_factor=SCALING,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def reconstruction_loss(error: Tensor, scales: tuple[tuple[int, float], ...]) -> Tensor:
    """Σ_s w_s · mean(pool_s(error)²); error [image, 3, h, w]."""
    pooled = [(F.avg_pool2d(error, size) if size > 1 else error, weight) for size, weight in scales]
    return torch.stack([weight * one.square().mean() for one, weight in pooled]).sum()


def random_crops(rgb: Tensor, rows: np.ndarray, side: int, rng: np.random.Generator) -> Tensor:
    """Crops [image, 3, side, side] in -1..1 of the pictures `rows`, each at its own place, half of them
    mirrored.
    """
    corners = rng.integers(0, rgb.shape[1] - side + 1, (len(rows), 2))
    cut = [rgb[int(row), y : y + side, x : x + side] for row, (y, x) in zip(rows, corners, strict=True)]
    crops = torch.stack(cut)
    mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5)[:, None, None, None]
    return normalised(torch.where(mirrored, crops.flip(2), crops))


@torch.no_grad()
def encode_all(vae: Any, rgb: Tensor, device: str, *, batch: int = 64, flip: bool = False) -> Tensor:
    """Posterior means of pictures [n, 64, 64, 3] uint8 → [n, channel, 16, 16] float32 on the CPU (not
    scaled).
    """
    means: list[Tensor] = []
    for start in range(0, len(rgb), batch):
        images = normalised(rgb[start : start + batch]).to(device)
        with autocast(device):
            means.append(vae.encode(images.flip(3) if flip else images).latent_dist.mean.float().cpu())
    return torch.cat(means)


@torch.no_grad()
def calibrated(vae: Any, rgb: Tensor, device: str, *, noise: float) -> Any:
    """A copy whose latents have mean 0 per channel and std 1 / SCALING overall, with the same
    reconstructions.

    The affine map is folded into `quant_conv` and undone in `post_quant_conv`; the posterior's width becomes
    the constant `noise`.
    """
    means = encode_all(vae, rgb, device)
    shift = means.mean((0, 2, 3))
    size = (means - shift[:, None, None]).std().item()
    shift = shift.to(device)
    gain = 1 / (SCALING * max(size, 1e-6))
    out = copy.deepcopy(vae).float()
    channels = len(shift)
    out.quant_conv.weight[:channels] *= gain
    out.quant_conv.bias[:channels] = (out.quant_conv.bias[:channels] - shift) * gain
    out.quant_conv.weight[channels:] = 0
    out.quant_conv.bias[channels:] = 2 * math.log(noise * gain)
    kernel = out.post_quant_conv.weight  # [out, in, 1, 1]
    out.post_quant_conv.bias += kernel[:, :, 0, 0] @ shift
    kernel /= gain
    return out


@torch.no_grad()
def measure_vae(
    vae: Any, material: Material, device: str, *, count: int = 256
) -> tuple[dict[str, float], Tensor]:
    """PSNR (dB, over all pixels) and mean colour error (grey levels of 255) of reconstructions; and the
    reconstructions.

    colour_error: mean over pictures and channels of |mean over the picture of x̂ − x|; object_colour_error:
    inside the mask.
    """
    rgb = material.rgb[:count]
    means = encode_all(vae, rgb, device)
    with autocast(device):
        pieces = [vae.decode(piece.to(device)).sample.float().cpu() for piece in means.split(64)]
    made = torch.cat(pieces).clamp(-1, 1)
    error = made - normalised(rgb)
    inside = (material.mask[:count, None] > 127).float()
    object_error = (error * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    figures = {
        "psnr": -10 * math.log10(error.square().mean().item() / 4),
        "colour_error": error.mean((2, 3)).abs().mean().item() * 127.5,
        "object_colour_error": object_error.abs().mean().item() * 127.5,
    }
    return {key: round(value, 3) for key, value in figures.items()}, made


def train_vae(
    material: Material,
    held_out: Material,
    folder: Path,
    settings: VaeSettings,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains (or goes on training) the autoencoder; `folder/vae` holds the calibrated EMA weights, `folder`
    the grids and the log.
    """
    torch.manual_seed(seed)
    vae = build_vae(settings).to(device)

    def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        x = random_crops(
            material.rgb, rng.integers(0, len(material), settings.schedule.batch), settings.crop, rng
        ).to(device)
        with autocast(device):
            mean = vae.encode(x).latent_dist.mean  # [image, channel, crop / 4, crop / 4]
            made = vae.decode(mean + settings.noise * torch.randn_like(mean)).sample
        error = made.float() - x
        total = reconstruction_loss(error, settings.scales) + settings.penalty * mean.float().square().mean()
        return total, {"psnr": -10 * math.log10(error.detach().square().mean().item() / 4)}

    def show(step: int) -> dict[str, Any]:
        out = calibrated(vae, material.rgb[:: max(1, len(material) // 256)], device, noise=settings.noise)
        figures, made = measure_vae(out, held_out, device)
        write_grid(pairs(held_out.rgb[:24].numpy(), as_bytes(made[:24])), 8, folder / f"grid-{step:06d}.png")
        out.save_pretrained(folder / "vae")
        return figures

    return train_stage(Stage("vae", vae, loss, show), settings.schedule, folder, seed=seed)


def train_decoder(
    material: Material,
    held_out: Material,
    trained: Path,
    folder: Path,
    settings: VaeSettings,
    schedule: Schedule,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Goes on with the decoder alone: the latents, and so the UNet, stay what they are. Starts from
    `trained/vae`, writes `folder/vae`.
    """
    torch.manual_seed(seed)
    vae = Autoencoder.from_pretrained(trained / "vae").to(device)
    learned = torch.nn.ModuleList([vae.post_quant_conv, vae.decoder])
    frozen = torch.nn.ModuleList([vae.encoder, vae.quant_conv]).requires_grad_(False)
    noise = settings.noise / vae.config.scaling_factor

    def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        x = random_crops(material.rgb, rng.integers(0, len(material), schedule.batch), settings.crop, rng).to(
            device
        )
        with autocast(device):
            with torch.no_grad():
                mean = frozen[1](frozen[0](x)).chunk(2, 1)[0]
            made = learned[1](learned[0](mean + noise * torch.randn_like(mean)))
        error = made.float() - x
        return reconstruction_loss(error, settings.scales), {
            "psnr": -10 * math.log10(error.detach().square().mean().item() / 4)
        }

    def show(step: int) -> dict[str, Any]:
        figures, made = measure_vae(vae, held_out, device)
        write_grid(pairs(held_out.rgb[:24].numpy(), as_bytes(made[:24])), 8, folder / f"grid-{step:06d}.png")
        vae.save_pretrained(folder / "vae")
        return figures

    return train_stage(Stage("decoder", learned, loss, show), schedule, folder, seed=seed)


def pairs(originals: np.ndarray, made: np.ndarray, *, columns: int = 8) -> np.ndarray:
    """Rows of originals, each above the row of what was made of them."""
    rows = [
        part
        for start in range(0, len(made), columns)
        for part in (originals[start : start + columns], made[start : start + columns])
    ]
    return np.concatenate(rows)


def load_vae(folder: Path, device: str = "cpu") -> Any:
    """The calibrated autoencoder that `train_vae` left in `folder`, frozen."""
    return Autoencoder.from_pretrained(folder / "vae").to(device).eval().requires_grad_(False)
