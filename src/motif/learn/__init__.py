"""Ways to learn a concept from photos."""

from motif.learn.custom_diffusion import custom_diffusion
from motif.learn.examples import Examples

__all__ = ["Examples", "custom_diffusion"]
