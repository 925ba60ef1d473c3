"""What a base is known by, so that what was learned on it goes onto no other."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

from motif.errors import WrongBase


@dataclass(frozen=True)
class Origin:
    """Which base a concept was learned on."""

    name: str
    shape: str  # hash of the architecture: the UNet's and the text encoders' names and shapes
    norms: tuple[float, ...]  # of some of their weights
    signs: tuple[float, ...] = ()  # projections of all of them; older files have none
    prediction: str = ""  # what the UNet answers: epsilon, v_prediction or sample; older files do not say
    frame: str = ""  # hash of the noise schedule and the VAE, which concepts do not change

    @property
    def fingerprint(self) -> str:
        """One word for this base in this precision, the same on every device and with any number of threads."""
        told = json.dumps([self.shape, self.norms, self.signs, self.prediction, self.frame])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def same_shape(self, other: Origin) -> bool:
        return self.shape == other.shape

    def same_weights(self, other: Origin, *, tolerance: float = 1e-3) -> bool:
        """Equal within what rounding to float16 or bfloat16 does.

        It moves a norm by a share of 1e-4, and a projection by 2e-3 (bfloat16; standard deviation). A fine-tune moves
        the projections by its ‖Δ‖ / ‖W‖: 1e-2 and more at a learning rate of 1e-5 after a few hundred steps.
        """
        if not self.same_shape(other) or len(self.norms) != len(other.norms):
            return False
        pairs = zip(self.norms, other.norms, strict=True)
        if not all(abs(a - b) <= tolerance * max(abs(a), 1e-3) for a, b in pairs):
            return False
        if not (self.signs and other.signs):
            return True
        gaps = [abs(a - b) for a, b in zip(self.signs, other.signs, strict=False)]
        return max(gaps) <= 15 * tolerance and math.hypot(*gaps) <= 4 * tolerance * math.sqrt(len(gaps))

    def require(self, base: Origin, *, who: str, other_base: bool) -> None:
        """WrongBase where what was learned here does not go onto that base; `other_base` allows other weights."""
        if not self.same_shape(base):
            raise WrongBase(
                f"{who} was learned on {self.name}, whose architecture is not {base.name}'s: load {self.name}"
            )
        if not other_base and self.prediction and self.prediction != base.prediction:
            raise WrongBase(
                f"{who} was learned on {self.name}, which predicts {self.prediction}; {base.name} predicts "
                f"{base.prediction}: load it with the scheduler it was learned with, or allow it (--other-base)"
            )
        if not other_base and not self.same_weights(base):
            raise WrongBase(
                f"{who} was learned on {self.name}; {base.name} has the same architecture and other weights: "
                f"load {self.name}, or allow it (--other-base)"
            )
