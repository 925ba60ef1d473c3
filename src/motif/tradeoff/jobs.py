"""The three kinds of jobs, as plain values: what they need, what they give, and everything to do them by.

learn     photos + method + settings        -> a concept for each of `steps`, checkpoints of one run
draw      a concept + prompt + seeds        -> pictures
measure   pictures + prompts + photos       -> a score
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos of a concept and what they show, as a worker reads them again."""

    folder: str
    prompt: str
    noun: str


@dataclass(frozen=True, eq=False)
class Learn:
    """One training run. `gives` is {steps: address}; a run goes from one to the next."""

    name: str  # of the run's folder
    gives: Mapping[int, str]
    method: str
    photos: Photos
    settings: Mapping[str, Any]
    prior: str  # runs of one prior share its pictures under this name
    label: str
    needs: tuple[str, ...] = ()

    @property
    def makes(self) -> tuple[str, ...]:
        return tuple(self.gives.values())


@dataclass(frozen=True, eq=False)
class Draw:
    """Pictures of one prompt, each of its own seed and under its own address: another list of seeds finds them again.
    `gives` is {seed: address}, of consecutive seeds, drawn together where none of them is there."""

    gives: Mapping[int, str]
    sampler: str
    prompt: str
    settings: Mapping[str, Any]
    label: str
    learned: str = ""  # the address of the concept; "" is the base itself

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.learned,) if self.learned else ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.gives)

    @property
    def makes(self) -> tuple[str, ...]:
        return tuple(self.gives.values())


@dataclass(frozen=True, eq=False)
class Measure:
    """One metric over some pictures."""

    address: str
    metric: str
    settings: Mapping[str, Any]
    draws: tuple[str, ...]  # the pictures' addresses
    prompts: tuple[str, ...]  # theirs, in the same order
    references: tuple[str, ...]
    label: str

    @property
    def needs(self) -> tuple[str, ...]:
        return self.draws

    @property
    def makes(self) -> tuple[str, ...]:
        return (self.address,)


Job = Learn | Draw | Measure


@dataclass(frozen=True, eq=False)
class Cell:
    """One point of one concept: its pictures and its scores, by their addresses."""

    concept: str
    draws: Mapping[str, str]  # {a picture's address: what it is to show}
    scores: Mapping[str, str]  # {metric: address}


@dataclass(frozen=True, eq=False)
class Spot:
    """One point of the table: a method with its settings, over all concepts."""

    method: str
    settings: Mapping[str, Any]  # those that are not the same for all of its method
    along: str  # the setting that the curve runs along; "" where it has one point
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """All jobs, each once, in an order in which they can be done; and the points that they make."""

    jobs: tuple[Job, ...]
    spots: tuple[Spot, ...]
    photos: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def blocks(seeds: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Consecutive seeds, at most `size` at a time: what one draw makes."""
    found: list[list[int]] = []
    for seed in seeds:
        if found and len(found[-1]) < size and seed == found[-1][-1] + 1:
            found[-1].append(seed)
        else:
            found.append([seed])
    return [tuple(block) for block in found]
