"""A pipeline folder with Stable Diffusion 1's shapes and random weights: what a step costs does not depend on them."""

from __future__ import annotations

from pathlib import Path

import torch

VOCABULARY = 49_408


def build(folder: Path, *, side: int = 512, seed: int = 0) -> Path:
    """Write the folder (2.1 GB, float16) unless it is there.

    `side` is of its pictures, in pixels. The tokenizer is pocket's, with names of no meaning up to CLIP's 49,408.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel

    from motif.loading import pocket_weights

    if (folder / "model_index.json").exists():
        return folder
    torch.manual_seed(seed)
    shipped = pocket_weights() / "pipeline"
    tokenizer = AutoTokenizer.from_pretrained(shipped / "tokenizer", model_max_length=77)
    tokenizer.add_tokens([f"filler{i}" for i in range(VOCABULARY - len(tokenizer))])
    text = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel(sample_size=side // 8, cross_attention_dim=768, attention_head_dim=8),
        vae=AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler.from_pretrained(shipped / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    return folder
