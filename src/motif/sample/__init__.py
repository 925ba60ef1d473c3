"""Ways to draw pictures of a prompt."""

from motif.sample.plain import plain

__all__ = ["plain"]
