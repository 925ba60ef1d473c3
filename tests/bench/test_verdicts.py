"""What the editing benches conclude, from made-up scores: every word, and none where nothing can be said."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motif.measure.score import Score
from motif.tradeoff import digest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
cells: Any = importlib.import_module("cells")
curves: Any = importlib.import_module("curves")
custom_edit: Any = importlib.import_module("custom_edit")
editing: Any = importlib.import_module("editing")
ico_schemes: Any = importlib.import_module("ico_schemes")
editing_cases: Any = importlib.import_module("editing_cases")
report: Any = importlib.import_module("editing_report")
speed: Any = importlib.import_module("invert_speed")
page: Any = importlib.import_module("reproduction")
results: Any = importlib.import_module("results")

HOLDS, NOT, UNDECIDED = page.HOLDS, page.NOT, page.UNDECIDED
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
JITTER = (0.01, -0.02, 0.015, -0.005, 0.0, 0.008)


def line(
    height: float, jitter: Sequence[float] = JITTER, low: float = 0.0
) -> dict[str, list[tuple[float, float]]]:
    """A falling curve of each unit, `height` at x = 0, and a little beside it."""
    return {str(i): [(low + s, height - s + e) for s in STRENGTHS] for i, e in enumerate(jitter)}


def said(value: Any) -> str:
    return page.word_of(value.mean, value.error)


def test_a_curve_that_lies_above_holds_and_below_does_not() -> None:
    above = curves.over(line(1.2), line(1.0))
    assert above.mean == pytest.approx(0.2) and said(above) == HOLDS
    below = curves.over(line(1.0), line(1.2))
    assert below.mean == pytest.approx(-0.2) and said(below) == NOT


def test_pictures_that_disagree_decide_nothing() -> None:
    torn = line(1.0, (0.9, -0.8, 0.7, -0.9, 0.8, -0.6))
    value = curves.over(torn, line(1.0))
    assert value.error > 0.1 and said(value) == UNDECIDED
    assert said(curves.over(line(1.0), line(1.0))) == UNDECIDED, "no difference at all"


def test_the_error_is_of_the_mean_over_the_units() -> None:
    """For parallel lines the bootstrap is the standard error of the units' differences."""
    gaps = (0.1, 0.3, 0.2, 0.5, 0.0, 0.4, 0.25, 0.15)
    value = curves.over(line(1.0, gaps), line(1.0, (0.0,) * 8))
    wanted = results.Value.of({str(i): [gap] for i, gap in enumerate(gaps)})
    assert value.mean == pytest.approx(wanted.mean) and value.error == pytest.approx(wanted.error, rel=0.1)


def test_curves_that_share_no_point_decide_nothing() -> None:
    value = curves.over(line(5.0), line(1.0, low=3.0))
    assert value.error is None and value.note == curves.APART and said(value) == UNDECIDED
    # here the means meet, but one of the two units reaches nowhere near the other curve
    far = {"0": [(0.0, 1.0), (1.0, 0.9)], "1": [(8.0, 1.0), (9.0, 0.9)]}
    close = {"0": [(4.2, 0.0), (5.0, 0.0)], "1": [(4.2, 0.0), (5.0, 0.0)]}
    value = curves.over(far, close)
    assert said(value) == UNDECIDED and "of resamples" in value.note


def test_one_unit_decides_nothing() -> None:
    value = curves.over(line(9.0, (0.0,)), line(1.0, (0.0,)))
    assert value.mean == pytest.approx(8.0) and value.error is None and said(value) == UNDECIDED
    assert said(curves.over({}, line(1.0))) == UNDECIDED


