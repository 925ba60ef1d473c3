"""`motif study make|serve|score`: which of two methods' pictures people prefer."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command, Group
from motif.cli.options import given, options, summary
from motif.cli.outputs import prepare_folder
from motif.cli.voice import Voice, aligned
from motif.study.make import make as make_study
from motif.study.score import score as score_study
from motif.study.serve import serve as serve_study

if TYPE_CHECKING:
    from motif.study.score import Scores

PATH = click.Path(path_type=Path)
FOLDER = click.Argument(["folder"], metavar="STUDY", type=PATH)


def _make(voice: Voice, a: Path, b: Path, output: Path, **settings: Any) -> None:
    study = make_study(a, b, prepare_folder(output), **given(settings, list(settings)))
    turns = len(study.turns(0))
    voice.note(f"{len(study.pairs)} pairs, {turns} questions for each rater; let them in with:")
    voice.note(shlex.join(["motif", "study", "serve", str(output)]))
    data = {"study": str(output), "pairs": len(study.pairs), "questions": [q.name for q in study.questions],
            "per_rater": turns, "names": study.names}  # fmt: skip
    voice.result(data, str(output))


def _serve(voice: Voice, folder: Path, **settings: Any) -> None:
    def ready(address: str) -> None:
        voice.result({"address": address}, address)
        sys.stdout.flush()
        voice.note("raters open it in a browser; Ctrl-C stops it, and nothing is lost")

    answers, raters = serve_study(folder, **settings, on_ready=ready)
    voice.note(f"{answers} answers of {raters} raters are kept; motif study score {shlex.quote(str(folder))}")


def _score(voice: Voice, folder: Path, **settings: Any) -> None:
    scores = score_study(folder, **settings)
    voice.result(scores.data(), told(scores))


def told(scores: Scores) -> str:
    """The outcome as a table, the raters, and what the columns mean."""
    one, other = scores.names
    sure = f"{scores.confidence:.0%}"
    rows = [
        [p.question, _percent(p.share), f"{_percent(p.low)} to {_percent(p.high)}", f"{p.preferred} of {p.answers}",
         p.pairs, p.raters, p.kappa, _percent(p.left)]
        for p in scores.preferences
    ]  # fmt: skip
    head = ["question", f"prefer {one}", f"{sure} interval", "answers", "pairs", "raters", "kappa", "left"]
    left_out = (
        f"left out: {scores.failed} who missed checks, {scores.unchecked} who stopped before their first one"
    )
    return "\n".join(
        [
            aligned(rows, head),
            "",
            *(f"{p.question}: {p.asked}" for p in scores.preferences),
            f"{one} against {other}; {scores.raters} raters count, {scores.finished} of them finished; {left_out}",
            "Wilson's interval, answers taken for independent; Fleiss' kappa; left: answers for the left picture",
        ]
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


study = Group("study", short_help="Ask people which of two methods' pictures they prefer.",
              help="Ask people which of two methods' pictures they prefer, with the papers' questions.")  # fmt: skip
study.add_command(
    Command(
        "make",
        callback=_make,
        short_help="A study of two folders of pictures.",
        help=f"""{summary(make_study)}

        A and B are folders of pictures, with their subfolders, that `motif sample` drew of the same prompts and seeds,
        or whose names are the same. The study's folder holds copies under names that tell nothing.""",
        params=[
            click.Argument(["a"], metavar="A", type=PATH),
            click.Argument(["b"], metavar="B", type=PATH),
            click.Option(
                ["-o", "--output"], required=True, type=PATH, metavar="STUDY", help="The study's folder."
            ),
            *options(make_study),
        ],
    )
)
study.add_command(
    Command(
        "serve",
        callback=_serve,
        short_help="Let raters answer it in their browsers.",
        help=f"{summary(serve_study)}\n\nA rater who comes back goes on where they stopped, also after the server "
        "was killed. Answers lie in STUDY/answers.jsonl.",
        params=[FOLDER, *options(serve_study)],
    )
)
study.add_command(
    Command("score", callback=_score, short_help="What they prefer, with intervals and agreement.",
            help=summary(score_study), params=[FOLDER, *options(score_study)])
)  # fmt: skip
