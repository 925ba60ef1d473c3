"""A base and what it wears: values over one memory that nobody edits."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError, WrongBase
from motif.origin import Origin
from motif.weights import Change
from pieces import Watch, concept_of, fingerprint, gap, predict

PROMPT = "photo of a cat"
LEARNED = "photo of a <new1> cat"


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def without_token(base: Base, **extra: Any) -> Concept:
    return concept_of(base, None, **extra)


# -- wearing -------------------------------------------------------------------------------------------------------


def test_wearing_is_another_value_and_the_base_answers_as_before(model):
    x, before = model.noise(), predict(model.base, model.noise(), PROMPT)
    dressed = model.base.wear(concept_of(model.base))
    assert gap(predict(dressed, x, PROMPT), before) > 1e-3
    assert torch.equal(predict(model.base, x, PROMPT), before)
    assert model.base.weights == {} and model.base.concepts == () and len(dressed.concepts) == 1
    assert torch.equal(
        predict(dressed, x, PROMPT), predict(model.base.wear(concept_of(model.base)), x, PROMPT)
    )


def test_worn_weights_are_the_base_plus_the_change(model):
    concept = without_token(model.base, rank=2)
    dressed = model.base.wear(concept)
    assert set(dressed.weights) == set(concept.changes)
    with dressed.on():
        unet = dict(model.base.models.unet.named_parameters())
        assert all(unet[name.partition(".")[2]] is weight for name, weight in dressed.weights.items())
        assert model.base.wear(concept).weights.keys() == dressed.weights.keys()
        for name, weight in model.base.wear(concept).weights.items():
            assert torch.equal(
                weight, dressed.weights[name]
            )  # wearing inside is wearing on the base, not on what is worn
    for name, change in concept.changes.items():
        assert torch.equal(dressed.weights[name], model.base.models.parameter(name) + change.full())


def test_several_concepts_add_up_in_any_order(small):
    a, b = concept_of(small.base, "<a>", seed=1), concept_of(small.base, "<b>", seed=2, rank=2)
    one, other = small.base.wear(a, b), small.base.wear(b).wear(a)
    for name, weight in one.weights.items():
        total = small.base.models.parameter(name) + a.changes[name].full() + b.changes[name].full()
        assert gap(weight, total) < 1e-6 and gap(other.weights[name], total) < 1e-6
    x = small.noise()
    assert gap(predict(one, x, "<a> and <b>"), predict(other, x, "<a> and <b>")) < 1e-4
    assert (
        set(one.vectors) == {"<a>", "<b>"}
        and len(one.concepts) == 2
        and one.nouns == {"<a>": "cat", "<b>": "cat"}
    )


def test_adding_up_is_said(sd1, caplog):
    sd1.base.wear(concept_of(sd1.base, "<a>"), concept_of(sd1.base, "<b>"))
    assert "the changes are added" in caplog.text


def test_a_change_and_its_opposite_are_the_base_again(small):
    plus, minus = without_token(small.base, size=1.0), without_token(small.base, size=-1.0)
    back = small.base.wear(plus, minus)
    assert max(gap(w, small.base.models.parameter(n)) for n, w in back.weights.items()) < 1e-5


def test_a_concept_of_the_text_encoder_is_worn_too(small):
    name = next(
        n
        for n, p in small.base.models.readers[0].encoder.named_parameters()
        if p.dim() == 2 and "layers" in n
    )
    full = f"text_encoder.{name}"
    change = Change(
        dense=torch.randn(small.base.models.parameter(full).shape, generator=torch.Generator().manual_seed(0))
    )
    dressed = small.base.wear(Concept({}, {full: change}, Record("test", small.base.origin)))
    before = small.base.read(PROMPT).states
    assert gap(dressed.read(PROMPT).states, before) > 1e-3
    assert torch.equal(small.base.read(PROMPT).states, before)


def test_the_difference_is_told_in_words(small):
    concept = concept_of(small.base, vectors=2)
    told = small.base.difference(small.base.wear(concept))
    assert (
        told.startswith(f"{len(concept.changes)} of {len(concept.changes)} weights changed")
        and "<new1> (2 vectors)" in told
    )


@pytest.mark.parametrize("dressed", [False, True])
def test_the_difference_is_of_what_came_on_last(small, caplog, dressed):
    """A concept with a word and dead changes, on a base that is bare or wears a live one: its own share is told."""
    caplog.set_level("INFO", "motif")
    base = small.base.wear(concept_of(small.base, "<live>")) if dressed else small.base
    caplog.clear()
    dead = concept_of(small.base, "<dead>", size=0.0)
    me = base.wear(dead)
    told = caplog.records[-1]
    assert told.levelname == "WARNING" and told.message.startswith(
        f"<dead>: 0 of {len(dead.changes)} weights changed"
    )
    assert told.message.endswith("tokens <dead> (1 vector)") and me.concepts[-1].tokens.keys() == {"<dead>"}
    assert base.difference(base).startswith("0 of 0") and "tokens none" in me.difference(base)


def test_a_word_alone_is_no_warning(small, caplog):
    caplog.set_level("INFO", "motif")
    token = concept_of(small.base)
    small.base.wear(Concept(token.tokens, {}, token.record))
    assert caplog.records[-1].levelname == "INFO" and "0 of 0 weights changed" in caplog.text


# -- untouched -----------------------------------------------------------------------------------------------------


def test_an_exception_inside_leaves_every_bit(model):
    before, dressed = fingerprint(model.base), model.base.wear(concept_of(model.base))

    class Stop(Watch):
        def maps(self, site: Any, call: Any, maps: torch.Tensor) -> torch.Tensor:
            if len(self.seen) == 3:
                raise KeyboardInterrupt
            return super().maps(site, call, maps)

    from pieces import call_of

    x = model.noise()
    with pytest.raises(KeyboardInterrupt):
        predict(dressed, x, LEARNED, call=call_of(dressed.read(LEARNED), x, controls=[Stop()]))
    assert fingerprint(model.base) == before
    with pytest.raises(ZeroDivisionError), dressed.on():
        raise ZeroDivisionError
    assert fingerprint(model.base) == before


def test_two_threads_in_two_dresses_see_their_own(sd1):
    x = sd1.noise()
    dresses = [sd1.base.wear(without_token(sd1.base, seed=i)) for i in range(2)]
    wanted = [predict(dress, x, PROMPT) for dress in dresses]
    found: dict[tuple[int, int], bool] = {}

    def work(i: int) -> None:
        with torch.no_grad():
            for n in range(8):
                found[i, n] = gap(predict(dresses[i], x, PROMPT), wanted[i]) < 1e-5

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16 and all(found.values())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_worn_weights_exactly(small, checkpointing):
    """Equal to the gradient of functional_call, to the last bit that the order of a sum allows."""
    from torch.func import functional_call

    base, unet = small.base, small.base.models.unet
    start = base.wear(without_token(base)).weights
    text, x = base.read(PROMPT), small.noise()
    grads = []
    with torch.enable_grad():
        ours = {name: weight.clone().requires_grad_() for name, weight in start.items()}
        dressed = base.dressed(ours, {}, {})
        if checkpointing:
            unet.enable_gradient_checkpointing()
        try:
            with dressed.on():
                out = dressed.predict(x, 500, text.states, text.pooled, None)
                grads.append(torch.autograd.grad(out.square().sum(), list(ours.values())))
        finally:
            unet.disable_gradient_checkpointing()
        bare = {
            name.partition(".")[2]: weight.detach().clone().requires_grad_() for name, weight in start.items()
        }
        extra: dict[str, Any] = {}
        if text.pooled is not None:
            h, w = (side * base.latent_factor for side in x.shape[-2:])
            extra["added_cond_kwargs"] = {
                "text_embeds": text.pooled,
                "time_ids": torch.tensor([[h, w, 0, 0, h, w]]).float(),
            }
        out = functional_call(
            unet, bare, (x, 500), {"encoder_hidden_states": text.states, "return_dict": False, **extra}
        )[0]
        grads.append(torch.autograd.grad(out.square().sum(), list(bare.values())))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert all(p.grad is None for p in unet.parameters())


# -- refusals ------------------------------------------------------------------------------------------------------


def test_a_concept_of_another_architecture_is_refused(sd1, sdxl):
    with pytest.raises(WrongBase, match="architecture"):
        sd1.base.wear(concept_of(sdxl.base))


def test_a_concept_of_other_weights_is_refused_unless_allowed(small):
    import tiny

    other = tiny.base_of(tiny.pipeline(small.family, seed=1))
    with pytest.raises(WrongBase, match="other weights") as error:
        other.wear(concept_of(small.base))
    assert "--other-base" in str(error.value)
    assert other.wear(concept_of(small.base), other_base=True).weights


def test_a_base_in_half_precision_is_known_as_itself(small):
    import tiny

    for dtype in (torch.float16, torch.bfloat16):
        pipe = tiny.pipeline(small.family)
        pipe.unet.to(dtype)
        pipe.text_encoder.to(dtype)
        half = tiny.base_of(pipe)
        assert half.origin.same_weights(small.base.origin)
        worn = half.wear(concept_of(small.base))
        assert all(weight.dtype == dtype for weight in worn.weights.values())
        assert worn.vectors["<new1>"][0].dtype == dtype


def test_a_base_with_one_other_part_is_another_base(small):
    import tiny

    for part in small.base.models.parts():
        pipe, other = tiny.pipeline(small.family), tiny.pipeline(small.family, seed=1)
        setattr(pipe, part, getattr(other, part))
        with pytest.raises(WrongBase, match="other weights"):
            tiny.base_of(pipe).wear(concept_of(small.base))


def test_a_unet_that_reads_more_than_latents_is_refused():
    from diffusers import UNet2DConditionModel

    import tiny

    pipe = tiny.pipeline("sd1")
    pipe.unet = UNet2DConditionModel.from_config({**pipe.unet.config, "in_channels": 9})
    with pytest.raises(InputError, match="tiny: its UNet reads 9 channels and its VAE makes 4"):
        tiny.base_of(pipe)


def test_one_token_for_two_concepts_is_refused(small):
    first, second = concept_of(small.base), concept_of(small.base, seed=1)
    with pytest.raises(InputError, match="two concepts use the token <new1>") as error:
        small.base.wear(first, second)
    assert "--wear FILE=<new2>" in str(error.value)
    both = small.base.wear(first, second.renamed({"<new1>": "<new2>"}))
    assert set(both.vectors) == {"<new1>", "<new2>"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["change", "token"])
def test_a_concept_that_is_not_finite_is_refused(small, number, where):
    concept = concept_of(small.base)
    name, change = next(iter(concept.changes.items()))
    (change.full() if where == "change" else concept.tokens["<new1>"][0])[0, 0] = number
    with pytest.raises(InputError, match=r"is not finite in torch\.float32") as error:
        small.base.wear(concept)
    assert (name if where == "change" else "<new1>/0") in str(error.value)
    assert "--precision" not in str(error.value)


def test_a_change_that_overflows_in_half_precision_is_refused():
    import tiny

    pipe = tiny.pipeline("sd1")
    pipe.unet.half()
    base = tiny.base_of(pipe)
    concept = concept_of(base, size=1e6)
    with pytest.raises(InputError, match="try --precision fp32"):
        base.wear(concept)


@pytest.mark.parametrize("dress", [False, True], ids=["bare", "already dressed"])
def test_a_concept_that_changes_nothing_is_refused(small, dress):
    base = small.base.wear(concept_of(small.base, "<other>")) if dress else small.base
    for concept in (without_token(base, size=0.0), Concept({}, {}, Record("empty", base.origin))):
        with pytest.raises(InputError, match="changes nothing"):
            base.wear(concept)


def test_a_token_without_weights_is_a_concept(small):
    token = concept_of(small.base, size=0.0)
    dressed = small.base.wear(Concept(token.tokens, {}, token.record))
    assert gap(dressed.read(LEARNED).states, small.base.read("photo of a cat").states) > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unet.conv_in.wight": Change(dense=torch.ones(1))}, "unet.conv_in.wight, which tiny does not have"),
        ({"vae.x": Change(dense=torch.ones(1))}, "vae.x"),
        ({"unet.conv_in.bias": Change(dense=torch.ones(1))}, r"\(1,\); in tiny it is \(16,\)"),
    ],
)
def test_a_change_without_a_place_is_refused(sd1, change, words):
    with pytest.raises(WrongBase, match=words):
        sd1.base.wear(Concept({}, change, Record("odd", sd1.base.origin)))


@pytest.mark.parametrize(
    "parts", [(), (torch.ones(1, 24), torch.ones(1, 24)), (torch.ones(1, 25),), (torch.ones(24),)]
)
def test_vectors_of_another_text_encoder_are_refused(sd1, parts):
    with pytest.raises(WrongBase, match="text encoders read"):
        sd1.base.wear(Concept({"<new1>": parts}, {}, Record("odd", sd1.base.origin)))


def test_an_unknown_origin_never_matches(sd1):
    record = Record("odd", Origin("elsewhere", "0" * 16, sd1.base.origin.norms))
    with pytest.raises(WrongBase, match="elsewhere"):
        sd1.base.wear(Concept({}, {}, record))


# -- pictures and latents ------------------------------------------------------------------------------------------


def test_encoding_is_diffusers_own(model):
    pictures = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    posterior = model.stock.vae.encode(pictures).latent_dist
    scale = model.stock.vae.config.scaling_factor
    mean, std = model.base.posterior(pictures)
    assert gap(mean, posterior.mean * scale) < 1e-6
    assert gap(std, posterior.std * scale) < 1e-6


def test_decoding_is_diffusers_own(model):
    x = model.noise()
    wanted = model.stock.vae.decode(x / model.stock.vae.config.scaling_factor).sample.clamp(-1, 1)
    assert gap(model.base.decode(x), wanted) < 1e-6


def test_latents_that_overflowed_are_an_error(sd1):
    x = sd1.noise()
    x[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite") as error:
        sd1.base.decode(x)
    assert "--precision" not in str(error.value) and "guidance" in str(error.value)


def test_latents_that_overflowed_in_half_precision_are_tried_in_fp32():
    import tiny

    pipe = tiny.pipeline("sd1")
    pipe.unet.half()
    with pytest.raises(InputError, match="try --precision fp32"):
        tiny.base_of(pipe).decode(torch.full((1, 4, 8, 8), float("inf")))


def test_a_size_that_does_not_divide_is_refused(model):
    factor = model.base.latent_factor
    assert model.base.latent_shape((3 * factor, 5 * factor))[1:] == (3, 5)
    for size in ((factor + 1, factor), (0, factor), (-factor, factor)):
        with pytest.raises(InputError, match="multiples of"):
            model.base.latent_shape(size)


def test_advice_of_the_makers_is_kept():
    import tiny

    pipe = tiny.pipeline("sd1")
    from motif.text import Reader

    base = Base.of(
        "advised", unet=pipe.unet, vae=pipe.vae, readers=[Reader(pipe.tokenizer, pipe.text_encoder)],
        scheduler=pipe.scheduler.config, advice={"guidance": 4, "learn": {"custom-diffusion": {"lr": 1e-4}}},
    )  # fmt: skip
    assert base.guidance == 4.0 and base.advice["custom-diffusion"]["lr"] == 1e-4


def test_a_picture_does_not_depend_on_its_neighbours_in_the_vae(model):
    base, latents = model.base, model.noise(3)
    assert torch.equal(base.decode(latents), torch.cat([base.decode(latents[i : i + 1]) for i in range(3)]))
    pictures = torch.rand(3, 3, base.size, base.size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for whole, parts in zip(
        base.posterior(pictures),
        zip(*(base.posterior(pictures[i : i + 1]) for i in range(3)), strict=True),
        strict=True,
    ):
        assert torch.equal(whole, torch.cat(parts))


def test_a_base_is_known_by_its_prediction_and_its_vae_too():
    """The same UNet read as another prediction draws other pictures: cached priors and states must not be shared."""
    import tiny
    from motif.errors import WrongBase

    pipe = tiny.pipeline("sd1")
    first = tiny.base_of(pipe)
    pipe = tiny.pipeline("sd1")
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    second = tiny.base_of(pipe)
    pipe = tiny.pipeline("sd1")
    with torch.no_grad():
        next(pipe.vae.parameters()).mul_(1.5)
    third = tiny.base_of(pipe)
    assert len({base.origin.fingerprint for base in (first, second, third)}) == 3
    concept = concept_of(first)
    third.wear(concept)  # another VAE only decodes
    with pytest.raises(WrongBase, match="predicts v_prediction"):
        second.wear(concept)
    second.wear(concept, other_base=True)
