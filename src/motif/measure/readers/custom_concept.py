"""CustomConcept101: 101 concepts with 3 to 15 photos each, and 101 pairs of them (Kumari et al. 2023).

    dataset.json                [{instance_prompt, class_prompt, instance_data_dir, class_data_dir, prompt_filename}]
    dataset_multiconcept.json   [[concept, concept, {prompt_filename_compose}]], tokens <new1> and <new2>
    prompts/*.txt               one a line, {} for the concept; {0} and {1} for those of a pair

Customization card, 4.3. A prompt is filled with "<new1> cat" to draw and with "cat" to score.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from motif.errors import InputError
from motif.files import read_text
from motif.tokens import TOKEN

Made = TypeVar("Made")
FIELDS = ("instance_prompt", "class_prompt", "instance_data_dir", "class_data_dir", "prompt_filename")
PLACE = re.compile(r"\{(\d*)\}")


@dataclass(frozen=True)
class BenchmarkConcept:
    """One concept of the benchmark; folders and prompt files are looked for when they are used."""

    name: str  # "pet_cat1": its photos' folder
    token: str  # "<new1>"
    noun: str  # "cat"
    caption: str  # "photo of a <new1> cat"
    photos: Path
    prior: Path
    prompt_file: Path

    def prompts(self, *, token: bool = True) -> list[str]:
        """Its prompts, filled to draw (with the token) or to score (without)."""
        return filled(self.prompt_file, [self._named(token)])

    def _named(self, token: bool) -> str:
        return f"{self.token} {self.noun}" if token else self.noun


@dataclass(frozen=True)
class BenchmarkPair:
    """Two concepts and the prompts that show both."""

    first: BenchmarkConcept
    second: BenchmarkConcept
    prompt_file: Path

    @property
    def name(self) -> str:
        return f"{self.first.name}+{self.second.name}"

    def prompts(self, *, token: bool = True) -> list[str]:
        """The prompts of both, filled to draw (with the tokens) or to score (without)."""
        both = (self.first, self.second)
        return filled(self.prompt_file, [f"{c.token} {c.noun}" if token else c.noun for c in both])


def single_concepts(path: str | Path) -> list[BenchmarkConcept]:
    """The concepts of a dataset.json; its paths count from its folder.

    Raises:
        InputError: no such file, or an entry that is not of this form, by its number.
    """
    return _each(path, _concept)


def concept_pairs(path: str | Path) -> list[BenchmarkPair]:
    """The pairs of a dataset_multiconcept.json; its paths count from its folder.

    Raises:
        InputError: no such file, or an entry that is not of this form, by its number.
    """
    return _each(path, _pair)


def filled(path: Path, names: Sequence[str]) -> list[str]:
    """A prompt file's lines with the names in their places ({}, or {0} and {1}).

    Raises:
        InputError: no such file, no prompts, or a line without a place for a name, by its number.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: holds no prompts")
    for i, line in enumerate(lines, 1):
        places = [int(place or 0) for place in PLACE.findall(line)]
        if not places or max(places) >= len(names):
            raise InputError(f"{path}: line {i} has no place for {' and '.join(names)}: {line}")
    return [PLACE.sub(lambda match: names[int(match[1] or 0)], line) for line in lines]


def _each(path: str | Path, make: Callable[[Path, Any], Made]) -> list[Made]:
    """What `make` makes of the folder and every entry of a JSON list."""
    file = Path(path).expanduser()
    text, made = read_text(file), list[Made]()
    try:
        entries = list(json.loads(text))
    except (ValueError, TypeError) as error:
        raise InputError(f"{file}: holds no JSON list of concepts: {error}") from None
    for i, entry in enumerate(entries):
        try:
            made.append(make(file.parent, entry))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file}: entry {i} is not one of CustomConcept101 ({type(error).__name__}: {error})"
            ) from None
    if not made:
        raise InputError(f"{file}: holds no concepts")
    return made


def _concept(home: Path, entry: Any) -> BenchmarkConcept:
    told = {key: str(entry[key]) for key in FIELDS}
    tokens = TOKEN.findall(told["instance_prompt"])
    if len(tokens) != 1:
        raise ValueError(f"instance_prompt {told['instance_prompt']!r} has not one token")
    photos = home / told["instance_data_dir"]
    return BenchmarkConcept(
        name=photos.name,
        token=tokens[0],
        noun=told["class_prompt"],
        caption=told["instance_prompt"],
        photos=photos,
        prior=home / told["class_data_dir"],
        prompt_file=home / told["prompt_filename"],
    )


def _pair(home: Path, entry: Any) -> BenchmarkPair:
    first, second, compose = entry
    return BenchmarkPair(
        _concept(home, first), _concept(home, second), home / str(compose["prompt_filename_compose"])
    )
