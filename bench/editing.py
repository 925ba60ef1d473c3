"""Inversions x edits on pocket: `python bench/editing.py -o out/bench/editing` (`--quick`: 5 pictures, fewer steps).

The pictures are `editing_cases`. All pictures of an inversion are inverted in one batch; an edit has its own prompt for
every picture, and runs picture by picture. StyleDiffusion makes its release's updates (100 at the first step, falling),
as null-text makes its ten. pix2pix-zero moves along banks of captions, and once more along the two captions alone.
Style transfer takes the style of another picture, drawn in the target's style by the renderer. The sweep of strengths
moves Prompt-to-Prompt's self maps alone, at cross maps until .2 and .6, and SDEdit's noise, of three seeds; each
picture's scores are means over those. Evaluations are forward passes: pix2pix-zero's backward passes
show in its seconds alone. Errors are standard errors over pictures; cost is per picture. Parts that are
done are kept, known by base, encoders, pictures and this script. Writes editing.md, editing.json, a sheet per edit and
one of all. About 25 minutes of one core, 10 of them StyleDiffusion's (`--processes 2` where there are two).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import editing_cases
from cells import code_of, known_by
from editing_cases import Case, banks, cases
from editing_report import EDITS, INVERSIONS, PHOTO, STRENGTHS, by_kind, orderings, overview, sheets, tables

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
    """One inversion with one edit; some edits have no meaning for some pictures."""

    cases: list[int] = field(default_factory=list[int])
    images: list[Any] = field(default_factory=list[Any])
    seconds: float = 0.0
    evaluations: int = 0
    scores: dict[str, Any] = field(default_factory=dict[str, Any])


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


def inverted(
    base: Any, cases: Sequence[Case], name: str, steps: int
) -> tuple[Any, list[Any], dict[str, Any]]:
    """(the inversion of all pictures, their reconstructions, what that scores and costs)."""
    from motif import measure, methods
    from motif.images import to_images

    settings: dict[str, Any] = {"steps": steps}
    if name == "value-embedding":
        settings["inner_steps"] = INNER
    photos, prompts = [c.before for c in cases], [c.source for c in cases]
    inversion = methods.load("invert", name)(base, photos, prompts, **settings)
    again = to_images(base.decode(inversion.reconstruct(base)))
    spent, n = inversion.made.cost, len(cases)
    return inversion, again, {
        "PSNR": measure.psnr(again, photos),
        "SSIM": measure.ssim(again, photos),
        "VAE": inversion.made.scores["vae_psnr"],
        "seconds": spent["seconds"] / n,
        "forwards": spent["forwards"] / n,
        "backwards": spent["backwards"] / n,
    }  # fmt: skip


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What was made before; a run that was stopped goes on with what is not there."""
    from motif.files import written

    if not path.exists():
        made = make()
        with written(path) as draft:
            draft.write_bytes(pickle.dumps(made))
    return pickle.loads(path.read_bytes())


