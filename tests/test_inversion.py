"""The value and its file; the level arithmetic that all inversions rest on; what replays do."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tiny
from motif import edit, invert
from motif.attention import Call, Control
from motif.climb import climb
from motif.errors import InputError, WrongBase
from motif.fidelity import psnr, ssim
from motif.inversion import Inversion, Made
from motif.lanes import Lane, denoise, finish
from motif.origin import Origin
from motif.replay import Pinned, Proximal, Values, embedded, proximal
from motif.schedule import CLEAN, Schedule
from pieces import Model, concept_of, gap

SD = {
    "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
}  # fmt: skip
"""Stable Diffusion's own scheduler (card 0.3)."""

ALPHA_BAR = {
    0: 0.99915, 1: 0.99829603, 21: 0.98038075, 41: 0.96087279, 101: 0.89298054, 201: 0.7521434, 301: 0.5888187,
    401: 0.42288152, 481: 0.30229566, 501: 0.27499907, 581: 0.17986361, 681: 0.09463691, 801: 0.03654652,
    961: 0.00728173, 981: 0.0057755, 999: 0.0046601, 34: 0.96788139, 925: 0.01086013, 958: 0.00753477,
}  # fmt: skip
"""ᾱ by timestep (card 18)."""


# -- levels and timesteps: the card's numbers -------------------------------------------------------------------


def affine(schedule: Schedule, t: int, s: int) -> tuple[float, float]:
    """(a, b) of z_s = a z_t + b ε."""
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return float(schedule.move(one, none, t, s)), float(schedule.move(none, one, t, s))


def test_steps_are_the_cards_numbers() -> None:
    schedule = Schedule.read(SD)
    anchors = {
        (CLEAN, 1): (0.99957256, 0.01213690), (1, 21): (0.99098645, 0.09916161), (961, 981): (0.89058956, 0.10976695),
        (981, 961): (1.12285170, -0.12325201), (21, 1): (1.00909553, -0.10006354),
        (1, CLEAN): (1.00042762, -0.01214209),
    }  # fmt: skip
    for (t, s), numbers in anchors.items():
        assert affine(schedule, t, s) == pytest.approx(
            numbers, abs=1e-6
        )  # diffusers multiplies ᾱ up in float32
    assert schedule.timesteps(50)[:2] == (981, 961) and schedule.timesteps(50)[-2:] == (21, 1)
    assert schedule.timesteps(30)[:2] == (958, 925) and schedule.timesteps(30)[-2:] == (34, 1)
    assert schedule.at(CLEAN) == pytest.approx(0.99915, abs=1e-6)
    assert {level: schedule.at(level) for level in ALPHA_BAR} == pytest.approx(ALPHA_BAR, abs=1e-6)
    assert {*ALPHA_BAR} - {0, 34, 925, 958, 999} <= {*schedule.timesteps(50)}
    assert {34, 925, 958} <= {*schedule.timesteps(30)}


@given(st.integers(1, 60), st.integers(0, 2**31))
def test_down_is_the_inverse_of_up_for_one_noise(steps: int, seed: int) -> None:
    schedule = Schedule.read(SD)
    draw = torch.Generator().manual_seed(seed)
    z, eps = (torch.randn(1, 2, 3, 3, dtype=torch.float64, generator=draw) for _ in range(2))
    levels = [CLEAN, *reversed(schedule.timesteps(steps))]
    x = z
    for t, s in pairwise(levels):
        x = schedule.move(x, eps, t, s)
    for t, s in pairwise(levels[::-1]):
        x = schedule.move(x, eps, t, s)
    assert torch.allclose(x, z, atol=1e-9)


def test_the_climb_is_diffusers_own_inversion(small: Model) -> None:
    from diffusers import DDIMInverseScheduler

    base = small.base
    inverse: Any = DDIMInverseScheduler.from_config(small.stock.scheduler.config)
    inverse.set_timesteps(10)
    text, x0 = base.read("photo of a cat"), small.noise(size=(16, 24)) * 0.3
    ours = [x for _, x in climb(base, x0, text, steps=10)]
    x = x0
    with torch.no_grad():
        for t in inverse.timesteps:
            out = base.predict(x, int(t), text.states, text.pooled, None)
            x = inverse.step(out, t, x).prev_sample
    assert len(ours) == 10 and gap(ours[-1], x) < 1e-4


