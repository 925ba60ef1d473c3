"""`keep best`: the knee by hand, the checkpoint that is chosen, and what cannot be chosen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from motif import methods
from motif.concept import Concept
from motif.errors import InputError, MissingModel
from motif.learn import Examples
from motif.learn import keep as module
from motif.learn.keep import Judge, Reading, knee
from pieces import Model

PROMPT = "photo of a <new1> cat"
QUICK: dict[str, Any] = {
    "steps": 3, "batch_size": 2, "lr": 1e-2, "preview_every": 0, "prior": "none", "checkpoint_every": 1, "keep": "best",
    "keep_encoder": "pocket",
}  # fmt: skip
Learn = Callable[..., Concept]


def curve(*points: tuple[float, float]) -> list[Reading]:
    return [Reading(i, image, 0.01, text, 0.01) for i, (image, text) in enumerate(points)]


# -- the rule --------------------------------------------------------------------------------------------------------


def test_the_knee_of_a_curve_drawn_by_hand() -> None:
    """Likeness rises fast and then slowly, text falls slowly and then fast."""
    start, *rest = curve((0.3, 1.8), (0.5, 1.75), (0.6, 1.6), (0.65, 1.3))
    step, why = knee(start, rest)
    assert step == 1 and why.startswith("57% of the gain in image alignment, and text alignment 0.236 above")


def test_on_a_straight_line_or_below_it_the_likest_is_kept() -> None:
    start, *straight = curve((0.0, 1.0), (0.25, 0.75), (0.5, 0.5))
    assert knee(start, straight)[0] == 2
    start, *below = curve((0.0, 1.0), (0.1, 0.2), (0.5, 0.5), (0.4, 0.4))
    assert knee(start, below)[0] == 2


def test_where_nothing_came_nearer_the_last_is_kept_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    start, *worse = curve((0.5, 1.0), (0.4, 1.5), (0.3, 1.4))
    assert knee(start, worse)[0] == 2 and "was anything learned?" in caplog.text


points = st.lists(
    st.tuples(st.floats(0, 1, allow_subnormal=False), st.floats(0, 2.5, allow_subnormal=False)),
    min_size=3,
    max_size=8,
)


@given(points, st.floats(0.5, 4), st.floats(-1, 1), st.floats(0.5, 4), st.floats(-1, 1))
def test_the_choice_knows_no_scale(
    drawn: list[tuple[float, float]], a: float, b: float, c: float, d: float
) -> None:
    """Of neither axis: encoders whose cosines are stretched or shifted choose the same, but for ties."""
    start, *rest = curve(*((round(i, 2), round(t, 2)) for i, t in drawn))
    step, _ = knee(start, rest)
    moved = [Reading(r.step, a * r.image + b, 0, c * r.text + d, 0) for r in (start, *rest)]
    other, _ = knee(moved[0], moved[1:])
    top = max(rest, key=lambda r: r.image)
    if top.image > start.image:
        slope = (top.text - start.text) / (top.image - start.image)
        heights = {r.step: r.text - start.text - slope * (r.image - start.image) for r in rest}
        assert heights[step] == pytest.approx(max(0.0, *heights.values()), abs=1e-6)
        assert heights[other] == pytest.approx(heights[step], abs=1e-6)
    else:
        assert step == other == rest[-1].step


# -- a run -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEEDS", (0, 1))
    monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(module, "PLACES", ("on the beach",))


@pytest.mark.parametrize("name", sorted(methods.LEARN))
def test_every_method_keeps_the_checkpoint_that_it_says(
    name: str, sd1: Model, photos: Path, tmp_path: Path, quick: None
) -> None:
    learn, examples = methods.load("learn", name), Examples(photos, PROMPT)
    kept = learn(sd1.base, examples, **QUICK, folder=tmp_path)
    told = json.loads((tmp_path / "keep.json").read_text())
    assert kept == Concept.load(tmp_path / f"concept-{told['kept']:04d}.safetensors")
    assert kept.record.settings["keep"] == "best" and told["prompts"] == ["a <new1> cat on the beach"]
    assert [r["step"] for r in told["checkpoints"]] == [1, 2, 3] and told["start"]["step"] == 0
    readings = [Reading(**r) for r in told["checkpoints"]]
    assert knee(Reading(**told["start"]), readings) == (told["kept"], told["why"])
    with Image.open(tmp_path / "keep.png") as plot:
        assert plot.size == (500, 400)


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_it_is_the_knee_that_is_kept(
    small: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    """Whatever the readings say, and not the last."""

    def read(self: Judge, dressed: Any, step: int) -> Reading:
        return Reading(step, 0.1 * step, 0.0, 2.0 if step == wanted else 1.0 - 0.1 * step, 0.0)

    monkeypatch.setattr(Judge, "read", read)
    learned = methods.load("learn", "custom-diffusion")(
        small.base, Examples(photos, PROMPT), **QUICK, folder=tmp_path
    )
    assert learned == Concept.load(tmp_path / f"concept-000{wanted}.safetensors")


def test_a_resumed_run_chooses_among_all_its_checkpoints(
    sd1: Model, photos: Path, tmp_path: Path, quick: None
) -> None:
    """And one that has ended chooses without a step; how a run ends is no part of what it is known by."""
    learn, examples, seen = methods.load("learn", "textual-inversion"), Examples(photos, PROMPT), list[int]()
    whole = learn(sd1.base, examples, **QUICK, folder=tmp_path / "whole")
    first = QUICK | {"steps": 2, "keep": "last", "keep_encoder": ""}
    learn(sd1.base, examples, **first, folder=tmp_path / "parts")
    parts = learn(sd1.base, examples, **QUICK, folder=tmp_path / "parts", resume=True)
    assert parts.tokens["<new1>"][0].equal(whole.tokens["<new1>"][0])
    told = [json.loads((tmp_path / name / "keep.json").read_text()) for name in ("whole", "parts")]
    assert told[0]["checkpoints"] == told[1]["checkpoints"] and told[0]["start"] == told[1]["start"]
    learn(
        sd1.base, examples, **QUICK, folder=tmp_path / "parts", resume=True,
        on_progress=lambda p: seen.append(p.step),
    )  # fmt: skip
    assert not seen
    learn(sd1.base, examples, **QUICK | {"keep": "last", "keep_encoder": ""}, folder=tmp_path / "parts")
    assert not (tmp_path / "parts/keep.json").exists() and not (tmp_path / "parts/keep.png").exists()


def test_checkpoints_are_judged_with_what_the_base_wears_once(
    sd1: Model, photos: Path, tmp_path: Path, quick: None
) -> None:
    learn = methods.load("learn", "textual-inversion")
    first = learn(sd1.base, Examples(photos, PROMPT), **QUICK, folder=tmp_path / "a")
    examples = Examples(photos, "photo of a <new2> tea")
    both = learn(sd1.base.wear(first), examples, **QUICK, initial="tea", folder=tmp_path / "b")
    assert list(both.tokens) == ["<new1>", "<new2>"]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"checkpoint_every": 3}, "leave one"),
        ({"folder": None}, "run's folder"),
        ({"keep": "last"}, "keep_encoder is of keep best"),
        ({"previews": ["<new1>"], "preview_every": 1}, "empty without its concept token"),
    ],
)
def test_what_cannot_be_chosen_is_refused_before_any_work(
    sd1: Model, photos: Path, tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    told = QUICK | {"folder": tmp_path / "run"} | settings
    with pytest.raises(InputError, match=word):
        methods.load("learn", "textual-inversion")(
            sd1.base, Examples(photos, PROMPT), **told, on_progress=lambda _: pytest.fail("a step was taken")
        )
    assert not (tmp_path / "run").exists()


def test_an_encoder_that_is_not_here_is_missed_before_any_work(
    sd1: Model, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingModel):
        methods.load("learn", "textual-inversion")(
            sd1.base, Examples(photos, PROMPT), **QUICK | {"keep_encoder": ""}, folder=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()
