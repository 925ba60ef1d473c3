"""DINO's keys: what the last block of a self-supervised ViT matches a picture's patches by.

    S[i, j] = kᵢ · kⱼ / max(‖kᵢ‖ ‖kⱼ‖, 1e-8)        k: the keys of the last block, all heads together, CLS too

Self-similarity of keys is a picture's structure without its appearance (Splice, Tumanyan et al. 2022; editing card,
14.2). The whole frame is seen: shorter side to the encoder's (224), at most 15/7 of it on the longer (480), bilinear
on the tensor without antialiasing, as torchvision resized tensors then; position embeddings follow the frame.
"""

from typing import TYPE_CHECKING, Any, Literal

from motif.errors import InputError
from motif.features.extractors import DinoEncoder

if TYPE_CHECKING:
    from torch import Tensor

InputRange = Literal["unit", "pnp"]
RANGES = {"unit": 1.0, "pnp": 255.0}

LONGEST = 480 / 224


def self_similarity(encoder: DinoEncoder, picture: "Tensor", *, input_range: InputRange = "unit") -> "Tensor":
    """S of one picture [3, h, w] in [0, 1]: [token, token], float64, on the CPU.

    `input_range` "pnp" normalises values up to 255 with statistics made for 1: PnPInversion's slip, which its
    tables carry.
    """
    if input_range not in RANGES:
        raise InputError(f"input range {input_range!r}: use unit or pnp")
    found = keys(encoder, picture * RANGES[input_range]).double()
    lengths = found.square().sum(1, keepdim=True).sqrt()
    return (found @ found.mT) / (lengths @ lengths.mT).clamp(min=1e-8)


def keys(encoder: DinoEncoder, picture: "Tensor") -> "Tensor":
    """The last block's keys of one picture [3, h, w], before normalisation: [token, channel], fp32, on the CPU."""
    import torch
    import torch.nn.functional as F

    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (encoder.preprocessing.mean, encoder.preprocessing.std)
    )
    size = framed(encoder, (picture.shape[-2], picture.shape[-1]))
    x = F.interpolate(picture[None].float(), size=size, mode="bilinear", antialias=False)
    x = ((x - mean) / std).to(encoder.model.device)
    found: list[Tensor] = []

    def seen(module: Any, inputs: Any, output: "Tensor") -> None:
        found.append(output[0])

    handle = _last_keys(encoder.model).register_forward_hook(seen)
    try:
        with torch.inference_mode():
            encoder.model(pixel_values=x, interpolate_pos_encoding=True)
    finally:
        handle.remove()
    return found[0].float().cpu()


def framed(encoder: DinoEncoder, size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) at which a picture is seen, as torchvision's Resize(side, max_size) gives it."""
    side: int = encoder.model.config.image_size
    most = round(side * LONGEST)
    short, long = min(size), max(size)
    small, large = side, int(side * long / short)
    if large > most:
        small, large = int(most * small / large), most
    if small < encoder.model.config.patch_size:
        raise InputError(f"a picture of {size[1]}x{size[0]} pixels is too narrow to have a structure")
    return (small, large) if size[0] <= size[1] else (large, small)


def _last_keys(model: Any) -> Any:
    """The module that makes the last block's keys."""
    found = [module for name, module in model.named_modules() if name.endswith((".k_proj", ".key"))]
    return found[-1]
