"""SDEdit, Custom-Edit, pix2pix-zero and style transfer: what each must give, and what it refuses."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from PIL import Image

from edit_pieces import SOURCE, STEPS, inverted, photo
from motif import edit
from motif.edit.custom_edit import _picked, likeness
from motif.edit.edited import Edited
from motif.edit.pix2pix_zero import Held
from motif.errors import InputError
from motif.lanes import Lane, denoise, finish
from motif.photo import encode, read_photos
from motif.pocket.concepts import held_out
from motif.pocket.sentences import sentences
from motif.schedule import draw_noise
from pieces import concept_of, gap

TARGET = "a dog on sea"
CONCEPT = "a <new1> cat on sea"


# -- SDEdit ----------------------------------------------------------------------------------------------------


def test_strength_0_is_the_photo_through_the_vae(small):
    found = edit.sdedit(small.base, photo(), TARGET, strength=0, steps=STEPS)
    assert torch.equal(found.latents[0], encode(small.base, read_photos(small.base, photo())))
    assert found.evaluations == 0


def test_sdedit_is_noise_and_then_the_sampler(small):
    base, size = small.base, (16, 24)
    found = edit.sdedit(
        base,
        [photo(1, size), photo(2, size)],
        TARGET,
        strength=0.5,
        steps=STEPS,
        guidance=3.0,
        seed=7,
        height=16,
        width=24,
    )  # fmt: skip
    x0 = encode(base, read_photos(base, [photo(1, size), photo(2, size)], height=16, width=24))
    t = base.schedule.timesteps(STEPS)[2]
    noise = draw_noise(tuple(x0.shape[1:]), [torch.Generator().manual_seed(seed) for seed in (7, 8)], x0)
    a = base.schedule.at(t)
    lane = Lane("x", a**0.5 * x0 + (1 - a) ** 0.5 * noise, base.read(TARGET), base.read_uncond(), 3.0)
    with torch.no_grad():
        wanted = finish(denoise(base, [lane], steps=STEPS, start=2))["x"]
    assert gap(found.latents[0], wanted) < 1e-5
    assert found.evaluations == 2 * 2 * 2


def test_strength_runs_from_the_photo_to_a_new_picture(sd1):
    x0 = encode(sd1.base, read_photos(sd1.base, photo()))
    far = [
        gap(edit.sdedit(sd1.base, photo(), TARGET, strength=s, steps=10).latents[0], x0)
        for s in (0.1, 0.5, 1)
    ]
    assert far == sorted(far)


def test_sdedit_reads_the_values_of_a_value_embedding(sd1):
    inversion = inverted(sd1.base, "value-embedding")
    plain = inverted(sd1.base, "ddim")
    settings: dict[str, Any] = {"strength": 0.5, "steps": STEPS, "guidance": 3.0}
    fed = edit.sdedit(sd1.base, inversion.retuned("values", until=1.0), TARGET, **settings)
    unfed = edit.sdedit(sd1.base, inversion.retuned("values", until=0.0), TARGET, **settings)
    assert gap(unfed.latents, edit.sdedit(sd1.base, plain, TARGET, **settings).latents) < 1e-5
    assert gap(fed.latents, unfed.latents) > 1e-4
    with pytest.raises(InputError, match="steps"):
        edit.sdedit(sd1.base, inversion, TARGET, steps=8)


def test_sdedit_of_an_inversion_takes_its_steps_and_guidance(sd1):
    inversion = inverted(sd1.base, "ddim")
    found = edit.sdedit(sd1.base, inversion, TARGET, strength=0.5)
    assert (found.settings["steps"], found.settings["guidance"]) == (inversion.steps, inversion.guidance)
    assert found.evaluations == 2 * int(inversion.steps * 0.5)


@pytest.mark.parametrize("strength", [0.5, 0.75, 1.0])
def test_values_are_fed_in_a_share_of_the_steps_that_are_taken(sd1, strength):
    """And not of the whole schedule, of which SDEdit walks the end alone: there nothing would be fed."""
    inversion = inverted(sd1.base, "value-embedding", until=0.5)
    none, half, every = (
        edit.sdedit(sd1.base, inversion, TARGET, strength=strength, values_until=share).latents
        for share in (0.0, 0.5, 1.0)
    )
    assert gap(none, half) > 1e-4 and gap(half, every) > 1e-4
    default = edit.sdedit(sd1.base, inversion, TARGET, strength=strength).latents
    assert torch.equal(default, half)  # as the inversion's tau_v says
    with pytest.raises(InputError, match="in none"):
        edit.sdedit(sd1.base, inversion, TARGET, strength=strength, values_until=0.01)
    with pytest.raises(InputError, match="no values"):
        edit.sdedit(sd1.base, inverted(sd1.base, "ddim"), TARGET, strength=strength, values_until=0.5)


@pytest.mark.parametrize("settings", [{"strength": 1.2}, {"strength": 0.1}, {"seed": -1}])
def test_sdedit_refuses(sd1, settings):
    with pytest.raises(InputError):
        edit.sdedit(sd1.base, photo(), TARGET, steps=STEPS, **settings)


# -- Custom-Edit -----------------------------------------------------------------------------------------------


def test_custom_edit_is_refine_with_the_source_s_mask(small):
    base = small.base.wear(concept_of(small.base))
    inversion = inverted(base, "negative-prompt")
    found = edit.custom_edit(base, inversion, CONCEPT, strengths=[0.25, 0.75], blend_threshold=0.999)
    assert found.labels == ("strength 0.25", "strength 0.75")
    for i, strength in enumerate((0.25, 0.75)):
        wanted = edit.prompt_to_prompt(
            base,
            inversion,
            CONCEPT,
            mode="refine",
            cross_until=0.6,
            self_until=strength,
            blend=["cat"],
            blend_from="source",
            blend_threshold=0.999,
        )
        assert gap(found.latents[i], wanted.latents[0]) < 1e-5
        assert torch.equal(found.masks[i], wanted.masks[0])
    assert torch.equal(found.masks[0], found.masks[1])  # the source's alone
    outside = ~found.masks[0][:, None].expand_as(found.latents[0])
    source = inversion.reconstruct(base)
    assert outside.any() and gap(found.latents[0][outside], source[outside]) < 1e-5


def test_custom_edit_says_what_is_missing(sd1):
    base = sd1.base.wear(concept_of(sd1.base))
    inversion = inverted(base)
    with pytest.raises(InputError, match="wear"):
        edit.custom_edit(sd1.base, inverted(sd1.base), TARGET)
    with pytest.raises(InputError, match="<new1>"):
        edit.custom_edit(base, inversion, TARGET)
    with pytest.raises(InputError, match="references"):
        edit.custom_edit(base, inversion, CONCEPT, auto=True)
    with pytest.raises(InputError, match="numbers"):
        edit.custom_edit(base, inversion, CONCEPT, strengths="a,b")
    for settings, said in (
        ({"strength": 0.4, "strengths": [0.2]}, "strength is of one"),
        ({"whole": True, "blend_threshold": 0.5}, "blend_threshold would change nothing"),
    ):
        with pytest.raises(InputError, match=said):
            edit.custom_edit(base, inversion, CONCEPT, **settings)
    tea = inverted(base, prompt="tea")
    with pytest.raises(InputError, match="concept goes"):
        edit.custom_edit(base, tea, "tea <new1>")
    assert edit.custom_edit(base, tea, "tea <new1>", whole=True).masks is None


def test_the_words_that_the_target_drops_make_the_mask(sd1):
    base = sd1.base.wear(concept_of(sd1.base))
    inversion = inverted(base, prompt="tea on sea")
    found = edit.custom_edit(base, inversion, "a <new1> cat on sea")
    wanted = edit.custom_edit(base, inversion, "a <new1> cat on sea", blend=["tea"])
    assert torch.equal(found.latents, wanted.latents)


class Known:
    """An encoder of pictures whose cosines are known: those of `table`, by the number that a picture's pixels say."""

    def __init__(self, table: list[list[float]]) -> None:
        self.features = torch.linalg.cholesky(torch.tensor(table, dtype=torch.float64))

    def images(self, pictures: Any) -> torch.Tensor:
        return self.features[[picture.getpixel((0, 0))[0] for picture in pictures]]

    @staticmethod
    def picture(number: int) -> Image.Image:
        return Image.new("RGB", (2, 2), (number, 0, 0))


