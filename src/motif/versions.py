"""Which versions of which libraries made a file."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

LIBRARIES = ("motif", "torch", "diffusers", "transformers", "safetensors")


@cache
def versions() -> dict[str, str]:
    """{library: version} of everything a concept depends on, and Python."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
