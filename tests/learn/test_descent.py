"""What every method's training offers: parts of a step, an average, min-SNR, rates over the steps, optimisers, and a
resume that is exact under all of them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from motif import methods
from motif.concept import Concept
from motif.errors import InputError, Interrupted
from motif.learn import Examples
from motif.learn.descent import Descent, Way
from motif.learn.fit import Progress
from motif.learn.snr import min_snr
from motif.learn.trained import Rates, Trained
from pieces import Model, gap

PROMPT = "photo of a <new1> cat"
QUICK: dict[str, Any] = {"steps": 2, "batch_size": 2, "lr": 1e-2, "preview_every": 0, "prior": "none"}
WAYS: dict[str, dict[str, Any]] = {
    "average": {"ema": 0.5},
    "everything": {
        "ema": 0.9, "lr_schedule": "cosine", "lr_warmup": 1, "min_snr": 5.0, "accumulate": 2, "prior": "base",
    },
    "adafactor": {"optimiser": "adafactor", "lr_schedule": "linear"},
}  # fmt: skip

Learn = Callable[..., Concept]


@pytest.fixture(params=sorted(methods.LEARN))
def learn(request: pytest.FixtureRequest) -> Learn:
    return methods.load("learn", request.param)


@pytest.fixture
def examples(photos: Path) -> Examples:
    return Examples(photos, PROMPT)


def values(concept: Concept) -> dict[str, torch.Tensor]:
    rows = {f"{t}/{i}": part for t, parts in concept.tokens.items() for i, part in enumerate(parts)}
    return {**{name: change.full() for name, change in concept.changes.items()}, **rows}


def stopped(progress: Progress) -> None:
    """Ctrl-C in the first step's report, so that the second ends the run."""
    if progress.step == 1:
        os.kill(os.getpid(), signal.SIGINT)


def interrupted(learn: Learn, base: Any, examples: Examples, folder: Path, **settings: Any) -> Concept:
    """The concept of a run that was stopped after its second step, and went on."""
    with pytest.raises(Interrupted):
        learn(base, examples, **settings, folder=folder, on_progress=stopped)
    return learn(base, examples, **settings, folder=folder, resume=True)


# -- resume ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", sorted(WAYS))
def test_resume_is_exact_under_every_setting(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path, way: str
) -> None:
    """And each acts, and is in the record."""
    settings = QUICK | {"steps": 3} | WAYS[way]
    whole = learn(sd1.base, examples, **settings)
    assert interrupted(learn, sd1.base, examples, tmp_path, **settings) == whole
    assert {name: whole.record.settings[name] for name in WAYS[way]} == WAYS[way]
    plain = values(learn(sd1.base, examples, **QUICK | {"steps": 3}))
    assert any(not torch.equal(value, plain[name]) for name, value in values(whole).items())


@pytest.mark.parametrize(
    ("begun", "resumed", "word"),
    [
        ({"ema": 0.5}, {"ema": 0.0}, "ema"),
        ({"min_snr": 5.0}, {}, "min_snr"),
        ({}, {"optimiser": "adafactor"}, "optimiser"),
        ({"lr_schedule": "cosine"}, {"lr_schedule": "cosine", "steps": 4}, "steps"),
    ],
)
def test_a_run_is_resumed_in_its_own_way_alone(
    sd1: Model, examples: Examples, tmp_path: Path, begun: Any, resumed: Any, word: str
) -> None:
    learn = methods.load("learn", "textual-inversion")
    learn(sd1.base, examples, **QUICK | begun, folder=tmp_path)
    with pytest.raises(InputError, match=word):
        learn(sd1.base, examples, **{**QUICK, "steps": 3, **resumed}, folder=tmp_path, resume=True)


