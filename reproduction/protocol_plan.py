"""What a protocol of `protocol.py` is made of: rows, and the commands of motif that make, draw and measure them."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import read_text

Words = tuple[str, ...]
TOKEN = "<new1>"
ALONE = "textual-inversion"
"""Its word stands without the noun that it starts from, as in the papers."""


@dataclass(frozen=True)
class Row:
    """A line of the table, of one case."""

    case: str
    name: str
    makes: tuple[tuple[Path, Words], ...]  # (the file that a command leaves, the command), in order
    draws: tuple[tuple[Path | None, Words], ...]  # likewise; None: the command goes on where it stopped
    scores: Mapping[Path, Words]  # MEASURE.json: the measure's command


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
    texts: dict[Path, str] = field(default_factory=dict[Path, str])  # files that commands read
    links: dict[Path, Path] = field(
        default_factory=dict[Path, Path]
    )  # pictures by the names that measures want
    read: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @staticmethod
    def of(asked: argparse.Namespace) -> Plan:
        """As the command line asks. InputError where a number is none."""
        if asked.n < 1 or asked.limit < 0:
            raise InputError("-n is 1 or more, --limit 0 or more")
        return Plan(
            out=asked.out.resolve(),
            settings=asked.settings,
            changes=tomllib.loads(read_text(asked.changes)).get(asked.protocol, {}),
            n=asked.n,
            limit=asked.limit,
            elite=asked.elite,
            encoder=asked.encoder,
            device=("--device", asked.device) if asked.device else (),
        )

    def file(self, name: str) -> Mapping[str, Any]:
        """A settings file. InputError where it is not there."""
        if name not in self.read:
            self.read[name] = tomllib.loads(read_text(self.settings / f"{name}.toml"))
        return self.read[name]

    def using(self, name: str, *, changed: bool = False) -> Words:
        """The words that settings of a file take on a command line, and with `changed` this protocol's changes."""
        self.file(name)
        words = ["--config", str(self.settings / f"{name}.toml")]
        for key, value in self.changes.get(name, {}).items() if changed else ():
            option = key.replace("_", "-")
            words += (
                [f"--{'' if value else 'no-'}{option}"]
                if isinstance(value, bool)
                else [f"--{option}", str(value)]
            )
        return (*words, *self.device)

    def told(self) -> dict[str, Any]:
        """What results depend on."""
        settings = {"settings": self.read, "changes": self.changes}
        return settings | {"n": self.n, "elite": self.elite, "encoder": self.encoder}

    def few(self, cases: Sequence[Any]) -> Sequence[Any]:
        """The first of them, as many as are asked for."""
        return cases[: self.limit or None]

    def said(self, place: Path, prompts: Sequence[str], times: int = 1) -> Path:
        """A file with a prompt a line, each so often."""
        self.texts[place] = "".join(f"{prompt}\n" * times for prompt in prompts)
        return place

    def learn(
        self, method: str, place: Path, photos: Path, caption: str, *more: str, start: str, token: str = TOKEN,
        changed: bool = False,
    ) -> tuple[Path, Words]:  # fmt: skip
        """A concept from photos; where the word stands alone, it starts from a phrase."""
        if method == ALONE:
            caption, more = f"{caption.partition(token)[0]}{token}", (*more, "--initial", start)
        using = self.using(method, changed=changed)
        return place, ("learn", method, str(photos), caption, *using, *more, "-o", str(place))

    def draw(self, sampler: str, prompts: Path, worn: Sequence[Path], drawn: Path) -> Words:
        """Pictures of a file of prompts."""
        file = "sample-elite" if sampler == "elite" else "sample-ddpm"
        wear = [word for place in worn for word in ("--wear", str(place))]
        return (
            "sample",
            sampler,
            str(prompts),
            *self.using(file),
            *wear,
            "-n",
            str(self.n),
            "-o",
            str(drawn),
        )

    def measure(self, home: Path, **told: Sequence[str | Path]) -> dict[Path, Words]:
        """{HOME/NAME.json: the command of a measure, its words told}."""
        more = ("--encoder", self.encoder, *self.device)
        return {home / f"{name}.json": ("measure", *map(str, words), *more) for name, words in told.items()}
