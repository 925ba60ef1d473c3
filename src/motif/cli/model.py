"""The options that choose a base and what it wears, and loading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from motif.cli.voice import Voice

if TYPE_CHECKING:
    from motif.base import Base


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
        click.Option(["--wear"], multiple=True, type=click.Path(path_type=Path), metavar="CONCEPT",
                     help="A concept's file; may be given several times."),
        click.Option(["--other-base"], is_flag=True,
                     help="Wear concepts of another base with the same architecture (a fine-tuned relative)."),
    ]  # fmt: skip


def load_base(voice: Voice, name: str, device: str | None, precision: str | None) -> Base:
    """Load a base, and say so."""
    from motif.base import Base

    voice.note(f"loading {name}")
    return Base.load(name, device=device, precision=precision)


def dressed(base: Base, wear: Sequence[Path], *, other_base: bool) -> Base:
    """The base with the concepts of these files on."""
    from motif.concept import Concept

    return base.wear(*[Concept.load(path) for path in wear], other_base=other_base) if wear else base
