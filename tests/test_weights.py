"""Wearing weights: exact while it lasts, exact gradients, and exactly undone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from motif.origin import Origin
from motif.weights import Change, is_cross, is_cross_kv, select, signature, worn


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Sequential(nn.Linear(7, 3, bias=False)))


X = torch.randn(4, 5, generator=torch.Generator().manual_seed(9))


def test_the_worn_weight_acts_and_the_same_object_comes_back():
    module, other = net(), net(1)
    weights = {name: p.detach() for name, p in other.named_parameters()}
    before = dict(module.named_parameters())
    with worn(module, weights) as dressed:
        assert dressed is module
        assert torch.equal(module(X), other(X))
    assert all(module.get_parameter(name) is p for name, p in before.items())


def test_it_is_undone_after_an_exception():
    module = net()
    before = {name: (p, p.clone()) for name, p in module.named_parameters()}
    with pytest.raises(RuntimeError, match="stop"), worn(module, {"0.weight": torch.zeros(7, 5)}):
        raise RuntimeError("stop")
    for name, (p, value) in before.items():
        assert module.get_parameter(name) is p and torch.equal(p, value)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"0.weight": torch.zeros(7, 5), "5.weight": torch.zeros(1)}, KeyError),
        ({"0.weight": torch.zeros(7, 5), "0.wight": torch.zeros(1)}, KeyError),
        ({"0.weight": torch.zeros(7, 5), "2.0.bias": torch.zeros(3)}, KeyError),
        ({"0.weight": torch.zeros(7, 5), "0.bias": torch.zeros(8)}, ValueError),
    ],
    ids=["no module", "misspelt", "no bias there", "shape"],
)
def test_a_weight_without_a_place_is_refused_before_anything_changes(bad, error):
    module = net()
    before = module(X)
    with pytest.raises(error), worn(module, bad):
        raise AssertionError("never reached")
    assert torch.equal(module(X), before)


def test_worn_twice_the_inner_one_acts_and_both_are_undone():
    module = net()
    before = module(X)
    ones, twos = torch.ones(7, 5), 2 * torch.ones(7, 5)
    with worn(module, {"0.weight": ones}):
        outer = module(X)
        with worn(module, {"0.weight": twos}):
            assert not torch.equal(module(X), outer)
        assert torch.equal(module(X), outer)
    assert torch.equal(module(X), before)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_worn_tensor_exactly(checkpointing):
    from torch.utils.checkpoint import checkpoint

    module = net()
    weight = torch.randn(7, 5, generator=torch.Generator().manual_seed(3))
    wanted = weight.clone().requires_grad_()
    functional_call(module, {"0.weight": wanted}, (X,)).square().sum().backward()
    ours = weight.clone().requires_grad_()
    with worn(module, {"0.weight": ours}):
        out = checkpoint(module, X, use_reentrant=False) if checkpointing else module(X)
        out.square().sum().backward()
    assert torch.equal(ours.grad, wanted.grad)
    assert module[0].weight.grad is None


def test_selection_by_name(small):
    kv = select(small.base.models.unet, is_cross_kv)
    crosses = [site for site in small.base.models.sites if site.kind == "cross"]
    assert set(kv) == {f"{site.name}.to_{part}.weight" for site in crosses for part in "kv"}
    assert set(kv) < set(select(small.base.models.unet, is_cross))
    assert all(".attn2." in name for name in select(small.base.models.unet, is_cross))


shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))


@given(shapes, st.integers(1, 3), st.integers(0, 99))
def test_a_low_rank_change_is_its_product(shape, rank, seed):
    draw = torch.Generator().manual_seed(seed)
    up, down = torch.randn(shape[0], rank, generator=draw), torch.randn(rank, shape[1], generator=draw)
    low, dense, weight = Change(up=up, down=down), Change(dense=up @ down), torch.randn(shape, generator=draw)
    assert low.shape == dense.shape == shape
    assert torch.equal(low.on(weight), dense.on(weight))
    assert torch.equal(low.on(weight), weight + up @ down)


def test_a_change_is_added_in_float32_and_keeps_the_weights_type():
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).half()
    on = Change(dense=torch.full((4, 4), 1e-3)).on(weight)
    assert on.dtype == torch.float16
    assert torch.equal(on, (weight.float() + 1e-3).half())


@pytest.mark.parametrize("parts", [{}, {"up": torch.ones(1, 1)}, {"dense": torch.ones(1, 1), "up": torch.ones(1, 1),
                                                                 "down": torch.ones(1, 1)}])  # fmt: skip
def test_half_a_change_is_refused(parts):
    with pytest.raises(ValueError, match="dense"):
        Change(**parts)


def several(seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of Stable Diffusion's spread."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {"conv": (64, 32, 3, 3), "linear": (320, 96), "wide": (300, 400), "bias": (320,)}
    return {
        f"{name}{i}": 0.03 * torch.randn(shape, generator=draw)
        for name, shape in shapes.items()
        for i in range(12)
    } | {
        "norm": torch.ones(64),
        "tiny": 1e-6 * torch.randn(400, generator=draw),
        "zero": torch.zeros(64),
        "scale": torch.tensor(0.5),
    }


def origin(weights: dict[str, torch.Tensor]) -> Origin:
    return Origin("base", *signature(weights))


def tuned(name: str, weight: torch.Tensor, lr: float, steps: int) -> torch.Tensor:
    """As Adam leaves it after steps whose signs are random: lr √steps away."""
    draw = torch.Generator().manual_seed(len(name) + weight.numel())
    return weight + lr * steps**0.5 * torch.randn(weight.shape, generator=draw)


@pytest.mark.parametrize(
    "same",
    [
        lambda name, w: w.half(),
        lambda name, w: w.bfloat16(),
        lambda name, w: w.half().float(),
        lambda name, w: w.double(),
        lambda name, w: w.to(memory_format=torch.channels_last) if w.dim() == 4 else w,
        lambda name, w: w.t().contiguous().t() if w.dim() == 2 else w,
    ],
    ids=["fp16", "bf16", "fp16 and back", "fp64", "channels last", "column by column"],
)
def test_the_same_weights_are_the_same_base(same):
    assert origin(several()).same_weights(origin({name: same(name, w) for name, w in several().items()}))


@pytest.mark.parametrize(
    "other",
    [
        lambda name, w: -w,
        lambda name, w: -w if name == "linear7" else w,
        lambda name, w: w.flip(0),
        lambda name, w: tuned(name, w, 1e-5, 300),
        lambda name, w: tuned(name, w, 1e-5, 3000) if name.startswith("linear") else w,
        lambda name, w: tuned(name, w, 1e-5, 300).bfloat16(),
        lambda name, w: w + 1e-5 if name == "zero" else w,
    ],
    ids=[
        "negated",
        "one negated",
        "flipped",
        "a light fine-tune",
        "some fine-tuned",
        "in bf16",
        "no more zero",
    ],
)
def test_other_weights_are_another_base_though_their_norms_are_near(other):
    mine, theirs = origin(several()), origin({name: other(name, w) for name, w in several().items()})
    assert not mine.same_weights(theirs) and not theirs.same_weights(mine)
    assert mine.fingerprint != theirs.fingerprint


def test_a_fingerprint_does_not_depend_on_threads_or_layout():
    weights = several()
    found, threads = set(), torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.add(origin(weights).fingerprint)
    finally:
        torch.set_num_threads(threads)
    found.add(origin({n: w.to(memory_format=torch.channels_last) if w.dim() == 4 else w for n, w in weights.items()})
              .fingerprint)  # fmt: skip
    assert len(found) == 1


def test_a_signature_of_older_files_is_compared_by_its_norms():
    mine = origin(several())
    old = Origin("base", mine.shape, mine.norms)
    assert old.same_weights(mine) and mine.same_weights(old)
    assert not Origin("base", mine.shape, (math.nan, *mine.norms[1:])).same_weights(mine)


def test_signature_tells_architecture_and_weights_and_survives_float16():
    mine, same, other = (dict(net(seed).named_parameters()) for seed in (0, 0, 1))
    assert signature(mine) == signature(same)
    assert signature(mine)[0] == signature(other)[0] and signature(mine)[1] != signature(other)[1]
    halves = signature({name: p.half() for name, p in mine.items()})
    assert halves[0] == signature(mine)[0]
    assert halves[1] == pytest.approx(signature(mine)[1], rel=1e-3)
    assert signature({"a": torch.zeros(2, 3)})[0] != signature({"a": torch.zeros(3, 2)})[0]
