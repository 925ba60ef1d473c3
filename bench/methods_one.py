"""One row of `bench/methods.py` on one object or pair, in a process of its own: `methods_one.py SPEC.json OUT`.

Learns what the row needs (concepts that another row learned are taken from OUT/concepts), notes seconds and the peak of
this process's memory until then, draws the exam and scores every picture. Writes the result beside the specification.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import CODE, codes, digest

ADDED = ("wearing a red hat", "next to a yellow ball")
DRAWING = 25
TEMPLATES = (
    "a photo of a {concept}", "a rendering of a {concept}", "a cropped photo of the {concept}",
    "the photo of a {concept}", "a photo of a clean {concept}", "a close-up photo of a {concept}",
)  # fmt: skip


def keep(path: Path, told: Any) -> None:
    """Write JSON, whole or not at all."""
    from motif.files import written

    with written(path) as part:
        part.write_text(json.dumps(told))


def prior_of(base: Any, noun: str, out: Path, quick: bool, count: int = 48) -> Path:
    """The base's pictures of a class, drawn once for all methods."""
    from motif.images import save_image
    from motif.lanes import draw

    count, steps = (2, 2) if quick else (count, 20)
    folder = out / f"prior-{noun.replace(' ', '-')}-{count}-{base.origin.fingerprint[:8]}"
    missing = [i for i in range(count) if not (folder / f"{i:03d}.png").is_file()]
    if missing:
        texts, how = [f"photo of a {noun}"] * len(missing), {"steps": steps, "eta": 1.0, "guidance": 6.0}
        for i, image in zip(missing, draw(base, texts, seeds=missing, **how), strict=True):
            save_image(image, folder / f"{i:03d}.png")
    return folder


def renders_of(noun: str, out: Path) -> Path:
    """Held-out renders of a class with their captions: what photos of it are to a real base."""
    from PIL import Image

    from motif.images import save_image
    from motif.pocket.world import held_out

    folder = out / f"renders-{noun.replace(' ', '-')}"
    pictures, _, captions = held_out.read_pairs(Path(held_out.__file__).parents[1] / "data")
    for i, (pixels, caption) in enumerate(zip(pictures.rgb, captions, strict=True)):
        if noun in caption.split():
            save_image(Image.fromarray(pixels), folder / f"{i:03d}.png")
            (folder / f"{i:03d}.txt").write_text(f"{caption}\n")
    return folder


def photos_of(subject: Any, out: Path, templates: bool) -> Path:
    """An object's photos; with templates, each has a caption of its own beside it."""
    if not templates:
        return subject.folder
    folder = out / f"templates-{subject.name}"
    if not folder.is_dir():
        shutil.copytree(subject.folder, folder)
        for i, photo in enumerate(subject.references):
            (folder / photo.name).with_suffix(".txt").write_text(TEMPLATES[i % len(TEMPLATES)] + "\n")
    return folder


def learned(
    bare: Any, base: Any, stage: dict[str, Any], subjects: Sequence[Any], out: Path, quick: bool
) -> tuple[Any, dict[str, float]]:
    """The concept of a stage, with what it cost, learned or as another row has left it; the bare base draws priors."""
    from motif import methods
    from motif.concept import Concept
    from motif.learn import Examples

    worn = [concept.fingerprint for concept in base.concepts]
    names = [subject.name for subject in subjects]
    path = out / "concepts" / f"{digest([stage, names, worn, quick, base.origin.fingerprint])}.safetensors"
    cost = path.with_suffix(".json")
    if cost.is_file():
        return Concept.load(path), json.loads(cost.read_text())
    drawn = stage["method"] != "textual-inversion" and "prior" not in stage["settings"]

    def prior(noun: str) -> Path:
        if "prior" not in stage:
            return prior_of(bare, noun, out, quick)
        renders = renders_of(noun, out)
        few = len([*renders.glob("*.png")])
        return renders if stage["prior"] == "rendered" else prior_of(bare, noun, out, quick, few)

    told = [
        Examples(
            photos_of(subject, out, stage.get("templates", False)),
            f"photo of a {token} {subject.noun}",
            prior=str(prior(subject.noun)) if drawn else "",
        )
        for subject, token in zip(subjects, stage["tokens"], strict=True)
    ]
    settings = stage["settings"] | ({"steps": 2} if quick else {})
    begun = time.monotonic()
    concept = methods.load("learn", stage["method"])(base, told[0] if len(told) == 1 else told, **settings)
    seconds = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    moved = [float(c.full().norm() / base.models.parameter(n).norm()) for n, c in concept.changes.items()]
    concept.save(path)
    told_cost = {
        "seconds": seconds,
        "peak": peak,
        "bytes": path.stat().st_size,
        "moved": float(np.mean(moved or [0])),
    }
    keep(cost, told_cost)
    return concept, told_cost