def test_in_how_many_parts_a_step_is_computed_may_change_at_a_resume(
    sd1: Model, examples: Examples, tmp_path: Path
) -> None:
    learn = methods.load("learn", "textual-inversion")
    learn(sd1.base, examples, **QUICK, folder=tmp_path)
    more = QUICK | {"steps": 3}
    parted = learn(sd1.base, examples, **more, accumulate=2, folder=tmp_path, resume=True)
    for mine, theirs in zip(
        parted.tokens["<new1>"], learn(sd1.base, examples, **more).tokens["<new1>"], strict=True
    ):
        assert gap(mine, theirs) < 1e-4


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("dreambooth", {"lora": 2}),
        ("dreambooth", {"lora": 2, "train_text_encoder": True, "optimiser": "adafactor"}),
        ("dreambooth", {"train_text_encoder": True, "token_lr": 1e-2}),
        ("custom-diffusion", {"trained": "crossattn"}),
        ("textual-inversion", {"vectors": 2, "initial": "tea"}),
        ("ico", {"positions": "clean", "scheme": "ico-for-dci"}),
    ],
)
def test_resume_is_exact_whatever_learns(
    sd1: Model, examples: Examples, tmp_path: Path, name: str, what: dict[str, Any]
) -> None:
    learn, settings = methods.load("learn", name), QUICK | {"steps": 3, "ema": 0.5} | what
    whole = learn(sd1.base, examples, **settings)
    assert interrupted(learn, sd1.base, examples, tmp_path, **settings) == whole


