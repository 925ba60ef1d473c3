"""Inversions that were made before: found by what is asked for, never by where a photo lies.

The key is a hash of the photos' pixels, captions, method and settings, the base, what it wears, and motif's version.
They lie in MOTIF_CACHE (or ~/.cache/motif), under `inversions`; the oldest go where they take more than `LIMIT` bytes.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from motif.base import Base
from motif.errors import InputError
from motif.files import cache_folder, remove
from motif.inversion import ENDING, FORMAT, Inversion
from motif.invert.kept import forget
from motif.invert.pivot import Task, begin, run_key
from motif.photo import Photo
from motif.versions import versions

LIMIT = 2 << 30

Invert = Callable[..., Inversion]


def folder() -> Path:
    """Where inversions are kept."""
    return cache_folder("inversions")


def key(
    function: Invert,
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    **settings: Any,
) -> str:
    """One word for the inversion that this call would make; it checks photos, captions and size on the way."""
    return _key(function, _task(function, base, photos, prompt, **settings))


def _task(function: Invert, base: Base, photos: Any, prompt: Any, **settings: Any) -> Task:
    bound = inspect.signature(function).bind(base, photos, prompt, **settings)
    bound.apply_defaults()
    return begin(base, photos, prompt, {**bound.arguments, "on_progress": None})


def _key(function: Invert, task: Task) -> str:
    told = [FORMAT, versions()["motif"], run_key(task, f"{function.__module__}:{function.__name__}")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]


def cached(
    function: Invert,
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    **settings: Any,
) -> tuple[Inversion, bool]:
    """(the inversion that `function` makes, whether it was there already). A damaged one is made again.

    Where one is found, what a stopped run of the very same left in `settings["folder"]` goes, as at that run's end.
    """
    task = _task(function, base, photos, prompt, **settings)
    place = folder() / f"{_key(function, task)}{ENDING}"
    if place.is_file():
        try:
            found = Inversion.load(place)
            found.check(base)
        except InputError:
            remove(place)
        else:
            if settings.get("folder"):
                forget(settings["folder"], run_key(task, found.method))
            return found, True
    inversion = function(base, photos, prompt, **settings)
    try:
        inversion.save(place)
        _shrink(place.parent)
    except (InputError, OSError):
        pass  # a cache that cannot be written is none
    return inversion, False


def _shrink(home: Path) -> None:
    """The oldest go, down to LIMIT bytes."""
    files = sorted(home.glob(f"*{ENDING}"), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in files)
    for path in files[:-1]:
        if total <= LIMIT:
            break
        total -= path.stat().st_size
        remove(path)
