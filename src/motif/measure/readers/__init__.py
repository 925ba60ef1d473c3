"""Readers of the benchmarks that papers measure on; the data sets themselves are not here."""

from motif.measure.readers.custom_concept import BenchmarkConcept, concept_pairs, single_concepts
from motif.measure.readers.dreambench import DreamBench, dreambench, dreambench_prompts
from motif.measure.readers.pie_bench import EditCase, decoded_mask, pie_bench

__all__ = [
    "BenchmarkConcept",
    "DreamBench",
    "EditCase",
    "concept_pairs",
    "decoded_mask",
    "dreambench",
    "dreambench_prompts",
    "pie_bench",
    "single_concepts",
]
