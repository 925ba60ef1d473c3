"""A few drawn scenes with made-up pixels, and the whole recipe run on them at its smallest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motif.pocket.recipe import stages as recipe_stages
from motif.pocket.recipe import train
from motif.pocket.recipe.material import Material, material_from
from motif.pocket.recipe.tokenizer import build_tokenizer
from motif.pocket.world import grammar, scene
from motif.pocket.world.shards import Pictures

INSTANCES, VIEWS = 16, 4


@pytest.fixture(scope="session")
def material() -> Material:
    """64 drawn scenes; a picture is noise on its instance's colour, the mask a square."""
    rng = np.random.default_rng(0)
    drawn, names, pixels = [], [], []
    for number in range(INSTANCES):
        instance = scene.draw_instance(rng, noun=scene.NOUNS[number % 4])
        for _ in range(VIEWS):
            drawn.append(scene.Scene(instance, scene.draw_view(rng)))
            names.append(f"i{number}")
            pixels.append(np.clip(np.array(instance.main.rgb) * 255 + rng.normal(0, 30, (64, 64, 3)), 0, 255))
    mask = np.zeros((len(drawn), 64, 64), np.uint8)
    mask[:, 16:48, 16:48] = 255
    return material_from(Pictures(np.stack(pixels).astype(np.uint8), mask, drawn, names))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return build_tokenizer(grammar.all_words())


@pytest.fixture(scope="session")
def trained(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole recipe at its smallest: 48 pictures to learn from, 16 held out."""
    run = tmp_path_factory.mktemp("run")
    rows = torch.arange(len(material))
    split = (material.take(rows[:48]), material.take(rows[48:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_stages, "load_material", lambda shards: split)
        train(run, "nowhere", size="tiny", threads=torch.get_num_threads(), report=lambda line: None)
    return run
