"""Contact sheets: pictures side by side, with a caption under each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from motif.errors import InputError

GAP = 8
"""The white between pictures, in pixels."""

LINE = 18
"""The height of a line of text, in pixels."""


def grid(
    images: Sequence[Image.Image],
    *,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    title: str = "",
    cell: int | None = None,
) -> Image.Image:
    """Pictures side by side on white, row by row.

    Args:
        columns: How many in a row; the default is the nearest to a square.
        labels: A caption under each picture.
        title: A line above all.
        cell: A picture's width in pixels; the default is the widest one's, at least 128 where there is text.
    """
    if not images or (labels is not None and len(labels) != len(images)):
        raise InputError(
            f"a grid of {len(images)} pictures with {len(labels or ())} labels: give one label a picture"
        )
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    cell = cell or max(max(image.width for image in images), 128 if labels or title else 1)
    if columns < 1 or cell < 1:
        raise InputError(f"columns is {columns} and cell {cell}: both must be at least 1")
    font = ImageFont.load_default(13)
    head = _wrapped(title, font, columns * (cell + GAP) - GAP)
    labels = labels or [""] * len(images)
    cells = [
        _Cell(_at_width(i, cell), _wrapped(text, font, cell)) for i, text in zip(images, labels, strict=True)
    ]
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    bands = [_drawn([_Cell(None, head)], font, columns * (cell + GAP))] if head else []
    bands += [_drawn(row, font, cell + GAP) for row in rows]
    sheet = Image.new(
        "RGB", (columns * (cell + GAP) + GAP, GAP + sum(band.height + GAP for band in bands)), "white"
    )
    y = GAP
    for band in bands:
        sheet.paste(band, (GAP, y))
        y += band.height + GAP
    return sheet


@dataclass(frozen=True)
class _Cell:
    picture: Image.Image | None
    lines: list[str]


def _drawn(row: Sequence[_Cell], font: Any, pitch: int) -> Image.Image:
    """One row of cells, `pitch` pixels apart; captions start under the tallest picture."""
    tall = max(c.picture.height if c.picture else 0 for c in row)
    band = Image.new("RGB", (len(row) * pitch, tall + max(len(c.lines) for c in row) * LINE), "white")
    draw = ImageDraw.Draw(band)
    for place, c in enumerate(row):
        if c.picture:
            band.paste(c.picture, (place * pitch, 0))
        draw.multiline_text((place * pitch, tall), "\n".join(c.lines), "black", font)
    return band


def _at_width(image: Image.Image, width: int) -> Image.Image:
    height = max(1, round(image.height * width / image.width))
    return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    """The words of a text in lines that fit; a word that is too long stands alone."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