PHOTO, FIRST, SECOND, BETWEEN, NEAR, FAR = range(6)
COSINES = Known([
    [1.00, 0.10, 0.30, 0.80, 0.60, 0.10],
    [0.10, 1.00, 0.60, 0.40, 0.60, 0.05],
    [0.30, 0.60, 1.00, 0.20, 0.60, 0.15],
    [0.80, 0.40, 0.20, 1.00, 0.50, 0.00],
    [0.60, 0.60, 0.60, 0.50, 1.00, 0.00],
    [0.10, 0.05, 0.15, 0.00, 0.00, 1.00],
])  # fmt: skip
"""A photo, two references, and three edits. Photo and references: .2 in the mean. The references: .6."""


@pytest.mark.parametrize(
    ("edited", "refs", "wanted"),
    [
        (BETWEEN, (FIRST, SECOND), (0.75, 0.25, 0.375)),  # (.8 − .2) / .8, (.3 − .2) / .4, 2 s r / (s + r)
        (NEAR, (FIRST, SECOND), (0.5, 1.0, 2 / 3)),
        (PHOTO, (FIRST, SECOND), (1.0, 0.0, 0.0)),
        (FAR, (FIRST, SECOND), (-0.125, -0.25, 0.0)),  # farther from both than they are from one another
        (FIRST, (FIRST, SECOND), (-0.125, 1.0, 0.0)),  # a reference itself: .8 in the mean, and 1 is the most
        (BETWEEN, (FIRST,), (0.7 / 0.9, 0.3 / 0.9, 2 * 0.7 * 0.3 / 0.9)),  # of one reference the ceiling is 1
    ],
)
def test_likeness_runs_from_what_is_given_to_one_of_them(edited, refs, wanted):
    features = COSINES.images([Known.picture(number) for number in refs])
    found = likeness(COSINES, Known.picture(edited), [Known.picture(PHOTO)], features)
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("edits", "picked"),
    [
        ((NEAR, BETWEEN, PHOTO), 0),
        ((PHOTO, BETWEEN, FAR), 1),
        ((FAR, FAR, PHOTO), 2),
        ((PHOTO, FIRST, FAR), 1),
    ],
    ids=["most of both", "a little of both before all of one", "near the photo at least", "then the nearer"],
)
def test_auto_picks_what_is_most_like_both_and_then_like_the_references(edits, picked):
    refs = COSINES.images([Known.picture(FIRST), Known.picture(SECOND)])
    pictures = tuple(Known.picture(number) for number in edits)
    run = Edited(
        "", ("x",) * 3, pictures, torch.arange(3.0).view(3, 1, 1, 1, 1), sources=(Known.picture(PHOTO),),
        labels=("a", "b", "c"),
    )  # fmt: skip
    found = _picked(run, (0.2, 0.5, 0.8), (COSINES, refs))
    assert found.images == (pictures[picked],) and found.latents.item() == picked
    assert found.labels == ("abc"[picked],) and found.why.splitlines()[picked].endswith("<- picked")


