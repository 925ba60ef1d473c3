"""A concept from foreign files: `motif import`.

A foreign file rarely says what it belongs to, so the base is the user's to name; the word and the noun where the file
has none, or another one is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError, WrongBase
from motif.interop.detect import detect
from motif.interop.foreign import Foreign, Piece, open_foreign
from motif.tokens import TOKEN
from motif.versions import versions
from motif.weights import Change

log = logging.getLogger("motif")


def read_files(
    files: Sequence[str | Path], base: Base, *, token: Sequence[str] = (), noun: Sequence[str] = ()
) -> Concept:
    """One concept from one or several foreign files: an embedding and a LoRA, the two embeddings of SDXL.

    Args:
        files: the files of one concept.
        base: the base that they belong to, in float32.
        token: its words here, in the order of the files' own; by default the files' own.
        noun: what each word is one of: "cat"; one for all, or one for each.
    Raises:
        InputError: a file that is not read, is more than tensors, or does not name its word. WrongBase: no place here.
    """
    opened = [open_foreign(file) for file in files]
    readers = [detect(file) for file in opened]
    pieces = [_read(file, reader.read(file, base)) for file, reader in zip(opened, readers, strict=True)]
    tokens = _renamed(_tokens(pieces), token)
    settings = {"format": [reader.name for reader in readers], "file": [file.name for file in opened]}
    record = Record("import", base.origin, _nouns(list(tokens), noun), settings=settings, versions=versions())
    concept = Concept(tokens, _changes(pieces, opened), record)
    if fault := concept.fault():
        raise InputError(f"{opened[0].name}: {fault}")
    try:
        base.models.check_fit(concept.changes, tokens, who=opened[0].name, base=base.name)
    except WrongBase as wrong:
        raise WrongBase(f"{wrong}: choose the files' own base with --base") from None
    if not tokens and not any(torch.any(change.full() != 0) for change in concept.changes.values()):
        raise InputError(f"{opened[0].name}: has no word and changes nothing of {base.name}")
    return concept


def _read(file: Foreign, piece: Piece) -> Piece:
    """Its words as tokens: the one that we wrote into its header, its own, in angle brackets where it has none, or the
    file's name."""
    lone = file.metadata.get("motif.token") if len(piece.tokens) == 1 else None
    tokens = {
        lone or _token(word or file.stem, told=bool(word)): parts for word, parts in piece.tokens.items()
    }
    if len(tokens) < len(piece.tokens):
        raise InputError(f"{file.name}: two of its words would be one token: {' '.join(piece.tokens)}")
    return Piece(tokens, piece.changes)


def _token(word: str, *, told: bool) -> str:
    if TOKEN.fullmatch(word):
        return word
    token = "<" + "-".join(word.replace("<", " ").replace(">", " ").replace("|", " ").split()) + ">"
    if not TOKEN.fullmatch(token):
        raise InputError(f'"{word}" makes no token: give one, --token "<new1>"')
    source = f'its own word is "{word}"' if told else "it names no word, this is the file's name"
    log.info("the token is %s (%s); --token gives another", token, source)
    return token


def _tokens(pieces: Sequence[Piece]) -> dict[str, tuple[Tensor, ...]]:
    """All files' words. A word that two files have is one of two text encoders, in the order of the files."""
    found: dict[str, tuple[Tensor, ...]] = {}
    for piece in pieces:
        for token, parts in piece.tokens.items():
            found[token] = (*found.get(token, ()), *parts)
    return found


def _renamed(tokens: Mapping[str, tuple[Tensor, ...]], names: Sequence[str]) -> dict[str, tuple[Tensor, ...]]:
    if not names:
        return dict(tokens)
    if strange := [name for name in names if not TOKEN.fullmatch(name)]:
        raise InputError(f'"{strange[0]}" is no token: one word in angle brackets, such as <new1>')
    if len(names) != len(tokens) or len(set(names)) != len(names):
        held = f"{len(tokens)} ({' '.join(tokens)})" if tokens else "no word"
        raise InputError(
            f"--token names {' '.join(names)}, and the files hold {held}: name as many, each once"
        )
    return dict(zip(names, tokens.values(), strict=True))


def _nouns(tokens: Sequence[str], nouns: Sequence[str]) -> dict[str, str]:
    if len(nouns) == 1 and tokens:
        nouns = list(nouns) * len(tokens)
    if nouns and len(nouns) != len(tokens):
        raise InputError(f"{len(nouns)} nouns for {len(tokens)} tokens ({' '.join(tokens) or 'none'})")
    return dict(zip(tokens, nouns, strict=False))


def _changes(pieces: Sequence[Piece], files: Sequence[Foreign]) -> dict[str, Change]:
    found: dict[str, Change] = {}
    owners: dict[str, str] = {}
    for piece, file in zip(pieces, files, strict=True):
        if twice := found.keys() & piece.changes.keys():
            raise InputError(
                f"{owners[min(twice)]} and {file.name} both change {min(twice)}: import one of them, or each on its own"
            )
        found |= piece.changes
        owners |= dict.fromkeys(piece.changes, file.name)
    return found
