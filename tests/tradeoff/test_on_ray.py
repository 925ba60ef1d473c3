"""Workers that are Ray's: with Ray where it is installed, and with one of the test's own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from motif.base import Base
from motif.errors import InputError
from motif.tradeoff.scatter import Done, crew
from motif.tradeoff.spec import Spec
from motif.tradeoff.store import Store
from motif.tradeoff.sweep import Sweep, tradeoff
from motif.tradeoff.work import Setup

Make = Callable[..., Spec]


class RayError(Exception):
    """What Ray raises for an actor that died."""


class Ray:
    """Gives out what its nodes have, and calls nothing: a job is done when its actor is placed."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, *nodes: dict[str, float]) -> None:
        self.given, self.started, self.made = nodes, dict[str, Any](), list[Any]()
        self.held, self.waited = False, list[float | None]()

    def is_initialized(self) -> bool:
        return bool(self.started)

    def init(self, **asked: Any) -> None:
        self.started = asked

    def shutdown(self) -> None:
        self.started = {}

    def nodes(self) -> list[dict[str, Any]]:
        """One of them is gone."""
        here = self.given or ({"CPU": self.started.get("num_cpus", 0)},)
        told = [{"Alive": True, "Resources": {"memory": 1e9, **node}} for node in here]
        return [*told, {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 99.0}}]

    def remote(self, **wants: Any) -> Any:
        ray = self

        class Actor:
            def __init__(self, *args: Any) -> None:
                self.wants, self.setup = wants, args[0]
                ray.made.append(self)
                self.do = SimpleNamespace(remote=lambda number, job: (self, number, job))
                self.here = SimpleNamespace(remote=lambda: (self, None, "here"))

        return lambda kind: SimpleNamespace(remote=Actor)

    def wait(
        self, refs: Sequence[Any], num_returns: int, timeout: float | None = None
    ) -> tuple[list[Any], list[Any]]:
        self.waited.append(timeout)
        if self.held and timeout is not None:
            return [], [*refs]
        return [*refs[:num_returns]], [*refs[num_returns:]]

    def get(self, ref: Any) -> Done:
        if ref[2] == "deadly":
            raise RayError("the actor died\nbecause")
        return Done(ref[1])

    def kill(self, actor: Any) -> None:
        pass


@pytest.fixture
def ray_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ray]:
    """A Ray of such nodes in the place of the real one."""

    def made(*nodes: dict[str, float]) -> Ray:
        fake = Ray(*nodes)
        monkeypatch.setitem(sys.modules, "ray", fake)
        return fake

    return made


def setup(folder: Path, **more: Any) -> Setup:
    return Setup(str(folder), "pocket", "", **more)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_ray_gives_the_loops_numbers(tmp_path: Path, spec: Make, tiny_base: Base) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra scale)")
    small = spec(prompts=["a {concept}"])
    first = tradeoff(small, tmp_path / "loop", base=tiny_base)
    second = tradeoff(small, tmp_path / "ray", on="ray", workers=2, device="cpu")
    assert not second.failures and second.as_dict() == first.as_dict()


def test_without_ray_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"motif\[scale\]"):
        crew("ray", setup(tmp_path), workers=1)


def test_a_ray_that_does_not_start_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**_: Any) -> None:
        raise Exception("the node timed out\nduring startup")

    fake = type("Ray", (), {"is_initialized": staticmethod(lambda: False), "init": staticmethod(late)})
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(InputError, match=r"^Ray cannot start at this machine: the node timed out$"):
        crew("ray", setup(tmp_path), workers=1)


def test_ray_is_asked_for_actors_and_a_dead_one_is_replaced(
    tmp_path: Path, ray_of: Callable[..., Ray]
) -> None:
    """Each job goes to a free actor, results are files, a death fails one job."""
    fake = ray_of()
    hands: Any = crew("ray", setup(tmp_path, threads=3), workers=2)
    assert fake.started == {
        "num_cpus": 6,
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "ERROR",
    }

    class Named(str):
        label = "deadly"

    hands.give(0, "a")
    hands.give(1, Named("deadly"))
    assert [hands.take().number, len(fake.made)] == [0, 2]
    died = hands.take()
    assert died.failure and died.failure.why == "its actor ended: the actor died"
    hands.give(2, "b")
    hands.give(3, "c")
    assert len(fake.made) == 3 and fake.made[0].wants == {"num_cpus": 3}
    hands.close()
    assert fake.started == {}


