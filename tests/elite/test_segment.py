"""CLIPSeg's masks, by a tiny model of that kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from encoders import drawn, preprocessor
from motif.elite import segment
from motif.elite.encoder import Encoder
from motif.elite.segment import segmented
from motif.errors import InputError, MissingModel
from motif.loading import pocket_weights


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights; the words are pocket's."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    folder = tmp_path_factory.mktemp("weights") / "clipseg"
    small: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
                             "num_attention_heads": 2}  # fmt: skip
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config={**small, "vocab_size": 2216, "max_position_embeddings": 32, "bos_token_id": 2214,
                     "eos_token_id": 2215, "pad_token_id": 2215},
        vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=16, reduce_dim=16,
        extract_layers=[1, 2, 3], decoder_num_attention_heads=2, decoder_intermediate_size=32,
    )  # fmt: skip
    CLIPSegForImageSegmentation(config).eval().save_pretrained(folder)
    preprocessor(folder, 32)
    for file in (pocket_weights() / "pipeline" / "tokenizer").iterdir():
        shutil.copy(file, folder)
    return folder


def test_a_mask_of_the_photo_s_size(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    photo = drawn(3, (40, 32))
    monkeypatch.setattr(segment, "THRESHOLD", 0.0)
    mask = segmented(photo, "cat", name=str(tiny))
    assert mask.size == photo.size and mask.mode == "L" and np.all(np.asarray(mask) == 255)
    monkeypatch.setattr(segment, "THRESHOLD", 1.0)
    with pytest.raises(InputError, match='sees no "cat"'):
        segmented(photo, "cat", name=str(tiny))


def test_what_is_not_here_is_named(photo: Image.Image, tmp_path: Path):
    with pytest.raises(MissingModel):
        segmented(photo, "cat", name=str(tmp_path / "none"))


def test_only_photos_without_a_mask_are_segmented(
    encoder: Encoder, photo: Image.Image, mask: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def seen(_: Image.Image, words: str) -> Image.Image:
        asked.append(words)
        return mask

    monkeypatch.setattr("motif.elite.photos.segmented", seen)
    found, given = encoder.encode(photo, segment="cat"), encoder.encode(photo, mask)
    assert asked == ["cat"] and torch.equal(found.tokens["<S>"][0], given.tokens["<S>"][0])
    with pytest.raises(InputError, match="nothing to segment"):
        encoder.encode(photo, mask, segment="cat")
