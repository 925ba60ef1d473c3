"""The concepts of a spec, their photos looked at, and what is asked of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from motif.errors import InputError
from motif.learn.examples import Examples, find_nouns, survey
from motif.pocket.concepts import held_out
from motif.tradeoff import spec as asked
from motif.tradeoff.jobs import Photos
from motif.tradeoff.spec import nearest

TOKEN = "<new1>"
WORD = re.compile(r"\{\w*\}")

START = "initial"
"""A method's setting that says what its word starts from, where no noun says it."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A concept as it is learned: examples, and the prompts that it is asked with."""

    name: str
    examples: Examples
    photos: Photos
    prompts: tuple[str, ...]  # {concept} still in them
    own: Mapping[str, str]  # settings of learning that are this concept's, where a method has them

    @cached_property
    def references(self) -> tuple[str, ...]:
        return tuple(str(photo.path) for photo in self.examples.photos)

    @cached_property
    def alone(self) -> Subject:
        """The concept by its word without the noun, "photo of a <new1>"; what has no noun is the same.

        InputError where something else than the noun stands behind the word.
        """
        shown = self.examples
        if not shown.noun:
            return self
        token, prompt = str(shown.token), shown.prompt
        if noun := find_nouns(prompt)[token]:
            behind = r"\s+".join(map(re.escape, noun.split()))
            prompt = re.sub(rf"({re.escape(token)})\s+{behind}(?!\w)", r"\1", prompt)
        if find_nouns(prompt)[token]:
            raise InputError(
                f'{self.name}: in "{prompt}" no noun that could be left out stands right behind {token} (noun = false)'
            )
        examples = Examples(survey(self.photos.folder), prompt)  # its remarks were told
        if named := [one for one in examples.photos if find_nouns(one.caption).get(token)]:
            raise InputError(f'{named[0].path}: its caption "{named[0].caption}" has the noun behind {token}, and '
                             "noun = false leaves it out: write {} for the word there")  # fmt: skip
        own = {"class_prompt": f"photo of a {shown.noun}", **self.own, START: shown.noun}
        return replace(self, examples=examples, photos=Photos(self.photos.folder, prompt, ""), own=own)

    def said(self, learned: bool) -> list[str]:
        """The prompts with the new word, or with the class word alone."""
        words = self.examples.phrase if learned else self.examples.noun or self.examples.phrase
        return [prompt.replace("{concept}", words) for prompt in self.prompts]


def look_at(concept: asked.Concept, spec: asked.Spec) -> Subject:
    """A concept, its photos looked at. InputError where they or a prompt cannot be used."""
    places = concept.places
    if concept.photos:
        folder, examples = concept.photos, Examples(concept.photos, concept.prompt, noun=concept.noun)
    else:
        known = {each.name: each for each in held_out()}
        if concept.name not in known:
            hint = nearest(concept.name, [*known])
            raise InputError(f"no held-out object {concept.name}{hint}; others need photos and a prompt")
        object_ = known[concept.name]
        places, folder = places or object_.places, str(object_.folder)
        examples = Examples(folder, f"photo of a {TOKEN} {object_.noun}")
    prompts: list[str] = []
    for prompt in concept.prompts or spec.prompts:
        if "{place}" in prompt and not places:
            raise InputError(
                f'{concept.name}: "{prompt}" wants places, and this concept has none: name `places`'
            )
        if strange := [word for word in WORD.findall(prompt) if word not in ("{concept}", "{place}")]:
            raise InputError(
                f'"{prompt}": nothing stands for {strange[0]}: there is {{concept}} and {{place}}'
            )
        prompts += [prompt.replace("{place}", p) for p in places] if "{place}" in prompt else [prompt]
    photos = Photos(folder, examples.prompt, examples.noun)
    own = {name: told for name in ("prior", "class_prompt") if (told := getattr(concept, name))}
    return Subject(concept.name, examples, photos, tuple(dict.fromkeys(prompts)), own)
