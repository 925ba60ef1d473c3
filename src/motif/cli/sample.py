"""`motif sample METHOD PROMPT --wear CONCEPT -o DIR`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Command, Methods
from motif.cli.model import base_options, dressed, load_base, wear_options
from motif.cli.options import given, options, summary
from motif.cli.outputs import LEAST, prepare, prepare_folder
from motif.cli.voice import Voice
from motif.errors import InputError
from motif.files import written
from motif.images import grid, save_image
from motif.methods import Method

if TYPE_CHECKING:
    from motif.base import Base

RECORD = "pictures.json"
"""What a folder of pictures was made of: prompt, settings, and each picture's seed."""

ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


def sampler(name: str, method: Method) -> Command:
    """The command of one method."""
    function = method.load()
    settings = options(function)
    names = [option.name or "" for option in settings]

    def run(voice: Voice, prompt: str, output: Path, **values: Any) -> None:
        chosen, single = given(values, names), output.suffix.lower() in ENDINGS
        if single and chosen.get("n", 1) != 1:
            raise InputError(f"{output} is one picture and -n asks for {chosen['n']}: name a folder")
        output = prepare(output) if single else prepare_folder(output)
        sheet = prepare(values["grid"]) if values["grid"] else None
        base = load_base(voice, values["base"], values["device"], values["precision"])
        base = dressed(base, values["wear"], other_base=values["other_base"])
        require_tokens(base, prompt)
        (prepare if single else prepare_folder)(output, needs=needed(base, chosen))
        if sheet:
            prepare(sheet, needs=needed(base, chosen))
        chosen |= {
            side: value for side, value in defaults(base).items() if side in names and side not in chosen
        }
        images = function(base, prompt, **chosen)
        first = int(chosen.get("seed", 0))
        files = [output] if single else [output / f"{first + i:04d}.png" for i in range(len(images))]
        for image, path in zip(images, files, strict=True):
            save_image(image, path)
        if sheet:
            save_image(grid(images, title=prompt), sheet)
        data: dict[str, Any] = {
            "method": name,
            "prompt": prompt,
            "base": base.name,
            "wear": list(values["wear"]),
            "settings": chosen,
            **made_with(base),
            "pictures": [{"file": path.name, "seed": first + i} for i, path in enumerate(files)],
        }
        if not single:
            with written(output / RECORD) as part:
                part.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        paths = [str(path) for path in [*files, *([sheet] if sheet else [])]]
        voice.result({**data, "files": paths}, "\n".join(paths))

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


def require_tokens(base: Base, prompt: str) -> None:
    """InputError where concepts are worn and the prompt names none of them."""
    known: Sequence[str] = list(base.vectors)
    if known and not any(token in prompt for token in known):
        phrase = f"{known[0]} {base.nouns.get(known[0], '')}".strip()
        raise InputError(
            f'the prompt "{prompt}" does not name {known[0]}: write "{phrase}" where the concept is meant'
        )


sample = Methods("sample", sampler, help="Draw pictures of a prompt, wearing learned concepts.")
