"""Where an encoder's files lie, and how transformers reads them: all of it or an error, without noise.

A hub id is read from the local cache; only what is not there is fetched, and only where the hub is in reach.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from motif.errors import InputError, MissingModel
from motif.hub import out_of_reach, quiet

TEXT_FILES = ["*.json", "*.txt"]
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Files:
    """An encoder's folder on this machine, and what its preprocessor says."""

    name: str  # "pocket", a folder, a hub id
    folder: Path
    fetch: str  # how to get what is missing, for messages
    preprocessor: Mapping[str, Any]


def find(name: str, *, part: str, paper: str) -> Files:
    """The folder of an encoder: `pocket`'s, the paper's, one given, or a hub id's in the local cache.

    Raises:
        MissingModel: it is not here; the message names what and the command that would fetch it.
    """
    name = paper if name == "paper" else name
    path = Path(name).expanduser()
    if name == "pocket":
        root = os.environ.get("MOTIF_POCKET_WEIGHTS")
        folder = (
            Path(root).expanduser() if root else Path(str(resources.files("motif"))) / "pocket" / "weights"
        ) / part
        fetch = "install motif again, make it with `motif pocket train`, or set MOTIF_POCKET_WEIGHTS"
    elif path.is_dir():
        folder, fetch = path, "save the whole model there, with its tokenizer and preprocessor"
    elif re.fullmatch(r"[\w.-]*\w/[\w.-]+", name):
        folder, fetch = _cached(name), f"run: hf download {name}"
    else:
        raise MissingModel(f"{name}: no such folder; an encoder is `pocket`, `paper`, a folder or a hub id")
    if not (folder / "config.json").is_file():
        raise MissingModel(f"{name}: the {part} encoder is not in {folder} (no config.json); {fetch}")
    return Files(name, folder, fetch, _preprocessor(folder))


def _cached(name: str) -> Path:
    """A repository's folder in the hub's cache; fetched where it is not there and the hub can be reached."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    hub: Any = huggingface_hub
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        why = out_of_reach()
    try:
        if not why:
            siblings: list[Any] = hub.model_info(name).siblings or []
            present = {str(sibling.rfilename) for sibling in siblings}
            weights = [w for w in WEIGHTS if w in present][:1]
            return Path(hub.snapshot_download(name, allow_patterns=[*TEXT_FILES, *weights]))
    except (HfHubHTTPError, OSError) as error:
        why = f"the hub refuses ({str(error).splitlines()[0]})"
    raise MissingModel(
        f"{name} is not on this machine and cannot be fetched now: {why}. With a network: hf download {name}"
    )


def _preprocessor(folder: Path) -> Mapping[str, Any]:
    """preprocessor_config.json, or transformers 5's processor_config.json; {} where neither is."""
    for file, key in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        path = folder / file
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{path} is not JSON: {error}") from error
            return found.get(key, {}) if key else found
    return {}


def load_model(files: Files, kind: str, device: str) -> Any:
    """A transformers CLIPModel (`clip`) or ViTModel (`vit`): fp32, frozen, every weight found.

    Raises:
        InputError: the folder holds another kind of model.
        MissingModel: a weight or a file is missing or cannot be read.
    """
    import torch
    from transformers import CLIPModel, ViTModel

    found = _kind(files.folder)
    if found != kind:
        raise InputError(f"{files.folder} holds a model of type {found!r}, not {kind!r}")
    load, extra = (CLIPModel, {}) if kind == "clip" else (ViTModel, {"add_pooling_layer": False})
    reader: Any = load
    try:
        with quiet():
            model, report = reader.from_pretrained(
                files.folder, local_files_only=True, dtype=torch.float32, output_loading_info=True,
                weights_only=True,  # a .bin (the paper's CLIP has no other file) is read as tensors and nothing else
                **extra,
            )  # fmt: skip
    except Exception as error:  # each of transformers, safetensors and torch has its own way to say so
        raise MissingModel(
            f"{files.folder}: cannot be read ({str(error).strip().splitlines()[0]}); {files.fetch}"
        ) from error
    if report["missing_keys"]:
        raise MissingModel(
            f"{files.folder}: no weight {min(report['missing_keys'])} "
            f"({len(report['missing_keys'])} missing); {files.fetch}"
        )
    return model.eval().requires_grad_(False).to(device)


def _kind(folder: Path) -> str:
    try:
        return str(
            json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", "unknown")
        )
    except ValueError as error:
        raise InputError(f"{folder / 'config.json'} is not JSON: {error}") from error


def load_tokenizer(files: Files) -> Any:
    """The folder's CLIPTokenizer; its files are looked for first, transformers makes an empty one without."""
    import transformers

    reader: Any = transformers.CLIPTokenizer

    if not ((files.folder / "tokenizer.json").is_file() or (files.folder / "vocab.json").is_file()):
        raise MissingModel(f"{files.folder}: no tokenizer.json or vocab.json; {files.fetch}")
    with quiet():
        return reader.from_pretrained(files.folder, local_files_only=True)
