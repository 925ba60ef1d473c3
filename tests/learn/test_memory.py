"""What a run takes of memory is known before it is loaded; where it runs out, one line says what takes less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from motif import methods
from motif.cli import main
from motif.cli.learn import sizes
from motif.concept import Concept
from motif.errors import InputError
from motif.learn import Examples
from motif.learn.activations import activations
from motif.learn.batches import Batches
from motif.learn.memory import estimate, switches
from motif.learn.outline import outline
from motif.weights import is_cross_kv, select
from pieces import Model

PROMPT = "photo of a <new1> cat"
QUICK: dict[str, Any] = {"steps": 3, "batch_size": 2, "lr": 1e-2, "preview_every": 0, "prior": "none"}
PLAN: dict[str, Any] = {"batch_size": 4, "accumulate": 1, "gradient_checkpointing": False, "optimiser": "adamw",
                        "precision": "float32", "prior": "none", "resolution": None, "ema": 0.0}  # fmt: skip


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    tiny.pipeline(request.param).save_pretrained(folder)
    return request.param, folder


def test_an_outline_has_every_shape_and_no_contents(place: tuple[str, Path]) -> None:
    family, folder = place
    base, shape = tiny.base_of(tiny.pipeline(family)), outline(str(folder), torch.bfloat16)
    assert shape is not None and shape.dtype == torch.bfloat16 and shape.size == base.size
    assert {n: w.shape for n, w in shape.models.own.items()} == {
        n: w.shape for n, w in base.models.own.items()
    }
    assert all(weight.is_meta for weight in shape.models.own.values())
    assert outline("nobody/nothing", torch.float32) is None


@pytest.mark.parametrize("name", sorted(methods.LEARN))
def test_every_method_is_planned_on_an_outline(place: tuple[str, Path], photos: Path, name: str) -> None:
    """As on the base itself: the same values learn."""
    family, folder = place
    base, shape = tiny.base_of(tiny.pipeline(family)), outline(str(folder), torch.float32)
    learn, examples = methods.load("learn", name), Examples(photos, PROMPT)
    assert sizes(learn, shape, examples, {}, {}) == sizes(learn, base, examples, {}, {})  # pyright: ignore


def test_what_backward_keeps_is_counted_as_it_is(place: tuple[str, Path]) -> None:
    """The same count on tensors with contents."""
    family, folder = place
    base, shape = tiny.base_of(tiny.pipeline(family)), outline(str(folder), torch.float32)
    assert shape is not None
    names = [f"unet.{name}" for name in select(base.models.unet, is_cross_kv)]
    for rows, checkpointing in ((1, False), (4, False), (4, True)):
        told, real = (activations(one, names, rows, 16, checkpointing=checkpointing) for one in (shape, base))
        assert told == pytest.approx(real, rel=0.03)
    few, many, sparing = (
        activations(shape, names, rows, 16, checkpointing=c) for rows, c in ((1, 0), (4, 0), (4, 1))
    )
    assert few < many / 2 and sparing < many / 2
    assert not any(weight.requires_grad for weight in shape.models.own.values())


def test_the_estimate_follows_the_settings(place: tuple[str, Path], photos: Path) -> None:
    shape, learn = outline(str(place[1]), torch.float32), methods.load("learn", "fine-tune-all")
    assert shape is not None
    cpu = torch.device("cpu")

    def told(**changed: Any) -> Any:
        settings = learn.settle(shape, Examples(photos, PROMPT), **QUICK | changed)  # pyright: ignore
        lesson = learn.plan(shape, Examples(photos, PROMPT), lr=1e-2, recipe="compvis")  # pyright: ignore
        return estimate(shape, lesson, settings, cpu)

    plain, parts, thrifty, mean = told(), told(accumulate=2), told(optimiser="adafactor"), told(ema=0.9)
    n = sum(w.numel() for k, w in shape.models.own.items() if k.startswith("unet."))
    assert plain.learned == pytest.approx(16 * n, rel=0.02)
    assert parts.activations < plain.activations and thrifty.learned < 0.6 * plain.learned
    assert mean.learned == pytest.approx(20 * n, rel=0.02)
    assert "is free" in str(plain) and plain.total > plain.activations + plain.learned


def test_the_three_cheapest_switches() -> None:
    assert switches(PLAN, 10**7) == [
        "--accumulate 2 (the same result)", "--gradient-checkpointing (the same result, slower)", "--precision bf16",
    ]  # fmt: skip
    assert "--optimiser adafactor" in switches(PLAN, 10**9)
    used = PLAN | {"accumulate": 4, "gradient_checkpointing": True, "precision": "bfloat16"}
    assert switches(used, 10**7) == [
        "--batch-size 2", "--resolution N (smaller pictures)", "--optimiser adafactor",
    ]  # fmt: skip
    assert switches(PLAN | {"accumulate": 2}, 10**7)[0].startswith("--accumulate 4")


ERRORS: list[Callable[[], Exception]] = [
    MemoryError,
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"
    ),
    lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 17179869184 bytes."),
]


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_names_what_takes_less_and_keeps_the_checkpoint(
    sd1: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    """And what gives the same result can be switched on at the resume."""
    loss, learn, examples = Batches.loss, methods.load("learn", "custom-diffusion"), Examples(photos, PROMPT)
    settings = QUICK | {"checkpoint_every": 1, "folder": tmp_path}

    def full(self: Batches, on: Any, step: int, *rest: Any) -> Any:
        if step == 2:
            raise error()
        return loss(self, on, step, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Batches, "loss", full)
        with pytest.raises(
            InputError, match=r"out of memory.*--accumulate 2.*concept-0002\.safetensors is kept"
        ) as told:
            learn(sd1.base, examples, **settings)
    assert "\n" not in str(told.value)
    assert Concept.load(tmp_path / "concept-0002.safetensors")
    learn(sd1.base, examples, **settings, accumulate=2, gradient_checkpointing=True, resume=True)


def test_the_command_says_what_it_will_take_and_exits_2_where_it_is_too_much(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.pipeline("sd1").save_pretrained(tmp_path / "base")
    output = tmp_path / "c.safetensors"
    words = ["learn", "custom-diffusion", photos, PROMPT, "-o", output, "--base", tmp_path / "base",
             "--steps", 1, "--prior", "none", "--preview-every", 0]  # fmt: skip
    monkeypatch.setattr("motif.learn.memory.free", lambda _: 1000)
    assert main([str(word) for word in words]) == 0
    said = capsys.readouterr().err
    assert (
        said.index("about ") < said.index("loading ")
        and "more than is free" in said
        and "--accumulate 2" in said
    )
    monkeypatch.setattr(Batches, "loss", lambda *_: (_ for _ in ()).throw(MemoryError()))
    output.unlink()
    assert main([str(word) for word in words]) == 2
    assert "out of memory; what takes less, cheapest first: --accumulate 2" in capsys.readouterr().err
    assert not output.exists()
