"""Teach a text-to-image diffusion model a concept from a few photos, draw it, and measure the pictures.

    base = motif.Base.load("pocket")
    cat = motif.learn.custom_diffusion(base, motif.Examples("photos/cat", "photo of a <new1> cat"))
    pictures = motif.sample.plain(base.wear(cat), "a <new1> cat on the beach", n=4, seed=0)
    motif.grid(pictures).save("cat.png")

Names are imported when they are first used, so that `import motif` and the command line start without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motif import edit, invert, learn, measure, sample
    from motif.attention import Control
    from motif.base import Base
    from motif.concept import Concept
    from motif.elite.encoder import Encoder
    from motif.errors import InputError, Interrupted, MissingModel, MotifError, WrongBase
    from motif.grids import grid
    from motif.images import open_picture
    from motif.inversion import Inversion
    from motif.learn.compress import compress
    from motif.learn.examples import Examples
    from motif.learn.merge import merge
    from motif.learn.survey import survey
    from motif.measure.score import Score

__version__ = "0.1.0"

__all__ = [
    "Base",
    "Concept",
    "Control",
    "Encoder",
    "Examples",
    "InputError",
    "Interrupted",
    "Inversion",
    "MissingModel",
    "MotifError",
    "Score",
    "WrongBase",
    "compress",
    "edit",
    "grid",
    "invert",
    "learn",
    "measure",
    "merge",
    "open_picture",
    "sample",
    "survey",
]

_PLACES = {
    "Base": "motif.base",
    "Concept": "motif.concept",
    "Control": "motif.attention",
    "Encoder": "motif.elite.encoder",
    "Examples": "motif.learn.examples",
    "InputError": "motif.errors",
    "Interrupted": "motif.errors",
    "Inversion": "motif.inversion",
    "MissingModel": "motif.errors",
    "MotifError": "motif.errors",
    "Score": "motif.measure.score",
    "WrongBase": "motif.errors",
    "compress": "motif.learn.compress",
    "grid": "motif.grids",
    "merge": "motif.learn.merge",
    "open_picture": "motif.images",
    "survey": "motif.learn.survey",
}
"""Where each public name lives; the verbs (learn, sample, measure) are packages."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'motif' has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name) if name in _PLACES else import_module(f"motif.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
