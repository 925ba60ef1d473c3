"""The official Custom Diffusion delta of adobe-research/custom-diffusion's diffusers code (card 5.2).

    {"unet": {parameter: W, or compressed {"u", "v"}}, "modifier_token": {"<new1>": row}, "text_encoder": {...}}

The text encoder is there if it was trained; SDXL has a list of two rows per token. The official file is a pickle, which
is read and never written: we write the same names flat, `unet.<parameter>` and `modifier_token.<token>`, and the card
beside it makes the pickle of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.interop.foreign import Foreign, Piece, vectors
from motif.interop.full import change_of, tell_far, whole
from motif.weights import Change, is_cross

WORD, WEIGHT = "modifier_token.", "unet."
TABLE = ".embeddings.token_embedding.weight"
PICKLE = """from safetensors.torch import load_file
import torch

delta = {"unet": {}, "modifier_token": {}}
for name, value in sorted(load_file(NAME).items()):
    part, _, name = name.partition(".")
    if name.endswith((".u", ".v")):
        delta[part].setdefault(name[:-2], {})[name[-1]] = value
    elif part == "modifier_token" and not name.endswith(">"):
        delta[part].setdefault(name.rpartition(".")[0], []).append(value)
    else:
        delta[part][name] = value
torch.save(delta, NAME.replace(".safetensors", ".bin"))
"""
"""The official pickle from our flat file: what the card shows."""


def written(concept: Concept, base: Base) -> list[Foreign]:
    """`delta.safetensors`, or `compressed_delta.safetensors` where every change is at low rank.

    InputError for what the official code does not load: weights outside cross-attention, several vectors per token.
    """
    strange = [name for name in concept.changes if not (name.startswith("unet.") and is_cross(name))]
    if strange:
        raise InputError(
            f"{strange[0]} (of {len(strange)}): the official delta holds cross-attention weights alone: use --to lora"
        )
    content: dict[str, Tensor] = {}
    compressed = bool(concept.changes) and all(c.dense is None for c in concept.changes.values())
    for name, change in concept.changes.items():
        if compressed:
            content |= {f"{name}.u": _part(change.up), f"{name}.v": _part(change.down)}
        else:
            content[name] = whole(base, name, change)
    for token, parts in concept.tokens.items():
        if len(parts[0]) > 1:
            raise InputError(
                f"{token} has {len(parts[0])} vectors, and the official delta one per token: use --to diffusers"
            )
        rows = [part[0] for part in parts]
        content |= {f"{WORD}{token}{f'.{i}' if len(rows) > 1 else ''}": row for i, row in enumerate(rows)}
    return [Foreign(f"{'compressed_' if compressed else ''}delta.safetensors", content)]


def _part(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def matches(content: Mapping[str, Any]) -> bool:
    """Whether a file is an official delta, as a pickle or flat."""
    if isinstance(content.get("unet"), Mapping):
        return True
    return bool(content) and all(k.startswith((WORD, WEIGHT)) and "lora" not in k for k in content)


def read(file: Foreign, base: Base) -> Piece:
    """Its rows and its weights; `text_encoder` (trained with --train_text_encoder) where it differs from the base's."""
    content = file.content if isinstance(file.content.get("unet"), Mapping) else _nested(file.content)
    if lost := content.keys() - {"unet", "modifier_token", "text_encoder", "text_encoder_2"}:
        raise InputError(f"{file.name}: an official delta with an unknown part {min(lost)}")
    changes = {
        f"unet.{name}": change_of(base, f"unet.{name}", value) for name, value in content["unet"].items()
    }
    for part in ("text_encoder", "text_encoder_2"):
        changes |= _encoder(content.get(part) or {}, part, base)
    tell_far(base, changes)
    words: Mapping[str, Any] = content.get("modifier_token") or {}
    tokens = {
        token: tuple(vectors(row, token) for row in (rows if isinstance(rows, list | tuple) else [rows]))
        for token, rows in words.items()
    }
    return Piece(tokens, changes)


def _nested(flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The official form of our flat names."""
    weights, words = dict[str, Any](), dict[str, Any]()
    for name in sorted(flat):
        if name.startswith(WORD):
            token, _, encoder = name.removeprefix(WORD).rpartition(">")
            words.setdefault(f"{token}>", []).append(flat[name])
            if encoder not in ("", f".{len(words[f'{token}>']) - 1}"):
                raise InputError(f"{name}: not a token's row")
        elif name.endswith((".u", ".v")):
            weights.setdefault(name[len(WEIGHT) : -2], {})[name[-1]] = flat[name]
        else:
            weights[name.removeprefix(WEIGHT)] = flat[name]
    return {"unet": weights, "modifier_token": words}


def _encoder(state: Mapping[str, Any], part: str, base: Base) -> dict[str, Change]:
    """What differs from the base's encoder; the table's new rows are the tokens', which stand elsewhere."""
    found: dict[str, Change] = {}
    for name, value in state.items():
        bare = name.replace("text_model.", "")
        full = next(
            (f"{part}.{n}" for n in (name, bare, f"text_model.{bare}") if f"{part}.{n}" in base.models.own),
            "",
        )
        if not full and "position_ids" in name:
            continue
        full = full or f"{part}.{name}"
        if full.endswith(TABLE) and isinstance(value, Tensor) and full in base.models.own:
            value = value[: len(base.models.parameter(full))]
        change = change_of(base, full, value)
        if torch.any(change.full() != 0):
            found[full] = change
    return found
