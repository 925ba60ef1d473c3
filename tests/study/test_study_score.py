"""Answers on disk, intervals, agreement, and whose answers count."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import two_sides

from motif.errors import InputError
from motif.study import make, score
from motif.study.agreement import fleiss_kappa, wilson
from motif.study.answers import Ledger, digest, opened, read
from motif.study.sheet import ANSWERS, Study


@given(st.integers(0, 200), st.integers(1, 200), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_where_the_score_test_turns(count: int, of: int, confidence: float) -> None:
    """Its ends are the shares p that the data reject just so: |p̂ − p| = z √(p(1 − p)/n)."""
    from statistics import NormalDist

    count = min(count, of)
    low, high = wilson(count, of, confidence=confidence)
    assert 0 <= low <= count / of <= high <= 1
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for end in {low, high} - {0.0, 1.0}:
        assert abs(count / of - end) == pytest.approx(z * math.sqrt(end * (1 - end) / of), abs=1e-9)
    assert wilson(of - count, of, confidence=confidence) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for count, of in ((0, 7), (3, 10), (53, 96), (430, 800), (5, 5)):
        interval = stats.binomtest(count, of).proportion_ci(method="wilson")
        assert wilson(count, of) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert wilson(0, 0) == (0.0, 1.0)
    for wrong in ((3, 2), (-1, 2)):
        with pytest.raises(InputError):
            wilson(*wrong)


DIAGNOSES = (  # 10 subjects, 14 raters, 5 answers: a table that is worked through in many places, kappa .210
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
)  # fmt: skip


def test_fleiss_kappa_of_the_worked_example() -> None:
    assert fleiss_kappa(DIAGNOSES) == pytest.approx(0.210, abs=5e-4)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_fleiss_kappa_is_one_where_all_agree_and_does_not_know_names(rows: list[tuple[int, int]]) -> None:
    found = fleiss_kappa(rows)
    swapped = fleiss_kappa([(b, a) for a, b in rows])
    assert (found is None) == (swapped is None)
    if found is not None:
        assert found == pytest.approx(swapped) and -1 - 1e-9 <= found <= 1 + 1e-9
        together = all(0 in row for row in rows if sum(row) >= 2)
        assert (found == pytest.approx(1)) == together


def test_fleiss_kappa_has_no_value_where_nothing_can_be_compared() -> None:
    assert fleiss_kappa([]) is None and fleiss_kappa([(1, 0), (0, 1)]) is None
    assert fleiss_kappa([(3, 0), (4, 0)]) is None
    assert fleiss_kappa([(1, 1), (1, 1)]) == pytest.approx(-1)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    a, b, photos = two_sides(tmp_path, prompts=2, seeds=2)
    return make(a, b, tmp_path / "study", refs=photos, checks=2)


def answer_all(ledger: Ledger, *, prefer: str = "a", missed: int = 0, until: int | None = None) -> int:
    """A rater who always takes one side's picture, and misses so many of the checks."""
    rater = ledger.enter(f"session {len(ledger.answers.sessions)}")
    for turn in ledger.turns(rater)[:until]:
        wanted = prefer if not turn.check else "torn" if missed > 0 else "a"
        missed -= turn.check
        assert ledger.answer(rater, turn.id, "left" if turn.left == wanted else "right") == "kept"
    return rater


def test_scores_count_raters_who_look(tmp_path: Path, study: Study) -> None:
    folder = tmp_path / "study"
    with opened(folder, study) as ledger:
        for prefer in ("a", "a", "b"):
            answer_all(ledger, prefer=prefer)
        answer_all(ledger, prefer="b", missed=1)
        first_check = next(i for i, turn in enumerate(study.turns(4)) if turn.check)
        answer_all(ledger, prefer="b", until=first_check)
        ledger.enter("one who looks at the first page")
    found = score(folder)
    assert (found.raters, found.finished, found.failed, found.unchecked, found.silent) == (3, 3, 1, 1, 1)
    for preference in found.preferences:
        assert (preference.preferred, preference.answers, preference.pairs) == (8, 12, 4)
        assert preference.share == pytest.approx(2 / 3)
        assert (preference.low, preference.high) == pytest.approx(wilson(8, 12))
        assert preference.kappa == pytest.approx(fleiss_kappa([(2, 1)] * 4))
        assert preference.left == pytest.approx(0.5)
    lax = score(folder, misses=1)
    assert (lax.raters, lax.failed) == (4, 0) and lax.preferences[0].answers == 16
    assert score(folder, confidence=0.5).preferences[0].low > found.preferences[0].low
    assert json.loads(json.dumps(found.data()))["names"] == ["ours", "theirs"]


def test_a_study_without_answers_has_no_score(tmp_path: Path, study: Study) -> None:
    with pytest.raises(InputError, match="nobody has answered yet"):
        score(tmp_path / "study")