def test_auto_keeps_one_strength_and_says_why(pocket):
    base = pocket.wear(concept_of(pocket, size=0.0))
    cat = next(each for each in held_out() if each.name == "cat")
    inversion = inverted(base, "direct", cat.references[0], "a photo of a cat in a studio")
    found = edit.custom_edit(
        base,
        inversion,
        "a photo of a <new1> cat in a studio",
        auto=True,
        strengths="0,.5,1",
        references=cat.folder,
    )
    assert len(found.images) == 1 and found.why.count("<- picked") == 1
    picked = next(line for line in found.why.splitlines() if "picked" in line)
    assert picked.startswith(found.labels[0])
    best = float(picked.split("both ")[1].split()[0])
    assert all(float(line.split("both ")[1].split()[0]) <= best for line in found.why.splitlines()[:-1])


def test_auto_keeps_one_strength_for_photos_that_were_inverted_together(pocket, monkeypatch):
    """The one that is best in the mean over them, with a picture of each."""
    base = pocket.wear(concept_of(pocket, size=0.0))
    cat = next(each for each in held_out() if each.name == "cat")
    both = inverted(base, "direct", cat.references[:2], "a photo of a cat in a studio", steps=2)
    values = {(0, 0): 0.9, (0, 1): 0.1, (1, 0): 0.6, (1, 1): 0.7}  # (strength, photo)
    asked = iter(values)

    def likeness(encoder: Any, image: Any, sources: Any, refs: Any) -> tuple[float, float, float]:
        at = next(asked)
        assert sources[0].tobytes() == both.pictures()[at[1]].tobytes()
        return 0.0, 0.0, values[at]

    monkeypatch.setattr(import_module("motif.edit.custom_edit"), "likeness", likeness)
    told: dict[str, Any] = {"auto": True, "strengths": [0, 0.5], "references": cat.folder}
    found = edit.custom_edit(base, both, "a photo of a <new1> cat in a studio", **told)
    assert found.labels == ("strength 0.5",) and len(found.images) == 2 and found.masks.shape[:2] == (1, 2)
    assert found.sheet().height > 1.6 * found.strip().height


