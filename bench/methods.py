"""Every way to learn, on held-out objects of pocket's world: how like the photos, how true to the words, at what cost.

`python bench/methods.py` learns four objects with every method, two pairs in every way that is there, and the papers'
ablations; draws eight prompts with four seeds, and writes OUT/methods.md: CLIP-I, DINO-I and CLIP-T, the class word's
drift (CLIP-I of "a photo of a NOUN" with the photos, less the base's: 0 is none), how far the weights moved, seconds,
peak memory and file size, each with its standard error; then which of the papers' orderings hold here. Every row of an
object is a process of its own, and its result is kept under OUT by its settings: a stopped run goes on where it was,
and a cell that fails is named while the others go on. `--report` writes the table of what is there; `--smoke` takes
two steps of every kind of cell in a folder that goes away, to see that all run.
`--rows dreambooth --settings '{"lr": 1e-5}' --concepts dog,chair` tunes on other objects. `--through /tmp/queue` puts a
command before each process.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import digest
from cells import weights as weights_of
from methods_one import DRAWING
from methods_report import report
from results import codes_of, told_codes

BASE = "(the base, class word)"
KEPT = Path(__file__).parents[1] / "docs" / "results" / "methods"
"""Cells that are kept in the repository, so that another machine goes on with what is not there; a cell's name says of
which weights it is."""
AS_ICO = {"steps": 100, "lr": 3e-6, "token_lr": 1e-3}
"""ICO's numbers on pocket, for Custom Diffusion under fixed templates. ICO with a word of one vector differs from it in
who writes the context alone; ICO itself has two vectors, and pocket's advice learns contexts at the word's rate."""

SINGLE: dict[str, dict[str, Any]] = {
    "custom-diffusion": {},
    "textual-inversion": {},
    "dreambooth": {},
    "dreambooth, LoRA": {"lora": 8},
    "fine-tune-all": {},
    "ico": {},
    "ico, one vector": {"vectors": 1},
    "ico, contexts ten times": {"context_factor": 10.0},
    "custom-edit": {},
    "custom-diffusion, augmented": {"augment": True},
    "custom-diffusion, no prior": {
        "prior": "none",
        "lr": 4e-6,
        "token_lr": 4e-4,
    },  # rates grow with the batch: as much
    "custom-diffusion, templates": AS_ICO,
    "custom-diffusion, rendered prior": {},
    "custom-diffusion, as many drawn": {},
    "custom-diffusion, word fixed": {"token_lr": 0.0},
    "custom-diffusion, random start": {"rare_tokens": ["<random>"]},
    "ico, whole photos": {"masked": False},
    "custom-diffusion, whole photos, templates": AS_ICO | {"masked": False},
    "dreambooth, four times the rate": {"lr": 4e-5},
    "textual-inversion, four times the steps": {"steps": 600},
}
PRIORS = {"custom-diffusion, rendered prior": "rendered", "custom-diffusion, as many drawn": "as many"}
"""Whose prior is not the pictures that the base draws for all: held-out renders of the class with their captions,
as the paper's photos; or as many drawn ones."""
PAIRS: dict[str, tuple[str, str]] = {
    "custom-diffusion, joint": ("joint", "custom-diffusion"),
    "custom-diffusion, merge": ("merge", "custom-diffusion"),
    "custom-diffusion, sequential": ("sequential", "custom-diffusion"),
    "fine-tune-all, joint": ("joint", "fine-tune-all"),
    "textual-inversion, both worn": ("worn", "textual-inversion"),
    "dreambooth, joint": ("joint", "dreambooth"),
    "dreambooth, both worn": ("worn", "dreambooth"),
}

FIRST = ("custom-diffusion", "textual-inversion", "dreambooth", *list(PAIRS)[:3], *list(PAIRS)[4:])
THEN = (
    "custom-diffusion, no prior",
    "ico",
    "custom-diffusion, templates",
    "ico, one vector",
    "custom-diffusion, augmented",
    "fine-tune-all",
)
ORDER = (*FIRST, *THEN, *(row for row in (*PAIRS, *SINGLE) if row not in (*FIRST, *THEN)))
"""What the papers compare comes first."""

