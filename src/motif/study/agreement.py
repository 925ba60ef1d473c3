"""Shares and agreement: Wilson's interval of a share, and Fleiss' kappa.

    (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n)               Wilson 1927
    κ = (P̄ − P̄ₑ) / (1 − P̄ₑ),  Pᵢ = Σⱼ nᵢⱼ(nᵢⱼ − 1) / nᵢ(nᵢ − 1)            Fleiss 1971, doi:10.1037/h0031619

Fleiss has the same number of answers for every pair; here a pair counts by the pairs of answers that it has,
nᵢ(nᵢ − 1)/2 of them, which is the same where the numbers are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from motif.errors import InputError


def wilson(count: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share, count of `of`; 0 to 1 where nothing was counted."""
    if not 0 <= count <= of:
        raise InputError(f"{count} of {of} is no share")
    if not 0 < confidence < 1:
        raise InputError(f"confidence {confidence}: a number between 0 and 1")
    if of == 0:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), count / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    low = 0.0 if count == 0 else (middle - half) / scale
    return low, 1.0 if count == of else (middle + half) / scale


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | None:
    """Agreement beyond chance, 1 where all agree; None where it has no value: no pair was answered twice, or all
    answers are one.

    Args:
        counts: For each pair, how often each answer was given.
    """
    rows = [row for row in counts if sum(row) >= 2]
    answers = sum(map(sum, rows))
    if not answers:
        return None
    together = sum(n * (n - 1) for row in rows for n in row)
    observed = together / sum(sum(row) * (sum(row) - 1) for row in rows)
    chance = sum((sum(column) / answers) ** 2 for column in zip(*rows, strict=True))
    return None if chance == 1 else (observed - chance) / (1 - chance)
