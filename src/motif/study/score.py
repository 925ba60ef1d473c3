"""`score`: what the raters of a study prefer, question by question.

A share's interval takes all answers for independent, as the papers' do; agreement tells how far they are of one mind.
Raters who miss attention checks are left out, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.study.agreement import fleiss_kappa, wilson
from motif.study.answers import Row, read
from motif.study.questions import Question
from motif.study.sheet import Study


@dataclass(frozen=True)
class Preference:
    """How often A was preferred, for one question."""

    question: str
    asked: str
    answers: int
    preferred: int  # answers for A
    share: float | None  # of the answers; None where there are none
    low: float
    high: float
    pairs: int
    raters: int
    kappa: float | None  # Fleiss' agreement; None where no pair has two answers, or all are one
    left: (
        float | None
    )  # the share of answers for the picture on the left: near a half where sides mean nothing


@dataclass(frozen=True)
class Scores:
    """A study's outcome."""

    names: tuple[str, str]
    confidence: float
    preferences: tuple[Preference, ...]
    raters: int  # whose answers count
    finished: int  # of them, those who answered everything
    failed: int  # left out: missed more checks than allowed
    unchecked: int  # left out: stopped before their first check
    silent: int  # opened the study and answered nothing

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def score(folder: str | Path, *, misses: int = 0, confidence: float = 0.95) -> Scores:
    """Percentages of a study with their intervals, and how far its raters agree.

    Args:
        folder: The study's folder; it may be served meanwhile.
        misses: Attention checks that a rater may miss and still count.
        confidence: Of the intervals (Wilson's).

    Raises:
        InputError: no study, no answers yet, a line of answers that is none of its own.
    """
    folder = Path(folder).expanduser()
    study = Study.load(folder)
    if misses < 0:
        raise InputError(f"--misses {misses}: 0 or more")
    wilson(0, 0, confidence=confidence)
    answers = read(folder, study)
    if not any(answers.rows.values()):
        raise InputError(f"{folder}: nobody has answered yet: motif study serve {folder}")
    kinds = {rater: _kind(rows, study, misses) for rater, rows in answers.rows.items()}
    counted = [rater for rater, kind in kinds.items() if kind == "counted"]
    rows = [row for rater in counted for row in answers.rows[rater] if not _check(row)]
    total = Counter(kinds.values())
    return Scores(
        study.names,
        confidence,
        tuple(_preference(question, rows, confidence) for question in study.questions),
        len(counted),
        sum(len(answers.rows[rater]) == len(study.turns(rater)) for rater in counted),
        total["failed"],
        total["unchecked"],
        total["silent"],
    )


def _kind(rows: Sequence[Row], study: Study, misses: int) -> str:
    """counted, failed, unchecked or silent."""
    checks = [row["picked"] != "torn" for row in rows if _check(row)]
    if not rows:
        return "silent"
    if checks.count(False) > misses:
        return "failed"
    return "counted" if checks or not study.checks else "unchecked"


def _check(row: Mapping[str, Any]) -> bool:
    return "torn" in (row["left"], row["right"])


def _preference(question: Question, rows: Sequence[Row], confidence: float) -> Preference:
    own = [row for row in rows if row["question"] == question.name]
    preferred, pairs = sum(row["picked"] == "a" for row in own), Counter(row["pair"] for row in own)
    for_a = Counter(row["pair"] for row in own if row["picked"] == "a")
    low, high = wilson(preferred, len(own), confidence=confidence)
    left = sum(row["left"] == row["picked"] for row in own)
    return Preference(
        question.name,
        question.text,
        len(own),
        preferred,
        preferred / len(own) if own else None,
        low,
        high,
        len(pairs),
        len({row["rater"] for row in own}),
        fleiss_kappa([(for_a[pair], n - for_a[pair]) for pair, n in pairs.items()]),
        left / len(own) if own else None,
    )
