"""Photos to invert: small, coloured, not square."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


def smooth(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def photo() -> Image.Image:
    return smooth(0)


@pytest.fixture
def photos() -> list[Image.Image]:
    return [smooth(0), smooth(1)]
