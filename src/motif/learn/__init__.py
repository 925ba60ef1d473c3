"""Ways to learn a concept from photos."""

from motif.learn.custom_diffusion import custom_diffusion
from motif.learn.custom_edit import custom_edit
from motif.learn.dreambooth import dreambooth
from motif.learn.examples import Examples
from motif.learn.fine_tune_all import fine_tune_all
from motif.learn.ico import ico
from motif.learn.textual_inversion import textual_inversion

__all__ = [
    "Examples",
    "custom_diffusion",
    "custom_edit",
    "dreambooth",
    "fine_tune_all",
    "ico",
    "textual_inversion",
]
