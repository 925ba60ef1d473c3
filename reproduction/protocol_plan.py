"""What a protocol of `protocol.py` is made of: cases, rows, and the commands that make, draw and measure them."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import read_text

Words = tuple[str, ...]
TOKEN = "<new1>"
ALONE = "textual-inversion"
"""Its word stands without the noun that it starts from, as in the papers."""


def toml(path: Path) -> dict[str, Any]:
    """What a file says. InputError where it is not there, or not TOML."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from None


@dataclass(frozen=True)
class Draw:
    """A command that draws: one picture, or a folder of them, with which it goes on where it stopped."""

    command: Words
    place: Path | None = None  # the picture
    links: tuple[tuple[Path, Path], ...] = ()  # (a name by which measures look for one, that picture)


@dataclass(frozen=True)
class Row:
    """A line of the table, of one case."""

    case: str
    name: str
    makes: tuple[tuple[Path, Words], ...]  # (the file that a command leaves, the command), in order
    draws: tuple[Draw, ...]
    scores: Mapping[Path, Words]  # MEASURE.json: the measure's command


@dataclass(frozen=True)
class Case:
    """A pair, a subject, or an object with its pictures: what results of it depend on."""

    photos: tuple[Path, ...]
    told: Any  # what the data set says of it


@dataclass
class Plan:
    """Where everything lies, and with what settings commands run."""

    out: Path
    settings: Path
    changes: Mapping[str, Mapping[str, Any]]  # of this protocol, by settings file
    n: int
    limit: int
    elite: str
    encoder: str
    device: Words
    cases: dict[str, Case] = field(default_factory=dict[str, Case])
    texts: dict[Path, str] = field(default_factory=dict[Path, str])  # files that commands read
    links: dict[Path, Path] = field(default_factory=dict[Path, Path])  # photos by other names
    read: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    heard: set[str] = field(default_factory=set[str])

    @staticmethod
    def of(asked: argparse.Namespace, protocols: Iterable[str]) -> Plan:
        """As the command line asks. InputError where a number is none, or what is changed is of no protocol."""
        if (asked.n is not None and asked.n < 1) or asked.limit < 0:
            raise InputError("-n is 1 or more, --limit 0 or more")
        if asked.n is not None and asked.protocol == "edits":
            raise InputError("-n is of prompts, and edits has none: it draws what the paper did")
        if asked.elite and asked.protocol != "subjects":
            raise InputError(f"--elite is of subjects: {asked.protocol} encodes nothing")
        told = toml(asked.changes)
        if strange := told.keys() - {*protocols}:
            raise InputError(f"{asked.changes}: no protocol {min(strange)}: there is {', '.join(protocols)}")
        for name, files in told.items():
            if not (isinstance(files, dict) and all(isinstance(one, dict) for one in files.values())):
                raise InputError(
                    f"{asked.changes}: {name} is no table of settings files, [{name}.dreambooth]"
                )
        return Plan(
            out=asked.out.resolve(),
            settings=asked.settings,
            changes=told.get(asked.protocol, {}),
            n=asked.n or 10,
            limit=asked.limit,
            elite=asked.elite,
            encoder=asked.encoder,
            device=("--device", asked.device) if asked.device else (),
        )

    def case(self, name: str, photos: Sequence[Path], told: Any) -> Path:
        """Where a case has its place. InputError where it cannot: its name, or photos that are not there."""
        from motif.features.pictures import gather

        if not name or Path(name).name != name or name in ("..", "table.md", "table.json", "protocol.json"):
            raise InputError(f'"{name}" is no name for a case: it is a folder\'s')
        if name in self.cases:
            raise InputError(f"{name} is there twice: names tell cases apart")
        for place in photos:
            gather(str(place), f"photos of {name}")
        self.cases[name] = Case(tuple(photos), told)
        return self.out / name

    def file(self, name: str) -> Mapping[str, Any]:
        """A settings file with this protocol's changes. InputError where it is not there."""
        if name not in self.read:
            self.read[name] = toml(self.settings / f"{name}.toml")
        self.heard.add(name)
        return {**self.read[name], **self.changes.get(name, {})}

    def using(self, name: str, *, as_: str = "") -> Words:
        """The words that settings of a file take on a command line, and what this protocol changes of them, under the
        file's name or another."""
        self.file(name)
        self.heard.add(as_ or name)
        words = ["--config", str(self.settings / f"{name}.toml")]
        for key, value in self.changes.get(as_ or name, {}).items():
            option = key.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                words += [
                    w
                    for one in (value if isinstance(value, list) else [value])
                    for w in (f"--{option}", str(one))
                ]
        return (*words, *self.device)

    def require_heard(self) -> None:
        """InputError where a change is of no file that the protocol uses."""
        if unheard := self.changes.keys() - self.heard:
            raise InputError(
                f"nothing uses the changes of {min(unheard)}: there is {', '.join(sorted(self.heard))}"
            )

    def few(self, cases: Sequence[Any]) -> Sequence[Any]:
        """The first of them, as many as are asked for."""
        return cases[: self.limit or None]

    def said(self, place: Path, prompts: Sequence[str], times: int = 1) -> Path:
        """A file with a prompt a line, each so often."""
        self.texts[place] = "".join(f"{prompt}\n" * times for prompt in prompts)
        return place

    def learn(
        self, method: str, place: Path, photos: Path, caption: str, *more: str, start: str, token: str = TOKEN
    ) -> tuple[Path, Words]:
        """A concept from photos; where the word stands alone, it starts from a phrase."""
        if method == ALONE:
            caption, more = f"{caption.partition(token)[0]}{token}", (*more, "--initial", start)
        return place, ("learn", method, str(photos), caption, *self.using(method), *more, "-o", str(place))

    def draw(self, sampler: str, prompts: Path, worn: Sequence[Path], drawn: Path) -> Draw:
        """Pictures of a file of prompts."""
        file = "sample-elite" if sampler == "elite" else "sample-ddpm"
        wear = [word for place in worn for word in ("--wear", str(place))]
        return Draw(
            ("sample", sampler, str(prompts), *self.using(file), *wear, "-n", str(self.n), "-o", str(drawn))
        )

    def measure(self, home: Path, **told: Sequence[str | Path]) -> dict[Path, Words]:
        """{HOME/NAME.json: the command of a measure, its words told}."""
        more = ("--encoder", self.encoder, *self.device, "--json")
        return {home / f"{name}.json": ("measure", *map(str, words), *more) for name, words in told.items()}
