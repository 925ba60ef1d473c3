"""Prompts: cut into tokens, learned vectors spliced in, and encoded into a `Text` that knows its words.

A learned token such as `<new1>` never enters the tokenizer. The prompt is cut at it, ordinary tokens stand in for its
vectors, and one hook on the token embedding puts the vectors in their place for the length of the encoder's call:

    e_j = E[id_j]  for ordinary tokens,   e_j = v_i  for the i-th vector of a learned token

So gradients reach each vector alone, the embedding table is untouched, and every row may carry its own vectors.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from motif.errors import InputError
from motif.tokens import TOKEN

log = logging.getLogger("motif")

WORD = re.compile(rf"{TOKEN.pattern}|(?:(?!{TOKEN.pattern})[^\s,.;:!?])+")
"""A learned token, or a word without the signs around it."""

STAND_IN = 0
"""The ordinary id that holds a learned vector's place; the hook replaces its embedding."""


@dataclass(frozen=True)
class Tokens:
    """One prompt in one tokenizer's tokens, padded to the encoder's length."""

    prompt: str
    ids: tuple[int, ...]
    chars: tuple[
        tuple[int, int] | None, ...
    ]  # the stretch of the prompt that each position reads; None for specials
    splices: tuple[tuple[int, str, int], ...]  # (position, learned token, which of its vectors)
    end: int  # the position of the first end-of-text

    def span(self, phrase: str, *, occurrence: int = 0) -> slice:
        """The positions of a word or phrase. Several tokens make one span; letter case is ignored.

        Raises InputError where the prompt does not hold it (as whole words).
        """
        found = _whole(phrase, self.prompt)
        if len(found) <= occurrence:
            raise InputError(f'"{phrase}" is not in the prompt "{self.prompt}"')
        first, last = found[occurrence].span()
        hits = [i for i, c in enumerate(self.chars) if c and c[0] < last and c[1] > first]
        if not hits:
            raise InputError(
                f'"{phrase}" lies behind the encoder\'s last token in "{self.prompt}": shorten the prompt'
            )
        return slice(hits[0], hits[-1] + 1)

    def words(self) -> list[tuple[str, slice]]:
        """Every word and learned token of the prompt with its positions, in order."""
        spans: list[tuple[str, slice]] = []
        for match in WORD.finditer(self.prompt):
            hits = [i for i, c in enumerate(self.chars) if c and c[0] < match.end() and c[1] > match.start()]
            if hits:
                spans.append((match.group(), slice(hits[0], hits[-1] + 1)))
        return spans


def _whole(phrase: str, prompt: str) -> list[re.Match[str]]:
    """Where the phrase stands as whole words; a learned token is whole wherever it stands, and never cut."""
    words = phrase.split()
    if not words:
        return []
    before = r"(?<!\w)" if re.match(r"\w", words[0]) else ""
    after = r"(?!\w)" if re.search(r"\w$", words[-1]) else ""
    pattern = before + r"\s+".join(map(re.escape, words)) + after
    learned = [match.span() for match in TOKEN.finditer(prompt)]

    def uncut(match: re.Match[str]) -> bool:
        first, last = match.span()
        return all(last <= a or b <= first or (first <= a and b <= last) for a, b in learned)

    return [match for match in re.finditer(pattern, prompt, flags=re.IGNORECASE) if uncut(match)]


