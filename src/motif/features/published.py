"""Weights that are published as a plain file on the web, not on the model hub: found in torch's cache, or fetched.

torch keeps such files in `hub/checkpoints` (TORCH_HOME moves it). What is not there is fetched once, unless
HF_HUB_OFFLINE says that nothing may be; the name's hash, where it has one, is checked.
"""

import hashlib
import re
import urllib.request
from pathlib import Path
from typing import Any

from motif.errors import MissingModel
from motif.files import written

PATIENCE = 10  # seconds without an answer


def published(file: str, url: str, what: str) -> Path:
    """The file on this machine.

    Raises:
        MissingModel: it is not here and cannot be fetched now; the message names it, its address and its place.
    """
    import torch

    hub: Any = torch.hub
    place = Path(hub.get_dir()) / "checkpoints" / file
    if place.is_file():
        return place
    why = _forbidden() or _fetch(url, place)
    if why:
        raise MissingModel(f"{what}: {file} is not on this machine ({why}): put {url} into {place.parent}")
    return place


def _forbidden() -> str:
    from huggingface_hub import constants

    return "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else ""


def _fetch(url: str, place: Path) -> str:
    """Why it could not be fetched; empty where it was."""
    digest = hashlib.sha256()
    with_hash = re.search(r"-([0-9a-f]{8,})\.\w+$", place.name)
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer, written(place) as part:
            with part.open("wb") as file:
                while block := answer.read(1 << 20):
                    digest.update(block)
                    file.write(block)
            if with_hash and not digest.hexdigest().startswith(with_hash[1]):
                raise OSError("what came has another hash")
    except (OSError, ValueError) as error:
        return str(error).splitlines()[0] or type(error).__name__
    return ""
