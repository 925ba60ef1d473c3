"""The one loop: lanes do not disturb one another, controls are heard, and text is projected once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from motif.attention import Call, Control, Site
from motif.errors import InputError
from motif.lanes import Lane, denoise, draw, finish
from pieces import Flat, Model, Watch, concept_of, gap

STEPS = 4


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def lane(
    model: Any, name: str = "main", prompt: str = "a cat", *, seed: int = 0, n: int = 1, **extra: Any
) -> Lane:
    base = model.base
    return Lane(
        name,
        model.noise(n, seed=seed).to(base.dtype),
        base.read(prompt),
        **{"uncond": base.read_uncond(), "guidance": 5.0} | extra,
    )


def run(model: Any, *lanes: Lane, controls: Sequence[Control] = (), steps: int = STEPS, **extra: Any) -> Any:
    return finish(denoise(model.base, lanes, steps=steps, controls=controls, **extra))


def in_another_order(model: Any) -> float:
    """How far lanes that stand in another order end from where they ended before."""
    a, b = lane(model), lane(model, "aux", "a teapot", seed=1)
    c = lane(model, "third", "the sea", seed=2, guidance=1.0)
    first, second = run(model, a, b, c), run(model, c, a, b)
    return max(gap(second[name], first[name]) for name in ("main", "aux", "third"))


def test_lanes_in_any_order_give_the_same(model):
    """0.0 where this was written; elsewhere a matrix product may round the last rows of a batch in its own way."""
    assert in_another_order(model) < 1e-5


@pytest.mark.parametrize("family", ["sd1", "sd2-v", "sdxl"])
def test_lanes_in_any_order_give_the_same_in_float64(family):
    import tiny

    pipe = tiny.pipeline(family)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.double()
    assert in_another_order(Model(family, tiny.base_of(pipe), None)) < 1e-13


def test_a_lane_is_alone_among_others(small):
    """Also when a control works in the other lane only."""
    a, b = lane(small), lane(small, "aux", "a teapot", seed=1)
    alone = run(small, a)["main"]
    assert gap(run(small, a, b)["main"], alone) < 1e-5
    flat = run(small, a, b, controls=[Flat("aux")])
    assert gap(flat["main"], alone) < 1e-5
    assert gap(flat["aux"], run(small, b)["aux"]) > 1e-3


def test_a_name_is_only_a_name(small):
    mine, other = lane(small), lane(small, "another name")
    assert torch.equal(run(small, mine)["main"], run(small, other)["another name"])


def test_images_of_a_batch_do_not_influence_one_another(small):
    prompts = ["a cat", "a teapot", "the beach"]
    x, base = small.noise(3), small.base
    together = run(small, Lane("main", x, base.read(prompts), base.read_uncond(), 5.0))["main"]
    for i, prompt in enumerate(prompts):
        one = run(small, Lane("main", x[i : i + 1], base.read(prompt), base.read_uncond(), 5.0))["main"]
        assert gap(one[0], together[i]) < 1e-5
    turned = run(small, Lane("main", x.flip(0), base.read(prompts[::-1]), base.read_uncond(), 5.0))["main"]
    assert gap(turned.flip(0), together) < 1e-5


def test_attention_is_fused_again_after_the_last_step_that_looks(model, monkeypatch):
    fused, counts = F.scaled_dot_product_attention, []

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        counts[-1] += 1
        return fused(*args, **kwargs)

    lanes = [lane(model)]
    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    latents = {}
    counts.append(0)
    for step in denoise(model.base, lanes, steps=STEPS, controls=[Watch(until=2)]):
        latents[step.step] = step.latents["main"]
        counts.append(0)
    assert counts[:STEPS] == [0, 0, len(model.base.models.sites), len(model.base.models.sites)]
    late = Lane("main", latents[1], lanes[0].text, lanes[0].uncond, 5.0)
    assert torch.equal(run(model, late, start=2)["main"], latents[STEPS - 1])


def projections(model: Any) -> tuple[list[list[int]], list[Any]]:
    """The rows of every time that each cross layer's to_k ran, and the hooks that count them."""
    counts: list[list[int]] = []
    hooks: list[Any] = []
    for site in model.base.models.sites:
        if site.kind == "cross":
            counts.append([])

            def count(_: Any, __: Any, output: Any, i: int = len(counts) - 1) -> None:
                counts[i].append(len(output))

            hooks.append(model.base.models.unet.get_submodule(site.name).to_k.register_forward_hook(count))
    return counts, hooks


