"""Laws of every inversion, on every tiny family: what comes back, what does not matter, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from motif import invert, methods
from motif.attention import Call, Row, Site
from motif.base import Base
from motif.errors import InputError, Interrupted
from motif.inversion import Inversion
from motif.lanes import denoise, finish
from motif.photo import encode, read_photos
from pieces import Model, gap

CAPTION = "photo of a cat"
SMALL: dict[str, Any] = {"steps": 4, "height": 16, "width": 24}
"""Settings of a quick inversion on the tiny bases: 8 x 12 latents."""

QUICK: dict[str, dict[str, Any]] = {
    "null-text": {"inner_steps": 2},
    "null-text-plus": {"inner_steps": 2},
    "text-embedding": {"inner_steps": 2},
    "value-embedding": {"inner_steps": 2, "encoder": "pocket"},
}
METHODS = sorted(methods.INVERT)


def inverted(name: str, base: Base, photos: Any, prompt: Any = CAPTION, **settings: Any) -> Inversion:
    return methods.load("invert", name)(base, photos, prompt, **{**SMALL, **QUICK.get(name, {}), **settings})


def ends(base: Base, inversion: Inversion, *prompts: str, guidance: float | None = None) -> dict[str, Tensor]:
    with torch.no_grad():
        lanes = inversion.lanes(base, prompts, guidance=guidance)
        return dict(finish(denoise(base, lanes, steps=inversion.steps, controls=inversion.controls(base))))


@pytest.mark.parametrize("name", METHODS)
def test_the_table_holds_a_function_that_says_what_it_made(
    small: Model, photo: Image.Image, name: str
) -> None:
    told: list[int] = []
    found = inverted(name, small.base, photo, on_progress=lambda p: told.append(p.step))
    assert found.method == name and found.prompts == (CAPTION,) and found.size == (16, 24)
    assert found.latents.shape == (5, 1, 4, 8, 12) and found.latents.dtype == torch.float32
    assert torch.equal(found.latents[0], encode(small.base, found.photos))
    assert {"psnr", "ssim", "vae_psnr", "latent_mse"} == found.made.scores.keys()
    assert found.made.cost["forwards"] >= 4 and found.made.settings["steps"] == 4
    assert told == sorted(told) and told[-1] == (8 if name in QUICK else 4)
    again = found.reconstruct(small.base)
    assert float((again - found.latents[0]).square().mean()) == pytest.approx(
        found.made.scores["latent_mse"], rel=1e-3, abs=1e-9
    )


@pytest.mark.parametrize("name", METHODS)
def test_at_guidance_one_nothing_unconditional_is_read(sd1: Model, photo: Image.Image, name: str) -> None:
    found = inverted(name, sd1.base, photo)
    lanes = found.lanes(sd1.base, ["a dog"], guidance=1.0)
    assert [len(lane.sides(0)) for lane in lanes] == [1, 1]
    assert [lane.name for lane in lanes] == ["source", "target"]
    if name == "proximal":  # which thresholds guidance
        for refused in (
            lambda: ends(sd1.base, found, guidance=1.0),
            lambda: inverted(name, sd1.base, photo, guidance=1.0),
        ):
            with pytest.raises(InputError, match="no guidance to threshold"):
                refused()
        return
    done = ends(sd1.base, found, "a dog", guidance=1.0)
    plain = ends(sd1.base, inverted("ddim", sd1.base, photo, guidance=1.0), "a dog")
    if name == "direct":
        assert torch.equal(done["source"], found.latents[0])
    elif name not in ("text-embedding", "value-embedding"):  # whose source reads what was fitted
        assert gap(done["source"], plain["source"]) < 1e-4
    if name != "value-embedding":  # nor is a target held
        assert gap(done["target"], plain["target"]) < 1e-4


SAME = [name for name in METHODS if name not in ("direct", "text-embedding", "value-embedding")]


@pytest.mark.parametrize("name", SAME)
def test_the_same_prompt_is_the_reconstruction(small: Model, photo: Image.Image, name: str) -> None:
    found = inverted(name, small.base, photo, **({"guide": "none"} if name == "proximal" else {}))
    done = ends(small.base, found, CAPTION)
    assert gap(done["target"], done["source"]) < 1e-3


def test_the_same_prompt_is_the_reconstruction_where_targets_follow_the_source(
    small: Model, photo: Image.Image
) -> None:
    found = inverted("direct", small.base, photo, to="all")
    done = ends(small.base, found, CAPTION)
    assert gap(done["target"], done["source"]) < 1e-3
    found = inverted("value-embedding", small.base, photo, until=1.0)
    done = ends(small.base, found, CAPTION)
    assert gap(done["target"], done["source"]) < 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_batch_and_order_change_nothing(sd1: Model, photos: list[Image.Image], name: str) -> None:
    prompts = [CAPTION, "a teapot"]
    # Adam's second update takes signs of what may be rounding: one of each step's
    few: Any = {"inner_steps": 1} if name == "value-embedding" else {}
    both, turned = (inverted(name, sd1.base, photos[::d], prompts[::d], **few) for d in (1, -1))
    for i, (one, prompt) in enumerate(zip(photos, prompts, strict=True)):
        alone = inverted(name, sd1.base, one, prompt, **few)
        for whole, place in ((both, i), (turned, 1 - i)):
            mine = whole.only(place)
            assert mine.prompts == alone.prompts and gap(mine.latents, alone.latents) < 1e-4
            if alone.uncond is not None:
                assert mine.uncond is not None and gap(mine.uncond, alone.uncond) < 1e-3
            for key in alone.values:
                assert gap(mine.values[key], alone.values[key]) < 2e-2, key
            assert (
                gap(ends(sd1.base, mine, "a dog")["target"], ends(sd1.base, alone, "a dog")["target"]) < 5e-3
            )


# -- DDIM ------------------------------------------------------------------------------------------------------


def test_ddim_comes_back_better_with_more_steps_and_not_under_guidance(pocket: Any) -> None:
    from motif.pocket.concepts import held_out

    cat = next(one for one in held_out() if one.name == "cat")
    caption = "a photo of a shiny pink cat with purple paws in a studio"
    few, many = (invert.ddim(pocket, cat.references[0], caption, steps=n, guidance=1) for n in (8, 25))
    assert many.made.scores["latent_mse"] < few.made.scores["latent_mse"] / 4
    assert many.made.scores["psnr"] > many.made.scores["vae_psnr"] - 4
    guided = invert.ddim(pocket, cat.references[0], caption, steps=25)
    assert torch.equal(guided.latents, many.latents) and guided.made.scores["latent_mse"] > 0.02


def test_photos_are_cut_at_their_centre_and_turned_upright(sd1: Model, tmp_path: Any) -> None:
    wide = Image.new("RGB", (60, 20), "red")
    wide.paste("blue", (20, 0, 40, 20))
    pixels = read_photos(sd1.base, wide, height=16, width=16)
    assert pixels.shape == (1, 3, 16, 16) and int(pixels[0, 2].min()) > 200
    turned = Image.new("RGB", (16, 32), "red")
    turned.paste("blue", (0, 16, 16, 32))
    exif = Image.Exif()
    exif[274] = 3  # upside down
    turned.save(tmp_path / "t.png", exif=exif)
    found = read_photos(sd1.base, tmp_path / "t.png", height=32, width=16)[0]
    assert int(found[2, 0, 0]) > 200 and int(found[0, -1, 0]) > 200
    with pytest.raises(InputError, match="15x16"):
        read_photos(sd1.base, wide, height=15, width=16)
    with pytest.raises(InputError, match="2 prompts for 1 photos"):
        invert.ddim(sd1.base, wide, ["a", "b"], steps=2)


# -- negative prompt, direct ------------------------------------------------------------------------------------


def test_negative_prompt_at_any_guidance_is_ddim_at_one(small: Model, photo: Image.Image) -> None:
    plain = inverted("ddim", small.base, photo, guidance=1.0).reconstruct(small.base)
    found = inverted("negative-prompt", small.base, photo)
    for guidance in (0.0, 3.0, 9.0):
        assert gap(found.reconstruct(small.base, guidance=guidance), plain) < 1e-4
    bent = inverted("negative-prompt", small.base, photo, interpolate=1.0)
    assert (
        gap(bent.reconstruct(small.base), inverted("ddim", small.base, photo).reconstruct(small.base)) < 1e-5
    )


def test_states_between_caption_and_nothing_keep_their_angle() -> None:
    from motif.invert.negative_prompt import mixed

    a, b = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]])
    middle = mixed(a, b, 0.5)
    assert torch.allclose(middle, torch.full((1, 1, 2), 2**0.5)) and torch.equal(mixed(a, b, 0), a)
    assert torch.allclose(mixed(a, a, 0.3), a)


def test_direct_ends_at_the_photos_latents_and_leaves_targets_alone(small: Model, photo: Image.Image) -> None:
    found, plain = inverted("direct", small.base, photo), inverted("ddim", small.base, photo)
    done, other = (ends(small.base, one, "a dog", "a teapot") for one in (found, plain))
    assert torch.equal(done["source"], found.latents[0]) and not torch.equal(done["source"], other["source"])
    assert torch.equal(done["target"], other["target"]) and torch.equal(done["target-2"], other["target-2"])
    rare = inverted("direct", small.base, photo, every=2)
    assert not torch.equal(ends(small.base, rare)["source"], found.latents[0])
    with pytest.raises(InputError, match="every is 1 or more"):
        inverted("direct", small.base, photo, every=0)


# -- null text -------------------------------------------------------------------------------------------------


def released(base: Base, found: Inversion, *, inner: int, stop: float) -> tuple[list[Tensor], Tensor, int]:
    """The procedure as its authors wrote it: everything in the loop, torch's Adam, tested after the update."""
    schedule, T = base.schedule, found.steps
    text, empty = base.read(CAPTION), base.read_uncond()
    times = [*schedule.timesteps(T), -1]
    x, null, kept, updates = found.latents[T], empty.states.clone(), list[Tensor](), 0

    def eps(x: Tensor, t: int, states: Tensor, pooled: Tensor | None) -> Tensor:
        return base.predict(x, t, states, pooled, None)

    for i in range(T):
        t, s = times[i], times[i + 1]
        null = null.detach().clone().requires_grad_()
        adam = torch.optim.Adam([null], lr=1e-2 * (1 - i / 100))
        for _ in range(inner):
            cond = eps(x, t, text.states, text.pooled).detach()
            uncond = eps(x, t, null, empty.pooled)
            moved = schedule.move(x, uncond + found.guidance * (cond - uncond), t, s)
            loss = torch.nn.functional.mse_loss(moved, found.latents[T - 1 - i])
            adam.zero_grad()
            loss.backward()
            adam.step()
            updates += 1
            if loss.item() < stop + i * 2e-5:
                break
        with torch.no_grad():
            cond, uncond = eps(x, t, text.states, text.pooled), eps(x, t, null, empty.pooled)
            x = schedule.move(x, uncond + found.guidance * (cond - uncond), t, s)
        kept.append(null.detach())
    return kept, x, updates


