"""Where results are kept: a folder for each, under its address, made beside its place and renamed when it is whole.

    results/3f/3f09.../result.json      what a job gave, and its files beside it
    runs/8a51...                        training runs as they stand, to go on from
    failures/3f09....txt                the traceback of a job that failed

A kill at any moment leaves whole results and passing folders (.part), which the next run removes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import read_json, reason


@dataclass
class Making:
    """A result that is being made: a folder for its files, and what to say of it."""

    folder: Path
    result: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Store:
    """Results in a folder; any number of workers may add to it at once."""

    folder: Path

    def place(self, address: str) -> Path:
        """The folder of a result."""
        return self.folder / "results" / address[:2] / address

    def has(self, address: str) -> bool:
        return (self.place(address) / "result.json").is_file()

    def result(self, address: str) -> dict[str, Any]:
        """What a job gave. InputError where it is not there."""
        return read_json(self.place(address) / "result.json")

    @contextmanager
    def making(self, address: str) -> Iterator[Making]:
        """A folder that becomes the result when the block ends, and vanishes if it fails."""
        place = self.place(address)
        part = place.with_name(f".{address}.{os.getpid()}.part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            making = Making(part)
            yield making
            text = json.dumps(making.result, indent=1, ensure_ascii=False, allow_nan=False)
            (part / "result.json").write_text(text + "\n", encoding="utf-8")
            if not self.has(address):
                shutil.rmtree(place, ignore_errors=True)
                os.rename(part, place)
        except OSError as error:
            if self.has(address):  # another worker was quicker
                return
            raise InputError(f"cannot write {place}: {reason(error)}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def run(self, name: str) -> Path:
        """The folder of a training run."""
        return self.folder / "runs" / name

    @contextmanager
    def alone(self, name: str, *, wait: bool = True, busy: str = "") -> Iterator[None]:
        """Hold a name for the length of the block, against every process that sees this folder; a killed one lets go.

        Without `wait`, InputError with `busy` where another one holds it.
        """
        import fcntl

        file = self.folder / "locks" / f"{name}.lock"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            held = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(f"cannot write {file}: {reason(error)}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(held)
            raise InputError(busy or f"{file}: another process holds it") from None
        try:
            yield
        finally:
            os.close(held)

    def clean(self) -> None:
        """Remove what stopped workers left half made, and what was said of failures: they are tried again."""
        for part in self.folder.glob("results/??/.*.part"):
            shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(self.folder / "failures", ignore_errors=True)

    def failed(self, name: str, told: str) -> Path:
        """Keep what is to be said of a failed job."""
        file = self.folder / "failures" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(told, encoding="utf-8")
        return file
