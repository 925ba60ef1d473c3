"""Inversions x edits on pocket: `python bench/editing.py -o out/bench/editing` (`--quick`: 4 pictures, fewer steps).

Pictures are chosen by rule: the first four held-out edit pairs of each kind (class, colour, context, accessory), and as
style the first four pairs of the kind "pattern", whose source is to become a watercolour or a pencil drawing in turn.
Masks and true edits are the renderer's (a style's mask is everything: nothing lies outside). All pictures of an
inversion are inverted in one batch; an edit has its own prompt for every picture, and runs picture by picture. Style
transfer takes the style of another picture, drawn in the target's style by the renderer.
Errors are standard errors over pictures; cost is per picture. Writes editing.md, editing.json, a sheet per edit and one
of all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from editing_report import EDITS, INVERSIONS, PHOTO, STRENGTHS, orderings, overview, sheets, tables

KINDS = dict(noun="class", colour="colour", context="context", accessory="accessory", pattern="style")
ONLY = {
    "p2p + blend": ("null-text", "direct"),
    "p2plus": ("null-text", "value-embedding"),
    "word-swap": ("ddim", "null-text", "value-embedding"),
    "pix2pix-zero": ("ddim",),
    "style-transfer": ("direct",),
}
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


@dataclass(frozen=True)
class Case:
    """A source picture, what it shall become, and where."""

    kind: str
    source: str
    target: str
    before: Any
    after: Any
    mask: Any
    blend: tuple[str, ...]
    style: tuple[Any, str] | None = None  # another picture in the target's style, and its caption


@dataclass
class Result:
    """One inversion with one edit; some edits have no meaning for some pictures."""

    cases: list[int] = field(default_factory=list[int])
    images: list[Any] = field(default_factory=list[Any])
    seconds: float = 0.0
    evaluations: int = 0
    scores: dict[str, Any] = field(default_factory=dict[str, Any])


def cases(count: int) -> list[Case]:
    """The pictures, by the rule above."""
    import numpy as np
    from PIL import Image

    from motif.pocket.world import held_out, styles
    from motif.pocket.world.phrases import PREFIXES

    def drawn(pixels: Any, style: str, seed: int) -> Any:
        found = getattr(styles, style)(pixels / 255, np.random.default_rng(seed))
        return (found * 255).round().astype(np.uint8)

    data = Path(held_out.__file__).parents[1] / "data"
    found: list[Case] = []
    examples, kinds = held_out.read_edits(data), [*KINDS]
    for number in range(count):
        turn, kind = number // len(kinds), kinds[number % len(kinds)]
        pair, before, after, change = [e for e in examples if e.pair.kind == kind][turn]
        source, target = pair.before_caption, pair.after_caption
        if kind == "pattern":
            style = ("watercolour", "pencil")[turn % 2]
            target = source.replace("a photo of", PREFIXES[style][0])
            after, change = drawn(before, style, turn), np.full_like(change, 255)
            other, picture, _, _ = [e for e in examples if e.pair.kind == kind][turn + 4]
            words = other.before_caption.replace("a photo of", PREFIXES[style][0])
            given = (Image.fromarray(drawn(picture, style, turn + 4)), words)
        else:
            given = None
        nouns = [scene.instance.noun for scene in (pair.before, pair.after)]
        worn = [s.view.accessory[0] if s.view.accessory else "" for s in (pair.before, pair.after)]
        blend = {"noun": nouns, "colour": nouns, "accessory": worn}.get(kind, [])
        three = [Image.fromarray(pixels) for pixels in (before, after, change)]
        found.append(Case(KINDS[kind], source, target, *three, tuple(dict.fromkeys(blend)), given))
    found.sort(key=lambda case: [*KINDS.values()].index(case.kind))
    return found


def edited(base: Any, start: Any, case: Case, edit: str, **settings: Any) -> Any:
    """One picture's edit."""
    from motif import edit as edits
    from motif import invert

    if edit == "p2p + blend":
        told = {"blend": case.blend, "blend_threshold": BLEND_THRESHOLD}
        return edits.prompt_to_prompt(base, start, case.target, **told, **settings)
    if edit == "style-transfer":
        assert case.style
        style = invert.value_embedding(base, *case.style, steps=start.steps, inner_steps=2 * start.steps)
        return edits.style_transfer(base, start, case.target, style=style, **settings)
    return getattr(edits, edit.replace("-", "_"))(base, start, case.target, **settings)


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
        settings["inner_steps"] = 2 * steps
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
    """One inversion with all of its edits: (its scores, {(inversion, edit): Result}, {(edit, strength): Result}).

    Each is a file of the folder; the inversion is made where one of its edits is missing.
    """
    import torch

    torch.set_num_threads(1)  # one process per core: threads that wait for each other cost more
    chosen, parts = cases(count), folder / "parts" / f"{name}-{count}-{steps}"

    @cache
    def tools() -> tuple[Any, dict[str, Any], Any]:
        from motif.base import Base

        base = Base.load("pocket", device="cpu")
        return base, encoders(), inverted(base, chosen, name, steps)

    def all_edited(edit: str, **settings: Any) -> Result:
        def make() -> Result:
            base, models, (inversion, _, _) = tools()
            done = run(
                chosen,
                lambda i, case: edited(base, inversion.only(i), case, edit, **settings),
                WANTED.get(edit, lambda c: True),
            )
            return scored(done, chosen, models) if done.cases else done

        told = "".join(f" {key} {value:g}" for key, value in settings.items())
        return kept(parts / f"{edit}{told}.pickle".replace(" ", "-"), make)

    again, scores = kept(parts / "reconstruction.pickle", lambda: tools()[2][1:])
    print(f"{name}: {scores['PSNR']}", flush=True)
    found = {(name, edit): all_edited(edit) for edit in EDITS[:-1] if name in ONLY.get(edit, INVERSIONS)}
    found = {key: result for key, result in found.items() if result.cases}
    if name in ("direct", "value-embedding"):  # of a photo alone, and with the learned values fed
        found[PHOTO if name == "direct" else name, "sdedit"] = all_edited("sdedit", steps=steps)
    sweep: dict[tuple[str, float], Result] = {}
    for s in STRENGTHS if name == "null-text" else ():
        sweep["prompt-to-prompt", s] = all_edited("prompt-to-prompt", cross_until=s, self_until=s)
        sweep["sdedit", s] = all_edited("sdedit", strength=s, steps=steps)
    found[name, "reconstruction"] = Result([*range(len(chosen))], again)
    print(f"{name}: edited", flush=True)
    return scores, found, sweep


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
    parser.add_argument("--quick", action="store_true", help="4 pictures and 5 steps")
    asked = parser.parse_args()
    from machine import processor

    count, steps = (4, 5) if asked.quick else (asked.pictures, asked.steps)
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
    rows |= {f"{edit} {s:g}": {key: score.as_dict() for key, score in r.scores.items()}
             for (edit, s), r in sweep.items()}  # fmt: skip
    rows |= {name: {key: s[key].as_dict() for key in ("PSNR", "SSIM")} for name, s in scores.items()}
    (asked.out / "editing.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("\n".join([head, *lines]))


if __name__ == "__main__":
    main()