@pytest.mark.parametrize("stop", [0.0, 1.0, 1e9])
def test_null_text_is_the_released_procedure(small: Model, photo: Image.Image, stop: float) -> None:
    found = inverted("null-text", small.base, photo, inner_steps=3, early_stop=stop)
    states, x, updates = released(small.base, found, inner=3, stop=stop)
    assert found.uncond is not None and found.made.cost["backwards"] == updates
    assert updates == {0.0: 12, 1e9: 4}.get(stop, updates)  # tested after the update
    assert gap(found.uncond, torch.stack(states)) < 1e-3
    assert gap(found.reconstruct(small.base), x) < 1e-4


def test_null_text_without_updates_is_ddim_and_with_them_it_is_nearer(
    small: Model, photo: Image.Image
) -> None:
    plain = inverted("ddim", small.base, photo)
    none = inverted("null-text", small.base, photo, inner_steps=0)
    assert gap(none.reconstruct(small.base), plain.reconstruct(small.base)) < 1e-5
    for variant in ("paper", "fast"):
        fitted = inverted(
            "null-text", small.base, photo, inner_steps=6, variant=variant, lr=0.05, early_stop=0.0
        )
        assert fitted.made.scores["latent_mse"] < plain.made.scores["latent_mse"]
    with pytest.raises(InputError, match="guidance 1"):
        inverted("null-text", small.base, photo, guidance=1.0)


