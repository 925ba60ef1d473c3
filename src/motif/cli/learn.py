"""`motif learn METHOD PHOTOS PROMPT -o CONCEPT`."""

from __future__ import annotations

import inspect
import logging
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import click

from motif.cli.again import OPTION as AGAIN
from motif.cli.again import Again, Learn
from motif.cli.command import Command
from motif.cli.encode import TRAINED
from motif.cli.model import base_options, load_base, read_concepts, wear_options
from motif.cli.options import accepted, annotation, given, options, summary
from motif.cli.outputs import LEAST, concept_path, prepare, prepare_folder
from motif.cli.voice import Voice
from motif.errors import InputError
from motif.methods import Method

if TYPE_CHECKING:
    from motif.base import Base
    from motif.concept import Concept
    from motif.learn.examples import Examples
    from motif.learn.ranks import Ranks

log = logging.getLogger("motif")

STEPS = 250
"""Training steps, for an estimate of what a run writes, where neither the user nor the base says how many."""


def learner(name: str, method: Method) -> Command:
    """The command of one method. What it takes is read from its signature: several concepts where `examples` may be a
    sequence, a prompt without a <token> where it has a `rare_word`."""
    function = method.load()
    settings = options(function, hidden=["token", "noun", "again"])
    names = [option.name or "" for option in settings]
    several = takes_several(function)

    def work(
        voice: Voice,
        ranks: Ranks,
        photos: str | None,
        prompt: str | None,
        output: Path,
        values: dict[str, Any],
    ) -> None:
        output, resumed = prepare(concept_path(output)), bool(values.get("resume"))
        folder = prepare_folder(values["run_folder"] or output.with_suffix(".run"))
        again = Again.of(values["again"], name, output, _said()) if values["again"] else None
        values |= again.base(values) if again else {}
        taught, worn = _taught(function, photos, prompt, values, again), read_concepts(values["wear"])
        examples: Examples | list[Examples] = taught if len(taught) > 1 else taught[0]
        asked = {n: value for n, value in given(values, names).items() if n in _said()}
        chosen = given(values, names) | (again.known(names) if again else {}) | asked
        _look_ahead(voice, function, examples, chosen, asked, worn, folder, ranks, values)
        base = load_base(voice, values["base"], values["device"], values["precision"])
        base = base.wear(*worn, other_base=values["other_base"])
        if again:
            again.require_base(base)
        concept, run = sizes(function, base, examples, chosen, base.advice.get(name, {}))
        prepare(output, needs=max(LEAST, concept))
        prepare_folder(folder, needs=max(LEAST, run))
        told = "; ".join(f"{len(one)} photo{'s' * (len(one) > 1)} of {one.phrase}" for one in taught)
        voice.note(f"{told}; {'resuming' if resumed else 'working'} in {folder}")
        with voice.progress("learning") as on_progress:
            calls = accepted(function, on_progress=on_progress, on_picture=voice.counting("prior picture"))
            calls |= {"again": again.settings} if again else {}
            learned = function(base, examples, folder=folder, **asked, **calls)
        if ranks.leads:
            learned.save(output)
        voice.note(f"draw it: {drawing(taught, output, values['base'])}")
        voice.result({"concept": str(output), "run": str(folder), **learned.describe()}, str(output))

    def run(voice: Voice, photos: str | None, prompt: str | None, output: Path, **values: Any) -> None:
        from motif.learn.ranks import Ranks
        from motif.loading import device_of

        ranks = Ranks.here(device_of(values["device"]))
        if ranks.count > 1:
            values["device"] = str(ranks.device)
        with ranks.one_voice():
            work(voice, ranks, photos, prompt, output, values)

    arguments: list[click.Parameter] = [
        click.Argument(["photos"], metavar="PHOTOS", required=False),
        click.Argument(["prompt"], metavar="PROMPT", required=False),
        click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="CONCEPT",
                     help="The concept's file (.safetensors)."),
        *([click.Option(["--concepts"], type=click.Path(path_type=Path), metavar="FILE.json",
                        help="Several concepts at once, instead of PHOTOS PROMPT: the field's concepts_list "
                             "(instance_prompt, instance_data_dir, class_prompt, class_data_dir of each).")]
          if several else []),
        click.Option(["--noun"], help="The class of the token; the default is the words behind it in the prompt."),
        click.Option(["--no-token"], is_flag=True,
                     help="The prompt has no new word: its plain words learn what the photos show."),
        click.Option([AGAIN], type=click.Path(path_type=Path), metavar="CONCEPT",
                     help="Repeat the run that made this concept, from its own record: photos, prompt, settings. "
                          "What is given beside it stands in their place."),
        click.Option(["--run-folder"], type=click.Path(path_type=Path), metavar="DIR",
                     help="Checkpoints, previews and log; the default is CONCEPT.run beside the output."),
    ]  # fmt: skip
    text = f"""{summary(function)}

    PHOTOS is a folder of pictures (captions in NAME.txt or metadata.jsonl, masks in NAME-mask.png or alpha), and PROMPT
    what they show, with the new word in angle brackets: "photo of a <new1> cat". What is learned on a base that wears
    concepts holds them too.

    Processes of one launch share every step, and the result is that of one: accelerate launch --multi_gpu
    --num_processes 2 -m motif learn ... (with --device cpu on CPUs).

    {method.paper}"""
    return Command(
        name,
        callback=run,
        params=[*arguments, *wear_options(), *settings, *base_options()],
        help=text,
        short_help=method.summary,
    )


