"""`motif learn METHOD PHOTOS PROMPT -o CONCEPT`."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command, Methods
from motif.cli.model import base_options, load_base
from motif.cli.options import accepted, given, options, summary
from motif.cli.outputs import LEAST, concept_path, prepare, prepare_folder
from motif.cli.voice import Voice
from motif.errors import InputError
from motif.methods import Method

if TYPE_CHECKING:
    from motif.base import Base
    from motif.learn.examples import Examples

STEPS = 250
"""Training steps, for an estimate of what a run writes, where neither the user nor the base says how many."""


def learner(name: str, method: Method) -> Command:
    """The command of one method."""
    function = method.load()
    settings = options(function, hidden=["token", "noun"])
    names = [option.name or "" for option in settings]

    def run(voice: Voice, photos: str, prompt: str, output: Path, **values: Any) -> None:
        from motif.learn.examples import Examples

        _require_one_process()
        output, resumed = prepare(concept_path(output)), bool(values.get("resume"))
        folder = prepare_folder(values["run_folder"] or output.with_suffix(".run"))
        examples = Examples(photos, prompt, noun=values["noun"] or "")
        base = load_base(voice, values["base"], values["device"], values["precision"])
        prepare(output, needs=max(LEAST, concept_bytes(base, values)))
        prepare_folder(folder, needs=max(LEAST, run_bytes(base, values, base.advice.get(name, {}))))
        voice.note(
            f"{len(examples)} photos of {examples.phrase}; {'resuming' if resumed else 'working'} in {folder}"
        )
        with voice.progress("learning") as on_progress:
            told = accepted(function, on_progress=on_progress, on_picture=voice.counting("prior picture"))
            concept = function(base, examples, folder=folder, **given(values, names), **told)
        concept.save(output)
        voice.note(f"draw it: {drawing(examples, output, values['base'])}")
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


def _require_one_process() -> None:
    """InputError under a launcher of several processes: all of them would write the same files."""
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes.isdecimal() and int(processes) > 1:
        raise InputError(
            f"motif learns in one process and WORLD_SIZE is {processes}: start it without a launcher"
        )


def concept_bytes(base: Base, values: Mapping[str, Any]) -> int:
    """About how large the concept's file will be: the cross-attention weights that are learned, in float32."""
    from motif.weights import is_cross, is_cross_kv

    wanted = is_cross if values.get("trained") == "crossattn" else is_cross_kv
    return 4 * sum(weight.numel() for name, weight in base.models.own.items() if wanted(name))


def run_bytes(base: Base, values: Mapping[str, Any], advice: Mapping[str, Any]) -> int:
    """About what a run writes: the concept, its state (values and two moments), and a concept per checkpoint."""
    steps = next(int(n) for n in (values.get("steps"), advice.get("steps"), STEPS) if n is not None)
    every = values.get("checkpoint_every")
    checkpoints = math.ceil(steps / max(int(steps if every is None else every), 1))
    return concept_bytes(base, values) * (1 + 3 + max(checkpoints, 1))


def drawing(examples: Examples, concept: Path, base: str) -> str:
    """The command that draws what was learned, as a shell takes it."""
    prompt = f"{'a ' if examples.noun else ''}{examples.phrase} on the beach"
    words = ["motif", "sample", "plain", prompt, "--wear", str(concept)]
    words += [] if base == "pocket" else ["--base", base]
    return shlex.join([*words, "-o", "pictures"])


learn = Methods("learn", learner, help="Learn a concept from a few photos, into one file.")
