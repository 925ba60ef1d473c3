"""Whose figures a card has: a name for the weights in a folder, and how those that motif ships were made."""

from __future__ import annotations

import hashlib
from pathlib import Path

from motif.pocket.recipe.shipping import ENCODER


def weights_of(folder: Path) -> str:
    """Sixteen hex digits of all weight files under a folder that the card measures, of their places and their bytes:
    not of ELITE's encoder, which names the weights that it belongs to itself."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.safetensors")}
    files.pop(ENCODER.as_posix(), None)
    lines = [f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def history(weights: str) -> str:
    """How these weights were made, if they are those that motif ships: `history.md` names them in its first line."""
    first, _, text = (Path(__file__).parent / "history.md").read_text(encoding="utf-8").partition("\n")
    if first.removeprefix("weights: ") != weights:
        return "Not by motif's authors: these are not the weights that motif ships. The run's logs tell more."
    return text.strip()