class Context(Control):
    """Leaves the context alone, but might not have."""

    def context(self, site: Site, call: Call, keys: Any, values: Any) -> Any:
        return keys, values


@pytest.mark.parametrize("case", ["plain", "watched", "context", "gradients", "aux ends", "uncond per step"])
def test_a_texts_keys_and_values_are_computed_once_per_run(small, case):
    base, plain = small.base, run(small, lane(small))
    (counts, hooks), rows = projections(small), None
    try:
        with torch.set_grad_enabled(case == "gradients"):
            lanes, controls, wanted = [lane(small)], [], 1
            if case == "watched":
                controls = [Watch()]
            elif case == "context":
                controls, wanted = [Context()], STEPS
            elif case == "gradients":
                wanted = STEPS
            elif case == "aux ends":
                lanes.append(lane(small, "aux", "a teapot", until=0.5))
            elif case == "uncond per step":
                lanes, wanted = [lane(small, uncond=[base.read_uncond() for _ in range(STEPS)])], STEPS
                rows = [2] + [1] * (STEPS - 1)  # what stays is not projected again
            done = run(small, *lanes, controls=controls)
    finally:
        for hook in hooks:
            hook.remove()
    assert [len(each) for each in counts] == [wanted] * len(counts)
    assert rows is None or all(each == rows for each in counts)
    assert gap(done["main"].detach(), plain["main"]) < 1e-5


def test_the_memory_belongs_to_one_run(small):
    """A base in other weights, right after, sees its own keys and values."""
    base = small.base
    dressed = base.wear(concept_of(base, None))
    first = run(small, lane(small))["main"]
    worn = finish(denoise(dressed, [lane(small)], steps=STEPS))["main"]
    assert gap(worn, first) > 1e-3
    assert torch.equal(run(small, lane(small))["main"], first)


def test_gradients_flow_from_the_latents_to_the_text(small):
    base = small.base
    text = base.read("a cat")
    with torch.enable_grad():
        states = text.states.clone().requires_grad_()
        tracked = type(text)(text.prompts, states, text.pooled, text.tokens)
        out = run(small, Lane("main", small.noise(), tracked, base.read_uncond(), 3.0), steps=2)["main"]
        out.square().sum().backward()
    assert states.grad is not None and float(states.grad.abs().max()) > 0


@pytest.mark.parametrize("shape", [(1, 2), (3, 1)])
def test_latents_need_not_be_square(small, shape):
    side = 4 * small.base.latent_factor
    size = (side * shape[0], side * shape[1])
    wide = Lane("main", small.noise(size=size), small.base.read("a cat"), small.base.read_uncond(), 5.0)
    seen = Watch()
    out = run(small, wide, controls=[seen])["main"]
    assert out.shape == (1, *small.base.latent_shape(size)) and torch.isfinite(out).all()
    assert gap(out, run(small, wide)["main"]) < 1e-5


def test_a_borrowed_uncond_is_the_lenders(small):
    """Two lanes alike, one of which borrows: the same picture from one row less."""
    main = lane(small)
    twin = Lane("aux", main.latents, main.text, None, 5.0, borrows="main")
    rows: list[int] = []

    class Count(Control):
        def after(self, call: Call, latents: Any) -> Any:
            rows.append(len(call.rows))
            return latents

    both = run(small, main, twin, controls=[Count()])
    assert torch.equal(both["main"], both["aux"]) and rows == [3] * STEPS


