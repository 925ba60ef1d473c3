"""Parts of a bench that goes on over sessions: made once, known by what they depend on, dealt out to processes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from motif.measure import Score

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
cells: Any = importlib.import_module("cells")
parts: Any = importlib.import_module("editing_parts")
report: Any = importlib.import_module("editing_report")


class Maker:
    """An edit of two pictures that counts how often it was made."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Any:
        self.times += 1
        images = [Image.new("RGB", (4, 6), (value, self.times, 0)) for value in (10, 200)]
        scores = {"x": Score("made-up", (1 / 3, None))}
        return parts.Result([0, 4], images, 2.5, 30, scores, {"forwards": 3.0})


def test_a_part_is_made_once_and_comes_back_with_its_pictures(tmp_path: Path) -> None:
    plan, make = parts.Plan(5, 3, tmp_path / "kept", tmp_path / "out"), Maker()
    made = parts.kept(plan, "ddim p2p + blend", "of this", make)
    again = parts.kept(plan, "ddim p2p + blend", "of this", make)
    assert make.times == 1 and [path.name for path in plan.parts.iterdir()] == ["ddim-p2p-blend.result"]
    assert made.scores == again.scores and again.scores["x"].per_image == (0.33333, None)
    assert [each.tobytes() for each in made.images] == [each.tobytes() for each in again.images]
    assert (again.cases, again.seconds, again.cost) == ([0, 4], 2.5, {"forwards": 3.0})
    assert again.machine and again.day and again.code


def test_a_part_of_other_weights_is_made_anew_and_its_pictures_are_its_own(tmp_path: Path) -> None:
    plan, make = parts.Plan(5, 3, tmp_path / "kept", tmp_path / "out"), Maker()
    parts.kept(plan, "ddim p2plus", "of this", make)
    other = parts.kept(plan, "ddim p2plus", "of that", make)
    assert make.times == 2 and other.images[0].getpixel((0, 0)) == (10, 2, 0)
    assert len([*plan.parts.iterdir()]) == 1


def test_scores_travel_without_pictures_and_those_are_made_again_where_asked(tmp_path: Path) -> None:
    make = Maker()
    here, there = (parts.Plan(5, 3, tmp_path / "kept", tmp_path / name) for name in ("here", "there"))
    parts.kept(here, "ddim p2plus", "of this", make)
    found = parts.kept(there, "ddim p2plus", "of this", make)
    assert make.times == 1 and found.images == [] and found.scores
    assert report.part(found, [4]).images == []
    report.sheets([], {("ddim", "p2plus"): found}, tmp_path)
    assert not [*tmp_path.glob("*.png")]
    whole = parts.Plan(5, 3, tmp_path / "kept", tmp_path / "there", again=True)
    assert len(parts.kept(whole, "ddim p2plus", "of this", make).images) == 2 and make.times == 2
    parts.kept(whole, "ddim p2plus", "of this", make)
    assert make.times == 2


def test_a_stopped_part_leaves_nothing_that_looks_done(tmp_path: Path) -> None:
    def stopped() -> Any:
        raise KeyboardInterrupt

    plan, make = parts.Plan(5, 3, tmp_path / "kept", tmp_path / "out"), Maker()
    with pytest.raises(KeyboardInterrupt):
        parts.kept(plan, "ddim p2plus", "of this", stopped)
    assert not plan.parts.exists()
    parts.kept(plan, "ddim p2plus", "of this", make)
    assert make.times == 1


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_all_parts_together_are_the_whole_work(count: int) -> None:
    work = [*range(5)]
    dealt = [cells.share(work, cells.part_of(f"{k}/{count}")) for k in range(1, count + 1)]
    assert sorted(each for some in dealt for each in some) == work
    assert cells.share(work, None) == work


@pytest.mark.parametrize("word", ["0/2", "3/2", "1", "a/2", "1/0", ""])
def test_a_part_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        cells.part_of(word)