def test_auto_says_so_where_no_strength_comes_nearer_to_the_references(pocket, monkeypatch):
    base = pocket.wear(concept_of(pocket, size=0.0))
    cat = next(each for each in held_out() if each.name == "cat")
    inversion = inverted(base, "direct", cat.references[0], "a photo of a cat in a studio", steps=2)
    nearer = iter([-0.3, -0.1])

    def likeness(encoder: Any, image: Any, sources: Any, refs: Any) -> tuple[float, float, float]:
        return 0.5, next(nearer), 0.0

    monkeypatch.setattr(import_module("motif.edit.custom_edit"), "likeness", likeness)
    told: dict[str, Any] = {"auto": True, "strengths": [0, 0.5], "references": cat.folder}
    found = edit.custom_edit(base, inversion, "a photo of a <new1> cat in a studio", **told)
    assert found.labels == ("strength 0.5",) and "no strength came nearer" in found.why


# -- pix2pix-zero ----------------------------------------------------------------------------------------------


def test_a_zero_direction_is_the_reconstruction(small):
    inversion = inverted(small.base)
    same = {"source_captions": ["a cat", "tea"], "target_captions": ["tea", "a cat"]}
    found = edit.pix2pix_zero(small.base, inversion, TARGET, regularise=0, amount=0.1, **same)
    assert gap(found.latents[0], inversion.reconstruct(small.base, guidance=1.0)) < 1e-4


def test_a_direction_moves_and_the_guidance_holds_back(sd1):
    inversion = inverted(sd1.base)
    free, held = (
        edit.pix2pix_zero(sd1.base, inversion, TARGET, regularise=0, amount=amount) for amount in (0.0, 0.1)
    )
    assert gap(free.latents[0], inversion.reconstruct(sd1.base, guidance=1.0)) > 1e-3
    assert gap(held.latents, free.latents) > 1e-5
    assert (free.evaluations, held.evaluations) == (3 * STEPS, 5 * STEPS)


def test_photos_of_a_batch_are_edited_each_alone(small):
    both = inverted(small.base, photos=[photo(1), photo(2)], prompt=[SOURCE, "tea on sea"])
    settings: dict[str, Any] = {"regularise": 0, "guidance": 3.0}
    found = edit.pix2pix_zero(small.base, both, TARGET, **settings)
    for i in range(2):
        one = edit.pix2pix_zero(small.base, both.only(i), TARGET, **settings)
        assert gap(found.latents[0, i], one.latents[0, 0]) < 1e-4


def test_regularised_noise_makes_another_way_up_and_its_reference_comes_back(small):
    inversion = inverted(small.base)
    found = edit.pix2pix_zero(
        small.base, inversion, SOURCE, amount=0.0, regularise=1, ac_weight=0.0, kl_weight=0.0
    )
    plain = edit.pix2pix_zero(small.base, inversion, SOURCE, amount=0.0, regularise=0)
    assert gap(found.latents, plain.latents) < 1e-4  # regularised by nothing
    other = edit.pix2pix_zero(small.base, inversion, SOURCE, amount=0.0, regularise=1)
    assert gap(other.latents, plain.latents) > 1e-4


def test_the_distance_of_maps_is_a_mean_over_sides_and_heads():
    from motif.attention import Call, Site

    held, site, nobody = Held(), Site("a", "cross", "up"), Call((), 0, 1, 1.0, (4, 4))
    kept, others = torch.rand(2, 3, 5, 7), torch.rand(4, 3, 5, 7)
    held.maps(site, nobody, kept)
    held.keeping = False
    held.maps(site, nobody, others)
    wanted = sum((others[s * 2 + i] - kept[i]).square().sum() / (2 * 3) for s in range(2) for i in range(2))
    assert torch.allclose(held.loss, wanted)


def test_the_default_amount_is_what_the_prediction_bears(small):
    """The step that holds the maps explodes with v-prediction at the paper's size."""
    found = edit.pix2pix_zero(small.base, inverted(small.base), TARGET, regularise=0)
    wanted = 0.01 if small.base.schedule.prediction == "v_prediction" else 0.1
    assert found.settings["amount"] == wanted
    same = edit.pix2pix_zero(small.base, inverted(small.base), TARGET, regularise=0, amount=wanted)
    assert torch.equal(found.latents, same.latents)


def test_of_two_photos_the_one_whose_caption_it_is_stays(sd1):
    both = inverted(sd1.base, "direct", [photo(1), photo(2)], [SOURCE, "a red tea on the sea"])
    found = edit.pix2pix_zero(sd1.base, both, SOURCE)
    back = both.reconstruct(sd1.base)
    assert gap(found.latents[0, 0], back[0]) < 1e-4 and gap(found.latents[0, 1], back[1]) > 1e-3


