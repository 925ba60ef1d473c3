"""What the package ships of pocket: files, shapes, words and held-out pictures; nothing is measured here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from transformers import AutoTokenizer

from motif.cli.pocket import render
from motif.loading import pocket_weights
from motif.pocket.concepts import held_out
from motif.pocket.recipe.card import HELD_OUT
from motif.pocket.recipe.shipping import folder_size
from motif.pocket.world import grammar
from motif.pocket.world.held_out import EDIT_KINDS, read_edits, read_pairs
from motif.pocket.world.scene import NOUNS
from motif.pocket.world.shards import APART, CROWD, is_held_out, save_sheet

LIMIT = 60e6


def config(part: str) -> dict[str, Any]:
    return json.loads((pocket_weights() / part / "config.json").read_text())


def test_all_weights_are_float16_and_within_60_mb() -> None:
    files = list(pocket_weights().rglob("*.safetensors"))
    parts = [file for file in files if file.parent.name != "elite"]
    assert len(parts) == 7 and folder_size(pocket_weights()) <= LIMIT
    for file in files:
        with safe_open(file, "pt") as tensors:
            kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
        assert kinds == {"F16"}, file


def test_the_unet_attends_to_words_at_three_resolutions_and_the_scorer_is_another_clip() -> None:
    unet = config("pipeline/unet")
    assert unet["down_block_types"] == ["CrossAttnDownBlock2D"] * 3
    assert unet["up_block_types"] == ["CrossAttnUpBlock2D"] * 3
    levels = len(config("pipeline/vae")["block_out_channels"])
    assert unet["sample_size"] * 2 ** (levels - 1) == 64 == config("condition-clip")["image_size"]
    assert config("clip")["text_config"]["hidden_size"] != config("pipeline/text_encoder")["hidden_size"]
    assert config("condition-clip")["projection_dim"] > 0 and config("dino")["image_size"] == 64


@pytest.fixture(scope="module", params=["pipeline/tokenizer", "clip"])
def words(request: pytest.FixtureRequest) -> Any:
    return AutoTokenizer.from_pretrained(pocket_weights() / request.param)


def test_the_shipped_tokenizers_know_every_word_of_the_world(words: Any) -> None:
    for word in (*grammar.all_words(), *grammar.RARE_TOKENS, *grammar.PLAIN_WORDS):
        assert len(words(word).input_ids) == 3, word  # start, the word, end


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12), max_size=6)
)
def test_any_english_prompt_tokenises(words: Any, prompt: list[str]) -> None:
    ids = words(" ".join(prompt)).input_ids[1:-1]
    said = words.decode(ids) if ids else ""
    assert "".join(said.split()) == "".join(prompt).lower()


def test_the_held_out_sets_are_whole() -> None:
    assert len(held_out()) == 16 and {one.noun for one in held_out()} == set(NOUNS)
    for one in held_out():
        assert len(one.references) == len(one.views) == 6
        for photo in (*one.references, *one.views):
            mask = np.asarray(Image.open(photo.with_name(f"{photo.stem}-mask.png")))
            assert mask.shape == (64, 64) and 0.03 < (mask > 127).mean() < 0.8
            assert "{concept}" in photo.with_suffix(".txt").read_text()
    pictures, captions, full = read_pairs(HELD_OUT)
    assert len(pictures.rgb) == len(pictures.mask) == len(captions) == len(full) == 200
    edits = read_edits(HELD_OUT)
    assert [edit.pair.kind for edit in edits] == [*EDIT_KINDS] * 12


def test_the_shipped_change_of_a_colour_or_a_pattern_is_what_is_painted_otherwise() -> None:
    """It differs in the two renders, and next to nothing differs beside it, be it on the object."""
    for edit in read_edits(HELD_OUT):
        if edit.pair.kind in ("colour", "pattern"):
            change = np.abs(edit.before.astype(float) - edit.after).max(-1)
            inside, outside = change[edit.change > 127], change[edit.change == 0]
            assert (inside > 8).mean() > 0.9 and outside.mean() < 2, edit.pair.before_caption


def test_the_shards_of_the_default_count_stay_within_60_mb(tmp_path: Path) -> None:
    """By what the held-out pairs, drawn as training pictures are, take in a shard's three files."""
    pictures, _, _ = read_pairs(HELD_OUT)
    save_sheet(list(pictures.rgb), tmp_path / "sheet.avif")
    save_sheet(list(pictures.mask), tmp_path / "mask.webp")
    scenes = [{"id": "0-000000", **one.to_json()} for one in pictures.scenes]
    packed = gzip.compress(json.dumps(scenes, separators=(",", ":")).encode())
    each = (folder_size(tmp_path) + len(packed)) / len(pictures.rgb)
    count = next(option.default for option in render.params if option.name == "count")
    seed = next(option.default for option in render.params if option.name == "seed")
    assert isinstance(count, int)
    assert sum(not is_held_out(f"{seed}-{index // 5:06d}") for index in range(count)) >= 30_000
    assert each * (count + 5 * APART + 2 * CROWD * len(NOUNS)) <= LIMIT
