"""`motif attend PROMPT|X.inversion -o DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command
from motif.cli.model import base_options, dressed_base, wear_options
from motif.cli.options import given
from motif.cli.outputs import prepare_folder, strangers
from motif.cli.prompts import require_tokens
from motif.cli.voice import Voice
from motif.errors import InputError

if TYPE_CHECKING:
    from motif.attend import Attended
    from motif.base import Base

DRAWN = ("seed", "steps", "height", "width", "negative")
"""Options that say how a prompt is drawn; an inversion says it itself."""


def _attend(voice: Voice, start: str, output: Path, **values: Any) -> None:
    """Draw where each word of a prompt is looked at: its attention map, over the picture.

    START is a prompt, drawn from a seed, or an inversion that `motif invert` wrote, which comes back to its photo. DIR
    gets the picture, each word's map in grey (the mean of all layers and steps), and a sheet of all words.
    """
    from motif.attend import attend
    from motif.inversion import ENDING, Inversion

    every = values["every"]
    if values["per_level"] and values["per_layer"]:
        raise InputError(
            "--per-level and --per-layer: a row is of a level of layers, or of one layer; drop one"
        )
    if every and not values["per_step"]:
        raise InputError(f"--every {every} is of the rows of --per-step: give that too")
    output = prepare_folder(output)
    asked = given(values, DRAWN)
    inversion = Inversion.load(Path(start).expanduser()) if start.endswith(ENDING) else None
    if inversion and asked:
        raise InputError(
            f"--{min(asked)} says how a prompt is drawn; {start} is an inversion and says it itself"
        )
    base = dressed_base(voice, values)
    source: Any = inversion or _drawn(base, start, asked)
    with voice.progress("looking") as on_progress:
        found = attend(
            base, source, word=values["word"], guidance=values["guidance"], on_progress=on_progress
        )
    rows = {key: values[key] for key in ("per_level", "per_layer", "per_step")} | {"every": every or 1}
    paths = [path for image in range(len(found.images)) for path in _written(found, image, output, rows)]
    if left := strangers(output, paths):
        voice.note(
            f"{output} holds {len(left)} other pictures ({left[0].name}...), which are not of this run"
        )
    files = [str(path) for path in paths]
    shares = [{word: round(float(one.mean()), 6) for word, one in zip(words, found.mean(i), strict=True)}
              for i, words in enumerate(found.words)]  # fmt: skip
    voice.result({"files": files, "shares": shares}, "\n".join(files))


def _drawn(base: Base, prompt: str, asked: dict[str, Any]) -> Any:
    from motif.edit import seeded

    if Path(prompt).expanduser().is_file():
        raise InputError(
            f"{prompt} is a file and no prompt: invert a photo first (motif invert), then name that file"
        )
    require_tokens(base, prompt)
    return seeded(base, prompt, **asked)


def _written(found: Attended, image: int, output: Path, rows: dict[str, Any]) -> list[Path]:
    """One picture's files; those of a second photo have a number."""
    from motif.attend import file_name
    from motif.images import save_image

    mark = f"-{image + 1}" if image else ""
    files = [save_image(found.sheet(image, **rows), output / f"sheet{mark}.png"),
             save_image(found.images[image], output / f"picture{mark}.png")]  # fmt: skip
    for number, (word, grey) in enumerate(
        zip(found.words[image], found.grey(found.mean(image)), strict=True), 1
    ):
        files.append(save_image(grey, output / f"{file_name(number, word)}{mark}.png"))
    return files


_OPTIONS: list[click.Parameter] = [
    click.Argument(["start"], metavar="PROMPT|X.inversion"),
    click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="DIR",
                 help="A folder for the sheet and the maps."),
    click.Option(["--word"], multiple=True, help="A word or phrase of the prompt to look at; the default is every "
                 "word, learned tokens too. May be given several times."),
    click.Option(["--per-level"], is_flag=True, help="A row of the sheet for every size of layers."),
    click.Option(["--per-layer"], is_flag=True, help="A row of the sheet for every layer, as they run."),
    click.Option(["--per-step"], is_flag=True, help="A row of the sheet for every step."),
    click.Option(["--every"], type=click.IntRange(min=1), help="A row for the mean of so many steps, with --per-step."),
    click.Option(["--guidance"], type=click.FLOAT, help="The default is the inversion's, or the base's."),
    click.Option(["--seed"], type=click.IntRange(min=0), help="Of a prompt's picture; the default is 0."),
    click.Option(["--steps"], type=click.INT, help="Of a prompt's picture; the default is 50."),
    click.Option(["--negative"], help="What a prompt's picture is guided away from; the default is the empty prompt."),
    click.Option(["--height"], type=click.INT, help="Of a prompt's picture in pixels; the default is the base's size."),
    click.Option(["--width"], type=click.INT, help="Of a prompt's picture in pixels; the default is the base's size."),
]  # fmt: skip

attend = Command(
    "attend",
    callback=_attend,
    params=[*_OPTIONS, *wear_options(), *base_options()],
    help=_attend.__doc__,
    short_help="Where each word of a prompt is looked at.",
)
