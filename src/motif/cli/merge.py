"""`motif merge C1 C2 ... -o C` and `motif compress C -o C2`: concepts made of concepts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command
from motif.cli.model import base_options, load_base
from motif.cli.outputs import concept_path, prepare
from motif.cli.voice import Voice, aligned
from motif.errors import InputError

if TYPE_CHECKING:
    from motif.concept import Concept
    from motif.learn import compress as compressing
    from motif.learn import merge_report as merging

OUTPUT = click.Option(
    ["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="CONCEPT",
    help="The new concept's file (.safetensors).",
)  # fmt: skip


def _merge(
    voice: Voice,
    concepts: Sequence[Path],
    output: Path,
    captions: str,
    count: int,
    other_base: bool,
    base: str,
    device: str | None,
    precision: str | None,
) -> None:
    """Make one concept of several: the closed form of Custom Diffusion.

    Its words mean what each of CONCEPTS makes of them, and the keys and values of other captions move as little as that
    allows. A token that two concepts use is renamed. Only keys and values of cross-attention merge; a word alone
    (textual inversion) goes in as it is. The table tells, of each weight, how far the words are off, how far the
    captions move, and how far they would if the concepts were worn together; shares of the norm.

    Kumari et al. 2023, arXiv:2212.04488
    """
    output = prepare(concept_path(output))
    loaded = [_load(path, output) for path in concepts]
    from motif.learn.merge import merge as make

    worn = load_base(voice, base, device, precision)
    reports: list[merging.Report] = []
    merged = make(
        worn, *loaded, captions=captions, count=count, other_base=other_base, on_report=reports.append
    )
    merged.save(output)
    prompt = "photo of a " + " and a ".join(reports[0].words)
    words = ["motif", "sample", "plain", prompt, "--wear", str(output)]
    words += [] if base == "pocket" else ["--base", base]
    voice.note(f"draw it: {shlex.join([*words, '-o', 'pictures'])}")
    data = {"concept": str(output), **merged.describe(), "report": reports[0].data()}
    voice.result(data, f"{_merged(reports[0])}\n\n{output}")


def _compress(voice: Voice, concept: Path, output: Path, energy: float | None, rank: int | None) -> None:
    """Store a concept's changes of weights at low rank: a fifth of the size, and the same pictures.

    Keeps of every matrix the leading singular values, up to a share of their sum (--energy) or a number of them
    (--rank), and never none. The table tells the rank, the size and the share of the change that is lost. What comes
    out is a concept like any other.

    Kumari et al. 2023, arXiv:2212.04488
    """
    output = prepare(concept_path(output))
    loaded = _load(concept, output)
    from motif.learn.compress import compress as make

    reports: list[compressing.Report] = []
    small = make(loaded, energy=energy, rank=rank, on_report=reports.append)
    small.save(output)
    data: dict[str, Any] = {"concept": str(output), **small.describe(), "report": reports[0].data()}
    voice.result(data, f"{_compressed(reports[0])}\n\n{output}")


def _load(path: Path, output: Path) -> Concept:
    """A concept that is read; InputError where the output would take its place."""
    from motif.concept import Concept

    path = path.expanduser()
    if path.exists() and output.exists() and path.samefile(output):
        raise InputError(f"{output}: the output is one of the concepts that are read: name another file")
    return Concept.load(path)


def _merged(report: merging.Report) -> str:
    head = ("weight", "words", "captions", "added")
    rows = [(_short(r.weight), *map(_share, (r.words, r.captions, r.added))) for r in report.residuals]
    means = [_share(report.mean(column)) for column in head[1:]]
    table = aligned([*rows, ("mean", *means)], head) if rows else "no weight changes: words alone"
    told = f"{report.rows} rows of words, {report.caption_rows} rows of {report.captions} captions"
    renamed = [f"{words} is {token} from now on" for words, token in report.renamed]
    return "\n".join([table, "", *renamed, f"{', '.join(report.words)}: {told}"])


def _compressed(report: compressing.Report) -> str:
    rows = [
        (
            _short(r.weight),
            f"{r.rank or 'as it is'}",
            r.of,
            _size(r.before),
            _size(r.after),
            _share(r.residual),
        )
        for r in report.residuals
    ]
    table = aligned(rows, ("weight", "rank", "of", "before", "after", "lost"))
    times = report.before / max(report.after, 1)
    return f"{table}\n\n{_size(report.before)} -> {_size(report.after)} ({times:.1f} times smaller)"


def _short(weight: str) -> str:
    return weight.removeprefix("unet.").removesuffix(".weight")


def _share(value: float) -> str:
    return f"{value:.1e}"


def _size(number: int) -> str:
    return f"{number / 1e6:.2f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


merge = Command(
    "merge",
    callback=_merge,
    help=_merge.__doc__,
    short_help="One concept of several, in closed form.",
    params=[
        click.Argument(["concepts"], nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CONCEPTS..."),
        OUTPUT,
        click.Option(["--captions"], default="", metavar="FILE.txt",
                     help="What must not change, one caption per line; the default is the captions of the concepts' "
                     "own priors and general ones, in turn."),
        click.Option(["--count"], default=200, show_default=True, type=click.IntRange(min=1),
                     help="How many captions, at most (the released code: the first 200)."),
        click.Option(["--other-base"], is_flag=True,
                     help="Merge concepts of another base with the same architecture (a fine-tuned relative)."),
        *base_options(),
    ],
)  # fmt: skip

compress = Command(
    "compress",
    callback=_compress,
    help=_compress.__doc__,
    short_help="A concept's weights at low rank.",
    params=[
        click.Argument(["concept"], type=click.Path(path_type=Path), metavar="CONCEPT"),
        OUTPUT,
        click.Option(["--energy"], type=click.FloatRange(0, 1, min_open=True),
                     help="The share of the singular values' sum that is kept, up to 1; 0.6 (the paper's) where no "
                     "--rank is given."),
        click.Option(["--rank"], type=click.IntRange(min=1), help="Keep so many components of every weight instead."),
    ],
)  # fmt: skip
