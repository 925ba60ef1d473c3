"""Where the values of a method start: names of weights, rows of the token table, what the class is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.learn.examples import Examples
from motif.learn.recipes import Recipe
from motif.text import Reader
from motif.tokens import TOKEN
from motif.weights import select


def weights(base: Base, wanted: Callable[[str], bool]) -> list[str]:
    """Full names of the UNet's weights that are wanted. InputError where there are none."""
    if names := [f"unet.{name}" for name in select(base.models.unet, wanted)]:
        return names
    raise InputError(f"{base.name} has no cross-attention weights to train")


def everything(_: str) -> bool:
    """Every weight."""
    return True


def text_weights(base: Base, wanted: Callable[[str], bool]) -> list[str]:
    """Full names of the text encoders' weights that are wanted."""
    return [name for name in base.models.own if not name.startswith("unet.") and wanted(name)]


def row(reader: Reader, entry: str | int) -> Tensor:
    """A vocabulary entry's row [1, channel] of the token table."""
    index = entry if isinstance(entry, int) else reader.token_id(entry)
    return reader.encoder.get_input_embeddings().weight[index][None].detach().clone()


RANDOM = "<random>"
"""In the place of a rare token: a row drawn as the table's are spread, the i-th token's from seed i."""


def random_row(reader: Reader, seed: int) -> Tensor:
    """A row [1, channel] of a normal distribution with the mean and the deviation of the token table in each channel.

    Kumari et al. 2023, table 5: a start at random (customization card, 1.3).
    """
    table = reader.encoder.get_input_embeddings().weight.detach().float()
    noise = torch.randn(1, table.shape[1], generator=torch.Generator().manual_seed(seed))
    drawn = table.mean(0) + table.std(0) * noise.to(table)
    return drawn.to(reader.encoder.get_input_embeddings().weight)


def rare_rows(base: Base, tokens: Sequence[str], rare_tokens: Sequence[str]) -> dict[str, tuple[Tensor, ...]]:
    """Each V* starts from a rare token's row, in every text encoder (card 1.3), in the order given; of two tokens,
    [CV] gives the first the second row. A token that is worn, such as an encoded photo's <S>, gives its vectors;
    `RANDOM` a row of its own."""
    if len(rare_tokens) < len(tokens):
        raise InputError(
            f"{len(tokens)} new tokens, {len(rare_tokens)} rare tokens to start from: name one for each"
        )

    def start(seed: int, rare: str) -> tuple[Tensor, ...]:
        if rare == RANDOM:
            return tuple(random_row(reader, seed) for reader in base.models.readers)
        return base.vectors.get(rare) or tuple(row(reader, rare) for reader in base.models.readers)

    return {token: start(i, rare) for i, (token, rare) in enumerate(zip(tokens, rare_tokens, strict=False))}


def phrase_rows(base: Base, phrase: str, vectors: int) -> tuple[Tensor, ...]:
    """So many vectors to start from, of every text encoder: the rows of the phrase's tokens where it has as many; else
    each the mean of its rows."""
    found: list[Tensor] = []
    for reader in base.models.readers:
        cut = reader.tokenizer(phrase, add_special_tokens=False)["input_ids"]
        if not cut:
            raise InputError(f'"{phrase}" has no word to start from')
        rows = torch.cat([row(reader, int(i)) for i in cut])
        found.append(rows if len(rows) == vectors else rows.mean(0, keepdim=True).repeat(vectors, 1))
    return tuple(found)


def class_prompts(examples: Examples, recipe: Recipe) -> list[str]:
    """What the prior shows of each class word; the word alone where its token is a style's ("painting in the style of
    <new1> art": captions similar to "art"; card 1.4, 1.7)."""
    if examples.token is None:
        return [recipe.class_prompt.format(examples.noun)] if examples.noun else []
    styles = re.findall(rf"\bstyle of (?:an? |the )?({TOKEN.pattern})", examples.prompt)
    nouns = {token: noun for token, noun in examples.nouns.items() if noun}
    found = [("{}" if t in styles else recipe.class_prompt).format(noun) for t, noun in nouns.items()]
    return list(dict.fromkeys(found))


def require_word(examples: Examples, method: str) -> str:
    """The token that a method learns. InputError where the examples teach none."""
    if examples.token:
        return examples.token
    raise InputError(f"{method} learns a word, and these photos teach none: name a <token> in the prompt")
