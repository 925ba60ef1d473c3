"""A study as it lies in its folder, and what each rater is shown, in which order and on which side.

Everything follows from the study's seed and the rater's number: pairs are dealt so that all are shown equally often,
half of a rater's pairs have A on the left, questions come one after another in an order of the rater's own, and
attention checks lie anywhere but in front.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from motif.errors import InputError
from motif.files import read_json
from motif.study.questions import Question

FILE, PICTURES, ANSWERS = "study.json", "pictures", "answers.jsonl"
FORMAT = 1
Picked = Literal["a", "b", "torn"]


@dataclass(frozen=True)
class Comparison:
    """One pair, by the files that raters see."""

    id: str
    prompt: str
    a: str
    b: str
    torn: str = ""  # A's picture in scrambled tiles, for attention checks
    references: tuple[str, ...] = ()
    source: str = ""
    origin: tuple[str, str] = ("", "")  # the files it was made of

    def file(self, which: Picked) -> str:
        """The file of one of its pictures."""
        return {"a": self.a, "b": self.b, "torn": self.torn}[which]


@dataclass(frozen=True)
class Turn:
    """One choice of one rater."""

    id: str
    question: Question
    pair: Comparison
    left: Picked
    right: Picked

    @property
    def check(self) -> bool:
        """Whether this is an attention check."""
        return "torn" in (self.left, self.right)

    def picked(self, side: Literal["left", "right"]) -> Picked:
        """What lies on a side."""
        return self.left if side == "left" else self.right


@dataclass(frozen=True)
class Study:
    """What `make` wrote."""

    id: str
    names: tuple[str, str]  # of A and B
    questions: tuple[Question, ...]
    pairs: tuple[Comparison, ...]
    per_rater: int
    checks: int
    seed: int
    format: int = FORMAT
    _dealt: list[list[str]] = field(default_factory=list[list[str]], repr=False, compare=False)

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """Read a study's folder. InputError where it is none."""
        folder = Path(folder).expanduser()
        if not (folder / FILE).is_file():
            raise InputError(f"{folder}: no study: there is no {FILE}; make one with `motif study make`")
        data: Any = read_json(folder / FILE)
        if data.get("format") != FORMAT:
            raise InputError(f"{folder / FILE}: of another version of motif (format {data.get('format')})")
        try:
            rows: Any = {"names": tuple(data["names"]),
                         "questions": tuple(_made(Question, row) for row in data["questions"]),
                         "pairs": tuple(_made(Comparison, row) for row in data["pairs"])}  # fmt: skip
            return cls(**{**data, **rows})
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder / FILE}: damaged ({error}): make the study again") from None

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}

    def files(self) -> set[str]:
        """Every picture that raters may see."""
        return {
            name
            for pair in self.pairs
            for name in (pair.a, pair.b, pair.torn, pair.source, *pair.references)
            if name
        }

    def dealt(self, rater: int) -> list[str]:
        """The pairs of a rater: those that the raters before were shown least often."""
        while len(self._dealt) <= rater:
            shown = {pair.id: 0 for pair in self.pairs}
            for hand in self._dealt:
                for name in hand:
                    shown[name] += 1
            rng = _rng(self.seed, "pairs", len(self._dealt))
            order = sorted(rng.sample(list(shown), len(shown)), key=shown.__getitem__)
            self._dealt.append(order[: self.per_rater])
        return self._dealt[rater]

    def turns(self, rater: int) -> list[Turn]:
        """All choices of a rater, in order."""
        rng, by_id = _rng(self.seed, "turns", rater), {pair.id: pair for pair in self.pairs}
        torn = [pair for pair in self.pairs if pair.torn]
        blocks: list[tuple[Question, Comparison, tuple[Picked, Picked]]] = []
        questions = rng.sample(self.questions, len(self.questions))
        check_sides = rng.sample(_halves("a", "torn", self.checks + self.checks % 2), self.checks)
        for number, question in enumerate(questions):
            hand = rng.sample(self.dealt(rater), len(self.dealt(rater)))
            sides = rng.sample(_halves("a", "b", len(hand) + len(hand) % 2), len(hand))
            block = [(question, by_id[name], pair) for name, pair in zip(hand, sides, strict=True)]
            share = self.checks // len(questions) + (number < self.checks % len(questions))
            for pair in rng.sample(torn * -(-share // max(len(torn), 1)), share):
                place = rng.randint(min(1, len(block)), len(block))
                block.insert(place, (question, pair, check_sides.pop()))
            blocks += block
        ids = (_digest(self.id, rater, number) for number in range(len(blocks)))
        return [
            Turn(name, question, pair, *sides)
            for name, (question, pair, sides) in zip(ids, blocks, strict=True)
        ]


def _halves(one: Picked, other: Picked, count: int) -> list[tuple[Picked, Picked]]:
    """(left, right), each way equally often."""
    return [(one, other) if i % 2 else (other, one) for i in range(count)]


def _made(kind: type[Any], row: Mapping[str, Any]) -> Any:
    return kind(
        **{name: tuple(cast(Sequence[Any], v)) if isinstance(v, list) else v for name, v in row.items()}
    )


def _rng(*of: object) -> random.Random:
    """A generator that is the same on every machine."""
    return random.Random("/".join(map(str, of)))


def _digest(*of: object) -> str:
    return hashlib.sha256("/".join(map(str, of)).encode()).hexdigest()[:16]
