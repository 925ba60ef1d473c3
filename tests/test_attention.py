"""The seam: bit-identical to stock attention where nobody looks, equal within rounding where somebody does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from motif.attention import Call, Control, Row, Seam, Site, open_seams
from motif.errors import InputError
from pieces import Flat, Watch, call_of, gap, predict

PROMPT = "photo of a cat on the beach"


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def stock_output(model: Any, x: torch.Tensor, prompt: str) -> torch.Tensor:
    """What diffusers' UNet with its own attention processors answers."""
    text = model.base.read(prompt)
    extra: dict[str, Any] = {}
    if text.pooled is not None:
        h, w = (side * model.base.latent_factor for side in x.shape[-2:])
        ids = torch.tensor([[h, w, 0, 0, h, w]] * len(x), dtype=x.dtype)
        extra["added_cond_kwargs"] = {"text_embeds": text.pooled.expand(len(x), -1), "time_ids": ids}
    states = text.states.expand(len(x), -1, -1)
    t = torch.tensor([500] * len(x))
    return model.stock.unet(x, t, encoder_hidden_states=states, return_dict=False, **extra)[0]


@pytest.mark.parametrize("size", [None, (2, 1), (3, 5)], ids=["square", "tall", "odd"])
@pytest.mark.parametrize("with_call", [True, False], ids=["call", "no call"])
def test_an_open_seam_is_stock_attention_bit_for_bit(model, with_call, size):
    if size:
        side = model.base.latent_factor * 4
        size = (size[0] * side, size[1] * side)
    x = model.noise(2, size=size)
    ours = predict(model.base, x, PROMPT, call="plain" if with_call else None)
    assert torch.equal(ours, stock_output(model, x, PROMPT))


def test_the_output_depends_on_the_text(model):
    """Else every law about text and maps would hold for nothing."""
    x = model.noise()
    assert gap(predict(model.base, x, PROMPT), predict(model.base, x, "a teapot at night")) > 1e-2


def test_looking_changes_nothing_beyond_rounding(model):
    x, watch = model.noise(2), Watch()
    looked = predict(model.base, x, PROMPT, call=call_of(model.base.read(PROMPT), x, controls=[watch]))
    assert gap(looked, predict(model.base, x, PROMPT)) < 1e-5
    assert {site for _, site, _ in watch.seen} == set(model.base.models.sites)
    assert len(watch.seen) == len(model.base.models.sites)


@pytest.mark.parametrize("scale", [(1, 1), (2, 1), (1, 3)])
def test_maps_are_probabilities_with_the_shapes_the_call_promises(small, scale):
    side = 4 * small.base.latent_factor
    x, watch = small.noise(2, size=(side * scale[0], side * scale[1])), Watch()
    call = call_of(small.base.read(PROMPT), x, controls=[watch])
    predict(small.base, x, PROMPT, call=call)
    words = small.base.read(PROMPT).states.shape[1]
    for _, site, maps in watch.seen:
        heads = small.base.models.unet.get_submodule(site.name).heads
        pixels = maps.shape[2]
        assert maps.shape == (2, heads, pixels, words if site.kind == "cross" else pixels)
        assert torch.allclose(maps.sum(-1), torch.ones(2, heads, pixels), atol=1e-5)
        h, w = call.grid(pixels)
        assert h * w == pixels


def test_grid_halves_as_the_denoiser_does_and_refuses_what_is_no_halving():
    call = Call((), 0, 1, 0, (5, 9))
    assert [call.grid(n) for n in (45, 15, 6, 2, 1)] == [(5, 9), (3, 5), (2, 3), (1, 2), (1, 1)]
    with pytest.raises(ValueError, match="44 pixels"):
        call.grid(44)


def test_only_sites_that_are_looked_at_leave_the_fused_path(model, monkeypatch):
    class UpCross(Watch):
        def looks(self, site: Site, call: Call) -> bool:
            return site.kind == "cross" and site.place == "up"

    calls = 0
    fused = F.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return fused(*args, **kwargs)

    x, watch, text = model.noise(), UpCross(), model.base.read(PROMPT)
    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    call = call_of(text, x, controls=[watch])
    model.base.predict(x, 500, text.states, text.pooled, call)
    sites = model.base.models.sites
    assert 0 < len(watch.seen) < len(sites)
    assert calls == len(sites) - len(watch.seen)


def test_maps_of_a_control_that_does_not_look_are_never_asked_for(small):
    class Blind(Control):
        def maps(self, site: Site, call: Call, maps: torch.Tensor) -> torch.Tensor:
            raise AssertionError("it did not look")

    x = small.noise()
    call = call_of(small.base.read(PROMPT), x, controls=[Blind(), Watch()])
    assert gap(predict(small.base, x, PROMPT, call=call), predict(small.base, x, PROMPT)) < 1e-5
    assert len(call.looked) == 1


def test_edited_maps_reach_the_output(small):
    x = small.noise()
    call = call_of(small.base.read(PROMPT), x, controls=[Flat()])
    assert gap(predict(small.base, x, PROMPT, call=call), predict(small.base, x, PROMPT)) > 1e-3


def test_controls_act_in_the_order_they_are_listed(sd1):
    class Note(Watch):
        def __init__(self, name: str, log: list[str]) -> None:
            super().__init__()
            self.name, self.log = name, log

        def maps(self, site: Site, call: Call, maps: torch.Tensor) -> torch.Tensor:
            self.log.append(self.name)
            return maps

    log: list[str] = []
    x = sd1.noise()
    call = call_of(sd1.base.read(PROMPT), x, controls=[Note("a", log), Note("b", log)])
    predict(sd1.base, x, PROMPT, call=call)
    assert log == ["a", "b"] * len(sd1.base.models.sites)


