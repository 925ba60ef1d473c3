"""Real photos (dreambench's, from examples/) through every inversion on pocket, at 64 px, in one batch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from motif.inversion import Inversion
from motif.methods import INVERT

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTOS = {
    "a photo of a cat": EXAMPLES / "cat2" / "00.jpg",
    "a photo of a duck": EXAMPLES / "duck_toy" / "00.jpg",
}


@cache
def inverted(base: Any, name: str) -> Inversion:
    settings = {"inner_steps": 3} if name.startswith(("null", "text", "value")) else {}
    return INVERT[name].load()(base, [*PHOTOS.values()], [*PHOTOS], steps=4, guidance=3.0, **settings)


@pytest.mark.parametrize("name", INVERT)
def test_real_photos_come_back(pocket: Any, name: str) -> None:
    found, plain = inverted(pocket, name), inverted(pocket, "ddim")
    scores = found.made.scores
    assert found.photos.shape == (2, 3, 64, 64) and found.prompts == tuple(PHOTOS)
    assert torch.isfinite(found.latents).all() and 15 < scores["vae_psnr"] < 60
    assert 8 < scores["psnr"] <= scores["vae_psnr"] + 0.5
    if name == "direct":
        assert scores["psnr"] == scores["vae_psnr"]
    elif name != "ddim":  # whatever it does beyond DDIM serves a photo that pocket never saw the like of
        assert scores["latent_mse"] < plain.made.scores["latent_mse"]
