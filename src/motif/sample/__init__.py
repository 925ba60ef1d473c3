"""Ways to draw pictures of a prompt."""

from motif.sample.dci import dci
from motif.sample.elite import elite
from motif.sample.plain import plain

__all__ = ["dci", "elite", "plain"]
