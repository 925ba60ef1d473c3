"""Reading text, and writing files: beside their place, then renamed, so that a stopped run leaves the last good one."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motif.errors import InputError


def cache_folder(part: str) -> Path:
    """Where what can be made again is kept: MOTIF_CACHE (or ~/.cache/motif), and in it this part."""
    return Path(os.environ.get("MOTIF_CACHE") or Path.home() / ".cache" / "motif").expanduser() / part


@contextmanager
def written(path: str | Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` when the block ends, and vanishes if the block fails.

    Missing folders are made, and go again if the block fails. The file's mode is a new file's, whatever the block made
    it. Raises InputError, one line, where the disk is full or the place is not writable.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with folder_for(part):
            mode = _mode_of_new(part)
            yield part
            if part.stat().st_mode != mode:
                part.chmod(mode)
            os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    except Exception as error:
        if tells_full_disk(error):
            raise InputError(f"cannot write {path}: {HINTS[errno.ENOSPC]}") from error
        raise


@contextmanager
def folder_for(part: Path) -> Iterator[None]:
    """The folder of a passing file, made where it is not there. In the end the file is gone, and so is every folder
    that was made and stayed empty."""
    made = [folder for folder in part.parents if not folder.exists()]
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        remove(part)
        for folder in made:
            try:
                folder.rmdir()
            except OSError:
                pass


def _mode_of_new(path: Path) -> int:
    """The mode that a new file gets there, by the umask."""
    path.touch()
    try:
        return path.stat().st_mode
    finally:
        path.unlink()


def read_text(path: str | Path) -> str:
    """A text file in UTF-8, with or without a mark at its start. InputError where it cannot be read as such."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text: save it as UTF-8") from None


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON file's mapping. InputError where it is none."""
    try:
        return dict(json.loads(read_text(path)))
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as a JSON object: {error}") from None


def remove(path: Path) -> None:
    """Delete a file if it is there and can be deleted."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass


HINTS = {
    errno.ENOSPC: "the disk is full: free some space, or write elsewhere",
    errno.EDQUOT: "your disk quota is used up: free some space, or write elsewhere",
    errno.EROFS: "the disk is read-only: write elsewhere",
    errno.EACCES: "no permission: write elsewhere",
    errno.EPERM: "not permitted: write elsewhere",
    errno.ENOENT: "there is no such file or folder: check the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder: name another",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENAMETOOLONG: "the name is too long: shorten it",
}


def reason(error: OSError) -> str:
    """What went wrong and what to do about it, in a few words."""
    return HINTS.get(error.errno or 0, error.strerror or str(error))


def tells_no_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of the GPU: torch says so in words alone."""
    text = str(error).lower()
    signs = ("out of memory", "allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def tells_full_disk(error: BaseException) -> bool:
    """Whether an error is a full disk in other words: safetensors and torch.save have their own."""
    text = str(error)
    return any(sign in text for sign in ("No space left on device", "os error 28", "inline_container.cc"))


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by name: "2.png" before "10.png", letter case ignored."""
    parts = [part for part in re.split(r"([0-9]+)", path.name.casefold()) if part]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
