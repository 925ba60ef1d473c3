"""PIE-Bench (Ju et al. 2024): every photo of the data set inverted, edited, and measured, by our forms and by theirs.

`python reproduction/pie_bench.py PIE -o OUT --invert value-embedding --edit p2plus --inverting FILE.toml --editing
FILE.toml` takes the methods and the settings files of `motif invert` and `motif edit`; StyleDiffusion's tables 2 and 3
come this way from `reproduction/sd14`. `--invert none` edits the photo itself (SDEdit). It leaves OUT/{sources,
reconstructed,edited}/NAME.png, masks beside the sources, OUT/pie.md (mean ± standard error, – where unknown; what each
was measured with) and OUT/pie.json (every picture's value).

The benchmark's (editing card, 14): photos, prompts without brackets, masks with a frame of one pixel; `--blend`, which
blends by the data set's words and doubles the target's word where the target prompt says it, and does neither where a
case has no words; the rows "benchmark: ...", of PnPInversion's forms: PSNR, SSIM, MSE and LPIPS (SqueezeNet) over whole
frames that are black inside the mask, structure by DINO fed up to 255, 100 x cosine of CLIP ViT-L/14. A row of theirs
whose encoder is not here is left out by name. Ours: all other rows; settings and seeds, which are the files' and the
methods' (theirs: 50 steps, cross maps until .4, self maps until .6, refine); pictures measured as they are at the
base's size (theirs: read back from a JPEG of panels). With `--encoder pocket` no number of an encoder is theirs.

A photo whose edit lies there is not edited again: a stopped run goes on, and so does a longer `--limit`. OUT belongs to
one way of editing, each edit in it to the data it was made of. What is wrong with the settings, or missing for our
rows, is said before any edit. What cannot be edited or measured is named, the rest goes on, and the exit is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from PIL.Image import Resampling

from motif import methods
from motif.cli.command import Command
from motif.cli.options import options, positionals
from motif.errors import InputError, MissingModel, MotifError
from motif.features.perceptual import Perceptual
from motif.files import read_json, written
from motif.images import save_image
from motif.measure.encoders import load_encoder
from motif.measure.readers import pie_bench
from motif.measure.score import Score
from motif.tradeoff.digest import address, content

PLACES = ("sources", "reconstructed", "edited")
NONE = "none"
LOUDER = 2.0  # the benchmark's, of the target's word


@dataclass(frozen=True)
class Row:
    """A line of the table: a measure in one of its forms."""

    name: str
    metric: str  # of `motif measure`
    needs: str = ""  # of NETWORKS
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    of: str = "edited"  # which pictures


OUTSIDE, INSIDE = {"region": "outside"}, {"region": "inside"}
FRAME, LARGE = {**OUTSIDE, "form": "frame"}, {"form": "torchmetrics"}
OURS = (
    Row("structure", "structure", "dino"),
    Row("NS-LPIPS", "ns-lpips", "alex"),
    Row("PSNR outside", "psnr", form=OUTSIDE),
    Row("SSIM outside", "ssim", form=OUTSIDE),
    Row("MSE outside", "mse", form=OUTSIDE),
    Row("Clipscore", "clipscore", "clip"),
    Row("Clipscore of the edited part", "clipscore", "clip", INSIDE),
    Row("PSNR of the reconstruction", "psnr", of="reconstructed"),
    Row("SSIM of the reconstruction", "ssim", of="reconstructed"),
)
THEIRS = (
    Row("benchmark: structure", "structure", "dino", {"input_range": "pnp"}),
    Row("benchmark: PSNR outside", "psnr", form=FRAME),
    Row("benchmark: LPIPS outside", "lpips", "squeeze", OUTSIDE),
    Row("benchmark: MSE outside", "mse", form=FRAME),
    Row("benchmark: SSIM outside", "ssim", form=FRAME),
    Row("benchmark: CLIP similarity", "clipscore", "clip-large", LARGE),
    Row("benchmark: CLIP similarity of the edited part", "clipscore", "clip-large", {**LARGE, **INSIDE}),
)
NETWORKS = {  # what `--encoder paper` is
    "dino": "facebook/dino-vitb8", "alex": "alex", "squeeze": "squeeze",
    "clip": "openai/clip-vit-base-patch32", "clip-large": "openai/clip-vit-large-patch14",
}  # fmt: skip


def networks(encoder: str, device: str) -> tuple[dict[str, Any], list[str]]:
    """All that can be loaded, and which of the benchmark's rows are left out; MissingModel where one of ours would."""
    found, left_out = {"": None}, list[str]()
    for row in (row for row in (*OURS, *THEIRS) if row.needs not in found):
        name = NETWORKS[row.needs] if encoder == "paper" else encoder
        try:
            if row.needs in ("alex", "squeeze"):
                found[row.needs] = Perceptual.load(name, device=device)
            else:
                found[row.needs] = load_encoder(name, "dino" if row.needs == "dino" else "clip", device)
        except MissingModel as error:
            if row in OURS:
                raise
            left_out.append(f"{row.name} is left out: {one_line(error)}")
    return found, left_out


