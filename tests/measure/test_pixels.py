"""PSNR, SSIM and MSE: against torchmetrics and scikit-image, and the laws of pairs and regions."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from motif.errors import InputError
from motif.measure import mse, psnr, ssim
from motif.measure.pairs import tensor

METRICS = {"mse": mse, "psnr": psnr, "ssim": ssim}


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]


@pytest.fixture
def sources(picture):
    return [picture(50 + seed) for seed in range(5)]


@pytest.fixture
def masks():
    """Another box for each picture, 40 x 33."""
    found = [Image.new("L", (40, 33)) for _ in range(5)]
    for i, mask in enumerate(found):
        mask.paste(255, (3 + i, 4, 25 + i, 20 + 2 * i))
    return found


def batch(pictures):
    """[image, 3, h, w] in [0, 1]."""
    return torch.stack([tensor(picture) for picture in pictures])


def test_whole_pictures_are_torchmetrics(pictures, sources):
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    for i, (x, y) in enumerate(zip(batch(pictures), batch(sources), strict=True)):
        x, y = x[None], y[None]
        assert mse(pictures, sources).per_image[i] == pytest.approx(float((x - y).square().mean()), rel=1e-12)
        theirs = float(peak_signal_noise_ratio(x, y, data_range=1.0))
        assert psnr(pictures, sources).per_image[i] == pytest.approx(theirs, abs=1e-5)
        theirs = float(structural_similarity_index_measure(x, y, data_range=1.0))
        assert ssim(pictures, sources).per_image[i] == pytest.approx(theirs, abs=1e-6)


def test_whole_pictures_are_scikit_images(pictures, sources):
    from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

    pairs = [(np.asarray(x) / 255, np.asarray(y) / 255) for x, y in zip(pictures, sources, strict=True)]
    assert mse(pictures, sources).per_image == pytest.approx([mean_squared_error(*pair) for pair in pairs])
    theirs = [peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs]
    assert psnr(pictures, sources).per_image == pytest.approx(theirs)


def test_ssim_is_the_one_inversions_are_scored_by(pictures, sources):
    from motif.fidelity import ssim as of_tensors

    assert ssim(pictures, sources).per_image == pytest.approx(
        of_tensors(batch(pictures), batch(sources)).tolist()
    )


def test_equal_pictures(pictures):
    assert set(mse(pictures, pictures).per_image) == {0.0}
    assert ssim(pictures, pictures).per_image == pytest.approx([1] * 5)
    with pytest.raises(InputError, match=r"psnr: no value for any of 5 pictures.*mse 0"):
        psnr(pictures, pictures)


def test_one_equal_picture_has_no_psnr_and_is_counted(pictures, sources):
    score = psnr(pictures, [pictures[0], *sources[1:]])
    whole = psnr(pictures, sources)
    assert score.per_image == (None, *whole.per_image[1:])
    assert (score.n, score.without, score.row()["without a value"]) == (4, 1, 1)
    assert score.mean == pytest.approx(sum(whole.per_image[1:]) / 4)


@pytest.mark.parametrize("settings", [{}, {"region": "inside"}, {"region": "outside", "form": "frame"}])
def test_picture_and_source_may_change_places(metric, pictures, sources, masks, settings):
    given = {"masks": masks} if settings else {}
    there = metric(pictures, sources, **settings, **given)
    assert metric(sources, pictures, **settings, **given).per_image == pytest.approx(there.per_image)


def test_permuted_pairs_permute_the_values(metric, pictures, sources, masks):
    order = [3, 0, 4, 1, 2]
    straight = metric(pictures, sources, masks=masks, region="outside").per_image
    mixed = [[some[i] for i in order] for some in (pictures, sources, masks)]
    found = metric(mixed[0], mixed[1], masks=mixed[2], region="outside")
    assert found.per_image == pytest.approx([straight[i] for i in order])


def test_the_area_of_a_region_is_its_pixels_alone(pictures, sources, masks):
    """What is outside of the region changes nothing; inside and outside make up the whole."""
    kept = [np.asarray(mask) > 127 for mask in masks]
    other = [
        Image.fromarray(np.where(k[..., None], np.asarray(p), 7)) for k, p in zip(kept, pictures, strict=True)
    ]
    inside = mse(pictures, sources, masks=masks, region="inside")
    assert mse(other, sources, masks=masks, region="inside").per_image == inside.per_image
    outside = mse(pictures, sources, masks=masks, region="outside")
    share = [float(k.mean()) for k in kept]
    whole = [s * a + (1 - s) * b for s, a, b in zip(share, inside.per_image, outside.per_image, strict=True)]
    assert mse(pictures, sources).per_image == pytest.approx(whole)
    assert psnr(pictures, sources, masks=masks, region="inside").per_image == pytest.approx(
        [-10 * math.log10(value) for value in inside.per_image]
    )


def test_a_frame_is_the_whole_of_masked_pictures(metric, pictures, sources, masks):
    def cut(some):
        black = Image.new("RGB", (40, 33))
        return [Image.composite(p, black, mask) for p, mask in zip(some, masks, strict=True)]

    frame = metric(pictures, sources, masks=masks, region="inside", form="frame")
    assert frame.per_image == pytest.approx(metric(cut(pictures), cut(sources)).per_image)


def test_ssim_of_an_area_does_not_see_far_beyond_it(picture):
    x, y = picture(1, (64, 64)), picture(2, (64, 64))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 20, 64))
    far = x.copy()
    far.paste((9, 9, 9), (26, 0, 64, 64))  # more than the window's reach away
    near = x.copy()
    near.paste((9, 9, 9), (22, 0, 64, 64))
    there = ssim(x, y, masks=mask, region="inside").mean
    assert ssim(far, y, masks=mask, region="inside").mean == pytest.approx(there)
    assert ssim(near, y, masks=mask, region="inside").mean != pytest.approx(there)


@pytest.mark.parametrize("form", ["area", "frame"])
def test_an_empty_region_is_no_value(metric, form, pictures, sources, masks):
    masks[2] = Image.new("L", (40, 33))
    score = metric(pictures, sources, masks=masks, region="inside", form=form)
    assert score.per_image[2] is None and (score.n, score.without) == (4, 1)
    assert metric(pictures, sources, masks=masks, region="outside", form=form).without == 0
    assert "empty region" in str(score.choices["no value"])
    with pytest.raises(InputError, match="no value for any of 1 pictures: an empty region"):
        metric(pictures[2], sources[2], masks=masks[2], region="inside", form=form)


def test_pairs_go_by_name_then_by_order(tmp_path, metric, pictures, sources):
    made, were, more = (tmp_path / name for name in ("made", "were", "more"))
    for folder in (made, were, more):
        folder.mkdir()
    for i in range(5):
        pictures[i].save(made / f"{i}.png")
        sources[i].save(were / f"{i}.webp", lossless=True)
        sources[i].save(more / f"photo {i}.png")
    by_name = metric(made, were)
    assert by_name.choices["pairs"] == "by name"
    assert by_name.images == tuple(f"{i}.png" for i in range(5))
    (made / "0.png").unlink()
    assert metric(made, were).per_image == by_name.per_image[1:]
    with pytest.raises(InputError, match="4 pictures and 5 sources"):
        metric(made, more)
    (more / "photo 0.png").unlink()
    assert metric(made, more).per_image == by_name.per_image[1:]
    assert metric(made, more).choices["pairs"] == "in order"
    assert metric(made, were / "1.webp").per_image[0] == by_name.per_image[1]


def test_masks_lie_beside_the_sources_or_in_a_folder(tmp_path, pictures, sources, masks):
    made, were, marks = (tmp_path / name for name in ("made", "were", "marks"))
    for folder in (made, were, marks):
        folder.mkdir()
    for i in range(3):
        pictures[i].save(made / f"{i}.png")
        sources[i].save(were / f"{i}.png")
        masks[i].save(marks / (f"{i}.png" if i else "0-mask.png"))
    with pytest.raises(InputError, match=r"no mask beside its source \(0-mask\.png\)"):
        mse(made, were, region="inside")
    wanted = mse(pictures[:3], sources[:3], masks=masks[:3], region="inside").per_image
    assert mse(made, were, masks=marks, region="inside").per_image == wanted
    for i in range(3):
        masks[i].save(were / f"{i}-mask.png")
    assert mse(made, were, region="inside").per_image == wanted
    (marks / "2.png").unlink()
    with pytest.raises(InputError, match=r"no mask 2\.png"):
        mse(made, were, masks=marks, region="inside")


def test_a_source_of_another_size_covers_its_picture(picture):
    wide = picture(3, (80, 40))
    score = mse(wide.crop((20, 0, 60, 40)), wide)
    assert score.mean == 0  # its centre square
    assert mse(wide.crop((0, 0, 40, 40)), wide).mean > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"masks": Image.new("L", (40, 33))}, "region is whole"),
        ({"form": "frame"}, "choose the region"),
        ({"region": "middle"}, "middle"),
        ({"region": "inside", "form": "both"}, "both"),
        ({"region": "inside", "masks": [Image.new("L", (40, 33))] * 2}, "2 masks for 5"),
    ],
)
def test_what_nothing_would_read_is_refused(metric, pictures, sources, settings, words):
    with pytest.raises(InputError, match=words):
        metric(pictures, sources, **settings)


def test_a_picture_smaller_than_the_window_is_refused(picture):
    with pytest.raises(InputError, match="too small"):
        ssim(picture(0, (20, 5)), picture(1, (20, 5)))
