"""diffusers' own pipelines, which the plain sides of drawings and of simple edits are."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.loading import pocket_weights


def folder(base: Base) -> str:
    """What diffusers loads the base from."""
    return str(pocket_weights() / "pipeline") if base.name == "pocket" else os.path.expanduser(base.name)


def stock(folder: str, device: torch.device, dtype: torch.dtype, *, image: bool = False) -> Any:
    """The pipeline of a folder; `image` is the one that starts from a picture."""
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

    kind = StableDiffusionImg2ImgPipeline if image else StableDiffusionPipeline
    pipe: Any = kind.from_pretrained(folder, dtype=dtype, safety_checker=None, requires_safety_checker=False)
    return pipe.to(device)


def pipeline_of(base: Base, *, image: bool = False) -> Any:
    """A base's, with DDIM, and quiet. Its VAE is the base's, which decodes; in another type than the base's, the one
    that starts from a picture has its own to encode with."""
    from diffusers import DDIMScheduler

    pipe = stock(folder(base), base.device, base.dtype, image=image)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    if not image or pipe.vae.dtype == base.models.vae.dtype:
        pipe.vae = base.models.vae
    return pipe


def encoders(base: Base) -> list[Any]:
    """A base's text encoders."""
    return [reader.encoder for reader in base.models.readers]


def worded_edit(pipe: Any, begun: Any, prompt: str, steps: int, guidance: float) -> Tensor:
    """The latents of a prompt drawn from an inversion's noise, or from a photo (SDEdit, strength .6)."""
    told: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance, "output_type": "latent"}
    if isinstance(begun, Tensor):
        return pipe(prompt, latents=begun.to(pipe.dtype), **told).images
    draw = torch.Generator().manual_seed(0)
    return pipe(prompt, image=begun, strength=0.6, generator=draw, **told).images