def test_the_fast_search_takes_four_updates_a_step_and_the_papers_ten(sd1: Model, photo: Image.Image) -> None:
    costs = [
        inverted("null-text", sd1.base, photo, variant=variant, inner_steps=None, early_stop=0.0).made.cost
        for variant in ("paper", "fast")
    ]
    assert [cost["backwards"] for cost in costs] == [40, 16]
    assert [cost["forwards"] for cost in costs] == [
        4 + 4 * 12,
        4 + 4 * 6,
    ]  # up; the caption's, and one after the last
    few = inverted("null-text", sd1.base, photo, variant="fast", inner_steps=1, early_stop=0.0)
    assert few.made.cost["backwards"] == 4


def test_each_photo_stops_by_itself(sd1: Model, photos: list[Image.Image]) -> None:
    alone = [inverted("null-text", sd1.base, one, inner_steps=8, early_stop=2e-3) for one in photos]
    both = inverted("null-text", sd1.base, photos, inner_steps=8, early_stop=2e-3)
    counts = [one.made.cost["backwards"] for one in alone]
    assert both.made.cost["backwards"] == sum(counts)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_caller_without_gradients_gets_the_same(sd1: Model, photo: Image.Image, name: str) -> None:
    with torch.no_grad():
        quiet = inverted(name, sd1.base, photo)
    assert torch.equal(quiet.reconstruct(sd1.base), inverted(name, sd1.base, photo).reconstruct(sd1.base))


