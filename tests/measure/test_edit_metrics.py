"""Metrics of edits: Clipscore's forms, Custom-Edit's three similarities, NS-LPIPS and its masks."""

import numpy as np
import pytest
import torch
from PIL import Image

from motif.attention import Control
from motif.climb import climb
from motif.errors import InputError, WrongBase
from motif.features.perceptual import Perceptual
from motif.invert.ddim import ddim
from motif.measure import (
    clip_i,
    clip_t,
    clipscore,
    ns_lpips,
    reference_similarity,
    source_similarity,
    text_similarity,
)
from motif.measure.attended import attended, masks

PROMPTS = ["a photo of a cat", "a red hat", "the dog", "on the beach", "photo"]


@pytest.fixture(scope="module")
def network(dino_folder):
    return Perceptual.load(dino_folder)


@pytest.fixture
def boxes():
    found = [Image.new("L", (40, 33)) for _ in range(5)]
    for i, mask in enumerate(found):
        mask.paste(255, (2 + i, 4, 30, 28))
    return found


# -- Clipscore and Custom-Edit's similarities ---------------------------------------------------------------------


def test_hessels_form_is_clip_t_of_a_prefixed_prompt_in_hundreds(clip, pictures):
    score = clipscore(pictures, PROMPTS, encoder=clip)
    wanted = clip_t(pictures, [f"A photo depicts {prompt}" for prompt in PROMPTS], encoder=clip)
    assert score.per_image == pytest.approx([100 * value for value in wanted.per_image])
    assert score.also == pytest.approx(wanted.also)


def test_the_form_of_torchmetrics_is_a_hundred_clipped_cosines(clip, pictures):
    score = clipscore(pictures, PROMPTS, encoder=clip, form="torchmetrics")
    wanted = clip_t(pictures, PROMPTS, encoder=clip, scale=100)
    assert score.per_image == wanted.per_image
    assert min(score.per_image) == 0 < max(score.per_image)


@pytest.mark.parametrize("metric", [clipscore, text_similarity])
def test_brackets_and_tokens_are_no_part_of_a_target_prompt(metric, clip, pictures):
    marked = metric(pictures, "a photo of a [red] <new1> cat", encoder=clip)
    assert marked.per_image == metric(pictures, "a photo of a red cat", encoder=clip).per_image
    assert "brackets" in str(marked.choices["prompts"])


def test_inside_of_a_mask_is_the_picture_on_black(clip, pictures, boxes):
    black = [
        Image.composite(p, Image.new("RGB", p.size), mask) for p, mask in zip(pictures, boxes, strict=True)
    ]
    score = clipscore(pictures, "a cat", encoder=clip, form="torchmetrics", region="inside", masks=boxes)
    assert score.per_image == clipscore(black, "a cat", encoder=clip, form="torchmetrics").per_image
    boxes[1] = Image.new("L", (40, 33))
    some = clipscore(pictures, PROMPTS, encoder=clip, form="torchmetrics", region="inside", masks=boxes)
    assert some.per_image[1] is None and some.n == 4
    alone = clipscore(black[2], "the dog", encoder=clip, form="torchmetrics")
    assert some.per_image[2] == pytest.approx(alone.mean, abs=1e-4)
    with pytest.raises(InputError, match="every mask is empty"):
        clipscore(pictures[1], "a cat", encoder=clip, region="inside", masks=boxes[1])
    with pytest.raises(InputError, match="region is whole"):
        clipscore(pictures, "a cat", encoder=clip, masks=boxes)


def test_text_similarity_is_the_raw_cosine(clip, pictures):
    score = text_similarity(pictures, PROMPTS, encoder=clip)
    assert min(score.per_image) < 0
    assert score.mean == pytest.approx(clip_t(pictures, PROMPTS, encoder=clip).also["raw cosine"])


