"""`motif demo`."""

from __future__ import annotations

from pathlib import Path

import click

from motif.cli.command import Command
from motif.cli.outputs import prepare_folder
from motif.cli.voice import Voice


@click.command(cls=Command, short_help="The whole story, offline, in minutes.")
@click.option("-o", "--output", default="out/demo", show_default=True, type=click.Path(path_type=Path), metavar="DIR",
              help="A folder for the report and its pictures.")  # fmt: skip
def demo(voice: Voice, output: Path) -> None:
    """The whole story, offline, in minutes: learn a concept on the embedded base, draw it, score it, write a report."""
    from motif.demo import demo as tell

    report = tell(prepare_folder(output))
    voice.result({"report": str(report)}, str(report))
