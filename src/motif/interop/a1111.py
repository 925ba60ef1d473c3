"""Embeddings as A1111's web UI, ComfyUI and kohya's trainer have them, and the original Textual Inversion (card 5.5).

    .safetensors     {"emb_params": [vector, channel]}; SDXL {"clip_l": ..., "clip_g": ...}       read and written
    .pt              {"string_to_param": {"*": [vector, channel]}, "name": "cat", ...}           read

There the word is the file's name: `new1.safetensors` in the embeddings folder is `new1` in a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.interop.diffusers import CLIPS
from motif.interop.foreign import Foreign, Piece, file_names, vectors

ONE = "emb_params"
PARAMETERS = "string_to_param"


def written(concept: Concept) -> list[Foreign]:
    """One file per token, by the token's word."""
    names = file_names(list(concept.tokens))
    return [
        Foreign(
            f"{names[token]}.safetensors",
            {ONE: parts[0]} if len(parts) == 1 else dict(zip(CLIPS, parts, strict=True)),
            {"motif.token": token},
        )
        for token, parts in concept.tokens.items()
    ]


def matches(content: Mapping[str, Any]) -> bool:
    """Whether it is an embedding of these tools."""
    return PARAMETERS in content or set(content) in ({ONE}, set(CLIPS), {CLIPS[0]}, {CLIPS[1]})


def read(file: Foreign, base: Base) -> Piece:
    """The vectors, and the word that the file was saved under."""
    if PARAMETERS not in file.content:
        parts = [file.content[key] for key in (ONE, *CLIPS) if key in file.content]
        return Piece({"": tuple(vectors(part, file.name) for part in parts)}, {})
    held: Any = file.content[PARAMETERS]
    rows: dict[str, Any] = dict(held.items()) if hasattr(held, "items") else {}
    if not rows:
        raise InputError(f"{file.name}: its {PARAMETERS} holds no vectors")
    told = str(file.content.get("name") or "")
    return Piece({told if word == "*" else word: (vectors(row, word),) for word, row in rows.items()}, {})
