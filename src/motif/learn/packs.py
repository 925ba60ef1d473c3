"""Many prompts read at once, and what several begin with read once.

A text encoder that looks back only makes the same states of the same beginnings. Sorted prompts are laid one after
another in packs, rows with as many tokens as the encoder has positions; of each prompt only what the last one did not
begin with is laid down. A token keeps the number of its position, and sees itself and what is before it in its prompt:

    mask[i, j] = 0 where j is i or stands before it in a prompt, else −∞

The states are those of prompts read one by one, to rounding, for half to five sixths of the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from motif.text import Reader, Tokens, spliced

TOGETHER = 16
"""Packs read at a time."""

Entry = tuple[int, str, int]
"""What stands at a position: an id, and the learned token with its vector's number that takes its place, or ("", 0)."""


@dataclass(eq=False)
class Pack:
    """One row of the encoder."""

    entries: list[Entry] = field(default_factory=list[Entry])
    before: list[list[int]] = field(
        default_factory=list[list[int]]
    )  # of each: where its prompt's beginning lies

    def lay(self, prompt: Sequence[Entry], last: Sequence[int], same: int) -> list[int]:
        """Where a prompt lies once it is laid down, which has so many tokens in common with the last."""
        path = list(last[:same])
        for entry in prompt[same:]:
            path.append(len(self.entries))
            self.entries.append(entry)
            self.before.append(list(path))
        return path


def read_together(
    reader: Reader, cuts: Sequence[Tokens], lengths: Sequence[int], vectors: Mapping[str, Tensor]
) -> list[Tensor]:
    """States [position, channel] of every prompt as far as its length."""
    if not cuts:
        return []
    packs, places = _packed(
        [_entries(cut, length) for cut, length in zip(cuts, lengths, strict=True)], reader.length
    )
    read: list[Tensor] = []
    for first in range(0, len(packs), TOGETHER):
        read += _read(reader, packs[first : first + TOGETHER], vectors)
    return [read[pack][path] for pack, path in places]


def _entries(cut: Tokens, length: int) -> tuple[Entry, ...]:
    learned = {position: (token, i) for position, token, i in cut.splices}
    return tuple((id_, *learned.get(position, ("", 0))) for position, id_ in enumerate(cut.ids[:length]))


def _packed(
    prompts: Sequence[tuple[Entry, ...]], room: int
) -> tuple[list[Pack], list[tuple[int, list[int]]]]:
    """The packs, and where each prompt lies: (pack, the place of each of its tokens)."""
    packs, places = [Pack()], dict[int, tuple[int, list[int]]]()
    last: tuple[tuple[Entry, ...], list[int]] = ((), [])
    for i in sorted(range(len(prompts)), key=lambda i: prompts[i]):
        same = _common(prompts[i], last[0])
        if len(packs[-1].entries) + len(prompts[i]) - same > room:
            packs.append(Pack())
            last, same = ((), []), 0
        path = packs[-1].lay(prompts[i], last[1], same)
        places[i], last = (len(packs) - 1, path), (prompts[i], path)
    return packs, [places[i] for i in range(len(prompts))]


def _common(a: Sequence[Entry], b: Sequence[Entry]) -> int:
    """How many tokens two prompts begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _read(reader: Reader, packs: Sequence[Pack], vectors: Mapping[str, Tensor]) -> Tensor:
    """The states [pack, place, channel] of packs."""
    width, device = max(len(pack.entries) for pack in packs), reader.encoder.device
    ids = torch.zeros(len(packs), width, dtype=torch.long)
    positions = torch.zeros_like(ids)
    mask = torch.full((len(packs), 1, width, width), float("-inf"))
    mask[:, :, range(width), range(width)] = 0.0
    for row, pack in enumerate(packs):
        for place, (entry, before) in enumerate(zip(pack.entries, pack.before, strict=True)):
            ids[row, place], positions[row, place] = entry[0], len(before) - 1
            mask[row, 0, place, before] = 0.0
    splices = [
        tuple((place, token, i) for place, (_, token, i) in enumerate(pack.entries) if token)
        for pack in packs
    ]
    rows = [Tokens("", (), (), some, 0) for some in splices]
    with spliced(reader.encoder, rows, vectors):
        out = reader.encoder(
            input_ids=ids.to(device),
            position_ids=positions.to(device),
            attention_mask=mask.to(device, reader.encoder.get_input_embeddings().weight.dtype),
            output_hidden_states=reader.penultimate,
        )
    return out.hidden_states[-2] if reader.penultimate else out.last_hidden_state
