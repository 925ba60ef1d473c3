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
where "prior" may name a folder of captioned photos, of which the nearest are retrieved, as in the paper; without it,
and in the other protocols, each method draws its own prior.

Settings are those of reproduction/sd14, and what protocol.toml says that a protocol changes of them. OUT/table.md has a
line for each row: mean ± standard error over all pictures of all cases, and how each number was measured. A stopped run
goes on; OUT belongs to the settings and data that it was begun with. What fails is named, the rest goes on, and the
exit is 1. `--print` tells the commands of what is not there, and runs none.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol_plan import Plan, Row, Words
from protocol_rows import PROTOCOLS
from protocol_table import PART, table

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

    def row(self, row: Row) -> list[InputError]:
        """Make, draw and measure what of a row is not there; pictures that could not be drawn. InputError where nothing
        can be measured."""
        missing = {place: words for place, words in row.scores.items() if not place.is_file()}
        if not missing:
            return []
        for place, words in row.makes:
            if not place.is_file():
                self.run((*words, "--resume") if goes_on(place) and words[0] == "learn" else words)
        lost = self.draw(row)
        wanted = len(row.draws) - len(lost) if all(draw.place for draw in row.draws) else 0
        for place, words in missing.items():
            printed = self.run(words)
            if not self.dry:
                if wanted and (found := len(json.loads(printed)["per_image"])) != wanted:
                    raise InputError(
                        f"{shlex.join(words)}: {found} pictures measured, and {wanted} are there"
                    )
                with written(place.with_suffix(PART) if lost else place) as part:
                    part.write_text(printed, encoding="utf-8")
        return lost

    def draw(self, row: Row) -> list[InputError]:
        """Draw the pictures that are not there; those that could not be drawn, where others could."""
        lost: list[InputError] = []
        for draw in row.draws:
            try:
                if draw.place is None or not draw.place.is_file():
                    self.run(draw.command)
            except InputError as error:
                lost.append(error)
                continue
            for link, picture in () if self.dry else draw.links:
                linked(link, picture)
        if len(lost) == len(row.draws):
            raise lost[0]
        return lost


def linked(link: Path, picture: Path) -> None:
    """Another name for a picture, wherever it lies by now."""
    if link.is_symlink() and link.readlink() != picture.resolve():
        link.unlink()
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(picture.resolve())


def goes_on(concept: Path) -> bool:
    """Whether a run that would make this concept was stopped behind a checkpoint."""
    return (concept.with_suffix(".run") / "state.pt").is_file()


def claim(signed: Mapping[Path, Mapping[str, Any]]) -> None:
    """Sign folders. InputError where one belongs to another run, before any is signed."""
    mine = {place: json.loads(json.dumps(told)) for place, told in signed.items()}
    new = {place: told for place, told in mine.items() if not place.is_file()}
    for place, told in mine.items():
        theirs = told if place in new else read_json(place)
        if other := sorted(key for key in told.keys() | theirs.keys() if told.get(key) != theirs.get(key)):
            raise InputError(
                f"{place.parent} was begun with other {' and '.join(other)}: name another folder"
            )
    for place, told in new.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with written(place) as part:
            part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def prepare(rows: Sequence[Row], protocol: str, plan: Plan) -> None:
    """Everything that commands read, and folders signed by what results in them depend on. InputError and MissingModel
    where a base or an encoder is not here."""
    from motif.base import Base
    from motif.measure.encoders import load_encoder
    from motif.tradeoff.digest import content

    if plan.elite and plan.elite != "pocket" and not Path(plan.elite).is_file():
        raise InputError(f"{plan.elite}: no such encoder of ELITE")
    dino = any("dino" in words for row in rows for words in row.scores.values())
    for features in ("clip", "dino") if dino else ("clip",):
        load_encoder(plan.encoder, features, "cpu")
    for name in sorted({str(told["base"]) for told in plan.read.values() if "base" in told}):
        Base.load(name, device="cpu")
    settings = {"settings": plan.read, "changes": plan.changes, "encoder": plan.encoder}
    settings |= {} if protocol == "edits" else {"-n": plan.n}
    settings |= {"ELITE": plan.elite and content(plan.elite) if Path(plan.elite).is_file() else plan.elite}
    signed = {plan.out / "protocol.json": {"protocol": protocol, **settings}}
    for name, case in plan.cases.items():
        photos = [content(photo) for photo in case.photos]
        signed[plan.out / name / "case.json"] = {"photos": photos, "words": case.told}
    claim(signed)
    for place, text in plan.texts.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with written(place) as part:
            part.write_text(text, encoding="utf-8")
    for link, photo in plan.links.items():
        linked(link, photo)


