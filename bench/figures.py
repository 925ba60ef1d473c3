"""Writes docs/figures.md from what the other scripts here left under out/bench: `make figures` runs them all."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
MADE = ROOT / "out" / "bench"

OPENING = """# Measured figures

Written by `make figures` (about half an hour on two free cores): every number is from a command in `bench/`, with its
machine and date. Scores are means over pictures with standard errors; pocket's own figures are in its
[model card](../src/motif/pocket/weights/MODEL_CARD.md).
"""

PARTS = (
    (
        "Does Custom Diffusion learn the object?",
        "`python bench/identity.py -o out/bench/identity`",
        "identity/identity.md",
    ),
    (
        "A training step on pocket, against a plain implementation",
        "`python bench/speed.py`",
        "speed-pocket.md",
    ),
    (
        "The same without resizing, which is pocket's advice",
        "`python bench/speed.py --no-augment`",
        "speed-pocket-whole.md",
    ),
    (
        "The same on Stable Diffusion 1.5's shapes",
        "`python bench/speed.py --base sd15 --size 256 --steps 3`",
        "speed-sd15.md",
    ),
)

PEER = """
The peer (`motif/bench/plain_learning.py`) trains the same parameters through diffusers' stock modules, as the
published scripts do: AdamW over the whole embedding, every picture through the VAE and every caption through the text
encoder in every step. Loss, resize augmentation and batch are the same; its photos all have the one prompt, ours the
captions that lie beside them. The sides take turns in processes of their own.

Where the time goes decides what can be gained. On pocket nearly all of a step is the UNet's forward and backward pass,
which both sides share; its small VAE and its 2,216 words leave little to save. At Stable Diffusion's
size a plain step also encodes eight pictures, reads eight captions and moves Adam over 49,408 words; ours does those
once, or not at all. The goal of this comparison, 1.5 times, is met there and not on pocket with resizing.
"""


def main() -> None:
    """Join the parts that are there; a missing one is named in its place."""
    text = OPENING
    for title, command, name in PARTS:
        path = MADE / name
        body = path.read_text(encoding="utf-8") if path.exists() else "Not measured yet.\n"
        text += f"\n## {title}\n\n{command}\n\n{body}"
        if name.startswith("identity") and path.exists():
            shutil.copy(path.with_suffix(".png"), ROOT / "docs" / "pictures" / "identity.png")
            text += "\n![A photo; then eight prompts, with the class word and with the token](pictures/identity.png)\n"
    (ROOT / "docs" / "figures.md").write_text(text + PEER, encoding="utf-8")


if __name__ == "__main__":
    main()
