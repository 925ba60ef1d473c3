"""A concept that was encoded, where learned ones go: edits, other samplers, more learning, beside another one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from edit_pieces import inverted
from encoders import drawn
from motif.concept import Concept
from motif.edit import custom_edit, pix2pix_zero
from motif.elite.encoder import Encoder
from motif.elite.start import fresh
from motif.errors import InputError
from motif.learn import Examples, custom_diffusion
from motif.sample import dci, plain
from motif.sample.elite import elite


def silent(concept: Concept) -> Concept:
    """The word alone."""
    return dataclasses.replace(concept, local={})


def different(a: Any, b: Any) -> bool:
    return any(x.tobytes() != y.tobytes() for x, y in zip(a, b, strict=True))


def test_an_encoded_concept_is_put_into_a_photo(encoder: Encoder, small: Any, photo: Any):
    concept = encoder.encode(photo, token="<s>", noun="cat")
    prompt, pictures = "a <s> cat on sea", []
    for one in (concept, silent(concept)):
        me = small.base.wear(one)
        edited = custom_edit(me, inverted(me), prompt)
        assert edited.masks is not None
        pictures.append(edited.images)
    assert different(*pictures)  # the patches are heard in an edit


def test_a_direction_of_captions_has_no_place_for_its_patches(
    encoder: Encoder, small: Any, photo: Any, caplog: Any
):
    concept = encoder.encode(photo, token="<s>", noun="cat")
    prompt, made = "a <s> cat on sea", dict[bool, list[Any]]()
    for banks in (True, False):
        made[banks] = []
        for one in (concept, silent(concept)):
            me = small.base.wear(one)
            told = {"source_captions": ["a cat"], "target_captions": ["a <s> cat"]} if banks else {}
            made[banks] += [pix2pix_zero(me, inverted(me), prompt, regularise=0, amount=0.0, **told).images]
    assert different(*made[False]) and not different(*made[True])
    assert sum("patches are not heard" in line for line in caplog.messages) == 1


def test_it_is_drawn_beside_a_stand_in(encoder: Encoder, small: Any, photo: Any):
    concept = encoder.encode(photo, token="<s>", noun="cat")
    settings: dict[str, Any] = {"steps": 2, "until": 0.5, "stand_in": {"<s>": "tea"}}
    loud, quiet = (
        dci(small.base.wear(one), "a <s> on sea", **settings) for one in (concept, silent(concept))
    )
    assert different(loud, quiet)
    assert different(loud, plain(small.base.wear(concept), "a <s> on sea", steps=2))


def test_custom_diffusion_goes_on_from_it(sd1: Any, tower_folder: Any, photo: Any, tmp_path: Any):
    base = sd1.base
    concept = fresh(base, str(tower_folder)).encode(photo, token="<s>", noun="cat")
    photo.save(tmp_path / "a.png")
    examples = Examples(tmp_path / "a.png", "a <new1> cat")
    settings: dict[str, Any] = {"steps": 1, "batch_size": 1, "prior": "none", "lr": 1e-4}
    me = base.wear(concept)
    still = custom_diffusion(me, examples, rare_tokens=("<s>",), token_lr=0.0, **settings)
    for mine, start in zip(still.tokens["<new1>"], concept.tokens["<s>"], strict=True):
        assert torch.equal(mine, start)
    moved = custom_diffusion(me, examples, rare_tokens=("<s>",), token_lr=1e-2, **settings)
    assert not torch.equal(moved.tokens["<new1>"][0], concept.tokens["<s>"][0])
    assert torch.equal(moved.tokens["<s>"][0], concept.tokens["<s>"][0]) and moved.local.keys() == {"<s>"}
    assert different(
        plain(base.wear(moved), "a <new1>", steps=1), plain(base.wear(still), "a <new1>", steps=1)
    )
    with pytest.raises(InputError, match="<s>"):
        custom_diffusion(base, examples, rare_tokens=("<s>",), **settings)


def test_two_encoded_photos_in_one_prompt(encoder: Encoder, small: Any, photo: Any):
    one, two = encoder.encode(photo, token="<s>"), encoder.encode(drawn(5), token="<t>")
    both = small.base.wear(one, two)
    pictures = elite(both, "a <s> and <t>", steps=2)
    assert different(pictures, elite(small.base.wear(one, silent(two)), "a <s> and <t>", steps=2))
    assert different(pictures, elite(small.base.wear(silent(one), two), "a <s> and <t>", steps=2))