@pytest.mark.parametrize("last", [2, 6])
@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_stopped_run_goes_on_to_the_same_result(
    sd1: Model, photo: Image.Image, tmp_path: Any, name: str, last: int
) -> None:
    whole = inverted(name, sd1.base, photo)

    def stop(progress: Any) -> None:
        if progress.step == last:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"step {last} of 8: go on with --resume"):
        inverted(name, sd1.base, photo, folder=folder, on_progress=stop)
    with pytest.raises(InputError, match="--resume"):
        inverted(name, sd1.base, photo, folder=folder)
    with pytest.raises(InputError, match="another photo, caption, base or setting"):
        inverted(name, sd1.base, photo, "a dog", folder=folder, resume=True)
    steps: list[int] = []
    again = inverted(
        name, sd1.base, photo, folder=folder, resume=True, on_progress=lambda p: steps.append(p.step)
    )
    assert steps[-1] == 8 and not folder.exists()
    assert torch.equal(again.latents, whole.latents)
    assert again.made.cost["backwards"] == whole.made.cost["backwards"]
    for mine, theirs in zip(parts(again), parts(whole), strict=True):
        assert torch.equal(mine, theirs)
    climbs_again = name == "null-text-plus" or (name == "value-embedding" and last > 4)  # for their maps
    if not climbs_again:
        assert again.made.cost["forwards"] == whole.made.cost["forwards"] and len(steps) == 8 - last
    with pytest.raises(InputError, match="no state to resume"):
        inverted(name, sd1.base, photo, folder=folder, resume=True)


@pytest.mark.parametrize("moment", ["a preview is drawn", "what came back is scored"])
@pytest.mark.parametrize("name", sorted(QUICK))
def test_stopped_between_steps_it_goes_on_to_the_same_bits(
    sd1: Model, photo: Image.Image, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, name: str, moment: str
) -> None:
    """A step's parts are kept together or not at all, and the last ones until the inversion is whole."""
    whole, drawn = inverted(name, sd1.base, photo), list[int]()

    def stop(*_: Any) -> Any:
        drawn.append(1)
        if moment == "what came back is scored" or len(drawn) == 2:
            raise KeyboardInterrupt

    told: dict[str, Any] = {"folder": tmp_path / "run"}
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="go on with --resume"):
        if moment == "a preview is drawn":
            inverted(name, sd1.base, photo, **told, preview_every=1, on_image=stop)
        else:
            patch.setattr("motif.invert.pivot.scores", stop)
            inverted(name, sd1.base, photo, **told)
    spent = float(load_file(tmp_path / "run" / "state.safetensors")["cost"][2])
    again = inverted(name, sd1.base, photo, **told, resume=True)
    assert torch.equal(again.latents, whole.latents) and not (tmp_path / "run").exists()
    for mine, theirs in zip(parts(again), parts(whole), strict=True):
        assert torch.equal(mine, theirs)
    assert again.made.cost["backwards"] == whole.made.cost["backwards"]  # no step was fitted twice
    assert again.made.cost["seconds"] >= spent > 0


