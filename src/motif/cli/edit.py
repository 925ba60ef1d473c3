"""`motif edit METHOD X.inversion|IMAGE|seed:N PROMPT... -o OUT.png`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif import methods
from motif.cli.command import Command, Methods
from motif.cli.invert import inverted, watched
from motif.cli.model import base_options, dressed_base, wear_options
from motif.cli.options import accepted, given, options, positionals, summary
from motif.cli.outputs import is_picture, prepare
from motif.cli.prompts import require_tokens
from motif.cli.voice import Voice
from motif.errors import InputError
from motif.files import read_text
from motif.methods import Method

if TYPE_CHECKING:
    from motif.base import Base
    from motif.edit.edited import Edited
    from motif.inversion import Inversion
    from motif.progress import Progress

Tell = Callable[[Any], None] | None

SEED = re.compile(r"seed:(\d+)")

BEST = {"custom-edit": "null-text", "word-swap": "ddim", "pix2pix-zero": "ddim"}
"""How a photo is inverted where the user does not say: as the papers do; elsewhere by `direct`, which is exact."""

START = """START is an inversion that `motif invert` wrote; or a picture, which is inverted first (--invert, --source);
    or seed:N, the picture that --source draws from seed N."""
PHOTO = "START is a picture, or an inversion, whose photo is taken."
TARGET = " PROMPT is the target's: what the picture shall show."


def editor(name: str, method: Method) -> Command:
    """The command of one method."""
    function = method.load()
    settings = options(function)
    names = [option.name or "" for option in settings]
    plain = positionals(function)[1] == "photo"
    parameters = inspect.signature(function).parameters
    one = parameters[positionals(function)[2]].annotation in (str, "str")

    def run(voice: Voice, start: str, output: Path, prompt: tuple[str, ...] = (), **values: Any) -> None:
        prompts = [*prompt, *([values["target"]] if values.get("target") else [])]
        if not prompts or (one and len(prompts) > 1):
            raise InputError(f"{name} takes {'one target prompt' if one else 'at least one target prompt'}")
        opened = _opened(start, plain)
        several = len(prompts) > 1 or bool(values.get("strengths") and not values.get("auto"))
        several |= not isinstance(opened, Path | None) and len(opened) > 1
        output, strip = _places(start, {**values, "output": output}, several)
        for key in ("source_captions", "target_captions"):
            if values.get(key):
                values[key] = _captions(values[key])
        base = dressed_base(voice, values)

        def edited(begun: Any, on_progress: Tell) -> Edited:
            if values.get("values_until") is not None and "values_until" not in names:
                begun = begun.retuned("values", until=values["values_until"])
            for text in prompts:
                require_tokens(base, text, beside=getattr(begun, "prompts", ()))
            told = accepted(function, on_progress=on_progress)
            return function(base, begun, prompts[0] if one else prompts, **given(values, names), **told)

        if plain:
            begun = opened
        else:
            told = {**values, "output": output}
            tried = edited if "on_progress" in parameters else None
            begun = _begun(voice, base, start, opened, told, names, tried)
        with voice.progress("editing") as on_progress:
            found = edited(begun, on_progress)
        files = _written(found, output, strip, values.get("keep"))
        data = {"method": name, "prompts": list(found.prompts), "files": files, "evaluations": found.evaluations,
                "seconds": round(found.seconds, 3), "why": found.why}  # fmt: skip
        voice.result(data, "\n".join([*([found.why] if found.why else []), *files]))

    text = f"""{summary(function)}

    {PHOTO if plain else START}{"" if name == "custom-edit" else TARGET}

    {method.paper}"""
    params = [*_arguments(name, one), *([] if plain else _beginning(name, names)), *wear_options(), *settings,
              *base_options()]  # fmt: skip
    return Command(name, callback=run, params=params, help=text, short_help=method.summary)


def _arguments(name: str, one: bool) -> list[click.Parameter]:
    """The places, the outputs; custom-edit's prompt is an option, beside --source."""
    found: list[click.Parameter] = [click.Argument(["start"], metavar="START")]
    if name == "custom-edit":
        found.append(
            click.Option(["--target"], required=True, help="The target prompt, with the concept's token.")
        )
    else:
        count = 1 if one else -1
        found.append(
            click.Argument(
                ["prompt"], nargs=-1, required=True, metavar="PROMPT" if count == 1 else "PROMPT..."
            )
        )
    return [
        *found,
        click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="FILE",
                     help="The edited picture; of several, a sheet of all, and each beside it as NAME-1, NAME-2..."),
        click.Option(["--strip"], type=click.Path(path_type=Path), metavar="FILE",
                     help="A picture of source, reconstruction, mask and edit too."),
    ]  # fmt: skip


