"""Outputs: checked before the work, so that nobody waits ten minutes to learn that a disk is full.

A check leaves no trace: what it makes to try the place goes again, and a command that is refused leaves no folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from motif.errors import InputError
from motif.features.pictures import SUFFIXES
from motif.files import folder_for, reason

LEAST = 1 << 20
"""Free bytes that an output needs at least."""

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""Pictures that are written; of other kinds there is no telling what was meant."""

OTHERS = (SUFFIXES | {".heic", ".heif"}) - ENDINGS
ALIENS = SUFFIXES | frozenset(
    ".bin .ckpt .pt .pth .txt .md .json .jsonl .toml .yaml .yml .csv .html .zip .npz .gif .heic .heif".split()
)
"""Endings that are no part of a name: a concept is not `cat.txt.safetensors`."""


def prepare(path: str | Path, *, needs: int = LEAST) -> Path:
    """Make sure that a file can be written: its folder, or what can be made of it, takes a file and has `needs` bytes
    free. Raises InputError, before any work; nothing is left there."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError(f"{path}: is a folder: name a file for the output")
    _prepare(path.parent, path, needs)
    return path


def prepare_folder(path: str | Path, *, needs: int = LEAST) -> Path:
    """The same for a folder that files will be written to."""
    path = Path(path).expanduser()
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file: name a folder for the output")
    _prepare(path, path, needs)
    return path


def is_picture(path: Path) -> bool:
    """Whether a name is a picture's. InputError for a kind of picture that is not written."""
    ending = path.suffix.lower()
    if ending in OTHERS:
        raise InputError(
            f"{path}: pictures are written as .png, .jpg or .webp: name it {path.with_suffix('.png').name}"
        )
    return ending in ENDINGS


def strangers(folder: Path, mine: Collection[Path]) -> list[Path]:
    """The other pictures in a folder: an earlier run's, or somebody's."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path not in mine)


def concept_path(path: str | Path) -> Path:
    """The name of a concept's file: `.safetensors` is added where there is no ending."""
    path = Path(path).expanduser()
    if path.suffix not in {"", ".safetensors"}:
        name = path.stem if path.suffix.lower() in ALIENS else path.name
        raise InputError(f"{path}: a concept is one .safetensors file: name it {name}.safetensors")
    return path.with_suffix(".safetensors")


def _prepare(folder: Path, output: Path, needs: int) -> None:
    probe = folder / f".motif-{os.getpid()}.part"
    try:
        with folder_for(probe):
            probe.write_bytes(b"\0" * 4096)
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"cannot write {output}: {reason(error)}") from error
    if free < needs:
        raise InputError(
            f"cannot write {output}: {free // 1000} kB are free there and {needs // 1000} kB are needed"
        )
