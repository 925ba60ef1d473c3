"""The masks' laws: what they are worth where maps are flat, what they leave alone, and where they end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motif.attention import Call, Control, Row, Site
from motif.errors import InputError
from motif.lanes import Lane, denoise, finish
from motif.sample.integration import Integration, Words, mass, printed, share, spread
from motif.sample.plain import plain
from motif.sample.stand_in import Pair
from motif.sample.two_lanes import ASIDE, OwnNoise, TwoLanes, equal_steps, evaluations, thrown
from motif.schedule import draw_noise
from pieces import concept_of, gap

TABLE = """
64    0.409   0.439   0.470   0.485   0.5   0.512   0.531
32    0.188   0.274   0.380   0.439   0.5   0.549   0.620
16    0.003   0.020   0.124   0.274   0.5   0.686   0.876
8     0       0       0.0004  0.020   0.5   0.958   0.9996
"""  # card 5.3: the auxiliary weight with flat maps, by the map's side
BALANCES = (-2, -1, 0, 0.5, 1, 1.4, 2)
ROWS = [(int(side), [float(w) for w in rest]) for side, *rest in map(str.split, TABLE.strip().splitlines())]

PROMPT = "a <new1> cat"


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("side", "wanted"), ROWS)
@pytest.mark.parametrize("latent", [64, 16, 128])
def test_flat_maps_weigh_as_the_card_says_on_any_latents(side, wanted, latent):
    pixels = (side * latent // 64) ** 2
    flat = spread(torch.full((pixels,), 0.3), latent * latent)
    for balance, w in zip(BALANCES, wanted, strict=True):
        found = share(flat, flat, balance)
        assert found.min() == found.max()
        assert abs(float(found[0]) - w) < 0.0006


@given(st.integers(0, 1000), st.floats(-3, 3))
def test_weights_are_the_softmax_over_the_lanes(seed, balance):
    maps = noise(2, 3, 16, 9, seed=seed).softmax(-1)
    words = Words((1, 2, 3, 4, 5), (2, 3))
    m = mass(maps, words)
    assert float(m.min()) >= 0 and float(m.max()) <= 1
    s_c, s_a = spread(m, 64), spread(1 - m, 64)
    both = torch.stack([s_c, balance * s_a]).softmax(0)
    w = share(s_c, s_a, balance)
    assert gap(w, both[1]) < 1e-5 and gap(1 - w, both[0]) < 1e-5
    assert gap(s_c.sum(-1), torch.full_like(s_c[..., 0], 500 * 64 / 64**2)) < 1e-5


def test_a_mass_is_of_the_prompts_own_words():
    """The two masses of all words are 1, and specials have no say; by hand for one pixel."""
    maps = noise(1, 1, 4, 6).softmax(-1)
    words = Words((1, 2, 3), (2, 3))
    assert torch.allclose(mass(maps, Words((1, 2, 3), (1, 2, 3))), torch.ones(1, 1, 4))
    other = maps.clone()
    other[..., [0, 4, 5]] = 0.7
    assert torch.equal(mass(maps, words), mass(other, words))
    a = maps[0, 0, 0].double().exp() ** 10
    assert abs(float((a[2] + a[3]) / (a[1] + a[2] + a[3])) - float(mass(maps, words)[0, 0, 0])) < 1e-6


def test_the_printed_masks_are_a_half_wherever_logits_are_small():
    q, k = noise(1, 2, 64, 8) * 0.1, noise(1, 2, 6, 8, seed=1) * 0.1
    s = printed(q, k, Words((1, 2, 3), (2, 3)))
    by_hand = (torch.einsum("ihpc,ihwc->ihpw", q, k)[..., 2:4].sum(-1) / 8**0.5).softmax(-1)
    assert gap(s, by_hand) < 1e-5
    for balance in (-2, 2):
        assert (share(s, s, balance) - 0.5).abs().max() < 0.02


def control(balance: float = 0.0, **extra: Any) -> Integration:
    return Integration(Words((1, 2, 3), (2, 3)), Words((1, 2, 3), (1, 3)), balance, **extra)


def call(model: Any) -> Call:
    text = model.base.read(["a cat"])
    rows = [("aux", "cond"), ("main", "uncond"), ("main", "cond"), ("aux", "uncond")]
    named = tuple(Row(lane, side, slice(2 * i, 2 * i + 2), text) for i, (lane, side) in enumerate(rows))
    return Call(named, 0, 1, 500, (8, 8))


SITE = Site("down_blocks.0.attentions.0.transformer_blocks.0.attn2", "cross", "down")


@pytest.mark.parametrize("form", ["release", "paper", "none"])
def test_only_the_main_lanes_guided_rows_change(sd1, form):
    mix, now = control(1.0, form=form), call(sd1)
    q, k, out, maps = (
        noise(8, 2, 64, 4),
        noise(8, 6, 8),
        noise(8, 2, 64, 4, seed=2),
        noise(8, 2, 64, 6).softmax(-1),
    )
    mix.keyvalue(SITE, now, k, k)
    before = out.clone()
    found = mix.output(SITE, now, q, maps if form == "release" else None, out)
    assert torch.equal(out, before)
    others = [0, 1, 2, 3, 6, 7]
    assert torch.equal(found[others], out[others]) and not torch.equal(found[4:6], out[4:6])


def test_the_ends_of_the_balance_are_the_lanes_themselves(sd1):
    now, out, maps = call(sd1), noise(8, 2, 64, 4), noise(8, 2, 64, 6).softmax(-1)
    none, all_of_it = (control(b).output(SITE, now, out, maps, out) for b in (-1e9, 1e9))
    assert torch.equal(none, out)
    assert torch.equal(all_of_it[4:6], out[0:2])


def test_self_attention_and_other_layers_are_left_alone(sd1):
    now, out = call(sd1), noise(8, 2, 64, 4)
    assert not control().looks(Site("x.attn1", "self", "down"), now)
    assert not control(last="another").looks(SITE, now)
    assert control(last="another").output(SITE, now, out, None, out) is out


# -- runs --------------------------------------------------------------------------------------------------------


def run_of(
    model: Any, *, steps: int = 4, until: float = 0.5, guidance: float = 5.0, **extra: Any
) -> TwoLanes:
    base = model.base.wear(concept_of(model.base))
    return TwoLanes(base, Pair.of(base, PROMPT, ["tea"]), steps, guidance, until, **extra)


class Rows(Control):
    """How many rows each step had."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def predicted(self, call, outputs):
        self.counts.append(len(call.rows))
        return outputs