def parts(found: Inversion) -> list[Tensor]:
    assert found.way is not None
    return [found.way, *found.values.values(), *([] if found.uncond is None else [found.uncond])]


# -- value embedding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"variant": "paper"},
        {"head": "direct"},
        {"attention_weight": 0.0},
        {"head": "free", "encoder": ""},
        {"inputs": "keys"},
        {"inputs": "both"},
    ],
)
def test_values_bring_the_photo_back(sd1: Model, photo: Image.Image, settings: dict[str, Any]) -> None:
    found = inverted("value-embedding", sd1.base, photo, **settings)
    shapes = {name: tuple(value.shape) for name, value in found.values.items()}
    names = {"direct"} if settings.get("head") or settings.get("variant") else {"scale", "shift"}
    assert shapes == dict.fromkeys(names, (4, 1, 20, 24))
    updates = 2 + 2 + 2 + 2  # ⌈2 e^(−0.1 i)⌉
    assert found.made.cost["backwards"] <= updates


def test_free_values_are_learned_from_the_captions_own_embedding(sd1: Model, photo: Image.Image) -> None:
    """Of no mapping: a rate of nothing leaves the caption, and settings of a mapping would change nothing."""
    still = inverted("value-embedding", sd1.base, photo, head="free", encoder="", lr=1e-30)
    assert gap(still.values["direct"][2, 0], sd1.base.read(CAPTION).states[0]) < 1e-6
    moved = inverted(
        "value-embedding", sd1.base, photo, head="free", encoder="", inner_steps=12, early_stop=0.0
    )
    assert moved.made.scores["latent_mse"] < still.made.scores["latent_mse"]
    for wrong in ({"encoder": "pocket"}, {"encoder": "", "seed": 1}):
        with pytest.raises(InputError, match="free"):
            inverted("value-embedding", sd1.base, photo, head="free", **wrong)


@pytest.mark.parametrize("inputs", ["values", "keys", "both"])
def test_what_is_learned_is_fed_where_it_was_learned(
    sd1: Model, photo: Image.Image, inputs: Any, tmp_path: Path
) -> None:
    """The ablations of figure 13: keys, values or both read the embedding, while it is learned and in every run that
    starts from the file; the walk that was fitted is walked again."""
    how: dict[str, Any] = {"inputs": inputs, "inner_steps": 6, "early_stop": 0.0}
    found = inverted("value-embedding", sd1.base, photo, **how)
    again = Inversion.load(found.save(tmp_path / "a.inversion"))
    assert again.replays == {"values": {"until": 0.5, "inputs": inputs}}
    assert found.way is not None
    assert gap(again.reconstruct(sd1.base), found.way[0]) < 1e-4
    other = again.retuned("values", inputs="keys" if inputs == "values" else "values")
    assert gap(other.reconstruct(sd1.base), found.way[0]) > 1e-2
    assert other.way is None and again.retuned("values", until=0.1).way is not None
    (control,) = again.controls(sd1.base)
    read = sd1.base.read(CAPTION)
    call = Call((Row("source", "cond", slice(0, 1), read),), 0, 4, 500.0, (20, 24))
    keys, values = control.context(Site("a", "cross", "down"), call, read.states, read.states)
    assert torch.equal(keys, read.states) == (inputs == "values")
    assert torch.equal(values, read.states) == (inputs == "keys")
    still = inverted("value-embedding", sd1.base, photo, **how | {"lr": 1e-30, "head": "free", "encoder": ""})
    moved = inverted("value-embedding", sd1.base, photo, **how | {"head": "free", "encoder": ""})
    assert moved.made.scores["latent_mse"] < still.made.scores["latent_mse"]


def test_a_style_is_in_the_values_alone(sd1: Model, photo: Image.Image) -> None:
    style = inverted("value-embedding", sd1.base, photo, inputs="both")
    content = inverted("ddim", sd1.base, photo)
    with pytest.raises(InputError, match="style's keys"):
        methods.load("edit", "style-transfer")(sd1.base, content, "a dog", style=style)


