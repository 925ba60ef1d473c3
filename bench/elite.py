"""ELITE on pocket: a concept from one photo, against methods that learn it from the same photo.

`python bench/elite.py --learned` encodes the first photo of four held-out objects (with its mask) and draws eight
prompts with: the class word; the encoder's words, all (v) and the primary one (w); the patches too, over a sweep of λ
and without the word's map, and the patches without the words; an encoder of one layer with one and with several words,
and of several layers in three orders, each trained here for the same few steps (`--ablation-steps 200`); and Textual
Inversion, DreamBooth and Custom Diffusion from that one photo (`--learned`). Where there is no encoder, what needs none
is measured. Writes elite.md (CLIP-T with the class word in the concept's place, CLIP-I and DINO-I with the object's six
photos, seconds to the concept; mean ± standard error over pictures) and sheets; where all is there, docs/elite.md.

A cell (object and row) is a file in docs/results/elite, known by its settings, the weights and the encoder; it is made
once. Pictures and runs of learning stay in OUT; a stopped run goes on, and two processes share the work by
`--concepts car,cat` and `--concepts boat,cactus`. A cell is 24 pictures (45 s of a slow core), a method's learning 150
to 200 steps more (2 to 4 minutes).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from cells import content, got, place, put, weights
from elite_report import METRICS, PAGE, head, table, verdicts
from identity import ADDED, EXAM
from methods_one import prior_of
from results import RESULTS, Value, short

KEPT = RESULTS / "elite"
PARTS = ("pipeline", "condition-clip", "clip", "dino")
"""What draws, reads photos and scores."""
SWEEP = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
LEARNED = ("textual-inversion", "dreambooth", "custom-diffusion")
DOCS = RESULTS.parent
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


WHOLE = ("--learned", "--ablation-steps", "200")
"""What asks for everything."""
TELLING = ("encoder", "concepts", "prompts", "seeds", "steps", "ablation_steps", "learned")
"""What of the command line is told by the page."""


@dataclass(frozen=True)
class Row:
    """A row of an object: what it is known by, what makes (base, seconds, words for the object, λ, form), and by which
    methods but for those that this script imports itself."""

    name: str
    told: Sequence[Any]
    make: Callable[[], tuple[Any, float, str, float | None, str]]
    by: Sequence[str] = ()


@dataclass(frozen=True)
class Bench:
    """What is asked for, and what all rows share."""

    asked: argparse.Namespace
    kept: Path = KEPT

    @cached_property
    def base(self) -> Any:
        from motif.base import Base

        return Base.load("pocket")

    @cached_property
    def encoder(self) -> Any:
        from motif.elite.encoder import Encoder

        return Encoder.load(self.asked.encoder)

    @cached_property
    def read(self) -> str:
        """One word for the encoder's file; "" where there is none."""
        from motif.elite.encoder import shipped
        from motif.errors import MissingModel

        try:
            return content(shipped() if self.asked.encoder == "pocket" else Path(self.asked.encoder))
        except MissingModel as missing:
            print(f"{missing}; what needs none is measured", file=sys.stderr)
            return ""

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
        """(the base with the concept on that a method learns from the photo, seconds of its steps); a stopped run goes
        on."""
        from motif import methods
        from motif.learn import Examples

        run = self.asked.out / "runs" / f"{subject.name}-{method}-{weights('pipeline')}"
        drawn = method != "textual-inversion"
        prior = str(prior_of(self.base, subject.noun, self.asked.out / "priors", False)) if drawn else ""
        examples = Examples(subject.references[0], f"photo of a <new1> {subject.noun}", prior=prior)
        concept = methods.load("learn", method)(
            self.base, examples, preview_every=0, folder=run, resume=(run / "state.json").is_file()
        )
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        return self.base.wear(concept), last["step"] / last["steps_per_second"]

    def trained_by(self, layers: str) -> dict[str, Any]:
        """The settings of an ablation's encoder: the whole encoder's, of these layers and few steps."""
        kept = ("batch_size", "text_lr", "lr", "weight_lr", "l1", "hidden", "ema", "mixed", "seed")
        steps = self.asked.ablation_steps
        few = {"layers": layers, "text_steps": steps, "steps": steps, "local_steps": 0}
        return {key: self.encoder.settings[key] for key in kept} | few

    def variant(self, layers: str) -> Any:
        """An encoder without a local network of some layers, trained for a few steps; kept, and gone on with."""
        from motif.elite.encoder import Encoder
        from motif.elite.train import elite

        path = (
            self.asked.out
            / "variants"
            / f"{layers.replace(',', '-')}-{self.asked.ablation_steps}.safetensors"
        )
        if not path.is_file():
            run = path.with_suffix(".run")
            made = elite(self.base, self.asked.shards, folder=run, resume=(run / "state.pt").is_file(),
                         **self.trained_by(layers))  # fmt: skip
            made.save(path)
        return Encoder.load(path)

    def rows(self, subject: Any) -> list[Row]:
        """What is measured of an object."""
        found = [Row("class word", [], lambda: (self.base, 0.0, subject.noun, None, "image"))]
        found += [*self.ablations(subject), *self.whole(subject)] if self.read else []
        for method in LEARNED if self.asked.learned else ():
            found.append(Row(f"{method}, one photo", [], lambda method=method: (
                *self.learned(subject, method), f"<new1> {subject.noun}", None, "image",
            ), [f"learn {method}"]))  # fmt: skip
        return found

    def ablations(self, subject: Any) -> list[Row]:
        """Encoders of other layers, trained for a few steps."""
        told: list[tuple[str, str, Any]] = []
        for name, layers in VARIANTS.items():
            for words, letter in (("all", "v"), ("primary", "w"))[: 1 if "one word" in name else 2]:
                told.append((f"{name} [{letter}], short training", layers, words))
        told += [(name, layers, number) for name, (layers, number) in ORDERS.items()]
        return [
            Row(name, [self.trained_by(layers), words], lambda layers=layers, words=words: (
                *self.encoded(subject, self.variant(layers), words=words, local=False), "<S>", None, "image",
            ))
            for name, layers, words in (told if self.asked.ablation_steps else ())
        ]  # fmt: skip

    def whole(self, subject: Any) -> list[Row]:
        """The encoder itself: its words, its patches with each strength, and its patches alone."""
        found = [
            Row(f"ELITE [{letter}], without patches", [self.read, words], lambda words=words: (
                *self.encoded(subject, self.encoder, words=words, local=False), "<S>", None, "image",
            ))
            for words, letter in (("all", "v"), ("primary", "w"))
        ]  # fmt: skip
        local = [(f"ELITE, λ {strength:g}", strength, "image") for strength in SWEEP]
        for name, strength, form in (*local, ("ELITE, λ 0.6, without the word's map", 0.6, "none")):
            found.append(Row(name, [self.read, strength, form], lambda strength=strength, form=form: (
                *self.encoded(subject, self.encoder), "<S>", strength, form,
            )))  # fmt: skip
        alone = Row("local alone", [self.read], lambda: (*self.local_alone(subject), "<S>", 0.6, "image"))
        return [*found, alone]

    def place(self, subject: Any, row: Row) -> Path:
        """Where a row's cell is kept."""
        asked = self.asked
        told = [*row.told, asked.prompts, asked.seeds, asked.steps]
        return place(self.kept, subject, row.name, told, PARTS)

    def cell(self, subject: Any, row: Row) -> dict[str, list[float]] | None:
        """{metric: values}, where it is there."""
        return got(self.place(subject, row))

    def work(self, subject: Any) -> None:
        """Make every cell that is not there."""
        for row in self.rows(subject):
            if not self.place(subject, row).is_file():
                print(f"{subject.name}: {row.name}", flush=True)
                scores = self.scored(subject, row.name, row.make)
                put(self.place(subject, row), scores, Path(__file__), row.by)

    def picture(self, subject: Any, row: str, number: int) -> Path:
        """The first picture of a prompt of a row."""
        return self.asked.out / "pictures" / f"{subject.name} - {row} {number}.png"

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
        found = {m: [short(v) for v in s.per_image] for m, s in zip(METRICS, scores, strict=True)}
        return found | {"seconds": [short(seconds)]}


