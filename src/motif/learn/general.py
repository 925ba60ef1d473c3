"""The states of the captions that the package has for a base: read once, then kept on this machine.

A merge holds the keys and values of some 200 captions, and reading them is three quarters of its time. They are the
same for every merge on a base. So all of them are read at once, whatever a merge needs of them, and lie in the cache
under a name made of all that the last bit depends on: the captions, the base's weights and precision, the device, the
number of threads and the libraries. A merge from the cache is the merge without it, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.files import cache_folder, written
from motif.versions import versions

LAYOUT = 1
"""Counts up where the files' content changes."""

Read = Callable[[Base, Sequence[str]], list[Tensor]]
"""Reads the rows [row, channel] of every caption, float64 on the CPU."""


def place_of(base: Base, captions: Sequence[str]) -> Path:
    """Where the states of these captions lie for this base on this machine."""
    told = [
        LAYOUT, list(captions), base.origin.fingerprint, base.device.type, torch.get_num_threads(), versions(),
        torch.backends.cpu.get_cpu_capability(),
    ]  # fmt: skip
    name = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
    return cache_folder("captions") / f"{name}.safetensors"


def kept_rows(base: Base, captions: Sequence[str], read: Read) -> dict[str, Tensor]:
    """{caption: its rows}, from the cache, or read and left there. A file that is damaged is made again."""
    place = place_of(base, captions)
    if (found := _loaded(place, captions)) is not None:
        return found
    rows = dict(zip(captions, read(base, captions), strict=True))
    _saved(place, list(rows.values()))
    return rows


def _loaded(place: Path, captions: Sequence[str]) -> dict[str, Tensor] | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        file = load_file(place)
        parts = file["rows"].double().split(file["counts"].tolist())
        return dict(zip(captions, parts, strict=True))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError):
        return None


def _saved(place: Path, rows: Sequence[Tensor]) -> None:
    """Encoders answer in float32, so that nothing is lost by keeping that."""
    from safetensors.torch import save_file

    file = {"rows": torch.cat(list(rows)).float(), "counts": torch.tensor([len(part) for part in rows])}
    try:
        with written(place) as part:
            save_file(file, part)
    except (InputError, OSError):
        pass  # a cache that cannot be written is none