@pytest.mark.parametrize(("shared", "guidance", "counts"), [
    (True, 5.0, [3, 3, 2, 2]), (False, 5.0, [4, 4, 2, 2]), (True, 1.0, [2, 2, 1, 1]), (False, 1.0, [2, 2, 1, 1]),
])  # fmt: skip
def test_the_batch_shrinks_when_the_lane_ends_and_the_cost_is_told(small, shared, guidance, counts):
    rows = Rows()
    run = run_of(small, shared=shared, guidance=guidance, controls=(rows,))
    run.pictures([3], 0.0)
    assert rows.counts == counts
    assert run.evaluations == sum(counts)


def difference(a: Any, b: Any) -> int:
    return max(
        int(np.abs(np.asarray(x).astype(int) - np.asarray(y)).max()) for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_without_a_share_it_is_plain_sampling(model, eta):
    """Balance to minus infinity; with η the auxiliary lane's draws do not move the main one's."""
    run = run_of(model, eta=eta, steps=2)
    wanted = plain(run.base, PROMPT, n=2, seed=5, steps=2, guidance=5.0, eta=eta)
    assert difference(run.pictures([5, 6], -1e9), wanted) <= 1
    assert difference(run.pictures([5, 6], 2.0), wanted) > 1


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_until_0_is_plain_sampling_bit_for_bit(model, eta):
    run = run_of(model, until=0.0, eta=eta, negative="tea", steps=2)
    wanted = plain(run.base, PROMPT, n=2, seed=5, steps=2, guidance=5.0, eta=eta, negative="tea")
    assert [a.tobytes() for a in run.pictures([5, 6], 1.0)] == [a.tobytes() for a in wanted]


def lanes_of(run: TwoLanes, seeds: list[int], *, shared: bool) -> tuple[Lane, Lane]:
    main, aux, uncond = run.texts
    x, y = (
        draw_noise(
            run.base.latent_shape(run.size), [torch.Generator().manual_seed(s) for s in some], torch.zeros(1)
        )
        for some in (seeds, [s ^ ASIDE for s in seeds])
    )
    return (
        Lane("main", x, main, uncond, run.guidance),
        Lane("aux", y, aux, None if shared else uncond, run.guidance, borrows="main" if shared else None),
    )


def test_the_auxiliary_lane_walks_as_if_it_were_alone(small):
    """With guidance of its own; and lanes in another order give the same."""
    run = run_of(small, size=(12 * small.base.latent_factor, 8 * small.base.latent_factor))
    mix = Integration(*run.words, 1.0)
    with torch.no_grad():
        main, aux = lanes_of(run, [1, 2], shared=False)
        both = finish(denoise(run.base, [main, aux], steps=3, controls=[mix]))
        turned = finish(denoise(run.base, [aux, main], steps=3, controls=[Integration(*run.words, 1.0)]))
        alone = finish(denoise(run.base, [aux], steps=3))
        bare = finish(denoise(run.base, [main], steps=3))
    assert gap(both["aux"], alone["aux"]) < 1e-5
    assert gap(turned["main"], both["main"]) < 1e-5
    assert gap(both["main"], bare["main"]) > 1e-3


def test_the_auxiliary_lanes_noise_is_its_own(small):
    run = run_of(small)
    with torch.no_grad():
        main, aux = lanes_of(run, [1], shared=False)
        aux_draws = [torch.Generator().manual_seed(9)]
        own = OwnNoise(run.base.schedule, aux, aux_draws, 1.0)
        draws = [torch.Generator().manual_seed(4)]
        both = finish(denoise(run.base, [main, aux], steps=3, eta=1.0, draws=draws, controls=[own]))
        again = [torch.Generator().manual_seed(9)]
        alone = finish(denoise(run.base, [aux], steps=3, eta=1.0, draws=again))
    assert gap(both["aux"], alone["aux"]) < 1e-5


def test_a_run_gives_the_auxiliary_lane_that_noise(sd1):
    class Seen(Control):
        latents: torch.Tensor

        def predicted(self, call, outputs):
            self.latents = call.latents["aux"]
            return outputs

    seen = Seen()
    run = run_of(sd1, steps=3, until=1.0, eta=1.0, shared=False, controls=(seen,))
    run.pictures([1], 1.0)
    with torch.no_grad():
        _, aux = lanes_of(run, [1], shared=False)
        draws = [torch.Generator().manual_seed(1 ^ ASIDE)]
        draw_noise(run.base.latent_shape(), draws, torch.zeros(1))  # the lane's start
        *_, before, _ = denoise(run.base, [aux], steps=3, eta=1.0, draws=draws)
    assert gap(seen.latents, before.latents["aux"]) < 1e-5


def test_a_picture_depends_on_its_own_seeds(small):
    run = run_of(small)
    together = run.pictures([5, 6], 1.0)
    assert difference(together[1:], run.pictures([6], 1.0)) <= 1
    other = run.pictures([5], 1.0, aux_seeds=[99])
    assert difference(other, together[:1]) > 1
    assert difference(other, run.pictures([5], 1.0, aux_seeds=[99])) == 0


@pytest.mark.parametrize("change", [{"form": "paper"}, {"form": "none"}, {"layers": "last"}, {"gain": 5000.0},
                                    {"shared": False}])  # fmt: skip
def test_every_setting_tells(sd1, change):
    assert difference(run_of(sd1).pictures([1], 1.2), run_of(sd1, **change).pictures([1], 1.2)) > 0


def test_masks_are_collected_by_size(model):
    seen: dict[Any, Any] = {}
    run_of(model).pictures([1, 2, 3], 1.0, seen=seen)
    h = model.base.latent_shape()[1]
    assert max(seen) == (h, h) and len(seen) > 1
    sites = sum(site.kind == "cross" for site in model.base.models.sites)
    assert sum(map(len, seen.values())) == 2 * sites
    for size, masks in seen.items():
        for mask in masks:
            assert mask.shape == (3, *size) and 0 <= mask.min() <= mask.max() <= 1


def test_the_window_is_a_share_of_the_steps(sd1):
    assert run_of(sd1, steps=200, until=0.15).window == 30
    assert run_of(sd1, steps=50, until=0.3).window == 15
    assert evaluations(200, 0.15, guided=True, shared=True) == 430
    assert evaluations(200, 0.15, guided=True, shared=False) == 460


@pytest.mark.parametrize("steps", [10, 50, 200])
@pytest.mark.parametrize("until", [0.15, 0.3])
def test_equal_cost_costs_no_more_and_starts_as_noisy(sd1, steps, until):
    schedule = sd1.base.schedule
    fewer = equal_steps(schedule, steps, until, guided=True, shared=True)
    assert 2 * fewer + round(until * fewer) <= 2 * steps and round(until * fewer) >= 1
    first, second, *_ = schedule.timesteps(steps)
    assert schedule.timesteps(fewer)[0] >= first - (first - second)
    for more in range(fewer + 1, steps):
        costs = 2 * more + round(until * more)
        assert costs > 2 * steps or schedule.timesteps(more)[0] < second
    # 3 would cost no more, and have no second lane
    with pytest.raises(InputError, match="4 steps are too few"):
        equal_steps(schedule, 4, 0.15, guided=True, shared=True)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_shared_guidance_is_of_the_noise_whatever_the_base_predicts(small, eta):
    """ε^a = ε_u + g (ε_a − ε_u) with the ε_u of the main lane's latents, and a DDIM step by hand."""
    run, schedule = run_of(small, steps=3, until=1.0, eta=eta), small.base.schedule
    outputs: dict[Any, torch.Tensor] = {}

    class Seen(Control):
        def predicted(self, call, outputs_):
            outputs.update(outputs_)
            return outputs_

    with torch.no_grad():
        main, aux = lanes_of(run, [1], shared=True)
        again, own = [torch.Generator().manual_seed(9)], [torch.Generator().manual_seed(9)]
        noises = [OwnNoise(schedule, aux, own, eta)] if eta else []
        draws = [torch.Generator().manual_seed(4)]
        loop = denoise(run.base, [main, aux], steps=3, eta=eta, draws=draws, controls=[Seen(), *noises])
        found = next(loop).latents["aux"]
    t, s, *_ = schedule.timesteps(3)
    borrowed = schedule.split(main.latents, outputs["main", "uncond"], t)[1]
    x0, mine = schedule.split(aux.latents, outputs["aux", "cond"], t)
    eps = borrowed + run.guidance * (mine - borrowed)
    x0 = (aux.latents - (1 - schedule.at(t)) ** 0.5 * eps) / schedule.at(t) ** 0.5
    variance = eta**2 * (1 - schedule.at(s)) / (1 - schedule.at(t)) * (1 - schedule.at(t) / schedule.at(s))
    wanted = schedule.at(s) ** 0.5 * x0 + (1 - schedule.at(s) - variance) ** 0.5 * eps
    wanted = wanted + variance**0.5 * draw_noise(tuple(x0.shape[1:]), again, x0)
    assert gap(found, wanted) < 1e-4 * float(wanted.abs().max())


def test_shared_guidance_draws_the_lanes_together_or_throws_them_apart(small):
    """Where a denoiser sees pure noise, ε = x / σ, the lanes' difference is foretold to the last bit; SD's schedule."""
    schedule = small.base.schedule
    assert thrown(schedule, 200, 30, 6.0) == thrown(schedule, 50, 8, 7.5) == 1.0
    for steps, guidance in ((50, 40.0), (8, 12.0)):
        window, x, y = max(round(0.15 * steps), 1), noise(1, 1, 4, 4), noise(1, 1, 4, 4, seed=1)
        times, found = schedule.timesteps(steps), []
        for t, s in pairwise(times[: window + 1]):
            b = (1 - schedule.at(t)) ** 0.5  # x0 = 0
            mine, theirs = y / b, x / b
            outputs = [_output(schedule, z, e, t) for z, e in ((x, theirs), (y, theirs), (y, mine))]
            guided = outputs[1] + guidance * (outputs[2] - outputs[1])
            x, y = schedule.move(x, outputs[0], t, s), schedule.move(y, guided, t, s)
            spread_ = (1 - schedule.at(s)) ** 0.5
            found.append(float(((y - x) / spread_).norm()))
        first = float(
            ((noise(1, 1, 4, 4, seed=1) - noise(1, 1, 4, 4)) / (1 - schedule.at(times[0])) ** 0.5).norm()
        )
        assert thrown(schedule, steps, window, guidance) == pytest.approx(max(found) / first, rel=1e-3)
        assert max(found) > first


def _output(schedule: Any, x: torch.Tensor, eps: torch.Tensor, t: int) -> torch.Tensor:
    """What a denoiser answers that sees this ε in x."""
    a, b = schedule.at(t) ** 0.5, (1 - schedule.at(t)) ** 0.5
    return eps if schedule.prediction == "epsilon" else (eps - b * x) / a