def _beginning(name: str, taken: Sequence[str]) -> list[click.Parameter]:
    """How a picture or a seed becomes a start. What an inversion's file says already is not asked."""
    best = BEST.get(name, "direct")
    found: list[click.Parameter] = [
        click.Option(["--invert"], type=click.Choice([*methods.table("invert")]),
                     help=f"How a picture is inverted; the default is {best}."),
        click.Option(["--source"], metavar="CAPTION",
                     help="What the picture shows, or what the seed draws: name all that is to be kept."),
        click.Option(["--steps"], type=click.INT, help="Steps of inversion and edit; the default is the method's."),
        click.Option(["--height"], type=click.INT, help="Of the picture in pixels; the default is the base's size."),
        click.Option(["--width"], type=click.INT, help="Of the picture in pixels; the default is the base's size."),
        click.Option(["--keep"], type=click.Path(path_type=Path), metavar="FILE.inversion",
                     help="Keep the inversion that is made, for more edits."),
        click.Option(["--resume"], is_flag=True,
                     help="Go on with a long inversion that was stopped (Ctrl-C keeps its steps, beside the output)."),
        click.Option(["--preview-every"], type=click.IntRange(min=1), metavar="N",
                     help="Draw the photo and the way back so far after every N steps of a long inversion, into "
                     "NAME-preview.png beside the output, until the inversion is done."),
        click.Option(["--cache/--no-cache"], default=True, show_default=True,
                     help="Take the inversion from the cache where the same was made before, and keep it there."),
        click.Option(["--values-until"], type=click.FLOAT, metavar="SHARE",
                     help="Of an inversion by value-embedding: until which part of the run its values are fed to the "
                     "targets (the paper's tau_v); the default is the inversion's."),
    ]  # fmt: skip
    return [option for option in found if option.name not in taken]


class _FirstStep(Exception):
    """An edit has begun."""


def _tried(edited: Callable[[Any, Tell], Edited], begun: Inversion) -> None:
    """Begin an edit, so that what is wrong with its words and windows is said before a long inversion."""

    def leave(_: Progress) -> None:
        raise _FirstStep

    try:
        edited(begun, leave)
    except _FirstStep:
        pass


def _begun(
    voice: Voice,
    base: Base,
    start: str,
    opened: Inversion | Path | None,
    values: Mapping[str, Any],
    taken: Sequence[str],
    edited: Callable[[Any, Tell], Edited] | None,
) -> Any:
    """What the edit starts from: an inversion read, a picture inverted, or a seed."""
    from motif.edit import seeded
    from motif.inversion import Inversion, inversion_path
    from motif.invert.stand_in import stand_in

    asked = given(values, ["invert", "source", "steps", "height", "width", "keep", "preview_every"])
    asked |= {"resume": True} if values["resume"] else {}
    if isinstance(opened, Inversion):
        if asked:
            raise InputError(
                f"--{min(asked).replace('_', '-')} is for a picture or a seed; {start} is an inversion and says it "
                "itself"
            )
        return opened
    if "source" not in asked:
        raise InputError(
            f'{start}: what does it show? --source "a cat on a bench" says it, or name an inversion'
        )
    sizes = {key: asked[key] for key in ("steps", "height", "width") if key in asked}
    if "guidance" in taken and values.get("guidance") is not None:
        sizes["guidance"] = values["guidance"]
    if opened is None:
        if wrong := asked.keys() & {"invert", "keep", "resume", "preview_every"}:
            raise InputError(
                f"a seed's picture is drawn, not inverted: drop --{min(wrong).replace('_', '-')}"
            )
        return seeded(base, asked["source"], seed=int(start.removeprefix("seed:")), **sizes)
    keep = prepare(inversion_path(asked["keep"])) if "keep" in asked else None
    name = asked.get("invert") or BEST.get(click.get_current_context().info_name or "", "direct")
    function = methods.load("invert", name)
    preview = _preview(start, values)
    kept = watched(function, asked, values["output"], preview)
    if not kept and (wrong := asked.keys() & {"resume", "preview_every"}):
        flag = min(wrong).replace("_", "-")
        raise InputError(f"--{flag} is of long inversions, and {name} takes no longer than the edit: drop it")
    if edited:
        _tried(edited, stand_in(function, name, base, opened, asked["source"], **sizes))
    voice.note(f"inverting {start} by {name}")
    told = {**sizes, **kept, **accepted(function, resume=values["resume"])}
    inversion, known = inverted(voice, function, base, opened, asked["source"], told, values["cache"])
    voice.note(f"{inversion}{', from the cache' if known else ''}")
    if "preview_every" in asked:
        preview.unlink(missing_ok=True)
    if keep:
        inversion.save(keep)
    return inversion


