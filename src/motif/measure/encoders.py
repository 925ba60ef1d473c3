"""The encoder that a metric of any features asks for."""

from pathlib import Path
from typing import Literal

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, DinoEncoder
from motif.features.inception import InceptionEncoder

Encoder = ClipEncoder | DinoEncoder | InceptionEncoder
Features = Literal["default", "clip", "dino", "inception"]

KINDS: dict[str, type[Encoder]] = {"clip": ClipEncoder, "dino": DinoEncoder, "inception": InceptionEncoder}


def load_encoder(encoder: str | Path | Encoder, features: Features, device: str) -> Encoder:
    """A loaded one as it is; a name by the features: Inception is the default with `paper`, DINO otherwise."""
    if features not in ("default", *KINDS):
        raise InputError(f"features {features!r}: use default, {', '.join(KINDS)}")
    if isinstance(encoder, str | Path):
        kind = ("inception" if str(encoder) == "paper" else "dino") if features == "default" else features
        return KINDS[kind].load(encoder, device=device)
    if features != "default" and not isinstance(encoder, KINDS[features]):
        raise InputError(f"features {features}, and the encoder given is a {type(encoder).__name__}")
    return encoder
