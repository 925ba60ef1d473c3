"""A base without its values: the shapes that its configurations name, made in no time and next to no memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from motif.base import Base
from motif.errors import MotifError
from motif.files import read_json
from motif.loading import pocket_weights, quiet
from motif.models import Models
from motif.origin import Origin
from motif.schedule import Schedule
from motif.single_file import config_folder
from motif.text import Reader


def outline(name: str, dtype: torch.dtype) -> Base | None:
    """The base of that name on torch's meta device, for plans and estimates; None where its configurations are not on
    this machine or cannot be read: loading says what is wrong."""
    try:
        with quiet():
            return _outline(name, _folder(name), dtype)
    except (MotifError, OSError, ValueError, KeyError, TypeError):
        return None


def _folder(name: str) -> Path:
    """Where a base's configurations lie."""
    if name == "pocket":
        return pocket_weights() / "pipeline"
    if name.endswith(".safetensors"):
        return config_folder(Path(name).expanduser())[0]
    if os.path.isdir(os.path.expanduser(name)):
        return Path(name).expanduser()
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, "model_index.json", local_files_only=True)).parent


def _outline(name: str, folder: Path, dtype: torch.dtype) -> Base:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    unet: Any = UNet2DConditionModel
    vae: Any = AutoencoderKL
    two = (folder / "text_encoder_2").is_dir()
    with torch.device("meta"):
        made = unet.from_config(_config(folder, "unet")).to(dtype)
        decoder = vae.from_config(_config(folder, "vae"))
        readers = list[Reader]()
        for suffix, kind in (("", CLIPTextModel), ("_2", CLIPTextModelWithProjection))[: 1 + two]:
            config: Any = CLIPTextConfig.from_dict(dict(_config(folder, f"text_encoder{suffix}")))
            encoder: Any = kind(config)
            tokenizer: Any = CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}")
            readers.append(Reader(tokenizer, encoder.to(dtype), penultimate=two))
    for model in (made, decoder, *(reader.encoder for reader in readers)):
        model.requires_grad_(False).eval()
    schedule = Schedule.read(read_json(folder / "scheduler" / "scheduler_config.json"))
    models = Models.of(made, decoder, readers)
    side = int(made.config.sample_size) * 2 ** (len(decoder.config.block_out_channels) - 1)
    advice = read_json(folder / "motif.json") if (folder / "motif.json").is_file() else {}
    origin = Origin(name, "", (), prediction=schedule.prediction)
    return Base(name, models, schedule, origin, side, advice=advice.get("learn", {}))


def _config(folder: Path, part: str) -> Mapping[str, Any]:
    return read_json(folder / part / "config.json")
