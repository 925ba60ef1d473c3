"""What a table says of the machine it was made on: as `motif bench` does."""

from motif.bench.machine import processor

__all__ = ["processor"]
