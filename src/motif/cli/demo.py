"""`motif demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command
from motif.cli.learn import run_bytes
from motif.cli.model import load_base
from motif.cli.options import options
from motif.cli.outputs import LEAST, prepare_folder
from motif.cli.voice import Voice, aligned

if TYPE_CHECKING:
    from motif.base import Base

METRICS = ("clip-i", "dino-i", "clip-t")


@click.command(cls=Command, short_help="The whole story, offline, in minutes.")
@click.option("-o", "--output", default="out/demo", show_default=True, type=click.Path(path_type=Path),
              metavar="DIR", help="A folder for the report and its pictures.")  # fmt: skip
@click.option("--concept", default="cat", show_default=True, help="Which held-out object.")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Training steps; the default is pocket's own advice."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of training, 0 or more."
)
def demo(voice: Voice, output: Path, concept: str, steps: int | None, seed: int) -> None:
    """Learn a concept on the embedded base, draw it in new places, score it, and write a report page.

    Offline, on a CPU, in a few minutes.
    """
    from motif.demo import demo as tell
    from motif.demo import subject_named

    subject, folder = subject_named(concept), prepare_folder(output)
    base = load_base(voice, "pocket", None, None)
    prepare_folder(folder, needs=demo_bytes(base, steps))
    with voice.progress("learning") as on_progress:
        measured = tell(
            base,
            subject,
            folder,
            steps=steps,
            seed=seed,
            say=voice.note,
            on_progress=on_progress,
            on_picture=voice.counting("prior picture"),
        )
    report = folder / "report.html"
    voice.result({"report": str(report), **measured}, f"{_scores(measured)}\n\nreport: {report}")


def demo_bytes(base: Base, steps: int | None) -> int:
    """About what a demo writes: its run, and its pictures."""
    from motif.learn import custom_diffusion

    values = {option.name or "": option.default for option in options(custom_diffusion)}
    advice = base.advice.get("custom-diffusion", {})
    return LEAST + run_bytes(base, {**values, "steps": steps}, advice)


def _scores(measured: dict[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, found in measured["scores"].items():
        cells = [found[m]["mean"] if m in found else None for m in METRICS]
        rows.append([name, *cells])
    return aligned(rows, [f"{measured['noun']} {measured['concept']}", *METRICS])