def test_uncond_per_step_equals_one_text_for_all(small):
    uncond = small.base.read_uncond()
    one, many = lane(small, uncond=uncond), lane(small, uncond=[uncond] * STEPS)
    assert torch.equal(run(small, one)["main"], run(small, many)["main"])


def test_a_known_way_is_gone_and_only_what_is_read_of_it_is_predicted(small):
    """And the lanes beside it end where they end beside a lane that is walked."""
    a, b = lane(small), lane(small, "aux", "a teapot", seed=1)
    steps = list(denoise(small.base, [a, b], steps=STEPS))
    way = torch.stack([a.latents, *(step.latents["main"] for step in steps)]).flip(0)
    known, seen = dataclasses.replace(a, way=way), list[set[tuple[str, str]]]()

    class Reads(Control):
        def __init__(self, *wanted: tuple[str, str]) -> None:
            self.wanted = wanted

        def reads(self, lane: str, side: str, step: int, steps: int) -> bool:
            return step > 0 and (lane, side) in self.wanted

        def predicted(self, call: Call, outputs: Any) -> Any:
            seen.append({*outputs})
            return outputs

    other = {("aux", "cond"), ("aux", "uncond")}
    main = {("main", "cond"), ("main", "uncond")}
    for wanted in ((), (("main", "cond"),), (("main", "cond"), ("main", "uncond"))):
        seen.clear()
        found = run(small, known, b, controls=[Reads(*wanted)])
        assert seen == [other, *[other | {*wanted}] * (STEPS - 1)]
        assert gap(found["main"], way[0]) < 1e-5 and gap(found["aux"], steps[-1].latents["aux"]) < 1e-5
    seen.clear()
    run(small, known, dataclasses.replace(b, uncond=None, borrows="main"), controls=[Reads()])
    assert seen == [{("main", "uncond"), ("aux", "cond")}] * STEPS  # what is lent is predicted

    class Custom(Reads):
        reads = Control.reads

    seen.clear()
    assert torch.equal(run(small, known, controls=[])["main"], way[0])  # nothing at all is predicted
    run(small, known, b, controls=[Custom()])
    assert seen == [main | other] * STEPS  # a control that does not say what it reads may read anything


def test_a_way_of_other_steps_or_with_noise_is_refused(sd1):
    known = dataclasses.replace(lane(sd1), way=torch.zeros(STEPS + 1, *lane(sd1).latents.shape))
    for extra in ({"steps": 3}, {"eta": 1.0, "draws": [torch.Generator()]}):
        with pytest.raises(InputError, match="way"):
            run(sd1, known, **extra)


def test_guidance_one_has_no_uncond_row(small):
    other = lane(small, uncond=small.base.read_uncond("bad, blurry"), guidance=1.0)
    assert torch.equal(run(small, lane(small, guidance=1.0))["main"], run(small, other)["main"])


def test_the_loop_is_a_generator_that_can_be_stopped_and_gone_on_with(small):
    a = lane(small)
    steps = list(denoise(small.base, [a], steps=STEPS))
    assert [(s.step, s.steps) for s in steps] == [(i, STEPS) for i in range(STEPS)]
    assert tuple(s.t for s in steps) == small.base.schedule.timesteps(STEPS)
    half = Lane("main", steps[1].latents["main"], a.text, a.uncond, a.guidance)
    assert torch.equal(run(small, half, start=2)["main"], steps[-1].latents["main"])


def test_a_lane_lives_as_long_as_it_says(small):
    steps = list(denoise(small.base, [lane(small), lane(small, "aux", "sea", until=0.5)], steps=STEPS))
    assert [set(s.latents) for s in steps] == [{"main", "aux"}] * 2 + [{"main"}] * 2
    assert len(list(denoise(small.base, [lane(small, until=0.5)], steps=STEPS))) == 2