def _preview(start: str, values: Mapping[str, Any]) -> Path:
    """Where previews are drawn: no other file's place, save what a stopped run left there."""
    preview = values["output"].with_name(f"{values['output'].stem}-preview.png")
    own = values["resume"] and not _same(Path(start), preview)
    if values["preview_every"] and preview.exists() and not own:
        raise InputError(
            f"{preview}: previews would take this file's place: move it, or name another file (-o)"
        )
    return preview


def _opened(start: str, plain: bool) -> Inversion | Path | None:
    """An inversion, or the path of a picture that can be read: before a base is loaded; nothing of a seed, of which an
    edit of plain photos knows none."""
    from motif.images import open_picture
    from motif.inversion import ENDING, Inversion

    path = Path(start).expanduser()
    if start.endswith(ENDING):
        return Inversion.load(path)
    return None if SEED.fullmatch(start) and not plain else open_picture(path).path


def _captions(given_words: Sequence[str]) -> list[str]:
    """Captions from .txt files, from words of pocket's world, or as they stand."""
    from motif.pocket.sentences import sentences

    found: list[str] = []
    for text in given_words:
        path = Path(text).expanduser()
        if path.suffix == ".txt":
            if not path.is_file():
                raise InputError(f"{path}: no such file of captions")
            found += [line.strip() for line in read_text(path).splitlines() if line.strip()]
        else:
            found += [text] if " " in text.strip() else sentences(text.strip())
    if not found:
        raise InputError(f"{', '.join(given_words)}: no captions in there")
    return found


def _places(start: str, values: Mapping[str, Any], several: bool) -> tuple[Path, Path | None]:
    """The pictures' files, checked before the work: no two are one, and none is what the edit starts from."""
    output, strip, photo = values["output"], values["strip"], Path(start)
    for path in (output, *([strip] if strip else [])):
        if not is_picture(path):
            raise InputError(f"{path}: a picture's name ends in .png, .jpg or .webp")
    beside = r"(-\d+)?" if several else ""
    beside = rf"({beside}|-preview)" if values.get("preview_every") else beside
    if strip and _same(strip, output, beside):
        raise InputError(f"--strip {strip}: the edited picture is saved there: name another file")
    if _same(photo, output, beside) or (strip and _same(photo, strip)):
        raise InputError(
            f"{start} is the photo itself, and the result would take its place: name another file"
        )
    return prepare(output), prepare(strip) if strip else None


def _same(path: Path, output: Path, beside: str = "") -> bool:
    """Whether a file is where an output is saved, or one of the pictures beside it, by what is added to its name."""
    path, output = path.expanduser().resolve(), output.expanduser().resolve()
    named = re.fullmatch(re.escape(output.stem) + beside, path.stem)
    return (path.parent, path.suffix) == (output.parent, output.suffix) and named is not None


def _written(found: Edited, output: Path, strip: Path | None, keep: Path | None) -> list[str]:
    """Save the pictures, one as the output, several beside their sheet; the kept inversion is told with them."""
    from motif.images import save_image
    from motif.inversion import inversion_path

    several = len(found.images) > 1
    files = [save_image(found.sheet() if several else found.image, output)]
    for number, image in enumerate(found.images if several else (), 1):
        files.append(save_image(image, output.with_stem(f"{output.stem}-{number}")))
    if strip:
        files.append(save_image(found.sheet(), strip))
    return [str(path) for path in [*files, *([inversion_path(keep)] if keep else [])]]


edit = Methods("edit", editor, help="Edit a picture by its prompt, with learned concepts or without.")
