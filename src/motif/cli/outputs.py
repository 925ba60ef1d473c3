"""Outputs: checked before the work, so that nobody waits ten minutes to learn that a disk is full."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from motif.errors import InputError
from motif.files import reason, remove

LEAST = 1 << 20
"""Free bytes that an output needs at least."""


def prepare(path: str | Path, *, needs: int = LEAST) -> Path:
    """Make sure that a file can be written: its folder exists (it is made), takes a file, and has `needs` bytes free.

    Raises InputError, before any work. The file itself is not touched.
    """
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


def concept_path(path: str | Path) -> Path:
    """The name of a concept's file: `.safetensors` is added where there is no ending."""
    path = Path(path).expanduser()
    if path.suffix not in {"", ".safetensors"}:
        raise InputError(
            f"{path}: a concept is one .safetensors file: name it {path.with_suffix('.safetensors').name}"
        )
    return path.with_suffix(".safetensors")


def _prepare(folder: Path, output: Path, needs: int) -> None:
    probe = folder / f".motif-{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 4096)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"cannot write {output}: {reason(error)}") from error
    finally:
        remove(probe)
    if free < needs:
        raise InputError(
            f"cannot write {output}: {free // 1000} kB are free there and {needs // 1000} kB are needed"
        )
