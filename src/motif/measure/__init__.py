"""Metrics: each a function of pictures that returns a Score, with every choice it made."""

from motif.features.extractors import ClipEncoder, DinoEncoder
from motif.measure.clip_i import clip_i
from motif.measure.clip_t import clip_t
from motif.measure.dino_i import dino_i
from motif.measure.score import Score

__all__ = ["ClipEncoder", "DinoEncoder", "Score", "clip_i", "clip_t", "dino_i"]
