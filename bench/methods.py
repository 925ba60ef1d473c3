"""Every way to learn, on held-out objects of pocket's world: how like the photos, and how true to the words.

`python bench/methods.py -o out` learns each object with each method, draws eight prompts, and prints CLIP-I, DINO-I and
CLIP-T (means over the objects, with standard errors over pictures), the class word's drift (CLIP-I of "a photo of a
NOUN" with the photos, less the base's: 0 is none), how far the weights moved, seconds and megabytes. The first row is
the base with the class word. `--settings '{"dreambooth": {"lr": 1e-5}}'` tunes, on `--concepts dog,chair`;
"METHOD+what" is a method again with other settings. Writes methods.md, methods.json and a sheet for each method.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from identity import ADDED, cell

METRICS = ("CLIP-I", "DINO-I", "CLIP-T")
REST = {"drift": "+.3f", "moved": ".4f", "seconds": ".0f", "megabytes": ".1f"}
BASE = "(the base, class word)"


def prior_of(base: Any, noun: str, folder: Path, count: int) -> Path:
    """The base's pictures of a class, drawn once for all methods."""
    from motif.images import save_image
    from motif.lanes import draw

    missing = [i for i in range(count) if not (folder / f"{i:03d}.png").is_file()]
    if missing:
        texts, how = [f"photo of a {noun}"] * len(missing), {"steps": 20, "eta": 1.0, "guidance": 6.0}
        for i, image in zip(missing, draw(base, texts, seeds=missing, **how), strict=True):
            save_image(image, folder / f"{i:03d}.png")
    return folder


def learned(base: Any, name: str, subject: Any, settings: dict[str, Any], out: Path) -> dict[str, Any]:
    """The concept of one method and object, with what it cost."""
    from motif import methods
    from motif.learn import Examples

    examples = Examples(subject.folder, f"photo of a <new1> {subject.noun}")
    method = name.partition("+")[0]
    if method != "textual-inversion" and "prior" not in settings:
        settings = {"prior": str(prior_of(base, subject.noun, out / f"prior-{subject.noun}", 48)), **settings}
    begun = time.monotonic()
    concept = methods.load("learn", method)(base, examples, **settings)
    seconds = time.monotonic() - begun
    path = concept.save(out / f"{subject.name}-{name}.safetensors")
    moved = [float(c.full().norm() / base.weight(n).norm()) for n, c in concept.changes.items()]
    size = path.stat().st_size / 1e6
    return {"concept": concept, "moved": np.mean(moved or [0]), "seconds": seconds, "megabytes": size}


def exam(base: Any, me: Any, subject: Any, words: str, seeds: range) -> dict[str, Any]:
    """Scores of one object, and a row of the sheet."""
    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.lanes import draw
    from motif.measure import clip_i, clip_t, dino_i

    clip, dino = ClipEncoder.load("pocket"), DinoEncoder.load("pocket")
    openings = [f"a photo of a {{}} {place}" for place in subject.places]
    added = zip(ADDED, subject.places, strict=False)
    openings += [f"a photo of a {{}} {what} {place}" for what, place in added]
    texts = [opening.format(words) for opening in openings for _ in seeds]
    images = list(draw(me, texts, seeds=[*seeds] * len(openings), steps=25))
    plain = [
        list(draw(b, [f"a photo of a {subject.noun}"] * 8, seeds=range(8), steps=25)) for b in (base, me)
    ]
    near = [clip_i(pictures, subject.references, encoder=clip).mean for pictures in plain]
    return {
        "CLIP-I": clip_i(images, subject.references, encoder=clip),
        "DINO-I": dino_i(images, subject.references, encoder=dino),
        "CLIP-T": clip_t(images, texts, encoder=clip),
        "drift": near[1] - near[0],
        "sheet": images[:: len(seeds)],
    }


def row(
    base: Any, name: str, subjects: Any, settings: dict[str, Any], seeds: range, out: Path
) -> list[dict[str, Any]]:
    """One method on every object; a sheet of its pictures behind a photo of each."""
    from PIL import Image

    from motif.grids import grid

    found: list[dict[str, Any]] = []
    for subject in subjects:
        if name == BASE:
            told, me, words = dict.fromkeys(REST, 0.0), base, subject.noun
        else:
            told = learned(base, name, subject, settings, out)
            me, words = base.wear(told.pop("concept")), f"<new1> {subject.noun}"
        found.append(told | exam(base, me, subject, words, seeds))
    photos = [Image.open(subject.references[0]).convert("RGB") for subject in subjects]
    tiles = [tile for photo, f in zip(photos, found, strict=True) for tile in (photo, *f.pop("sheet"))]
    grid(tiles, columns=9, cell=96).save(out / f"{name.strip('()').replace(' ', '-')}.png")
    return found


def main() -> None:
    """Learn everything and print the table."""
    from motif import methods
    from motif.base import Base
    from motif.pocket.concepts import held_out

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/methods"))
    parser.add_argument("--concepts", default="boat,cactus,car,cat", help="which held-out objects, by name")
    parser.add_argument("--methods", default=",".join(methods.LEARN), help="which, METHOD or METHOD+what")
    parser.add_argument(
        "--settings", type=json.loads, default={}, help='of each: {"dreambooth": {"lr": 1e-5}}'
    )
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    base, by_name = Base.load("pocket"), {subject.name: subject for subject in held_out()}
    subjects, told = [by_name[name] for name in asked.concepts.split(",")], dict[str, Any]()
    heads = ["method", *METRICS, *REST]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in (BASE, *asked.methods.split(",")):
        found = row(base, name, subjects, asked.settings.get(name, {}), range(asked.seeds), asked.out)
        cells = [cell([f[metric] for f in found]) for metric in METRICS]
        cells += [format(float(np.mean([f[key] for f in found])), how) for key, how in REST.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
        plain = [{k: v.as_dict() if k in METRICS else float(v) for k, v in f.items()} for f in found]
        told[name] = dict(zip((subject.name for subject in subjects), plain, strict=True))
        (asked.out / "methods.md").write_text("\n".join(lines) + "\n")
        (asked.out / "methods.json").write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
