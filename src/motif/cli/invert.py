"""`motif invert METHOD IMAGE... PROMPT [--wear C] -o X.inversion`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command, Methods
from motif.cli.model import base_options, dressed_base, wear_options
from motif.cli.options import accepted, given, options, summary
from motif.cli.outputs import LEAST, is_picture, prepare
from motif.cli.voice import Voice, aligned
from motif.errors import InputError
from motif.methods import Method

if TYPE_CHECKING:
    from motif.base import Base
    from motif.inversion import Inversion


COUNTS = ("forwards", "backwards", "reconstruction_forwards")
"""What an inversion cost in evaluations of the denoiser, each of one picture."""


def inverter(name: str, method: Method) -> Command:
    """The command of one method."""
    function = method.load()
    settings = options(function)
    names = [option.name or "" for option in settings]

    def run(voice: Voice, images: tuple[str, ...], prompt: str, output: Path, **values: Any) -> None:
        from motif.images import open_picture, save_image
        from motif.inversion import inversion_path

        output = prepare(inversion_path(output))
        photos = [Path(image).expanduser() for image in images]
        _require_caption(prompt, images)
        strip = strip_place(values["strip"] or beside(output), photos)
        for photo in photos:
            open_picture(photo)
        base = dressed_base(voice, values)
        chosen = given(values, names)
        captions = captions_of(prompt, len(photos))
        prepare(output, needs=max(LEAST, len(photos) * inversion_bytes(base, chosen)))
        told = {**chosen, **watched(function, chosen, output, strip)}
        inversion, known = inverted(voice, function, base, photos, captions, told, values["cache"])
        inversion.save(output)
        save_image(shown(base, inversion), strip)
        made = inversion.made
        data = {"inversion": str(output), "strip": str(strip), "method": inversion.method, "cached": known,
                **made.scores, **made.cost}  # fmt: skip
        rows = [
            *made.scores.items(),
            *((name, round(x) if name in COUNTS else x) for name, x in made.cost.items()),
        ]
        known_text = ["found in the cache; the cost is what it took"] if known else []
        voice.result(data, "\n".join([str(output), str(strip), aligned(rows), *known_text]))

    arguments: list[click.Parameter] = [
        click.Argument(["images"], metavar="IMAGE...", nargs=-1),
        click.Argument(["prompt"], metavar="PROMPT"),
        click.Option(["-o", "--output"], required=True, type=click.Path(path_type=Path), metavar="FILE",
                     help="The inversion's file (.inversion)."),
        click.Option(["--strip"], type=click.Path(path_type=Path), metavar="FILE",
                     help="A picture of photo and reconstruction, and of the previews until then; the default lies "
                     "beside the output, as .png."),
        click.Option(["--cache/--no-cache"], default=True, show_default=True,
                     help="Take the inversion from the cache where the same was made before, and keep it there."),
    ]  # fmt: skip
    text = f"""{summary(function)}

    IMAGE is a picture and PROMPT its caption: name all that is to be kept. The centre of a picture of another shape is
    cut out. Several pictures are inverted together, into one file; PROMPT is the caption of all, or their captions in
    order with | between them.

    {method.paper}"""
    parameters = [*arguments, *wear_options(), *settings, *base_options()]
    return Command(name, callback=run, params=parameters, help=text, short_help=method.summary)


def inverted(
    voice: Voice, function: Any, base: Base, photos: Any, prompt: Any, settings: dict[str, Any], cache: bool
) -> tuple[Inversion, bool]:
    """(an inversion, whether it came from the cache), with progress; used by `motif edit` too."""
    from motif.invert.cache import cached

    with voice.progress("inverting") as on_progress:
        told = {**settings, **accepted(function, on_progress=on_progress)}
        if cache:
            return cached(function, base, photos, prompt, **told)
        return function(base, photos, prompt, **told), False


def _require_caption(prompt: str, images: Sequence[str]) -> None:
    """InputError where the last word is no caption: it was forgotten, or a picture stands in its place."""
    if not images:
        raise InputError(f'"{prompt}" alone: name a picture and what it shows, as IMAGE "a cat on a bench"')
    if Path(prompt).expanduser().is_file():
        raise InputError(
            f'{prompt} is a file where the caption belongs: end with what it shows, "a cat on a bench"'
        )


def captions_of(prompt: str, photos: int) -> str | list[str]:
    """Everyone's caption, or one for each photo: "a cat | a dog"."""
    parts = [part.strip() for part in prompt.split("|")]
    return prompt if photos == 1 or len(parts) == 1 else parts


def watched(function: Any, chosen: dict[str, Any], output: Path, strip: Path | None = None) -> dict[str, Any]:
    """Where a long method's stopped run is kept, and who is given its previews: they are the strip until it is done."""
    from motif.images import save_image

    folder, every = output.with_suffix(".run"), chosen.get("preview_every")
    if strip and every:
        drawn = partial(save_image, path=strip)
        return accepted(function, folder=folder, preview_every=every, on_image=drawn)
    return accepted(function, folder=folder)


def strip_place(path: Path, photos: Sequence[Path]) -> Path:
    """The strip's file, checked before the work: a picture, and no photo itself."""
    if not is_picture(path):
        raise InputError(f"--strip {path}: a strip is a picture: name it .png, .jpg or .webp")
    path = prepare(path)
    if path.resolve() in [photo.resolve() for photo in photos]:
        raise InputError(f"{path}: the strip would take the photo's place: name another with --strip")
    return path


def beside(output: Path) -> Path:
    """The strip's file where none is named: the output's name as .png, unless that is a picture of somebody's. What an
    inversion, whole or stopped, left there is replaced."""
    strip, own = output.with_suffix(".png"), output.exists() or output.with_suffix(".run").is_dir()
    if strip.exists() and not own:
        raise InputError(f"{strip}: the strip would take this picture's place: name another with --strip")
    return strip


def inversion_bytes(base: Base, chosen: dict[str, Any]) -> int:
    """About how large a photo's part of the file will be: latents of both ways, and text of every step."""
    c, h, w = base.latent_shape((int(chosen.get("height", base.size)), int(chosen.get("width", base.size))))
    words = max(reader.length for reader in base.models.readers)
    text = 2 * words * int(base.models.unet.config.cross_attention_dim)
    return 4 * (int(chosen.get("steps", 50)) + 1) * (2 * c * h * w + text)


def shown(base: Base, inversion: Inversion) -> Any:
    """Photo and reconstruction, side by side, with its PSNR where there are several."""
    from motif.fidelity import psnr
    from motif.images import grid, to_images

    latents = inversion.reconstruct(base) if inversion.way is None else inversion.way[0].to(base.device)
    decoded = base.decode(latents).cpu()
    near = psnr(((decoded + 1) / 2).clamp(0, 1), inversion.photos / 255).tolist()
    pairs = [
        picture for both in zip(inversion.pictures(), to_images(decoded), strict=True) for picture in both
    ]
    titles = [f"back: {db:.1f} dB" for db in near] if len(inversion) > 1 else ["reconstruction"]
    labels = [label for title in titles for label in ("photo", title)]
    return grid(pairs, columns=2, labels=labels, title=" | ".join(dict.fromkeys(inversion.prompts)))


invert = Methods("invert", inverter, help="Invert a photo: find the noise that a prompt brings back to it.")