def test_after_moves_the_latents_of_a_step(small):
    class Zero(Control):
        def after(self, call: Call, latents: Any) -> Any:
            return {name: torch.zeros_like(x) for name, x in latents.items()}

    assert not run(small, lane(small), controls=[Zero()])["main"].any()


def test_eta_draws_each_images_noise_from_its_own_generator(small):
    def noisy(x: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        many = Lane("main", x, small.base.read("a cat"), small.base.read_uncond(), 5.0)
        return run(small, many, eta=1.0, draws=draws)["main"]

    x = small.noise(2)
    both = noisy(x, [7, 8])
    assert gap(noisy(x[1:], [8])[0], both[1]) < 1e-5
    assert gap(noisy(x[1:], [9])[0], both[1]) > 1e-2


@pytest.mark.parametrize("family", ["sd1", "sd2-v", "sdxl"])
def test_a_trajectory_is_kept_in_float32_on_a_base_in_half_precision(family):
    """Rounded to bfloat16 after each step, it would end further from the one of the base in float32."""
    import tiny

    pipe = tiny.pipeline(family)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module) and part is not pipe.vae:
            part.bfloat16()
    half = Model(family, tiny.base_of(pipe), None)
    whole = Model(family, tiny.base_of(tiny.pipeline(family)), None)

    class Rounded(Control):
        def after(self, call: Call, latents: Any) -> Any:
            assert all(x.dtype == torch.float32 for x in latents.values())
            return {name: x.bfloat16().float() for name, x in latents.items()}

    def drawn(model: Model, *controls: Control) -> torch.Tensor:
        main = Lane("main", model.noise(2), model.base.read("a cat"), model.base.read_uncond(), 3.0)
        return run(model, main, steps=30, controls=controls)["main"]

    wanted, kept, rounded = drawn(whole), drawn(half), drawn(half, Rounded())
    assert float((kept - wanted).norm()) < 0.8 * float((rounded - wanted).norm())


def test_the_first_noise_of_a_base_in_half_precision_is_not_rounded(monkeypatch):
    import tiny
    from motif import lanes

    pipe, seen = tiny.pipeline("sd1"), []
    pipe.unet.bfloat16()
    pipe.text_encoder.bfloat16()
    denoised = lanes.denoise
    monkeypatch.setattr(
        lanes, "denoise", lambda base, ls, **k: seen.append(ls[0].latents) or denoised(base, ls, **k)
    )
    list(draw(tiny.base_of(pipe), ["a cat"], seeds=[3], steps=1))
    wanted = torch.randn(seen[0].shape[1:], generator=torch.Generator().manual_seed(3))
    assert torch.equal(seen[0][0], wanted)


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_control_that_was_shown_no_map_is_an_error(small):
    class Deaf(Flat):
        def looks(self, site: Site, call: Call) -> bool:
            return site.place == "nowhere"

    with pytest.raises(InputError, match="Deaf saw no attention map"):
        run(small, lane(small), controls=[Deaf()])


def test_a_stock_processor_in_a_seams_place_is_an_error(small):
    from diffusers.models.attention_processor import AttnProcessor2_0

    unet = small.base.models.unet
    seams = unet.attn_processors
    unet.set_attn_processor(AttnProcessor2_0())
    try:
        with pytest.raises(InputError, match="another attention processor"):
            run(small, lane(small))
    finally:
        unet.set_attn_processor(dict(seams))