def job(name: str, folder: Path, count: int, steps: int) -> tuple[Any, Any, Any]:
    """One inversion with all of its edits: (its scores, {(inversion, edit): Result}, {(edit, strength): its scores}).

    Each is a file of the folder; the inversion is made where one of its edits is missing.
    """
    import torch

    torch.set_num_threads(1)  # one process per core: threads that wait for each other cost more
    from motif.base import Base

    base, chosen = Base.load("pocket", device="cpu"), cases(count)
    parts = folder / "parts" / f"{name}-{count}-{steps}-{known(base, steps)}"

    @cache
    def tools() -> tuple[dict[str, Any], Any]:
        return encoders(), inverted(base, chosen, name, steps)

    def all_edited(edit: str, **settings: Any) -> Result:
        def make() -> Result:
            models, (inversion, _, _) = tools()
            done = run(
                chosen,
                lambda i, case: edited(base, inversion.only(i), case, edit, **settings),
                WANTED.get(edit, lambda c: True),
            )
            return scored(done, chosen, models) if done.cases else done

        told = "".join(f" {key} {value:g}" for key, value in settings.items())
        return kept(parts / f"{edit}{told}.pickle".replace(" ", "-"), make)

    again, scores = kept(parts / "reconstruction.pickle", lambda: tools()[1][1:])
    print(f"{name}: {scores['PSNR']}", flush=True)
    found = {(name, edit): all_edited(edit) for edit in EDITS[:-1] if name in ONLY.get(edit, INVERSIONS)}
    found = {key: result for key, result in found.items() if result.cases}
    if name in ("direct", "value-embedding"):  # of a photo alone, and with the learned values fed
        found[PHOTO if name == "direct" else name, "sdedit"] = all_edited("sdedit", steps=steps)
    sweep: dict[tuple[str, float], dict[str, Any]] = {}
    for s in STRENGTHS if name == "null-text" else ():
        mine = [all_edited("prompt-to-prompt", cross_until=c, self_until=s) for c in CROSS]
        theirs = [all_edited("sdedit", strength=s, seed=seed, steps=steps) for seed in SEEDS]
        sweep["prompt-to-prompt", s], sweep["sdedit", s] = averaged(mine), averaged(theirs)
    found[name, "reconstruction"] = Result([*range(len(chosen))], again)
    print(f"{name}: edited", flush=True)
    return scores, found, sweep


def known(base: Any, steps: int) -> str:
    """What the parts depend on: the pictures' rule too."""
    return known_by(base, steps, code_of(Path(editing_cases.__file__)))


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


def encoders() -> dict[str, Any]:
    """Pocket's, loaded once."""
    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.features.perceptual import Perceptual

    return {"clip": ClipEncoder.load("pocket"), "dino": DinoEncoder.load("pocket"),
            "lpips": Perceptual.load("pocket", paper="alex")}  # fmt: skip


def main() -> None:
    """Run everything and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2, help="at once, of one thread each")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--inversions", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--quick", action="store_true", help="5 pictures and 5 steps")
    asked = parser.parse_args()
    from machine import processor

    count, steps = (5, 5) if asked.quick else (asked.pictures, asked.steps)
    begun, chosen = time.perf_counter(), cases(count)
    with ProcessPoolExecutor(asked.processes, multiprocessing.get_context("spawn")) as pool:
        todo = [pool.submit(job, name, asked.out, count, steps) for name in asked.inversions]
        parts = dict(zip(asked.inversions, [each.result() for each in todo], strict=True))
    scores = {name: parts[name][0] for name in INVERSIONS if name in parts}
    found = {key: result for part in parts.values() for key, result in part[1].items()}
    sweep = {key: result for part in parts.values() for key, result in part[2].items()}
    models = encoders()
    sheets(chosen, found, asked.out)
    overview(chosen, found, asked.out / "overview.png")
    bounds = {
        name: scored(Result([*range(count)], [getattr(case, which) for case in chosen]), chosen, models)
        for name, which in (("(nothing)", "before"), ("(the true edit)", "after"))
    }
    lines = [
        *tables(bounds, scores, found),
        *by_kind(chosen, found),
        "\n## The papers' orderings\n",
        *orderings(scores, found, sweep),
    ]
    head = (
        f"`python bench/editing.py --pictures {count} --steps {steps}`, pocket's guidance, seed 0, {asked.processes} "
        f"processes of one thread, {processor()}, {date.today()}, {time.perf_counter() - begun:.0f} s. Mean ± standard "
        "error over pictures; seconds and evaluations of the denoiser per picture.\n"
    )
    (asked.out / "editing.md").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    rows = {f"{edit} | {name}": {key: s.as_dict() for key, s in r.scores.items()}
            for (name, edit), r in found.items()}  # fmt: skip
    rows |= {f"{edit} {s:g}": {key: score.as_dict() for key, score in scores_of.items()}
             for (edit, s), scores_of in sweep.items()}  # fmt: skip
    rows |= {name: {key: s[key].as_dict() for key in ("PSNR", "SSIM")} for name, s in scores.items()}
    (asked.out / "editing.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("\n".join([head, *lines]))


if __name__ == "__main__":
    main()