SMOKE = {"concepts": "boat", "pairs": "boat+car", "seeds": 1, "prompts": 1, "drawing": 2, "quick": True}


@dataclass(frozen=True)
class Cell:
    """One row of one object or pair: what its process is to do, and where it leaves what it found."""

    spec: dict[str, Any]
    order: Path

    @property
    def result(self) -> Path:
        """The scores; they are there once the cell is done."""
        return self.order.with_suffix(".result")

    @property
    def error(self) -> Path:
        """What went wrong, where something did."""
        return self.order.with_suffix(".error")

    @property
    def name(self) -> str:
        """Its object and its row."""
        return f"{'+'.join(self.spec['subjects'])}, {self.spec['row']}"


def stage(name: str, tokens: list[str], extra: dict[str, Any]) -> dict[str, Any]:
    """One learning of a row."""
    settings = SINGLE[name] | extra
    told = {"method": name.partition(",")[0], "tokens": tokens, "settings": settings}
    told |= {"prior": PRIORS[name]} if name in PRIORS else {}
    return told | ({"templates": True} if name.endswith("templates") else {})


def plan(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Every row of every object, in the order of the work; before an object's first, the base."""
    how = {"seeds": asked.seeds, "prompts": asked.prompts, "drawing": asked.drawing, "quick": asked.quick}
    rows: list[dict[str, Any]] = []
    for name in asked.rows.split(";") if asked.rows else ORDER:
        for names in (asked.pairs if name in PAIRS else asked.concepts).split(","):
            subjects = names.split("+")
            told = {"row": name, "subjects": subjects, **how}
            base = {"row": BASE, "subjects": subjects, "how": "base", "stages": [], **how}
            rows += [] if base in rows else [base]
            if name in SINGLE:
                rows.append(told | {"how": "single", "stages": [stage(name, ["<new1>"], asked.settings)]})
            elif name in PAIRS:
                kind, method = PAIRS[name]
                tokens = {"joint": [["<new1>", "<new2>"]], "sequential": [["<new1>"], ["<new2>"]]}
                stages = [stage(method, some, {}) for some in tokens.get(kind, [["<new1>"], ["<new1>"]])]
                rows.append(told | {"how": kind, "stages": stages})
            else:
                raise SystemExit(f"no row {name}: there is {'; '.join(ORDER)}")
    return rows


def weights() -> str:
    """What draws and scores: results of others are not taken."""
    return weights_of("pipeline", "clip", "dino")


def place(spec: dict[str, Any], known: str, out: Path) -> Cell:
    """The cell of a row: its results are known by what is asked and by pocket's weights."""
    name = f"{'+'.join(spec['subjects'])}-{spec['row'].strip('()').replace(', ', '-').replace(' ', '-')}"
    spec = spec | {"sheet": f"sheets/{name}.png"}
    return Cell(spec, out / "results" / f"{name}-{digest([spec, known])}.json")


def work(cells: Sequence[Cell], asked: argparse.Namespace) -> None:
    """A process for each of these cells that is not there, one after another."""
    missing = [cell for cell in cells if not cell.result.is_file()]
    if not missing:
        return
    for cell in missing:
        cell.order.parent.mkdir(parents=True, exist_ok=True)
        cell.order.write_text(json.dumps(cell.spec, indent=1))
        cell.error.unlink(missing_ok=True)
    one, begun = [sys.executable, str(asked.one)], time.monotonic()
    words = "; ".join(shlex.join([*one, str(cell.order), str(asked.out)]) for cell in missing)
    env = {**os.environ, "OMP_NUM_THREADS": str(asked.threads)}
    command = [*shlex.split(asked.through), "sh", "-c", words]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    for cell in missing:
        if not cell.result.is_file():
            if not cell.error.is_file():  # it was ended before it could say why
                last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
                cell.error.write_text(f"ended with code {done.returncode}: {last[0]}\n")
            print(f"FAILED {cell.name}: {why(cell)} ({cell.error})", file=sys.stderr, flush=True)
    print(f"  {time.monotonic() - begun:.0f} s: {'; '.join(cell.name for cell in missing)}", flush=True)


def copied(folder: Path, cell: Cell) -> None:
    """Take a cell that lies in another folder, where it is not there yet."""
    result = folder / cell.result.name
    if result.is_file() and not cell.result.is_file():
        cell.order.parent.mkdir(parents=True, exist_ok=True)
        cell.order.write_text(json.dumps(cell.spec, indent=1))
        shutil.copyfile(result, cell.result)


def why(cell: Cell) -> str:
    """The last line of what a failed cell left."""
    return (cell.error.read_text().strip().splitlines() or ["it left no word"])[-1]


def written(cells: Sequence[Cell], asked: argparse.Namespace) -> dict[str, str]:
    """Write the report of what is there; {cell: why} of those that failed."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        if cell.result.is_file():
            objects = found.setdefault(cell.spec["row"], {})
            objects["+".join(cell.spec["subjects"])] = json.loads(cell.result.read_text())
    absent = [cell for cell in cells if not cell.result.is_file()]
    failed = {cell.name: why(cell) for cell in absent if cell.error.is_file()}
    waiting = [cell.name for cell in absent if cell.name not in failed]
    asked.out.mkdir(parents=True, exist_ok=True)
    text = report(found, vars(asked), failed, waiting)
    code = told_codes(codes_of({cell.name: found[cell.spec["row"]]["+".join(cell.spec["subjects"])] for cell in cells
                                if cell.result.is_file()}))  # fmt: skip
    (asked.out / "methods.md").write_text(f"{text.rstrip()}\n\nThe code that made the cells: {code}.\n")
    return failed


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for, or these words."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench/methods"))
    parser.add_argument("--concepts", default="boat,cactus,car,cat", help="which held-out objects, by name")
    parser.add_argument("--pairs", default="boat+car,cactus+cat", help="which pairs of them")
    parser.add_argument("--rows", default="", help='some rows alone: "dreambooth;ico"')
    parser.add_argument(
        "--settings", type=json.loads, default={}, help='of all singles, to tune: {"lr": 1e-5}'
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--drawing", type=int, default=DRAWING, help="steps of a picture")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--through", default="", help="a command put before each process, such as a queue")
    parser.add_argument(
        "--together", type=int, default=1, help="so many processes in turn behind one such command"
    )
    parser.add_argument(
        "--report", action="store_true", help="write the report of what is there, and work no more"
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="two steps of every kind of cell in a folder that goes away, to see that all run",
    )
    parser.set_defaults(quick=False, one=Path(__file__).with_name("methods_one.py"))
    return parser.parse_args(words)


def planned(out: Path) -> list[Cell]:
    """The cells of the whole plan with the base that is here: what is measured without any option."""
    known = weights()
    return [place(spec, known, out) for spec in plan(arguments([]))]


def run(asked: argparse.Namespace) -> int:
    """Do all cells, the report after each; how many failed."""
    asked.out = asked.out.resolve()
    known = weights()
    cells = [place(spec, known, asked.out) for spec in plan(asked)]
    for cell in cells:
        copied(KEPT, cell)
    failed = written(cells, asked)
    for first in range(0, 0 if asked.report else len(cells), asked.together):
        some = cells[first : first + asked.together]
        if any(not cell.result.is_file() for cell in some):
            work(some, asked)
            failed = written(cells, asked)
            print(f"{sum(cell.result.is_file() for cell in cells)} of {len(cells)} cells", flush=True)
    print(f"{sum(cell.result.is_file() for cell in cells)} of {len(cells)} cells: {asked.out}/methods.md")
    for name, reason in failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    return len(failed)


def main() -> int:
    """The exit code: 1 where a cell failed, 130 where the run was stopped."""
    asked = arguments()
    try:
        if not asked.smoke:
            return int(run(asked) > 0)
        with tempfile.TemporaryDirectory(prefix="methods-smoke-") as folder:
            vars(asked).update(SMOKE, out=Path(folder))
            failed = run(asked)
            print((asked.out / "methods.md").read_text())
            return int(failed > 0)
    except KeyboardInterrupt:
        print("stopped; what is done is kept, and the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
