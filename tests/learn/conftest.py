"""Photos to learn from, and a tiny base of every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tiny


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small photos, one of them not square."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i, (w, h) in enumerate([(40, 40), (48, 36), (36, 36)]):
        Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def base(request: pytest.FixtureRequest) -> Any:
    return tiny.base_of(tiny.pipeline(request.param))
