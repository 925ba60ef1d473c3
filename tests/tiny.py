"""Tiny pipelines with random weights and the shapes of SD1, SD2 (v-prediction) and SDXL, as stock diffusers objects."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

FAMILIES = ("sd1", "sd2-v", "sdxl")
LENGTH = 20


def tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair format with 256 bytes, a few merges and CLIP's specials: any text is readable."""
    codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(c) for c in codes] + [chr(256 + i) for i in range(256 - len(codes))]
    entries = symbols + [s + "</w>" for s in symbols]
    merges: list[tuple[str, str]] = []
    for word in ("photo", "cat", "of", "ktn", "pll", "ucd", "tea", "pot", "beach"):
        left = word[0]
        for i, letter in enumerate(word[1:], 2):
            right = letter + ("</w>" if i == len(word) else "")
            if (left, right) not in merges:
                merges.append((left, right))
                if left + right not in entries:
                    entries.append(left + right)
            left = left + letter if i < len(word) else left
    vocab = {entry: i for i, entry in enumerate([*entries, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH)


def _text_config(tokens: CLIPTokenizer, width: int, **extra: Any) -> CLIPTextConfig:
    ids = {
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }
    return CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=width, intermediate_size=37, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=LENGTH, **ids, **extra,
    )  # fmt: skip


def pipeline(family: str, *, seed: int = 0) -> Any:
    """A stock diffusers pipeline of that family, random but reproducible."""
    torch.manual_seed(seed)
    tokens = tokenizer()
    xl = family == "sdxl"
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 32, 32),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2, norm_num_groups=8, cross_attention_dim=48 if xl else 24,
        use_linear_projection=family != "sd1", upcast_attention=family == "sd2-v",
        **({"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "transformer_layers_per_block": (1, 2, 1),
            "projection_class_embeddings_input_dim": 24 + 6 * 4} if xl else {}),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, sample_size=16,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type="v_prediction" if family == "sd2-v" else "epsilon",
    )  # fmt: skip
    text = CLIPTextModel(_text_config(tokens, 24))
    if not xl:
        return StableDiffusionPipeline(
            vae=vae, text_encoder=text, tokenizer=tokens, unet=unet, scheduler=scheduler, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
    second = CLIPTextModelWithProjection(_text_config(tokens, 24, projection_dim=24))
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=text, text_encoder_2=second, tokenizer=tokens, tokenizer_2=tokenizer(), unet=unet,
        scheduler=scheduler, force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip


def base_of(pipe: Any) -> Any:
    """The same models as a motif base."""
    from motif.base import Base
    from motif.text import Reader

    two = hasattr(pipe, "text_encoder_2")
    readers = [Reader(pipe.tokenizer, pipe.text_encoder, penultimate=two)]
    if two:
        readers.append(Reader(pipe.tokenizer_2, pipe.text_encoder_2, penultimate=True))
    return Base.of(
        "tiny",
        unet=pipe.unet,
        vae=pipe.vae,
        readers=readers,
        scheduler=pipe.scheduler.config,
        empty_is_zero=two,
    )
