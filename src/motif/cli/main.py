"""`main`, the entry point: what takes long to import is imported inside it, so that Ctrl-C never shows a traceback."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    try:
        from motif.cli.exits import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return say("interrupted", INTERRUPTED)


def say(message: str, code: int) -> int:
    """One message on stderr; the exit code is handed back."""
    try:
        print(f"motif: {message}", file=sys.stderr, flush=True)
    except OSError:
        pass
    return code
