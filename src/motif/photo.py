"""Photos for inversion and editing: any picture file, upright and in sRGB, cut to the size that is asked for.

The picture keeps its aspect: it is scaled to cover height x width and its centre is cut out (`ImageOps.fit`). A photo
becomes latents by the VAE's posterior mean, so that the same photo is always the same latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.images import BICUBIC, open_picture

Photo = str | Path | Image.Image


def read_photos(
    base: Base, photos: Photo | Sequence[Photo], *, height: int | None = None, width: int | None = None
) -> Tensor:
    """[image, 3, height, width], uint8; the base's own size where none is given. InputError names what cannot be."""
    import numpy as np

    size = (base.size if height is None else height, base.size if width is None else width)
    base.latent_shape(size)
    several = [photos] if isinstance(photos, str | Path | Image.Image) else list(photos)
    if not several:
        raise InputError("no photo: name a picture")
    images = [p if isinstance(p, Image.Image) else open_picture(Path(p).expanduser()).image for p in several]
    fitted = [
        ImageOps.fit(ImageOps.exif_transpose(i).convert("RGB"), (size[1], size[0]), BICUBIC) for i in images
    ]
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in fitted])


def encode(base: Base, photos: Tensor) -> Tensor:
    """Photos of bytes -> their latents [image, c, h, w]: the posterior's mean, in float32 at least."""
    latents, _ = base.posterior(photos.float() / 127.5 - 1)
    return latents.to(torch.promote_types(base.dtype, torch.float32))


def one_prompt_each(prompt: str | Sequence[str], images: int) -> tuple[str, ...]:
    """The captions of so many photos: one for all, or one for each."""
    prompts = (prompt,) * images if isinstance(prompt, str) else tuple(prompt)
    if len(prompts) != images:
        raise InputError(f"{len(prompts)} prompts for {images} photos: give one, or one for each")
    return prompts
