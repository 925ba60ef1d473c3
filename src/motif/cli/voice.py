"""How a command speaks: results on stdout, as text or JSON; notes, log and progress on stderr."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

EVERY = 5.0
"""Seconds between two lines of progress where stderr is no terminal."""


class Step(Protocol):
    """What a loop reports after a step (`motif.learn.fit.Progress`, `motif.sample.progress.Progress`)."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def seconds_left(self) -> float: ...


@dataclass(frozen=True)
class Voice:
    """What --json, --quiet and --debug ask for."""

    json: bool = False
    quiet: bool = False
    debug: bool = False

    def result(self, data: Any, text: str | None = None) -> None:
        """Print a result: `data` as JSON, or its text."""
        print(
            json.dumps(data, indent=2, ensure_ascii=False, default=str) if self.json or text is None else text
        )

    def note(self, text: str) -> None:
        """A remark on stderr; none when quiet."""
        if not self.quiet:
            _to_stderr(text)

    def counting(self, what: str) -> Callable[[int, int], None]:
        """A callback for each of many things: how many are done, said about ten times."""

        def tell(done: int, of: int) -> None:
            if done == of or done * 10 // of != (done - 1) * 10 // of:
                self.note(f"{what} {done} of {of} drawn")

        return tell

    @contextmanager
    def logging(self) -> Iterator[None]:
        """motif's log on stderr for the length of the block: warnings always, news unless quiet."""
        logger, handler = logging.getLogger("motif"), _Lines()
        level, propagate = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if self.debug else logging.WARNING if self.quiet else logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

    @contextmanager
    def progress(self, task: str) -> Iterator[Callable[[Step], None] | None]:
        """A callback for each step: a bar on a terminal, a line every few seconds elsewhere, None when quiet."""
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            with _bar(task) as advance:
                yield advance
        else:
            yield _lines(task)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        _to_stderr(prefix + record.getMessage())


def _to_stderr(text: str) -> None:
    """Print to whatever stderr is now; a closed stderr must not end the work."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        pass


def _lines(task: str) -> Callable[[Step], None]:
    last = -math.inf

    def advance(done: Step) -> None:
        nonlocal last
        if not done.rate or (time.monotonic() - last < EVERY and done.step < done.steps):
            return
        last = time.monotonic()
        _to_stderr(f"{task}: step {done.step}/{done.steps}  {_about(done)}")

    return advance


@contextmanager
def _bar(task: str) -> Iterator[Callable[[Step], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[about]}"),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as bar:
        row = bar.add_task(task, total=None, about="")

        def advance(done: Step) -> None:
            bar.update(row, total=done.steps, completed=done.step, about=_about(done))

        yield advance


def _about(done: Step) -> str:
    """Loss, where something is learned, speed, and the time that is left; nothing before there is a speed (a preview
    before the first step, of a resumed run too)."""
    if not done.rate:
        return ""
    loss: float | None = getattr(done, "loss", None)
    told = "" if loss is None else f"loss {loss:.4f}  "
    return f"{told}{done.rate:.2f} steps/s  {duration(done.seconds_left)} left"


def duration(seconds: float) -> str:
    """ "45 s", "3 min 05 s", "2 h 10 min"."""
    if not math.isfinite(seconds):
        return "?"
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def aligned(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Rows in columns, two spaces apart; numbers to four places. Nothing is cut off."""
    cells = [[_cell(value) for value in row] for row in ([head, *rows] if head else rows)]
    widths = [max(len(column) for column in columns) for columns in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def tree(data: Mapping[str, Any]) -> str:
    """A mapping as "name  value" lines; mappings within are indented."""
    width = max((len(name) for name in data), default=0)
    lines: list[str] = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            lines.append(name if value else f"{name.ljust(width)}  none")
            lines += [f"  {line}" for line in tree({str(k): v for k, v in value.items()}).splitlines()]  # pyright: ignore
        else:
            lines.append(f"{name.ljust(width)}  {value}")
    return "\n".join(lines)
