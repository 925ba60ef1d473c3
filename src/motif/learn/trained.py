"""The values under training: weights by full name, whole or as W + up down, and vectors of words.

What the base wears goes on with it: training starts from the worn weights, and the concept holds everything that was
worn and learned, as changes since the bare base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.weights import Change

Vectors = Mapping[str, tuple[Tensor, ...]]
"""{token: [vector, channel] of every text encoder}."""


@dataclass(frozen=True)
class Rates:
    """What each kind of value learns at, and how much of it decays per unit of that (decoupled, AdamW)."""

    weights: float
    words: float
    contexts: float = 0.0
    decay: float = 1e-2  # of weights and contexts
    word_decay: float = 0.0

    def times(self, factor: float) -> Rates:
        return replace(
            self,
            weights=factor * self.weights,
            words=factor * self.words,
            contexts=factor * self.contexts,
        )


@dataclass(frozen=True, eq=False)
class Trained:
    """Parameters in float32, on the base's device."""

    weights: Mapping[str, nn.Parameter]  # whole
    thin: Mapping[
        str, tuple[nn.Parameter, nn.Parameter]
    ]  # up [out, rank], down [rank, in], added to the base's
    vectors: Mapping[str, tuple[nn.Parameter, ...]]
    contexts: Mapping[
        str, tuple[nn.Parameter, ...]
    ]  # words of training captions alone, no part of the concept
    shifts: Vectors = field(
        default_factory=dict[str, tuple[Tensor, ...]]
    )  # added to a word while it is learned
    nouns: Mapping[str, str] = field(default_factory=dict[str, str])

    @staticmethod
    def start(
        base: Base,
        names: Sequence[str],
        vectors: Vectors,
        nouns: Mapping[str, str],
        *,
        rank: int = 0,
        contexts: Vectors | None = None,
        shifts: Vectors | None = None,
        seed: int = 0,
    ) -> Trained:
        """Copies of the weights of those names as they are worn, and of the vectors to start from.

        InputError where the base wears a concept with one of those tokens: it would be held twice.

        Args:
            rank: Learn W + up down instead of W; down is normal with a deviation of 1 / rank, and up zero.
            seed: Of down.
        """
        if known := base.vectors.keys() & vectors.keys():
            raise InputError(f"the base wears a concept with the token {min(known)}: choose another one")
        draw, device = torch.Generator().manual_seed(seed), base.device
        thin: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        for name in names if rank else ():
            out, into = base.weight(name).shape
            down = torch.randn(rank, into, generator=draw) / rank
            thin[name] = _parameter(torch.zeros(out, rank), device), _parameter(down, device)
        weights = {} if rank else {name: _parameter(base.weight(name), device) for name in names}
        moved = {
            t: tuple(p.detach().to(device).float() for p in parts) for t, parts in (shifts or {}).items()
        }
        return Trained(
            weights, thin, _parameters(vectors, device), _parameters(contexts or {}, device), moved, nouns
        )

    @property
    def reads(self) -> bool:
        """Whether the text encoders themselves learn, so that every text must be read anew."""
        return any(not name.startswith("unet.") for name in (*self.weights, *self.thin))

    def on(self, base: Base) -> Base:
        """The base wearing these very parameters, as a training step sees them; gradients reach them."""
        words = {**self.vectors, **self.contexts}
        shifted = {
            token: tuple(v + s for v, s in zip(words[token], parts, strict=True))
            for token, parts in self.shifts.items()
        }
        return self._dressed(base, self._effective(base), {**words, **shifted})

    def before(self, base: Base) -> Base:
        """The base with what it wears in the places of the values that learn: what it said before. It can be asked
        while `on` is worn."""
        names = (*self.weights, *self.thin)
        return base.dressed({**base.weights, **{n: base.weight(n) for n in names}}, base.vectors, base.nouns)

    def settled(self, base: Base) -> Base:
        """The base wearing the values as they are now, in its own type: for pictures as it goes."""
        with torch.no_grad():
            weights = {name: weight.detach().to(base.dtype) for name, weight in self._effective(base).items()}
        vectors = {t: tuple(v.detach().to(base.dtype) for v in parts) for t, parts in self.vectors.items()}
        return self._dressed(base, weights, vectors)

    def _effective(self, base: Base) -> dict[str, Tensor]:
        made = {name: base.weight(name).float() + up @ down for name, (up, down) in self.thin.items()}
        return {**self.weights, **made}

    def _dressed(self, base: Base, weights: Mapping[str, Tensor], vectors: Vectors) -> Base:
        nouns = {**base.nouns, **self.nouns}
        return base.dressed({**base.weights, **weights}, {**base.vectors, **vectors}, nouns)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter by a name of its own."""
        pairs = {
            f"{n}/{side}": p
            for n, both in self.thin.items()
            for side, p in zip(("up", "down"), both, strict=True)
        }
        words = {**self.vectors, **self.contexts}
        rows = {f"{token}/{i}": part for token, parts in words.items() for i, part in enumerate(parts)}
        return {**self.weights, **pairs, **rows}

    def holding(self, values: Mapping[str, Tensor]) -> Trained:
        """The same with other values, by the names of `parameters`."""
        held = {name: nn.Parameter(value.detach(), requires_grad=False) for name, value in values.items()}

        def words(found: Mapping[str, tuple[nn.Parameter, ...]]) -> dict[str, tuple[nn.Parameter, ...]]:
            return {token: tuple(held[f"{token}/{i}"] for i in range(len(v))) for token, v in found.items()}

        return replace(
            self,
            weights={name: held[name] for name in self.weights},
            thin={name: (held[f"{name}/up"], held[f"{name}/down"]) for name in self.thin},
            vectors=words(self.vectors),
            contexts=words(self.contexts),
        )

    def groups(self, rates: Rates) -> list[dict[str, Any]]:
        """The optimiser's groups, each with its rate and decay. What has rate 0 is frozen."""
        weights = [*self.weights.values(), *(part for both in self.thin.values() for part in both)]
        rows, contexts = (
            [p for parts in words.values() for p in parts] for words in (self.vectors, self.contexts)
        )
        groups: list[dict[str, Any]] = [
            {"params": weights, "lr": rates.weights, "weight_decay": rates.decay},
            {"params": rows, "lr": rates.words, "weight_decay": rates.word_decay},
            {"params": contexts, "lr": rates.contexts, "weight_decay": rates.decay},
        ]
        for group in groups:
            for value in group["params"]:
                value.requires_grad_(group["lr"] > 0)
        return [group for group in groups if group["params"] and group["lr"] > 0]

    def concept(self, base: Base, record: Record) -> Concept:
        """What was worn and what was learned so far: W − W₀ since the bare base in float32, and the words' vectors."""
        changes = {name: _worn(base, name) for name in base.weights}
        for name, weight in self.weights.items():
            changes[name] = Change(dense=(weight.detach() - base.models.parameter(name).float()).cpu())
        for name, both in self.thin.items():
            up, down = (part.detach().cpu().clone() for part in both)
            worn = changes.get(name)
            changes[name] = Change(dense=worn.full() + up @ down) if worn else Change(up=up, down=down)
        before = {token: parts for concept in base.concepts for token, parts in concept.tokens.items()}
        tokens = {t: tuple(v.detach().cpu().clone() for v in parts) for t, parts in self.vectors.items()}
        return Concept({**before, **tokens}, changes, record, base.local)


def _worn(base: Base, name: str) -> Change:
    """The change of a worn weight: its concept's own where only one is worn there."""
    found = [concept.changes[name] for concept in base.concepts if name in concept.changes]
    since = base.weights[name].detach().float() - base.models.parameter(name).float()
    return found[0] if len(found) == 1 else Change(dense=since.cpu())


def _parameters(vectors: Vectors, device: torch.device) -> dict[str, tuple[nn.Parameter, ...]]:
    return {token: tuple(_parameter(v, device) for v in parts) for token, parts in vectors.items()}


def _parameter(value: Tensor, device: torch.device) -> nn.Parameter:
    return nn.Parameter(value.detach().to(device=device, dtype=torch.float32, copy=True))
