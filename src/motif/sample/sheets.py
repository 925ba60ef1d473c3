"""DCI's sheets: the pictures by their balance, and the auxiliary lane's masks by the size of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image as Pillow

from motif.grids import grid

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Seen = dict[tuple[int, int], "list[Tensor]"]
"""{(h, w): masks [image, h, w] of every layer of that size and every step}."""


@dataclass(frozen=True, eq=False)
class Row:
    """What one balance gave: pictures, and the masks of each pass."""

    balance: float
    images: list[Image]
    seen: list[Seen]


def balances_sheet(rows: Sequence[Row], seeds: Sequence[int], title: str) -> Image:
    """A row for each balance, a column for each seed."""
    labels = [f"balance {row.balance:g}, seed {seed}" for row in rows for seed in seeds]
    images = [image for row in rows for image in row.images]
    return grid(images, columns=len(seeds), labels=labels, title=title, cell=max(128, images[0].width))


def masks_sheet(rows: Sequence[Row], seeds: Sequence[int], aux_prompt: str) -> Image:
    """Each picture, then the auxiliary lane's weight at each size, finest first: black is 0, white is 1; the mean over
    heads, layers of that size, and steps."""
    cells: list[Image] = []
    labels: list[str] = []
    sizes = sorted({size for row in rows for seen in row.seen for size in seen}, reverse=True)
    for row in rows:
        means = {size: _means(row.seen, size) for size in sizes}
        for i, image in enumerate(row.images):
            cells.append(image)
            labels.append(f"balance {row.balance:g}, seed {seeds[i]}")
            for h, w in sizes:
                cells.append(_shown(means[h, w][i], image.size))
                labels.append(f"{h} x {w}: mean {float(means[h, w][i].mean()):.2f}")
    title = f'weights of "{aux_prompt}"'
    return grid(
        cells, columns=1 + len(sizes), labels=labels, title=title, cell=max(128, rows[0].images[0].width)
    )


def _means(seen: Sequence[Seen], size: tuple[int, int]) -> list[Tensor]:
    """The mean mask [h, w] of every picture, over passes' layers and steps."""
    found: list[Tensor] = []
    for one in seen:
        found += sum(one[size][1:], one[size][0]).div(len(one[size])).unbind(0)
    return found


def _shown(mask: Tensor, size: tuple[int, int]) -> Image:
    picture = Pillow.fromarray(mask.mul(255).round().byte().numpy())
    return picture.resize(size, Pillow.Resampling.NEAREST).convert("RGB")
