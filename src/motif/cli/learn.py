"""`motif learn METHOD PHOTOS PROMPT -o CONCEPT`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from motif.cli.command import Command, Methods
from motif.cli.model import base_options, load_base
from motif.cli.options import given, options, summary
from motif.cli.outputs import concept_path, prepare, prepare_folder
from motif.cli.voice import Voice
from motif.methods import Method


def learner(name: str, method: Method) -> Command:
    """The command of one method."""
    function = method.load()
    settings = options(function, hidden=["token", "noun"])
    names = [option.name or "" for option in settings]

    def run(voice: Voice, photos: str, prompt: str, output: Path, **values: Any) -> None:
        from motif.learn.examples import Examples

        output, resumed = prepare(concept_path(output)), bool(values.get("resume"))
        folder = prepare_folder(values["run_folder"] or output.with_suffix(".run"))
        examples = Examples(photos, prompt, noun=values["noun"] or "")
        base = load_base(voice, values["base"], values["device"], values["precision"])
        voice.note(
            f"{len(examples)} photos of {examples.phrase}; {'resuming' if resumed else 'working'} in {folder}"
        )
        with voice.progress("learning") as on_progress:
            concept = function(base, examples, folder=folder, on_progress=on_progress, **given(values, names))
        concept.save(output)
        example = f"{'a ' if examples.noun else ''}{examples.phrase}"
        voice.note(f'draw it: motif sample plain "{example} on the beach" --wear {output} -o pictures')
        voice.result({"concept": str(output), "run": str(folder), **concept.describe()}, str(output))

    arguments: list[click.Parameter] = [
        click.Argument(["photos"], metavar="PHOTOS"),
        click.Argument(["prompt"], metavar="PROMPT"),
        click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="CONCEPT",
                     help="The concept's file (.safetensors)."),
        click.Option(["--noun"], help="The class of the token; the default is the words behind it in the prompt."),
        click.Option(["--run-folder"], type=click.Path(path_type=Path), metavar="DIR",
                     help="Checkpoints, previews and log; the default is CONCEPT.run beside the output."),
    ]  # fmt: skip
    text = f"""{summary(function)}

    PHOTOS is a folder of pictures (captions in NAME.txt or metadata.jsonl, masks in NAME-mask.png or alpha), and PROMPT
    what they show, with the new word in angle brackets: "photo of a <new1> cat".

    {method.paper}"""
    return Command(
        name,
        callback=run,
        params=[*arguments, *settings, *base_options()],
        help=text,
        short_help=method.summary,
    )


learn = Methods("learn", learner, help="Learn a concept from a few photos, into one file.")
