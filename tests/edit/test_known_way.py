"""The source's lane goes the way that its inversion came back by: the same pictures, of fewer evaluations."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from edit_pieces import SOURCE, STEPS, inverted
from motif import edit
from motif.attend import attend
from motif.inversion import Inversion
from motif.methods import EDIT, INVERT
from pieces import encoded, gap

TARGET = "a dog on sea"

SETTINGS: dict[str, dict[str, Any]] = {
    "prompt-to-prompt": {"cross_until": 0.5, "self_until": 0.25},
    "p2plus": {"cross_until": 0.5, "uncond_until": 0.5},
    "word-swap": {},
    "style-transfer": {"maps_until": 0.5, "features_until": 0.5},
}
ROWS = {
    "prompt-to-prompt": [3, 3, 2, 2],
    "p2plus": [4, 4, 2, 2],
    "word-swap": [2] * 4,
    "style-transfer": [4, 4, 2, 2],
}
"""Evaluations of every step: what is injected is read, on its own side of guidance, in its own window."""


def both(base: Any, name: str, inversion: Any, prompt: Any = TARGET, **settings: Any) -> tuple[Any, Any]:
    """(the edit of an inversion whose way is known, of one that is walked anew)."""
    run = EDIT[name].load()
    return tuple(
        run(base, one, prompt, **settings) for one in (inversion, dataclasses.replace(inversion, way=None))
    )


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("method", INVERT)
def test_a_known_way_changes_nothing_but_the_cost(sd1, method, name):
    settings = dict(SETTINGS[name])
    if name == "style-transfer":
        if method == "value-embedding":
            pytest.skip("its content has values of its own")
        settings["style"] = inverted(sd1.base, "value-embedding", prompt="tea")
    known, walked = both(sd1.base, name, inverted(sd1.base, method), **settings)
    assert gap(known.latents, walked.latents) < 1e-4
    assert walked.evaluations == 4 * STEPS
    assert known.evaluations == (
        4 * STEPS if method == "proximal" else sum(ROWS[name])
    )  # whose λ is of both rows


def test_a_blend_reads_the_source_to_its_end(small):
    inversion = inverted(small.base, "null-text")
    known, walked = both(
        small.base,
        "prompt-to-prompt",
        inversion,
        [TARGET, "a red cat on sea"],
        blend=["cat"],
        blend_start=0.5,
    )
    assert gap(known.latents, walked.latents) < 1e-4 and torch.equal(known.masks, walked.masks)
    assert (known.evaluations, walked.evaluations) == (5 * STEPS, 6 * STEPS)
    known, walked = both(
        small.base, "prompt-to-prompt", inversion, blend=["dog"], cross_until=0.5, self_until=0
    )
    assert gap(known.latents, walked.latents) < 1e-4 and known.evaluations == 3 + 3 + 2 + 2


def test_at_another_guidance_the_way_is_another(sd1):
    null, direct = (inverted(sd1.base, method) for method in ("null-text", "direct"))
    for inversion, cost in ((null, 4 * STEPS), (direct, 3 * STEPS)):  # direct is pinned at any guidance
        known, walked = both(sd1.base, "prompt-to-prompt", inversion, guidance=4.0)
        assert gap(known.latents, walked.latents) < 1e-4 and known.evaluations == cost
    to_all = inverted(
        sd1.base, "direct", to="all"
    )  # the target moves by the offset of a source that is walked
    known, walked = both(sd1.base, "prompt-to-prompt", to_all)
    assert gap(known.latents, walked.latents) < 1e-4 and known.evaluations == 4 * STEPS


def test_the_way_is_the_walk_and_is_kept_in_the_file(small, tmp_path):
    for method in ("ddim", "null-text", "direct", "value-embedding"):
        found = inverted(small.base, method)
        assert found.way is not None and gap(found.way, found.walked(small.base)) < 1e-4
        assert torch.equal(found.way[-1], found.start)
        read = Inversion.load(found.save(tmp_path / method))
        assert read.way is not None and torch.equal(read.way, found.way)
    assert (
        found.retuned("values", until=0.5).way is found.way
    )  # they are the targets', the source reads them all
    assert inverted(small.base, "direct").retuned("pinned", every=2).way is None  # another way


@pytest.mark.parametrize("method", INVERT)
def test_patches_are_heard_on_every_way(sd1, method):
    """A worn photo's patches, where the source's caption names its word: on the way up, in what is fitted, and back."""
    base, told = sd1.base.wear(encoded(sd1.base)), "a <S> cat on sea"
    inversion = inverted(base, method, prompt=told)
    assert gap(inversion.way, inversion.walked(base)) < 1e-4
    deaf = inverted(sd1.base.wear(dataclasses.replace(encoded(sd1.base), local={})), method, prompt=told)
    assert gap(inversion.latents[-1], deaf.latents[-1]) > 1e-4
    if method in ("ddim", "negative-prompt"):  # which is DDIM at guidance 1, whatever the caption names
        negative = inverted(base, "negative-prompt", prompt=told)
        assert gap(negative.way, inversion.walked(base, guidance=1.0)) < 1e-4


def test_pix2pix_zero_hears_patches(sd1):
    """Of the target's word; and a direction that is none is the reconstruction with them too."""
    bases = [sd1.base.wear(dataclasses.replace(encoded(sd1.base), **more)) for more in ({}, {"local": {}})]
    found = [edit.pix2pix_zero(base, inverted(base, "direct"), "a <S> cat on sea").latents for base in bases]
    assert gap(found[0], found[1]) > 1e-4
    start = inverted(bases[0], "negative-prompt", prompt="a <S> cat on sea")
    same = edit.pix2pix_zero(bases[0], start, "a <S> cat on sea", amount=0.0)
    assert gap(same.latents[0], start.reconstruct(bases[0])) < 1e-4


def test_a_map_is_seen_on_the_known_way(sd1):
    inversion = inverted(sd1.base, "null-text")
    known, walked = (attend(sd1.base, one) for one in (inversion, dataclasses.replace(inversion, way=None)))
    assert gap(known.mean(), walked.mean()) < 1e-4


def test_the_same_prompt_costs_no_more(sd1):
    inversion = inverted(sd1.base, "null-text")
    assert gap(edit.word_swap(sd1.base, inversion, SOURCE).latents[0], inversion.reconstruct(sd1.base)) < 1e-4
