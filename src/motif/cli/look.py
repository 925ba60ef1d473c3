"""Commands that look and change nothing: check, show, methods, doctor."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif import methods as tables
from motif.cli.command import Command
from motif.cli.voice import Voice, aligned, tree
from motif.errors import InputError, MotifError

if TYPE_CHECKING:
    from motif.learn.survey import Survey


@click.command(cls=Command, short_help="Every file of a folder of photos, its fate, and why.")
@click.argument("photos", metavar="PHOTOS")
@click.argument("prompt", metavar="[PROMPT]", required=False)
@click.option(
    "--resolution",
    type=click.IntRange(min=1),
    help="The side they will be learned at, in pixels; small photos are named.",
)
def check(voice: Voice, photos: str, prompt: str | None, resolution: int | None) -> None:
    """Look at photos before learning: every file, its fate, and why.

    With a PROMPT, that and the captions are checked too. Exits 2 where no photo is usable, or the prompt or
    a caption is not.
    """
    from motif.learn.survey import survey

    looked = survey(photos, resolution=resolution)
    faults = [] if prompt is None else prompt_faults(looked, prompt)
    rows = {"place": looked.place, "used": len(looked.used), "notices": looked.notices, "problems": faults}
    voice.result({**rows, "files": [file.row() for file in looked.files]}, _survey_text(looked, faults))
    sys.stdout.flush()
    looked.require_used()
    if faults:
        more = f" (and {len(faults) - 1} more, listed above)" if len(faults) > 1 else ""
        raise InputError(f"{faults[0]}{more}")


def prompt_faults(looked: Survey, prompt: str) -> list[str]:
    """What is wrong with the prompt; where nothing is, what is wrong with each caption."""
    from motif.learn.examples import Examples
    from motif.learn.survey import File

    def fault(file: File) -> str:
        try:
            Examples(replace(looked, files=(file,), notices=()), prompt)
        except InputError as error:
            return str(error)
        return ""

    if own := fault(
        File(Path(looked.place), "used")
    ):  # a photo without a caption: the prompt alone is looked at
        return [own]
    found = [(f"the caption of {file.path}", text) for file in looked.used if (text := fault(file))]
    return [text if text.startswith(where) else f"{where}: {text}" for where, text in found]


def _survey_text(looked: Survey, faults: Sequence[str]) -> str:
    lines: list[str] = list(looked.notices)
    width = max((len(file.path.name) for file in looked.files), default=0)
    for file in looked.files:
        size = f"{file.size[0]}x{file.size[1]}" if file.size else ""
        lines.append(f"{file.fate:8} {file.path.name:{width}}  {size:10} {file.why}".rstrip())
        lines += [f"{'':8}   warning: {warning}" for warning in file.warnings]
        lines += [f"{'':8}   {note}" for note in file.notes]
        lines += [f'{"":8}   "{file.caption}"'] if file.caption else []
    counts = {fate: len(looked.of(fate)) for fate in ("used", "refused", "skipped")}
    lines += [f"problem: {fault}" for fault in faults]
    return "\n".join([*lines, ", ".join(f"{n} {fate}" for fate, n in counts.items()) + f": {looked.place}"])


@click.command(cls=Command, short_help="What a concept's or an inversion's file holds.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def show(voice: Voice, file: Path) -> None:
    """Print what a file holds: of a concept its tokens, noun, base, method, settings and sizes; of an inversion its
    captions, settings, how well it comes back and what it cost."""
    from motif.concept import Concept
    from motif.inversion import ENDING, Inversion

    file = file.expanduser()
    about = (Inversion.load(file) if file.suffix == ENDING else Concept.load(file)).describe()
    voice.result(about, tree(about))


@click.command(cls=Command)
def methods(voice: Voice) -> None:
    """List the methods of every verb."""
    found = [(verb, name, method) for verb in tables.VERBS for name, method in tables.table(verb).items()]
    data = [
        {"verb": verb, "name": name, "summary": m.summary, "paper": m.paper, "path": m.path}
        for verb, name, m in found
    ]
    voice.result(data, aligned([(f"motif {verb} {name}", m.summary, m.paper) for verb, name, m in found]))


@click.command(cls=Command, short_help="What a bug report needs.")
def doctor(voice: Voice) -> None:
    """Print what a bug report needs: versions, devices, folders, and whether the embedded base loads."""
    from motif.versions import versions

    failure, pocket = _pocket()
    data: dict[str, Any] = {
        "versions": versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), **_torch()},
        "folders": _folders(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "pocket": pocket,
    }
    voice.result(data, tree(data))
    sys.stdout.flush()
    if failure:
        raise failure


ENVIRONMENT = (
    "MOTIF_CACHE MOTIF_POCKET_WEIGHTS HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE TRANSFORMERS_OFFLINE CUDA_VISIBLE_DEVICES "
    "OMP_NUM_THREADS NO_COLOR"
).split()


def _torch() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"torch threads": torch.get_num_threads(), "gpus": ", ".join(gpus) or "none"}


def _folders() -> dict[str, str]:
    from huggingface_hub import constants

    cache = os.environ.get("MOTIF_CACHE") or str(Path.home() / ".cache" / "motif")
    return {
        "motif": str(Path(__file__).parents[1]),
        "motif cache": cache,
        "hub cache": str(constants.HF_HUB_CACHE),
    }


def _pocket() -> tuple[MotifError | None, str]:
    from motif.base import Base

    began = time.monotonic()
    load: Callable[..., Base] = Base.load
    try:
        base = load("pocket", device="cpu")
    except MotifError as error:
        return error, f"does not load: {error}"
    return None, f"loads in {time.monotonic() - began:.1f} s, draws {base.size}x{base.size} pixels"
