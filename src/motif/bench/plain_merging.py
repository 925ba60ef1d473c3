"""The peer of `merge`: the released procedure (Kumari et al. 2023, arXiv:2212.04488), written plainly.

One unpadded prompt at a time, float32, the captions' matrix by LU, one solve for each row, an explicit inverse, and
every merged matrix whole. Of a prompt that opens with "photo of a" the start and three words are left out, of captions
too, which ours holds whole (card 2.2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept


def first_of(prompt: str) -> int:
    """The first position of a prompt that counts."""
    return 4 if "photo of a" in prompt[:15] else 1


def merge(
    base: Base, concepts: Sequence[Concept], captions: Sequence[str], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """The merged weights, by name; in float64 the same without float32's rounding."""
    worn = base.dressed({}, {t: v for one in concepts for t, v in one.tokens.items()}, {})
    reader: Any = worn.models.readers[0]

    def states(prompt: str) -> Tensor:
        ((cut,),) = worn.tokenise([prompt])
        short = dataclasses.replace(cut, ids=cut.ids[: cut.end + 1], chars=cut.chars[: cut.end + 1])
        with torch.no_grad():
            rows, _ = reader.encode([short], {t: v[0] for t, v in worn.vectors.items()})
        return rows[0, first_of(prompt) :].to(dtype)

    held = torch.cat([states(caption) for caption in captions])
    words: list[Tensor] = []
    for one in concepts:
        ((token, noun),) = one.record.nouns.items()
        words.append(torch.cat([states(f"{token} {noun}"), states(f"photo of a {token} {noun}")]))
    c = torch.cat(words)
    lu, pivots = torch.linalg.lu_factor(held.T @ held)
    d = torch.stack([torch.linalg.lu_solve(lu, pivots, row[:, None])[:, 0] for row in c])
    inverse = torch.linalg.inv(d @ c.T)
    merged: dict[str, Tensor] = {}
    for name in concepts[0].changes:
        own = base.models.parameter(name).detach().to(dtype)
        tuned = [own + one.changes[name].full().to(own) for one in concepts]
        values = torch.cat([w @ rows.T for w, rows in zip(tuned, words, strict=True)], 1)
        merged[name] = own + (values - own @ c.T) @ inverse @ d
        gaps = ((merged[name] @ c.T - values).norm(dim=0), ((merged[name] - own) @ held.T).norm(dim=0))
        assert all(bool(torch.isfinite(gap.mean())) for gap in gaps)  # the release prints both
    return merged
