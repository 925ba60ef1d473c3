"""Laws of the conditioning CLIP's image tower, trained on beside a text tower that stands still."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPModel

from motif.errors import InputError
from motif.pocket.recipe.image_tower import close_caption, close_views, train_image_tower
from motif.pocket.recipe.material import Material
from motif.pocket.recipe.settings import SIZES
from motif.pocket.recipe.tokenizer import build_tokenizer
from motif.pocket.world import grammar


def test_the_image_tower_moves_and_the_text_tower_does_not(trained: Path) -> None:
    before, after = (
        CLIPModel.from_pretrained(trained / stage / "clip").state_dict()
        for stage in ("condition-clip", "condition-image")
    )
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved and not any(name.startswith("text_model.") for name in moved)
    assert all(name in moved for name in after if name.startswith("vision_model.") and "mlp" in name)


def test_a_folder_of_another_text_tower_is_refused(trained: Path, material: Material, tmp_path: Path) -> None:
    shutil.copytree(trained / "condition-image", tmp_path / "run")
    other: CLIPModel = CLIPModel.from_pretrained(trained / "condition-clip" / "clip")
    with torch.no_grad():
        other.text_model.final_layer_norm.bias += 1
    other.save_pretrained(tmp_path / "other")
    tiny = SIZES["tiny"].condition_clip
    with pytest.raises(InputError, match="another text tower"):
        train_image_tower(
            material,
            material,
            build_tokenizer(grammar.all_words()),
            tmp_path / "other",
            tmp_path / "run",
            tiny,
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 47), st.integers(0, 47), st.integers(8, 16), st.integers(8, 16), st.integers(0, 2**16))
def test_a_close_view_shows_the_object_large(left: int, top: int, width: int, height: int, seed: int) -> None:
    mask = torch.zeros(4, 64, 64, dtype=torch.uint8)
    mask[:, top : top + height, left : left + width] = 255
    images, masks = close_views(mask[..., None].expand(-1, -1, -1, 3), mask, np.random.default_rng(seed))
    assert images.shape == (4, 3, 64, 64) and masks.shape == (4, 1, 64, 64)
    assert torch.allclose((images[:, :1] + 1) / 2, masks, atol=1e-5)  # both are seen from one place
    side = max(width, height) / 64
    assert (masks.mean((1, 2, 3)) > 1.5 * mask.float().mean() / 255).all() or side > 0.5
    assert (masks[:, 0, 24:40, 24:40].amax((1, 2)) > 0.9).all()  # in the middle


def test_without_a_mask_all_is_seen() -> None:
    rgb = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    images, _ = close_views(rgb, torch.zeros(3, 64, 64, dtype=torch.uint8), np.random.default_rng(0))
    assert images.std((1, 2, 3)).min() > 0.2 and images.abs().max() <= 1


def test_its_words_say_the_object_and_no_place(material: Material) -> None:
    for scene in material.scenes[:20]:
        said = close_caption(scene)
        assert said.endswith(scene.instance.noun) and scene.instance.main.name in said
        assert scene.view.context not in said.split()
