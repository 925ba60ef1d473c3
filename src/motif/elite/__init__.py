"""ELITE: an encoder that makes a concept from one photo in one pass (Wei et al. 2023, arXiv 2302.13848)."""

from motif.elite.encoder import Encoder

__all__ = ["Encoder"]
