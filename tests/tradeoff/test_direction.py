"""Of which metrics less is better: it is said where a metric is declared, and heard wherever one weighs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from motif import methods
from motif.base import Base
from motif.errors import InputError
from motif.features.pictures import Pictures, gather, names
from motif.images import open_picture
from motif.measure.score import Score
from motif.tradeoff.spec import Spec
from motif.tradeoff.sweep import tradeoff

Make = Callable[..., Spec]
DISTANCES = {"kid", "structure", "lpips", "ns-lpips", "mse"}


def darkness(images: Pictures) -> Score:
    """How dark pictures are: more is better, as nothing is said."""
    made = gather(images, "pictures")
    grey = [open_picture(path).image.convert("L") for path in made]
    return Score("darkness", tuple(-sum(one.tobytes()) / one.width for one in grey), {}, {}, names(made))


def light(images: Pictures) -> Score:
    """The same turned round."""
    found = darkness(images)
    return Score("light", tuple(-(value or 0.0) for value in found.per_image))


light.less_is_better = True  # pyright: ignore[reportFunctionMemberAccess]


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both as if a package brought them."""
    here = sys.modules[__name__].__name__
    found = [
        metadata.EntryPoint(f"measure.{name}", f"{here}:{name}", methods.GROUP)
        for name in ("darkness", "light")
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints(found))
    methods.table.cache_clear()
    yield
    methods.table.cache_clear()


def test_distances_say_so_in_the_table() -> None:
    found = {name for name in methods.MEASURE if methods.less_is_better(name)}
    assert found >= DISTANCES and not found & {"clip-i", "clip-t", "dino-i", "psnr", "ssim", "drift"}
    assert methods.less_is_better("light") and not methods.less_is_better("darkness")
    assert not methods.less_is_better("nothing of that name")


def test_less_of_another_package_s_metric_is_better(
    tmp_path: Path, spec: Make, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is best by one is best by the other, which is its negative."""
    ways: list[Any] = [{"sampling": {"guidance": [1.0, 4.0, 9.0]}}]

    def found(metric: str, corner: float) -> Any:
        asked = spec(
            methods=ways, metrics=["clip-t", metric], reference=[-1.0, corner], prompts=["a {concept}"]
        )
        return tradeoff(asked, tmp_path / "out", base=tiny_base)

    with pytest.raises(InputError, match=r"of light less is better: .* reference = \[0.0, 100.0\]"):
        spec(metrics=["clip-t", "light"])
    more, less = found("darkness", -1e6), found("light", 1e6)
    assert [row.name for row in less.front()] == [row.name for row in more.front()]
    assert less.volumes() == pytest.approx(more.volumes())
    assert (
        less.lower == {"light"} and "light (less is better)" in (tmp_path / "out" / "report.html").read_text()
    )


def test_a_search_minimises_it(
    tmp_path: Path, spec: Make, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    class Asked(Exception):
        pass

    def create_study(directions: list[str], **_: Any) -> None:
        asked.append(directions)
        raise Asked

    quiet: Any = type("logging", (), {"ERROR": 0, "set_verbosity": staticmethod(lambda _: None)})
    samplers: Any = type("samplers", (), {"TPESampler": lambda *_, **__: None})
    fake: Any = type("optuna", (), {"create_study": staticmethod(create_study), "logging": quiet,
                                    "samplers": samplers, "__spec__": object()})  # fmt: skip
    monkeypatch.setitem(sys.modules, "optuna", fake)
    ways = [{"sampling": {"guidance": [1.0, 4.0]}}]
    with pytest.raises(Asked):
        tradeoff(
            spec(methods=ways, metrics=["light", "clip-t"], reference=[1e6, -1.0]),
            tmp_path / "out",
            base=tiny_base,
            optimise=3,
        )
    assert asked == [["minimize", "maximize"]]
