"""`motif export C --to FORMAT -o DIR` and `motif import FILE... -o C`: concepts of and for other tools."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from motif.cli.command import Command
from motif.cli.outputs import LEAST, concept_path, prepare, prepare_folder
from motif.cli.voice import Voice, tree
from motif.errors import InputError
from motif.interop import FORMATS

PATH = click.Path(path_type=Path)
WAYS = "\n".join(f"{name:10} {what}" for name, what in FORMATS.items())


@click.command(
    cls=Command,
    short_help="Write a concept for diffusers, kohya, A1111, ComfyUI or the official code.",
    help=f"""Write a concept for another tool, with a card beside it that says how to load it there.

    \b
    {WAYS.replace(chr(10), chr(10) + "    ")}

    Weights go out exactly; --energy or --rank makes the LoRA (and the official delta) small. What a format cannot
    hold is refused. Only .safetensors are written.""",
)
@click.argument("concept", metavar="CONCEPT", type=PATH)
@click.option("--to", required=True, type=click.Choice(list(FORMATS)), help="The format.")
@click.option("-o", "--output", required=True, type=PATH, metavar="DIR", help="The folder to write.")
@click.option(
    "--energy",
    type=click.FloatRange(0, 1, min_open=True),
    help="Keep this share of the singular values' sum, as `motif compress` does (paper: 0.6).",
)
@click.option("--rank", type=click.IntRange(min=1), help="Keep so many components of every weight instead.")
@click.option("--licence", default="", help="The concept's licence, for the card.")
@click.option(
    "--base",
    metavar="NAME",
    help="Where the concept's base is now: for formats that hold whole weights "
    "(diffusers, adobe); the default is the name that the concept gives.",
)
def export(voice: Voice, concept: Path, to: str, output: Path, energy: float | None, rank: int | None,
           licence: str, base: str | None) -> None:  # fmt: skip
    """Write a concept for another tool."""
    from motif.base import Base
    from motif.concept import Concept
    from motif.interop.outgoing import WRITERS, write_files
    from motif.learn.compress import compress

    loaded = Concept.load(concept.expanduser())
    if energy is not None or rank is not None:
        loaded = compress(loaded, energy=energy, rank=rank)
    if base is not None and not WRITERS[to].needs_base:
        raise InputError(f"--base says nothing here: {to} holds changes alone, and needs no base")
    output = prepare_folder(output, needs=LEAST + 3 * concept.expanduser().stat().st_size)
    own = None
    if WRITERS[to].needs_base:
        name = base or loaded.record.base.name
        voice.note(f"loading {name}")
        own = Base.load(name, device="cpu", precision="fp32")
    paths = [str(path) for path in write_files(loaded, output, to=to, base=own, licence=licence)]
    voice.result({"format": to, "folder": str(output), "files": paths}, "\n".join(paths))


@click.command(cls=Command, name="import", short_help="A concept from another tool's files.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option(
    "-o", "--output", required=True, type=PATH, metavar="CONCEPT", help="The concept's file (.safetensors)."
)
@click.option(
    "--base",
    default="pocket",
    show_default=True,
    metavar="NAME",
    help="The base that the files belong to: pocket, a diffusers folder, a single .safetensors, or a hub id.",
)
@click.option(
    "--token",
    multiple=True,
    help="Its word here, such as <new1>; several in the files' order. The default is the files' own.",
)
@click.option(
    "--noun", multiple=True, help="What the word is one of, such as cat; one for all words, or one for each."
)
def import_(voice: Voice, files: Sequence[Path], output: Path, base: str, token: Sequence[str],
            noun: Sequence[str]) -> None:  # fmt: skip
    """Make a concept of other tools' files: an embedding, a LoRA, or both; what each file is, is seen in it.

    \b
    learned_embeds.{safetensors,bin}, A1111's .pt, kohya's and SDXL's embeddings
    LoRA in PEFT's, diffusers' and kohya's keys
    the official delta.bin, whole or compressed, and delta.ckpt of the CompVis code
    pytorch_custom_diffusion_weights.{safetensors,bin}
    ELITE's global_mapper.pt and local_mapper.pt, as an encoder for `motif encode`

    A pickle is read for its tensors alone; one that would run code is refused.
    """
    from motif.base import Base
    from motif.elite.official import read_official, role
    from motif.interop.incoming import read_files

    output, files = prepare(concept_path(output)), [file.expanduser() for file in files]
    if any(file.resolve() == output.resolve() for file in files):
        raise InputError(f"{output}: is what is imported: choose another name for the concept")
    if lost := [file for file in files if not file.is_file()]:
        raise InputError(
            f"{lost[0]}: {'is a folder: name its files' if lost[0].is_dir() else 'no such file'}"
        )
    voice.note(f"loading {base}")
    own = Base.load(base, device="cpu", precision="fp32")
    if all(role(file.name) for file in files):
        if token or noun:
            raise InputError(
                "an ELITE encoder has no word of its own: give --token and --noun to `motif encode`"
            )
        encoder = read_official(files, own).save(output)
        voice.note(
            f"use it: {shlex.join(['motif', 'encode', str(encoder), 'photo.png', '-o', 'concept.safetensors'])}"
        )
        return voice.result({"encoder": str(encoder)}, str(encoder))
    concept = read_files(files, own, token=token, noun=noun)
    own.wear(concept)  # says what it changes, or what is wrong
    concept.save(output)
    phrase = next((f"{word} {concept.record.nouns.get(word, '')}".strip() for word in concept.tokens), "")
    if phrase:
        words = ["motif", "sample", "plain", f"a photo of a {phrase}", "--wear", str(output)]
        words += [] if base == "pocket" else ["--base", base]
        voice.note(f"draw it: {shlex.join([*words, '-o', 'pictures'])}")
    about = concept.describe()
    voice.result({"concept": str(output), **about}, f"{tree(about)}\n\n{output}")
