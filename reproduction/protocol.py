"""The papers' protocols over whole data sets, by motif's own commands; what lies there is not made again.

    python reproduction/protocol.py pairs CustomConcept101/dataset_multiconcept.json -o OUT -n 10
    python reproduction/protocol.py subjects dreambench/prompts_and_classes.txt -o OUT -n 5 --elite elite.safetensors
    python reproduction/protocol.py edits edits.json -o OUT

`pairs` (Custom Diffusion, tables 1, 4 and 8): two concepts learned jointly, one after the other, apart and merged, and
by the baselines; each draws the pair's prompts. `subjects` (ELITE, table 2): one photo of each subject encoded, and
learned by the baselines; each draws DreamBench's 25 prompts. `edits` (Custom-Edit, figures 4 and G): an object put into
pictures by Prompt-to-Prompt at every strength, twice, and by SDEdit with three seeds; the data is a list of
    {"name": "pot", "photos": "photos/pot", "prompt": "photo of a <new1> wooden pot", "initial": "pot",
     "edits": [{"photo": "bench.png", "source": "a wine bottle on a table", "target": "a {concept} on a table"}]}

Settings are those of reproduction/sd14, and what protocol.toml says that a protocol changes of them. OUT/table.md has a
line for each row: mean ± standard error over all pictures of all cases. A stopped run goes on; a row whose command
fails is named, the rest goes on, and the exit is 1. `--print` tells the commands of what is not there, and runs none.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol_plan import Plan, Row, Words
from protocol_rows import PROTOCOLS

from motif.errors import InputError, MotifError
from motif.files import read_json, written


def motif(words: Words) -> tuple[int, str, str]:
    """Run a command: (its exit, what it printed, what it said beside)."""
    done = subprocess.run(
        [sys.executable, "-m", "motif", *words], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@dataclass
class Runner:
    """Runs commands one after another, none twice."""

    dry: bool = False
    ran: dict[Words, str] = field(default_factory=dict[Words, str])  # why a command failed; "": it did not

    def run(self, words: Words) -> str:
        """What a command prints. InputError where it fails, or failed before."""
        line = f"motif {shlex.join(words)}"
        if words not in self.ran:
            print(line, file=sys.stdout if self.dry else sys.stderr, flush=True)
            code, printed, beside = (0, "", "") if self.dry else motif(words)
            self.ran[words] = [f"exit {code}", *beside.strip().splitlines()][-1] if code else ""
            if not code:
                return printed
        if self.ran[words]:
            raise InputError(f"{line}: {self.ran[words]}")
        return ""

    def row(self, row: Row) -> None:
        """Make, draw and measure what of a row is not there."""
        missing = {place: words for place, words in row.scores.items() if not place.is_file()}
        for place, words in row.makes if missing else ():
            if not place.is_file():
                self.run((*words, "--resume") if goes_on(place) and words[0] == "learn" else words)
        for place, words in row.draws if missing else ():
            if place is None or not place.is_file():
                self.run(words)
        for place, words in missing.items():
            printed = self.run((*words, "--json"))
            if not self.dry:
                with written(place) as part:
                    part.write_text(printed, encoding="utf-8")


def goes_on(concept: Path) -> bool:
    """Whether a run that would make this concept was stopped behind a checkpoint."""
    return (concept.with_suffix(".run") / "state.pt").is_file()


def table(rows: Sequence[Row]) -> tuple[str, dict[str, Any]]:
    """The table of what was measured, and {row: {measure: values}}."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for place in row.scores:
            if place.is_file():
                values = [value for value in read_json(place)["per_image"] if value is not None]
                found.setdefault(row.name, {}).setdefault(place.stem, []).extend(values)
    names = list(dict.fromkeys(name for scores in found.values() for name in scores))
    lines = [f"| row | pictures | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for name, scores in found.items():
        cells = [said(scores.get(measure, [])) for measure in names]
        lines.append(f"| {name} | {max(map(len, scores.values()))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n", found


def said(values: Sequence[float]) -> str:
    """Mean ± standard error."""
    if not values:
        return "–"
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1))
    return f"{mean:.4f} ± {spread / math.sqrt(len(values)):.4f}"


def claim(out: Path, told: Mapping[str, Any]) -> None:
    """Sign the folder. InputError where it belongs to another run."""
    place, mine = out / "protocol.json", json.loads(json.dumps(told))
    if place.is_file() and read_json(place) != mine:
        raise InputError(f"{out} holds a protocol with other settings ({place}): name another folder")
    out.mkdir(parents=True, exist_ok=True)
    with written(place) as part:
        part.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")


def prepare(asked: argparse.Namespace, plan: Plan) -> None:
    """Everything that commands read; refused before anything is run."""
    from motif.measure.encoders import load_encoder

    for features in ("clip", "dino"):
        load_encoder(asked.encoder, features, "cpu")
    claim(plan.out, {"protocol": asked.protocol, **plan.told()})
    for place, text in plan.texts.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with written(place) as part:
            part.write_text(text, encoding="utf-8")
    for place, target in plan.links.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(target.resolve())


def run(asked: argparse.Namespace) -> int:
    """Run what is not there; how many rows failed."""
    plan = Plan.of(asked)
    rows = PROTOCOLS[asked.protocol](asked.data, plan)
    if asked.rows:
        chosen, known = [name.strip() for name in asked.rows.split(";")], [row.name for row in rows]
        if strange := [name for name in chosen if name not in known]:
            raise InputError(f"no row {strange[0]}: there is {'; '.join(dict.fromkeys(known))}")
        rows = [row for row in rows if row.name in chosen]
    if not asked.print:
        prepare(asked, plan)
    runner, failed = Runner(dry=asked.print), dict[str, InputError]()
    for row in rows:
        try:
            runner.row(row)
        except InputError as error:
            failed[f"{row.case}: {row.name}"] = error
            print(f"{row.case}: {row.name}: {error}", file=sys.stderr, flush=True)
    if not asked.print:
        text, found = table(rows)
        text = (
            text + "".join(f"\n- {name} failed: {error}" for name, error in failed.items())
        ).rstrip() + "\n"
        for place, content in {"table.md": text, "table.json": json.dumps(found) + "\n"}.items():
            with written(plan.out / place) as part:
                part.write_text(content, encoding="utf-8")
        print(text, end="")
    return len(failed)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line, or these words, ask for."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("protocol", choices=[*PROTOCOLS])
    parser.add_argument("data", type=Path, help="the data set's own file")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=10, help="pictures of each prompt (pairs, subjects)")
    parser.add_argument("--limit", type=int, default=0, help="the first so many cases; 0 is all")
    parser.add_argument("--rows", default="", help="these alone, with ; between")
    parser.add_argument("--elite", default="", help="ELITE's encoder (subjects)")
    parser.add_argument("--settings", type=Path, default=here / "sd14", help="the settings files' folder")
    parser.add_argument("--changes", type=Path, default=here / "protocol.toml", help="what protocols change")
    parser.add_argument("--encoder", default="paper", help="of the measures: paper or pocket")
    parser.add_argument(
        "--device", default="", help="cpu, cuda, cuda:1...; the default is a GPU where there is one"
    )
    parser.add_argument("--print", action="store_true", help="tell the commands, and run none")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """The exit: 0, 1 where rows failed, 2 where nothing can be done."""
    try:
        return 1 if run(arguments(words)) else 0
    except (MotifError, OSError, tomllib.TOMLDecodeError) as error:
        print(f"protocol: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
