"""The answers of a study: a file that is only added to, one JSON line each, on the disk before a rater is asked on.

A process that is killed loses nothing that was acknowledged. A last line that was cut short never was: it is left out
with a note, and cut off before the next one is written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, cast

from motif.errors import InputError
from motif.files import reason
from motif.study.sheet import ANSWERS, Study, Turn

log = logging.getLogger("motif")

Row = dict[str, Any]


@dataclass
class Answers:
    """What the file holds."""

    sessions: dict[str, int] = field(default_factory=dict[str, int])  # {sha256 of a session: its rater}
    rows: dict[int, list[Row]] = field(
        default_factory=dict[int, list[Row]]
    )  # {rater: answers in their order}

    def add(self, row: Row) -> None:
        """Take one line in."""
        if "session" in row:
            self.sessions[row["session"]] = row["rater"]
            self.rows.setdefault(row["rater"], [])
        else:
            self.rows[row["rater"]].append(row)


def read(folder: Path, study: Study) -> Answers:
    """Every answer of a study. InputError for a line that is none of its own."""
    found, data = Answers(), _bytes(folder / ANSWERS)
    whole, _, torn = data.rpartition(b"\n")
    if torn:
        log.warning("%s: its last line was cut short and is left out", folder / ANSWERS)
    turns: dict[int, dict[str, Turn]] = {}
    for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
        try:
            row = cast(Row, json.loads(line))
            rater = int(row["rater"])
            if "session" not in row:
                own = turns.get(rater) or {turn.id: turn for turn in study.turns(rater)}
                turns[rater] = own
                turn, before = own[row["turn"]], found.rows[rater]
                if row["picked"] not in (turn.left, turn.right) or any(r["turn"] == turn.id for r in before):
                    raise ValueError
            elif rater != len(found.sessions):
                raise ValueError
        except (ValueError, TypeError, LookupError):
            raise InputError(
                f"{folder / ANSWERS}: line {number} is no answer of this study: remove it"
            ) from None
        found.add(row)
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None


class Ledger:
    """The open file, and what it holds. One process at a time; its threads take turns."""

    def __init__(self, folder: Path, study: Study, file: int) -> None:
        self.study, self.file, self.lock = study, file, Lock()
        self.answers = read(folder, study)
        end = _bytes(folder / ANSWERS).rfind(b"\n") + 1
        os.ftruncate(file, end)
        self._turns: dict[int, list[Turn]] = {}

    def enter(self, session: str) -> int:
        """A new rater's number."""
        with self.lock:
            rater = len(self.answers.sessions)
            self._keep({"rater": rater, "session": digest(session), "at": _now()})
            return rater

    def rater(self, session: str | None) -> int | None:
        """Whose session this is; None where it is nobody's."""
        return self.answers.sessions.get(digest(session)) if session else None

    def turns(self, rater: int) -> list[Turn]:
        """All choices of a rater, in order."""
        with self.lock:
            if rater not in self._turns:
                self._turns[rater] = self.study.turns(rater)
            return self._turns[rater]

    def answered(self, rater: int) -> int:
        """How many of them are made, up to the first that is not: where a line was taken out of the file, it is asked
        again."""
        return self._first(rater, self.turns(rater))

    def _first(self, rater: int, turns: list[Turn]) -> int:
        made = self._made(rater)
        return next((i for i, one in enumerate(turns) if one.id not in made), len(turns))

    def _made(self, rater: int) -> set[str]:
        return {row["turn"] for row in self.answers.rows[rater]}

    def answer(self, rater: int, turn: str, side: str) -> str:
        """Keep a choice: "kept"; "known" where it was made before, "ahead" where it is not asked for yet,
        "unknown" where it is nobody's or another rater's."""
        if side not in ("left", "right"):
            return "unknown"
        turns = self.turns(rater)
        with self.lock:
            number = next((i for i, one in enumerate(turns) if one.id == turn), None)
            if number is None:
                return "unknown"
            if number != self._first(rater, turns):
                return "known" if turn in self._made(rater) else "ahead"
            one = turns[number]
            self._keep({"rater": rater, "turn": one.id, "question": one.question.name, "pair": one.pair.id,
                        "left": one.left, "right": one.right, "picked": one.picked(side), "at": _now()})  # fmt: skip
            return "kept"

    def _keep(self, row: Row) -> None:
        """Write a line and wait for the disk; where that fails nothing of it stays."""
        line, end = json.dumps(row).encode() + b"\n", os.fstat(self.file).st_size
        try:
            written = os.write(self.file, line)
            if written != len(line):
                raise OSError(28, "the disk is full")
            os.fsync(self.file)
        except OSError:
            os.ftruncate(self.file, end)
            raise
        self.answers.add(row)


@contextmanager
def opened(folder: Path, study: Study) -> Iterator[Ledger]:
    """The ledger of a study. InputError where another process has it, or it cannot be written."""
    path = folder / ANSWERS
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    try:
        if not _held(file):
            raise InputError(f"{folder}: this study is being served already: stop the other server first")
        _settled(folder)
        yield Ledger(folder, study, file)
    finally:
        os.close(file)


def _held(file: int) -> bool:
    """Take the file for this process alone, where the system has a way to."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _settled(folder: Path) -> None:
    """Wait until the folder's entry of a new file is on the disk."""
    try:
        entry = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def digest(session: str) -> str:
    """What is kept of a session: who reads the file cannot answer in a rater's name."""
    return hashlib.sha256(session.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
