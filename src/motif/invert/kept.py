"""Steps that are done are kept: a long inversion that is stopped goes on where it stood.

One file, `state.safetensors` in the run's folder: the tensors of the steps so far, and in its header the key of what
they belong to (photos, captions, settings, base, concepts). It is written when the run is stopped, and twice a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from motif.errors import InputError, Interrupted
from motif.files import remove, written
from motif.progress import Ticker

STATE, FORMAT = "state.safetensors", "3"
EVERY = 30.0
"""Seconds between two states."""


class Kept:
    """The state of one run. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None, key: str, *, resume: bool) -> None:
        if resume and folder is None:
            raise InputError("to resume, name the run's folder")
        self.path = folder / STATE if folder else None
        key = _named(key)
        self.key, self.last, self.tensors = key, time.monotonic(), dict[str, Tensor]()
        if self.path and self.path.is_file():
            found, tensors = _read(self.path)
            if resume and found.partition("-")[0] != FORMAT:
                raise InputError(
                    f"{folder} was left by another version of motif: remove it, and start without --resume"
                )
            if resume and found != key:
                raise InputError(
                    f"{folder} holds a run of another photo, caption, base or setting: resume with the same, or "
                    "start without --resume in another folder"
                )
            if not resume and found == key:
                raise InputError(f"{folder} holds this very run, stopped: go on with --resume, or remove it")
            if not resume:
                raise InputError(f"{folder} holds another stopped run: choose another folder, or remove it")
            self.tensors = tensors
        elif resume:
            raise InputError(f"{folder} holds no state to resume from: start without --resume")

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the state beside its place, then rename."""
        from safetensors.torch import save_file

        if self.path:
            with written(self.path) as part:
                kept = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
                save_file(kept, part, {"motif.key": self.key})
        self.last = time.monotonic()

    @contextmanager
    def guarding(self, tensors: Callable[[], Mapping[str, Tensor]], ticker: Ticker) -> Iterator[None]:
        """In the block, Ctrl-C saves `tensors()` and raises Interrupted; at its good end the state goes."""
        try:
            yield
        except KeyboardInterrupt:
            if not self.path:
                raise
            self.save(tensors())
            raise Interrupted(
                f"stopped after step {ticker.done} of {ticker.steps}: go on with --resume ({self.path.parent})"
            ) from None
        self.clear()

    def due(self) -> bool:
        """Whether it is time to save."""
        return bool(self.path) and time.monotonic() - self.last > EVERY

    def clear(self) -> None:
        """The run is done: its state goes, and its folder where that is empty."""
        if self.path:
            _clear(self.path)


def forget(folder: Path, key: str) -> None:
    """The inversion with this key was found elsewhere: the state of its own stopped run goes, anyone else's stays."""
    path = folder / STATE
    try:
        if path.is_file() and _read(path)[0] == _named(key):
            _clear(path)
    except InputError:
        pass  # damaged: nobody knows whose it is


def _named(key: str) -> str:
    return f"{FORMAT}-{key}"


def _clear(path: Path) -> None:
    remove(path)
    try:
        path.parent.rmdir()
    except OSError:
        pass


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            header: dict[str, str] = file.metadata() or {}  # pyright: ignore[reportUnknownMemberType]
            return header.get("motif.key", ""), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error}): remove it and start again") from None
