"""Ways to edit pictures: each starts from an `Inversion` (or a seed, or a photo) and gives an `Edited`."""

from motif.edit.custom_edit import custom_edit
from motif.edit.p2plus import p2plus
from motif.edit.pix2pix_zero import pix2pix_zero
from motif.edit.prompt_to_prompt import prompt_to_prompt
from motif.edit.sdedit import sdedit
from motif.edit.seeded import seeded
from motif.edit.style_transfer import style_transfer
from motif.edit.word_swap import word_swap

__all__ = [
    "custom_edit",
    "p2plus",
    "pix2pix_zero",
    "prompt_to_prompt",
    "sdedit",
    "seeded",
    "style_transfer",
    "word_swap",
]
