"""Turns that are measured already: a file that is only added to, one JSON line each, so that a stopped table goes on.

A turn is both sides of a row, measured one after the other, and is kept whole or not at all. It counts for the same row
and options, on the same machine, with the same libraries and the same code of motif. A last line that was cut short is
none.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from motif.bench.machine import processor
from motif.bench.plan import Row
from motif.errors import InputError
from motif.files import reason, remove
from motif.versions import versions

Pair = dict[str, Any]
"""{"motif": what a turn of ours costs, "plain": its peer's, where there is one}."""


@dataclass
class Kept:
    """The file, and what it holds for a run. Without a path nothing is kept."""

    path: Path | None
    how: dict[str, Any]  # the run's options, as every process gets them
    pairs: dict[str, Pair] = field(default_factory=dict[str, Pair])
    torn: bool = False

    def __post_init__(self) -> None:
        text = self._text()
        self.torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                told = dict(json.loads(line))
                self.pairs[str(told.pop("for"))] = told
            except (ValueError, TypeError, KeyError):
                continue
        if "\n" in text and not self.pairs:
            raise InputError(f"{self.path}: is somebody else's file: name another table")

    def get(self, row: Row, turn: int) -> Pair | None:
        """What a turn of a row was, where it is known with every side that the row has."""
        pair = self.pairs.get(self.key(row, turn))
        return pair if pair and ("plain" in pair or not row.peer) else None

    def add(self, row: Row, turn: int, pair: Pair) -> None:
        """Write a turn down, and wait for the disk. InputError where that cannot be done."""
        self.pairs[key := self.key(row, turn)] = pair
        if self.path is None:
            return
        line = json.dumps({"for": key, "row": row.name, "turn": turn, **pair}) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}" if self.torn else line)
                file.flush()
                os.fsync(file.fileno())
            self.torn = False
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {reason(error)}") from error

    def forget(self) -> None:
        """What follows is measured anew."""
        self.pairs.clear()
        if self.path:
            remove(self.path)

    def key(self, row: Row, turn: int) -> str:
        """One word for a turn of a row, here and with these options."""
        told = json.dumps([row.data(), self.how, turn, here()], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:24]

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace") if self.path else ""
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {reason(error)}") from None


@cache
def here() -> list[Any]:
    """The machine, the libraries and motif's own code, as they are now."""
    home = Path(__file__).parents[1]
    code = hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        code.update(f"{file.relative_to(home)}\0".encode() + file.read_bytes())
    return [processor(), os.cpu_count(), platform.platform(), versions(), code.hexdigest()]
