"""Photos of a concept with their prompts: the value that every `learn` method starts from.

    Examples("photos/cat", "photo of a <new1> cat")
        token      "<new1>"       the word to be learned, in angle brackets
        noun       "cat"          its class: the words behind the token
        photos     one Photo per file that `survey` found usable: its path, image, mask and caption

A photo's caption is NAME.txt beside it, or its line in metadata.jsonl, else the prompt. In caption files, `{concept}`
stands for the token with its noun ("<new1> cat").
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from motif.errors import InputError
from motif.images import Picture, mask_path, open_picture
from motif.learn.survey import File, Survey, survey
from motif.tokens import TOKEN

__all__ = ["Examples", "File", "Photo", "Survey", "check_token", "find_nouns", "find_tokens", "survey"]

log = logging.getLogger("motif")


OPENING = re.compile(r"(an? |the )?\w+ (of|in the style of) ((an?|the) )?", re.IGNORECASE)
"""What a prompt without a token says before it comes to its concept: "photo of a "."""

# A noun ends at the first of these, or at a comma or full stop.
BEHIND_NOUNS = frozenset(
    "a an and are as at before behind below beside between by during for from had has having he her his holding in "
    "inside into is it its lying near next of on onto or out outside over riding running she sitting sleeping standing "
    "that the their they through to under up was wearing were which while who whose with without".split()
)


@dataclass(frozen=True)
class Photo:
    """One example: a file, and the caption that it is learned with. It is read when it is looked at, and not kept."""

    path: Path
    caption: str
    captioned: bool = True  # the caption is the photo's own; else the prompt stands in for it

    @property
    def picture(self) -> Picture:
        """Opened: RGB, upright, with its mask and notes. InputError where that is no longer possible."""
        return open_picture(self.path)

    @property
    def image(self) -> Image.Image:
        return self.picture.image

    @property
    def mask(self) -> Image.Image | None:
        """White is the subject; None where there is no mask."""
        return self.picture.mask

    def record(self) -> list[str]:
        """Name, content and caption."""
        return [self.path.name, _digest(self.path), self.caption]


@dataclass(frozen=True)
class Examples:
    """Photos with prompts.

    Args:
        place: A folder, one picture, a list of pictures, or a survey of them whose remarks were told already.
        prompt: What they show, with the new word in angle brackets: "photo of a <new1> cat".
        token: The new word. The default is the first <word> of the prompt, and an error where there is none; None
            is for pictures that teach no word: a prior's, or a general concept's in plain words (card 1.3).
        noun: The token's class. The default is the words behind it ("cat"), "" where nothing follows.
        class_prompt: What the prior of this concept shows; the default is the method's.
        prior: The prior of this concept, as a method's `prior` says it; the default is the method's.
    Raises:
        InputError: no usable photo; a prompt or a caption without its token; a token not written as <name>.
    """

    place: str | Path | Sequence[str | Path] | Survey
    prompt: str
    _: KW_ONLY
    token: str | None = ""
    noun: str = ""
    class_prompt: str = ""
    prior: str = ""
    photos: tuple[Photo, ...] = field(init=False)

    def __post_init__(self) -> None:
        tokens = find_tokens(self.prompt)
        token = tokens[0] if self.token == "" and tokens else self.token
        if token == "":
            hint = 'write one in angle brackets, such as "photo of a <new1> cat"'
            raise InputError(f'the prompt "{self.prompt}" names no new word: {hint}')
        if token is not None:
            _require_token(_bracketed(token), self.prompt, "the prompt")
        elif tokens:
            raise InputError(
                f'the prompt "{self.prompt}" names {tokens[0]}, and these pictures teach no word: leave it out'
            )
        object.__setattr__(self, "token", token)
        object.__setattr__(self, "noun", self.noun or find_nouns(self.prompt).get(token or "", ""))
        looked = self.place if isinstance(self.place, Survey) else survey(self.place)
        remarks = (*looked.notices, *looked.problems) if looked is not self.place else ()
        for line in remarks if looked.used or len(looked.problems) > 1 else looked.notices:
            log.warning("%s", line)  # the only picture of all is told of by the error, if it is refused
        object.__setattr__(
            self,
            "photos",
            tuple(Photo(f.path, self._caption(f), f.caption is not None) for f in looked.require_used()),
        )

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every <token> of the prompt, in order."""
        return find_tokens(self.prompt)

    @property
    def nouns(self) -> dict[str, str]:
        """{token: its noun} of every token of the prompt, in order; `noun` stands for the first."""
        found = find_nouns(self.prompt)
        return {token: self.noun if token == self.token else found[token] for token in self.tokens}

    def record(self) -> list[list[str]]:
        """What a run remembers of its photos: name, content and caption of each."""
        return [photo.record() for photo in self.photos]

    def masks(self) -> list[str]:
        """What a run remembers of its photos' mask files: the content of each, "" where there is none."""
        files = [mask_path(photo.path) for photo in self.photos]
        return [_digest(file) if file.is_file() else "" for file in files]

    def told(self) -> dict[str, Any]:
        """What makes these examples anew, wherever one works: its place by its whole path."""
        place = self.place
        if isinstance(place, str | Path):
            where: Any = os.path.abspath(Path(place).expanduser())
        else:
            where = [os.path.abspath(photo.path) for photo in self.photos]
        return {
            "place": where,
            "prompt": self.prompt,
            "token": self.token,
            "noun": self.noun,
            "class_prompt": self.class_prompt,
            "prior": self.prior,
        }

    @property
    def phrase(self) -> str:
        """What `{concept}` stands for: the token with its noun ("<new1> cat"); the prompt's own words without one."""
        return f"{self.token} {self.noun}".strip() if self.token else self.noun or plain_words(self.prompt)

    def _caption(self, file: File) -> str:
        if file.caption is None:
            return self.prompt
        caption, where = file.caption.replace("{concept}", self.phrase), f"the caption of {file.path}"
        if self.token is None:
            if "{concept}" in file.caption:
                raise InputError(
                    f"{where} has {{concept}}, and these pictures teach no word: write what they show"
                )
            return plain(caption)
        if self.token:
            if strange := [token for token in find_tokens(caption) if token not in self.tokens]:
                raise InputError(
                    f'{where}, "{caption}", names {strange[0]}, which the prompt "{self.prompt}" does not'
                )
            _require_token(self.token, caption, where)
        return caption


