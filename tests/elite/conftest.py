"""A tiny image encoder, encoders over it for every family, and pictures with masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from encoders import drawn, preprocessor
from motif.elite.encoder import Encoder
from motif.elite.start import fresh

LAYERS = 6


@pytest.fixture(autouse=True)
def _short_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny bases' prompts have 20 tokens, in which the paper's sentences find no room."""
    monkeypatch.setattr("motif.elite.views.TEMPLATES", ("a {}", "a photo of a {}", "the photo of the {}"))


@pytest.fixture(scope="session")
def tower_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision tower of 6 layers: (6, 1, 2, 3, 4) are the words', 3 x 3 patches."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    folder = tmp_path_factory.mktemp("weights") / "tower"
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=LAYERS, num_attention_heads=2, image_size=24,
        patch_size=8, projection_dim=16, initializer_factor=3.0,
    )  # fmt: skip
    CLIPVisionModel(config).eval().save_pretrained(folder)
    preprocessor(folder, 24)
    return folder


def moved(encoder: Encoder, seed: int = 9) -> Encoder:
    """The encoder with its projections and weights away from where they start."""
    import dataclasses

    draw = torch.Generator().manual_seed(seed)

    def nudged(named: Any, by: float) -> Any:
        return {name: w + by * torch.randn(w.shape, generator=draw) for name, w in named.items()}

    return dataclasses.replace(
        encoder, changes=nudged(encoder.changes, 0.05), projections=nudged(encoder.projections, 0.3)
    )


@pytest.fixture
def encoder(small: Any, tower_folder: Path) -> Encoder:
    return moved(fresh(small.base, str(tower_folder), seed=3))


@pytest.fixture
def photo() -> Image.Image:
    return drawn(4, (40, 32))


@pytest.fixture
def mask() -> Image.Image:
    image = Image.new("L", (40, 32))
    ImageDraw.Draw(image).rectangle((4, 4, 18, 27), fill=255)
    return image


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six pictures of a coloured box on noise, with masks; one has a caption with a token."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for i in range(6):
        rng = np.random.default_rng(i)
        image, mask = drawn(i, (48, 40)), Image.new("L", (48, 40))
        box = (8 + i, 6, 34 + i, 30)
        ImageDraw.Draw(image).rectangle(box, fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
        ImageDraw.Draw(mask).rectangle(box, fill=255)
        image.save(folder / f"{i}.png")
        mask.save(folder / f"{i}-mask.png")
    (folder / "2.txt").write_text("a photo of a <new1> on the beach")
    return folder
