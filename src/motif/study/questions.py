"""The questions that the papers put to people, by name, word for word; capitals and question marks are ours.

Each is asked with what its paper showed beside the two pictures: the prompt, photos of the concept, or the photo that
was edited. StyleDiffusion let people choose among four pictures at once; here its statement is asked of two.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from motif.errors import InputError

Exhibit = Literal["prompt", "references", "source"]


@dataclass(frozen=True)
class Question:
    """What is asked of two pictures, and what is shown beside them."""

    name: str
    text: str
    shows: tuple[Exhibit, ...]
    paper: str


CUSTOM_DIFFUSION = "Kumari et al. 2023, arXiv:2212.04488, section 4.3"
ELITE = "Wei et al. 2023, arXiv:2302.13848, section 4.4"
ICO_DCI = "Jin et al. 2024, arXiv:2412.04831, section 4.2"
STYLE_DIFFUSION = "Li et al. 2023, arXiv:2303.15649, section 5, figure 10"

QUESTIONS = {
    question.name: question
    for question in (
        Question("text", "Which image is more consistent with the text?", ("prompt",), CUSTOM_DIFFUSION),
        Question(
            "image",
            "Which image better represents the objects as shown in target images?",
            ("references",),
            CUSTOM_DIFFUSION,
        ),
        Question(
            "objects", "Which image better represents the objects in target images?", ("references",), ELITE
        ),
        Question(
            "both",
            "Which image is more consistent with both the target subject and the text?",
            ("prompt", "references"),
            ELITE,
        ),
        Question(
            "subject",
            "Which image contains the subject that is more similar to the provided reference images?",
            ("prompt", "references"),
            ICO_DCI,
        ),
        Question(
            "description",
            "Which image is more consistent with the textual description of the query prompt?",
            ("prompt", "references"),
            ICO_DCI,
        ),
        Question(
            "edit",
            "Which figure preserves the input image structure and matches the target prompt style?",
            ("prompt", "source"),
            STYLE_DIFFUSION,
        ),
    )
}


def asked(names: Iterable[str], *, references: bool, sources: bool) -> tuple[Question, ...]:
    """The questions of these names; of none, text, and image where there are references.

    Raises:
        InputError: a name that is unknown or twice there, a question whose exhibits are not given, exhibits that no
            question shows.
    """
    chosen = list(names) or (["edit"] if sources else ["text", *(["image"] if references else [])])
    for name in chosen:
        if name not in QUESTIONS:
            near = difflib.get_close_matches(name, QUESTIONS, n=1)
            raise InputError(
                f"no question {name}: {f'did you mean {near[0]}?' if near else ', '.join(QUESTIONS)}"
            )
        if chosen.count(name) > 1:
            raise InputError(f"the question {name} is asked twice: name it once")
    found = tuple(QUESTIONS[name] for name in chosen)
    for exhibit, given, option in (("references", references, "--refs"), ("source", sources, "--sources")):
        wanting = [question.name for question in found if exhibit in question.shows]
        if wanting and not given:
            raise InputError(f"the question {wanting[0]} is asked beside the {exhibit}: give {option}")
        if given and not wanting:
            raise InputError(
                f"{option}: none of the questions ({', '.join(chosen)}) shows them: leave it out"
            )
    return found
