"""diffusers' files: a learned word as `learned_embeds`, and its Custom Diffusion example's weights (card 5.3, 5.5).

    learned_embeds.safetensors                         {"<new1>": [vector, channel]}; SDXL {"clip_l", "clip_g"}
    pytorch_custom_diffusion_weights.safetensors       <attention>.processor.to_k_custom_diffusion.weight -> whole W

The stock loader takes the first. It has done nothing with the second since 0.29 (huggingface/diffusers #9320), without
a word: so the weights go out as LoRA too, which it does load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from motif.base import Base
from motif.concept import Concept
from motif.interop.foreign import Foreign, Piece, file_names, tensor, vectors
from motif.interop.full import change_of, tell_far, whole
from motif.weights import is_cross

MARK, PROCESSOR = "_custom_diffusion", ".processor"
WEIGHTS = "pytorch_custom_diffusion_weights.safetensors"
CLIPS = ("clip_l", "clip_g")
"""SDXL's two text encoders, in the order in which its UNet reads them."""


def written_words(concept: Concept) -> list[Foreign]:
    """`learned_embeds.safetensors` of one token; of several, one file each: the stock loader takes one key a file."""
    several, names = len(concept.tokens) > 1, file_names(list(concept.tokens))
    return [
        Foreign(
            f"learned_embeds{f'-{names[token]}' if several else ''}.safetensors",
            {token: parts[0]} if len(parts) == 1 else dict(zip(CLIPS, parts, strict=True)),
            {"motif.token": token},
        )
        for token, parts in concept.tokens.items()
    ]


def written_weights(concept: Concept, base: Base) -> list[Foreign]:
    """The example's file, where every change is of cross-attention, as the example's are; else there is none."""
    names = [name for name in concept.changes if name.startswith("unet.") and is_cross(name)]
    if not names or len(names) < len(concept.changes):
        return []
    return [Foreign(WEIGHTS, {_foreign(name): whole(base, name, concept.changes[name]) for name in names})]


def _foreign(name: str) -> str:
    """unet.X.attn2.to_out.0.bias -> X.attn2.processor.to_out_custom_diffusion.0.bias."""
    site, _, leaf = name.removeprefix("unet.").partition(".attn2.")
    matrix, _, rest = leaf.partition(".")
    return f"{site}.attn2{PROCESSOR}.{matrix}{MARK}.{rest}"


def matches_weights(content: Mapping[str, Any]) -> bool:
    """Whether it is the example's weights."""
    return any(f"{MARK}." in name for name in content)


def read_weights(file: Foreign, base: Base) -> Piece:
    """Whole weights; a pickle's self-attention entries are empty mappings, and say nothing."""
    told = {
        name: value for name, value in file.content.items() if not (isinstance(value, Mapping) and not value)
    }
    names = {name: f"unet.{name.replace(PROCESSOR, '').replace(MARK, '')}" for name in told}
    changes = {names[name]: change_of(base, names[name], tensor(value, name)) for name, value in told.items()}
    tell_far(base, changes)
    return Piece({}, changes)


def matches_word(content: Mapping[str, Any]) -> bool:
    """Whether it is one word's vectors: one key (a bare tensor has an empty one)."""
    return len(content) == 1 and all(isinstance(v, Tensor) and v.dim() in (1, 2) for v in content.values())


def read_word(file: Foreign, base: Base) -> Piece:
    """The word and its vectors."""
    ((word, value),) = file.content.items()
    return Piece({word: (vectors(value, file.name),)}, {})
