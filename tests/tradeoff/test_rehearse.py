"""Every cell's settings are looked at before the first job: what would be refused in hours is refused now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motif import methods
from motif.base import Base
from motif.errors import InputError
from motif.tradeoff.plan import Planner
from motif.tradeoff.rehearse import rehearse
from motif.tradeoff.spec import Spec
from motif.tradeoff.sweep import tradeoff

Make = Callable[..., Spec]
TINY = {"steps": 1, "prior": "none", "batch_size": 2, "resolution": 16}
LAST: Any = {"learn": "ico", "settings": TINY}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": [{}, {**LAST, "settings": {**TINY, "prior": "nowhere"}}]}, "toy: learn ico to step 1: prior"),
        ({"methods": [{}, {**LAST, "settings": {**TINY, "batch_size": 0}}]}, "batch_size 0"),
        ({"methods": [{}, {**LAST, "settings": {**TINY, "prior_count": 3}}]}, "prior_count would change nothing"),
        ({"methods": [{}, {**LAST, "settings": {**TINY, "steps": [1, 0]}}]}, "ico: steps 0: one or more"),
        ({"methods": [{}, {**LAST, "sampling": {"eta": [0.5, 3.0]}}]}, "eta is 3"),
        ({"methods": [{}, {**LAST, "sample": "dci", "sampling": {"until": 2.0}}]}, "until is 2"),
        ({"sampling": {"steps": 2, "height": 33}}, "33x"),
        ({"metrics": ["clip-t", {"name": "kid", "settings": {"subset_size": 1}}], "reference": [0.0, 1.0]}, "of 1"),
        ({"metrics": ["clip-t", "kid"], "seeds": 1, "reference": [0.0, 1.0]}, "KID of 2 pictures"),
    ],
)  # fmt: skip
def test_the_last_cell_s_settings_are_refused_before_the_first_job(
    tmp_path: Path, spec: Make, tiny_base: Base, change: dict[str, Any], words: str
) -> None:
    done: list[Any] = []
    with pytest.raises(InputError) as caught:
        tradeoff(spec(**change), tmp_path / "out", base=tiny_base, on_job=lambda n, of, job: done.append(job))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not done and not list((tmp_path / "out").rglob("*.png"))


def test_a_rehearsal_asks_no_network_but_the_text_encoder_and_leaves_the_base(
    spec: Make, tiny_base: Base
) -> None:
    networks: Any = tiny_base.models
    asked: list[str] = []
    hooks = [
        part.register_forward_hook(lambda *_, name=name: asked.append(name))
        for name, part in (("unet", networks.unet), ("vae", networks.vae.encoder), ("vae", networks.vae.decoder))
    ]  # fmt: skip
    dci = {**LAST, "name": "dci", "sample": "dci", "sampling": {"steps": 8}}
    plan = Planner(spec(methods=[{}, LAST, dci]), tiny_base).plan()
    assert rehearse(plan.jobs, tiny_base, {*plan.jobs}) == []  # none is broken off by a mistake
    assert asked == []
    for hook in hooks:
        hook.remove()
    methods.load("sample", "plain")(tiny_base, "a cat", steps=1)  # nothing of it stays behind


def test_what_is_done_is_not_asked_again(
    spec: Make, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, asked, load = Planner(spec(), tiny_base).plan(), list[str](), methods.load

    def watched(verb: str, name: str) -> Any:
        asked.append(name)
        return load(verb, name)

    monkeypatch.setattr(methods, "load", watched)
    rehearse(plan.jobs, tiny_base, set())
    assert asked == []
    rehearse(plan.jobs, tiny_base, {*plan.jobs})
    assert asked  # what is not done is
