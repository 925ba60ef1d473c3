"""DINO's keys and their self-similarity, against transformers' own layers step by step."""

import pytest
import torch
import torch.nn.functional as F

from motif.errors import InputError
from motif.features.keys import framed, keys, self_similarity
from motif.measure import structure
from motif.measure.pairs import tensor


def directly(dino, picture, scale=1.0):
    """Keys of the last block by its own norm and projection, on what the blocks before it give."""
    x = F.interpolate(tensor(picture)[None].float() * scale, size=(28, 28), mode="bilinear", antialias=False)
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.no_grad():
        states = dino.model(pixel_values=x, output_hidden_states=True).hidden_states[
            -2
        ]  # before the last block
        layer = dino.model.layers[-1]
        return layer.attention.k_proj(layer.layernorm_before(states))[0]


@pytest.mark.parametrize(("input_range", "scale"), [("unit", 1.0), ("pnp", 255.0)])
def test_structure_is_the_squared_difference_of_key_cosines(dino, picture, input_range, scale):
    x, y = picture(1, (40, 40)), picture(2, (40, 40))
    maps = []
    for p in (x, y):
        k = directly(dino, p, scale)
        assert k.shape == (17, 32)  # 4 x 4 patches and CLS, all heads together
        torch.testing.assert_close(keys(dino, tensor(p) * scale), k, atol=1e-4, rtol=1e-4)
        maps.append(F.cosine_similarity(k[:, None], k[None], dim=-1))
    score = structure(x, y, encoder=dino, input_range=input_range)
    assert score.mean == pytest.approx(float((maps[0] - maps[1]).square().mean()), rel=1e-4)
    assert score.also["x 10^3"] == pytest.approx(1e3 * score.mean)


def test_the_two_ranges_are_two_numbers(dino, picture):
    x, y = picture(1), picture(2)
    unit, pnp = (structure(x, y, encoder=dino, input_range=r) for r in ("unit", "pnp"))
    assert unit.mean != pytest.approx(pnp.mean, rel=0.01)
    assert (unit.choices["input range"], pnp.choices["input range"]) == ("[0, 1]", "[0, 255]")
    with pytest.raises(InputError, match="range 'byte'"):
        structure(x, y, encoder=dino, input_range="byte")


def test_a_picture_has_its_own_structure_and_pairs_are_symmetric(dino, pictures, picture):
    sources = [picture(70 + i) for i in range(5)]
    assert structure(pictures, pictures, encoder=dino).per_image == (0,) * 5
    there, back = structure(pictures, sources, encoder=dino), structure(sources, pictures, encoder=dino)
    assert there.per_image == pytest.approx(back.per_image)
    assert min(there.per_image) > 0
    order = [2, 0, 1, 4, 3]
    mixed = structure([pictures[i] for i in order], [sources[i] for i in order], encoder=dino)
    assert mixed.per_image == pytest.approx([there.per_image[i] for i in order])


def test_self_similarity_is_one_on_its_diagonal_and_symmetric(dino, picture):
    found = self_similarity(dino, tensor(picture(3)))
    torch.testing.assert_close(found.diagonal(), torch.ones(len(found), dtype=found.dtype))
    torch.testing.assert_close(found, found.mT)
    assert found.abs().max() <= 1 + 1e-9


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((512, 512), (28, 28)),
        ((20, 40), (28, 56)),
        ((40, 30), (37, 28)),
        ((10, 100), (6, 60)),
        ((100, 30), (60, 18)),
    ],
)
def test_the_whole_frame_is_seen_up_to_a_longest_side(dino, size, wanted):
    """Shorter side to 28, the longer one to 60 at most (480 of 224): torchvision's Resize with max_size."""
    if min(wanted) < 7:
        with pytest.raises(InputError, match="too narrow"):
            framed(dino, size)
    else:
        assert framed(dino, size) == wanted
        h, w = wanted
        assert len(keys(dino, torch.rand(3, *size))) == (h // 7) * (w // 7) + 1


def test_the_hook_is_gone_after_a_failure(dino, picture, monkeypatch):
    keys(dino, tensor(picture(0)))  # transformers may put hooks of its own once
    hooks = [len(module._forward_hooks) for module in dino.model.modules()]
    monkeypatch.setattr(type(dino.model), "forward", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        keys(dino, tensor(picture(0)))
    assert [len(module._forward_hooks) for module in dino.model.modules()] == hooks