# -- parts of a step -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["none", "base", "generate"])
def test_parts_of_a_step_add_up_to_it(
    sd1: Model, learn: Learn, examples: Examples, prior: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """k parts of n/k rows have the loss and the gradients of the step of n, to rounding."""
    settings = QUICK | {"steps": 1, "batch_size": 4, "prior": prior}
    settings |= {"prior_count": 3, "prior_steps": 1} if prior == "generate" else {}
    losses, gradients, step = list[float](), list[dict[str, torch.Tensor]](), Descent.step

    def watched(self: Descent, k: int) -> None:
        gradients.append({n: p.grad.clone() for n, p in self.parameters.items() if p.grad is not None})
        step(self, k)

    monkeypatch.setattr(Descent, "step", watched)
    for k in (1, 2, 4):
        learn(sd1.base, examples, **settings, accumulate=k, on_progress=lambda p: losses.append(p.loss))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for parts in gradients[1:]:
        assert parts.keys() == gradients[0].keys()
        for name, gradient in gradients[0].items():
            assert torch.allclose(parts[name], gradient, rtol=1e-3, atol=1e-5 * largest), name


def test_a_part_of_a_step_takes_a_part_of_its_memory(
    sd1: Model, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motif.base import Base

    seen, predict = list[int](), Base.predict
    monkeypatch.setattr(
        Base, "predict", lambda self, x, *rest: seen.append(len(x)) or predict(self, x, *rest)
    )
    settings = QUICK | {"steps": 1, "batch_size": 4, "accumulate": 2}
    methods.load("learn", "custom-diffusion")(sd1.base, examples, **settings)
    assert seen == [2, 2]


# -- the average -----------------------------------------------------------------------------------------------------


def test_the_concept_is_the_average_and_the_run_goes_on_from_the_values(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path
) -> None:
    """θ̄ as written by hand from the values after each step: β_0 = 1/10, β_1 = 2/11, then 0.2."""
    settings = QUICK | {"steps": 3, "checkpoint_every": 1}
    settled = learn.settle(sd1.base, examples, **settings)  # pyright: ignore
    learn(sd1.base, examples, **settings, folder=tmp_path / "plain")
    mean = learn(sd1.base, examples, **settings, ema=0.2, folder=tmp_path / "mean")
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("plain", "mean")]
    assert all(torch.equal(value, states[1]["values"][name]) for name, value in states[0]["values"].items())
    steps = [values(Concept.load(tmp_path / f"plain/concept-000{i}.safetensors")) for i in (1, 2, 3)]
    import inspect

    known = {k: v for k, v in settled.items() if k in inspect.signature(learn).parameters}
    words = learn.plan(sd1.base, examples, **known).words  # pyright: ignore
    start = {f"{t}/{i}": part for t, parts in words.items() for i, part in enumerate(parts)}
    for name, value in values(mean).items():
        expected = start.get(name, torch.zeros(())).clone()
        for keep, reached in zip((1 / 10, 2 / 11, 0.2), steps, strict=True):
            expected = keep * expected + (1 - keep) * reached[name]
        assert torch.allclose(value, expected, rtol=1e-4, atol=1e-6), name
    last = values(Concept.load(tmp_path / "mean/concept-0003.safetensors"))
    assert all(torch.equal(value, last[name]) for name, value in values(mean).items())


# -- min-SNR ---------------------------------------------------------------------------------------------------------


def test_min_snr_caps_what_the_error_of_the_picture_counts(small: Model) -> None:
    """In the error of x̂₀ the weight is min(SNR, γ), whatever the network predicts."""
    schedule, t = small.base.schedule, torch.tensor([0, 10, 300, 999])
    x, right, error = torch.randn(3, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    for gamma in (0.5, 5.0):
        weighed = min_snr(schedule, t, gamma) * error.square().flatten(1).mean(1)
        for i, time in enumerate(t.tolist()):
            x0 = [schedule.split(x[i], output, time)[0] for output in (right[i], right[i] + error[i])]
            ratio = schedule.at(time) / (1 - schedule.at(time))
            assert float(weighed[i]) == pytest.approx(
                min(ratio, gamma) * float((x0[1] - x0[0]).square().mean())
            )


def test_min_snr_acts_in_every_method(sd1: Model, learn: Learn, examples: Examples) -> None:
    plain, same, other = (values(learn(sd1.base, examples, **QUICK, min_snr=g)) for g in (0.0, 1e9, 1e-3))
    assert all(torch.equal(value, plain[name]) for name, value in same.items()), "ε: all weights are 1"
    assert any(gap(value, plain[name]) > 1e-4 for name, value in other.items())


# -- rates -----------------------------------------------------------------------------------------------------------


def test_rates_over_the_steps() -> None:
    flat, line, cosine, late = (
        Way(steps=4, schedule=name, warmup=n).factor()
        for name, n in (("constant", 0), ("linear", 0), ("cosine", 0), ("constant", 2))
    )
    assert [flat(k) for k in range(4)] == [1.0] * 4
    assert [line(k) for k in range(4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert [cosine(k) for k in range(4)] == pytest.approx(
        [(1 + torch.cos(torch.tensor(torch.pi * (k + 1) / 5)).item()) / 2 for k in range(4)]
    )
    assert [late(k) for k in range(4)] == pytest.approx([0.5, 1, 1, 1])


def test_every_group_s_rate_follows_the_schedule(sd1: Model) -> None:
    words = {"<new1>": tuple(torch.ones(1, r.width) for r in sd1.base.models.readers)}
    trained = Trained.start(sd1.base, [n for n in sd1.base.models.own if "attn2.to_k" in n], words, {})
    descent = Descent(trained, Rates(1e-2, 1e-3), Way(4, schedule="linear"), torch.device("cpu"))
    for k, share in enumerate((0.8, 0.6, 0.4, 0.2)):
        descent.step(k)
        rates = [group["lr"] for group in descent.optimiser.param_groups]
        assert rates == pytest.approx([1e-2 * share, 1e-3 * share])


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"accumulate": 0}, "accumulate 0"),
        ({"accumulate": 3}, "accumulate 3"),
        ({"ema": 1.0}, "ema 1.0"),
        ({"ema": -0.1}, "ema"),
        ({"min_snr": -1.0}, "min_snr"),
        ({"lr_warmup": 2}, "lr_warmup 2 of 2 steps"),
        ({"lr_warmup": -1}, "lr_warmup"),
        ({"optimiser": "adam"}, "there is adamw"),
        ({"optimiser": "adamw-8bit"}, r"bitsandbytes.*motif\[optimisers\]|needs a GPU"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_step(
    sd1: Model, learn: Learn, examples: Examples, settings: Any, word: str
) -> None:
    with pytest.raises(InputError, match=word):
        learn(sd1.base, examples, **QUICK | settings, on_progress=lambda _: pytest.fail("a step was taken"))


# -- optimisers ------------------------------------------------------------------------------------------------------


class Prodigy(torch.optim.SGD):
    """A stand-in for prodigyopt's: it wants one rate for all groups, and keeps a state."""

    def __init__(self, groups: Any, lr: float = 1.0, **settings: Any) -> None:
        assert settings["decouple"] and {group["lr"] for group in groups} == {1.0}
        super().__init__(
            [{k: v for k, v in g.items() if k != "weight_decay"} for g in groups], 1e-3, momentum=0.9
        )


def test_prodigy_finds_its_own_rate(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {k: v for k, v in QUICK.items() if k != "lr"} | {"optimiser": "prodigy", "steps": 3}
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(InputError, match="needs prodigyopt, which is not installed: pip install 'motif"):
        learn(sd1.base, examples, **settings)
    monkeypatch.undo()
    module: Any = type(sys)("prodigyopt")
    module.Prodigy, module.__spec__ = Prodigy, object()
    monkeypatch.setitem(sys.modules, "prodigyopt", module)
    whole = learn(sd1.base, examples, **settings)
    assert interrupted(learn, sd1.base, examples, tmp_path, **settings) == whole
    for unheard in ({"lr": 1e-3}, {"scale_lr": False}):
        with pytest.raises(InputError, match=f"one rate for all that learns: leave {min(unheard)} out"):
            learn(sd1.base, examples, **settings, **unheard)


def test_the_real_prodigy_takes_our_groups_and_resumes(
    sd1: Model, learn: Learn, examples: Examples, tmp_path: Path
) -> None:
    pytest.importorskip("prodigyopt", reason="the extra optimisers is not installed")
    settings = {k: v for k, v in QUICK.items() if k != "lr"} | {"optimiser": "prodigy", "steps": 3}
    whole = learn(sd1.base, examples, **settings)
    assert interrupted(learn, sd1.base, examples, tmp_path, **settings) == whole


def test_prodigy_knows_no_faster_contexts(
    sd1: Model, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own groups cannot differ in rate, so that a factor would be silent."""
    module: Any = type(sys)("prodigyopt")
    module.Prodigy, module.__spec__ = Prodigy, object()
    monkeypatch.setitem(sys.modules, "prodigyopt", module)
    settings = {k: v for k, v in QUICK.items() if k != "lr"} | {"optimiser": "prodigy"}
    with pytest.raises(InputError, match="leave context_factor out"):
        methods.load("learn", "ico")(sd1.base, examples, **settings, context_factor=10.0)


# -- precision -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def half(request: pytest.FixtureRequest) -> Any:
    base = tiny.base_of(tiny.pipeline("sd1"))
    for model in (base.models.unet, *(reader.encoder for reader in base.models.readers)):
        model.to(request.param)
    return base


@pytest.mark.parametrize("optimiser", ["adamw", pytest.param("adafactor", marks=pytest.mark.slow)])
def test_resume_is_exact_in_half_precision(
    half: Any, learn: Learn, examples: Examples, tmp_path: Path, optimiser: str
) -> None:
    settings = QUICK | {"steps": 3, "ema": 0.5, "optimiser": optimiser}
    whole = learn(half, examples, **settings)
    assert interrupted(learn, half, examples, tmp_path, **settings) == whole
    assert whole.record.settings["precision"] in ("bfloat16", "float16")


def test_gradients_in_half_precision_are_float32_s(
    half: Any, sd1: Model, learn: Learn, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Point where float32's point, once the scale of an fp16 loss is taken away again; on a CPU too."""
    found, step = list[torch.Tensor](), Descent.step

    def watched(self: Descent, k: int) -> None:
        own = [p.grad.flatten() for p in self.parameters.values() if p.grad is not None]
        found.append(torch.cat(own).double() / self.scaler.get_scale())
        step(self, k)

    monkeypatch.setattr(Descent, "step", watched)
    for base in (sd1.base, half):
        learn(base, examples, **QUICK | {"steps": 1})
    exact, rounded = found
    assert rounded.isfinite().all()
    assert float(torch.cosine_similarity(exact, rounded, dim=0)) > 0.99
    assert float(rounded.norm() / exact.norm()) == pytest.approx(1, rel=0.05)


def test_an_fp16_loss_is_scaled_and_its_scale_is_resumed(sd1: Model) -> None:
    """Small gradients survive; a step on gradients that overflowed is left out, and the scale falls."""
    words = {"<new1>": tuple(torch.ones(1, r.width) for r in sd1.base.models.readers)}

    def fresh() -> tuple[Descent, Any]:
        trained = Trained.start(sd1.base, [], words, {})
        descent = Descent(trained, Rates(0, 1e-2), Way(4, max_norm=1.0), torch.device("cpu"), fp16=True)
        return descent, trained.vectors["<new1>"][0]

    descent, value = fresh()
    descent.backward((value.half() * 1e-7).sum().float())
    assert value.grad is not None and value.grad.abs().min() > 0
    descent.step(0)
    kept = value.detach().clone()
    descent.backward(value.sum() * torch.inf)
    descent.step(1)
    assert torch.equal(value, kept)
    other, _ = fresh()
    other.load_state_dict(json.loads(json.dumps({"scaler": descent.state_dict()["scaler"]})) | {
        "optimiser": descent.optimiser.state_dict(), "average": {}})  # fmt: skip
    assert other.scaler.get_scale() == descent.scaler.get_scale() < fresh()[0].scaler.get_scale()
