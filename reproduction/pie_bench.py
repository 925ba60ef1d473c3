"""PIE-Bench's protocol (Ju et al. 2024): every photo of the data set inverted, edited, and measured.

`python reproduction/pie_bench.py PIE -o OUT --invert value-embedding --edit p2plus --inverting FILE.toml --editing
FILE.toml` takes the methods and the settings files of `motif invert` and `motif edit`; StyleDiffusion's tables 2 and 3
come this way from `reproduction/sd14`. It leaves OUT/{sources,reconstructed,edited}/NAME.png, the data set's masks
beside the sources, and OUT/pie.md with a line for every measure: structure, NS-LPIPS, PSNR, SSIM and MSE outside of the
mask, Clipscore of all and of the edited part, and PSNR and SSIM of the reconstruction; mean ± standard error.

A photo whose edit lies there is not edited again, so that a stopped run goes on; OUT belongs to one way of editing. A
case that cannot be edited is named, the rest goes on, and the exit is 1. `--blend` blends by the data set's words.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import read_json, written

PLACES = ("sources", "reconstructed", "edited")
SETTINGS = "settings.json"


@dataclass(frozen=True)
class Way:
    """A method with its settings."""

    verb: str
    name: str
    settings: Mapping[str, Any]
    base: str = ""  # where its file names one

    @staticmethod
    def of(verb: str, name: str, file: Path | None) -> Way:
        """By its name and its settings file. InputError where the file says what the method does not take."""
        from motif import methods
        from motif.cli.options import options

        told = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
        base, known = str(told.pop("base", "")), {o.name for o in options(methods.load(verb, name))}
        if strange := told.keys() - known:
            raise InputError(f"{file}: {name} has no {', '.join(sorted(strange))}")
        return Way(verb, name, told, base)

    def __call__(self, *given: Any, **more: Any) -> Any:
        from motif import methods

        return methods.load(self.verb, self.name)(*given, **self.settings, **more)


def edit(base: Any, case: Any, invert: Way, change: Way, out: Path, *, blend: bool) -> None:
    """One case: its pictures into their places, the edit last."""
    from PIL.Image import Resampling

    from motif.images import save_image

    begun = invert(base, case.photo, case.source)
    more = {"blend": [*case.blend]} if blend and case.blend else {}
    found = change(base, begun, case.target, **more)
    save_image(found.sources[0], out / "sources" / f"{case.name}.png")
    save_image(
        case.mask().resize(found.image.size, Resampling.NEAREST), out / "sources" / f"{case.name}-mask.png"
    )
    save_image(found.reconstructions[0], out / "reconstructed" / f"{case.name}.png")
    save_image(found.image, out / "edited" / f"{case.name}.png")


def measured(cases: Sequence[Any], out: Path, encoder: str, device: str) -> dict[str, Any]:
    """{measure: score} of what lies there."""
    from motif import measure

    photos, again, edits = ([out / place / f"{case.name}.png" for case in cases] for place in PLACES)
    masks = [out / "sources" / f"{case.name}-mask.png" for case in cases]
    targets = [case.target for case in cases]
    outside: dict[str, Any] = {"masks": masks, "region": "outside"}
    how: dict[str, Any] = {"encoder": encoder, "device": device}
    return {
        "structure": measure.structure(edits, photos, **how),
        "NS-LPIPS": measure.ns_lpips(edits, photos, masks=masks, **how),
        "PSNR outside": measure.psnr(edits, photos, **outside),
        "SSIM outside": measure.ssim(edits, photos, **outside),
        "MSE outside": measure.mse(edits, photos, **outside),
        "Clipscore": measure.clipscore(edits, targets, **how),
        "Clipscore of the edited part": measure.clipscore(
            edits, targets, masks=masks, region="inside", **how
        ),
        "PSNR of the reconstruction": measure.psnr(again, photos),
        "SSIM of the reconstruction": measure.ssim(again, photos),
    }


def claim(out: Path, told: dict[str, Any]) -> None:
    """Sign the folder. InputError where it belongs to another way of editing."""
    place = out / SETTINGS
    if place.is_file() and read_json(place) != json.loads(json.dumps(told)):
        raise InputError(f"{out} holds edits of another way ({place}): name another folder")
    for name in PLACES:
        (out / name).mkdir(parents=True, exist_ok=True)
    with written(place) as part:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def run(asked: argparse.Namespace) -> int:
    """Edit what is not there, measure all; how many cases failed."""
    from motif.base import Base
    from motif.measure.readers import pie_bench

    invert = Way.of("invert", asked.invert, asked.inverting)
    change = Way.of("edit", asked.edit, asked.editing)
    cases = pie_bench(asked.data)[: asked.limit or None]
    base = Base.load(asked.base or invert.base or "pocket", device=asked.device)
    claim(asked.out, {"invert": [invert.name, invert.settings], "edit": [change.name, change.settings],
                      "blend": asked.blend, "base": base.origin.fingerprint})  # fmt: skip
    failed = dict[str, InputError]()
    for i, case in enumerate(cases, 1):
        if not (asked.out / "edited" / f"{case.name}.png").is_file():
            print(f"{i} of {len(cases)}: {case.name}", file=sys.stderr, flush=True)
            try:
                edit(base, case, invert, change, asked.out, blend=asked.blend)
            except InputError as error:
                failed[case.name] = error
                print(f"{case.name}: {error}", file=sys.stderr, flush=True)
    done = [case for case in cases if case.name not in failed]
    if not done:
        raise InputError(f"none of {len(cases)} cases could be edited: {next(iter(failed.values()))}")
    scores = measured(done, asked.out, asked.encoder, str(base.device))
    lines = [
        f"{invert.name}, {change.name}: {len(done)} of {len(cases)} cases",
        "",
        "| measure | |",
        "|---|---|",
    ]
    lines += [
        f"| {name} | {score.mean:.4f} ± {score.standard_error or 0.0:.4f} |" for name, score in scores.items()
    ]
    lines += ["", *(f"- {name} failed: {error}" for name, error in failed.items())]
    text = "\n".join(lines).rstrip() + "\n"
    with written(asked.out / "pie.md") as part:
        part.write_text(text, encoding="utf-8")
    with written(asked.out / "pie.json") as part:
        part.write_text(
            json.dumps({name: score.as_dict() for name, score in scores.items()}, indent=1) + "\n"
        )
    print(text)
    return len(failed)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line, or these words, ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the data set's folder, with mapping_file.json")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--invert", default="value-embedding")
    parser.add_argument("--edit", default="p2plus")
    parser.add_argument("--inverting", type=Path, help="settings of the inversion, .toml")
    parser.add_argument("--editing", type=Path, help="settings of the edit, .toml")
    parser.add_argument(
        "--blend", action="store_true", help="blend by the data set's words, where it has some"
    )
    parser.add_argument("--base", default="", help="the default is the settings file's, else pocket")
    parser.add_argument("--encoder", default="paper", help="of the measures: paper or pocket")
    parser.add_argument("--limit", type=int, default=0, help="the first so many cases; 0 is all")
    parser.add_argument("--device", default=None)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """The exit: 0, 1 where cases failed, 2 where nothing can be done."""
    try:
        return 1 if run(arguments(words)) else 0
    except (InputError, OSError, tomllib.TOMLDecodeError) as error:
        print(f"pie_bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
