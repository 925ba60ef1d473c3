"""The methods of every verb, by their names on the command line.

A table, because it can be read and searched, and nothing happens at import. To add a method, write one file and one
line here. Another package adds its own by an entry point, read when the table is asked for:

    [project.entry-points."motif.methods"]
    "learn.my-method" = "my_package.my_method:my_method"
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any

from motif.errors import InputError

GROUP = "motif.methods"


@dataclass(frozen=True)
class Method:
    """Where a function lives, what it does in a few words, and where it comes from."""

    path: str  # "package.module:function"
    summary: str
    paper: str = ""

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, _, name = self.path.partition(":")
        return getattr(import_module(module), name)


LEARN = {
    "custom-diffusion": Method(
        "motif.learn.custom_diffusion:custom_diffusion",
        "keys and values of cross-attention, and a new word, from a few photos",
        "Kumari et al. 2023, arXiv:2212.04488",
    ),
}

SAMPLE = {
    "plain": Method(
        "motif.sample.plain:plain",
        "pictures of a prompt: DDIM or DDPM steps with classifier-free guidance",
        "Song et al. 2021, arXiv:2010.02502",
    ),
}

MEASURE = {
    "clip-i": Method(
        "motif.measure.clip_i:clip_i",
        "image alignment: cosine of CLIP's image features with the photos'",
        "Gal et al. 2022, arXiv:2208.01618",
    ),
    "clip-t": Method(
        "motif.measure.clip_t:clip_t",
        "text alignment: CLIPScore with the prompt, without the concept's token",
        "Hessel et al. 2021, arXiv:2104.08718",
    ),
    "dino-i": Method(
        "motif.measure.dino_i:dino_i",
        "image alignment: cosine of DINO's image features with the photos'",
        "Ruiz et al. 2023, arXiv:2208.12242",
    ),
}

VERBS = {"learn": LEARN, "sample": SAMPLE, "measure": MEASURE}


@cache
def table(verb: str) -> dict[str, Method]:
    """{command-line name: Method} of a verb, those of other packages last; they cannot replace our own."""
    found = dict(VERBS[verb])
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        of, _, name = entry.name.partition(".")
        if of == verb:
            package = entry.dist.name if entry.dist else entry.module
            found.setdefault(name, Method(f"{entry.module}:{entry.attr}", f"by the package {package}"))
    return found


def find(verb: str, name: str) -> Method:
    """A method by its name; InputError suggests the nearest names."""
    methods = table(verb)
    if name in methods:
        return methods[name]
    near = difflib.get_close_matches(name, methods, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(methods)}"
    raise InputError(f"no method {name} to {verb}: {hint}")


def load(verb: str, name: str) -> Callable[..., Any]:
    """Import a method's function by its command-line name."""
    return find(verb, name).load()
