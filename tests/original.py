"""Stable Diffusion's original names for diffusers' parameters (the inverse of diffusers' conversion), for tests."""

from __future__ import annotations

import re
from typing import Any

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
TOP = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip


def unet_name(name: str, attended: set[int]) -> str:
    """`attended` are the up blocks that have attention: there the upsampler is the third part of its output block."""
    owner, _, leaf = name.rpartition(".")
    if owner in TOP:
        return f"{TOP[owner]}.{leaf}"
    block, i, part, j, rest = _cut(name)
    rest = (
        ".".join([RESNET.get(rest.split(".")[0], rest.split(".")[0]), *rest.split(".")[1:]])
        if part == "resnets"
        else rest
    )
    if block == "mid_block":
        return f"middle_block.{2 * j if part == 'resnets' else 1}.{rest}"
    if block == "down_blocks":
        if part == "downsamplers":
            return f"input_blocks.{3 * (i + 1)}.0.op.{leaf}"
        return f"input_blocks.{3 * i + j + 1}.{0 if part == 'resnets' else 1}.{rest}"
    if part == "upsamplers":
        return f"output_blocks.{3 * i + 2}.{2 if i in attended else 1}.conv.{leaf}"
    return f"output_blocks.{3 * i + j}.{0 if part == 'resnets' else 1}.{rest}"


def _cut(name: str) -> tuple[str, int, str, int, str]:
    match = re.fullmatch(
        r"(down_blocks|up_blocks)\.(\d)\.(\w+)\.(\d)\.(.+)|(mid_block)\.(\w+)\.(\d)\.(.+)", name
    )
    assert match, name
    if match[6]:
        return match[6], 0, match[7], int(match[8]), match[9]
    return match[1], int(match[2]), match[3], int(match[4]), match[5]


def vae_name(name: str) -> str:
    for old, new in (
        (r"up_blocks\.(\d)", lambda m: f"up.{3 - int(m[1])}"),
        (r"down_blocks\.(\d)", r"down.\1"),
        (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
        (r"mid_block\.attentions\.0", "mid.attn_1"),
        (r"\.resnets\.", ".block."),
        (r"(up|down)samplers\.0", r"\1sample"),
        ("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out"), ("group_norm", "norm"),
        (r"to_([qkv])\.", r"\1."), (r"to_out\.0", "proj_out"),
    ):  # fmt: skip
        name = re.sub(old, new, name)
    return name


def original(unet: Any, vae: Any) -> dict[str, Any]:
    """The UNet's and the VAE's tensors by their original names."""
    attended = {
        int(n.split(".")[1]) for n in unet.state_dict() if n.startswith("up_blocks") and "attentions" in n
    }
    named = {f"model.diffusion_model.{unet_name(n, attended)}": t for n, t in unet.state_dict().items()}
    return named | {f"first_stage_model.{vae_name(n)}": t for n, t in vae.state_dict().items()}
