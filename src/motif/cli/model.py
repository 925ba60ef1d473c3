"""The options that choose a base and what it wears, and loading them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.voice import Voice
from motif.errors import InputError
from motif.tokens import TOKEN

if TYPE_CHECKING:
    from motif.base import Base
    from motif.concept import Concept


def base_options() -> list[click.Parameter]:
    """--base, --device, --precision."""
    return [
        click.Option(["--base"], default="pocket", show_default=True, metavar="NAME",
                     help="pocket, a diffusers folder, a single .safetensors, or a hub id."),
        click.Option(["--device"], help="cpu, cuda, cuda:1...; the default is a GPU where there is one."),
        click.Option(["--precision"], type=click.Choice(["fp32", "fp16", "bf16"]),
                     help="The default is fp32 on a CPU and bf16 on a GPU."),
    ]  # fmt: skip


def wear_options() -> list[click.Parameter]:
    """--wear, --other-base."""
    return [
        click.Option(["--wear"], multiple=True, metavar="CONCEPT",
                     help="A concept's file; may be given several times. FILE=<new2> wears it under another token, "
                     "where two use the same one; for a concept of several, FILE=<a>,<b> in `motif show`'s order."),
        click.Option(["--other-base"], is_flag=True,
                     help="Wear concepts of another base with the same architecture (a fine-tuned relative)."),
    ]  # fmt: skip


def load_base(voice: Voice, name: str, device: str | None, precision: str | None) -> Base:
    """Load a base, and say so."""
    from motif.base import Base

    voice.note(f"loading {name}")
    return Base.load(name, device=device, precision=precision)


def dressed_base(voice: Voice, values: Mapping[str, Any]) -> Base:
    """The base that a command's options name, with the concepts on that --wear names. They are read first: nobody waits
    for a base to be told that a concept is not there."""
    concepts = read_concepts(values["wear"])
    base = load_base(voice, values["base"], values["device"], values["precision"])
    return base.wear(*concepts, other_base=values["other_base"]) if concepts else base


def read_concepts(wear: Sequence[str]) -> list[Concept]:
    """The concepts of these files, each FILE or FILE=<token>."""
    return [_concept(text) for text in wear]


def _concept(text: str) -> Concept:
    """The concept of FILE, or of FILE=<new2> under that token."""
    from motif.concept import Concept

    found = re.fullmatch(rf"(.+?)=({TOKEN.pattern}(?:,{TOKEN.pattern})*)", text)
    path = Path(found[1] if found else text).expanduser()
    if not found and "=" in text and not path.is_file():
        raise InputError(
            f"{text}: no such concept file; another token is written in angle brackets: FILE=<new2>"
        )
    concept = Concept.load(path)
    if not found:
        return concept
    old, new = list(concept.tokens), found[2].split(",")
    if len(old) != len(new):
        raise InputError(
            f"{text}: the concept has {len(old)} tokens ({' '.join(old)}), and {len(new)} are named"
        )
    return concept.renamed(dict(zip(old, new, strict=True)))
