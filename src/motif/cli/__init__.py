"""The command line. Results go to stdout, progress and log to stderr; the exits are those of `motif.errors`."""

from motif.cli.main import main

__all__ = ["main"]