def test_a_bent_curve_is_joined_along_its_strengths() -> None:
    """Sorted by x it would zigzag between its two arms; joined in order both are passed at x = 1, at 4 and at 0."""
    import numpy as np

    bent = np.array([(0.0, 4.0), (2.0, 4.0), (2.0, 0.0), (0.5, 0.0)])
    assert curves.heights(bent, np.array([0.2, 1.0, 2.0])) == pytest.approx([4.0, 2.0, 2.0])
    units = {str(i): [(x, y + e) for x, y in bent] for i, e in enumerate(JITTER)}
    value = curves.over(units, {str(i): [(0.5, 1.0), (2.0, 1.0)] for i in range(6)})
    assert value.mean == pytest.approx(1.0, abs=0.01) and said(value) == HOLDS


# -- bench/editing.py ------------------------------------------------------------------------------------------


def score(*values: float | None) -> Score:
    return Score("made-up", values)


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        ((0.5, 0.6, 0.7), (0.1, 0.21, 0.32), HOLDS),
        ((0.1, 0.21, 0.32), (0.5, 0.6, 0.7), NOT),
        ((0.5, 0.6, 0.1), (0.1, 0.2, 0.9), UNDECIDED),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), UNDECIDED),
        ((0.9, None, None), (0.1, 0.2, None), UNDECIDED),
        ((0.9,), (0.1,), UNDECIDED),
    ],
)
def test_a_difference_of_pictures_has_three_words(a: Any, b: Any, word: str) -> None:
    gap, error = report.difference(score(*a), score(*b))
    assert f": {word} (" in report.verdict("a claim", gap, error)


def found_of(**likes: Any) -> Any:
    return SimpleNamespace(scores=likes)


def test_orderings_leave_out_what_was_not_asked_for() -> None:
    high, low = score(30.0, 31.0, 30.5), score(20.0, 21.5, 20.0)
    assert report.orderings({"ddim": {"PSNR": low}}, {}, {}) == []
    lines = report.orderings({"ddim": {"PSNR": low}, "null-text": {"PSNR": high}}, {}, {})
    assert len(lines) == 1 and "null-text reconstructs better than DDIM: holds" in lines[0]
    lines = report.orderings({"ddim": {"PSNR": high}, "null-text": {"PSNR": low}}, {}, {})
    assert "does not hold" in lines[0]
    outside = {"NS-LPIPS": score(0.1, 0.11), "like true edit": score(0.5, 0.4)}
    more = {"NS-LPIPS": score(0.2, 0.22), "like true edit": score(0.5, 0.4)}
    rows = {("direct", "prompt-to-prompt"): found_of(**outside), (report.PHOTO, "sdedit"): found_of(**more)}
    lines = report.orderings({}, rows, {})
    assert "changes less outside" in lines[0] and ": holds (" in lines[0] and ": undecided (" in lines[1]


def swept(height: float) -> dict[tuple[str, float], Any]:
    """SDEdit's curve falls from 1; Prompt-to-Prompt's lies `height` above it, with strengths the other way."""
    found: dict[tuple[str, float], Any] = {}
    for s in STRENGTHS:
        for edit, along, up in (("sdedit", s, 0.0), ("prompt-to-prompt", 1 - s, height)):
            found[edit, s] = {
                "like true edit": score(*(along + e for e in JITTER)),
                "like source": score(*(1 - along + up + 2 * e for e in JITTER)),
            }
    return found


@pytest.mark.parametrize(("height", "word"), [(0.2, HOLDS), (-0.2, NOT), (0.0, UNDECIDED)])
def test_prompt_to_prompt_is_compared_with_sdedit_where_both_reach(height: float, word: str) -> None:
    lines = report.orderings({}, {}, swept(height))
    assert f"at equal likeness to the true edit: {word} (" in lines[0] and len(lines) == 3


def test_a_strength_s_scores_are_means_over_its_samples() -> None:
    one, two = (editing.Result([0, 1], [], scores={"x": score(*v)}) for v in ((0.0, None), (1.0, 3.0)))
    assert editing.averaged([one, two])["x"].per_image == (0.5, 3.0)


