"""ELITE on pocket: a concept from one photo, against methods that learn it from the same photo.

`python bench/elite.py -o out/bench/elite` encodes the first photo of four held-out objects (with its mask) and draws
eight prompts with: the class word; the encoder's words, all (v) and the primary one (w); the patches too, over a sweep
of λ and without the word's map, and the patches without the words; an encoder of one layer with one and with several
words, and of several layers in three orders, each trained here for the same few steps (`--ablation-steps`); and Textual
Inversion, DreamBooth and Custom Diffusion from that one photo. Writes elite.md (CLIP-T with the class word in the
concept's place, CLIP-I and DINO-I with the object's six photos, seconds to the concept; mean ± standard error over
pictures), elite.json and a sheet. Every cell (object and row) is kept in cells/, and made once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from cells import cell, known_by
from identity import ADDED, EXAM

SWEEP = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
LEARNED = ("textual-inversion", "dreambooth", "custom-diffusion")
METRICS = ("CLIP-T", "CLIP-I", "DINO-I")
VARIANTS = {
    "single layer, one word": "4",
    "single layer, several words": "4,4,4,4",
    "several layers": "4,1,2,3",
}
"""Layers of pocket's image encoder that each ablation's words read."""

ORDERS = {
    "deepest layer in the middle, primary word": ("1,2,4,3", 2),
    "deepest layer last, primary word": ("1,2,3,4", 3),
}
"""The same with the deepest layer's word elsewhere: the layers, and which word that is (the paper's table 4)."""


@dataclass(frozen=True)
class Bench:
    """What is asked for, and what all rows share."""

    asked: argparse.Namespace

    @cached_property
    def base(self) -> Any:
        from motif.base import Base

        return Base.load("pocket")

    @cached_property
    def encoder(self) -> Any:
        from motif.elite.encoder import Encoder

        return Encoder.load(self.asked.encoder)

    @cached_property
    def judges(self) -> tuple[Any, Any]:
        from motif.features.extractors import ClipEncoder, DinoEncoder

        return ClipEncoder.load("pocket"), DinoEncoder.load("pocket")

    def openings(self, subject: Any) -> list[str]:
        """Prompts with {} for the object: two with something added, six places that none of its photos shows."""
        added = [
            f"a photo of a {{}} {what} {place}" for what, place in zip(ADDED, subject.places, strict=False)
        ]
        return [*added, *(f"a photo of a {{}} {place}" for place in subject.places)][: self.asked.prompts]

    def encoded(self, subject: Any, encoder: Any, **how: Any) -> tuple[Any, float]:
        """(the base with the photo's concept on, seconds)."""
        encoder.encode(subject.references[0], **how)  # reads the image encoder
        begun = time.perf_counter()
        concept = encoder.encode(subject.references[0], **how)
        return self.base.wear(concept), time.perf_counter() - begun

    def local_alone(self, subject: Any) -> tuple[Any, float]:
        """The photo's patches with the class word's own vectors: nothing that the global network says."""
        from motif.learn.starts import phrase_rows

        begun = time.perf_counter()
        concept = self.encoder.encode(subject.references[0])
        words = {"<S>": phrase_rows(self.base, subject.noun, 1)}
        plain = dataclasses.replace(concept, tokens=words, changes={})
        return self.base.wear(plain), time.perf_counter() - begun

    def learned(self, subject: Any, method: str) -> tuple[Any, float]:
        """(the base with the concept on that a method learns from the photo, seconds without its prior's pictures)."""
        from motif import methods
        from motif.learn import Examples

        photo = subject.references[0]
        told: list[float] = []

        def tick(_: Any) -> None:
            told.append(time.perf_counter())

        examples = Examples(photo, f"photo of a <new1> {subject.noun}")
        learn = methods.load("learn", method)
        concept = learn(self.base, examples, preview_every=0, on_progress=tick)
        return self.base.wear(concept), (told[-1] - told[0]) * len(told) / max(len(told) - 1, 1)

    def variant(self, name: str) -> Any:
        """An encoder without a local network of some layers, trained for a few steps; kept."""
        from motif.elite.encoder import Encoder
        from motif.elite.train import elite

        layers = VARIANTS[name] if name in VARIANTS else ORDERS[name][0]
        known = known_by(self.base, layers, self.asked.ablation_steps)
        path = self.asked.out / "variants" / f"{name.replace(' ', '-').replace(',', '')}-{known}.safetensors"
        if not path.is_file():
            kept = ("batch_size", "text_lr", "lr", "weight_lr", "l1", "hidden", "ema", "mixed", "seed")
            settings: dict[str, Any] = {key: self.encoder.settings[key] for key in kept}
            settings |= {"text_steps": self.asked.ablation_steps, "steps": self.asked.ablation_steps}
            made = elite(self.base, self.asked.shards, layers=layers, local_steps=0, **settings)
            path.parent.mkdir(parents=True, exist_ok=True)
            made.save(path)
        return Encoder.load(path)

    def rows(self, subject: Any) -> dict[str, Callable[[], tuple[Any, float, str, float | None, str]]]:
        """{row: what makes (base, seconds, words for the object, λ, form)}."""
        found: dict[str, Any] = {"class word": lambda: (self.base, 0.0, subject.noun, None, "image")}
        for name in VARIANTS if self.asked.ablation_steps else ():
            for words, letter in (("all", "v"), ("primary", "w"))[: 1 if "one word" in name else 2]:
                found[f"{name} [{letter}], short training"] = lambda name=name, words=words: (
                    *self.encoded(subject, self.variant(name), words=words, local=False), "<S>", None, "image",
                )  # fmt: skip
        for name, (_, number) in ORDERS.items() if self.asked.ablation_steps else ():
            found[name] = lambda name=name, number=number: (
                *self.encoded(subject, self.variant(name), words=number, local=False), "<S>", None, "image",
            )  # fmt: skip
        for words, letter in (("all", "v"), ("primary", "w")):
            found[f"ELITE [{letter}], without patches"] = lambda words=words: (
                *self.encoded(subject, self.encoder, words=words, local=False), "<S>", None, "image",
            )  # fmt: skip
        for strength in SWEEP:
            found[f"ELITE, λ {strength:g}"] = lambda strength=strength: (
                *self.encoded(subject, self.encoder), "<S>", strength, "image",
            )  # fmt: skip
        found["ELITE, λ 0.6, without the word's map"] = lambda: (
            *self.encoded(subject, self.encoder), "<S>", 0.6, "none",
        )  # fmt: skip
        found["local alone"] = lambda: (*self.local_alone(subject), "<S>", 0.6, "image")
        for method in LEARNED if self.asked.learned else ():
            found[f"{method}, one photo"] = lambda method=method: (
                *self.learned(subject, method), f"<new1> {subject.noun}", None, "image",
            )  # fmt: skip
        return found

    @cached_property
    def known(self) -> str:
        """What a cell depends on."""
        asked = self.asked
        made = [self.encoder.fingerprint, asked.prompts, asked.seeds, asked.steps, asked.ablation_steps]
        return known_by(self.base, *made)

    def picture(self, subject: Any, row: str, number: int) -> Path:
        """The first picture of a prompt of a row."""
        return self.asked.out / "cells" / f"{subject.name} - {row} {number}.png"

    def scored(self, subject: Any, row: str, make: Callable[[], Any]) -> dict[str, Any]:
        """A row's scores for one object; of every prompt a picture stays."""
        from motif.images import save_image
        from motif.lanes import draw
        from motif.local import LocalAttention
        from motif.measure import clip_i, clip_t, dino_i

        me, seconds, words, strength, form = make()
        openings, seeds = self.openings(subject), range(self.asked.seeds)
        texts = [opening.format(words) for opening in openings for _ in seeds]
        controls = [] if strength is None else [LocalAttention.of(me, strength, form)]
        images = list(
            draw(me, texts, seeds=[*seeds] * len(openings), steps=self.asked.steps, controls=controls)
        )
        said = [opening.format(subject.noun) for opening in openings for _ in seeds]
        clip, dino = self.judges
        scores = (
            clip_t(images, said, encoder=clip),
            clip_i(images, subject.references, encoder=clip),
            dino_i(images, subject.references, encoder=dino),
        )
        for i, image in enumerate(images[:: len(seeds)]):
            save_image(image, self.picture(subject, row, i))
        return {m: [*s.per_image] for m, s in zip(METRICS, scores, strict=True)} | {"seconds": seconds}


def told(cells: Sequence[dict[str, Any]]) -> str:
    """A row of the table."""
    parts: list[str] = []
    for metric in METRICS:
        values = np.concatenate([np.asarray(cell[metric], dtype=float) for cell in cells])
        parts.append(f"{values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}")
    seconds = float(np.median([cell["seconds"][0] for cell in cells]))
    return " | ".join([*parts, f"{seconds:.2g}" if seconds else ""])


def main() -> None:
    """Encode, learn, draw, measure; print the table."""
    from machine import processor
    from PIL import Image

    from motif.grids import grid
    from motif.pocket.concepts import held_out

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench/elite"))
    parser.add_argument("--encoder", default="pocket")
    parser.add_argument("--concepts", default=",".join(EXAM), help="held-out objects, by name")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25, help="of sampling")
    parser.add_argument("--shards", type=Path, default=Path.home() / ".cache/motif/pocket/shards")
    parser.add_argument(
        "--ablation-steps", type=int, default=0, help="steps of each ablation's two stages; 0: none"
    )
    parser.add_argument("--learned", action="store_true", help="the methods that learn from the photo, too")
    asked = parser.parse_args()
    bench, by_name = Bench(asked), {subject.name: subject for subject in held_out()}
    subjects = [by_name[name] for name in asked.concepts.split(",")]
    found: dict[str, list[dict[str, Any]]] = {}
    for subject in subjects:
        for row, make in bench.rows(subject).items():
            one = cell(
                asked.out / "cells",
                subject.name,
                row,
                bench.known,
                lambda s=subject, r=row, m=make: bench.scored(s, r, m),
            )
            found.setdefault(row, []).append(one)
    lines = [
        f"ELITE on pocket, from one photo: {', '.join(s.name for s in subjects)}; {asked.prompts} prompts x "
        f"{asked.seeds} seeds each, {asked.steps} DDIM steps; mean ± standard error over pictures; {processor()}, "
        f"{date.today()}.",
        "",
        "| | CLIP-T x2.5 | CLIP-I | DINO-I | seconds |",
        "|---|---|---|---|---|",
        *(f"| {row} | {told(cells)} |" for row, cells in found.items()),
    ]
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "elite.md").write_text("\n".join(lines) + "\n")
    (asked.out / "elite.json").write_text(json.dumps(found, indent=1))
    shown = [row for row in found if "λ" not in row or row == "ELITE, λ 0.6"]
    for subject in subjects:
        files = [[bench.picture(subject, row, i) for i in range(asked.prompts)] for row in shown]
        pictures = [Image.open(subject.references[0]).convert("RGB")] * asked.prompts
        pictures += [Image.open(file) for row in files for file in row]
        grid(pictures, columns=asked.prompts, cell=96).save(asked.out / f"sheet-{subject.name}.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
