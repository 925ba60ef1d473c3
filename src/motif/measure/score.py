"""A score: one number per picture, their mean with its standard error, and every choice that was made.

    mean = 1/n Σᵢ sᵢ        standard error = √( Σᵢ (sᵢ − mean)² / (n − 1) ) / √n

n counts generated pictures, never pairs: the pairs of one picture with many references share that picture
and are not independent. The error says how far the mean would move with other samples (seeds) of the same
prompts against the same references; it says nothing about other references, prompts or concepts. With n = 1
it is unknown (None), not 0.

**NaN.** A picture whose value is NaN or infinite makes the score refuse, by that picture's name: a broken
picture or encoder is never averaged away, nor written to a table as a number. **No value** (None) is another
thing: the question has no answer for that picture (the region to compare is empty; the two are equal and have
no PSNR). Such pictures are counted, named in `per_image` by null, and left out of mean, error and n; a score of
nothing else is refused. `choices["no value"]` says what the metric counts so.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from motif.errors import InputError


@dataclass(frozen=True)
class Score:
    """What one metric says of a set of pictures."""

    name: str  # as on the command line: "clip-i"
    per_image: tuple[float | None, ...]  # one per generated picture, in the order given; None is "no value"
    choices: Mapping[str, object] = field(
        default_factory=dict[str, object]
    )  # backbone, preprocessing, pairs, scale ...
    also: Mapping[str, float] = field(
        default_factory=dict[str, float]
    )  # second readings: {"raw cosine": 0.318}
    images: tuple[str, ...] = ()  # the pictures' names, in the same order

    def __post_init__(self) -> None:
        if not self.per_image:
            raise InputError(f"{self.name}: no pictures to score")
        if self.images and len(self.images) != len(self.per_image):
            raise ValueError(f"{self.name}: {len(self.per_image)} values for {len(self.images)} names")
        bad = [self._label(i) for i, v in enumerate(self.per_image) if v is not None and not math.isfinite(v)]
        if bad:
            raise InputError(
                f"{self.name}: no finite value for {bad[0]} ({len(bad)} of {len(self.per_image)} pictures): "
                "look at that picture; if it is fine, the encoder's weights are broken"
            )
        if not self.values:
            why = self.choices.get("no value", "the metric is not defined there")
            raise InputError(f"{self.name}: no value for any of {len(self.per_image)} pictures: {why}")

    def _label(self, i: int) -> str:
        return self.images[i] if self.images else f"picture {i}"

    @property
    def values(self) -> tuple[float, ...]:
        """Those of the pictures that have one."""
        return tuple(value for value in self.per_image if value is not None)

    @property
    def n(self) -> int:
        """How many generated pictures the mean is over."""
        return len(self.values)

    @property
    def without(self) -> int:
        """How many pictures have no value."""
        return len(self.per_image) - self.n

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / self.n

    @property
    def standard_error(self) -> float | None:
        """Of the mean, over pictures; None for a single picture."""
        return statistics.stdev(self.values) / math.sqrt(self.n) if self.n > 1 else None

    def with_also(self, also: Mapping[str, float]) -> "Score":
        """The same with more second readings."""
        return dataclasses.replace(self, also={**self.also, **also})

    def row(self) -> dict[str, object]:
        """One line of a table: metric, mean, standard error, n, second readings, encoder."""
        return {
            "metric": self.name,
            "mean": self.mean,
            "standard error": self.standard_error,
            "n": self.n,
            **({"without a value": self.without} if self.without else {}),
            **self.also,
            "encoder": self.choices.get("encoder", ""),
        }

    def as_dict(self) -> dict[str, object]:
        """Everything, in values that JSON can hold."""
        return {
            "name": self.name,
            "mean": self.mean,
            "standard_error": self.standard_error,
            "n": self.n,
            "without_value": self.without,
            "also": dict(self.also),
            "choices": dict(self.choices),
            "images": list(self.images),
            "per_image": list(self.per_image),
        }

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.4f}"
        return f"{self.name} {self.mean:.4f}{error} (n={self.n})"