class Turned(Control):
    """Guides away from the prompt, and keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[set[Any], torch.Tensor]] = []

    def predicted(self, call: Call, outputs: Any) -> Any:
        self.seen.append((set(outputs), call.latents["main"]))
        turned = {("main", "cond"): outputs["main", "uncond"], ("main", "uncond"): outputs["main", "cond"]}
        return {**outputs, **turned}


def test_what_is_predicted_can_be_changed_before_guidance(small: Model) -> None:
    base, noise = small.base, small.noise()
    cond, uncond = base.read("photo of a cat"), base.read_uncond()
    with torch.no_grad():
        turned = Turned()
        found = list(denoise(base, [Lane("main", noise, cond, uncond, 3.0)], steps=3, controls=[turned]))
        told = finish(denoise(base, [Lane("main", noise, cond, uncond, -2.0)], steps=3))  # 1 − 3
    assert gap(found[-1].latents["main"], told["main"]) < 1e-4
    before = [noise, *(step.latents["main"] for step in found)]
    for (keys, latents), x in zip(turned.seen, before, strict=False):
        assert keys == {("main", "cond"), ("main", "uncond")} and torch.equal(latents, x)


# -- the value and its file -------------------------------------------------------------------------------------


@pytest.fixture
def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((24, 16)).convert("RGB")


@pytest.fixture
def found(sd1: Model, photo: Image.Image) -> Inversion:
    return invert.negative_prompt(sd1.base, photo, "photo of a cat", steps=3, height=16, width=24)


def same(a: Inversion, b: Inversion) -> bool:
    for field in dataclasses.fields(Inversion):
        mine, theirs = getattr(a, field.name), getattr(b, field.name)
        if isinstance(mine, torch.Tensor):
            assert mine.dtype == theirs.dtype and torch.equal(mine, theirs), field.name
        elif field.name == "values":
            assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)
        else:
            assert mine == theirs, field.name
    return True


def test_a_file_is_read_as_it_was_written(
    sd1: Model, photo: Image.Image, found: Inversion, tmp_path: Path
) -> None:
    path = found.save(tmp_path / "a")
    assert path.name == "a.inversion" and same(found, Inversion.load(path))
    rich = invert.value_embedding(
        sd1.base,
        [photo, photo],
        ["a cat", "a dog"],
        steps=2,
        inner_steps=1,
        encoder="pocket",
        height=16,
        width=24,
    )
    again = Inversion.load(rich.save(tmp_path / "b.inversion"))
    assert same(rich, again) and torch.equal(again.reconstruct(sd1.base), rich.reconstruct(sd1.base))
    assert "2 steps, 24x16" in str(again) and len(again) == 2
    about = again.describe()
    assert about["prompts"] == ["a cat", "a dog"]
    assert about["replays"] == {"values": {"until": 0.5, "inputs": "values"}}
    prox = invert.proximal(sd1.base, photo, "a cat", steps=2, height=16, width=24)
    assert same(prox, Inversion.load(prox.save(tmp_path / "c")))


def test_what_is_no_inversion_is_refused_by_name(found: Inversion, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"name it a\.inversion"):
        found.save(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"x\.inversion: no such"):
        Inversion.load(tmp_path / "x.inversion")
    path = found.save(tmp_path / "a")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.inversion: not an inversion, or cut short"):
        Inversion.load(path)
    path.write_bytes(whole.replace(b"motif.inversion/1", b"motif.inversion/9"))
    with pytest.raises(InputError, match="name a file that `motif invert` wrote"):
        Inversion.load(path)
    path.write_bytes(whole.replace(b'\\"times\\"', b'\\"tomes\\"'))
    with pytest.raises(InputError, match="damaged"):
        Inversion.load(path)


def test_it_fits_its_own_base_and_dress_alone(sd1: Model, found: Inversion, photo: Image.Image) -> None:
    base = sd1.base
    found.check(base)
    concept = concept_of(base)
    with pytest.raises(WrongBase, match="without <new1>"):
        found.lanes(base.wear(concept))
    dressed = invert.ddim(base.wear(concept), photo, "a <new1> cat", steps=2, height=16, width=24)
    dressed.lanes(base.wear(concept), ["a <new1> dog"])
    with pytest.raises(WrongBase, match="wearing <new1>"):
        dressed.check(base)
    with pytest.raises(WrongBase, match="without <new2>"):
        dressed.check(base.wear(concept, concept_of(base, "<new2>", seed=1)))
    with pytest.raises(WrongBase, match="architecture"):
        found.check(tiny.base_of(tiny.pipeline("sdxl")))
    with pytest.raises(WrongBase, match="other weights"):
        found.check(tiny.base_of(tiny.pipeline("sd1", seed=1)))
    pipe = tiny.pipeline("sd1")
    for change, words in (
        ({"prediction_type": "v_prediction"}, "v_prediction"),
        ({"steps_offset": 0}, "timesteps"),
    ):
        pipe.scheduler = type(pipe.scheduler).from_config({**pipe.scheduler.config, **change})
        with pytest.raises(WrongBase, match=words):
            found.check(tiny.base_of(pipe))
        pipe.scheduler = tiny.pipeline("sd1").scheduler


def test_settings_of_a_replay_can_be_changed_and_wrong_ones_are_named(sd1: Model, photo: Image.Image) -> None:
    prox = invert.proximal(sd1.base, photo, "a cat", steps=2, height=16, width=24)
    assert prox.retuned("proximal", quantile=0.2).replays["proximal"]["quantile"] == 0.2
    with pytest.raises(InputError, match="no values"):
        prox.retuned("values", until=0.1)
    with pytest.raises(InputError, match="no setting quantle"):
        prox.retuned("proximal", quantle=0.1)
    with pytest.raises(InputError, match="photo 1 of 1"):
        prox.only(1)


# -- replays ----------------------------------------------------------------------------------------------------

numbers = st.floats(-3, 3, width=32)


@given(st.lists(numbers, min_size=1, max_size=20), st.floats(0, 2, width=32))
def test_thresholds(values: list[float], least: float) -> None:
    gaps, limit = torch.tensor(values), torch.tensor(least)
    soft, edited = proximal(gaps, limit, "soft")
    assert torch.allclose(soft, gaps - gaps.clamp(-least, least), atol=1e-6)
    assert torch.equal(edited, gaps.abs() > limit)
    hard, kept = proximal(gaps, limit, "hard")
    assert torch.equal(hard[kept], gaps[kept]) and not hard[~kept].any() and torch.equal(kept, edited)
    official, twice = proximal(gaps, limit, "official-l0")
    assert torch.equal(official, soft) and torch.equal(twice, soft.abs() > limit)
    l1, _ = proximal(gaps, limit, "official-l1")
    for delta, told in zip(values, l1.tolist(), strict=True):
        assert told == pytest.approx(slipped(delta, least), abs=1e-5) or abs(abs(delta) - 2 * least) < 1e-5


def slipped(delta: float, least: float) -> float:
    """Card 4, the release's "l1" by cases."""
    if delta > 2 * least:
        return delta - 2 * least
    if delta > least:
        return delta - least
    return delta + 2 * least if delta < -least else 0.0


