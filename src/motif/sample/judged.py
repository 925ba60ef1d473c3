"""Which of several balances: the one that is most true to both, the concept's photos and the prompt.

    image = (cos(x, refs) − a) / (b − a)       a: pictures of the auxiliary prompt alone, b: the photos among themselves
    text  = (cos(x, prompt) − c) / (d − c)     c: the photos, d: those pictures with their own prompt

The harmonic mean of both, each from 0 to 1, in CLIP's cosines. Ours: the paper chooses by eye, prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motif.base import Base
from motif.errors import InputError
from motif.sample.sheets import Row
from motif.sample.stand_in import Pair
from motif.tokens import without_tokens

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from motif.features.extractors import ClipEncoder

LEAST = 1e-3
"""Two ends of a scale that are nearer to one another than this say nothing."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A CLIP with the photos' features, and the two prompts'."""

    encoder: ClipEncoder
    photos: Tensor
    words: Tensor  # [2, channel]: the prompt without learned tokens, the auxiliary prompt

    @staticmethod
    def of(base: Base, pair: Pair, references: str | Path | Sequence[Path], encoder: str) -> Judge:
        """Read before the run. InputError without photos."""
        from motif.features.extractors import ClipEncoder
        from motif.features.pictures import gather

        if not references:
            raise InputError("auto compares with the concept's photos: name their folder (references)")
        loaded = ClipEncoder.load(
            encoder or ("pocket" if base.name == "pocket" else "paper"), device=str(base.device)
        )
        folder = references if isinstance(references, str | Path) else list(references)
        photos = loaded.images(gather(folder, "references"))
        if len(photos) < 2:
            raise InputError(
                f"auto needs two photos of the concept, to know how alike they are: {references}"
            )
        return Judge(loaded, photos, loaded.texts([without_tokens(pair.main), pair.aux]))

    def best(self, rows: Sequence[Row], alone: Sequence[Image]) -> tuple[int, str]:
        """(which row, a line for each row and why); `alone` are pictures of the auxiliary prompt."""
        from motif.features.extractors import cosines

        plain, n = self.encoder.images(list(alone)), len(self.photos)
        among = (float(cosines(self.photos, self.photos).sum()) - n) / (n * (n - 1))
        floor = float(cosines(plain, self.photos).mean())
        lowest, highest = (
            float(cosines(self.photos, self.words[:1]).mean()),
            float(cosines(plain, self.words[1:]).mean()),
        )
        scores: list[tuple[float, float, float]] = []
        for row in rows:
            mine = self.encoder.images(row.images)
            image = _between(float(cosines(mine, self.photos).mean()), floor, among)
            text = _between(float(cosines(mine, self.words[:1]).mean()), lowest, highest)
            scores.append((image, text, 2 * image * text / (image + text) if image + text else 0.0))
        best = max(range(len(rows)), key=lambda i: (scores[i][2], scores[i][0] + scores[i][1]))
        lines = [
            f"balance {row.balance:g}: image {v:.2f}, text {t:.2f}, both {both:.2f}{'  <- picked' * (i == best)}"
            for i, (row, (v, t, both)) in enumerate(zip(rows, scores, strict=True))
        ]
        why = (
            "image: 0 is the auxiliary prompt's own pictures, 1 another photo of the concept; text: 0 is the photos, "
            "1 those pictures with their own words; both is the harmonic mean"
        )
        return best, "\n".join([*lines, why])


def _between(value: float, floor: float, ceiling: float) -> float:
    return min(max((value - floor) / max(ceiling - floor, LEAST), 0.0), 1.0)
