"""`motif encode ENCODER PHOTO -o CONCEPT`, and `motif learn elite DATASET -o ENCODER`, which trains the encoder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command
from motif.cli.model import base_options, load_base
from motif.cli.options import given, options, summary
from motif.cli.outputs import concept_path, prepare, prepare_folder
from motif.cli.voice import Voice, tree
from motif.errors import InputError
from motif.methods import Method

if TYPE_CHECKING:
    from motif.learn.ranks import Ranks

PATH = click.Path(path_type=Path)


@click.command(cls=Command, short_help="A concept from one photo, by a trained ELITE encoder.")
@click.argument("encoder", metavar="ENCODER")
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=PATH)
@click.option(
    "-o", "--output", required=True, type=PATH, metavar="CONCEPT", help="The concept's file (.safetensors)."
)
@click.option(
    "--mask",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="White on the object; one for each photo. The default is NAME-mask.png or the photo's alpha, else all "
    "of the picture.",
)
@click.option("--token", default="<S>", show_default=True, help="What the concept is called in prompts.")
@click.option("--noun", default="", help="Its class, such as cat.")
@click.option(
    "--words",
    default="primary",
    show_default=True,
    metavar="primary|all|NUMBER",
    help="The primary word (the paper), all of them, or one.",
)
@click.option(
    "--local/--no-local",
    default=None,
    help="Keep the photo's patches too; the default is yes where it can be.",
)
@click.option(
    "--crop/--no-crop",
    default=True,
    show_default=True,
    help="Look at the mask's surroundings alone, as training does.",
)
@click.option(
    "--segment",
    default="",
    metavar="WORDS",
    help="What the object is, such as cat: CLIPSeg makes the masks that the photos do not bring.",
)
@click.option(
    "--image",
    default="",
    metavar="NAME",
    help="Where the encoder's CLIP is now; the default is the name that the encoder gives.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1...")
def encode(voice: Voice, encoder: str, photos: tuple[Path, ...], output: Path, mask: tuple[Path, ...], token: str,
           noun: str, words: str, local: bool | None, crop: bool, segment: str, image: str,
           device: str) -> None:  # fmt: skip
    """Make a concept from one photo in one pass, or from several of the same object.

    ENCODER is what `motif learn elite` wrote, or the name of a base that ships one (pocket).

    Wei et al. 2023, arXiv:2302.13848
    """
    import dataclasses

    from motif.elite.encoder import Encoder
    from motif.loading import device_of

    output = prepare(concept_path(output))
    if any(path.expanduser().resolve() == output.resolve() for path in (Path(encoder), *photos)):
        raise InputError(f"{output}: is what is read: choose another name for the concept")
    loaded = Encoder.load(encoder)
    loaded = dataclasses.replace(loaded, image=image) if image else loaded
    concept = loaded.encode(
        list(photos), list(mask) or None, token=token, noun=noun, words=_words(words), local=local, crop=crop,
        segment=segment, device=device_of(device),
    )  # fmt: skip
    concept.save(output)
    method = "elite" if concept.local else "plain"
    told = [
        "motif",
        "sample",
        method,
        f"a {token} on the beach",  # the word alone, as in training
        "--wear",
        str(output),
    ]
    told += [] if loaded.base.name == "pocket" else ["--base", loaded.base.name]
    voice.note(f"draw it: {shlex.join([*told, '-o', 'pictures'])}")
    about = concept.describe()
    voice.result({"concept": str(output), **about}, f"{tree(about)}\n\n{output}")


def _words(told: str) -> int | str:
    if told in ("primary", "all") or not told.isdecimal():
        return told
    return int(told)


def trainer(name: str, method: Method) -> Command:
    """`motif learn elite`: its options are those of the function."""
    function = method.load()
    settings = options(function)
    names = [option.name or "" for option in settings]

    def work(voice: Voice, ranks: Ranks, dataset: Path, output: Path, values: dict[str, Any]) -> None:
        output = prepare(concept_path(output))
        told = values["run_folder"]
        folder = prepare_folder(told if isinstance(told, Path) else output.with_suffix(".run"))
        named, device, precision = (str(values[key] or "") for key in ("base", "device", "precision"))
        base = load_base(voice, named, device or None, precision or None)
        with voice.progress("learning") as on_progress:
            made = function(base, dataset, folder=folder, on_progress=on_progress, **given(values, names))
        if ranks.leads:
            made.save(output, half=bool(values["small"]), rank=values["small"] or 0)
        voice.note(
            f"use it: {shlex.join(['motif', 'encode', str(output), 'photo.png', '-o', 'concept.safetensors'])}"
        )
        voice.result(
            {"encoder": str(output), "run": str(folder), "settings": dict(made.settings)}, str(output)
        )

    def run(voice: Voice, dataset: Path, output: Path, **values: Any) -> None:
        from motif.learn.ranks import Ranks
        from motif.loading import device_of

        ranks = Ranks.here(device_of(values["device"]))
        if ranks.count > 1:
            values["device"] = str(ranks.device)
        with ranks.one_voice():
            work(voice, ranks, dataset, output, values)

    arguments: list[click.Parameter] = [
        click.Argument(["dataset"], metavar="DATASET", type=PATH),
        click.Option(["-o", "--output"], required=True, type=PATH, metavar="ENCODER",
                     help="The encoder's file (.safetensors)."),
        click.Option(["--run-folder"], type=PATH, metavar="DIR",
                     help="State and log; the default is ENCODER.run beside the output."),
        click.Option(["--small"], type=click.IntRange(min=1), metavar="RANK",
                     help="Write float16, and no more than this rank of every change of the base."),
    ]  # fmt: skip
    text = f"""{summary(function)}

    DATASET is a folder of pictures with masks (NAME-mask.png, or alpha) or boxes (metadata.jsonl), webdataset's tar
    files (a folder of them, one, or "data-{{000..012}}.tar": NAME.jpg, NAME.mask.png, NAME.txt, NAME.json), or pocket's
    rendered shards (`motif pocket render`). Captions that name a <token> are used; else templates are.

    {method.paper}"""
    parameters = [*arguments, *settings, *base_options()]
    return Command(name, callback=run, params=parameters, help=text, short_help=method.summary)


TRAINED = (
    Method(
        "motif.elite.train:elite",
        "an encoder that makes a concept of one photo (`motif encode`), from many pictures",
        "Wei et al. 2023, arXiv:2302.13848",
    ),
    trainer,
)
"""The method of `motif learn` that learns no concept: what it is, and what makes its command."""