def made(base: Any, spec: dict[str, Any], subjects: Sequence[Any], out: Path) -> tuple[Any, dict[str, float]]:
    """The base as the row draws with it, and the row's cost: seconds of all stages, the largest peak, bytes in all."""
    from motif.learn.merge import merge

    how, quick = spec["how"], spec["quick"]
    if how == "base":
        return base, {}
    if how in ("single", "joint"):
        concept, cost = learned(base, base, spec["stages"][0], subjects, out, quick)
        return base.wear(concept), cost
    concepts, costs, me = list[Any](), list[dict[str, float]](), base
    for stage, subject in zip(spec["stages"], subjects, strict=True):
        concept, cost = learned(base, me if how == "sequential" else base, stage, [subject], out, quick)
        costs.append(cost)
        concepts.append(concept)
        me = base.wear(concept)
    cost = {key: (max if key == "peak" else sum)(one[key] for one in costs) for key in costs[0]}
    if how == "sequential":
        return me, cost | {"bytes": costs[-1]["bytes"], "moved": costs[-1]["moved"]}
    concepts = [one.renamed({"<new1>": f"<new{i}>"}) if i > 1 else one for i, one in enumerate(concepts, 1)]
    if how == "worn":
        return base.wear(*concepts), cost
    begun = time.monotonic()
    both = merge(base, *concepts)
    path = both.save(out / "concepts" / f"merge-{digest([c.fingerprint for c in concepts])}.safetensors")
    cost |= {"seconds": cost["seconds"] + time.monotonic() - begun, "bytes": path.stat().st_size}
    return base.wear(both), cost


def exam(base: Any, me: Any, spec: dict[str, Any], subjects: Sequence[Any], out: Path) -> dict[str, Any]:
    """Every picture's scores: prompt by prompt, seed by seed."""
    from PIL import Image

    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.grids import grid
    from motif.images import save_image
    from motif.lanes import draw
    from motif.measure import clip_i, clip_t, dino_i

    clip, dino, seeds = ClipEncoder.load("pocket"), DinoEncoder.load("pocket"), range(spec["seeds"])
    plain = spec["how"] == "base"
    words = [s.noun if plain else f"<new{i}> {s.noun}" for i, s in enumerate(subjects, 1)]
    places = subjects[0].places
    openings = [f"a photo of a {{}} {place}" for place in places]
    openings += [f"a photo of a {{}} {what} {place}" for what, place in zip(ADDED, places, strict=False)]
    openings = openings[: spec["prompts"]]
    texts = [opening.format(" and a ".join(words)) for opening in openings for _ in seeds]
    images = list(draw(me, texts, seeds=[*seeds] * len(openings), steps=spec["drawing"]))
    photos = [Image.open(subject.references[0]).convert("RGB") for subject in subjects]
    save_image(
        grid([*photos, *images[:: len(seeds)]], columns=len(openings) + len(subjects), cell=96),
        out / spec["sheet"],
    )

    def mean(of: Any, eye: Any) -> list[float]:
        each = [of(images, subject.references, encoder=eye).per_image for subject in subjects]
        return np.mean(np.asarray(each, dtype=float), axis=0).tolist()

    before, after = (alone(one, subjects, spec, clip, out) for one in (base, me))
    drift = (np.asarray(after) - np.asarray(before)).tolist()
    found: dict[str, Any] = {
        "CLIP-I": mean(clip_i, clip),
        "CLIP-I of the first": [*clip_i(images, subjects[0].references, encoder=clip).per_image],
        "DINO-I": mean(dino_i, dino),
        "CLIP-T": [float(value) for value in clip_t(images, texts, encoder=clip).per_image],
        "drift": drift,
    }
    if plain:
        views = [clip_i(subject.views, subject.references, encoder=clip).mean for subject in subjects]
        found["ceiling"] = float(np.mean(views))
    return found


def alone(me: Any, subjects: Sequence[Any], spec: dict[str, Any], clip: Any, out: Path) -> list[float]:
    """CLIP-I of the class words' own pictures with the photos; the base's are drawn once."""
    from motif.lanes import draw
    from motif.measure import clip_i

    found: list[float] = []
    for subject in subjects:
        texts = [f"a photo of a {subject.noun}"] * (4 * spec["seeds"])
        path = (
            out / f"before-{digest([subject.name, len(texts), spec['drawing'], me.origin.fingerprint])}.json"
        )
        if not me.weights and path.is_file():  # a word alone says nothing else of its class
            found += json.loads(path.read_text())
            continue
        images = list(draw(me, texts, seeds=range(len(texts)), steps=spec["drawing"]))
        scores = [float(value) for value in clip_i(images, subject.references, encoder=clip).per_image]
        found += scores
        if not me.weights:
            keep(path, scores)
    return found


def done(spec: dict[str, Any], out: Path) -> dict[str, Any]:
    """What the specification asks for."""
    from motif.base import Base
    from motif.pocket.concepts import held_out

    base, by_name = Base.load("pocket", device="cpu"), {subject.name: subject for subject in held_out()}
    if strange := [name for name in spec["subjects"] if name not in by_name]:
        raise SystemExit(f"no held-out object {strange[0]}: there is {', '.join(by_name)}")
    subjects = [by_name[name] for name in spec["subjects"]]
    if spec["how"] == "base":
        for subject in subjects:
            prior_of(base, subject.noun, out, spec["quick"])
    me, cost = made(base, spec, subjects, out)
    by = sorted({f"learn {stage['method']}" for stage in spec["stages"]})
    return exam(base, me, spec, subjects, out) | {"cost": cost, CODE: codes(Path(__file__), by)}


def main() -> None:
    """Leave the result beside the specification, or what went wrong."""
    path, out = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        found = done(json.loads(path.read_text()), out)
    except (Exception, SystemExit):
        path.with_suffix(".error").write_text(traceback.format_exc())
        raise
    keep(path.with_suffix(".result"), found)


if __name__ == "__main__":
    main()
