"""DCI's trade-off on held-out objects: is fidelity at equal text alignment above the concept's own checkpoints?

`python bench/dci.py` learns each of four objects with ICO (scheme ico-for-dci), with Custom Diffusion, and with ICO so
that the prompt is lost ("overfitted": whole photos, higher rates), and keeps their checkpoints. It draws eight prompts
with four seeds: every checkpoint, plainly; DCI with the last ICO concept over a grid of balance x until, and the
paper's ablations (lanes added without masks; prompts cut apart; the last layer alone); DCI with the last overfitted
one. It measures CLIP-I and DINO-I with the photos, CLIP-T with the prompt, and what pocket's judge sees of what was
asked: the place, and the hat or the ball. Writes docs/dci.md, its figures, and a sheet of each object.

A cell (object and row) is a file in docs/results/dci, known by its settings and by the weights: it travels with the
repository, and is made once. Pictures and runs of learning stay in OUT; a stopped run goes on. Two processes share the
work by `--concepts car,cat` and `--concepts boat,cactus`; then `python bench/dci.py` makes what is missing, and writes
the page. An object has 40 cells of 32 pictures and 600 steps of learning: about 70 minutes of one slow core (1.5 s a
picture of 20 steps, .8 s a step). `--report` draws nothing. `--quick` is one object and few pictures, all in OUT.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from cells import digest, got, place, put, weights
from dci_report import PAGE, figure, head, table, verdicts
from identity import ADDED
from methods_one import prior_of
from results import RESULTS, Value, dci_rows, short

STAND_IN = {"boat": "car", "cactus": "mushroom", "car": "boat", "cat": "dog"}  # nouns of pocket's world
ADDITION = 0.9
"""What the auxiliary lane is multiplied by where lanes are added (the published code's history)."""
DOCS, KEPT = RESULTS.parent, RESULTS / "dci"
PARTS = ("pipeline", "clip", "dino", "judge")
"""What draws and scores."""


@dataclass(frozen=True)
class Size:
    """How much is drawn."""

    objects: tuple[str, ...]
    prompts: int
    seeds: int
    steps: int  # of sampling
    learning: int
    every: int  # steps between checkpoints
    balances: tuple[float, ...]
    untils: tuple[float, ...]
    again: tuple[float, ...]  # balances of the overfitted concept


WHOLE = Size(
    ("car", "cat", "boat", "cactus"), 8, 4, 20, 200, 50,
    (-2.0, -1.0, 0.0, 1.0, 2.0), (0.15, 0.3, 0.6), (0.0, 1.0, 2.0),
)  # fmt: skip
QUICK = Size(("cat",), 4, 2, 12, 100, 50, (0.0, 2.0), (0.3, 0.6), (2.0,))
MASKED = {"scheme": "ico-for-dci", "lr": 2e-6, "token_lr": 2e-4, "batch_size": 4, "masked": True}
LEARNING: dict[str, dict[str, Any]] = {
    "ico": MASKED,
    "custom-diffusion": {},
    "ico, overfitted": MASKED | {"lr": 1e-5, "masked": False},
}
OVERFITTED = [*LEARNING][-1]


@dataclass(frozen=True)
class Row:
    """A row of an object: what it is known by, what a picture costs, what draws its pictures, and by which methods."""

    name: str
    told: Sequence[Any]
    evaluations: int
    draw: Callable[[], list[Any]]
    by: Sequence[str] = ()


@dataclass(frozen=True)
class Exam:
    """One object with all its rows. Nothing is loaded before something is drawn."""

    name: str
    size: Size
    out: Path
    kept: Path

    @cached_property
    def subject(self) -> Any:
        from motif.pocket.concepts import held_out

        return next(subject for subject in held_out() if subject.name == self.name)

    @cached_property
    def openings(self) -> list[str]:
        """Prompts with {} for the object; those that add something come first, as they are where plain sampling
        fails."""
        places = self.subject.places
        added = [f"a photo of a {{}} {what} {place}" for what, place in zip(ADDED, places, strict=False)]
        return [*added, *(f"a photo of a {{}} {place}" for place in places)][: self.size.prompts]

    @property
    def phrase(self) -> str:
        """The concept in a prompt."""
        return f"<new1> {self.subject.noun}"

    def checkpoint(self, name: str, step: int) -> Any:
        """The concept of a row of learning at a step; its run goes on where it was stopped."""
        from motif import methods
        from motif.concept import Concept
        from motif.learn import Examples

        told = digest([self.size.learning, self.size.every, LEARNING[name], weights(*PARTS)])
        run = self.out / "runs" / f"{self.name}-{name.replace(', ', '-')}-{told}"
        path = run / f"concept-{step:04d}.safetensors"
        if not path.is_file() or not (run / f"concept-{self.size.learning:04d}.safetensors").is_file():
            noun = self.subject.noun
            prior = prior_of(base(), noun, self.out / "priors", self.size is QUICK)
            examples = Examples(self.subject.folder, f"photo of a <new1> {noun}", prior=str(prior))
            methods.load(*learner(name).split(" ", 1))(
                base(), examples, steps=self.size.learning, folder=run, checkpoint_every=self.size.every,
                preview_every=0, resume=(run / "state.json").is_file(), **LEARNING[name],
            )  # fmt: skip
        return Concept.load(path)

    def last(self, name: str) -> Any:
        """The base with a row's last concept on."""
        return base().wear(self.checkpoint(name, self.size.learning))

    def plainly(self, me: Any, words: str) -> list[Any]:
        """Pictures without a second lane."""
        from motif.lanes import draw

        seeds = self.size.seeds
        texts = [opening.format(words) for opening in self.openings for _ in range(seeds)]
        return list(draw(me, texts, seeds=[*range(seeds)] * len(self.openings), steps=self.size.steps))

    def with_dci(self, learned: str, balance: float, **how: Any) -> list[Any]:
        """Pictures with two lanes."""
        from motif.sample import dci

        me = self.last(learned)
        stand_in = [STAND_IN.get(self.subject.noun, "cat")] if how.get("entire", True) else []
        return [
            image
            for opening in self.openings
            for image in dci(me, opening.format(self.phrase), n=self.size.seeds, steps=self.size.steps,
                             stand_in=stand_in, balance=balance, **how)
        ]  # fmt: skip

    @cached_property
    def rows(self) -> list[Row]:
        """In the order of the work."""
        size, plain = self.size, 2 * self.size.steps
        rows = [Row("base class word", [], plain, lambda: self.plainly(base(), self.subject.noun))]

        def checkpoints(name: str) -> list[Row]:
            steps = range(size.every, size.learning + 1, size.every)
            return [
                Row(f"{name} {step}", [LEARNING[name], step], plain,
                    lambda step=step: self.plainly(base().wear(self.checkpoint(name, step)), self.phrase),
                    [learner(name)])
                for step in steps
            ]  # fmt: skip

        def lanes(row: str, learned: str, **how: Any) -> Row:
            told = [LEARNING[learned], size.learning, STAND_IN.get(self.name, "cat"), how]
            cost = evaluations(size.steps, how["until"])
            by = [learner(learned), "sample dci"]
            return Row(row, told, cost, lambda: self.with_dci(learned, **how), by)

        rows += [*checkpoints("ico"), *checkpoints("custom-diffusion")]
        rows += [lanes(f"dci {balance:g}, until {until:g}", "ico", balance=balance, until=until)
                 for until in size.untils for balance in size.balances]  # fmt: skip
        added = {"balance": ADDITION, "until": 0.3, "masks": "none"}
        rows.append(lanes("without mask, until 0.3", "ico", **added))
        apart = {"balance": 1.0, "until": 0.3, "entire": False}
        rows.append(lanes("without entire prompt, until 0.3", "ico", **apart))
        rows.append(lanes("without deep aggregation, until 0.3", "ico", **added, layers="last"))
        rows += checkpoints(OVERFITTED)
        rows += [lanes(f"overfitted: dci {balance:g}, until {until:g}", OVERFITTED, balance=balance, until=until)
                 for until in size.untils for balance in size.again]  # fmt: skip
        return rows

    def place(self, row: Row) -> Path:
        """Where a row's cell is kept."""
        told = [*row.told, [self.size.prompts, self.size.seeds, self.size.steps]]
        return place(self.kept, self.subject, row.name, told, PARTS)

    def cell(self, row: Row) -> dict[str, list[float]] | None:
        """{metric: a value for each picture}, where it is there."""
        return got(self.place(row))

    def pictures(self, row: str) -> list[Path]:
        """The first picture of every prompt."""
        return [
            self.out / "pictures" / f"{self.name} - {row.replace(':', '')} {i}.png"
            for i in range(self.size.prompts)
        ]

    def work(self) -> None:
        """Make every cell that is not there."""
        from motif.images import save_image

        for row in self.rows:
            if self.place(row).is_file():
                continue
            print(f"{self.name}: {row.name}", flush=True)
            images = row.draw()
            for image, path in zip(images[:: self.size.seeds], self.pictures(row.name), strict=True):
                save_image(image, path)
            put(self.place(row), self.scored(images), Path(__file__), row.by)
        if not self.masks.is_file() and (self.out / "runs").is_dir():
            self.draw_masks()

    def scored(self, images: Sequence[Any]) -> dict[str, list[float | None]]:
        """{metric: a value for each picture}."""
        from motif.measure import clip_i, clip_t, dino_i

        clip, dino = encoders()
        texts = [
            opening.format(self.subject.noun) for opening in self.openings for _ in range(self.size.seeds)
        ]
        found = {
            "CLIP-T": clip_t(images, texts, encoder=clip).per_image,
            "asked": asked_for(images, texts),
            "CLIP-I": clip_i(images, self.subject.references, encoder=clip).per_image,
            "DINO-I": dino_i(images, self.subject.references, encoder=dino).per_image,
        }
        return {metric: [short(value) for value in values] for metric, values in found.items()}

    @property
    def masks(self) -> Path:
        """Where the picture of the masks is."""
        return self.out / f"masks-{self.name}.png"

    def draw_masks(self) -> None:
        """The auxiliary lane's weights by layer size."""
        from motif.images import save_image
        from motif.sample import dci

        found = dci(self.last("ico"), self.openings[0].format(self.phrase), steps=self.size.steps, until=0.3,
                    stand_in=[STAND_IN.get(self.subject.noun, "cat")], show_masks=True,
                    balances=[min(self.size.balances), max(self.size.balances)])  # fmt: skip
        save_image(found.sheets["masks"], self.masks)

    def sheet(self) -> None:
        """A row of pictures for every row whose pictures are here."""
        from PIL import Image

        from motif.grids import grid
        from motif.images import save_image

        here = [row.name for row in self.rows if all(path.is_file() for path in self.pictures(row.name))]
        if here:
            shown = [Image.open(path) for row in here for path in self.pictures(row)]
            labels = [row if not i else "" for row in here for i in range(self.size.prompts)]
            sheet = grid(shown, labels=labels, columns=self.size.prompts, cell=112)
            save_image(sheet, self.out / f"sheet-{self.name}.png")


def learner(name: str) -> str:
    """The method that a row of learning learns by."""
    return f"learn {name.partition(',')[0]}"


def evaluations(steps: int, until: float) -> int:
    """Of the denoiser, for one picture with two lanes."""
    from motif.sample.two_lanes import evaluations

    return evaluations(steps, until, guided=True, shared=True)


@cache
def base() -> Any:
    """The embedded base."""
    from motif.base import Base

    return Base.load("pocket", device="cpu")


@cache
def encoders() -> tuple[Any, Any]:
    """pocket's CLIP and DINO."""
    from motif.features.extractors import ClipEncoder, DinoEncoder

    return ClipEncoder.load("pocket"), DinoEncoder.load("pocket")


@cache
def judge() -> Any:
    """pocket's judge."""
    from motif.loading import pocket_weights
    from motif.pocket.recipe.judge import load_judge

    return load_judge(pocket_weights() / "judge")


def asked_for(images: Sequence[Any], texts: Sequence[str]) -> list[float]:
    """The share of a prompt's place, and of what it adds, that the judge sees in its picture."""
    import torch

    from motif.pocket.recipe.judge import answers
    from motif.pocket.recipe.material import LABELS, normalised
    from motif.pocket.world.held_out import SIMPLE_PLACES

    pixels = torch.from_numpy(np.stack([np.asarray(image.convert("RGB")) for image in images]))
    seen = answers(judge(), normalised(pixels))
    found: list[float] = []
    for i, text in enumerate(texts):
        place = next(name for name, words in SIMPLE_PLACES.items() if text.endswith(words))
        right = [LABELS["context"][int(seen["context"][i])] == place]
        if thing := next((thing for thing in ("hat", "ball") if thing in text), ""):
            right.append(LABELS["accessory"][int(seen["accessory"][i])] == thing)
        found.append(float(np.mean(right)))
    return found


def found_in(exams: Sequence[Exam]) -> dict[str, dict[str, Value]]:
    """{row: {metric: values}} of the rows that every one of these objects has, in their order."""
    rows: dict[str, dict[str, Value]] = {}
    for row in exams[0].rows if exams else ():
        cells = {exam.name: exam.cell(next(r for r in exam.rows if r.name == row.name)) for exam in exams}
        told = {name: cell for name, cell in cells.items() if cell is not None}
        if len(told) == len(exams):
            metrics = next(iter(told.values()))
            rows[row.name] = {m: Value.of({n: cell[m] for n, cell in told.items()}) for m in metrics}
    return rows


def measured(kept: Path) -> list[Exam]:
    """The objects that have the whole plan's rows by the weights that are here."""
    exams = [Exam(name, WHOLE, kept, kept) for name in WHOLE.objects]
    return [exam for exam in exams if all(exam.place(row).is_file() for row in exam.rows)]


def planned(kept: Path = KEPT) -> dict[str, dict[str, Value]]:
    """The rows of those objects."""
    return found_in(measured(kept))


def cells_of(kept: Path = KEPT) -> dict[str, Path]:
    """{object and row: the file} of the same."""
    return {f"{exam.name} - {row.name}": exam.place(row) for exam in measured(kept) for row in exam.rows}


def report(exams: Sequence[Exam], out: Path) -> bool:
    """Write the page of what is there; whether everything is."""
    from motif.files import written

    missing = sum(not exam.place(row).is_file() for exam in exams for row in exam.rows)
    whole, rows = sum(len(exam.rows) for exam in exams), dci_rows(found_in(exams))
    print(f"{whole - missing} of {whole} cells", flush=True)
    if rows:
        for exam in exams:
            exam.sheet()
        costs = {row.name: row.evaluations for row in exams[0].rows}
        told = [
            head([e.name for e in exams], exams[0].size, date.today()),
            *verdicts(rows),
            "",
            *table(rows, costs),
        ]
        text = "\n".join(told) + "\n"
        with written(out / "dci.md") as part:
            part.write_text(text, encoding="utf-8")
        figure(rows, out / "dci.png")
        print(text)
    return not missing


def main() -> None:
    """Learn, draw, measure; write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench/dci"))
    parser.add_argument("--quick", action="store_true", help="one object, few pictures")
    parser.add_argument("--concepts", default="", help="some objects alone, by name")
    parser.add_argument(
        "--report", action="store_true", help="write the report of what is there, and draw nothing"
    )
    asked = parser.parse_args()
    size, out = (QUICK, asked.out / "quick") if asked.quick else (WHOLE, asked.out)
    names = asked.concepts.split(",") if asked.concepts else size.objects
    exams = [Exam(name, size, out, out / "cells" if asked.quick else KEPT) for name in names]
    for exam in exams if not asked.report else ():
        exam.work()
    if report(exams, out) and not (asked.quick or asked.concepts):
        shutil.copy(out / "dci.png", DOCS / "pictures" / "dci.png")
        if exams[-1].masks.is_file():
            shutil.copy(exams[-1].masks, DOCS / "pictures" / "dci-masks.png")
        (DOCS / "dci.md").write_text(
            PAGE.format((out / "dci.md").read_text(encoding="utf-8")), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
