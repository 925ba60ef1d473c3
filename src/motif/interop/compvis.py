"""The original code's names (CompVis, SGM), and the official CompVis delta of Custom Diffusion (card 5.1, 5.4).

    down_blocks.b.(resnets|attentions).j   input_blocks.(1 + b(L+1) + j).(0|1)      L layers per block
    mid_block.attentions.0, resnets.i      middle_block.1, middle_block.(0|2)
    up_blocks.b.(resnets|attentions).j     output_blocks.(b(L+1) + j).(0|1)

`delta_epoch=000004.ckpt` is {"state_dict": {name: whole W, or {"u", "v"}, "embed": one row per new token}}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from motif.base import Base
from motif.errors import InputError
from motif.interop.foreign import Foreign, Piece, tensor
from motif.interop.full import change_of, tell_far

UNET = "model.diffusion_model."
ROWS = "embed"
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip


def original_names(base: Base) -> dict[str, str]:
    """{the original code's name: ours} of every weight of the UNet, as input_blocks.4.1...attn2.to_k.weight."""
    layers = base.models.unet.config.layers_per_block
    ours = [name for name in base.models.own if name.startswith("unet.")]
    return {original(name.removeprefix("unet."), int(layers), ours): name for name in ours}


def original(name: str, layers: int, everything: list[str]) -> str:
    """One weight's name in the original code. `everything` tells whether a block of the way up has attention."""
    for ours, theirs in ENDS.items():
        if name.startswith(f"{ours}."):
            return f"{theirs}{name[len(ours) :]}"
    found = re.fullmatch(r"(down|mid|up)_blocks?\.(?:(\d+)\.)?([a-z]+)\.(\d+)\.(.+)", name)
    if not found:
        return name
    way, kind, j, rest = found[1], found[3], int(found[4]), found[5]
    b, step = int(found[2] or 0), layers + 1
    if kind == "resnets":
        part, _, leaf = rest.partition(".")
        rest = f"{RESNET.get(part, part)}.{leaf}"
    if way == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * j}.{rest}"
    slot = {"resnets": 0, "attentions": 1}.get(kind)
    if way == "down":
        if slot is None:  # the last place of a block holds its downsampler, called op
            return f"input_blocks.{(b + 1) * step}.0.{rest.replace('conv.', 'op.')}"
        return f"input_blocks.{1 + b * step + j}.{slot}.{rest}"
    if slot is None:  # an upsampler follows the last layer of its block, behind its attention
        behind = any(full.startswith(f"unet.up_blocks.{b}.attentions.") for full in everything)
        return f"output_blocks.{b * step + layers}.{1 + behind}.{rest}"
    return f"output_blocks.{b * step + j}.{slot}.{rest}"


def matches(content: Mapping[str, Any]) -> bool:
    """Whether it is a file of the original code."""
    state = _state(content)
    return ROWS in state or any(name.startswith(UNET) for name in state)


def _state(content: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = content.get("state_dict")
    return inner if isinstance(inner, Mapping) else content


def read(file: Foreign, base: Base) -> Piece:
    """Its weights, and its rows as <new1>, <new2>...: the file does not name them."""
    state = _state(file.content)
    if any(name.startswith("first_stage_model.") for name in state):
        raise InputError(
            f"{file.name}: a whole checkpoint, not a delta: use it as a base, --base {file.name}"
        )
    names, found = original_names(base), {name: value for name, value in state.items() if name != ROWS}
    if strange := [name for name in found if name.removeprefix(UNET) not in names]:
        raise InputError(
            f"{file.name}: {strange[0]} has no place in {base.name}: choose its base with --base"
        )
    ours = {name: names[name.removeprefix(UNET)] for name in found}
    changes = {ours[name]: change_of(base, ours[name], value) for name, value in found.items()}
    tell_far(base, changes)
    if ROWS not in state:
        return Piece({}, changes)
    rows, width = (
        tensor(state[ROWS], ROWS).flatten(),
        base.models.readers[0].width,
    )  # convert.py joins rows end to end
    if not len(rows) or len(rows) % width:
        raise InputError(f"{file.name}: its rows are {len(rows)} numbers; {base.name}'s have {width} each")
    split = rows.reshape(-1, 1, width)
    return Piece({f"<new{i}>": (row.clone(),) for i, row in enumerate(split, 1)}, changes)