def test_a_learned_word_must_be_in_the_captions_that_make_the_direction(sd1):
    me = sd1.base.wear(concept_of(sd1.base))
    banks: dict[str, Any] = {"source_captions": ["a cat", "tea"], "regularise": 0}
    with pytest.raises(InputError, match="<new1> is in none of the target's"):
        edit.pix2pix_zero(me, inverted(me), "a <new1> cat", target_captions=["a dog"], **banks)
    learned, plain = (
        edit.pix2pix_zero(me, inverted(me), prompt, target_captions=[prompt], **banks).latents
        for prompt in ("a <new1> cat", "a cat")
    )
    assert gap(learned, plain) > 1e-3


def test_pix2pix_zero_refuses(sd1):
    with pytest.raises(InputError, match="both"):
        edit.pix2pix_zero(sd1.base, inverted(sd1.base), TARGET, source_captions=["a cat"])
    with pytest.raises(InputError, match="regularise"):
        edit.pix2pix_zero(sd1.base, inverted(sd1.base, "direct"), TARGET, regularise=2)
    with pytest.raises(InputError, match="null-text"):
        edit.pix2pix_zero(sd1.base, inverted(sd1.base, "null-text"), TARGET)
    for start in (inverted(sd1.base, negative="tea"), inverted(sd1.base, "negative-prompt", interpolate=0.5)):
        with pytest.raises(InputError, match="negative or interpolate"):
            edit.pix2pix_zero(sd1.base, start, TARGET)


def test_pix2pix_zero_pins_as_often_and_as_many_as_the_inversion_says(sd1):
    """Every second step: the reference is back on Z* at the third of four, and leaves it at the last. To all: the edit
    moves by the reference's offsets, so that without a direction's guidance both stay as far apart."""
    every, rare, moved = (
        inverted(sd1.base, "direct", **settings) for settings in ({}, {"every": 2}, {"to": "all"})
    )
    found = [edit.pix2pix_zero(sd1.base, one, TARGET, amount=0.0) for one in (every, rare, moved)]
    back = [one.reconstructions[0].tobytes() for one in found]
    assert back[0] == back[2]
    free = edit.pix2pix_zero(sd1.base, inverted(sd1.base, "negative-prompt"), TARGET, amount=0.0)
    assert torch.equal(found[0].latents, free.latents) and torch.equal(found[1].latents, free.latents)
    assert gap(found[2].latents, free.latents) > 1e-5
    same = [edit.pix2pix_zero(sd1.base, one, SOURCE, amount=0.0).latents[0] for one in (every, rare)]
    assert torch.equal(same[0], every.latents[0]) and gap(same[1], every.latents[0]) > 1e-6


def test_banks_of_sentences_differ_in_their_word():
    cats, dogs = sentences("cat", 20), sentences("dog", 20)
    assert [text.replace(" cat ", " dog ") for text in cats] == dogs and len(set(cats)) > 10
    assert all(" red " in text for text in sentences("red", 20))
    with pytest.raises(InputError, match="tiger"):
        sentences("tiger")


# -- style transfer --------------------------------------------------------------------------------------------


def test_style_transfer_without_its_parts_is_the_word_swap(small):
    content, style = inverted(small.base), inverted(small.base, "value-embedding", photo(5), "tea")
    plain = edit.word_swap(small.base, content, TARGET)
    nothing = {"maps_until": 0.0, "features_until": 0.0, "values_until": 0.0}
    found = edit.style_transfer(small.base, content, TARGET, style=style, **nothing)
    assert torch.equal(found.latents, plain.latents)
    for part in nothing:
        one = edit.style_transfer(small.base, content, TARGET, style=style, **{**nothing, part: 1.0})
        assert gap(one.latents, plain.latents) > 1e-5, part
    assert len(found.sources) == 1 and found.beside["style"].size == found.image.size


def test_a_style_is_a_value_embedding_with_as_many_steps(sd1):
    content = inverted(sd1.base)
    with pytest.raises(InputError, match="value-embedding"):
        edit.style_transfer(sd1.base, content, TARGET, style=content)
    with pytest.raises(InputError, match="style"):
        edit.style_transfer(sd1.base, content, TARGET)
    few = inverted(sd1.base, "value-embedding")
    for name in ("maps_until", "features_until"):
        with pytest.raises(InputError, match=f"{name} 0.1 is shorter"):
            edit.style_transfer(sd1.base, content, TARGET, style=few, **{name: 0.1})
    style = inverted(sd1.base, "value-embedding", steps=5)
    with pytest.raises(InputError, match="steps"):
        edit.style_transfer(sd1.base, content, TARGET, style=style)