def found_in(bench: Bench, subjects: Sequence[Any]) -> dict[str, dict[str, Value]]:
    """{row: {metric: values}} of the rows that every one of these objects has."""
    rows: dict[str, dict[str, Value]] = {}
    each = {
        subject.name: {row.name: bench.cell(subject, row) for row in bench.rows(subject)}
        for subject in subjects
    }
    for name in each[subjects[0].name] if subjects else ():
        cells = {subject: told[name] for subject, told in each.items() if told[name] is not None}
        if len(cells) == len(subjects):
            rows[name] = {m: Value.of({s: c[m] for s, c in cells.items()}) for m in (*METRICS, "seconds")}
    return rows


def whole_plan(kept: Path) -> tuple[Bench, list[Any]]:
    """Everything that can be asked for, by the weights and the encoder that are here, and its objects."""
    from motif.pocket.concepts import held_out

    bench = Bench(arguments(WHOLE), kept)
    return bench, [subject for subject in held_out() if subject.name in EXAM]


def planned(kept: Path = KEPT) -> dict[str, dict[str, Value]]:
    """The rows of it that are measured."""
    return found_in(*whole_plan(kept))


def cells_of(kept: Path = KEPT) -> dict[str, Path]:
    """{object and row: the file} of what is measured."""
    bench, subjects = whole_plan(kept)
    found = {f"{s.name} - {row.name}": bench.place(s, row) for s in subjects for row in bench.rows(s)}
    return {name: path for name, path in found.items() if path.is_file()}


