"""`motif learn --again CONCEPT -o ANOTHER`: the run that made a concept once more, from the concept's own record.

What is given beside it stands in the place of what is recorded: a setting, the photos (which may have moved), the
prompt, the base. Photos, masks, prior and worn concepts are known by their contents: where one is another than it was,
and was not named anew, the run does not begin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motif.cli.command import Methods
from motif.errors import InputError

if TYPE_CHECKING:
    from motif.base import Base
    from motif.concept import Concept
    from motif.learn.examples import Examples

OPTION = "--again"

DEPENDING = {
    "photos": ("photos", "concepts", "prompt", "noun", "no_token"),
    "masks": ("photos", "concepts", "masked"),
    "prior_content": (
        "photos", "concepts", "prompt", "noun", "no_token", "prior", "prior_count", "class_prompt", "retrieve",
        "retrieve_threshold", "retrieve_encoder",
    ),
}  # fmt: skip
"""What each digest is made of: where the user gives one of these, it may be another."""

PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class Learn(Methods):
    """The methods, and `--again CONCEPT` in the place of a method's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the recorded method's name in front."""
        where = next((i for i, word in enumerate(args) if word.partition("=")[0] == OPTION), None)
        if where is not None and args[0].startswith("-"):
            file = args[where].partition("=")[2] or "".join(args[where + 1 : where + 2])
            if file:
                args = [_recorded(Path(file)).record.method, *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, eq=False)
class Again:
    """A concept whose run is repeated, and what the user gave beside it, by the parameters' names."""

    path: Path
    concept: Concept
    given: frozenset[str]

    @staticmethod
    def of(path: Path, method: str, output: Path, given: frozenset[str]) -> Again:
        """InputError where it cannot be repeated by this method, into this output."""
        concept = _recorded(path)
        if output.exists() and output.samefile(path.expanduser()):
            raise InputError(f"{output}: is the concept that is repeated: name another file")
        if concept.record.method != method:
            raise InputError(
                f"{path} was learned by {concept.record.method}: repeat it by that, or leave --again out"
            )
        if concept.record.settings.get("worn") and "wear" not in given:
            raise InputError(
                f"{path} was learned on a base that wore {len(concept.record.settings['worn'])} more: give what it "
                "wore, in the same order (--wear)"
            )
        return Again(path, concept, given)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the record, without the digests of what the user names anew."""
        moved = {digest for digest, names in DEPENDING.items() if self.given & {*names}}
        return {name: value for name, value in self.concept.record.settings.items() if name not in moved}

    def known(self, names: Sequence[str]) -> dict[str, Any]:
        """The recorded settings among those of these names."""
        from motif.learn.teach import HANDLED
        from motif.learn.training import repeated

        return repeated(self.settings, names, self.given & {*names} - {*HANDLED})

    def base(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """--base and --precision, of the record where they are not given."""
        record = self.concept.record
        known = {"base": record.base.name, "precision": PRECISIONS.get(str(record.settings.get("precision")))}
        return {name: values[name] if name in self.given else value for name, value in known.items()}

    def require_base(self, base: Base) -> None:
        """InputError where the base of that name has other weights now."""
        if "base" not in self.given:
            self.concept.record.base.require(base.origin, who=str(self.path), other_base=False)

    def examples(self, photos: str | None, prompt: str | None, values: Mapping[str, Any]) -> list[Examples]:
        """The recorded ones, with what the user gave in its place."""
        from motif.learn.examples import Examples

        told: Sequence[Mapping[str, Any]] = self.concept.record.settings["again"]["examples"]
        if len(told) > 1 and (photos or prompt or values["noun"] or values["no_token"]):
            raise InputError(
                f"{self.path} holds {len(told)} concepts: name other photos and prompts by --concepts FILE.json"
            )
        new: dict[str, Any] = {"place": photos} if photos else {}
        new |= {"prompt": prompt, "token": "", "noun": "", "class_prompt": ""} if prompt else {}
        new |= {"noun": values["noun"]} if values["noun"] else {}
        new |= {"token": None} if values["no_token"] else {}
        found = [{**one, **new} for one in told]
        for one in found:
            self._require_there(one["place"])
        return [Examples(**one) for one in found]

    def _require_there(self, place: str | Sequence[str]) -> None:
        paths = [place] if isinstance(place, str) else place
        if lost := [path for path in paths if not Path(path).expanduser().exists()]:
            raise InputError(
                f"the photos of {self.path} are not at {lost[0]} any more: bring them back, or say where they are "
                f"(motif learn --again {self.path} PHOTOS)"
            )


def _recorded(path: Path) -> Concept:
    """A concept whose record says how to learn it. InputError where it does not."""
    from motif.concept import Concept
    from motif.methods import table

    concept = Concept.load(path.expanduser())
    if concept.record.method not in table("learn"):
        raise InputError(
            f"{path} was made by {concept.record.method}: only what `motif learn` learned can be repeated"
        )
    if "again" not in concept.record.settings:
        raise InputError(
            f"{path} does not say where its photos are: learn it with its method, PHOTOS and PROMPT"
        )
    return concept
