"""`motif sample METHOD PROMPT --wear CONCEPT -o DIR`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command, Methods
from motif.cli.model import base_options, dressed_base, wear_options
from motif.cli.options import accepted, given, options, summary
from motif.cli.outputs import LEAST, is_picture, prepare, prepare_folder
from motif.cli.prompts import lines_of, require_named
from motif.cli.record import Album, beside, place, require_unlisted
from motif.cli.voice import Voice
from motif.errors import InputError, Interrupted
from motif.images import grid, save_image
from motif.methods import Method

if TYPE_CHECKING:
    from PIL.Image import Image

    from motif.base import Base

ABOUT = """PROMPT: what to draw; or a .txt file with one prompt a line, -n pictures of each, whose seeds go on from one
prompt to the next."""

UNNAMED = "Draw though no prompt names the concept that is worn: what became of its class, as kid and drift compare it."


def sampler(name: str, method: Method) -> Command:
    """The command of one method."""
    function = method.load()
    settings = options(function)
    names = [option.name or "" for option in settings]

    def run(voice: Voice, prompt: str, output: Path, **values: Any) -> None:
        chosen, lines = given(values, names), lines_of(prompt)
        texts = [prompt] if lines is None else lines
        n, first = int(chosen.get("n", 1)) * len(texts), int(chosen.get("seed", 0))
        output = picture_place(output, n) if is_picture(output) else prepare_folder(output)
        sheet = sheet_place(values["grid"], (place(output, first + i) for i in range(n)))
        base = dressed_base(voice, values)
        require_named(base, texts, unnamed=values.get("unnamed", False))
        for path in [place(output, first), *([sheet] if sheet else [])]:
            prepare(path, needs=needed(base, chosen, n))
        chosen |= {
            side: value for side, value in defaults(base).items() if side in names and side not in chosen
        }
        asked = {"prompt": prompt} if lines is None else {"prompts": lines}
        about = {"method": name, **asked, "base": base.name, "wear": list(values["wear"]),
                 "settings": chosen, **made_with(base)}  # fmt: skip
        if lines is not None:
            require_drawable(function, base, lines, chosen)
        album = Album(output, first, about)
        if lines is None:
            images = drawn(voice, album, function, base, prompt, chosen)
            sheets, why, said = noted(album, images), whys(images), labels(images)
        else:
            images, sheets, why = each_drawn(voice, album, function, base, lines, chosen, keep=bool(sheet))
            said = [", ".join([row["prompt"], *filter(None, [row.get("label")])]) for row in album.rows]
        if left := [path for path in album.strangers() if path not in sheets]:
            voice.note(
                f"{output} holds {len(left)} other pictures ({left[0].name}...): `motif measure` leaves them out"
            )
        if sheet:
            sheets = [*sheets, save_image(grid(images, title=prompt, labels=said), sheet)]
        album.write()
        paths = [str(path) for path in [*album.files, *sheets]]
        voice.result({**album.record(), "files": paths}, "\n".join([*why, *paths]))

    arguments: list[click.Parameter] = [
        click.Argument(["prompt"], metavar="PROMPT"),
        *([click.Option(["--unnamed"], is_flag=True, help=UNNAMED)] if name == "plain" else []),
        click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="DIR",
                     help="A folder for the pictures, or one picture's file (.png, .jpg, .webp)."),
        click.Option(["--grid"], type=click.Path(path_type=Path), metavar="FILE",
                     help="All pictures on one sheet too."),
    ]  # fmt: skip
    parameters = [*arguments, *wear_options(), *settings, *base_options()]
    text = f"{summary(function)}\n\n{ABOUT}\n\n{method.paper}"
    return Command(name, callback=run, params=parameters, help=text, short_help=method.summary)


def picture_place(path: Path, n: int) -> Path:
    """The file of one picture, checked before anything is drawn."""
    if n != 1:
        raise InputError(f"{path} is one picture and {n} are asked for: name a folder")
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
    *,
    keep: Callable[..., None] | None = None,
    task: str = "drawing",
    of: int = 0,
) -> list[Image]:
    """The pictures of a prompt, each saved as soon as it is drawn. Ctrl-C keeps those that are there.

    Args:
        voice: Tells of the progress.
        album: Where they go.
        function: The sampler.
        base: What draws them.
        prompt: What is drawn.
        chosen: The sampler's settings.
        keep: Takes a picture into the album.
        task: What the progress is of.
        of: How many pictures there will be in all; the default is those of this prompt.
    """
    keep, before = keep or album.keep, len(album.files)
    try:
        with voice.progress(task) as on_progress:
            told = accepted(function, on_progress=on_progress, on_image=keep)
            images = function(base, prompt, **chosen, **told)
    except KeyboardInterrupt:
        if not album.files:
            raise
        album.write()
        raise Interrupted(
            f"stopped: {len(album.files)} of {of or chosen.get('n', 1)} pictures are drawn and lie in {album.output}"
        ) from None
    for image in images[len(album.files) - before :]:
        keep(image)
    return images


def require_drawable(
    function: Callable[..., list[Image]], base: Base, prompts: Sequence[str], chosen: Mapping[str, Any]
) -> None:
    """InputError where the sampler refuses one of the prompts, before any is drawn."""
    from motif.tradeoff.rehearse import ended_at_work, unheard

    with unheard():
        for prompt in dict.fromkeys(prompts):
            with ended_at_work(base):
                function(base, prompt, **{**chosen, "n": 1})


def each_drawn(
    voice: Voice,
    album: Album,
    function: Callable[..., list[Image]],
    base: Base,
    prompts: Sequence[str],
    chosen: Mapping[str, Any],
    *,
    keep: bool,
) -> tuple[list[Image], list[Path], list[str]]:
    """The pictures of every prompt in turn, their seeds one after another: (pictures where they are to be kept in
    memory too, sheets, why). What a sampler tells of its pictures stands in the record beside each of them. What a
    stopped run of the same has drawn is taken as it is."""
    images: list[Image] = []
    sheets: list[Path] = []
    why: list[str] = []
    n, first = int(chosen.get("n", 1)), album.first
    done = album.go_on(prompts, n)
    if done:
        voice.note(
            f"{album.output} holds the pictures of the first {done} of {len(prompts)} prompts: going on"
        )
        images += [opened(path) for path in album.files] if keep else []
    for i, prompt in [*enumerate(prompts)][done:]:
        before, seed = len(album.rows), first + i * n
        some = drawn(
            voice, album, function, base, prompt, {**chosen, "seed": seed},
            keep=partial(album.keep, prompt=prompt), task=f"drawing prompt {i + 1} of {len(prompts)}",
            of=n * len(prompts),
        )  # fmt: skip
        sheets += noted(album, some, album.rows[before:], f"{seed:04d}_")
        why += whys(some)
        images += some if keep else []
    return images, sheets, why


def opened(path: Path) -> Image:
    """A picture that is there."""
    from motif.images import open_picture

    return open_picture(path).image


def labels(images: list[Image]) -> list[str] | None:
    """What the sampler says of each picture; None where it says nothing."""
    from motif.sample.drawn import Drawn

    return [*images.labels] if isinstance(images, Drawn) and any(images.labels) else None


def noted(
    album: Album, images: list[Image], rows: Sequence[dict[str, Any]] = (), prefix: str = ""
) -> list[Path]:
    """Put what the sampler has to tell beside its pictures into their record, or into these rows of it, and save its
    sheets, under names with a prefix."""
    from motif.sample.drawn import Drawn

    if not isinstance(images, Drawn):
        return []
    for about in rows or (album.about,):
        about.update(images.about)
    album.write()
    return [
        save_image(sheet, beside(album.output, f"{prefix}{name}")) for name, sheet in images.sheets.items()
    ]


def whys(images: list[Image]) -> list[str]:
    """What the sampler chose, and for which reason; nothing where it did not choose."""
    from motif.sample.drawn import Drawn

    return [images.why] if isinstance(images, Drawn) and images.why else []


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


def needed(base: Base, chosen: Mapping[str, Any], n: int) -> int:
    """Bytes that the pictures take at most: a PNG of noise is as large as its pixels."""
    height, width = (int(chosen.get(side, base.size)) for side in ("height", "width"))
    return max(LEAST, n * height * width * 3)


sample = Methods("sample", sampler, help="Draw pictures of a prompt, wearing learned concepts.")