def sheet(bench: Bench, subject: Any) -> Path | None:
    """The photo, and a line of pictures for every row; written where those of all rows are here."""
    from PIL import Image

    from motif.grids import grid
    from motif.images import save_image

    count = range(bench.asked.prompts)
    names = [r.name for r in bench.rows(subject) if "λ" not in r.name or r.name == "ELITE, λ 0.6"]
    files = [bench.picture(subject, name, i) for name in names for i in count]
    if not all(file.is_file() for file in files):
        return None
    photo = Image.open(subject.references[0]).convert("RGB")
    labels = [name.replace("λ", "lambda") if not i else "" for name in ("photo", *names) for i in count]
    shown = [photo] * len(count) + [Image.open(file) for file in files]
    path = bench.asked.out / f"sheet-{subject.name}.png"
    return save_image(grid(shown, labels=labels, columns=len(count), cell=96), path)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for, or these words."""
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
    parser.add_argument("--report", action="store_true", help="write the report of what is there alone")
    return parser.parse_args(words)


def main() -> None:
    """Encode, learn, draw, measure; print the table."""
    from PIL import Image

    from motif.files import written
    from motif.pocket.concepts import held_out

    asked = arguments()
    bench, by_name = Bench(asked), {subject.name: subject for subject in held_out()}
    subjects = [by_name[name] for name in asked.concepts.split(",")]
    sheets: list[Path | None] = []
    for subject in subjects:
        if not asked.report:
            bench.work(subject)
        sheets.append(sheet(bench, subject))
    rows = found_in(bench, subjects)
    told = [
        head([s.name for s in subjects], asked, bench.read, date.today()),
        *table(rows),
        "",
        *verdicts(rows),
    ]
    text = "\n".join(told) + "\n"
    with written(asked.out / "elite.md") as part:
        part.write_text(text, encoding="utf-8")
    print(text)
    whole = arguments(WHOLE)
    everything = all(getattr(asked, name) == getattr(whole, name) for name in TELLING)
    if everything and rows.keys() == {row.name for row in bench.rows(subjects[0])}:
        (DOCS / "elite.md").write_text(PAGE.format(text), encoding="utf-8")
        for path in filter(None, sheets):
            with Image.open(path) as whole_sheet:
                name = f"elite-{path.stem.removeprefix('sheet-')}.jpg"
                whole_sheet.convert("RGB").save(DOCS / "pictures" / name, quality=88)


if __name__ == "__main__":
    main()