@pytest.mark.parametrize(("steps", "wanted"), [(50, 0.51), (80, 0.21), (100, 0.01), (200, 1 / 200)])
def test_the_rate_falls_by_a_hundredth_a_step(steps: int, wanted: float) -> None:
    """As the paper's 1 − i/100, and above 0 in a longer run."""
    from motif.invert.adam import falling

    assert falling(1.0, 0, steps) == 1 and falling(1.0, steps - 1, steps) == pytest.approx(wanted)


def test_more_updates_come_nearer_and_the_share_of_the_run_is_kept(sd1: Model, photo: Image.Image) -> None:
    few, many = (inverted("value-embedding", sd1.base, photo, inner_steps=n, early_stop=0.0) for n in (1, 12))
    assert many.made.scores["latent_mse"] < few.made.scores["latent_mse"]
    plain = inverted("ddim", sd1.base, photo)
    off, half, on = (
        ends(sd1.base, many.retuned("values", until=u), "a dog")["target"] for u in (0.0, 0.5, 1.0)
    )
    assert gap(off, ends(sd1.base, plain, "a dog")["target"]) < 1e-5
    assert gap(half, off) > 1e-3 and gap(on, half) > 1e-3


def test_the_mapping_network_is_the_released_one() -> None:
    from motif.invert.mapping import fresh, mapped

    tokens = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    parts = fresh(2, 9, 5, head="affine", start="default", seed=0, device=torch.device("cpu"))
    nets: list[Any] = []
    for image in range(2):
        layers = [torch.nn.Conv1d(9, 10, 1), torch.nn.Conv1d(10, 10, 1), torch.nn.BatchNorm1d(10),
                  torch.nn.LeakyReLU(), torch.nn.Conv1d(10, 10, 1)]  # fmt: skip
        for layer, (w, b) in zip((layers[0], layers[1], layers[4], layers[2]),
                                 zip(parts[::2], parts[1::2], strict=True), strict=True):  # fmt: skip
            layer.weight.data = w[image].view_as(layer.weight)
            layer.bias.data = b[image].view_as(layer.bias)
        nets.append(torch.nn.Sequential(*layers).train())
    found = mapped(parts, tokens, "affine")
    for image, net in enumerate(nets):
        told = net(tokens[image : image + 1])
        assert torch.allclose(torch.cat([found["scale"], found["shift"]], 1)[image], told[0], atol=1e-5)
    assert sum(part[0].numel() for part in fresh(1, 197, 77, head="affine", start="default", seed=0,
                                                 device=torch.device("cpu"))) == 78540 - 0  # fmt: skip
    assert sum(part[0].numel() for part in fresh(1, 197, 77, head="direct", start="small", seed=0,
                                                 device=torch.device("cpu"))) == 27412 - 0  # fmt: skip


# -- null-text's relatives -------------------------------------------------------------------------------------


def test_null_text_plus_compares_maps_that_are_equal_on_the_way_itself(
    small: Model, photo: Image.Image
) -> None:
    from motif.invert.guided import Guided
    from motif.invert.pivot import begin, trajectory
    from motif.invert.seen_maps import Maps, apart

    task = begin(small.base, photo, CAPTION, {**SMALL, "guidance": 3.0})
    seen = Maps.of(task)
    latents = trajectory(task, controls=[seen])
    way = Guided(task, latents)
    for step in range(4):
        here = Maps()
        for level, same in ((3 - step, True), (4 - step, False)):
            way.predict(
                step, latents[level], task.text.states, task.text.pooled, side="cond", controls=[here]
            )
            assert (float(apart(here.steps[step], seen.steps[step], [0])) < 1e-12) == same


def test_null_text_plus_weighs_maps_beside_latents(small: Model, photo: Image.Image) -> None:
    settings: dict[str, Any] = {"inner_steps": 4, "early_stop": 0.0}
    plain = inverted("null-text", small.base, photo, **settings)
    almost = inverted("null-text-plus", small.base, photo, attention_weight=1e-30, **settings)
    assert plain.uncond is not None and almost.uncond is not None
    assert gap(almost.uncond, plain.uncond) < 1e-3
    heavy = inverted("null-text-plus", small.base, photo, attention_weight=1e6, **settings)
    assert heavy.uncond is not None and gap(heavy.uncond, plain.uncond) > 1e-3
    ahead = inverted("null-text-plus", small.base, photo, **settings).made.cost["forwards"]
    updates = plain.made.cost["backwards"]
    assert (
        ahead == plain.made.cost["forwards"] + updates + 4
    )  # one more pass each update, and for each kept step
    with pytest.raises(InputError, match="null-text"):
        inverted("null-text-plus", small.base, photo, attention_weight=0.0)