def test_context_chooses_keys_and_values(small):
    """Reading another prompt's states through `context` is reading that prompt."""
    other = small.base.read("a teapot at night")

    class Swap(Control):
        def context(self, site: Site, call: Call, keys: Any, values: Any) -> Any:
            return (other.states, other.states) if site.kind == "cross" else (keys, values)

    x = small.noise()
    swapped = predict(small.base, x, PROMPT, call=call_of(small.base.read(PROMPT), x, controls=[Swap()]))
    if small.family == "sdxl":  # its pooled vector is no context, so the two differ there
        assert gap(swapped, predict(small.base, x, PROMPT)) > 1e-3
    else:
        assert torch.equal(swapped, predict(small.base, x, "a teapot at night"))


def test_keyvalue_edits_keys_and_values_once(small):
    """Doubling the values doubles y, so halving y undoes it."""

    class Double(Control):
        def keyvalue(self, site: Site, call: Call, k: Any, v: Any) -> Any:
            return k, 2 * v

        def output(self, site: Site, call: Call, q: Any, maps: Any, out: Any) -> Any:
            assert maps is None
            return out / 2

    x = small.noise()
    call = call_of(small.base.read(PROMPT), x, controls=[Double()])
    assert torch.equal(predict(small.base, x, PROMPT, call=call), predict(small.base, x, PROMPT))


def test_float32_softmax_where_the_layer_asks_for_it():
    class Layer(nn.Module):
        upcast_attention, upcast_softmax, scale = True, True, 0.25

    from motif.attention import _softmax

    q, k = (torch.randn(1, 1, 4, 16, generator=torch.Generator().manual_seed(i)).half() for i in (0, 1))
    exact = (q.float() @ k.float().mT * 0.25).softmax(-1).half()
    assert torch.equal(_softmax(Layer(), q, k, None), exact)


def test_an_attention_mask_masks_on_both_paths(sd1):
    attn = sd1.base.models.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2")
    stock = sd1.stock.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2")
    draw = torch.Generator().manual_seed(0)
    x, context = torch.randn(2, 4, 32, generator=draw), torch.randn(2, 7, 24, generator=draw)
    mask = torch.zeros(2, 1, 7)
    mask[:, :, 5:] = -10000.0
    wanted = stock(x, encoder_hidden_states=context, attention_mask=mask)
    fused = attn(x, encoder_hidden_states=context, attention_mask=mask)
    assert torch.equal(fused, wanted)
    text = sd1.base.read(PROMPT)
    call = Call((Row("main", "cond", slice(0, 2), text),), 0, 1, 0, (2, 2), (Watch(),))
    looked = attn(x, encoder_hidden_states=context, attention_mask=mask, call=call)
    assert gap(looked, wanted) < 1e-5


def test_sites_know_their_kind_and_place(model):
    for site in model.base.models.sites:
        assert site.place in ("down", "mid", "up")
        assert site.kind == ("cross" if site.name.endswith("attn2") else "self")
        assert isinstance(model.base.models.unet.get_submodule(site.name).processor, Seam)


def test_a_layer_that_does_more_than_attend_is_refused():
    from diffusers import UNet2DModel

    unet = UNet2DModel(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    unet.attn_processors = {  # UNet2DModel has none of its own listing
        f"{name}.processor": m.processor
        for name, m in unet.named_modules()
        if type(m).__name__ == "Attention"
    }
    with pytest.raises(InputError, match="group_norm"):
        open_seams(unet)


def test_stable_diffusions_shapes_are_the_card_s():
    """32 layers; the five cross layers at 16 x 16 that blends and losses read, of 8 heads and 77 words each."""
    from diffusers import UNet2DConditionModel

    class Seen(Control):
        def __init__(self) -> None:
            self.shapes: dict[str, tuple[int, ...]] = {}

        def looks(self, site: Site, call: Call) -> bool:
            return site.kind == "cross" and site.level == call.level(4)

        def maps(self, site: Site, call: Call, maps: torch.Tensor) -> torch.Tensor:
            self.shapes[site.name] = tuple(maps.shape)
            return maps

    with torch.device("meta"), torch.no_grad():
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        sites, seen = open_seams(unet), Seen()
        call = Call((), 0, 1, 1.0, (64, 64), (seen,))
        told = {"cross_attention_kwargs": {"call": call}}
        unet(torch.zeros(2, 4, 64, 64), 1, encoder_hidden_states=torch.zeros(2, 77, 768), **told)
    assert len(sites) == 32 and [site.kind for site in sites].count("cross") == 16
    level = {"down_blocks.0": 0, "down_blocks.1": 1, "down_blocks.2": 2, "mid_block": 3, "up_blocks.1": 2,
             "up_blocks.2": 1, "up_blocks.3": 0}  # fmt: skip
    assert all(site.level == level[site.name.split(".attentions")[0]] for site in sites)
    five = [f"down_blocks.2.attentions.{i}" for i in range(2)] + [
        f"up_blocks.1.attentions.{i}" for i in range(3)
    ]
    assert seen.shapes == {f"{name}.transformer_blocks.0.attn2": (2, 8, 256, 77) for name in five}
