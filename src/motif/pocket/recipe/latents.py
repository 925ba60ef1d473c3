"""What the UNet learns from, computed once: latents of every picture and its mirror image, text states of
its captions.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motif.files import written
from motif.pocket.recipe.clip import token_ids
from motif.pocket.recipe.material import Material, captions
from motif.pocket.recipe.processes import rank, wait
from motif.pocket.recipe.speed import autocast
from motif.pocket.recipe.vae import encode_all


@dataclass(frozen=True)
class Latents:
    """Training pairs of the UNet.

    latents: [flip, picture, channel, 16, 16] float16, scaled; caption: [picture, caption] row of `states`;
    states: [text, 32, width] float16, the text tower's last hidden states; row 0 is the empty prompt.
    """

    latents: Tensor
    caption: Tensor
    states: Tensor


@torch.no_grad()
def text_states(
    text_encoder: Any, tokenizer: Any, texts: Sequence[str], device: str, *, batch: int = 256
) -> Tensor:
    """[text, 32, width] float16 on the CPU: the last hidden states of the frozen text tower."""
    ids = token_ids(tokenizer, list(texts))
    out: list[Tensor] = []
    for piece in ids.split(batch):
        with autocast(device):
            out.append(text_encoder(piece.to(device)).last_hidden_state.half().cpu())
    return torch.cat(out)


def fingerprint(*modules: Any) -> str:
    """Sixteen hex digits of the modules' weights."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def made_for(folder: Path, vae: Any, text_encoder: Any) -> bool:
    """Whether the latents in a UNet's folder are of this VAE and this text tower; so too where there are none."""
    names = [path.name for path in folder.glob("latents-*.pt")]
    begins = f"latents-{fingerprint(vae, text_encoder)}-"
    return not names or any(name.startswith(begins) for name in names)


def compute_latents(
    material: Material,
    vae: Any,
    text_encoder: Any,
    tokenizer: Any,
    *,
    each: int,
    device: str = "cpu",
    seed: int = 0,
) -> Latents:
    """Encodes all pictures both ways round and `each` captions of each (equal captions once)."""
    scale = vae.config.scaling_factor
    latents = torch.stack(
        [(encode_all(vae, material.rgb, device, flip=flip) * scale).half() for flip in (False, True)]
    )
    texts = captions(material, each, seed=seed)
    row = {text: i for i, text in enumerate(dict.fromkeys(["", *(text for some in texts for text in some)]))}
    caption = torch.tensor([[row[text] for text in some] for some in texts])
    return Latents(latents, caption, text_states(text_encoder, tokenizer, list(row), device))


def cached_latents(
    material: Material,
    vae: Any,
    text_encoder: Any,
    tokenizer: Any,
    folder: Path,
    *,
    each: int,
    device: str = "cpu",
    seed: int = 0,
) -> Latents:
    """`compute_latents`, kept in `folder` under a name that changes with the VAE, the text tower, the pictures
    and whose they are.
    """
    pictures = zlib.crc32(material.rgb.numpy().tobytes(), zlib.crc32(repr(material.scenes).encode()))
    name = f"latents-{fingerprint(vae, text_encoder)}-{pictures:08x}-{each}-{seed}.pt"
    path = folder / name
    if not path.exists() and rank() == 0:
        made = compute_latents(material, vae, text_encoder, tokenizer, each=each, device=device, seed=seed)
        with written(path) as part:
            torch.save(made.__dict__, part)
        for old in folder.glob("latents-*.pt"):
            if old != path:
                old.unlink()
    wait()
    return Latents(**torch.load(path, weights_only=True, mmap=True))
