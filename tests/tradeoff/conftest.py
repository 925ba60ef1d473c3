"""A trade-off small enough for a test: a tiny base in a folder, three photos, tiny encoders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from motif.base import Base
from motif.tradeoff.spec import Spec, made

DUCKS = Path(__file__).parents[2] / "examples" / "duck_toy"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1 pipeline's folder."""
    folder = tmp_path_factory.mktemp("tradeoff") / "base"
    tiny.pipeline("sd1").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(home: Path) -> Base:
    return Base.load(str(home))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos, one of them with a mask."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted(DUCKS.iterdir())[:3]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def raw(home: Path, photos: Path, clip_folder: Path) -> Callable[..., dict[str, Any]]:
    """A spec's plain values, with changes."""

    def values(**changes: Any) -> dict[str, Any]:
        settings = {"steps": [1, 2], "prior": "none", "batch_size": 2, "resolution": 16, "lr": 1e-2}
        learned = {"learn": "custom-diffusion", "settings": settings}
        return {
            "base": str(home),
            "concepts": [{"name": "toy", "photos": str(photos), "prompt": "photo of a <new1> cat"}],
            "prompts": ["{concept} on beach", "a {concept}"],
            "seeds": 2,
            "sampling": {"steps": 2},
            "encoder": str(clip_folder),
            "methods": [{}, learned],
            **changes,
        }

    return values


@pytest.fixture
def spec(raw: Callable[..., dict[str, Any]]) -> Callable[..., Spec]:
    """A spec, with changes."""
    return lambda **changes: made(raw(**changes))