def measured(cases: Sequence[Any], loaded: dict[str, Any], out: Path) -> tuple[dict[str, Score], list[str]]:
    """{row: its score of what lies there}, and which rows have none, with the reason."""
    lists = {place: [out / place / f"{case.name}.png" for case in cases] for place in PLACES}
    masks = [out / "sources" / f"{case.name}-mask.png" for case in cases]
    found, without = dict[str, Score](), list[str]()
    for row in (row for row in (*OURS, *THEIRS) if row.needs in loaded):
        to = [case.target for case in cases] if row.metric == "clipscore" else lists["sources"]
        more: dict[str, Any] = {"encoder": loaded[row.needs]} if row.needs else {}
        more |= {"masks": masks} if "region" in row.form or row.metric == "ns-lpips" else {}
        try:
            found[row.name] = methods.load("measure", row.metric)(lists[row.of], to, **row.form, **more)
        except InputError as error:
            without.append(f"{row.name} has no number: {one_line(error)}")
    return found, without


@dataclass(frozen=True)
class Way:
    """A method with its settings."""

    name: str
    settings: Mapping[str, Any]
    base: str = ""  # where its file names one
    takes: frozenset[str] = frozenset()

    @staticmethod
    def of(verb: str, name: str, file: Path | None) -> Way:
        """By its name and its settings file, read as `--config` is. InputError for what the method does not take."""
        if (verb, name) == ("invert", NONE):
            if file:
                raise InputError(f"{file}: settings of an inversion, and --invert none is without one")
            return Way(name, {})
        known = options(methods.load(verb, name))
        command = Command(name, params=[*known, click.Option(["--base"], default="")])
        try:
            context = command.make_context(name, ["--config", str(file)] if file else [])
        except (InputError, click.ClickException) as error:
            said = error.format_message() if isinstance(error, click.ClickException) else error
            raise InputError(f"{verb} {name}: {said}") from None
        takes = sorted(str(option.name) for option in known)
        source, from_file = context.get_parameter_source, click.core.ParameterSource.DEFAULT_MAP
        told = {key: context.params[key] for key in takes if source(key) is from_file}
        return Way(name, told, context.params["base"], frozenset(takes))


def ways(asked: argparse.Namespace) -> tuple[Way, Way]:
    """The inversion and the edit. InputError where they do not do what is asked."""
    invert = Way.of("invert", asked.invert, asked.inverting)
    change = Way.of("edit", asked.edit, asked.editing)
    if invert.name == NONE and "photo" not in positionals(methods.load("edit", change.name)):
        raise InputError(f"--invert none: {change.name} edits an inversion: name a method to invert by")
    if asked.blend and "blend" not in change.takes:
        raise InputError(f"--blend: {change.name} has no blend")
    if twice := {"blend", "louder"} & change.settings.keys() if asked.blend else ():
        raise InputError(f"{asked.editing}: {min(twice)} is the data set's with --blend: leave out one")
    if not asked.base and "" not in (invert.base, change.base) and invert.base != change.base:
        raise InputError(f"not one base: {invert.base} ({asked.inverting}), {change.base} ({asked.editing})")
    return invert, change


def blending(case: Any, change: Way) -> dict[str, Any]:
    """The edit's settings for a case with `--blend`: the benchmark's."""
    from motif.edit.planned import BLENDING

    if not case.blend:  # where there is no blend of another kind, its settings go too
        unheard = {*BLENDING} if {*BLENDING} <= change.takes else {*()}
        return {name: value for name, value in change.settings.items() if name not in unheard}
    told = {**change.settings, "blend": [*case.blend]}
    if "louder" in change.takes and case.blend[1] in case.target.split():
        told["louder"] = {case.blend[1]: LOUDER}
    return told


def edit(base: Any, case: Any, invert: Way, change: Way, out: Path, *, blend: bool) -> None:
    """One case: its pictures into their places, the edit last."""
    begun = case.photo
    if invert.name != NONE:
        begun = methods.load("invert", invert.name)(base, case.photo, case.source, **invert.settings)
    told = blending(case, change) if blend else change.settings
    found = methods.load("edit", change.name)(base, begun, case.target, **told)
    mask = case.mask().resize(found.image.size, Resampling.NEAREST)
    save_image(mask, out / "sources" / f"{case.name}-mask.png")
    for place, picture in zip(PLACES, (found.sources[0], found.reconstructions[0], found.image), strict=True):
        save_image(picture, out / place / f"{case.name}.png")