def test_a_choice_counts_once_in_its_turn_and_for_its_rater(tmp_path: Path, study: Study) -> None:
    with opened(tmp_path / "study", study) as ledger:
        rater, other = ledger.enter("one"), ledger.enter("other")
        turns = ledger.turns(rater)
        assert ledger.answer(rater, turns[1].id, "left") == "ahead"
        assert ledger.answer(rater, ledger.turns(other)[0].id, "left") == "unknown"
        assert ledger.answer(rater, turns[0].id, "up") == "unknown"
        assert ledger.answer(rater, turns[0].id, "left") == "kept"
        assert ledger.answer(rater, turns[0].id, "right") == "known"
        assert ledger.rater("one") == rater and ledger.rater("three") is None and ledger.rater(None) is None
        assert ledger.rater(digest("one")) is None, "who reads the file cannot answer in a rater's name"
    found = read(tmp_path / "study", study)
    assert [row["picked"] for row in found.rows[rater]] == [turns[0].left] and found.rows[other] == []


@settings(max_examples=8)
@given(cut=st.integers(1, 60))
def test_a_torn_last_line_is_left_out_and_written_over(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    root = tmp_path_factory.mktemp("torn")
    a, b, _ = two_sides(root, prompts=1, seeds=2)
    study, path = make(a, b, root / "study"), root / "study" / ANSWERS
    with opened(root / "study", study) as ledger:
        rater = ledger.enter("one")
        for turn in ledger.turns(rater)[:2]:
            ledger.answer(rater, turn.id, "left")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert len(read(root / "study", study).rows[rater]) == 1
    with opened(root / "study", study) as ledger:
        assert ledger.answered(rater) == 1
        ledger.answer(rater, ledger.turns(rater)[1].id, "left")
    rows = [
        {k: v for k, v in json.loads(line).items() if k != "at"} for line in path.read_bytes().splitlines()
    ]
    assert rows == [{k: v for k, v in json.loads(line).items() if k != "at"} for line in whole.splitlines()]


def test_a_line_that_was_taken_out_is_asked_again_and_no_other(tmp_path: Path, study: Study) -> None:
    """As a damaged line is, which the message says to remove: what was answered behind it is not asked twice."""
    path = tmp_path / "study" / ANSWERS
    with opened(tmp_path / "study", study) as ledger:
        rater = ledger.enter("one")
        turns = ledger.turns(rater)
        for turn in turns[:3]:
            ledger.answer(rater, turn.id, "left")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with opened(tmp_path / "study", study) as ledger:
        assert ledger.answered(rater) == 1
        assert ledger.answer(rater, turns[2].id, "right") == "known"
        assert ledger.answer(rater, turns[1].id, "left") == "kept" and ledger.answered(rater) == 3
    assert {row["turn"] for row in read(tmp_path / "study", study).rows[rater]} == {t.id for t in turns[:3]}


def test_a_torn_line_is_noted(tmp_path: Path, study: Study, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "study" / ANSWERS).write_bytes(b'{"rater": 0, "sess')
    with caplog.at_level(logging.WARNING, "motif"):
        read(tmp_path / "study", study)
    assert "cut short" in caplog.text


@pytest.mark.parametrize("forge", ["twice", "pair", "picked", "rater", "session", "words"])
def test_a_line_that_is_no_answer_of_the_study_is_named(tmp_path: Path, study: Study, forge: str) -> None:
    path = tmp_path / "study" / ANSWERS
    with opened(tmp_path / "study", study) as ledger:
        answer_all(ledger, until=2)
    lines = path.read_text().splitlines()
    last = json.loads(lines[-1])
    forged = {
        "twice": last,
        "pair": last | {"turn": "0123456789abcdef"},
        "picked": last | {"turn": study.turns(0)[2].id, "picked": "c"},
        "rater": last | {"rater": 1, "turn": study.turns(1)[0].id},
        "session": {"rater": 7, "session": "x"},
        "words": "nothing",
    }[forge]
    path.write_text("\n".join([*lines, json.dumps(forged), ""]))
    with pytest.raises(InputError, match="line 4 is no answer of this study"):
        read(tmp_path / "study", study)


def test_a_full_disk_keeps_nothing_of_an_answer(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    path, write = tmp_path / "study" / ANSWERS, os.write
    with opened(tmp_path / "study", study) as ledger:
        rater = ledger.enter("one")
        before, turn = path.read_bytes(), ledger.turns(rater)[0]
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:9]))
        with pytest.raises(OSError, match="full"):
            ledger.answer(rater, turn.id, "left")
        monkeypatch.undo()
        assert path.read_bytes() == before and ledger.answered(rater) == 0
        assert ledger.answer(rater, turn.id, "right") == "kept"


def test_one_process_at_a_time_has_the_answers(tmp_path: Path, study: Study) -> None:
    second = opened(tmp_path / "study", study)
    with opened(tmp_path / "study", study), pytest.raises(InputError, match="served already"), second:
        pass
