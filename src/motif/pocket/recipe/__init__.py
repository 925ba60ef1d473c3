"""The recipe of pocket: rendered pictures in, a shipped folder of weights out.

`train` runs the stages, `assemble` writes the shipped folder, `measure_card` measures it. Importing this
module is cheap; the functions import torch and diffusers when they are called for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motif.pocket.recipe.card import measure_card
    from motif.pocket.recipe.shipping import assemble
    from motif.pocket.recipe.stages import train

_HOMES = {"assemble": "shipping", "measure_card": "card", "train": "stages"}

__all__ = ["assemble", "measure_card", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
