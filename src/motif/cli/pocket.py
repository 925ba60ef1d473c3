"""`motif pocket render | train | assemble | card`: how the embedded base is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from motif.cli.command import Command, Group
from motif.cli.outputs import prepare_folder
from motif.cli.voice import Voice
from motif.errors import InputError
from motif.files import cache_folder

PATH = click.Path(path_type=Path)
STAGES = ("tokenizer", "vae", "condition-clip", "clip", "dino", "judge", "unet", "decoder", "condition-image")
SIZES = ("tiny", "first", "h200")
CARD = ("vae", "clip", "judge", "instances", "samples", "probes", "speed")


def cache() -> Path:
    """Where long-lived material lies: MOTIF_CACHE/pocket, by default ~/.cache/motif/pocket."""
    return cache_folder("pocket")


def _shards(_: click.Context, __: click.Parameter, value: Path | None) -> Path:
    return value or cache() / "shards"


def _run(_: click.Context, __: click.Parameter, value: Path | None) -> Path:
    return value or cache() / "run"


SHARDS: Any = click.option(
    "--shards", type=PATH, callback=_shards, help="Rendered pictures; default: the cache's shards."
)
RUN: Any = click.option(
    "--run", type=PATH, callback=_run, help="The training's folder; default: the cache's run."
)


@click.group(cls=Group, short_help="How the embedded base is made.")
def pocket() -> None:
    """Make the embedded base: render its world, train its parts, write and measure the folder that is shipped."""


@pocket.command(cls=Command)
@SHARDS
@click.option(
    "--count",
    default=31488,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many pictures; one instance in 24 is kept apart, so that the default leaves 30,000 for training. 0: only "
    "what the card measures with.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Which world.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; the default is one per core.")
@click.option("--samples", default=16, show_default=True, type=click.IntRange(min=1), help="Rays per pixel.")
@click.option(
    "--held-out",
    type=PATH,
    metavar="DIR",
    help="Render into DIR, instead, what training never sees and the package ships: concepts, pairs, edits.",
)
def render(voice: Voice, shards: Path, count: int, seed: int, workers: int | None, samples: int,
           held_out: Path | None) -> None:  # fmt: skip
    """Render captioned scenes into shards, and those that the card measures with: a crowd, and objects kept apart.
    Complete shards are kept, so that it goes on where it stopped.
    """
    from motif.pocket.world import held_out as apart
    from motif.pocket.world import shards as tiles
    from motif.pocket.world.scene import NOUNS

    if held_out is not None:
        said = click.get_current_context().get_parameter_source
        for name in ("shards", "count", "seed", "workers"):
            if said(name) is not ParameterSource.DEFAULT:
                raise InputError(f"--{name} is of shards, and --held-out renders what is fixed: drop it")
        folder = prepare_folder(held_out)
        _understood(lambda: apart.held_out(folder, samples=samples, done=voice.note))
        voice.result({"held_out": str(folder)}, str(folder))
        return
    kinds = {"train": count, "apart": 5 * tiles.APART, "crowd": 2 * tiles.CROWD * len(NOUNS)}
    prepare_folder(shards, needs=sum(kinds.values()) * 2500)
    files = 0

    def done(path: Path) -> None:
        nonlocal files
        files += 1
        voice.note(f"{path} ({files})")

    for kind, many in kinds.items():
        if many == 0:
            continue
        _understood(
            lambda kind=kind, many=many: tiles.write_shards(
                shards, kind=kind, count=many, seed=seed, workers=workers, samples=samples, done=done
            )
        )
    voice.result({"shards": str(shards), "files": files}, str(shards))


@pocket.command(cls=Command)
@RUN
@SHARDS
@click.option(
    "--stages",
    multiple=True,
    type=click.Choice(STAGES),
    help="Only these stages; may be given several times. The default is all.",
)
@click.option(
    "--size",
    default="first",
    show_default=True,
    type=click.Choice(SIZES),
    help="Shapes and budgets of every part.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Every stage's budget in minutes, instead of its own.",
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1), help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda...")
@click.option(
    "--start",
    type=PATH,
    metavar="pocket|DIR",
    help="Parts that the run lacks start from this shipped folder.",
)
def train(voice: Voice, run: Path, shards: Path, stages: Sequence[str], size: str, minutes: float | None,
          threads: int, device: str, start: Path | None) -> None:  # fmt: skip
    """Train every part from rendered shards. Each stage resumes from its checkpoint."""
    from motif.loading import pocket_weights
    from motif.pocket.recipe import train as train_parts

    prepare_folder(run)
    figures = _understood(
        lambda: train_parts(
            run,
            shards,
            stages=stages or STAGES,
            size=size,
            minutes=minutes,
            threads=threads,
            device=device,
            start=pocket_weights() if str(start) == "pocket" else start,
            report=voice.note,
        )
    )
    voice.result({"run": str(run), "figures": figures}, str(run))


@pocket.command(cls=Command)
@RUN
@click.option("-o", "--output", required=True, type=PATH, metavar="DIR", help="The folder to write.")
def assemble(voice: Voice, run: Path, output: Path) -> None:
    """Write the folder that is shipped from a training's parts."""
    from motif.pocket.recipe import assemble as write

    found = [place for place in (run, output) if (place / "elite" / "encoder.safetensors").is_file()]
    sizes = _understood(lambda: write(run, prepare_folder(output)))
    if found and "elite" not in sizes:
        voice.note(
            f"ELITE's encoder ({found[0] / 'elite'}) belongs to other weights and is left out: train one on these "
            "(motif learn elite)"
        )
    voice.result({"folder": str(output), "bytes": sizes}, str(output))


@pocket.command(cls=Command)
@click.option("--folder", type=PATH, help="The shipped folder; the default is the embedded base's own.")
@SHARDS
@click.option(
    "--parts",
    multiple=True,
    type=click.Choice(CARD),
    help="Measure only these; the others' figures stay if they are of the same weights. May be given several times.",
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1), help="Threads of torch.")
def card(voice: Voice, folder: Path | None, shards: Path, parts: Sequence[str], threads: int) -> None:
    """Measure a shipped folder on held-out pictures, and write its model card."""
    from motif.bench.machine import processor
    from motif.loading import pocket_weights
    from motif.pocket.recipe import measure_card

    folder = folder or pocket_weights()
    if not (folder / "pipeline").is_dir():
        what = (
            "it has no pipeline: `motif pocket assemble` writes one" if folder.is_dir() else "no such folder"
        )
        raise InputError(f"{folder}: {what}")
    prepare_folder(folder)
    figures = _understood(
        lambda: measure_card(folder, shards, parts=parts or CARD, threads=threads, machine=processor())
    )
    voice.result([asdict(one) for one in figures], str(folder / "MODEL_CARD.md"))


def _understood(work: Callable[[], Any]) -> Any:
    """Run the recipe; what it refuses is the user's input."""
    try:
        return work()
    except ModuleNotFoundError as error:
        if error.name not in ("mitsuba", "trimesh"):
            raise
        raise InputError(f"{error.name} is not installed: pip install 'motif[pocket]'") from error
    except FileNotFoundError as error:
        raise InputError(str(error)) from error
