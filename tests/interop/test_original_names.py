"""The original code's names: diffusers' own converter reads them back, for every weight of every family."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest
import torch

from motif.interop.compvis import UNET, original, original_names

SD1 = {  # card 5.4
    **{
        f"input_blocks.{i}.1": f"down_blocks.{i // 3}.attentions.{0 if i in (1, 4, 7) else 1}"
        for i in (1, 2, 4, 5, 7, 8)
    },
    "middle_block.1": "mid_block.attentions.0",
    **{f"output_blocks.{i}.1": f"up_blocks.{i // 3}.attentions.{i % 3}" for i in range(3, 12)},
}


@pytest.mark.parametrize(("theirs", "ours"), SD1.items())
def test_the_cards_map_of_sd1(theirs, ours):
    tail = "transformer_blocks.0.attn2.to_k.weight"
    assert original(f"{ours}.{tail}", 2, []) == f"{theirs}.{tail}"


def test_diffusers_reads_our_original_names(model):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    unet = model.base.models.unet
    names = original_names(model.base)
    assert len(names) == len(list(unet.named_parameters())) and not any(
        re.match(r"(down|up)_blocks", n) for n in names
    )
    checkpoint = {f"{UNET}{theirs}": torch.tensor(float(i)) for i, theirs in enumerate(names)}
    back = convert_ldm_unet_checkpoint(checkpoint, dict(unet.config))
    wanted = {ours.removeprefix("unet."): float(i) for i, ours in enumerate(names.values())}
    assert {name: float(value) for name, value in back.items()} == wanted


@pytest.mark.parametrize("shapes", ["unet_sd15", "unet_sd21", "unet_sdxl"])
def test_diffusers_reads_the_original_names_of_the_published_models(shapes):
    """Their full depth, two layers a block: the weights are never made."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    packed = resources.files("motif") / "data" / "shapes" / f"{shapes}.json"
    config = json.loads(packed.read_text(encoding="utf-8"))
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    full = [f"unet.{name}" for name, _ in unet.named_parameters()]
    names = {original(name.removeprefix("unet."), unet.config.layers_per_block, full): name for name in full}
    assert len(names) == len(full)
    checkpoint = {f"{UNET}{theirs}": torch.tensor(float(i)) for i, theirs in enumerate(names)}
    back = convert_ldm_unet_checkpoint(checkpoint, dict(unet.config))
    wanted = {ours.removeprefix("unet."): float(i) for i, ours in enumerate(names.values())}
    assert {name: float(value) for name, value in back.items()} == wanted
