"""`motif tradeoff SPEC.toml -o DIR`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command
from motif.cli.outputs import prepare_folder
from motif.cli.voice import EVERY, Voice, aligned
from motif.errors import InputError, MotifError

if TYPE_CHECKING:
    from motif.tradeoff.jobs import Job
    from motif.tradeoff.table import Table


def _run(voice: Voice, spec: Path, output: Path, **settings: Any) -> None:
    """Sweep a grid of concepts, methods, settings, prompts and seeds; draw the trade-off's curves and front.

    SPEC is a TOML file: `base`, `concepts` (pocket's held-out objects by name, tables with `photos` and `prompt`,
    or the file of a benchmark: CustomConcept101's dataset.json, DreamBench's prompts_and_classes.txt), `prompts`
    with {concept} and maybe {place} (a list, or a file with one a line, {} or {concept} in it), `seeds`, `metrics`
    (names, or {name = "kid-clip", metric = "kid", settings = {features = "clip"}}, so that one can stand there
    twice), and [[methods]] with `learn`, `sample`, `settings` and `sampling`, in which a list is a grid; with `noun =
    false` a method learns and draws its word without the noun ("a photo of a <new1>", Textual Inversion's own way).
    Results are kept in DIR by what they depend on: the same command goes on after any stop, a changed setting redoes
    what it touches, and a failed job is named while the others go on.

    \b
    base = "pocket"
    concepts = ["cat", "boat"]
    prompts = ["a photo of a {concept} {place}"]
    seeds = 4
    metrics = ["clip-t", "clip-i"]
    [[methods]]
    learn = "custom-diffusion"
    settings = {steps = [50, 100, 200]}
    """
    from motif.tradeoff.spec import read_spec

    read_spec(spec)
    folder = prepare_folder(output)
    from motif.tradeoff.sweep import tradeoff

    found = tradeoff(
        spec, folder,
        on_plan=lambda jobs, missing: voice.note(f"{jobs} jobs, {jobs - missing} of them done already"),
        on_job=_telling(voice),
        **settings,
    )  # fmt: skip
    report = folder / "report.html"
    voice.result({"report": str(report), **found.as_dict()}, f"{_text(found)}\n\nreport: {report}")
    if found.failures:
        first, n = found.failures[0], len(found.failures)
        told = f"{n} job{'s' * (n > 1)} failed (see the report): {first.label}: {first.why}"
        raise InputError(told) if all(failure.wrong_input for failure in found.failures) else MotifError(told)


def _telling(voice: Voice) -> Callable[[int, int, Job], None]:
    """Told of each job, a line every few seconds."""
    last = -math.inf

    def tell(done: int, of: int, job: Job) -> None:
        nonlocal last
        if done == of or time.monotonic() - last >= EVERY:
            last = time.monotonic()
            voice.note(f"{done} of {of} jobs: {job.label}")

    return tell


def _text(found: Table) -> str:
    best = {id(row) for row in found.front()}
    metrics = list(dict.fromkeys(name for row in found.rows for name in row.values))
    some = any(row.without for row in found.rows)
    head = [
        "point",
        *(part for name in metrics for part in (name, "±")),
        "front",
        *["without a value"] * some,
    ]
    rows: list[list[object]] = []
    for row in found.rows:
        values = [row.values.get(name) for name in metrics]
        cells = [part for value in values for part in ((value.mean, value.error) if value else (None, None))]
        rows.append([row.name, *cells, "yes" if id(row) in best else "", *([row.without] if some else [])])
    volumes = "\n".join(f"hypervolume of {name}: {area:.4f}" for name, area in found.volumes().items())
    return f"{aligned(rows, head)}\n\n{volumes}".strip()


tradeoff = Command(
    "tradeoff",
    callback=_run,
    help=_run.__doc__,
    short_help="Curves of fidelity against editability, over a grid.",
    params=[
        click.Argument(["spec"], type=click.Path(path_type=Path), metavar="SPEC"),
        click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="DIR",
                     help="A folder for results, table.json, sheet.png and report.html."),
        click.Option(["--on"], type=click.Choice(["loop", "processes", "ray"]), default="loop", show_default=True,
                     help="Where the jobs run; ray needs the extra \"scale\"."),
        click.Option(["--workers"], type=click.IntRange(min=1), default=2, show_default=True,
                     help="Processes or actors, each with a base of its own."),
        click.Option(["--address"], default="", metavar="ADDRESS",
                     help="A Ray cluster's; all its nodes must see DIR and the photos. The default is this machine."),
        click.Option(["--optimise"], type=click.IntRange(min=0), default=0, metavar="N",
                     help="Search the settings for the front with N points (optuna, extra \"scale\") instead of the "
                     "grid; {low = ..., high = ..., log = true} is a range."),
        click.Option(["--device"], help="cpu, cuda, cuda:1...; the default is a GPU where there is one."),
    ],
)  # fmt: skip
