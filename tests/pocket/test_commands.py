"""`motif pocket`: what it refuses, and what a small world comes to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from motif.cli import main, pocket
from motif.pocket.recipe.card import PARTS
from motif.pocket.recipe.settings import SIZES, STAGES
from motif.pocket.world import held_out, shards, tracing


def test_the_choices_are_the_recipes() -> None:
    assert pocket.STAGES == STAGES and set(pocket.SIZES) == set(SIZES)
    assert tuple(PARTS) == pocket.CARD


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "minutes"),
        (["--minutes", "-5"], "minutes"),
        (["--stages", "vea"], "vea"),
        (["--size", "huge"], "huge"),
        (["--shards", "nowhere"], "no shards"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--device", "graphics"], "use cpu, cuda or cuda:1"),
    ],
)
def test_training_refuses(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pocket", "train", "--run", "run", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said


def test_a_small_world_its_crowd_and_those_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mitsuba")
    monkeypatch.setattr(shards, "CROWD", 1)
    monkeypatch.setattr(shards, "APART", 1)
    words = ["pocket", "render", "--shards", str(tmp_path), "--workers", "1", "--samples"]
    assert main([*words, "1", "--count", "0"]) == 0
    assert {"apart-0000.avif", "crowd-0000.avif", "world.json"} <= set(os.listdir(tmp_path))
    assert not list(tmp_path.glob("train-*"))
    assert main([*words, "1", "--count", "2"]) == 0
    assert len(shards.read_shards(tmp_path).scenes) == 2
    assert main([*words, "8"]) == 2
    assert "rendered with samples 1, not 8" in capsys.readouterr().err


def test_without_a_renderer_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracing._mitsuba.cache_clear()
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    assert main(["pocket", "render", "--shards", str(tmp_path / "s"), "--count", "1"]) == 2
    assert "pip install 'motif[pocket]'" in capsys.readouterr().err and not (tmp_path / "s").exists()


def test_the_held_out_sets_are_rendered_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    made: Callable[..., None] = lambda out, **rest: asked.extend([out, rest["samples"]])  # noqa: E731
    monkeypatch.setattr(held_out, "held_out", made)
    assert main(["pocket", "render", "--held-out", str(tmp_path / "h"), "--samples", "9"]) == 0
    assert asked == [tmp_path / "h", 9]


@pytest.mark.parametrize("option", ["--seed", "--count", "--workers"])
def test_held_out_sets_are_of_no_seed_and_no_count(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pocket", "render", "--held-out", str(tmp_path / "h"), option, "3"]) == 2
    assert f"{option} is of shards" in capsys.readouterr().err and not (tmp_path / "h").exists()
