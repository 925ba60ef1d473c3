"""Every way to learn, on held-out objects of pocket's world: how like the photos, how true to the words, at what cost.

`python bench/methods.py` learns four objects with every method, two pairs in every way that is there, and the papers'
ablations; draws eight prompts with four seeds, and writes OUT/methods.md: CLIP-I, DINO-I and CLIP-T, the class word's
drift (CLIP-I of "a photo of a NOUN" with the photos, less the base's: 0 is none), how far the weights moved, seconds,
peak memory and file size, each with its standard error; then which of the papers' orderings hold here. Every row of an
object is a process of its own, and its result is kept under OUT by its settings: a stopped run goes on where it was.
`--rows dreambooth --settings '{"lr": 1e-5}' --concepts dog,chair` tunes on other objects. `--through /tmp/queue` puts a
command before each process.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from methods_one import DRAWING, digest
from methods_report import report

BASE = "(the base, class word)"
AS_ICO = {"steps": 100, "lr": 3e-6, "token_lr": 1e-3}
"""ICO's numbers on pocket, for Custom Diffusion under fixed templates: what differs is who writes the context."""

SINGLE: dict[str, dict[str, Any]] = {
    "custom-diffusion": {},
    "textual-inversion": {},
    "dreambooth": {},
    "dreambooth, LoRA": {"lora": 8},
    "fine-tune-all": {},
    "ico": {},
    "custom-edit": {},
    "custom-diffusion, augmented": {"augment": True},
    "custom-diffusion, no prior": {
        "prior": "none",
        "lr": 4e-6,
        "token_lr": 4e-4,
    },  # rates grow with the batch: as much
    "custom-diffusion, templates": AS_ICO,
}
PAIRS: dict[str, tuple[str, str]] = {
    "custom-diffusion, joint": ("joint", "custom-diffusion"),
    "custom-diffusion, merge": ("merge", "custom-diffusion"),
    "custom-diffusion, sequential": ("sequential", "custom-diffusion"),
    "fine-tune-all, joint": ("joint", "fine-tune-all"),
    "textual-inversion, both worn": ("worn", "textual-inversion"),
    "dreambooth, both worn": ("worn", "dreambooth"),
}

FIRST = ("custom-diffusion", "textual-inversion", "dreambooth", *list(PAIRS)[:3], *list(PAIRS)[4:])
THEN = (
    "custom-diffusion, no prior",
    "ico",
    "custom-diffusion, templates",
    "custom-diffusion, augmented",
    "fine-tune-all",
)
ORDER = (*FIRST, *THEN, *(row for row in (*PAIRS, *SINGLE) if row not in (*FIRST, *THEN)))
"""What the papers compare comes first."""


def stage(name: str, tokens: list[str], extra: dict[str, Any]) -> dict[str, Any]:
    """One learning of a row."""
    settings = SINGLE[name] | extra
    told = {"method": name.partition(",")[0], "tokens": tokens, "settings": settings}
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
    """A digest of pocket's weights and advice: results of others are not taken."""
    from hashlib import sha256

    from motif.loading import pocket_weights

    files = sorted(path for path in pocket_weights().rglob("*") if path.suffix in (".safetensors", ".json"))
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:16]


def place(spec: dict[str, Any], known: str, out: Path) -> Path:
    """Where a row's result of one object lies, or will; beside it, what its process is to do."""
    name = f"{'+'.join(spec['subjects'])}-{spec['row'].strip('()').replace(', ', '-').replace(' ', '-')}"
    spec = spec | {"sheet": f"sheets/{name}.png"}
    path = out / "results" / f"{name}-{digest([spec, known])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec, indent=1))
    return path.with_suffix(".result")


def work(wanted: list[Path], asked: argparse.Namespace) -> None:
    """Processes, one after another, for results that are not there."""
    missing = [path.with_suffix(".json") for path in wanted if not path.is_file()]
    if not missing:
        return
    one = shlex.join([sys.executable, str(Path(__file__).with_name("methods_one.py"))])
    words = "; ".join(f"{one} {shlex.quote(str(path))} {shlex.quote(str(asked.out))}" for path in missing)
    env = {**os.environ, "OMP_NUM_THREADS": str(asked.threads)}
    command = [*shlex.split(asked.through), "sh", "-c", words]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    for path in missing:
        if not path.with_suffix(".result").is_file():
            print(f"{path.stem} failed:\n{done.stderr[-3000:]}", file=sys.stderr, flush=True)


def main() -> None:
    """Do all rows, and write the report after each."""
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
    parser.add_argument("--quick", action="store_true", help="two steps of everything, to see that it runs")
    asked = parser.parse_args()
    asked.out = asked.out.resolve()
    if asked.quick:
        asked.concepts, asked.pairs, asked.seeds, asked.prompts, asked.drawing = (
            "boat,car",
            "boat+car",
            1,
            2,
            2,
        )
    known, found, specs = weights(), dict[str, dict[str, Any]](), plan(asked)
    places = [place(spec, known, asked.out) for spec in specs]
    for first in range(0, len(specs), asked.together):
        some = slice(first, first + asked.together)
        if not asked.report:
            work(places[some], asked)
        for spec, path in zip(specs[some], places[some], strict=True):
            if path.is_file():
                found.setdefault(spec["row"], {})["+".join(spec["subjects"])] = json.loads(path.read_text())
        print(f"{min(first + asked.together, len(specs))} of {len(specs)}", flush=True)
        (asked.out / "methods.md").write_text(report(found, vars(asked)))


if __name__ == "__main__":
    main()