@pytest.mark.parametrize(
    ("nodes", "more", "room"),
    [
        ([{"CPU": 2.0}, {"CPU": 2.0}, {"CPU": 2.0}], {"threads": 3}, 0),  # six of them, and three nowhere
        ([{"CPU": 64.0}, {"CPU": 2.0}], {"device": "cuda"}, 0),
        ([{"CPU": 7.0}, {"CPU": 2.0}], {"threads": 3}, 2),
        ([{"CPU": 1.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 0.5}], {"device": "cuda"}, 1),
        ([{"CPU": 1.0, "GPU": 8.0}], {"device": "cuda:0", "threads": 4}, 4),
        ([{"CPU": 8.0}], {"device": "cpu", "threads": 2}, 4),
    ],
)  # fmt: skip
def test_no_more_actors_start_than_have_room(
    tmp_path: Path, ray_of: Callable[..., Ray], caplog: pytest.LogCaptureFixture, nodes: list[dict[str, float]],
    more: dict[str, Any], room: int,
) -> None:  # fmt: skip
    """Ray lets those wait for ever that no node has room for."""
    fake = ray_of(*nodes)
    if not room:
        with pytest.raises(InputError, match=r"^Ray at 10.0.0.1 has no node with (3 CPU|1 GPU), which is"):
            crew("ray", setup(tmp_path, **more), workers=4, at="10.0.0.1")
        assert fake.started == {}, "it is let go"
        return
    hands = crew("ray", setup(tmp_path, **more), workers=4, at="10.0.0.1")
    assert hands.hands == room
    told = f"Ray at 10.0.0.1 has room for {room} of 4 workers"
    assert (told in caplog.text) == (room < 4)


def test_workers_on_gpus_get_one_each_and_see_no_other(tmp_path: Path, ray_of: Callable[..., Ray]) -> None:
    fake = ray_of({"CPU": 8.0, "GPU": 2.0})
    hands: Any = crew("ray", setup(tmp_path, device="cuda:0", precision="bf16"), workers=2, at="here")
    hands.give(0, "a")
    assert fake.made[0].wants == {"num_gpus": 1, "num_cpus": 0}
    assert (fake.made[0].setup.device, fake.made[0].setup.precision) == ("cuda", "bf16")
    with pytest.raises(InputError, match="Ray deals out GPUs itself"):
        crew("ray", setup(tmp_path, device="cuda:1"), workers=2, at="here")


def test_actors_that_wait_for_what_others_hold_are_told_of(
    tmp_path: Path, ray_of: Callable[..., Ray], caplog: pytest.LogCaptureFixture
) -> None:
    fake = ray_of({"CPU": 8.0})
    hands: Any = crew("ray", setup(tmp_path), workers=2, at="here")
    hands.give(0, "a")
    assert hands.take().number == 0 and not caplog.text
    fake.held = True
    hands.give(1, "b")
    hands.give(2, "c")
    with caplog.at_level(logging.WARNING):
        assert hands.take().number in (1, 2)
    assert "2 of 2 workers wait for their places" in caplog.text
    assert fake.waited[-1] is None, "it goes on as soon as there is a place"


@pytest.mark.parametrize(("asked", "device"), [("", "cuda:0"), ("cuda", "cuda")])
def test_workers_take_the_device_and_the_precision_that_the_base_has_here(
    tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch, asked: str, device: str
) -> None:
    """Where nothing is said of them, a worker that sees no GPU would take others, and be another model."""
    base: Any = SimpleNamespace(
        device=torch.device("cuda:0"), dtype=torch.bfloat16, origin=SimpleNamespace(fingerprint="0123")
    )
    found: list[Setup] = []
    monkeypatch.setattr("motif.tradeoff.sweep.crew", lambda on, setup, **_: found.append(setup))
    Sweep(spec(), base, Store(tmp_path), "ray", device=asked).crew()
    assert (found[0].device, found[0].precision, found[0].fingerprint) == (device, "bf16", "0123")
