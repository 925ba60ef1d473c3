"""`keep best`: the knee by hand, where a run ends, the checkpoint that is chosen, and what cannot be chosen."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from motif import methods
from motif.concept import Concept
from motif.errors import InputError, Interrupted, MissingModel
from motif.learn import Examples
from motif.learn import keep as module
from motif.learn.keep import PLACES, Judge
from motif.learn.knee import Reading, knee, passed
from pieces import Model

PROMPT = "photo of a <new1> cat"
QUICK: dict[str, Any] = {
    "steps": 3, "batch_size": 2, "lr": 1e-2, "preview_every": 0, "prior": "none", "checkpoint_every": 1, "keep": "best",
    "keep_encoder": "pocket", "keep_patience": 0,
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


def test_where_nothing_came_nearer_the_last_is_kept() -> None:
    start, *worse = curve((0.5, 1.0), (0.4, 1.5), (0.3, 1.4))
    assert knee(start, worse) == (2, "the last, for none is more like the photos than the start")


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
        free = [r for r in rest if not any(s.beats(r) for s in rest)]
        heights = {r.step: r.text - start.text - slope * (r.image - start.image) for r in free}
        assert heights[step] == pytest.approx(max(0.0, *heights.values()), abs=1e-6)
        assert heights[other] == pytest.approx(heights[step], abs=1e-6)
    else:
        assert step == other == rest[-1].step


parts = st.lists(st.floats(0.01, 0.2), min_size=2, max_size=10)


@given(parts, st.floats(0, 3), st.integers(1, 4))
def test_a_rising_curve_never_ends_a_run(gains: list[float], rise: float, patience: int) -> None:
    """However unevenly it rises, of both alignments; nor does one that pays for likeness at one price."""
    for price in (rise, -rise):
        image, readings = 0.3, [Reading(0, 0.3, 0.01, 1.5, 0.01)]
        for i, gain in enumerate(gains):
            image += gain
            readings.append(Reading(i + 1, image, 0.01, 1.5 + price * (image - 0.3), 0.01))
        assert passed(readings[0], readings[1:], patience) is None
        assert knee(readings[0], readings[1:])[0] == len(gains)
    uneven = [Reading(r.step, r.image, 0, 1.5 + i**0.3, 0) for i, r in enumerate(readings)]
    assert passed(uneven[0], uneven[1:], patience) is None, "text rises fast and then slowly"


@given(parts, parts, st.floats(0, 1), st.floats(0.1, 3), st.integers(1, 4))
def test_a_curve_with_a_knee_ends_a_run_behind_it(
    before: list[float], behind: list[float], price: float, more: float, patience: int
) -> None:
    """Likeness has one price up to the knee and a higher one behind it: the run ends `patience` checkpoints later, and
    whatever comes then changes nothing."""
    image, text, readings = 0.3, 1.5, [Reading(0, 0.3, 1e-3, 1.5, 0.01)]
    for gains, cost in ((before, price), (behind, price + more)):
        for gain in gains:
            image, text = image + gain, text - cost * gain
            readings.append(Reading(len(readings), image, 1e-3, text, 0.01))
    start, rest = readings[0], readings[1:]
    bend = len(before)
    for n in range(1, len(rest) + 1):
        expected = bend + patience if n >= bend + patience else None
        assert passed(start, rest[:n], patience) == expected
    if len(behind) >= patience:
        assert knee(start, rest[: bend + patience])[0] == bend
    assert passed(start, rest, 0) is None


def test_a_run_ends_behind_the_best_likeness_and_not_behind_noise() -> None:
    start, *falling = curve((0.3, 1.5), (0.5, 1.4), (0.6, 1.2), (0.55, 1.1), (0.5, 1.0))
    assert passed(start, falling, 2) is not None
    start, *noise = curve((0.3, 1.5), (0.311, 1.6), (0.305, 1.5), (0.302, 1.4), (0.305, 1.5))
    assert passed(start, noise, 2) is None, "within the errors nothing was learned yet"


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


def test_where_nothing_was_learned_the_run_says_so(
    sd1: Model,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Judge, "read", lambda self, dressed, step: Reading(step, -step, 0.0, 1.0, 0.0))
    learn = methods.load("learn", "textual-inversion")
    kept = learn(sd1.base, Examples(photos, PROMPT), **QUICK, folder=tmp_path)
    assert kept == Concept.load(tmp_path / "concept-0003.safetensors")
    assert [r.levelname for r in caplog.records if "none is more like the photos" in r.message] == ["WARNING"]


KNEE = {0: (0.3, 1.5), 2: (0.5, 1.45), 4: (0.6, 1.4), 6: (0.62, 1.2), 8: (0.63, 1.1), 10: (0.64, 1.0)}
ENDS = QUICK | {"steps": 10, "checkpoint_every": 2, "keep_patience": 2}


@pytest.fixture
def read_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Readings by a curve whose knee is at step 4; the steps that were read."""
    steps = list[int]()

    def read(self: Judge, dressed: Any, step: int) -> Reading:
        steps.append(step)
        return Reading(step, KNEE[step][0], 0.01, KNEE[step][1], 0.01)

    monkeypatch.setattr(Judge, "read", read)
    return steps