def test_text_embedding_fits_the_photos_lane_and_leaves_targets_to_their_prompts(
    small: Model, photo: Image.Image
) -> None:
    plain = inverted("ddim", small.base, photo)
    none = inverted("text-embedding", small.base, photo, inner_steps=0)
    assert gap(none.reconstruct(small.base), plain.reconstruct(small.base)) < 1e-5
    found = inverted("text-embedding", small.base, photo, inner_steps=6, lr=0.05, early_stop=0.0)
    assert found.made.scores["latent_mse"] < plain.made.scores["latent_mse"]
    done, other = (ends(small.base, one, "a dog") for one in (found, plain))
    assert gap(done["target"], other["target"]) < 1e-5 and gap(done["source"], other["source"]) > 1e-4


# -- what is seen while it runs --------------------------------------------------------------------------------


def test_where_a_step_goes_is_solved_from_both_of_its_ends(small: Model) -> None:
    from types import SimpleNamespace

    from motif.invert.guided import Guided

    x0, eps = small.noise(), small.noise(seed=1)
    task: Any = SimpleNamespace(base=small.base, steps=5)
    way = Guided(task, x0[None])
    for step in range(5):
        before, after = (
            small.base.schedule.at(t) ** 0.5 * x0 + (1 - small.base.schedule.at(t)) ** 0.5 * eps
            for t in way.times[step : step + 2]
        )
        assert gap(way.clean(step, before, after), x0) < 1e-3


def test_a_step_between_equal_levels_is_pulled_to_numbers() -> None:
    """A scheduler whose last timestep is 0 and whose final alpha is that of 0: the last step goes nowhere."""
    from motif.attention import Call
    from motif.replay import Proximal, clean_between
    from motif.schedule import CLEAN, Schedule

    config = {"_class_name": "DDIMScheduler", "steps_offset": 0, "set_alpha_to_one": False,
              "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}  # fmt: skip
    schedule = Schedule.read(config)
    assert schedule.timesteps(4)[-1] == 0 and schedule.at(0) == schedule.at(CLEAN)
    x, photo = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clean_between(schedule, x, x, 0, CLEAN), x)
    pull = Proximal(photo.expand(5, 1, 4, 8, 8), schedule, guide="reconstruction", pull=0.5)
    pull.keep = {"target": torch.ones_like(x)}
    call = Call((), 3, 4, 0.0, (8, 8), latents={"target": x})
    moved = pull.after(call, {"target": x})["target"]
    assert torch.isfinite(moved).all() and gap(moved, photo) < gap(x, photo)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_long_inversion_is_seen_on_its_way(sd1: Model, photo: Image.Image, name: str) -> None:
    pictures: list[Image.Image] = []
    found = inverted(name, sd1.base, photo, preview_every=2, on_image=pictures.append)
    assert len(pictures) == 2 and pictures[0].tobytes() != pictures[1].tobytes()
    unseen = inverted(name, sd1.base, photo)
    assert torch.equal(found.reconstruct(sd1.base), unseen.reconstruct(sd1.base))
    for wrong in ({"preview_every": 2}, {"preview_every": -1, "on_image": pictures.append}):
        with pytest.raises(InputError, match="preview_every"):
            inverted(name, sd1.base, photo, **wrong)


# -- the cache -------------------------------------------------------------------------------------------------


def test_the_cache_knows_content_and_no_paths(
    sd1: Model, photo: Image.Image, photos: list[Image.Image], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motif.invert import cache

    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "cache"))
    made: list[int] = []

    def counting(base: Base, photos: Any, prompt: Any, *, steps: int = 4, guidance: float = 2.0,
                 height: int = 16, width: int = 24) -> Inversion:  # fmt: skip
        made.append(steps)
        return invert.ddim(base, photos, prompt, steps=steps, guidance=guidance, height=height, width=width)

    def ask(photo: Any, prompt: str = CAPTION, **settings: Any) -> bool:
        return cache.cached(counting, sd1.base, photo, prompt, **settings)[1]

    photo.save(tmp_path / "a.png")
    photo.save(tmp_path / "b.bmp")
    assert [ask(photo), ask(tmp_path / "a.png"), ask(tmp_path / "b.bmp"), ask(photo)] == [
        False,
        True,
        True,
        True,
    ]
    photos[1].save(tmp_path / "a.png")
    assert not ask(tmp_path / "a.png")  # another picture at the same place
    assert not ask(photo, "a dog") and not ask(photo, steps=3) and not ask(photo, guidance=1.0)
    assert ask(photo, guidance=2.0) and len(made) == 5
    for path in cache.folder().glob("*.inversion"):
        path.write_bytes(b"damaged")
    assert not ask(photo) and ask(photo)


