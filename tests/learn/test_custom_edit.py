"""Custom-Edit's way to learn: five templates, crops in one of three, the modifier's words in all (card 8)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motif.learn import Examples, custom_edit
from motif.learn.augment import look
from pieces import Model

PROMPT = "photo of a <new1> patterned teapot"
KINDS = ("photo", "rendering", "illustration", "depiction", "rendition")
CROPS = ("zoomed in photo of a ", "close up in photo of a ", "cropped in photo of a ")


def test_the_captions_and_crops_are_the_paper_s(sd1: Model, photos: Path) -> None:
    lesson = custom_edit.plan(sd1.base, Examples(photos, PROMPT), lr=1e-5, token_lr=1e-5, augment=True)
    rng, n = np.random.default_rng(0), 6000
    drawn = [look(lesson.recipe.resizing, 512, 8, rng, augment=lesson.augment)[0] for _ in range(n)]
    crops = [how for how in drawn if how.size > 512]
    counts = Counter(how.prefix for how in drawn)
    assert len(crops) / n == pytest.approx(1 / 3, abs=0.02)
    assert {how.prefix for how in crops} == set(CROPS)
    assert set(counts) == {*CROPS, *(f"{kind} of a " for kind in KINDS)}
    assert all(how.whole(512) for how in drawn if how.size <= 512), "no picture is shrunk: no mask is needed"
    for kind in KINDS:
        assert counts[f"{kind} of a "] / n == pytest.approx(2 / 15, abs=0.02)
    assert lesson.captions == [["<new1> patterned teapot"] * 3]
    assert lesson.class_prompts == [["photo of a patterned teapot"]]


def test_the_numbers(sd1: Model, photos: Path) -> None:
    """500 steps at batch 2; the rate is Custom Diffusion's rule, 4e-5 with the prior (our choice)."""
    settings = custom_edit.settle(sd1.base, Examples(photos, PROMPT))
    assert (settings["steps"], settings["batch_size"], settings["prior_count"]) == (500, 2, 200)
    assert settings["lr"] * 2 * settings["batch_size"] == pytest.approx(4e-5)


def test_without_crops_every_picture_is_whole(sd1: Model, photos: Path) -> None:
    lesson = custom_edit.plan(sd1.base, Examples(photos, PROMPT), lr=1e-5, token_lr=1e-5, augment=False)
    rng = np.random.default_rng(0)
    drawn = [look(lesson.recipe.resizing, 512, 8, rng, augment=lesson.augment)[0] for _ in range(100)]
    assert all(how.whole(512) for how in drawn)


def test_captions_of_photos_are_told_to_be_unused(
    sd1: Model, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for photo in photos.glob("*.png"):
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    quick: dict[str, Any] = {"steps": 1, "batch_size": 1, "prior": "none"}
    custom_edit(sd1.base, Examples(tmp_path, "photo of a <new1> cat"), **quick)
    assert "own captions" not in caplog.text
    (tmp_path / "0.txt").write_text("a <new1> cat on the beach")
    custom_edit(sd1.base, Examples(tmp_path, "photo of a <new1> cat"), **quick)
    assert "own captions are not used" in caplog.text