def call(step: int, steps: int, t: int, latents: dict[str, torch.Tensor]) -> Call:
    return Call((), step, steps, t, (4, 4), latents=latents)


def outputs_of(seed: int = 0) -> dict[Any, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    lanes = [(lane, side) for lane in ("source", "target") for side in ("cond", "uncond")]
    return {key: torch.randn(2, 4, 4, 4, generator=draw) for key in lanes}


def test_nothing_cut_is_plain_guidance_and_everything_cut_is_none() -> None:
    schedule, levels, told = Schedule.read(SD), torch.zeros(3, 2, 4, 4, 4), outputs_of()
    at = call(0, 2, 500, {})
    for quantile, wanted in ((0.0, "cond"), (1.0, "uncond")):
        control = Proximal(levels, schedule, threshold="hard", quantile=quantile, over="target", guide="none")
        found = control.predicted(at, told)
        near = (found["target", "cond"] - told["target", wanted]).abs() > 1e-5
        assert int(near.sum()) <= 2  # the smallest one of each photo is cut at 0
        assert torch.equal(found["source", "cond"], told["source", "cond"])


@pytest.mark.parametrize("threshold", ["soft", "hard", "official-l0", "official-l1"])
def test_a_fixed_threshold_of_0_is_plain_guidance_and_one_above_all_is_none(threshold: Any) -> None:
    """λ = 0 and λ ≥ max |δ| (card 18, vii)."""
    schedule, levels, told = Schedule.read(SD), torch.zeros(3, 2, 4, 4, 4), outputs_of()
    for fixed, wanted in ((0.0, "cond"), (20.0, "uncond")):
        control = Proximal(levels, schedule, threshold=threshold, fixed=fixed, guide="none")
        found = control.predicted(call(0, 2, 500, {}), told)
        assert torch.allclose(found["target", "cond"], told["target", wanted], atol=1e-6)
        assert torch.equal(found["target", "uncond"], told["target", "uncond"])


def test_an_edit_with_nothing_cut_is_the_plain_one_and_with_all_cut_the_reconstruction(
    sd1: Model, photo: Image.Image
) -> None:
    small: Any = {"steps": 2, "guidance": 4.0, "height": 16, "width": 16}
    plain = invert.negative_prompt(sd1.base, photo, "a cat", **small)
    uncut, cut = (
        edit.word_swap(
            sd1.base,
            invert.proximal(sd1.base, photo, "a cat", fixed=fixed, guide="none", **small),
            "a dog",
        ).latents[0]
        for fixed in (0.0, 20.0)
    )
    guided = edit.word_swap(sd1.base, plain, "a dog").latents[0]
    assert gap(uncut, guided) < 1e-4 and gap(cut, plain.reconstruct(sd1.base)) < 1e-4
    assert gap(guided, cut) > 1e-3


def test_the_quantile_over_both_rows_is_the_releases_and_each_photos_own() -> None:
    schedule, told = Schedule.read(SD), outputs_of()
    told["source", "cond"] = told["source", "uncond"]  # as negative-prompt has it
    levels = torch.zeros(3, 2, 4, 4, 4)
    both = Proximal(levels, schedule, quantile=0.75, over="both").predicted(call(0, 2, 500, {}), told)
    alone = Proximal(levels, schedule, quantile=0.5, over="target").predicted(call(0, 2, 500, {}), told)
    assert gap(both["target", "cond"], alone["target", "cond"]) < 0.05
    one = {key: value[1:] for key, value in told.items()}
    mine = Proximal(levels[:, 1:], schedule, quantile=0.75, over="both").predicted(call(0, 2, 500, {}), one)
    assert gap(both["target", "cond"][1:], mine["target", "cond"]) < 1e-6


def test_a_fixed_threshold_means_the_same_noise_for_every_prediction() -> None:
    levels, told, t = torch.zeros(3, 2, 4, 4, 4), outputs_of(), 500
    plain = Schedule.read(SD)
    turned = Schedule.read({**SD, "prediction_type": "v_prediction"})
    x = torch.randn(2, 4, 4, 4)
    a = plain.at(t)
    as_v = {key: (eps - (1 - a) ** 0.5 * x) / a**0.5 for key, eps in told.items()}  # ε = √ᾱ v + √(1−ᾱ) x
    eps = Proximal(levels, plain, fixed=0.8).predicted(call(0, 2, t, {}), told)["target", "cond"]
    v = Proximal(levels, turned, fixed=0.8).predicted(call(0, 2, t, {}), as_v)["target", "cond"]
    assert torch.allclose(turned.split(x, v, t)[1], eps, atol=1e-5)


def test_the_pulls_are_the_cards() -> None:
    schedule, told = Schedule.read(SD), outputs_of()
    draw = torch.Generator().manual_seed(3)
    levels, x = torch.randn(3, 2, 4, 4, 4, generator=draw), torch.randn(2, 4, 4, 4, generator=draw)
    t, s = schedule.timesteps(2)
    for guide in ("none", "inversion", "reconstruction"):
        control = Proximal(levels, schedule, quantile=0.6, guide=guide, pull=0.3, until=1000, dilate=0)
        at = call(0, 2, t, {"source": x, "target": x})
        out = control.predicted(at, told)["target", "cond"]
        x0, eps = schedule.split(x, out, t)
        keep = control.keep["target"]
        assert 0 < float(keep.mean()) < 1
        wanted = schedule.move(x, out, t, s)
        if guide == "inversion":
            wanted = wanted - 0.3 * keep * (wanted - levels[1])
        if guide == "reconstruction":
            x0 = x0 - 0.3 * keep * (x0 - levels[0])
            wanted = schedule.at(s) ** 0.5 * x0 + (1 - schedule.at(s)) ** 0.5 * eps
        moved = schedule.move(x, out, t, s)
        assert torch.allclose(
            control.after(at, {"source": moved, "target": moved})["target"], wanted, atol=1e-4
        )
        for until in (-1000, 0):  # above timestep 1000, and nowhere
            never = Proximal(levels, schedule, guide=guide, until=until)
            never.predicted(at, told)
            assert torch.equal(never.after(at, {"target": moved})["target"], moved)
        above = Proximal(levels, schedule, quantile=0.6, guide=guide, pull=0.3, until=-100, dilate=0)
        above.predicted(at, told)
        both = {"source": moved, "target": moved}
        assert torch.allclose(above.after(at, both)["target"], wanted, atol=1e-4)


def test_pinned_writes_the_trajectory_and_moves_the_others_only_where_asked() -> None:
    levels = torch.randn(4, 1, 2, 2, 2)
    lanes = {"source": torch.zeros(1, 2, 2, 2), "target": torch.ones(1, 2, 2, 2)}
    at = call(1, 3, 500, {})
    found = Pinned(levels).after(at, lanes)
    assert torch.equal(found["source"], levels[1]) and found["target"] is lanes["target"]
    found = Pinned(levels, to="all").after(at, lanes)
    assert torch.equal(found["target"], lanes["target"] + levels[1])
    assert Pinned(levels, every=2).after(at, lanes) is lanes
    assert Pinned(levels).after(at, {"main": levels[0]}).keys() == {"main"}


def test_values_reach_the_source_always_and_targets_in_their_share() -> None:
    from motif.attention import Row, Site

    site, text = Site("a", "cross", "down"), None
    rows = tuple(Row(lane, side, slice(i, i + 1), text) for i, (lane, side) in enumerate(
        [("source", "cond"), ("source", "uncond"), ("target", "cond"), ("target", "uncond")]))  # fmt: skip
    c = torch.randn(4, 3, 5)
    values = {"scale": torch.randn(4, 1, 3, 5), "shift": torch.randn(4, 1, 3, 5)}
    control = Values(values, until=0.5)
    for step in range(4):
        keys, fed = control.context(site, Call(rows, step, 4, 500, (8, 8)), c, c)
        assert keys is c and torch.equal(fed[1], c[1]) and torch.equal(fed[3], c[3])
        told = embedded(c, {name: value[step] for name, value in values.items()})
        assert torch.equal(fed[0], told[0])
        assert torch.equal(fed[2], told[2] if step < 2 else c[2])
    itself = Site("b", "self", "down")
    assert control.context(itself, Call(rows, 0, 4, 500, (8, 8)), c, c)[1] is c
    direct = {"direct": torch.randn(4, 1, 3, 5)}
    assert torch.equal(
        Values(direct).context(site, Call(rows, 0, 4, 500, (8, 8)), c, c)[1][0], direct["direct"][0, 0]
    )


# -- likeness ---------------------------------------------------------------------------------------------------


def test_psnr_and_ssim_are_torchmetrics_own() -> None:
    metrics = pytest.importorskip("torchmetrics.functional.image")
    draw = torch.Generator().manual_seed(0)
    a = torch.rand(2, 3, 40, 32, generator=draw)
    b = (a + 0.1 * torch.randn(a.shape, generator=draw)).clamp(0, 1)
    for i in range(2):
        pair = a[i : i + 1], b[i : i + 1]
        assert float(psnr(a, b)[i]) == pytest.approx(
            float(metrics.peak_signal_noise_ratio(*pair, data_range=1.0)), abs=1e-3
        )
        told = metrics.structural_similarity_index_measure(*pair, data_range=1.0)
        assert float(ssim(a, b)[i]) == pytest.approx(float(told), abs=2e-3)
    assert torch.isinf(psnr(a, a)).all() and torch.allclose(ssim(a, a), torch.ones(2, dtype=torch.float64))


def test_levels_of_maps_are_parts_of_the_latents_side() -> None:
    def level(h: int, w: int, part: int) -> int:
        return Call((), 0, 1, 0, (h, w)).level(part)

    assert [level(64, 64, part) for part in (1, 2, 4, 8)] == [0, 1, 2, 3]
    assert level(16, 16, 4) == 1  # pocket: 4 x 4 is too coarse
    assert level(64, 96, 4) == 2 and level(8, 12, 4) == 1 and level(8, 8, 4) == 0
    with pytest.raises(ValueError, match="power of 2"):
        level(64, 64, 3)


def test_sites_know_how_often_their_latents_are_halved(small: Model) -> None:
    from pieces import Watch, call_of

    watch, x = Watch(), small.noise()
    text = small.base.read("photo of a cat")
    with torch.no_grad():
        small.base.predict(x, 500, text.states, text.pooled, call_of(text, x, controls=[watch]))
    assert watch.seen
    for _, site, maps in watch.seen:
        assert maps.shape[2] == (x.shape[-1] >> site.level) ** 2, site.name


def test_an_origin_without_its_frame_still_fits(found: Inversion, sd1: Model) -> None:
    older = dataclasses.replace(found.made.base, frame="")
    assert isinstance(older, Origin)
    dataclasses.replace(found, made=dataclasses.replace(found.made, base=older)).check(sd1.base)
    assert Made(older).scores == {}
