"""Two steps of Custom Diffusion on Stable Diffusion's shapes with random weights: `full_size.py sd1|sdxl PHOTOS OUT`.

Prints the peak of its memory, what the estimate said, and the learned names, as JSON. SDXL has all its layers and text
widths, and a tenth of the UNet's width.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from motif.base import Base
from motif.learn import Examples, custom_diffusion
from motif.learn.memory import estimate
from motif.loading import pocket_weights
from motif.text import Reader

SIDE = 256
SETTINGS: dict[str, Any] = {
    "steps": 2, "batch_size": 1, "prior": "base", "resolution": SIDE, "preview_every": 0, "checkpoint_every": 2,
}  # fmt: skip
BLOCKS = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
XL: dict[str, Any] = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (32, 64, 128), "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (1, 2, 4),
    "cross_attention_dim": 2048, "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816, "sample_size": 128,
}  # fmt: skip


def filled(make: Any) -> Any:
    """A model with values that keep a unit variance, made without its own slow initialisation."""
    with torch.device("meta"):
        model: nn.Module = make()
    model.to_empty(device="cpu")
    noise = torch.randn(300_007, generator=torch.Generator().manual_seed(0))
    for name, value in model.named_parameters():
        many = noise.repeat(-(-value.numel() // len(noise)))[: value.numel()].view(value.shape)
        level = 0.0 if name.endswith("bias") else 1.0
        value.data = many / value[0].numel() ** 0.5 if value.ndim > 1 else level + many / 10
    for name, value in model.named_buffers():
        if name.endswith("position_ids"):
            value.copy_(torch.arange(value.shape[-1])[None])
    return model


def reader(tokenizer: Any, width: int, layers: int, *, penultimate: bool, projected: bool = False) -> Reader:
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, projection_dim=width, **ids,
    )  # fmt: skip
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return Reader(tokenizer, filled(lambda: kind(config)), penultimate=penultimate)


def base_of(family: str) -> Base:
    shipped, xl = pocket_weights() / "pipeline", family == "sdxl"
    tokenizer: Any = AutoTokenizer.from_pretrained(shipped / "tokenizer", model_max_length=77)
    tokenizer.add_tokens([f"filler{i}" for i in range(49408 - len(tokenizer))])
    readers = [reader(tokenizer, 768, 12, penultimate=xl)]
    if xl:
        readers.append(reader(tokenizer, 1280, 4, penultimate=True, projected=True))
    unet = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
    widths = (32, 32, 64, 64) if xl else (128, 256, 512, 512)
    return Base.of(
        family,
        unet=filled(lambda: UNet2DConditionModel(**(XL if xl else unet))),
        vae=filled(
            lambda: AutoencoderKL(block_out_channels=widths, layers_per_block=2, latent_channels=4, **BLOCKS)
        ),
        readers=readers,
        scheduler=json.loads((shipped / "scheduler" / "scheduler_config.json").read_text()),
        empty_is_zero=xl,
    )


def main() -> None:
    family, photos, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    base, examples = base_of(family), Examples(photos, "photo of a <new1> cat")
    settings = custom_diffusion.settle(base, examples, **SETTINGS)
    known = {name: settings[name] for name in ("token_lr", "augment", "lr", "steps")}
    lesson = custom_diffusion.plan(base, examples, **known)
    told, begun = estimate(base, lesson, settings, torch.device("cpu")), time.monotonic()
    losses: list[float] = []
    concept = custom_diffusion(
        base, examples, folder=out, on_progress=lambda p: losses.append(p.loss), **SETTINGS
    )
    found = {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "estimate": told.total,
        "seconds": time.monotonic() - begun,
        "losses": losses,
        "parameters": sum(change.full().numel() for change in concept.changes.values()),
        "matrices": len(concept.changes),
        "moved": all(bool(change.full().abs().max() > 0) for change in concept.changes.values()),
        "widths": [part.shape[-1] for part in concept.tokens["<new1>"]],
        "file": (out / "concept-0002.safetensors").stat().st_size,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
