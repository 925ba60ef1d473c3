"""Captions that a merge holds in place: those of a file, or of the concepts' own priors and of the base's world.

pocket's world is `motif.pocket`'s (`data/captions.txt` there is made by `motif.pocket.captions`); of other bases, it is
the 213 captions of `data/captions.txt` here, written to say many different things.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.files import read_text
from motif.learn.examples import plain
from motif.learn.prior import WORDS
from motif.learn.survey import survey

log = logging.getLogger("motif")


def held_captions(
    base: Base, concepts: Sequence[Concept], given: str | Path | Sequence[str], count: int
) -> tuple[str, ...]:
    """At most `count` distinct captions. InputError where there are none; a class word that none says is told of."""
    if count < 1:
        raise InputError(f"count is {count}: a merge holds at least one caption")
    if not isinstance(given, str | Path):
        found, where = tuple(given), "the list"
    elif str(given):
        found, where = _lines(Path(given).expanduser()), str(given)
    else:
        found, where = _by_default(base, concepts), "the concepts' priors"
    lines = tuple(dict.fromkeys(filter(None, map(plain, found))))[:count]
    if not lines:
        raise InputError(
            f"no caption in {where}: give some that must not change (--captions FILE.txt, one per line)"
        )
    said = f" {' '.join(lines)} ".lower()
    for noun in {noun for concept in concepts for noun in concept.record.nouns.values() if noun}:
        if f" {noun.lower()} " not in said:
            log.warning(
                'none of the %d captions says "%s": the merge does not hold that word', len(lines), noun
            )
    return lines


def _by_default(base: Base, concepts: Sequence[Concept]) -> tuple[str, ...]:
    """The class prompts and class words; then a caption of each concept's priors and a general one in turn, so that
    none takes all the places."""
    nouns = [noun for concept in concepts for noun in concept.record.nouns.values() if noun]
    first = [prompt for concept in concepts for prompt in class_prompts_of(concept)]
    first += [f"photo of a {noun}" for noun in nouns]
    turns = zip_longest(*map(prior_captions, concepts), general_captions(base))
    return (*first, *(line for turn in turns for line in turn if line is not None))


def class_prompts_of(concept: Concept) -> Iterator[str]:
    """The class prompts of a concept's priors."""
    for told in priors_of(concept):
        classes = told["class_prompt"]
        yield from [classes] if isinstance(classes, str) else classes


def prior_captions(concept: Concept) -> Iterator[str]:
    """What a concept's priors show, as far as its record and this machine tell: the captions of their files or
    folders."""
    for told in priors_of(concept):
        prior = str(told["prior"])
        path = Path(prior).expanduser()
        if prior not in WORDS and not path.exists():
            log.warning("the prior %s of %s is not here any more", prior, " ".join(concept.tokens))
        elif prior not in WORDS and path.is_dir():
            yield from (file.caption for file in survey(path, opened=False).used if file.caption)
        elif prior not in WORDS:
            yield from _lines(path)


def priors_of(concept: Concept) -> list[dict[str, Any]]:
    """{prior, class_prompt} of a concept, or of each that was merged into it."""
    settings = concept.record.settings
    if "prior" not in settings:
        return list(settings.get("priors", ()))
    told = {"prior": settings["prior"], "class_prompt": settings.get("class_prompt") or []}
    return [] if told["prior"] == "none" else [told]


def _lines(path: Path) -> tuple[str, ...]:
    if path.suffix != ".txt" or not path.is_file():
        raise InputError(f"{path}: no such file of captions: a .txt file with one caption per line")
    return tuple(read_text(path).splitlines())


def general_captions(base: Base) -> tuple[str, ...]:
    """The captions that the package has for this base."""
    part = "pocket" if base.name == "pocket" else "learn"
    place = resources.files("motif") / part / "data" / "captions.txt"
    return tuple(place.read_text(encoding="utf-8").splitlines())
