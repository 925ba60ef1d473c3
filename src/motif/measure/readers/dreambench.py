"""DreamBench: 30 subjects and 25 prompts for each, other ones for live subjects (Ruiz et al. 2023).

    DreamBooth's   "a <new1> cat in the jungle"                ELITE's   "a <new1> in the jungle"     (no class noun)

The prompts are facts of the benchmark (ELITE card, 8.1, lists them); the subjects with their classes are read from its
`prompts_and_classes.txt`, the photos lie beside it in a folder for each subject.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from motif.errors import InputError
from motif.files import read_text

SHARED = (
    "in the jungle", "in the snow", "on the beach", "on a cobblestone street", "on top of pink fabric",
    "on top of a wooden floor", "with a city in the background", "with a mountain in the background",
    "with a blue house in the background", "on top of a purple rug in a forest",
)  # fmt: skip
OBJECT = (
    "with a wheat field in the background", "with a tree and autumn leaves in the background",
    "with the Eiffel Tower in the background", "floating on top of water", "floating in an ocean of milk",
    "on top of green grass with sunflowers around it", "on top of a mirror",
    "on top of the sidewalk in a crowded street", "on top of a dirt road", "on top of a white rug",
)  # fmt: skip
LIVE = (
    "wearing a red hat", "wearing a santa hat", "wearing a rainbow scarf", "wearing a black top hat and a monocle",
    "in a chef outfit", "in a firefighter outfit", "in a police outfit", "wearing pink glasses",
    "wearing a yellow shirt", "in a purple wizard outfit",
)  # fmt: skip
BEFORE = ("red", "purple", "shiny", "wet", "cube shaped")

ALIVE = frozenset({"cat", "dog"})
"""The classes of the benchmark's live subjects."""

Kind = Literal["object", "live"]


@dataclass(frozen=True)
class DreamBench:
    """One subject."""

    name: str  # "backpack_dog"
    noun: str  # "backpack"
    photos: Path

    @property
    def kind(self) -> Kind:
        return "live" if self.noun in ALIVE else "object"

    def prompts(self, token: str = "<new1>") -> list[str]:
        """Its 25 prompts to draw: with the token and the class noun."""
        return dreambench_prompts(self.kind, f"{token} {self.noun}")


def dreambench_prompts(kind: Kind, subject: str) -> list[str]:
    """The 25 prompts of an object or a live subject, called "<new1> cat" (DreamBooth), "<new1>" (ELITE), or "cat"."""
    if kind not in ("object", "live") or not subject.strip():
        raise InputError(
            f"prompts of kind {kind!r} for {subject!r}: use object or live, and name the subject"
        )
    places = [*SHARED, *(OBJECT if kind == "object" else LIVE)]
    return [f"a {subject} {place}" for place in places] + [f"a {word} {subject}" for word in BEFORE]


def dreambench(path: str | Path) -> list[DreamBench]:
    """The subjects of a `prompts_and_classes.txt`, in its order.

    Raises:
        InputError: no such file, or one without a table of subjects and classes.
    """
    file = Path(path).expanduser()
    found: list[DreamBench] = []
    inside = False
    for line in (line.strip() for line in read_text(file).splitlines()):
        if line == "subject_name,class":
            inside = True
        elif inside and line.count(",") == 1:
            name, noun = (part.strip() for part in line.split(","))
            found.append(DreamBench(name, noun, file.parent / name))
        elif inside and line:
            break
    if not found:
        raise InputError(f'{file}: holds no table "subject_name,class"')
    return found
