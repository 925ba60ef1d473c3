"""`motif bench`: this machine's performance table."""

from __future__ import annotations

import json
import os
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
from motif.files import remove, written


def _bench(voice: Voice, what: str | None, output: Path | None, **settings: Any) -> None:
    output = prepare(output) if output else None
    if output and output.suffix != ".md":
        raise InputError(f"{output}: the table is Markdown: name it {output.with_suffix('.md').name}")

    kept = output.with_suffix(".rows.jsonl") if output else _cached()

    def told(name: str, done: int, of: int) -> None:
        voice.note(f"{done + 1} of {of}: {name}")

    report = measure(**settings, kept=kept, on_row=told)
    text = report.text("speed" if what == "speed" else "memory" if what == "memory" else "all")
    if output:
        for path, content in (
            (output, text),
            (output.with_suffix(".json"), json.dumps(report.data(), indent=1)),
        ):
            with written(path) as part:
                part.write_text(content + "\n", encoding="utf-8")
    if kept and not any(one.error for one in report.rows):
        remove(kept)  # the table is whole: the next one is measured anew
    voice.result(report.data(), text)


def _cached() -> Path | None:
    """Where rows are kept that no table was asked for; nowhere where the cache cannot be written."""
    home = os.environ.get("MOTIF_CACHE") or Path.home() / ".cache" / "motif"
    try:
        return prepare(Path(home) / "bench" / "rows.jsonl")
    except InputError:
        return None


bench = Command(
    "bench",
    callback=_bench,
    short_help="This machine's performance table.",
    help=f"""{summary(measure)}

    Every row is a process of its own: learning by every method, merging, encoding, drawing, inverting and editing, and
    how the cost grows with pictures, steps, pixels and concepts. `speed` or `memory` shows those columns alone.

    What is measured is kept (in FILE.rows.jsonl, or in motif's cache) until the table is whole: after a stop the same
    command goes on.""",
    params=[
        click.Argument(["what"], required=False, type=click.Choice(["speed", "memory"])),
        click.Option(["-o", "--output"], type=click.Path(path_type=Path), metavar="FILE.md",
                     help="Write the table there too, and all numbers beside it as .json."),
        *options(measure, hidden=["base", "device", "precision", "kept", "on_row"]),
        *base_options(),
    ],
)  # fmt: skip
