"""`motif sample METHOD PROMPT --wear CONCEPT -o DIR`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command, Methods
from motif.cli.model import base_options, dressed_base, wear_options
from motif.cli.options import accepted, given, options, summary
from motif.cli.outputs import LEAST, is_picture, prepare, prepare_folder
from motif.cli.record import Album, beside, place, require_unlisted
from motif.cli.voice import Voice
from motif.errors import InputError, Interrupted
from motif.images import grid, save_image
from motif.methods import Method

if TYPE_CHECKING:
    from PIL.Image import Image

    from motif.base import Base

log = logging.getLogger("motif")


def sampler(name: str, method: Method) -> Command:
    """The command of one method."""
    function = method.load()
    settings = options(function)
    names = [option.name or "" for option in settings]

    def run(voice: Voice, prompt: str, output: Path, **values: Any) -> None:
        chosen = given(values, names)
        n, first = int(chosen.get("n", 1)), int(chosen.get("seed", 0))
        output = picture_place(output, n) if is_picture(output) else prepare_folder(output)
        sheet = sheet_place(values["grid"], (place(output, first + i) for i in range(n)))
        base = dressed_base(voice, values)
        require_tokens(base, prompt)
        for path in [place(output, first), *([sheet] if sheet else [])]:
            prepare(path, needs=needed(base, chosen))
        chosen |= {
            side: value for side, value in defaults(base).items() if side in names and side not in chosen
        }
        about = {"method": name, "prompt": prompt, "base": base.name, "wear": list(values["wear"]),
                 "settings": chosen, **made_with(base)}  # fmt: skip
        album = Album(output, first, about)
        images = drawn(voice, album, function, base, prompt, chosen)
        if left := album.strangers():
            voice.note(
                f"{output} holds {len(left)} other pictures ({left[0].name}...): `motif measure` leaves them out"
            )
        if sheet:
            save_image(grid(images, title=prompt, labels=labels(images)), sheet)
        sheets = [*noted(album, images), *([sheet] if sheet else [])]
        paths = [str(path) for path in [*album.files, *sheets]]
        why = [album.about["why"]] if album.about.get("why") else []
        voice.result({**album.record(), "files": paths}, "\n".join([*why, *paths]))

    arguments: list[click.Parameter] = [
        click.Argument(["prompt"], metavar="PROMPT"),
        click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="DIR",
                     help="A folder for the pictures, or one picture's file (.png, .jpg, .webp)."),
        click.Option(["--grid"], type=click.Path(path_type=Path), metavar="FILE",
                     help="All pictures on one sheet too."),
    ]  # fmt: skip
    parameters = [*arguments, *wear_options(), *settings, *base_options()]
    text = f"{summary(function)}\n\n{method.paper}"
    return Command(name, callback=run, params=parameters, help=text, short_help=method.summary)


def picture_place(path: Path, n: int) -> Path:
    """The file of one picture, checked before anything is drawn."""
    if n != 1:
        raise InputError(f"{path} is one picture and -n asks for {n}: name a folder")
    path = prepare(path)
    require_unlisted(path)
    return path


def sheet_place(path: Path | None, pictures: Iterable[Path]) -> Path | None:
    """The file of the sheet, checked before anything is drawn: it may not take a picture's place."""
    if path is None:
        return None
    if not is_picture(path):
        raise InputError(f"--grid {path}: a sheet is a picture: name it .png, .jpg or .webp")
    path = prepare(path)
    if any(path.resolve() == picture.resolve() for picture in pictures):
        raise InputError(f"--grid {path}: a picture of the sheet is saved there: name another file")
    require_unlisted(path)
    return path


def drawn(
    voice: Voice,
    album: Album,
    function: Callable[..., list[Image]],
    base: Base,
    prompt: str,
    chosen: Mapping[str, Any],
) -> list[Image]:
    """The pictures, each saved as soon as it is drawn. Ctrl-C keeps those that are there."""
    try:
        with voice.progress("drawing") as on_progress:
            told = accepted(function, on_progress=on_progress, on_image=album.keep)
            images = function(base, prompt, **chosen, **told)
    except KeyboardInterrupt:
        if not album.files:
            raise
        album.write()
        raise Interrupted(
            f"stopped: {len(album.files)} of {chosen.get('n', 1)} pictures are drawn and lie in {album.output}"
        ) from None
    for image in images[len(album.files) :]:
        album.keep(image)
    return images


def labels(images: list[Image]) -> list[str] | None:
    """What the sampler says of each picture; None where it says nothing."""
    from motif.sample.drawn import Drawn

    return [*images.labels] if isinstance(images, Drawn) and any(images.labels) else None


def noted(album: Album, images: list[Image]) -> list[Path]:
    """Put what the sampler has to tell beside its pictures into their record, and save its sheets."""
    from motif.sample.drawn import Drawn

    if not isinstance(images, Drawn):
        return []
    album.about.update(images.about)
    album.write()
    return [save_image(sheet, beside(album.output, name)) for name, sheet in images.sheets.items()]


def defaults(base: Base) -> dict[str, Any]:
    """What a base says where the user does not."""
    return {"guidance": base.guidance, "height": base.size, "width": base.size}


def made_with(base: Base) -> dict[str, Any]:
    """What a record needs beside the settings, so that the same pictures can be drawn again."""
    from motif.loading import precision_of
    from motif.versions import versions

    worn = [
        {"tokens": list(c.tokens), "method": c.record.method, "fingerprint": c.fingerprint}
        for c in base.concepts
    ]
    return {
        "precision": precision_of(base.dtype),
        "device": str(base.device),
        "base_fingerprint": base.origin.fingerprint,
        "concepts": worn,
        "versions": versions(),
    }


def needed(base: Base, chosen: Mapping[str, Any]) -> int:
    """Bytes that the pictures take at most: a PNG of noise is as large as its pixels."""
    height, width = (int(chosen.get(side, base.size)) for side in ("height", "width"))
    return max(LEAST, int(chosen.get("n", 1)) * height * width * 3)


def require_tokens(base: Base, prompt: str, *, beside: Sequence[str] = ()) -> None:
    """InputError where neither the prompt nor one beside it names a concept that is worn; a warning for each that they
    leave out."""
    base.tokenise([prompt])  # names what nobody has learned
    unnamed = [token for token in base.vectors if not any(token in text for text in (prompt, *beside))]
    if unnamed and len(unnamed) == len(base.vectors):
        phrase = f"{unnamed[0]} {base.nouns.get(unnamed[0], '')}".strip()
        raise InputError(
            f'the prompt "{prompt}" does not name {unnamed[0]}: write "{phrase}" where the concept is meant'
        )
    for token in unnamed:
        log.warning("%s is worn and the prompt does not name it: it changes the pictures all the same", token)


sample = Methods("sample", sampler, help="Draw pictures of a prompt, wearing learned concepts.")