def test_a_part_of_a_result_is_of_the_same_pictures() -> None:
    whole = editing.Result(
        [0, 2, 5], ["a", "b", "c"], 3.0, 30, {"x": score(1.0, 2.0, 3.0), "y": score(1.0, None, 1.0)}
    )
    mine = report.part(whole, [2, 5])
    assert mine.images == ["b", "c"] and mine.seconds == 2.0 and mine.evaluations == 20
    assert mine.scores["x"].per_image == (2.0, 3.0) and "y" not in report.part(whole, [2]).scores


def test_an_accessory_is_added_and_nothing_else_is() -> None:
    kinds = {
        kind: [case for case in editing_cases.cases(20) if case.kind == kind]
        for kind in ("accessory", "class")
    }
    assert {len(some) for some in kinds.values()} == {4}
    for case in kinds["accessory"]:
        (worn,) = case.blend
        before, after = (text.split() for text in (case.source, case.target))
        assert worn not in before and worn in after and len(after) == len(before) + 4
        assert case.before.tobytes() != case.after.tobytes() and case.mask.getextrema()[1] == 255


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ([], "."),
        (["--inversions", *reversed(editing.WORK)], "."),
        (["--quick"], "quick"),
        (["--inversions", "ddim"], "part"),
        (["--pictures", "3"], "part"),
    ],
)
def test_a_run_of_some_of_it_leaves_no_results_of_the_whole(
    words: list[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Path] = []
    monkeypatch.setattr(editing, "job", lambda plan, name: ({}, {}))
    monkeypatch.setattr(editing, "write", lambda plan, found, sweep, out: left.append(out))
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr(sys, "argv", ["editing.py", "-o", str(tmp_path), *words])
    editing.main()
    assert left == [tmp_path / place]


def test_banks_differ_as_the_two_captions_do() -> None:
    for case in editing_cases.cases(20):
        before, after = (bank for bank in editing_cases.banks(case, 30))
        assert len({*before}) > 10 or case.kind in ("class", "colour")
        words = [{*text.split()} for text in (case.source, case.target)]
        told = words[0] - words[1], words[1] - words[0]
        for one, other in zip(before, after, strict=True):
            assert {*one.split()} - {*other.split()} <= told[0] | {"a", "an", "the"}, (case.kind, one, other)
            assert told[1] <= {*other.split()}


# -- bench/custom_edit.py --------------------------------------------------------------------------------------


def cell(source: Sequence[float], references: Sequence[float]) -> dict[str, list[float]]:
    return {"like source": [*source], "like references": [*references], "like text": [0.5] * len(source)}


def measured(lifts: dict[str, float], objects: int = 4) -> dict[str, dict[str, Any]]:
    """Rows whose curves (source, references) are one line, lifted; three pictures of each object."""
    found: dict[str, dict[str, Any]] = {}
    for row, lift in lifts.items():
        back = row.endswith(custom_edit.SDEDIT)
        strengths = [*reversed(custom_edit.STRENGTHS)] if back else custom_edit.STRENGTHS
        found[row] = {
            f"object-{i} {n}": cell(strengths, [1 - s + lift + 0.01 * i + 0.02 * n for s in strengths])
            for i in range(objects) for n in range(3)
        }  # fmt: skip
    return found


def test_custom_edit_s_rows_are_one_value_of_each_object_and_curves_decide() -> None:
    methods = ("custom-edit", "textual-inversion")
    lifts = {
        "custom-edit": 0.3,
        "textual-inversion": 0.0,
        "custom-edit, SDEdit": 0.1,
        "textual-inversion, SDEdit": 0.1,
    }
    cells_of = measured(lifts)
    rows = custom_edit.results(cells_of, methods)
    assert {name: len(v) for name, v in rows["custom-edit"]["like source"]["values"].items()} == {
        f"object-{i}": 1 for i in range(4)
    }
    wanted = {
        "custom-edit over textual-inversion": HOLDS,
        "custom-edit over textual-inversion, SDEdit": UNDECIDED,
        "custom-edit, P2P over SDEdit": HOLDS,
        "textual-inversion, P2P over SDEdit": NOT,
    }
    told = {row: results.told_of(next(iter(rows[row].values()))) for row in wanted}
    assert {row: said(value) for row, value in told.items()} == wanted
    assert rows.keys() == {*lifts, *wanted}
    text = "\n".join(custom_edit.table(rows, cells_of))
    assert "textual-inversion, P2P over SDEdit: like source at equal references: **does not hold**" in text


def test_every_method_of_the_paper_is_compared() -> None:
    rows = custom_edit.comparisons(custom_edit.METHODS)
    for best in ("custom-edit", "custom-diffusion"):
        for other in ("textual-inversion", "dreambooth"):
            assert {f"{best} over {other}", f"{best} over {other}, SDEdit"} <= rows.keys()
    assert {f"{method}, P2P over SDEdit" for method in custom_edit.METHODS} <= rows.keys()


# -- the page's rule -------------------------------------------------------------------------------------------


def test_a_row_of_one_picture_decides_nothing_and_its_note_is_told() -> None:
    one = results.Value.of({"cat": [0.9]})
    assert one.error is None
    for value in (one, results.Value(0.0, note=curves.APART)):
        word, told = page.checked({"metric": "m", "row": "a", "above": 0}, {"a": {"m": value}})
        assert word == UNDECIDED and value.note in told
        again = results.told_of(results.plainly(value))
        assert (again.error, again.note) == (None, value.note)
    both = {"a": {"m": one}, "b": {"m": results.Value.of({"cat": [0.1]})}}
    assert page.checked({"metric": "m", "more": "a", "less": "b"}, both)[0] == UNDECIDED
    assert page.checked({"metric": "m", "same": ["a", "b"], "within": 5.0}, both)[0] == UNDECIDED


def test_of_nothing_there_is_no_value() -> None:
    nothing = results.Value.of({"cat": [None, None]})
    assert not nothing.known and nothing.note == "no value" and results.Value.of({"cat": [None, 1.0]}).known
    assert not nothing.times(2.0).known and not nothing.plus(results.Value(1.0)).known
    one = results.Value.of({"cat": [0.1, 0.3]})
    for check in ({"more": "a", "less": "b"}, {"same": ["a", "b"], "within": 9}, {"row": "b", "above": -9}):
        word, told = page.checked({"metric": "m", **check}, {"a": {"m": one}, "b": {"m": nothing}})
        assert (word, told) == (page.MISSING, "m of b: not measured yet")
    rows = {"base": {"CLIP-T": nothing, "CLIP-I": one}, "a": {"CLIP-T": one, "CLIP-I": one}}
    assert "trade-off" not in results.shares(rows)["a"]
    assert page.word_of(1.0, float("nan")) == UNDECIDED == page.equal(float("nan"), 0.1, 5.0)


def test_rows_are_compared_over_the_objects_that_both_have() -> None:
    cat, boat = {"cat": [0.5, 0.6, 0.4]}, {"boat": [0.1, 0.1, 0.2]}
    a, b, c = results.Value.of(cat), results.Value.of(boat), results.Value.of(cat | boat)
    lower = results.Value.of({"cat": [0.41, 0.5, 0.3]})
    check = {"metric": "m", "more": "a", "less": "b"}
    word, told = page.checked(check, {"a": {"m": a}, "b": {"m": b}})
    assert word == page.MISSING and "0.5" not in told and a.less(b)[1] is None
    assert page.checked({**check, "by": 2}, {"a": {"m": a}, "b": {"m": b}})[0] == page.MISSING
    word, told = page.checked(check, {"a": {"m": c}, "b": {"m": lower}})
    assert word == HOLDS and told.startswith("m: a 0.500 ± 0.058, b 0.403 ± 0.058 (of cat alone); difference")
    # seconds are one of an object here and three there: the means are of the cat's, and so is the ratio
    some = results.Value.of({"cat": [8.0], "boat": [100.0]})
    told = page.checked({**check, "by": 2}, {"a": {"m": some}, "b": {"m": results.Value.of(cat)}})[1]
    assert told.startswith("m: a 8.000, b 0.500") and "(16.0 times" in told


def test_an_object_without_a_value_in_one_row_is_named_as_left_out() -> None:
    one = results.Value.of({"cat": [0.5, 0.6, 0.4], "dog": [None, None]})
    both = results.Value.of({"cat": [0.1, 0.2, 0.1], "dog": [0.9, 0.9]})
    told = page.checked({"metric": "m", "more": "a", "less": "b"}, {"a": {"m": one}, "b": {"m": both}})[1]
    assert "(of cat alone)" in told and "b 0.133" in told
    mean = results.Value(0.3, 0.01)
    told = page.checked({"metric": "m", "more": "a", "less": "b"}, {"a": {"m": mean}, "b": {"m": both}})[1]
    assert "alone" not in told


def test_a_picture_that_one_row_has_no_value_of_is_in_neither_mean() -> None:
    a, b = results.Value.of({"cat": [0.5, 0.7, None]}), results.Value.of({"cat": [0.4, 0.5, 9.0]})
    one, two = a.shared(b)
    assert (one.mean, two.mean) == (pytest.approx(0.6), pytest.approx(0.45))
    assert a.less(b)[0] == pytest.approx(one.mean - two.mean)
    assert a.shared(a)[0] is not None and b.shared(b) == (b, b)


def test_a_curve_of_other_pictures_is_no_measure() -> None:
    def row(name: str, text: float, image: float) -> dict[str, Any]:
        return {
            m: results.Value.of({name: [v - 0.1, v + 0.1]}) for m, v in (("CLIP-T", text), ("CLIP-I", image))
        }

    rows = {"base": row("cat", 1.0, 0.3), "ico 50": row("boat", 0.8, 0.6), "dci 1": row("cat", 0.9, 0.9)}
    found = results.dci_rows(rows)["dci 1"]["above ICO's checkpoints"]
    assert found.error is None and found.note and said(found) == UNDECIDED
    rows["ico 50"] = row("cat", 0.8, 0.6)
    assert said(results.dci_rows(rows)["dci 1"]["above ICO's checkpoints"]) == HOLDS


def stored_cells(folder: Path, rows: Any) -> None:
    """Cells of bench/compress.py: {row: {object: values}}."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for row, objects in rows.items():
        for name, values in objects.items():
            (folder / f"{name} - {row}.json").write_text(json.dumps({"for": "x", "CLIP-I": values}))


def test_less_than_what_is_stored_is_not_taken_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "MADE", tmp_path / "made")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    folder = tmp_path / "made" / "compress" / "cells"
    whole = {row: {"boat": [0.5, 0.6], "cat": [0.7, 0.8]} for row in ("whole", "rank 1")}
    stored_cells(folder, whole)
    assert results.take() == ["compress"] and capsys.readouterr().out == ""
    before = (tmp_path / "results" / "compress.json").read_bytes()
    for less, said_of in (
        ({"whole": whole["whole"]}, "1 rows instead of 2, no rank 1"),
        ({row: {"boat": [0.5, 0.6]} for row in whole}, "no CLIP-I of rank 1 of cat"),
        ({row: {"boat": [0.5], "cat": [0.7]} for row in whole}, "1 of 2 values for CLIP-I of rank 1 of boat"),
        (
            {row: {"boat": [0.5, None], "cat": [0.7, 0.8]} for row in whole},
            "1 of 2 values for CLIP-I of rank 1 of boat",
        ),
    ):
        stored_cells(folder, less)
        assert results.take() == []
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("compress: kept as it is stored: ") and said_of in line and "remove" in line
        assert (tmp_path / "results" / "compress.json").read_bytes() == before
    stored_cells(
        folder, {row: {name: [v + 1 for v in some] for name, some in of.items()} for row, of in whole.items()}
    )
    assert results.take() == ["compress"], "as much, measured anew"
    stored_cells(folder, {**whole, "more": whole["whole"]})
    assert results.take() == ["compress"], "more"


def test_a_cell_is_known_by_the_encoders_the_pictures_and_the_bench_s_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = SimpleNamespace(origin=SimpleNamespace(fingerprint="one"))
    first = cells.known_by(base, 1)
    assert first == cells.known_by(base, 1) != cells.known_by(base, 2)
    told = tmp_path / "bench.py"
    codes: list[str] = []
    for text in ('"""Says."""\nSTEPS = 3\n', '"""Says more."""\nSTEPS = 3  # and why\n', "STEPS = 4\n"):
        told.write_text(text)
        cells.code_of.cache_clear()
        codes.append(cells.code_of(told))
    assert codes[0] == codes[1] != codes[2]
    pocket = tmp_path / "pocket"
    for name in ("clip", "dino", "judge"):
        (pocket / name).mkdir(parents=True)
        (pocket / name / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("motif.loading.pocket_weights", lambda: pocket)
    cells.surroundings.cache_clear()
    before = cells.known_by(base, 1)
    (pocket / "clip" / "model.safetensors").write_bytes(b"others")
    cells.surroundings.cache_clear()
    assert len({first, before, cells.known_by(base, 1)}) == 3
    cells.surroundings.cache_clear()


def test_a_cell_says_what_code_made_it_and_one_that_does_not_is_taken(tmp_path: Path) -> None:
    asked: list[int] = []

    def make() -> dict[str, Any]:
        asked.append(1)
        return {"m": [0.5]}

    assert cells.cell(tmp_path, "cat", "ico", "known", make, by=["learn ico"]) == {"m": [0.5]}
    told = json.loads((tmp_path / "cat - ico.json").read_text())
    assert told["code"].keys() == {"learn ico", "test_verdicts"}
    assert told["code"]["learn ico"] == digest.code("motif.learn.ico:ico")
    (tmp_path / "dog - ico.json").write_text(json.dumps({"for": "known", "m": [0.7]}))
    assert cells.cell(tmp_path, "dog", "ico", "known", make) == {"m": [0.7]} and len(asked) == 1
    rows = results.cells(tmp_path)
    assert rows["ico"].keys() == {"m"} and rows["ico"]["m"].mean == pytest.approx(0.6)
    assert results.told_codes(results.codes_in(tmp_path)) == "one; unknown of 1 cells"


def test_rows_of_different_code_are_told() -> None:
    one, other = {"code": {"learn ico": "1", "bench": "1"}}, {"code": {"learn ico": "2", "bench": "1"}}
    made = results.codes_of({"a": one, "b": one, "c": other})
    assert results.told_codes(made) == "learn ico: 2 versions (c)"
    assert results.told_codes(results.codes_of({"a": one, "b": one})) == "one"
    assert results.told_codes(results.codes_of({"a": {"m": [1.0]}})) == "unknown" == results.told_codes({})


def test_a_script_s_code_is_its_own_and_all_that_it_imports(tmp_path: Path) -> None:
    script, beside = tmp_path / "one.py", tmp_path / "beside.py"

    def now() -> str:
        digest.script.cache_clear()
        digest._parsed.cache_clear()
        return digest.script(script)

    script.write_text("import beside\nfrom motif.measure import kid\n")
    beside.write_text("LAW = 1\n")
    first = now()
    beside.write_text('"""Says."""\nLAW = 1  # why\n')
    assert now() == first
    beside.write_text("LAW = 2\n")
    second = now()
    script.write_text("import beside\nfrom motif.measure import psnr\n")
    assert len({first, second, now()}) == 3


# -- bench/ico_schemes.py --------------------------------------------------------------------------------------


def test_a_point_of_ico_s_figure_counts_each_picture_once() -> None:
    """One picture at two numbers of steps is no two pictures: the error is over the pictures' means."""
    early, late = [0.1, 0.3, 0.2, 0.6], [0.2, 0.4, 0.3, 0.7]
    point = ico_schemes.averaged([{"CLIP-I": early}, {"CLIP-I": late}])
    assert point == {"CLIP-I": pytest.approx([0.15, 0.35, 0.25, 0.65])}
    value = results.Value.of({"cat": point["CLIP-I"]})
    assert value.error == pytest.approx(results.Value.of({"cat": early}).error)
    assert results.Value.of({"cat": [*early, *late]}).error < 0.8 * value.error, "both as if by chance"
    assert ico_schemes.averaged([{"CLIP-I": [None, 0.5]}, {"CLIP-I": [0.3, 0.7]}])["CLIP-I"][0] is None


def test_the_differences_of_ico_s_figure_are_paired_and_have_errors() -> None:
    pictures = [0.2, 0.5, 0.9, 0.4]
    lifts = {"base, class word": 0.0, "vectors 1": 0.0, "vectors 2": 0.1, "vectors 3": 0.3, "contexts 2": 0.2}
    lifts["contexts 6"] = lifts["vectors 2"]
    rows = {
        row: {"CLIP-I": results.Value.of({"cat": [p + lift * (1 + 0.1 * i) for i, p in enumerate(pictures)]})}
        for row, lift in lifts.items()
    }
    told = "\n".join(ico_schemes.figure(rows))
    gap, error = rows["vectors 3"]["CLIP-I"].less(rows["vectors 1"]["CLIP-I"])
    assert gap == pytest.approx(0.3 * 1.15) and error == pytest.approx(0.3 * 0.129 / 2, rel=0.01)
    assert f"| vectors 3 - vectors 1 | {gap:+.3f} ± {error:.3f} |" in told
    assert told.count("±") == len(lifts) + len(ico_schemes.FIGURE)


# -- bench/invert_speed.py -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "apart", "psnr", "words", "near"),
    [
        (3.0, 1e-6, [(30.0, 30.1), (29.0, 29.12)], [HOLDS, HOLDS, HOLDS], True),
        (1.1, 1e-6, [(30.0, 29.0), (29.0, 28.1)], [NOT, NOT, NOT], True),
        (3.0, 0.5, [(30.0, 29.9), (29.0, 29.02)], [HOLDS, HOLDS, UNDECIDED], False),
        (3.0, 1e-6, [(30.0, 30.1)], [HOLDS, HOLDS, UNDECIDED], True),
    ],
)
def test_speed_s_goals_and_what_fails_it(
    ratio: float, apart: float, psnr: Any, words: list[str], near: bool
) -> None:
    seconds = {"null-text": [(1.0, ratio)] * 2, speed.FAST: [(1.0, ratio)] * 2}
    lines, found = speed.verdicts(seconds, {"null-text": [1e-7, apart], speed.FAST: [0.0]}, psnr, 1e-3)
    assert (
        found == near
        and [word for word, text in zip(words, lines[1:], strict=True) if f": {word} (" in text] == words
    )


def test_bfloat16_s_distance_is_told_and_fails_nothing() -> None:
    seconds = {"null-text": [(1.0, 3.0)] * 2}
    lines, near = speed.verdicts(seconds, {"null-text": [0.5, 0.5]}, [(30.0, 30.1), (29.0, 29.1)], None)
    assert near and not any("apart" in line for line in lines)


def test_what_is_wanted_of_a_gpu_is_measured_there_or_not_run() -> None:
    absent = "\n".join(speed.on_gpu(None))
    assert absent.count("not run here") == 4 and "at most 10" in absent and "holds" not in absent
    rows = [
        {"ddim": 1.0, "null-text": s, "null-text fast": 5.0, "prompt-to-prompt": 3.0}
        for s in (8.0, 9.0, 11.0)
    ]
    told = speed.on_gpu(rows)
    assert "| null-text | 9.00 (8.00 to 11.00) | at most 10: holds |" in told
    assert "| prompt-to-prompt | 3.00 (3.00 to 3.00) | at most 2: **does not hold** |" in told
