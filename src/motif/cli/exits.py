"""`run`: runs a command and turns whatever goes wrong into one or two lines and an exit code.

0 done   2 the user's input   3 a model that is not here   130 interrupted   1 a bug
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import click

from motif.cli.app import app
from motif.cli.command import DEBUG
from motif.cli.main import INTERRUPTED, say
from motif.errors import MotifError
from motif.files import reason, tells_full_disk, tells_no_memory

USAGE, BUG = 2, 1
NOT_OURS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    debug, told = "--debug" in arguments, dict[str, Any]()
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # libraries' remarks to their own users
            with app.make_context("motif", list(arguments)) as context:
                told = context.meta
                app.invoke(context)
            sys.stdout.flush()
        return 0
    except BrokenPipeError:
        return _pipe_closed()
    except BaseException as error:
        if (debug or told.get(DEBUG)) and not isinstance(error, click.exceptions.Exit | SystemExit):
            traceback.print_exc()
        return _explain(error)


def _explain(error: BaseException) -> int:
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else BUG
        case click.UsageError() if error.ctx and error.message == error.ctx.get_help():
            error.show()
            return error.exit_code
        case click.UsageError():
            where = error.ctx.command_path if error.ctx else "motif"
            return say(f"{error.format_message()} (see {where} --help)", USAGE)
        case click.ClickException():
            return say(error.format_message(), USAGE)
        case MotifError():
            return say(str(error), error.exit_code)
        case KeyboardInterrupt() | click.Abort():
            return say("interrupted", INTERRUPTED)
        case _:
            return _explain_rest(error)


def _explain_rest(error: BaseException) -> int:
    """What libraries raise: no memory, no disk, no permission; the rest is a bug of ours."""
    if isinstance(error, OSError) and error.errno in NOT_OURS:
        where = f"{error.filename}: " if error.filename else ""
        _silence_stdout()
        return say(f"{where}{reason(error)}", USAGE)
    if tells_full_disk(error):
        return say("the disk is full: free some space, or write elsewhere", USAGE)
    text = (str(error).strip().splitlines() or [""])[0]
    if tells_no_memory(error):
        return say(
            "out of memory: use a smaller --batch-size, fewer pictures at a time, or --precision bf16", USAGE
        )
    name = type(error).__name__
    return say(f"this is a bug: {name}: {text}\nrun it again with --debug to see where, and report that", BUG)


def _pipe_closed() -> int:
    """The reader of stdout has seen enough (`motif methods | head -1`): that is no error."""
    _silence_stdout()
    return 0


def _silence_stdout() -> None:
    """Let the interpreter's last flush of stdout go nowhere, so that it cannot fail again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        pass
