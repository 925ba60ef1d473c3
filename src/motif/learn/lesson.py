"""What one method brings to the shared run (`teach`): which values learn, from where, how fast; what a step shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from motif.base import Base
from motif.learn.recipes import Recipe
from motif.learn.trained import Rates, Vectors


@dataclass(frozen=True, eq=False)
class Lesson:
    """The plan of one method, made of a base, examples and settings before any work.

    Attributes:
        recipe: How a step sees photos and weighs them.
        rates: Base learning rates; what has rate 0 does not learn.
        class_prompts: What the prior of each concept shows, where the user does not say.
        weights: Full names of the weights that learn.
        rank: Learn them as W + up down of this rank; 0 learns W.
        words: {token: vectors to start from} of the new words.
        contexts: {token: vectors to start from} of words in training captions that are no part of the concept.
        shifts: {token: vectors} added to a word or context in training captions alone.
        captions: Of each photo of each concept; the default is the photos' own.
        augment: Resize photos as the recipe says; else they are whole.
    """

    recipe: Recipe
    rates: Rates
    class_prompts: Sequence[Sequence[str]]
    weights: Sequence[str] = ()
    rank: int = 0
    words: Vectors = field(default_factory=dict[str, tuple[Tensor, ...]])
    contexts: Vectors = field(default_factory=dict[str, tuple[Tensor, ...]])
    shifts: Vectors = field(default_factory=dict[str, tuple[Tensor, ...]])
    captions: Sequence[Sequence[str]] | None = None
    augment: bool = False

    def learned(self) -> Sequence[str]:
        """The weights that learn at these rates."""
        return self.weights if self.rates.weights else ()

    def size(self, base: Base) -> int:
        """Bytes of the learned values in float32: about a concept's file."""
        shapes = [base.models.parameter(name).shape for name in self.learned()]
        words: Mapping[str, tuple[Tensor, ...]] = self.words
        rows = sum(part.numel() for parts in words.values() for part in parts)
        return 4 * (rows + sum(self.rank * sum(shape) if self.rank else shape.numel() for shape in shapes))
