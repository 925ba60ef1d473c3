"""The parts of `bench/editing.py`: an inversion of all pictures, or one edit of them from it, with its scores.

A part is a small file, INVERSION-EDIT-SETTINGS.result: scores and costs, and what they depend on (settings,
the base's weights, the encoders, the pictures and this script), so that a part of another kind is made again. Its
pictures and the inversion itself lie in a folder that is not kept. A part is written whole or not at all: several
processes may share a folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import editing_cases
from cells import KNOWN, code_of, known_by
from editing_cases import Case, banks, cases
from editing_report import EDITS, INVERSIONS, PHOTO, STRENGTHS
from machine import processor
from results import short

ONLY = {
    "pix2pix-zero": ("ddim", "negative-prompt", "direct"),
    "pix2pix-zero, two captions": ("ddim",),
    "style-transfer": tuple(name for name in INVERSIONS if name != "value-embedding"),
}
"""What an edit starts from where not from every inversion: pix2pix-zero guides away from the caption; a content with
values of its own has no room for a style's."""
INNER = 100
"""StyleDiffusion's updates of the first step, as released."""
CROSS, SEEDS = (0.2, 0.6), (0, 1, 2)
"""What a strength's scores are means over: Prompt-to-Prompt's cross windows, SDEdit's noises."""
BLEND_THRESHOLD = 0.5
"""On pocket the masks come from 8 x 8 maps: at the paper's .3 they take in most of a picture."""

WANTED: dict[str, Callable[[Case], bool]] = {
    "p2p + blend": lambda case: bool(case.blend),
    "style-transfer": lambda case: case.style is not None,
}
"""Edits that have no meaning for some of the pictures."""

WORK = (
    "null-text", "value-embedding", "ddim", "null-text-plus", "text-embedding", "proximal", "negative-prompt", "direct",
)  # fmt: skip


@dataclass
class Result:
    """One inversion, or one with one edit; some edits have no meaning for some pictures. Costs are sums over pictures;
    pictures made elsewhere are not there."""

    cases: list[int] = field(default_factory=list[int])
    images: list[Any] = field(default_factory=list[Any])
    seconds: float = 0.0
    evaluations: int = 0
    scores: dict[str, Any] = field(default_factory=dict[str, Any])
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of an inversion: what of one picture its forwards and backwards are, and what the VAE alone reaches."""
    machine: str = ""
    day: str = ""
    code: str = ""


@dataclass(frozen=True)
class Plan:
    """Which pictures and steps, and where parts, their pictures and inversions are."""

    count: int
    steps: int
    parts: Path
    pictures: Path
    again: bool = False
    """Make parts again whose pictures are not there."""


def edited(base: Any, start: Any, case: Case, edit: str, **settings: Any) -> Any:
    """One picture's edit."""
    from motif import edit as edits

    if edit == "p2p + blend":
        told = {"blend": case.blend, "blend_threshold": BLEND_THRESHOLD}
        return edits.prompt_to_prompt(base, start, case.target, **told, **settings)
    if edit == "style-transfer":
        assert case.style
        style = style_of(base, case, start.steps)
        return edits.style_transfer(base, start, case.target, style=style, **settings)
    if edit == "pix2pix-zero":
        before, after = banks(case)
        settings |= {"source_captions": before, "target_captions": after}
    name = edit.partition(",")[0].replace("-", "_")
    return getattr(edits, name)(base, start, case.target, **settings)


@cache
def style_of(base: Any, case: Case, steps: int) -> Any:
    """The values of the picture whose style is taken, fitted once for every inversion of the content."""
    from motif import invert

    assert case.style
    return invert.value_embedding(base, *case.style, steps=steps, inner_steps=INNER)


def run(cases: Sequence[Case], one: Callable[[int, Case], Any], wanted: Callable[[Case], bool]) -> Result:
    """An edit of every picture that it has a meaning for."""
    result = Result()
    for i, case in enumerate(cases):
        if not wanted(case):
            continue
        done = one(i, case)
        result.cases.append(i)
        result.images.append(done.image)
        result.seconds += done.seconds
        result.evaluations += done.evaluations
    return result


def scored(result: Result, cases: Sequence[Case], models: dict[str, Any]) -> Result:
    """All that is measured of the edited pictures."""
    from motif import measure

    mine = [cases[i] for i in result.cases]
    before, after, masks = ([getattr(c, name) for c in mine] for name in ("before", "after", "mask"))
    clip, images = models["clip"], result.images
    result.scores = {
        "structure": measure.structure(images, before, encoder=models["dino"]),
        "CLIP-T": measure.clip_t(images, [c.target for c in mine], encoder=clip),
        "like source": measure.source_similarity(images, before, encoder=clip),
        "like true edit": measure.source_similarity(images, after, encoder=clip),
    }
    if any(c.kind != "style" for c in mine):
        result.scores["MSE outside"] = measure.mse(images, before, masks=masks, region="outside")
        result.scores["NS-LPIPS"] = measure.ns_lpips(images, before, masks=masks, encoder=models["lpips"])
    return result


def inverted(base: Any, cases: Sequence[Case], name: str, steps: int) -> Any:
    """All pictures in one inversion."""
    from motif import methods

    more: dict[str, Any] = {"inner_steps": INNER} if name == "value-embedding" else {}
    photos, prompts = [c.before for c in cases], [c.source for c in cases]
    return methods.load("invert", name)(base, photos, prompts, steps=steps, **more)