def test_a_run_ends_when_the_knee_is_passed_and_is_finished(
    small: Model, photos: Path, tmp_path: Path, read_steps: list[int]
) -> None:
    learn, examples, taken = methods.load("learn", "custom-diffusion"), Examples(photos, PROMPT), list[int]()
    kept = learn(small.base, examples, **ENDS, folder=tmp_path, on_progress=lambda p: taken.append(p.step))
    assert taken == [*range(1, 9)] and read_steps == [0, 2, 4, 6, 8]
    assert kept == Concept.load(tmp_path / "concept-0004.safetensors")
    told = json.loads((tmp_path / "keep.json").read_text())
    assert (told["kept"], told["ended"], told["patience"]) == (4, 8, 2)
    again = learn(
        small.base, examples, **ENDS, folder=tmp_path, resume=True, on_progress=lambda p: pytest.fail()
    )
    assert again == kept and read_steps == [0, 2, 4, 6, 8], "nothing is drawn twice"
    whole = learn(small.base, examples, **ENDS | {"keep_patience": 0}, folder=tmp_path, resume=True)
    assert whole == kept and (tmp_path / "concept-0010.safetensors").is_file()
    learn(small.base, examples, **ENDS, folder=tmp_path)  # a finished one is replaced
    assert not (tmp_path / "concept-0010.safetensors").exists()


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_run_that_was_stopped_anywhere_ends_at_the_same_step(
    sd1: Model, photos: Path, tmp_path: Path, read_steps: list[int], stop: int
) -> None:
    """A stop leaves a checkpoint of its own step, which is none of the curve's."""
    learn, examples = methods.load("learn", "textual-inversion"), Examples(photos, PROMPT)
    whole = learn(sd1.base, examples, **ENDS, folder=tmp_path / "whole")

    def press(progress: Any) -> None:
        if progress.step == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        learn(sd1.base, examples, **ENDS, folder=tmp_path / "parts", on_progress=press)
    read_steps.clear()
    parts = learn(sd1.base, examples, **ENDS, folder=tmp_path / "parts", resume=True)
    assert parts == whole
    told = [json.loads((tmp_path / name / "keep.json").read_text()) for name in ("whole", "parts")]
    assert told[0] == told[1] and len(read_steps) == len(set(read_steps))


def test_a_run_beyond_its_knee_ends_where_it_would_have(
    sd1: Model, photos: Path, tmp_path: Path, read_steps: list[int]
) -> None:
    """Of a leg that was not judged, later checkpoints are not looked at."""
    learn, examples = methods.load("learn", "textual-inversion"), Examples(photos, PROMPT)
    whole = learn(sd1.base, examples, **ENDS, folder=tmp_path / "whole")
    first = {k: v for k, v in ENDS.items() if not k.startswith("keep")}
    learn(sd1.base, examples, **first | {"steps": 9}, folder=tmp_path / "parts")
    read_steps.clear()
    parts = learn(
        sd1.base,
        examples,
        **ENDS,
        folder=tmp_path / "parts",
        resume=True,
        on_progress=lambda p: pytest.fail(),
    )
    assert parts.tokens["<new1>"][0].equal(whole.tokens["<new1>"][0]) and read_steps == [0, 2, 4, 6, 8]
    assert json.loads((tmp_path / "parts/keep.json").read_text())["ended"] == 8


@pytest.mark.parametrize("name", sorted(methods.LEARN))
def test_there_are_ten_checkpoints_to_choose_among(name: str, sd1: Model, photos: Path) -> None:
    settle, examples = methods.load("learn", name).settle, Examples(photos, PROMPT)
    assert settle(sd1.base, examples, steps=200, keep="best")["checkpoint_every"] == 20
    assert settle(sd1.base, examples, steps=4, keep="best")["checkpoint_every"] == 1
    assert settle(sd1.base, examples, steps=200, keep="best", checkpoint_every=7)["checkpoint_every"] == 7
    usual = 500 if name in ("dreambooth", "fine-tune-all") else 50
    assert settle(sd1.base, examples, steps=200)["checkpoint_every"] == usual


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("photo of a <new1> cat", "a <new1> cat"),
        ("photo of a <new1>", "photo of a <new1>"),
        ("painting in the style of <new1> art", "painting in the style of <new1> art"),
        ("a house in <new1> style", "a house in <new1> style"),
    ],
)
def test_the_judge_asks_for_what_the_photos_show(sd1: Model, photos: Path, prompt: str, words: str) -> None:
    """A style is asked for in the concept's own words."""
    judge = Judge.of(sd1.base, (Examples(photos, prompt),), previews=(), encoder="pocket", side=16)
    assert judge.prompts == tuple(f"{words} {place}" for place in PLACES)


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
    last = {k: v for k, v in QUICK.items() if not k.startswith("keep")}
    first = last | {"steps": 2}
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
    learn(sd1.base, examples, **last, folder=tmp_path / "parts")
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
        ({"keep": "last", "keep_encoder": ""}, "keep_patience is of keep best"),
        ({"keep_patience": -1}, "keep_patience -1"),
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
