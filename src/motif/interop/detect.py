"""Which format a foreign file has, by its names; each is tried in turn, the most telling first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from motif.base import Base
from motif.errors import InputError
from motif.interop import a1111, adobe, compvis, diffusers, kohya, lora
from motif.interop.foreign import Foreign, Piece


@dataclass(frozen=True)
class Reader:
    """A format that is read."""

    name: str
    matches: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Foreign, Base], Piece]


READERS = (
    Reader("official Custom Diffusion delta", adobe.matches, adobe.read),
    Reader("diffusers' Custom Diffusion weights", diffusers.matches_weights, diffusers.read_weights),
    Reader("LoRA in kohya's keys", kohya.matches, kohya.read),
    Reader("LoRA in PEFT's or diffusers' keys", lora.matches, lora.read),
    Reader("official CompVis delta", compvis.matches, compvis.read),
    Reader("A1111's embedding", a1111.matches, a1111.read),
    Reader("learned_embeds", diffusers.matches_word, diffusers.read_word),
)


def detect(file: Foreign) -> Reader:
    """The format of a file. InputError where it is none of them, with what there is."""
    for reader in READERS:
        if reader.matches(file.content):
            return reader
    lora.refuse_others(file.content, file.name)
    some = ", ".join(sorted(file.content)[:3]) or "nothing"
    known = ", ".join(reader.name for reader in READERS)
    raise InputError(f"{file.name}: holds {some}..., which is no format that motif reads ({known})")