def require_possible(rows: Iterable[Row]) -> None:
    """InputError where a command is none of motif's, or two would leave the same file."""
    import click

    from motif.cli.app import app

    commands = dict[Words, None]()
    places = dict[Path, Words]()
    for row in rows:
        left = [*row.makes, *((draw.place, draw.command) for draw in row.draws if draw.place)]
        for place, words in left:
            if places.setdefault(place, words) != words:
                raise InputError(f"two commands would leave {place}: {shlex.join(words)}")
        commands |= dict.fromkeys([*(words for _, words in row.makes), *(draw.command for draw in row.draws)])
        commands |= dict.fromkeys(row.scores.values())
    for words in commands:
        command: Any = app
        told = [*words]
        try:
            while isinstance(command, click.Group):
                name, command, told = command.resolve_command(click.Context(command), told)
            with command.make_context(name, [*told]):
                pass
        except click.ClickException as error:
            raise InputError(f"motif {shlex.join(words)}: {error.format_message()}") from None
        for option in command.params:
            named = [word for word in told if word in (*option.opts, *option.secondary_opts)]
            if len(named) > 1 and not option.multiple and isinstance(option, click.Option):
                raise InputError(
                    f"{named[0]} is told twice, by the protocol and by what is changed: {shlex.join(words)}"
                )


def run(asked: argparse.Namespace) -> int:
    """Run what is not there; how much failed."""
    plan = Plan.of(asked, PROTOCOLS)
    every = PROTOCOLS[asked.protocol](asked.data, plan)
    plan.require_heard()
    chosen, known = [name.strip() for name in asked.rows.split(";") if name.strip()], [r.name for r in every]
    if strange := [name for name in chosen if name not in known]:
        raise InputError(f"no row {strange[0]}: there is {'; '.join(dict.fromkeys(known))}")
    require_possible(every)
    if not asked.print:
        prepare(every, asked.protocol, plan)
    runner, failed = Runner(dry=asked.print), list[str]()
    for row in [row for row in every if not chosen or row.name in chosen]:
        try:
            lost = runner.row(row)
        except InputError as error:
            lost = [error]
        failed += [f"{row.case}: {row.name}: {error}" for error in lost]
        for line in failed[len(failed) - len(lost) :]:
            print(line, file=sys.stderr, flush=True)
    if not asked.print:
        text, found = table(every)
        text = (text + "".join(f"\n- failed: {line}" for line in failed)).rstrip() + "\n"
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
    parser.add_argument("-n", type=int, help="pictures of each prompt (pairs, subjects); the default is 10")
    parser.add_argument("--limit", type=int, default=0, help="the first so many cases; 0 is all")
    parser.add_argument("--rows", default="", help="these alone, with ; between")
    parser.add_argument("--elite", default="", help="ELITE's encoder (subjects)")
    parser.add_argument("--settings", type=Path, default=here / "sd14", help="the settings files' folder")
    parser.add_argument(
        "--changes", type=Path, default=here / "protocol.toml", help="what protocols change of them"
    )
    parser.add_argument("--encoder", default="paper", help="of the measures: paper or pocket")
    parser.add_argument(
        "--device", default="", help="cpu, cuda, cuda:1...; the default is a GPU where there is one"
    )
    parser.add_argument("--print", action="store_true", help="tell the commands, and run none")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """The exit: 0, 1 where something failed, 2 where nothing can be done."""
    try:
        return 1 if run(arguments(words)) else 0
    except (MotifError, OSError) as error:
        print(f"protocol: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("protocol: stopped; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