def test_reference_similarity_is_clip_i(clip, pictures, references):
    score = reference_similarity(pictures, references, encoder=clip)
    assert (score.name, score.per_image) == (
        "reference-similarity", clip_i(pictures, references, encoder=clip).per_image,
    )  # fmt: skip


def test_source_similarity_is_each_picture_with_its_own_source(clip, pictures, picture):
    sources = [picture(80 + i) for i in range(5)]
    score = source_similarity(pictures, sources, encoder=clip)
    pairs = [clip_i(p, s, encoder=clip).mean for p, s in zip(pictures, sources, strict=True)]
    assert score.per_image == pytest.approx(pairs, abs=1e-6)
    assert source_similarity(pictures, pictures, encoder=clip).per_image == pytest.approx([1] * 5)
    assert source_similarity(pictures, sources[0], encoder=clip).per_image == pytest.approx(
        clip_i(pictures, sources[0], encoder=clip).per_image, abs=1e-6
    )
    for batch_size in (1, 2, 3):
        again = source_similarity(pictures, sources, encoder=clip, batch_size=batch_size)
        assert again.per_image == pytest.approx(pairs, abs=1e-6)


# -- NS-LPIPS -----------------------------------------------------------------------------------------------------


def test_what_is_changed_inside_of_the_mask_is_not_seen(network, pictures, boxes, picture):
    sources, hard = [picture(80 + i) for i in range(5)], [np.asarray(box) > 0 for box in boxes]
    edited = [
        Image.fromarray(np.where(k[..., None], np.asarray(picture(90 + i)), np.asarray(s)))
        for i, (k, s) in enumerate(zip(hard, sources, strict=True))
    ]
    big = [image.resize((280, 280), Image.Resampling.NEAREST) for image in edited]
    were = [image.resize((280, 280), Image.Resampling.NEAREST) for image in sources]
    wide = [box.resize((280, 280), Image.Resampling.NEAREST) for box in boxes]
    whole = ns_lpips(big, were, masks=[Image.new("L", (280, 280))] * 5, encoder=network)
    kept = ns_lpips(big, were, masks=wide, encoder=network)
    assert all(
        a < 0.2 * b for a, b in zip(kept.per_image, whole.per_image, strict=True)
    )  # but for the mask's edge
    assert ns_lpips(were, were, masks=wide, encoder=network).per_image == (0,) * 5


def test_soft_and_binary_masks_are_what_they_say(network, pictures, picture):
    grey = Image.new("L", (40, 33), 102)  # 0.4: mostly kept
    source = picture(9)
    binary = ns_lpips(pictures, source, masks=grey, encoder=network, mask_form="binary", input_range="signed")
    black = Image.new("L", (40, 33))
    whole = ns_lpips(pictures, source, masks=black, encoder=network, mask_form="soft", input_range="signed")
    assert binary.per_image == whole.per_image
    soft = ns_lpips(pictures, source, masks=grey, encoder=network)
    assert soft.per_image != whole.per_image
    side = network.side
    x, y = (
        torch.from_numpy(np.asarray(p.resize((side, side), Image.Resampling.BILINEAR)) / 255).permute(2, 0, 1)
        * 0.6
        for p in (pictures[0], source)
    )
    assert soft.per_image[0] == pytest.approx(network.distance(x, y), rel=1e-5)  # [0, 1], times 1 - 0.4


