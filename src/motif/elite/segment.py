"""Masks for photos without one: CLIPSeg, where it is on this machine.

Lueddecke and Ecker 2022 (arXiv 2112.10003), through transformers; ELITE's paper takes its masks from segmenters too.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from motif.elite.tower import whole
from motif.errors import InputError, MissingModel
from motif.features.models import Files, find, load_tokenizer
from motif.hub import quiet

CLIPSEG = "CIDAS/clipseg-rd64-refined"
THRESHOLD = 0.4
"""Of the model's probability."""


def segmented(photo: Image.Image, words: str, *, name: str = CLIPSEG) -> Image.Image:
    """White where CLIPSeg sees the words.

    Raises:
        MissingModel: it is not on this machine. InputError: it sees them nowhere.
    """
    files, model = _loaded(name)
    cut: Any = load_tokenizer(files)([words], return_tensors="pt", truncation=True)
    mean, std = (torch.tensor(files.preprocessor[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    side = int(files.preprocessor["size"].get("height", model.config.vision_config.image_size))
    pixels = (whole(photo, side) - mean) / std
    with torch.no_grad():
        logits = model(
            input_ids=cut["input_ids"], attention_mask=cut["attention_mask"], pixel_values=pixels[None]
        ).logits
    map_ = logits.reshape(1, 1, *logits.shape[-2:]).sigmoid()
    found = F.interpolate(map_, size=(photo.height, photo.width), mode="bilinear")[0, 0] > THRESHOLD
    if not found.any():
        raise InputError(f'CLIPSeg sees no "{words}" in the photo: say it in other words, or give a mask')
    return Image.fromarray(found.byte().mul(255).numpy())


@cache
def _loaded(name: str) -> tuple[Files, Any]:
    from transformers import CLIPSegForImageSegmentation

    files = find(name, part="clipseg", paper=CLIPSEG)
    load: Any = CLIPSegForImageSegmentation
    try:
        with quiet():
            model = load.from_pretrained(files.folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingModel(
            f"{files.folder}: cannot be read ({str(error).splitlines()[0]}); {files.fetch}"
        ) from error
    return files, model.eval().requires_grad_(False)