def test_the_cache_knows_an_encoder_by_what_lies_in_its_folder(
    sd1: Model, photo: Image.Image, tmp_path: Any
) -> None:
    from motif.invert import cache

    def key(encoder: str) -> str:
        return cache.key(invert.value_embedding, sd1.base, photo, CAPTION, encoder=encoder, **SMALL)

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    before = key(str(tmp_path / "one"))
    assert before == key(str(tmp_path / "two")) != key("pocket")
    (tmp_path / "one" / "model.safetensors").write_bytes(b"other weights")
    assert key(str(tmp_path / "one")) != before


def test_what_cannot_be_asked_for_is_refused_before_the_work(sd1: Model, photo: Image.Image) -> None:
    refused: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
        (invert.ddim, {"steps": 0}, "steps is 0"),
        (invert.ddim, {"negative": "blurry", "guidance": 1.0}, "negative"),
        (invert.negative_prompt, {"interpolate": 2.0}, "interpolate"),
        (invert.proximal, {"pull": 0.0}, "without pulls"),
        (invert.proximal, {"quantile": 2.0}, "quantile"),
        (invert.null_text, {"inner_steps": -1}, "inner_steps"),
        (invert.null_text, {"inner_steps": 0, "lr": 0.1}, "lr would change nothing"),
        (invert.null_text, {"inner_steps": 0, "variant": "fast"}, "variant would change nothing"),
        (invert.text_embedding, {"inner_steps": 0, "early_stop": 0.1}, "early_stop would change nothing"),
        (invert.value_embedding, {"inner_steps": 0}, "inner_steps"),
        (invert.null_text, {"inner_steps": 0, "lr": 0.1}, "lr would change nothing"),
        (invert.text_embedding, {"inner_steps": 0, "early_stop": 0.1}, "would change nothing"),
        (invert.null_text_plus, {"inner_steps": 0}, "inner_steps is 0"),
        (invert.value_embedding, {"until": 2.0}, "until"),
        (invert.value_embedding, {"lr": 0.0}, "lr"),
        (invert.proximal, {"until": 0}, "until"),
        (invert.proximal, {"guide": "none", "pull": 0.5}, "pull"),
        (invert.proximal, {"fixed": 0.1, "quantile": 0.5}, "quantile"),
        (invert.null_text, {"resume": True}, "folder"),
    ]
    for function, settings, words in refused:
        with pytest.raises(InputError, match=words):
            function(sd1.base, photo, CAPTION, **{**SMALL, **settings})
    with pytest.raises(InputError, match="<new1>"):
        invert.ddim(sd1.base, photo, "a <new1> cat", **SMALL)


def test_maps_are_compared_with_those_of_the_same_latents(sd1: Model, photo: Image.Image) -> None:
    from importlib import import_module

    from motif.attention import Control
    from motif.climb import climb

    behind: Any = import_module("motif.invert.value_embedding")._behind

    class Seen(Control):
        latents: dict[int, Tensor] = {}  # noqa: RUF012

        def predicted(self, call: Call, outputs: Any) -> Any:
            raise AssertionError("the climb guides nothing")

        def keyvalue(self, site: Any, call: Call, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            self.latents[call.step] = call.latents["source"]
            return k, v

    seen, start = Seen(), encode(sd1.base, read_photos(sd1.base, photo))
    levels = [
        start,
        *(x for _, x in climb(sd1.base, start, sd1.base.read(CAPTION), steps=5, controls=[seen])),
    ]
    for step in range(1, 5):
        assert torch.equal(seen.latents[behind(step, False)], levels[5 - step])
    assert behind(0, False) == 0 and behind(0, True) == -1  # taken again, or measured beyond the climb
