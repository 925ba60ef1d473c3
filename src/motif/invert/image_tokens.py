"""E(x): a photo's tokens from a frozen CLIP image encoder, as value embedding reads them.

All tokens behind the last layer norm, without the projection (card 10.2): 197 x 768 of ViT-B/16. Where they are not as
wide as the text states (SD2, SDXL, pocket), their channels are repeated up to that width: the mapping is learned per
photo, and reads them along this axis alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from motif.errors import InputError, MissingModel
from motif.features.models import find
from motif.features.pictures import Preprocessing
from motif.hub import quiet

PAPER = "openai/clip-vit-base-patch16"


def image_tokens(pictures: Sequence[Image.Image], name: str, *, width: int, device: str) -> Tensor:
    """[image, token, width], float32. `name` is pocket, paper (ViT-B/16), a transformers folder or a hub id.

    Raises MissingModel where it is not on this machine.
    """
    from transformers import CLIPVisionModel

    files = find(name, part="condition-clip", paper=PAPER)
    mean, std = (files.preprocessor.get(key) for key in ("image_mean", "image_std"))
    if not mean or not std:
        raise InputError(f"{files.folder}: its preprocessor gives no image_mean and image_std")
    load: Any = CLIPVisionModel
    try:
        with quiet():
            model = load.from_pretrained(files.folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingModel(
            f"{files.folder}: cannot be read ({str(error).splitlines()[0]}); {files.fetch}"
        ) from error
    model = model.eval().requires_grad_(False).to(device)
    side = int(model.config.image_size)
    pixels = Preprocessing(side, side, tuple(mean), tuple(std)).batch(pictures).to(device)
    with torch.no_grad():
        tower = getattr(model, "vision_model", model)
        tokens: Tensor = tower.post_layernorm(tower(pixel_values=pixels).last_hidden_state)
    return tokens[..., torch.arange(width, device=tokens.device) % tokens.shape[-1]]