@dataclass(frozen=True, eq=False)
class Text:
    """Encoded prompts, one per image, or one for all."""

    prompts: tuple[str, ...]
    states: Tensor  # [image or 1, word, channel]: what cross-attention reads
    pooled: Tensor | None  # [image or 1, channel]: SDXL's added condition
    tokens: tuple[Tokens, ...]

    def span(self, phrase: str, *, image: int = 0, occurrence: int = 0) -> slice:
        """The positions of a phrase in that image's prompt."""
        return self.tokens[min(image, len(self.tokens) - 1)].span(phrase, occurrence=occurrence)

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True, eq=False)
class Reader:
    """A tokenizer with its text encoder, and which hidden states the denoiser reads."""

    tokenizer: Any
    encoder: Any
    penultimate: bool = False  # SDXL reads the last layer but one

    @property
    def length(self) -> int:
        """How many positions the encoder has (77)."""
        return int(min(self.tokenizer.model_max_length, self.encoder.config.max_position_embeddings))

    @property
    def width(self) -> int:
        """The size of a token vector (768 in SD1)."""
        return int(self.encoder.get_input_embeddings().embedding_dim)

    def token_id(self, entry: str) -> int:
        """The id of a vocabulary entry by its name, never by tokenising text: "ktn" is 42170 in CLIP (card 1.3).

        A mid-word piece is taken first, then the word ("ucd" means `ucd` before `ucd</w>`). InputError if neither is
        in the vocabulary.
        """
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        for name in (entry, f"{entry}</w>"):
            if name in vocabulary:
                return vocabulary[name]
        raise InputError(
            f'"{entry}" is not an entry of the tokenizer\'s vocabulary: name one that is, such as ktn'
        )

    def tokenise(self, prompt: str, lengths: Mapping[str, int]) -> Tokens:
        """Cut a prompt; `lengths` says how many vectors each learned token has.

        InputError for a `<token>` that nobody has learned, and where a learned token would fall behind the last
        position. Ordinary words there are dropped with a warning.
        """
        pieces, bos, eos = (
            list(self._pieces(prompt, lengths)),
            self.tokenizer.bos_token_id,
            self.tokenizer.eos_token_id,
        )
        room = self.length - 2
        lost = [splice[0] for _, _, splice in pieces[room:] if splice]
        if lost:
            raise InputError(f'the prompt is too long: {lost[0]} falls behind token {room} of "{prompt}"')
        if pieces[room:]:
            _tell_lost(prompt, pieces[room][1][0], room)
        pieces = pieces[:room]
        pad, rest = self.tokenizer.pad_token_id, room - len(pieces)
        ids = [bos, *(i for i, _, _ in pieces), eos] + [eos if pad is None else pad] * rest
        chars = [None, *(c for _, c, _ in pieces), None] + [None] * rest
        splices = [(position, *splice) for position, (_, _, splice) in enumerate(pieces, 1) if splice]
        return Tokens(prompt, tuple(ids), tuple(chars), tuple(splices), ids.index(eos))

    def _pieces(
        self, prompt: str, lengths: Mapping[str, int]
    ) -> Iterator[tuple[int, tuple[int, int], tuple[str, int] | None]]:
        """(id, stretch of the prompt, learned vector or None) of every token of the prompt, without specials."""
        start = 0
        for match in [*TOKEN.finditer(prompt), None]:
            stop = match.start() if match else len(prompt)
            if prompt[start:stop]:
                cut = self.tokenizer(
                    prompt[start:stop], add_special_tokens=False, return_offsets_mapping=True, verbose=False
                )  # not verbose: its own remark on a long prompt says less than ours
                for i, (a, b) in zip(cut["input_ids"], cut["offset_mapping"], strict=True):
                    yield i, (start + a, start + b), None
            if match:
                token, start = match.group(), match.end()
                if token not in lengths:
                    known = (
                        f"the concepts worn here know {', '.join(lengths)}"
                        if lengths
                        else "no concept is worn"
                    )
                    raise InputError(
                        f"the prompt names {token}, but {known}: wear its concept (--wear) or drop it"
                    )
                for i in range(lengths[token]):
                    yield STAND_IN, match.span(), (token, i)

    def encode(self, tokens: Sequence[Tokens], vectors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """(states [prompt, word, channel], pooled [prompt, channel] or None); `vectors` {token: [vector, channel]}."""
        device = self.encoder.device
        ids = torch.tensor([t.ids for t in tokens], device=device)
        with spliced(self.encoder, tokens, vectors):
            out = self.encoder(ids, output_hidden_states=self.penultimate)
        if self.penultimate:
            return out.hidden_states[-2], getattr(out, "text_embeds", None)
        return out.last_hidden_state, None


@lru_cache(maxsize=1024)
def _tell_lost(prompt: str, start: int, room: int) -> None:
    """Warn that the words from `start` on are not read: once per prompt, not once per encoder and training step."""
    word = next((match.group() for match in WORD.finditer(prompt) if match.end() > start), prompt[start:])
    log.warning('the prompt is too long: from "%s" on it is not read (token %d) in "%s"', word, room, prompt)


@contextmanager
def spliced(encoder: Any, tokens: Sequence[Tokens], vectors: Mapping[str, Tensor]) -> Iterator[None]:
    """Put learned vectors in their places of the token embedding's output, for the length of the block."""
    places = [(row, position, token, i) for row, t in enumerate(tokens) for position, token, i in t.splices]

    def splice(_: Any, __: Any, embedded: Tensor) -> Tensor:  # [prompt, word, channel]
        if not places:
            return embedded
        rows, columns = (
            torch.tensor(index, device=embedded.device) for index in list(zip(*places, strict=True))[:2]
        )
        learned = torch.stack([vectors[token][i] for _, _, token, i in places])
        return embedded.index_put((rows, columns), learned.to(embedded))

    hook = encoder.get_input_embeddings().register_forward_hook(splice)
    try:
        yield
    finally:
        hook.remove()