def test_a_mask_of_everything_leaves_no_value(network, pictures, boxes):
    boxes[3] = Image.new("L", (40, 33), 255)
    score = ns_lpips(pictures, pictures[0], masks=boxes, encoder=network)
    assert score.per_image[3] is None and (score.n, score.without) == (4, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no mask beside"),
        ({"word": "cat"}, "--attention"),
        ({"attention": "x.inversion"}, "--word"),
        ({"attention": "x.inversion", "word": "cat", "masks": Image.new("L", (9, 9))}, "either"),
        ({"masks": Image.new("L", (40, 33)), "heads": "all"}, "on and heads"),
        ({"masks": Image.new("L", (40, 33)), "mask_form": "hard"}, "hard"),
        ({"attention": "gone.inversion", "word": "cat"}, "gone"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(network, pictures, settings, words):
    with pytest.raises(InputError, match=words):
        ns_lpips(pictures, pictures, encoder=network, **settings)


# -- the mask of an inversion's attention -------------------------------------------------------------------------


class Kept(Control):
    """Every cross map of one level, as it comes."""

    def __init__(self):
        self.seen = []

    def looks(self, site, call):
        return site.kind == "cross" and site.level == call.level(4)

    def maps(self, site, call, maps):
        self.seen.append(maps)
        return maps


def test_attention_is_the_mean_map_of_the_words_first_token(small, picture):
    """One token of a word of several, all steps, every layer at a quarter, of two photos with two captions."""
    base = small.base
    size = 16 * base.latent_factor  # latents of 16 x 24: maps of 4 x 6
    photos, prompts = (
        [picture(1, (300, 200)), picture(2, (300, 200))],
        ["a photo of a cat", "the cat zebu on it"],
    )
    inversion = ddim(base, photos, prompts, steps=2, guidance=1.0, height=size, width=size * 3 // 2)
    found = attended(base, inversion, "cat")
    kept = Kept()
    for _ in climb(base, inversion.latents[0], base.read(prompts), steps=2, controls=[kept]):
        pass
    places = [base.read(p).span("cat").start for p in prompts]
    assert places[0] != places[1]
    assert len(kept.seen) % 2 == 0 and found.shape == (2, 4, 6)
    for i, place in enumerate(places):
        total = sum(maps[i, ..., place].mean(0) for maps in kept.seen).view(4, 6)
        torch.testing.assert_close(found[i], total / total.max())
        half = sum(maps[i, maps.shape[1] // 2 :, :, place].mean(0) for maps in kept.seen).view(4, 6)
        torch.testing.assert_close(attended(base, inversion, "cat", heads="last-half")[i], half / half.max())
    assert [mask.size for mask in masks(base, inversion, "cat")] == [(size * 3 // 2, size)] * 2
    with pytest.raises(InputError, match='"dog" is not in the prompt'):
        attended(base, inversion, "dog")


def test_attention_of_another_base_is_refused(sd1, sdxl, picture):
    inversion = ddim(sd1.base, picture(1), "a cat", steps=1, guidance=1.0)
    with pytest.raises(WrongBase):
        attended(sdxl.base, inversion, "cat")


def test_on_pocket_attention_finds_the_thing(pocket, tmp_path, network):
    """The boat's mask on its own photo: most of the attended places are the boat's, and a file does as well."""
    from motif.pocket.concepts import held_out

    boat = next(thing for thing in held_out() if thing.name == "boat")
    photo = boat.references[0]
    inversion = ddim(pocket, photo, "photo of a boat at night", steps=2, guidance=1.0)
    found = attended(pocket, inversion, "boat")[0]
    wanted = Image.open(photo.with_name("00-mask.png")).convert("L").resize((8, 8), Image.Resampling.BOX)
    inside = torch.from_numpy(np.asarray(wanted) / 255.0) > 0.5
    assert found[inside].mean() > 4 * found[~inside].mean()
    file = inversion.save(tmp_path / "boat")
    view = boat.views[0]
    by_file = ns_lpips(view, photo, attention=file, word="boat", encoder=network)
    given = ns_lpips(view, photo, masks=masks(pocket, inversion, "boat", heads="last-half"), encoder=network)
    assert by_file.mean == pytest.approx(given.mean, rel=0.05)
    assert 'attention to "boat"' in str(by_file.choices["mask"])
    two = ddim(pocket, [photo, photo], "a boat", steps=1, guidance=1.0).save(tmp_path / "two")
    with pytest.raises(InputError, match="2 photos in the inversion for 3"):
        ns_lpips([view] * 3, photo, attention=two, word="boat", encoder=network)
