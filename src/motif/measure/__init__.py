"""Metrics: each a function of pictures that returns a Score, with every choice it made."""

from motif.features.extractors import ClipEncoder, DinoEncoder
from motif.features.inception import InceptionEncoder
from motif.features.perceptual import Perceptual
from motif.measure.clip_i import clip_i
from motif.measure.clip_t import clip_t
from motif.measure.clipscore import clipscore
from motif.measure.concepts import concepts
from motif.measure.dino_i import dino_i
from motif.measure.drift import drift
from motif.measure.fid import fid
from motif.measure.kid import kid
from motif.measure.lpips import lpips
from motif.measure.mse import mse
from motif.measure.ns_lpips import ns_lpips
from motif.measure.psnr import psnr
from motif.measure.reference_similarity import reference_similarity
from motif.measure.score import Score
from motif.measure.source_similarity import source_similarity
from motif.measure.ssim import ssim
from motif.measure.structure import structure
from motif.measure.text_similarity import text_similarity

__all__ = [
    "ClipEncoder",
    "DinoEncoder",
    "InceptionEncoder",
    "Perceptual",
    "Score",
    "clip_i",
    "clip_t",
    "clipscore",
    "concepts",
    "dino_i",
    "drift",
    "fid",
    "kid",
    "lpips",
    "mse",
    "ns_lpips",
    "psnr",
    "reference_similarity",
    "source_similarity",
    "ssim",
    "structure",
    "text_similarity",
]
