"""What the tests share: stock pipelines beside the same models as bases, and a guard that no test edits a base."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import settings

from pieces import Model, fingerprint

pytest_plugins = ["encoders"]

settings.register_profile("motif", deadline=None, max_examples=25)
settings.load_profile("motif")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the network for anything."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests leave in motif's cache goes with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTIF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def pocket() -> Any:
    """The embedded base. It is in the package, so that its absence is a failure; MOTIF_TEST_WITHOUT_POCKET=1 skips
    what needs it, while its weights are being made."""
    from motif.base import Base
    from motif.errors import MissingModel

    try:
        return Base.load("pocket")
    except MissingModel as missing:
        if os.environ.get("MOTIF_TEST_WITHOUT_POCKET") == "1":
            pytest.skip(str(missing))
        pytest.fail(f"{missing} (MOTIF_TEST_WITHOUT_POCKET=1 skips what needs it)", pytrace=False)


def _frozen(stock: Any) -> Any:
    """As our bases are: torch multiplies by weights that want gradients in another order, and the last bits differ."""
    stock.set_progress_bar_config(disable=True)
    for part in stock.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    return stock


@cache
def _tiny(family: str) -> Model:
    import tiny

    stock = tiny.pipeline(family)
    return Model(family, tiny.base_of(tiny.pipeline(family)), _frozen(stock))


@cache
def _pocket_stock() -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from motif.loading import pocket_weights

    stock = StableDiffusionPipeline.from_pretrained(
        pocket_weights() / "pipeline", local_files_only=True, dtype=torch.float32,
        safety_checker=None, requires_safety_checker=False,
    )  # fmt: skip
    stock.scheduler = DDIMScheduler.from_config(stock.scheduler.config)
    stock.unet.to(memory_format=torch.channels_last)
    return _frozen(stock)


def _guarded(model: Model) -> Iterator[Model]:
    """Hand a model to a test, and see that the test left every parameter as it was."""
    before = fingerprint(model.base)
    yield model
    assert fingerprint(model.base) == before, "the test edited the base"


@pytest.fixture(params=["sd1", "sd2-v", "sdxl", "pocket"])
def model(request: pytest.FixtureRequest) -> Iterator[Model]:
    """Every family in turn, and pocket."""
    if request.param == "pocket":
        yield from _guarded(Model("pocket", request.getfixturevalue("pocket"), _pocket_stock()))
    else:
        yield from _guarded(_tiny(request.param))


@pytest.fixture(params=["sd1", "sd2-v", "sdxl"])
def small(request: pytest.FixtureRequest) -> Iterator[Model]:
    """Every family in its tiny form."""
    yield from _guarded(_tiny(request.param))


@pytest.fixture
def sd1() -> Iterator[Model]:
    """The tiny SD1, where one family is enough."""
    yield from _guarded(_tiny("sd1"))


@pytest.fixture
def sdxl() -> Iterator[Model]:
    """The tiny SDXL."""
    yield from _guarded(_tiny("sdxl"))
