"""LoRA in the keys of kohya's trainer, which A1111's web UI and ComfyUI read (card 5.6).

    lora_unet_<layer, dots as underscores>.lora_down.weight, .lora_up.weight, .alpha       W = W₀ + (α / r) up down

Text encoders are `lora_te_`, and `lora_te1_`, `lora_te2_` of two; SDXL's layers may have the original code's names.
α is one number for the whole file: of several, stock diffusers loses those of attention (0.42). So it is the largest
rank R; smaller ones are padded with zeros to R / 2ᵏ and `up` is divided by the scale 2ᵏ, both exact.

Underscores tell no layer from another, so that names are looked up in a table made of the base's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError, WrongBase
from motif.interop.compvis import original_names
from motif.interop.diffusers import CLIPS
from motif.interop.foreign import Foreign, Piece, file_names, number, vectors
from motif.interop.lora import Pair, folded_all, layers, refuse_others, require_factors

STEMS = {"unet": ("lora_unet",), "text_encoder": ("lora_te", "lora_te1"), "text_encoder_2": ("lora_te2",)}
LEAVES = {"lora_up.weight": "up", "lora_down.weight": "down", "lora_mid.weight": "mid"}
WHOLE = {"diff": "weight", "diff_b": "bias"}
BUNDLE = "bundle_emb."


def written(concept: Concept) -> list[Foreign]:
    """`<word>_lora.safetensors`; none for a word alone."""
    if not concept.changes:
        return []
    require_factors(concept, "a LoRA in kohya's keys")
    found, content = layers(concept), dict[str, Tensor]()
    rank = -(-max(len(down) for _, down in found.values()) // 8) * 8
    two = any(name.startswith("text_encoder_2.") for name in concept.changes) or any(
        len(parts) > 1 for parts in concept.tokens.values()
    )
    for name, (up, down) in found.items():
        stem = _stem(name, two=two)
        up, down = _padded(up, down, rank)
        alpha = torch.tensor(float(rank))
        content |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": alpha}
    words = [*file_names(list(concept.tokens)).values(), "concept"]
    header = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
    }
    return [Foreign(f"{words[0]}_lora.safetensors", content, header)]


def _padded(up: Tensor, down: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The same product bit for bit, with a rank of most / 2ᵏ and for a scale of 2ᵏ."""
    room = most
    while room % 2 == 0 and room // 2 >= len(down):
        room //= 2
    more = room - len(down)
    return (
        torch.cat([up, up.new_zeros(len(up), more, *up.shape[2:])], 1) * (room / most),
        torch.cat([down, down.new_zeros(more, *down.shape[1:])]),
    )


def _stem(layer: str, *, two: bool) -> str:
    part, _, inner = layer.partition(".")
    stem = STEMS[part][-1 if two else 0]
    if part.startswith("text_encoder"):
        inner = f"text_model.{inner.removeprefix('text_model.')}" if inner != "text_projection" else inner
    return f"{stem}_{inner.replace('.', '_')}"


def matches(content: Mapping[str, Any]) -> bool:
    """Whether it is a LoRA in kohya's keys."""
    return any(
        name.startswith(("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", BUNDLE)) for name in content
    )


def read(file: Foreign, base: Base) -> Piece:
    """Every layer's factors, folded, and the embeddings that some tools bundle with them."""
    refuse_others(file.content, file.name)
    names, pairs = _table(base), dict[str, Pair]()
    bundled = dict[str, dict[str, Any]]()
    for key, value in file.content.items():
        if key.startswith(BUNDLE):
            word, _, leaf = key.removeprefix(BUNDLE).replace(".*", "").rpartition(".")
            bundled.setdefault(word, {})[leaf] = value
            continue
        stem, _, leaf = key.partition(".")
        if stem not in names:
            raise WrongBase(
                f"{file.name} changes {stem}, which {base.name} does not have: choose its base with --base"
            )
        pair = pairs.setdefault(names[stem], Pair())
        if leaf == "alpha":
            pair.alpha = number(value, key)
        elif leaf in WHOLE:
            pair.whole[WHOLE[leaf]] = value
        elif leaf in LEAVES:
            setattr(pair, LEAVES[leaf], value)
        else:
            raise InputError(f"{file.name}: {key} is no part of a LoRA")
    tokens = {word: _bundled(rows, f"{file.name}: the word {word}") for word, rows in bundled.items()}
    return Piece(tokens, folded_all(pairs, file.name, base))


def _bundled(rows: Mapping[str, Any], who: str) -> tuple[Tensor, ...]:
    """The vectors of an embedding inside a LoRA's file, by text encoder."""
    if strange := rows.keys() - {"string_to_param", *CLIPS}:
        raise InputError(f"{who} has vectors of a kind that motif does not know ({min(strange)})")
    return tuple(vectors(rows[leaf], who) for leaf in ("string_to_param", *CLIPS) if leaf in rows)


def _table(base: Base) -> dict[str, str]:
    """{key's stem: our layer} of every weight of the base, in diffusers' names and in the original code's."""
    table: dict[str, str] = {}
    for full in base.models.own:
        if not full.endswith(".weight"):
            continue
        layer = full.removesuffix(".weight")
        part, _, inner = layer.partition(".")
        bare = inner.removeprefix("text_model.")
        for stem in STEMS[part]:
            table |= {
                f"{stem}_{form.replace('.', '_')}": layer for form in (inner, bare, f"text_model.{bare}")
            }
    for theirs, full in original_names(base).items():
        if full.endswith(".weight"):
            stem = theirs.removesuffix(".weight").replace(".", "_")
            table.setdefault(f"lora_unet_{stem}", full.removesuffix(".weight"))
    return table
