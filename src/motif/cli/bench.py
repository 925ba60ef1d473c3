"""`motif bench`: this machine's performance table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from motif.bench.run import bench as measure
from motif.cli.command import Command
from motif.cli.model import base_options
from motif.cli.options import options, summary
from motif.cli.outputs import prepare
from motif.cli.voice import Voice
from motif.errors import InputError
from motif.files import written


def _bench(voice: Voice, what: str | None, output: Path | None, **settings: Any) -> None:
    output = prepare(output) if output else None
    if output and output.suffix != ".md":
        raise InputError(f"{output}: the table is Markdown: name it {output.with_suffix('.md').name}")

    def told(name: str, done: int, of: int) -> None:
        voice.note(f"{done + 1} of {of}: {name}")

    report = measure(**settings, on_row=told)
    text = report.text("speed" if what == "speed" else "memory" if what == "memory" else "all")
    if output:
        for path, content in (
            (output, text),
            (output.with_suffix(".json"), json.dumps(report.data(), indent=1)),
        ):
            with written(path) as part:
                part.write_text(content + "\n", encoding="utf-8")
    voice.result(report.data(), text)


bench = Command(
    "bench",
    callback=_bench,
    short_help="This machine's performance table.",
    help=f"""{summary(measure)}

    Every row is a process of its own: learning by every method, merging, encoding, drawing, inverting and editing, and
    how the cost grows with pictures, steps, pixels and concepts. `speed` or `memory` shows those columns alone.""",
    params=[
        click.Argument(["what"], required=False, type=click.Choice(["speed", "memory"])),
        click.Option(["-o", "--output"], type=click.Path(path_type=Path), metavar="FILE.md",
                     help="Write the table there too, and all numbers beside it as .json."),
        *options(measure, hidden=["base", "device", "precision", "on_row"]),
        *base_options(),
    ],
)  # fmt: skip
