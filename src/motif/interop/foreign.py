"""A foreign file as a value, and reading and writing it. Pickles are read here alone, by torch's reader that runs no
code (`weights_only=True`); none is ever written.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motif.errors import InputError
from motif.files import tells_no_memory, written
from motif.weights import Change

Names = Mapping[str, str]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Foreign:
    """What one file of another tool holds: tensors by their foreign names, and the header's words."""

    name: str  # the file's name, without folders
    content: Mapping[str, Any]  # tensors; old pickles have mappings and lists in between
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])  # PEFT's adapter_config.json beside it

    @property
    def stem(self) -> str:
        return Path(self.name).stem


@dataclass(frozen=True)
class Piece:
    """The part of a concept that one foreign file holds."""

    tokens: Mapping[str, tuple[Tensor, ...]]  # by the file's own word for it; "" where it has none
    changes: Mapping[str, Change]


def open_foreign(path: str | Path) -> Foreign:
    """Read a file of another tool. InputError where it cannot be read, or holds more than data."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder: name its files" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}")
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path)
        content = _pickle(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    if isinstance(content, Tensor):
        content = {"": content}
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, not named tensors")
    return Foreign(path.name, {str(key): value for key, value in content.items()})


def _safetensors(path: Path) -> Foreign:
    from safetensors import SafetensorError, safe_open

    from motif.files import read_json

    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            metadata: dict[str, str] = dict(file.metadata() or {})  # pyright: ignore[reportUnknownMemberType]
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file, or cut short ({error})") from None
    if "motif.record" in metadata:
        raise InputError(f"{path}: is a motif concept already: wear it as it is")
    beside = path.with_name("adapter_config.json")
    config = read_json(beside) if path.stem == "adapter_model" and beside.is_file() else {}
    return Foreign(path.name, tensors, metadata, config)


def _pickle(path: Path) -> Any:
    """A pickle's tensors. The original Textual Inversion keeps them in a ParameterDict, a container without code."""
    with torch.serialization.safe_globals([torch.nn.ParameterDict]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pickle's age, which is what is read here
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(f"{path}: {_refusal(str(error))}") from None
        except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
                UnicodeDecodeError, zipfile.BadZipFile) as error:  # fmt: skip
            if tells_no_memory(error):
                raise
            raise InputError(f"{path}: not a file of tensors, or damaged ({type(error).__name__})") from None


def _refusal(told: str) -> str:
    """torch's long explanation in a few words: which function the pickle would have called."""
    asks = re.search(r"GLOBAL ([\w.]+)", told)
    if not asks:
        return "not a file of tensors, or damaged: its pickle cannot be read"
    return f"refused: its pickle calls for {asks[1]}, and could run code: ask for a .safetensors"


def save_foreign(folder: Path, file: Foreign) -> Path:
    """Write one `.safetensors` into a folder, beside its place and then renamed."""
    from safetensors.torch import save_file

    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in file.content.items()}
    with written(folder / file.name) as part:
        save_file(tensors, part, metadata={"format": "pt", **file.metadata})
    return folder / file.name


def vectors(value: Any, who: str) -> Tensor:
    """A token's vectors [vector, channel] in float32, from one row or several."""
    if not isinstance(value, Tensor) or value.dim() not in (1, 2) or not value.numel():
        found = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise InputError(f"{who}: a token's vectors are one row or several, not {found}")
    return torch.atleast_2d(value.detach()).float().clone()


def tensor(value: Any, who: str) -> Tensor:
    """A tensor of a pickle's mapping, in float32; InputError where something else stands there."""
    if not isinstance(value, Tensor):
        raise InputError(f"{who} is a {type(value).__name__}, not a tensor")
    return value.detach().float()


def number(value: Any, who: str) -> float:
    """A number that a file keeps as a tensor."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise InputError(f"{who} is not one number")
    return float(value)


def file_names(tokens: Sequence[str]) -> dict[str, str]:
    """A word for a file's name for each token: "<my/cat>" -> "my_cat"; no two are the same."""
    found: dict[str, str] = {}
    for token in tokens:
        stem = re.sub(r"[^\w.-]+", "_", token.strip("<>")).strip("._") or "token"
        taken = {name.casefold() for name in found.values()}
        numbered = (stem if i == 1 else f"{stem}-{i}" for i in range(1, len(found) + 2))
        found[token] = next(name for name in numbered if name.casefold() not in taken)
    return found
