"""What can go wrong, as one small tree.

    MotifError                a message for the user, and the exit code of the command line
    ├── InputError      2     usage, settings, photos, prompts, files that cannot be read or written
    │   └── WrongBase   2     a concept or an inversion used with another base than the one it was made on
    ├── MissingModel    3     a model that is not here, and cannot be fetched now
    └── Interrupted   130     stopped by the user; the state is saved, and the message says where

A message is one or two lines: what is wrong, which file or word, what to do about it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar


class MotifError(Exception):
    """Any failure that motif explains itself; ``str(error)`` is what the user reads."""

    exit_code: ClassVar[int] = 1


class InputError(MotifError, ValueError):
    """The user's input cannot be used: a setting, a prompt, a photo, a file, a folder."""

    exit_code: ClassVar[int] = 2


class WrongBase(InputError):
    """A value made on one base was given to another."""

    exit_code: ClassVar[int] = 2


class MissingModel(MotifError, LookupError):
    """A model that is not on this machine; the message names repository, file and the command that fetches it."""

    exit_code: ClassVar[int] = 3


class Interrupted(MotifError):
    """Work stopped by Ctrl-C or a signal; the message says where the state was saved."""

    exit_code: ClassVar[int] = 130


def require_heard(
    method: Callable[..., Any], settings: Mapping[str, Any], names: Sequence[str], why: str
) -> None:
    """InputError where one of these settings is not its default, though nothing would hear it."""
    defaults = inspect.signature(method).parameters
    if given := [name for name in names if settings[name] != defaults[name].default]:
        raise InputError(f"{given[0]} would change nothing: {why}")
