"""The parts of an edit by numbers: windows, injection, the local blend, noise statistics."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edit_pieces import LENGTH, tokens
from motif.attention import Call, Row, Site
from motif.edit.alignment import TokenMap
from motif.edit.blend import LocalBlend, binary
from motif.edit.injection import CrossEdit, SelfInjection
from motif.edit.noise_statistics import autocorrelation, divergence, output_of, regularised
from motif.edit.style_transfer import StyleValues
from motif.edit.windows import Window, shares, window, words_with_numbers, words_with_windows
from motif.errors import InputError
from motif.replay import Values


@pytest.mark.parametrize(
    ("steps", "until", "cross", "own"),
    [
        (50, 0.2, 10, 10), (50, 0.4, 20, 20), (50, 0.6, 30, 30), (50, 0.8, 40, 40), (50, 1.0, 51, 50),
        (30, 0.2, 6, 6), (30, 0.4, 12, 12), (30, 0.6, 18, 18), (30, 0.8, 24, 24), (30, 1.0, 31, 30),
    ],
)  # fmt: skip
def test_the_card_s_schedules(steps, until, cross, own):
    span = Window(0, until)
    assert sum(span.holds(i, steps + 1) for i in range(steps + 2)) == cross
    assert sum(span.holds(i, steps) for i in range(steps + 2)) == own


@pytest.mark.parametrize(
    ("steps", "until", "fed"),
    [(50, 0.56, 28), (50, 0.14, 7), (100, 0.07, 7), (30, 0.5, 15), (30, 0.51, 16), (4, 1.0, 4), (4, 0.0, 0)],
)
def test_values_are_fed_in_the_steps_below_their_share(steps, until, fed):
    """i < T tau_v (card 10.5), whatever 50 x .56 is in floating point; of a photo's own values and of a style's."""
    states, site = torch.zeros(2, 3, 4), Site("", "cross", "up", 1)
    learned = {"direct": torch.ones(steps, 1, 3, 4)}
    for control in (Values(learned, until=until), StyleValues(learned, until)):
        told = [control.context(site, call(i, steps), states, states)[1][1].any() for i in range(steps)]
        assert [bool(each) for each in told] == [i < fed for i in range(steps)]


def test_words_have_windows_of_their_own():
    table = shares(tokens("a red cat"), Window(0, 0.5), words_with_windows(["red=.2:.8"], ""), 10)
    assert table[:, 3].tolist() == [float(i < 5) for i in range(10)]
    assert table[:, 2].tolist() == [float(2 <= i < 8) for i in range(10)]
    assert table.shape == (10, LENGTH)
    assert shares(tokens("a cat"), Window(0, 0.95), {}, 10)[:, 2].sum() == 10  # of T + 1


@pytest.mark.parametrize("text", ["cat", "=2", "cat=x", "cat=nan"])
def test_a_word_s_number_is_a_number(text):
    with pytest.raises(InputError, match="louder"):
        words_with_numbers([text], "louder")


@pytest.mark.parametrize("value", [(0.5, 0.2), (-0.1, 0.2), 1.1])
def test_a_window_lies_in_the_run(value):
    with pytest.raises(InputError, match="window"):
        window(value)


def test_louder_multiplies_what_is_injected_and_no_more():
    source, target = torch.rand(1, 2, 5, 4), torch.rand(1, 2, 5, 4)
    share = torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0] * 4])
    shared = torch.tensor([1.0, 0.0, 1.0, 1.0])  # position 1 is a new word
    edit = CrossEdit(
        [TokenMap(torch.tensor([0, 0, 1, 3]), shared)], share, torch.tensor([1.0, 3.0, 3.0, 0.5])
    )
    new = edit.edit(0, source, target)
    assert torch.equal(new[..., 0], source[..., 0])
    assert torch.equal(new[..., 1], 3 * target[..., 1])  # a new word is scaled on its own map
    assert torch.equal(new[..., 2], target[..., 2])  # outside of its window
    assert torch.equal(new[..., 3], 0.5 * source[..., 3])
    assert edit.act(0) and not edit.act(1)


def call(step: int, steps: int = 10, *, sides: tuple[Any, ...] = ("cond",), side: int = 16) -> Call:
    rows, at = [], 0
    for which in sides:
        for lane in ("source", "target"):
            rows.append(Row(lane, which, slice(at, at + 1), None))  # type: ignore[arg-type]
            at += 1
    return Call(tuple(rows), step, steps, 1.0, (side, side))


@given(st.integers(0, 9), st.sampled_from(["cond", "uncond"]))
def test_self_maps_are_injected_on_one_side_alone(step, side):
    control = SelfInjection({"target": Window(0.2, 0.6)}, part=2, side=side)
    here = call(step, sides=("uncond", "cond"))
    site = Site("", "self", "down", 1)
    maps = torch.rand(4, 2, 64, 64)
    acts = 2 <= step < 6
    assert control.looks(site, here) == acts
    new = control.maps(site, here, maps)
    given_row, taken = (0, 1) if side == "uncond" else (2, 3)
    for row in range(4):
        wanted = maps[given_row] if acts and row == taken else maps[row]
        assert torch.equal(new[row], wanted)


def test_a_blend_adds_up_in_float32():
    """bfloat16 would be off by some hundredths in single cells, beside one threshold (trap G12)."""
    draw = torch.Generator().manual_seed(0)
    seen = torch.rand(250, 2, 1, 16, 4, generator=draw).to(torch.bfloat16)
    control = LocalBlend({"source": [[2]]}, ["target"])
    for maps in seen:
        control.maps(Site("", "cross", "down", 2), call(0), maps)
    wanted = seen[:, 0, 0, :, 2].float().sum(0).view(1, 4, 4)
    assert torch.allclose(control.sums["source", "words"], wanted, rtol=1e-4)


def test_fine_self_maps_are_left_alone():
    for part, levels in ((2, [False, True, True]), (4, [False, False, True])):
        control = SelfInjection({"target": Window(0, 1)}, part=part)
        looks = [control.looks(Site("", "self", "up", level), call(0, side=64)) for level in range(3)]
        assert looks == levels


def blended(words: Any, *, start: float = 0.0, step: int = 9, **settings: Any) -> Any:
    """What a blend makes of ones in the target and zeros in the source, after one map at each step."""
    control = LocalBlend(words, ["target"], start=start, **settings)
    site = Site("", "cross", "down", 2)
    maps = torch.full((2, 3, 256, LENGTH), 0.01)
    maps[0, :, 0, 2] = 1.0  # the source's word 2 lies in the first cell
    maps[1, :, 255, 3] = 1.0  # the target's word 3 in the last
    here = call(step, side=64)
    assert control.looks(site, here)
    control.maps(site, here, maps)
    latents = {"source": torch.zeros(1, 4, 64, 64), "target": torch.ones(1, 4, 64, 64)}
    return control.after(here, latents)["target"][0, 0], control


def corner(x: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(64, 64)
    mask[:8, :8] = 1  # one cell of 4 x 4, and its neighbours by the pooling
    return mask


def test_the_mask_is_the_union_of_both_sides_words():
    out, _ = blended({"source": [[2]], "target": [[3]]})
    wanted = corner(out) + corner(out).flip((0, 1))
    assert torch.equal(out, wanted)


def test_the_source_s_mask_alone():
    out, control = blended({"source": [[2]]})
    assert torch.equal(out, corner(out))
    assert control.masks["target"].shape == (1, 1, 64, 64)


def test_an_all_false_mask_is_the_source():
    out, _ = blended({"source": [[]], "target": [[]]})
    assert torch.equal(out, torch.zeros(64, 64))


def test_before_its_start_the_blend_leaves_the_lanes():
    for step, acts in ((1, False), (2, True)):
        out, _ = blended({"source": [[2]]}, start=0.2, step=step)
        assert bool(out.min() == 0) == acts


def test_spared_words_are_cut_out_without_pooling():
    out, _ = blended({"source": [[2]]}, spare={"source": [[2]], "target": [[]]})
    wanted = corner(out)
    wanted[:4, :4] = 0
    assert torch.equal(out, wanted)


def test_maps_add_up_over_steps():
    control = LocalBlend({"source": [[2]]}, ["target"])
    site, maps = Site("", "cross", "down", 2), torch.rand(2, 3, 256, LENGTH)
    for step in range(3):
        control.maps(site, call(step, side=64), maps)
    assert torch.allclose(control.sums["source", "words"], 3 * maps[:1, ..., 2].mean(1).view(1, 16, 16))


@given(st.floats(0.05, 0.95))
def test_binary_keeps_what_exceeds_the_share_of_the_maximum(threshold):
    total = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0))
    mask = binary(total, (6, 6), threshold, pool=False)[:, 0]
    for one, found in zip(total, mask, strict=True):
        assert torch.equal(found, one > threshold * one.max())
    assert (
        binary(total, (12, 12), threshold) | ~mask.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None]
    ).all()


def test_regularised_noise_is_more_like_noise():
    eps = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    eps = 1.3 * (eps + eps.roll(1, -1)) + 0.2

    def losses(x: torch.Tensor) -> tuple[float, float]:
        draws = [torch.Generator().manual_seed(i) for i in range(20)]
        return math.fsum(float(autocorrelation(x, draw)) for draw in draws), float(divergence(x))

    before = losses(eps)
    after = losses(regularised(eps, torch.Generator().manual_seed(1), rounds=5, ac=20.0, kl=20.0))
    assert after[0] < before[0] and after[1] < before[1]
    assert torch.equal(regularised(eps, torch.Generator(), rounds=0, ac=20.0, kl=20.0), eps)


def test_divergence_is_0_of_a_normal_sample():
    x = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    x = (x - x.mean()) / x.std()
    assert abs(float(divergence(x))) < 1e-4


def test_an_output_is_found_back_from_its_noise(small):
    schedule = small.base.schedule
    x, out = small.noise(2), small.noise(2, seed=1)
    for t in (1, 500, 900):
        _, eps = schedule.split(x, out, t)
        assert torch.allclose(output_of(schedule, x, eps, t), out, atol=1e-4)