def find_tokens(prompt: str) -> tuple[str, ...]:
    """The distinct <tokens> of a prompt, in order. InputError for angle brackets that make none."""
    for part in TOKEN.split(prompt):
        if stray := re.search(r"<[^<>]*>?|>", part):
            raise InputError(
                f'"{stray.group()}" in "{prompt}" is not a token: one word in angle brackets, such as <new1>'
            )
    return tuple(dict.fromkeys(TOKEN.findall(prompt)))


def plain_words(prompt: str) -> str:
    """What a prompt without a token is of: "tea pot" of "photo of a tea pot"."""
    return OPENING.sub("", prompt, count=1).strip()


def plain(caption: str) -> str:
    """A caption that names no token: angle brackets, as in captions from the web, are only signs."""
    return " ".join(re.sub("[<>]", " ", caption).split())


def find_nouns(prompt: str) -> dict[str, str]:
    """{token: its noun}: the words behind it up to a comma, a preposition or a verb; tokens in a row share one.

    "photo of a <new1> stuffed toy on a bench" -> {"<new1>": "stuffed toy"}; "" where no noun follows.
    """
    nouns: dict[str, str] = {}
    matches = list(TOKEN.finditer(prompt))
    for i in reversed(range(len(matches))):
        end = matches[i + 1].start() if i + 1 < len(matches) else len(prompt)
        behind = prompt[matches[i].end() : end]
        if not behind.strip() and i + 1 < len(matches):
            nouns.setdefault(matches[i].group(), nouns.get(matches[i + 1].group(), ""))
            continue
        words: list[str] = []
        for word in re.match(r"[^,.;:!?()]*", behind).group().split():  # pyright: ignore[reportOptionalMemberAccess]
            if word.lower() in BEHIND_NOUNS:
                break
            words.append(word)
        nouns[matches[i].group()] = " ".join(words)
    return nouns


def check_token(tokenizer: Any, token: str) -> None:
    """InputError where a token cannot be learned with this tokenizer: not <name>, or already in its vocabulary.

    Args:
        tokenizer: A transformers tokenizer.
        token: Such as "<new1>".
    """
    _bracketed(token)
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    if token in vocabulary or f"{token}</w>" in vocabulary:
        raise InputError(
            f"{token} is already a word of this model's vocabulary: choose another name, such as <new1>"
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _bracketed(token: str) -> str:
    if not TOKEN.fullmatch(token):
        bare = "".join(re.findall(r"[\w-]+", token)) or "new1"
        raise InputError(
            f'the token "{token}" must be written in angle brackets, <{bare}>: a plain word already has a meaning'
        )
    return token


def _require_token(token: str, prompt: str, where: str) -> None:
    if token not in find_tokens(prompt):
        hint = token if where == "the prompt" else f"{token} or {{concept}}"
        raise InputError(
            f'{where}, "{prompt}", does not name {token}: write {hint} where the concept is meant'
        )
