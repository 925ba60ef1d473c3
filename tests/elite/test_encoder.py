"""The encoder as a value: its networks against the equations, its file, its masks, and what it refuses."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from encoders import drawn
from motif.concept import Concept
from motif.elite.encoder import Encoder
from motif.elite.mapper import Mapper
from motif.elite.photos import looked_at
from motif.elite.start import fresh
from motif.elite.tower import Tower, layers_of, marked, whole
from motif.errors import InputError, WrongBase
from motif.interop.outgoing import write_files
from motif.learn import Examples, custom_diffusion
from motif.learn.merge import merge


def stock(mapper: Mapper, prefix: str) -> nn.Sequential:
    """The card's network in torch's own modules."""
    into, out = mapper.shape
    net = nn.Sequential(
        nn.Linear(into, into), nn.LayerNorm(into), nn.LeakyReLU(0.01), nn.Linear(into, into), nn.LayerNorm(into),
        nn.LeakyReLU(0.01), nn.Linear(into, out),
    )  # fmt: skip
    net.load_state_dict(
        {n.removeprefix(f"{prefix}."): w for n, w in mapper.weights.items() if n.startswith(f"{prefix}.")}
    )
    return net


def test_the_paper_s_layers_and_others():
    assert layers_of(24) == (24, 4, 8, 12, 16)
    assert layers_of(12) == (12, 2, 4, 6, 8)
    assert layers_of(4) == (4, 1, 2, 3)
    assert layers_of(1) == (1,)


def test_the_deepest_layer_is_the_last_hidden_state_without_a_norm(tower_folder: Path):
    tower = Tower.load(str(tower_folder))
    x = torch.rand(2, 3, 24, 24)
    states = tower.states(x, (6, 1))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (tower.mean, tower.std))
    with torch.no_grad():
        assert torch.allclose(states[0], tower.model(pixel_values=(x - mean) / std).last_hidden_state)
    assert states[1].shape == (2, 10, 32)


def test_words_and_patches_are_the_equations():
    mapper = Mapper.fresh(3, 8, 5, seed=1)
    states = [torch.randn(2, 1 + 4, 8) for _ in range(3)]
    mask = torch.tensor([[1.0, 0, 0, 1], [1, 1, 1, 1]])
    cls = [stock(mapper, f"mapping_{i}")(s[:, 0]) for i, s in enumerate(states)]
    rest = [stock(mapper, f"mapping_patch_{i}")(s[:, 1:]) for i, s in enumerate(states)]
    words = torch.stack([c + r.mean(1) for c, r in zip(cls, rest, strict=True)], 1)
    patches = sum(c[:, None] + r for c, r in zip(cls, rest, strict=True)) / 3 * mask[..., None]
    assert mapper.layers == 3 and mapper.shape == (8, 5)
    assert torch.allclose(mapper.words(states), words, atol=1e-6)
    assert torch.allclose(mapper.patches(states, mask), patches, atol=1e-6)


def test_a_file_gives_the_same_encoder_and_the_same_concept(encoder, photo, mask, tmp_path):
    again = Encoder.load(encoder.save(tmp_path / "e.safetensors"))
    assert again.fingerprint == encoder.fingerprint and again.layers == (6, 1, 2, 3, 4)
    first, second = encoder.encode(photo, mask), again.encode(photo, mask)
    assert first.record == second.record and first.changes.keys() == second.changes.keys()
    pairs = [*zip(first.tokens["<S>"], second.tokens["<S>"], strict=True)]
    pairs += [
        both
        for n, mine in first.local["<S>"].items()
        for both in zip(mine, second.local["<S>"][n], strict=True)
    ]
    pairs += [(change.full(), second.changes[name].full()) for name, change in first.changes.items()]
    assert all(
        torch.allclose(*both, rtol=0, atol=1e-6) for both in pairs
    )  # where memory lies moves the last bit
    path = first.save(tmp_path / "c.safetensors")
    assert Concept.load(path) == first
    assert Concept.load(path).local["<S>"].keys() == first.local["<S>"].keys() != set()


def test_the_concept_is_the_equations(encoder, small, photo, mask, tower_folder):
    tower, side = Tower.load(str(tower_folder)), 24
    concept = encoder.encode(photo, mask, crop=False, token="<s>", noun="cat")
    words = encoder.words.words(tower.states(whole(photo, side)[None], encoder.layers))[0, :1]
    assert torch.allclose(torch.cat(concept.tokens["<s>"], -1), words, atol=1e-5)
    black = Image.composite(photo, Image.new("RGB", photo.size), mask)
    cells = F.interpolate(whole(mask, 24)[:1][None], size=(3, 3), mode="nearest").flatten()
    cells = (cells > 0).float()
    assert torch.equal(cells, marked(mask, 3)) and 0 < cells.sum() < 9
    e = encoder.patches.patches(tower.states(whole(black, side)[None], encoder.layers), cells[None])[0]
    for site, (k, v) in concept.local["<s>"].items():
        assert torch.allclose(k, e @ encoder.projections[f"{site}.to_k"].T, atol=1e-5)
        assert torch.allclose(v, e @ encoder.projections[f"{site}.to_v"].T, atol=1e-5)
        assert (k[cells == 0] == 0).all() and (k[cells == 1] != 0).any(1).all()
    worn = small.base.wear(concept)
    name = next(iter(encoder.changes))
    assert torch.allclose(worn.weight(name), small.base.weight(name) + encoder.changes[name], atol=1e-6)
    assert worn.nouns == {"<s>": "cat"}


@given(st.integers(16, 90), st.integers(16, 90), st.integers(0, 99))
def test_patches_are_marked_as_in_the_release(height, width, seed):
    """Card 5.1: nearest to 128 x 128, then nearest to 16 x 16, "same as direct nearest", which is true of the form that
    takes first pixels."""
    there = np.random.default_rng(seed).random((height, width)) < 0.3
    there[0, 0] = True
    found = marked(Image.fromarray((255 * there).astype(np.uint8)), 16)
    twice = F.interpolate(
        F.interpolate(torch.tensor(there).float()[None, None], size=(128, 128)), size=(16, 16)
    )
    assert torch.equal(found, twice.flatten())
    first = [there[i * height // 16, j * width // 16] for i in range(16) for j in range(16)]
    assert found.tolist() == [float(one) for one in first]


def test_an_object_that_no_first_pixel_meets_is_in_the_patches_that_it_touches():
    there = np.zeros((32, 32), dtype=np.uint8)
    there[9:13, 20:24] = 255  # patches of 8 pixels: within one of them, and not on its first pixel
    found = marked(Image.fromarray(there), 4).view(4, 4)
    assert found.nonzero().tolist() == [[1, 2]]
    with pytest.raises(InputError, match="all black"):
        marked(Image.fromarray(0 * there), 4)


def test_outside_of_the_mask_nothing_reaches_the_patches_and_all_of_it_the_word(encoder, photo, mask):
    other = Image.composite(photo, drawn(77, photo.size), mask)
    a, b = (encoder.encode(one, mask, crop=False) for one in (photo, other))
    assert all(
        torch.equal(x, y)
        for s in a.local["<S>"]
        for x, y in zip(a.local["<S>"][s], b.local["<S>"][s], strict=True)
    )
    assert not torch.equal(a.tokens["<S>"][0], b.tokens["<S>"][0])


def test_a_mask_that_a_jpeg_has_blurred_is_cut_at_half(photo, mask, tmp_path):
    """Its black is not all black: everything above 0 would be the whole picture."""
    mask.save(tmp_path / "mask.jpg", quality=60)
    assert Image.open(tmp_path / "mask.jpg").getbbox() != mask.getbbox()
    ((view, own),) = looked_at(photo, tmp_path / "mask.jpg", crop=True)
    ((wanted, theirs),) = looked_at(photo, mask, crop=True)
    assert view.size == wanted.size and own is not None and own.tobytes() == theirs.tobytes()


def test_the_crop_is_the_mask_s_surroundings(encoder, photo, mask):
    box = (3, 3, 20, 29)  # the mask's 4..18 x 4..27 and one pixel around
    assert encoder.encode(photo, mask) != encoder.encode(photo, mask, crop=False)
    cut = encoder.encode(photo.crop(box), mask.crop(box), crop=False)
    full = encoder.encode(photo, mask)
    assert torch.equal(cut.tokens["<S>"][0], full.tokens["<S>"][0])


def test_a_small_file(encoder, small, photo, mask, tmp_path):
    rank = 3
    made = Encoder.load(encoder.save(tmp_path / "e.safetensors", half=True, rank=rank))
    for name, change in encoder.changes.items():
        u, s, v = torch.linalg.svd(change)
        near = (u[:, :rank] * s[:rank]) @ v[:rank]
        assert torch.allclose(made.changes[name], near, atol=2e-3 * float(s[0]))
        assert made.changes[name].dtype == torch.float32
    whole = Encoder.load(encoder.save(tmp_path / "w.safetensors"))
    assert all(torch.equal(whole.changes[n], c) for n, c in encoder.changes.items())
    assert (tmp_path / "e.safetensors").stat().st_size < 0.6 * (tmp_path / "w.safetensors").stat().st_size
    one, two = (e.encode(photo, mask).tokens["<S>"][0] for e in (made, encoder))
    assert torch.allclose(one, two, atol=1e-2)
    assert small.base.wear(made.encode(photo, mask)).local


def test_several_photos_are_averaged(encoder, photo, mask):
    others = [photo, drawn(8, (40, 32))]
    ones = [encoder.encode(one, mask) for one in others]
    both = encoder.encode(others, [mask, mask])
    for i, part in enumerate(both.tokens["<S>"]):
        assert torch.allclose(part, (ones[0].tokens["<S>"][i] + ones[1].tokens["<S>"][i]) / 2, atol=1e-5)
    for site, (k, _) in both.local["<S>"].items():
        assert torch.allclose(k, sum(one.local["<S>"][site][0] for one in ones) / 2, atol=1e-4)


def test_words(encoder, photo):
    every = encoder.encode(photo, words="all")
    assert all(len(part) == 5 for part in every.tokens["<S>"]) and not every.local
    third = encoder.encode(photo, words=2)
    assert torch.equal(third.tokens["<S>"][0][0], every.tokens["<S>"][0][2])
    assert torch.equal(encoder.encode(photo).tokens["<S>"][0], every.tokens["<S>"][0][:1])


def test_what_is_refused(encoder, photo, mask, tmp_path):
    with pytest.raises(InputError, match="no token"):
        encoder.encode(photo, token="S")
    with pytest.raises(InputError, match="all black"):
        encoder.encode(photo, Image.new("L", photo.size))
    with pytest.raises(InputError, match="does not fit"):
        encoder.encode(photo, mask.resize((40, 8)))
    with pytest.raises(InputError, match="1 masks for 2"):
        encoder.encode([photo, photo], mask)
    with pytest.raises(InputError, match="primary word"):
        encoder.encode(photo, words="all", local=True)
    with pytest.raises(InputError, match="words is 5"):
        encoder.encode(photo, words=5)
    lone = dataclasses.replace(encoder, patches=None, projections={})
    assert not lone.encode(photo).local
    with pytest.raises(InputError, match="no local network"):
        lone.encode(photo, local=True)
    with pytest.raises(InputError, match="no photo"):
        encoder.encode([])
    with pytest.raises(InputError, match="not an ELITE encoder"):
        Encoder.load(encoder.encode(photo).save(tmp_path / "c.safetensors"))
    with pytest.raises(InputError, match="not the one"):
        dataclasses.replace(encoder, image_weights="0").encode(photo)


def test_local_features_that_would_not_be_heard_are_refused(encoder, small, photo):
    concept = encoder.encode(photo)
    features = concept.local["<S>"]
    short = {site: pair for site, pair in list(features.items())[1:]}
    with pytest.raises(WrongBase, match="differ"):
        small.base.wear(dataclasses.replace(concept, local={"<S>": short}))
    narrow = {site: (k[:, 1:], v[:, 1:]) for site, (k, v) in features.items()}
    with pytest.raises(WrongBase, match="channels"):
        small.base.wear(dataclasses.replace(concept, local={"<S>": narrow}))
    with pytest.raises(InputError, match="no token"):
        small.base.wear(dataclasses.replace(concept, local={"<other>": features}))
    renamed = small.base.wear(concept.renamed({"<S>": "<sofa>"}))
    assert renamed.local.keys() == {"<sofa>"}


def test_what_cannot_hold_patches_refuses_them_and_learning_keeps_them(sd1, tower_folder, photo, tmp_path):
    base = sd1.base
    concept = fresh(base, str(tower_folder)).encode(photo)
    with pytest.raises(InputError, match="do not merge"):
        merge(base, concept, captions=["a cat"])
    with pytest.raises(InputError, match="no format has"):
        write_files(concept, tmp_path / "out", to="lora")
    photo.save(tmp_path / "a.png")
    taught = custom_diffusion(
        base.wear(concept),
        Examples(tmp_path / "a.png", "a <new1> cat"),
        steps=1,
        batch_size=1,
        prior="none",
        lr=1e-4,
    )
    assert taught.local.keys() == {"<S>"} and taught.tokens.keys() == {"<S>", "<new1>"}
    again = Concept.load(taught.save(tmp_path / "c.safetensors"))
    assert again == taught and base.wear(again).local.keys() == {"<S>"}


def test_two_concepts_of_one_encoder_put_its_weights_on_once(encoder, small, photo):
    one, two = encoder.encode(photo), encoder.encode(drawn(5), token="<S2>")
    both = small.base.wear(one, two)
    for name in encoder.changes:
        assert torch.equal(both.weight(name), small.base.wear(one).weight(name))
    assert both.local.keys() == {"<S>", "<S2>"}


def test_pocket_encodes_in_a_blink(pocket, photo, mask):
    encoder = fresh(pocket)
    assert encoder.layers == (4, 1, 2, 3)
    encoder.encode(photo, mask)
    begun = time.perf_counter()
    concept = encoder.encode(photo, mask)
    assert time.perf_counter() - begun < 1  # 0.02 s alone on a core
    assert {len(k) for k, _ in concept.local["<S>"].values()} == {64}
