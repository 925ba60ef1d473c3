"""Ways to invert photos: each gives an `Inversion` that any edit can start from."""

from motif.invert.ddim import ddim
from motif.invert.direct import direct
from motif.invert.negative_prompt import negative_prompt
from motif.invert.null_text import null_text
from motif.invert.null_text_plus import null_text_plus
from motif.invert.proximal import proximal
from motif.invert.text_embedding import text_embedding
from motif.invert.value_embedding import value_embedding

__all__ = [
    "ddim",
    "direct",
    "negative_prompt",
    "null_text",
    "null_text_plus",
    "proximal",
    "text_embedding",
    "value_embedding",
]