def claim(out: Path, told: dict[str, Any], cases: Sequence[Any]) -> None:
    """Sign the folder, and each case. InputError where it, or an edit in it, is of another way or of other data."""
    place = out / "settings.json"
    old = read_json(place) if place.is_file() else {}
    signed = old.pop("cases", {})
    if old and old != json.loads(json.dumps(told)):
        raise InputError(f"{out} holds edits of another way ({place}): name another folder")
    now = dict[str, str]()
    for case in cases:
        photo = content(case.photo) if case.photo.is_file() else ""
        now[case.name] = address("case", of=[case.source, case.target, case.blend, case.runs, photo])
        edited = out / "edited" / f"{case.name}.png"
        if edited.is_file() and signed.get(case.name) != now[case.name]:
            raise InputError(f"{edited} is of other prompts, words, mask or photo: name another folder")
    for name in PLACES:
        (out / name).mkdir(parents=True, exist_ok=True)
    with written(place) as part:
        part.write_text(json.dumps({**told, "cases": {**signed, **now}}, indent=1) + "\n", encoding="utf-8")


def one_line(error: Exception) -> str:
    """A message without its line breaks."""
    return " ".join(str(error).split())


def report(out: Path, title: str, scores: Mapping[str, Score], count: int, notes: Sequence[str]) -> None:
    """The table of `count` edited cases and what each measure was made with, printed and into their files."""
    lines, below = [title, "", "| measure | mean ± standard error |", "|---|---|"], [""]
    for name, score in scores.items():
        error = "–" if score.standard_error is None else f"{score.standard_error:.4f}"
        of = f" (n = {score.n})" if score.n != count else ""
        lines.append(f"| {name} | {score.mean:.4f} ± {error}{of} |")
        told = [f"{key} {value}" for key, value in score.choices.items() if key not in ("folder", "weights")]
        below.append(f"- {name}: {'; '.join([*told, f'n {score.n}'])}")
    text = "\n".join([*lines, *below, *([""] if notes else []), *(f"- {note}" for note in notes)]) + "\n"
    numbers = json.dumps({name: score.as_dict() for name, score in scores.items()}, indent=1) + "\n"
    for name, content_of in (("pie.md", text), ("pie.json", numbers)):
        with written(out / name) as part:
            part.write_text(content_of, encoding="utf-8")
    print(text)


def run(asked: argparse.Namespace) -> int:
    """Edit what is not there, measure all; how many cases and measures failed."""
    from motif.base import Base

    if asked.limit < 0:
        raise InputError(f"--limit {asked.limit}: the first so many cases, or 0 for all")
    if asked.encoder not in ("paper", "pocket"):
        raise InputError(f"--encoder {asked.encoder}: use paper or pocket")
    invert, change = ways(asked)
    cases = pie_bench(asked.data)[: asked.limit or None]
    base = Base.load(asked.base or invert.base or change.base or "pocket", device=asked.device)
    loaded, left_out = networks(asked.encoder, str(base.device))
    print(*left_out, sep="\n", end="\n" if left_out else "", file=sys.stderr, flush=True)
    claim(asked.out, {"invert": [invert.name, invert.settings], "edit": [change.name, change.settings],
                      "blend": {"louder": LOUDER} if asked.blend else False,
                      "base": base.origin.fingerprint}, cases)  # fmt: skip
    failed, done = list[str](), list[Any]()
    for i, case in enumerate(cases, 1):
        if not (asked.out / "edited" / f"{case.name}.png").is_file():
            print(f"{i} of {len(cases)}: {case.name}", file=sys.stderr, flush=True)
            try:
                edit(base, case, invert, change, asked.out, blend=asked.blend)
            except InputError as error:
                failed.append(f"{case.name} failed: {one_line(error)}")
                print(failed[-1], file=sys.stderr, flush=True)
                continue
        done.append(case)
    if not done:
        raise InputError(f"none of {len(cases)} cases could be edited: {failed[0]}")
    scores, without = measured(done, loaded, asked.out)
    title = f"{invert.name}, {change.name}: {len(done)} of {len(cases)} cases"
    report(asked.out, title, scores, len(done), [*left_out, *without, *failed])
    return len(failed) + len(without)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line, or these words, ask for."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("data", type=Path, help="the data set's folder, with mapping_file.json")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--invert", default="value-embedding", help="the method, or none: edit the photo")
    parser.add_argument("--edit", default="p2plus")
    parser.add_argument("--inverting", type=Path, help="settings of the inversion, .toml")
    parser.add_argument("--editing", type=Path, help="settings of the edit, .toml")
    parser.add_argument("--blend", action="store_true", help="blend by the data set's words, where there are")
    parser.add_argument("--base", default="", help="the default is the settings files', else pocket")
    parser.add_argument("--encoder", default="paper", help="of the measures: paper or pocket")
    parser.add_argument("--limit", type=int, default=0, help="the first so many cases; 0 is all")
    parser.add_argument("--device", default=None)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """The exit: 0, 1 where cases or measures failed, 2 where nothing can be done."""
    try:
        return 1 if run(arguments(words)) else 0
    except (MotifError, OSError) as error:
        print(f"pie_bench: {one_line(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
