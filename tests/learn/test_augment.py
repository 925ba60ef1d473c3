"""The resize augmentation: its statistics, its geometry, and that no mask is ever empty (card 1.5)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from motif.learn.augment import IN_VIEW, SMALL, ZOOMED, Placement, Resizing, fitted, look, place, valid

RECIPES = {"compvis": Resizing(), "diffusers": Resizing(zoom=0.34, shrink_middle=True, even=False)}


def draws(resizing: Resizing, side: int, n: int = 6000) -> list[Placement]:
    rng = np.random.default_rng(0)
    return [resizing.draw(side, rng) for _ in range(n)]


def test_a_third_zooms_a_quarter_is_small_and_the_rest_is_whole() -> None:
    seen = draws(Resizing(), 512)
    zoomed = [p for p in seen if p.prefix in ZOOMED]
    small = [p for p in seen if p.prefix in SMALL]
    whole = [p for p in seen if p.whole(512)]
    assert len(zoomed) / len(seen) == pytest.approx(1 / 3, abs=0.02)
    assert len(small) / len(seen) == pytest.approx(0.27, abs=0.02)
    assert len(whole) / len(seen) == pytest.approx(0.40, abs=0.02)
    assert len(zoomed) + len(small) + len(whole) == len(seen)
    assert min(p.size for p in zoomed) >= 614 and max(p.size for p in zoomed) <= 716
    assert min(p.size for p in small) >= 170 and max(p.size for p in small) < 0.6 * 512 + 1
    assert all(p.size % 2 == 0 for p in seen)
    assert {p.prefix for p in seen} == {"", *ZOOMED, *SMALL}
    assert np.mean([p.flip for p in seen]) == pytest.approx(0.5, abs=0.03)


def test_the_diffusers_recipe_shrinks_the_middle_without_a_prefix() -> None:
    middle = [p for p in draws(RECIPES["diffusers"], 512) if p.boxed and not p.prefix]
    assert middle and all(0.6 * 512 <= p.size < 512 for p in middle)


@given(
    side=st.sampled_from([64, 96, 512]),
    factor=st.sampled_from([4, 8]),
    recipe=st.sampled_from(sorted(RECIPES)),
    seed=st.integers(0, 10**6),
)
def test_every_mask_holds_a_cell_and_only_cells_that_the_photo_fills(
    side: int, factor: int, recipe: str, seed: int
) -> None:
    placement = RECIPES[recipe].draw(side, np.random.default_rng(seed))
    mask = valid(placement, side, factor, border=recipe == "diffusers")
    canvas = place(Image.new("RGB", (80, 80), "white"), placement, side)
    assert mask.shape == (side // factor, side // factor)
    assert mask.sum() >= 1
    assert canvas.shape == (side, side, 3)
    filled = (canvas[..., 0] > 0.5).reshape(side // factor, factor, side // factor, factor).mean((1, 3))
    if placement.boxed and placement.size >= 4 * factor:
        assert (filled[mask > 0] == 1).all(), "a valid cell shows grey"
        assert mask.sum() < mask.size
    if not placement.boxed:
        assert (canvas > 0.5).all(), "a zoom or a whole picture fills the canvas"


def test_the_card_s_corner_case_that_divided_by_zero() -> None:
    """At 64 px a 22 px box in the corner trims to rows 1..1 in the published code: an empty mask."""
    mask = valid(Placement(22, top=0, left=0, boxed=True), 64, 8)
    assert mask.sum() == 1


def test_geometry_at_512() -> None:
    """Rows (cx - r/2)//8 + 1 up to (cx + r/2)//8 - 1, exclusive (card 1.5, item 3)."""
    mask = valid(Placement(200, top=100, left=40, boxed=True), 512, 8)
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    assert (rows[0], rows[-1]) == (100 // 8 + 1, 300 // 8 - 2)
    assert (columns[0], columns[-1]) == (40 // 8 + 1, 240 // 8 - 2)


def test_a_flip_mirrors_and_a_zoom_crops() -> None:
    photo = Image.fromarray(np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype("uint8"))
    plain, mirrored = place(photo, Placement(64), 64), place(photo, Placement(64, flip=True), 64)
    assert np.array_equal(plain[:, ::-1], mirrored)
    zoom = place(photo, Placement(80, top=-8, left=-8), 64)
    big = np.asarray(photo.resize((80, 80), Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1
    assert np.array_equal(zoom, big[8:72, 8:72])


@given(side=st.integers(24, 520), recipe=st.sampled_from(sorted(RECIPES)), seed=st.integers(0, 10**6))
def test_a_box_lies_on_the_canvas_and_a_zoom_covers_it(side: int, recipe: str, seed: int) -> None:
    how = RECIPES[recipe].draw(side, np.random.default_rng(seed))
    for start in (how.top, how.left):
        if how.size > side:
            assert start <= 0 and start + how.size >= side
        else:
            assert start >= 0 and start + how.size <= side


def corner(size: int = 40) -> Image.Image:
    """The mask of a small subject in the lower right corner of a 512 px photo."""
    mask = Image.new("L", (512, 512))
    mask.paste(255, (500 - size, 500 - size, 500, 500))
    return mask


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_masked_photo_always_shows_its_subject(recipe: str) -> None:
    """Most zooms miss a subject in the corner; the background never takes its place."""
    resizing, mask, zooms = RECIPES[recipe], corner(), 0
    assert any(valid(how, 512, 8, mask=mask).sum() == 0 for how in draws(resizing, 512, 40))
    for seed in range(80):
        how, cells = look(
            resizing, 512, 8, np.random.default_rng(seed), mask=mask, border=recipe == "diffusers"
        )
        assert cells.sum() * 64 >= IN_VIEW * 0.95 * 40**2 * (how.size / 512) ** 2
        assert cells.sum() * 64 <= 1.05 * 40**2 * (how.size / 512) ** 2, "background counts"
        zooms += how.size > 512
        assert (
            look(resizing, 512, 8, np.random.default_rng(seed), mask=mask)[0] == how or recipe == "diffusers"
        )
    assert zooms > 0


def test_a_subject_that_no_placement_shows_is_seen_whole() -> None:
    zoom = Resizing(zoom=1.0)
    tries = [look(zoom, 512, 8, np.random.default_rng(seed), mask=corner(1))[0] for seed in range(14)]
    assert {how.size > 512 for how in tries} == {True, False}
    assert all(how.whole(512) for how in tries if how.size <= 512)


def test_a_photo_without_a_mask_is_placed_by_the_recipe_s_own_draws() -> None:
    rng, mine = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        rng.random()
        assert look(Resizing(), 512, 8, mine)[0] == Resizing().draw(512, rng)


@pytest.mark.parametrize("crop", [True, False])
def test_photos_are_kept_no_larger_than_the_largest_zoom_and_never_enlarged(crop: bool) -> None:
    large, small = Image.new("RGB", (1500, 1100)), Image.effect_noise((101, 80), 90).convert("RGB")
    assert fitted(large, 512, crop=crop).size == (717, 717)
    kept = fitted(small, 512, crop=crop)
    expected = small.crop((10, 0, 90, 80)) if crop else small
    assert kept.tobytes() == expected.tobytes()


def test_a_squashed_photo_is_resized_once_and_by_the_recipe_s_filter() -> None:
    photo = Image.effect_noise((101, 80), 90).convert("RGB")
    kept = fitted(photo, 64, crop=False, bilinear=True)
    assert kept.size == (90, 80)
    assert kept.tobytes() == photo.resize((90, 80), Image.Resampling.BILINEAR).tobytes()
    once = np.asarray(photo.resize((512, 512), Image.Resampling.BILINEAR), dtype=np.float32) / 127.5 - 1
    plain = place(fitted(photo, 512, crop=False, bilinear=True), Placement(512), 512, bilinear=True)
    assert np.array_equal(plain, once)