@pytest.mark.parametrize(
    ("lanes", "words"),
    [
        (lambda m: [lane(m), lane(m)], "one name"),
        (lambda m: [lane(m, uncond=None)], "no unconditional text"),
        (lambda m: [lane(m, uncond=[m.base.read_uncond()] * 2)], "2 unconditional texts for 4 steps"),
        (lambda m: [lane(m), lane(m, "aux", uncond=None, borrows="mian")], "no lane of this run"),
        (lambda m: [lane(m, guidance=1.0), lane(m, "aux", uncond=None, borrows="main")], "not guided"),
        (lambda m: [lane(m, until=0.5), lane(m, "aux", uncond=None, borrows="main")], "not guided as long"),
        (lambda m: [Lane("main", m.noise(3), m.base.read(["a", "b"]))], "2 prompts for 3 images"),
        (lambda m: [lane(m, until=0.0)], "no steps left"),
    ],
)
def test_lanes_that_cannot_run_are_refused(sd1, lanes, words):
    with pytest.raises(InputError, match=words):
        run(sd1, *lanes(sd1))


def test_eta_without_generators_is_refused(sd1):
    with pytest.raises(InputError, match="one generator"):
        run(sd1, lane(sd1), eta=1.0)


@pytest.mark.parametrize("eta", [-1.0, 1.01, float("nan")])
def test_eta_outside_its_range_is_refused(sd1, eta):
    with pytest.raises(InputError, match="it lies between 0"):
        run(sd1, lane(sd1), eta=eta, draws=[torch.Generator()])


# -- pictures ------------------------------------------------------------------------------------------------------


def pictures(model: Any, prompts: list[str], seeds: list[int], **extra: Any) -> list[bytes]:
    return [
        image.tobytes() for image in draw(model.base, prompts, seeds=seeds, steps=2, guidance=3.0, **extra)
    ]


def levels_apart(a: bytes, b: bytes) -> int:
    return int(abs(np.frombuffer(a, np.uint8).astype(int) - np.frombuffer(b, np.uint8)).max())


def test_a_picture_depends_on_its_own_prompt_and_seed_alone(model):
    prompts, seeds = ["a cat", "a teapot", "the sea"], [3, 4, 5]
    together = pictures(model, prompts, seeds)
    assert pictures(model, prompts, seeds) == together
    for a, b in zip(pictures(model, prompts[::-1], seeds[::-1])[::-1], together, strict=True):
        assert levels_apart(a, b) <= 1
    assert len(set(together)) == 3


def test_batch_size_changes_no_picture_by_more_than_rounding(model):
    prompts, seeds = ["a cat", "a teapot", "a cat"], [3, 4, 5]
    whole, single = (pictures(model, prompts, seeds, batch_size=n, eta=1.0) for n in (3, 1))
    assert all(levels_apart(a, b) <= 1 for a, b in zip(whole, single, strict=True))


@pytest.mark.parametrize(
    "bad",
    [
        {"seeds": [1]},
        {"seeds": [-1, 0]},
        {"seeds": [0, 2**63]},
        {"seeds": range(2**64, 2**64 + 2)},
        {"batch_size": 0},
        {"size": (15, 16)},
        {"size": (0, 16)},
        {"steps": 0},
        {"steps": 2000},
    ],
)
def test_a_drawing_that_cannot_be_made_is_refused(sd1, bad):
    with pytest.raises(InputError):
        list(draw(sd1.base, ["a", "b"], **{"seeds": [0, 1], "steps": 2} | bad))


def test_a_negative_prompt_that_nothing_would_hear_is_refused(model):
    """Guidance 1 has no other side; before anything is drawn, in every way to draw."""
    from PIL import Image

    from motif.edit.sdedit import sdedit
    from motif.edit.seeded import seeded
    from motif.sample import plain

    photo = Image.new("RGB", (model.base.size, model.base.size))
    settings: dict[str, Any] = {"guidance": 1.0, "negative": "blurry", "steps": 2}
    for way in (
        lambda: plain(model.base, "a cat", **settings),
        lambda: sdedit(model.base, photo, "a cat", strength=0.5, **settings),
        lambda: seeded(model.base, "a cat", **settings).lanes(model.base),
    ):
        with pytest.raises(InputError, match="guidance 1 leads away from nothing"):
            way()