def reconstructed(base: Any, cases: Sequence[Case], inversion: Any) -> Result:
    """What comes back of the pictures, what that scores and costs."""
    from motif import measure
    from motif.images import to_images

    again, photos = to_images(base.decode(inversion.reconstruct(base))), [c.before for c in cases]
    spent, n = inversion.made.cost, len(cases)
    return Result(
        [*range(n)],
        again,
        seconds=spent["seconds"],
        scores={"PSNR": measure.psnr(again, photos), "SSIM": measure.ssim(again, photos)},
        cost={
            "VAE": inversion.made.scores["vae_psnr"],
            "forwards": spent["forwards"] / n,
            "backwards": spent["backwards"] / n,
        },
    )


def kept(plan: Plan, name: str, known: str, make: Callable[[], Result]) -> Result:
    """A part, as it was made before or now; its pictures where they are there."""
    from motif.files import written

    file = re.sub(r"[^\w.]+", "-", name)
    path, strip = plan.parts / f"{file}.result", plan.pictures / f"{file}-{known}.png"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if told.pop(KNOWN, None) == known and (strip.is_file() or not (plan.again and told["cases"])):
        result = Result(**told)
        result.scores = {key: _score(*score) for key, score in told["scores"].items()}
        result.images = _apart(strip, len(result.cases)) if strip.is_file() else []
        return result
    print(name, flush=True)
    result = make()
    if result.images:
        _side_by_side(result.images, strip)
    result.machine, result.day, result.code = processor(), str(date.today()), _code()
    plain = {key: value for key, value in vars(result).items() if key not in ("images", "scores")}
    scores = {key: [s.name, [*map(short, s.per_image)]] for key, s in result.scores.items()}
    with written(path) as part:
        part.write_text(json.dumps({KNOWN: known, **plain, "scores": scores}) + "\n", encoding="utf-8")
    result.scores = {key: _score(*score) for key, score in scores.items()}
    return result


def _score(name: str, values: Sequence[float | None]) -> Any:
    from motif.measure import Score

    return Score(name, tuple(values))


@cache
def _code() -> str:
    """motif's own code: what a part says, and is not known by."""
    from motif.tradeoff import digest

    return digest.address("editing", **{name: digest.code(f"motif.{name}") for name in ("invert", "edit")})[
        :8
    ]


def _side_by_side(images: Sequence[Any], path: Path) -> None:
    from PIL import Image

    from motif.images import save_image

    sheet = Image.new("RGB", (sum(each.width for each in images), images[0].height))
    for i, image in enumerate(images):
        sheet.paste(image, (i * image.width, 0))
    save_image(sheet, path)


def _apart(path: Path, count: int) -> list[Any]:
    from PIL import Image

    with Image.open(path) as sheet:
        width = sheet.width // count
        return [sheet.crop((i * width, 0, (i + 1) * width, sheet.height)) for i in range(count)]


Found = dict[tuple[str, str], Result]
Sweep = dict[tuple[str, float], dict[str, Any]]


def job(plan: Plan, name: str) -> tuple[Found, Sweep]:
    """One inversion with all of its edits: ({(inversion, edit): Result}, {(edit, strength): its scores}).

    Each is a part; the inversion is made where one of them is missing, and lies beside the pictures.
    """
    from motif.base import Base
    from motif.inversion import Inversion

    base, chosen = Base.load("pocket", device="cpu"), cases(plan.count)
    known = known_by(base, plan.count, plan.steps, code_of(Path(editing_cases.__file__)))

    @cache
    def inversion() -> Any:
        path = plan.pictures / f"{name}-{known}.inversion"
        if not path.is_file():
            inverted(base, chosen, name, plan.steps).save(path)
        return Inversion.load(path)

    def all_edited(edit: str, **settings: Any) -> Result:
        def make() -> Result:
            done = run(
                chosen,
                lambda i, case: edited(base, inversion().only(i), case, edit, **settings),
                WANTED.get(edit, lambda c: True),
            )
            return scored(done, chosen, encoders()) if done.cases else done

        told = "".join(f" {key} {value:g}" for key, value in settings.items())
        return kept(plan, f"{name} {edit}{told}", known, make)

    found = {(name, edit): all_edited(edit) for edit in EDITS[:-1] if name in ONLY.get(edit, INVERSIONS)}
    found = {key: result for key, result in found.items() if result.cases}
    if name in ("direct", "value-embedding"):  # of a photo alone, and with the learned values fed
        found[PHOTO if name == "direct" else name, "sdedit"] = all_edited("sdedit", steps=plan.steps)
    sweep: Sweep = {}
    for s in STRENGTHS if name == "null-text" else ():
        mine = [all_edited("prompt-to-prompt", cross_until=c, self_until=s) for c in CROSS]
        theirs = [all_edited("sdedit", strength=s, seed=seed, steps=plan.steps) for seed in SEEDS]
        sweep["prompt-to-prompt", s], sweep["sdedit", s] = averaged(mine), averaged(theirs)
    found[name, "reconstruction"] = kept(
        plan, f"{name} reconstruction", known, lambda: reconstructed(base, chosen, inversion())
    )
    return found, sweep


def averaged(results: Sequence[Result]) -> dict[str, Any]:
    """Scores of one strength: each picture's are means over seeds, or over cross windows."""
    found: dict[str, Any] = {}
    for key, score in results[0].scores.items():
        columns = zip(*(result.scores[key].per_image for result in results), strict=True)
        means = [
            fmean(kept) if (kept := [v for v in column if v is not None]) else None for column in columns
        ]
        found[key] = replace(score, per_image=tuple(means))
    return found


@cache
def encoders() -> dict[str, Any]:
    """Pocket's, loaded once."""
    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.features.perceptual import Perceptual

    return {"clip": ClipEncoder.load("pocket"), "dino": DinoEncoder.load("pocket"),
            "lpips": Perceptual.load("pocket", paper="alex")}  # fmt: skip