def takes_several(function: Callable[..., Any]) -> bool:
    """Whether a method learns several concepts in one run: its examples may be a sequence."""
    parameter = inspect.signature(function).parameters.get("examples")
    parts = get_args(annotation(function, parameter)) if parameter else ()
    return any(get_origin(part) is Sequence for part in parts)


def _taught(
    function: Callable[..., Any],
    photos: str | None,
    prompt: str | None,
    values: Mapping[str, Any],
    again: Again | None,
) -> list[Examples]:
    """The examples of each concept, as the command line or the concept to repeat names them."""
    from motif.learn.concepts_list import concepts_list
    from motif.learn.examples import Examples, find_tokens

    if file := values.get("concepts"):
        if photos or prompt or values["noun"] or values["no_token"]:
            raise InputError(
                "--concepts names the photos and prompts: leave out PHOTOS, PROMPT, --noun and --no-token"
            )
        return concepts_list(file)
    if again:
        return again.examples(photos, prompt, values)
    if not photos or not prompt:
        several = "--concepts FILE.json, or " if "concepts" in values else ""
        raise click.UsageError(f"PHOTOS and PROMPT are wanted, or {several}--again CONCEPT")
    wordless = "rare_word" in inspect.signature(function).parameters and not find_tokens(prompt)
    token = None if values["no_token"] or wordless else ""
    return [Examples(photos, prompt, token=token, noun=values["noun"] or "")]


def _said() -> frozenset[str]:
    """What the user gave, in words or in a file: a method refuses a given setting that cannot act, and no default."""
    context, default = click.get_current_context(), click.core.ParameterSource.DEFAULT
    return frozenset(name for name in context.params if context.get_parameter_source(name) is not default)


def _look_ahead(
    voice: Voice,
    function: Any,
    examples: Examples | list[Examples],
    chosen: Mapping[str, Any],
    asked: Mapping[str, Any],
    worn: Sequence[Concept],
    folder: Path,
    ranks: Ranks,
    values: Mapping[str, Any],
) -> None:
    """Before anything is loaded: settings that cannot work are refused, and the memory that they take is told, with a
    warning where less is free."""
    import torch

    from motif.learn.beforehand import look_ahead
    from motif.learn.outline import outline
    from motif.loading import device_of, dtype_of

    device = device_of(values["device"])
    shape = outline(values["base"], dtype_of(values["precision"], device))
    found = look_ahead(
        function, shape, examples, chosen,
        asked=asked, worn=worn, device=torch.device(device), ranks=ranks, folder=folder,
    )  # fmt: skip
    if found is None:
        return
    memory, ways = found
    voice.note(str(memory))
    if memory.free is not None and memory.total > memory.free:
        log.warning("more than is free: should it fail, cheapest first: %s", ", ".join(ways))


def sizes(
    function: Any, base: Base, examples: Any, chosen: Mapping[str, Any], advice: Mapping[str, Any]
) -> tuple[int, int]:
    """About what the concept's file and the whole run write, in bytes: as the method plans it, where it says."""
    if not hasattr(function, "plan"):
        return concept_bytes(base, chosen), run_bytes(base, chosen, advice)
    settings = function.settle(base, examples, **chosen)
    known = {k: v for k, v in settings.items() if k in inspect.signature(function).parameters}
    concept = function.plan(base, examples, **known).size(base)
    return concept, run_bytes(base, settings, {}, concept)


def concept_bytes(base: Base, values: Mapping[str, Any]) -> int:
    """About how large the concept's file will be: the cross-attention weights that are learned, in float32."""
    from motif.weights import is_cross, is_cross_kv

    wanted = is_cross if values.get("trained") == "crossattn" else is_cross_kv
    return 4 * sum(weight.numel() for name, weight in base.models.own.items() if wanted(name))


def run_bytes(
    base: Base, values: Mapping[str, Any], advice: Mapping[str, Any], concept: int | None = None
) -> int:
    """About what a run writes: the concept, its state (values and two moments), and a concept per checkpoint."""
    size = concept_bytes(base, values) if concept is None else concept
    steps = next(int(n) for n in (values.get("steps"), advice.get("steps"), STEPS) if n is not None)
    every = values.get("checkpoint_every")
    checkpoints = math.ceil(steps / max(int(steps if every is None else every), 1))
    return size * (1 + 3 + max(checkpoints, 1))


def drawing(taught: Sequence[Examples], concept: Path, base: str) -> str:
    """The command that draws what was learned, as a shell takes it."""
    one = taught[0]
    named = " and ".join(f"{'' if each.token and not each.noun else 'a '}{each.phrase}" for each in taught)
    words = [
        "motif",
        "sample",
        "plain",
        f"{named if one.token or len(taught) > 1 else one.prompt} on the beach",
        "--wear",
        str(concept),
    ]
    words += [] if base == "pocket" else ["--base", base]
    return shlex.join([*words, "-o", "pictures"])


learn = Learn(
    "learn",
    learner,
    others={"elite": TRAINED},
    help="Learn a concept from a few photos, into one file.\n\n`motif learn --again CONCEPT -o ANOTHER` repeats "
    "the run that made a concept, from its own record; what is given beside it stands in place of what is recorded.",
)
