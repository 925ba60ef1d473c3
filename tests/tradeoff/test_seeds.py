"""Pictures are known by their own seeds: another list of seeds draws what is not there, and stops change nothing."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motif import methods
from motif.base import Base
from motif.errors import Interrupted
from motif.tradeoff.jobs import Draw, blocks
from motif.tradeoff.plan import Planner
from motif.tradeoff.spec import Spec
from motif.tradeoff.store import Store
from motif.tradeoff.sweep import tradeoff
from motif.tradeoff.work import batches

Make = Callable[..., Spec]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The seeds of every pass of plain sampling from now on."""
    real, load, found = methods.load("sample", "plain"), methods.load, list[tuple[int, ...]]()

    def draw(base: Base, prompt: str, **given: Any) -> Any:
        found.append(tuple(range(given["seed"], given["seed"] + given["n"])))
        return real(base, prompt, **given)

    draw.__signature__ = inspect.signature(real)  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setattr(methods, "load", lambda verb, name: draw if verb == "sample" else load(verb, name))
    monkeypatch.setattr("motif.tradeoff.sweep.rehearse", lambda *_: [])
    return found


def test_more_seeds_draw_more_pictures_and_keep_those_that_are_there(
    tmp_path: Path, spec: Make, tiny_base: Base, passes: list[tuple[int, ...]]
) -> None:
    """Still several at a time; whatever the list of seeds was before."""

    def drawn(seeds: Any, pictures: int, size: int = 4) -> list[tuple[int, ...]]:
        few = spec(methods=[{}], prompts=["a {concept}"], metrics=["clip-i"], seeds=seeds, batch_size=size)
        passes.clear()
        (row,) = tradeoff(few, tmp_path / "out", base=tiny_base).rows
        assert row.values["clip-i"].n == pictures
        return list(passes)

    def there() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").rglob("*.png")}

    assert drawn(2, 2) == [(0, 1)]
    first = there()
    assert drawn(6, 6) == [(2, 3), (4, 5)] and first.items() <= there().items()
    assert drawn(3, 3) == [] and drawn([5, 1], 2) == []
    assert drawn([3, 8, 4], 3) == [(8,)] and drawn(10, 10, 8) == [(6, 7), (9,)]
    assert sorted(there()) == [f"{seed}.png" for seed in range(10)]


def test_a_picture_that_depends_on_those_beside_it_is_drawn_with_them(
    tiny_base: Base, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ELITE's maximum over the batch, as released: more seeds are other pictures."""

    def addresses(seeds: int, maximum: str) -> set[str]:
        way = {"sample": "elite", "sampling": {"maximum": maximum}}
        jobs = Planner(spec(methods=[way], seeds=seeds), tiny_base).plan().jobs
        return {where for job in jobs if isinstance(job, Draw) for where in job.makes}

    assert addresses(2, "image") < addresses(3, "image")
    assert not addresses(2, "release") & addresses(3, "release")


def test_what_was_drawn_together_before_a_stop_is_drawn_together_again(
    tmp_path: Path, spec: Make, tiny_base: Base, passes: list[tuple[int, ...]], monkeypatch: Any
) -> None:
    """A stop between two pictures of one pass: not even rounding tells it from a run to the end."""
    few = partial(spec, methods=[{}], prompts=["a {concept}"], metrics=["clip-i"])

    def pictures(folder: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / folder / "results").rglob("*.png")}

    def told(folder: str) -> list[list[int]]:
        files = [path.with_name("result.json") for path in (tmp_path / folder / "results").rglob("*.png")]
        return sorted(json.loads(file.read_text())["drawn_with"] for file in files)

    for seeds in (2, 6):
        tradeoff(few(seeds=seeds), tmp_path / "whole", base=tiny_base)
    tradeoff(few(seeds=2), tmp_path / "out", base=tiny_base)
    making = Store.making

    def breaks(self: Store, address: str) -> Any:
        if len(pictures("out")) == 4:
            raise KeyboardInterrupt
        return making(self, address)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "making", breaks)
        with pytest.raises(Interrupted):
            tradeoff(few(seeds=6), tmp_path / "out", base=tiny_base)
    assert len(pictures("out")) == 4
    passes.clear()
    tradeoff(few(seeds=6), tmp_path / "out", base=tiny_base)
    assert passes == [(2, 3, 4, 5)]
    assert pictures("out") == pictures("whole") and told("out") == told("whole")


SEEDS = st.lists(st.integers(0, 9), min_size=1, max_size=8, unique=True)


@given(st.lists(st.tuples(SEEDS, st.integers(1, 5), st.integers(0, 9)), max_size=3), SEEDS, st.integers(1, 5),
       st.lists(st.integers(0, 4), max_size=3))  # fmt: skip
def test_stops_change_nothing_of_what_is_drawn_with_what(
    before: list[tuple[list[int], int, int]], seeds: list[int], size: int, stops: list[int]
) -> None:
    """Whatever a folder holds of other lists of seeds, whole or broken off: with any stops, the same passes give the
    same pictures as without."""
    held: dict[str, tuple[int, ...]] = {}
    kept: Any = SimpleNamespace(has=held.__contains__, result=lambda address: {"drawn_with": held[address]})

    def draws(seeds: list[int], size: int, most: int) -> None:
        """Until so many pictures are made."""
        for block in blocks(seeds, size):
            job = Draw({seed: str(seed) for seed in block}, "", "", {}, "")
            for batch in batches(job, kept):
                for seed in batch:
                    if job.gives[seed] not in held and most > 0:
                        held[job.gives[seed]], most = batch, most - 1

    for some, few, most in before:
        draws(some, few, most)
    start = dict(held)
    draws(seeds, size, 99)
    whole = dict(held)
    held.clear()
    held.update(start)
    for most in stops:
        draws(seeds, size, most)
    draws(seeds, size, 99)
    assert held == whole and {*map(str, seeds)} <= held.keys()
