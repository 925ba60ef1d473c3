"""A concept as the files of another tool, with a card beside them: `motif export`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.files import written
from motif.interop import a1111, adobe, diffusers, kohya, lora
from motif.interop.card import MARK, card, header
from motif.interop.foreign import Foreign, save_foreign


@dataclass(frozen=True)
class Writer:
    """A format that is written: its files from a concept and its base."""

    files: Callable[[Concept, Base | None], list[Foreign]]
    needs_base: bool = False  # it holds whole weights W₀ + Δ


def _diffusers(concept: Concept, base: Base | None) -> list[Foreign]:
    return [*_lora(concept, base), *diffusers.written_weights(concept, _based(base))]


def _lora(concept: Concept, _: Base | None) -> list[Foreign]:
    return [*diffusers.written_words(concept), *lora.written(concept)]


def _kohya(concept: Concept, _: Base | None) -> list[Foreign]:
    return [*a1111.written(concept), *kohya.written(concept)]


def _a1111(concept: Concept, _: Base | None) -> list[Foreign]:
    words, weights = a1111.written(concept), kohya.written(concept)
    places = [("embeddings", file) for file in words] + [("models/Lora", file) for file in weights]
    return [dataclasses.replace(file, name=f"{folder}/{file.name}") for folder, file in places]


def _adobe(concept: Concept, base: Base | None) -> list[Foreign]:
    return adobe.written(concept, _based(base))


def _based(base: Base | None) -> Base:
    if base is None:
        raise InputError("this format holds whole weights: give the concept's base (base=)")
    return base


WRITERS = {
    "diffusers": Writer(_diffusers, True),
    "lora": Writer(_lora),
    "kohya": Writer(_kohya),
    "a1111": Writer(_a1111),
    "adobe": Writer(_adobe, True),
}


def write_files(
    concept: Concept, folder: str | Path, *, to: str, base: Base | None = None, licence: str = ""
) -> list[Path]:
    """Write a concept in another tool's format, whole or not at all; returns the files, the card last.

    Args:
        concept: what to write; `compress` it first for a small LoRA.
        folder: where to; nothing there that no export wrote is replaced.
        to: diffusers, lora, kohya, a1111 or adobe.
        base: the concept's base in float32, for formats that hold whole weights (diffusers, adobe).
        licence: the licence of what was learned, for the card.
    Raises:
        InputError: the format cannot hold the concept, or the folder holds somebody else's files.
        WrongBase: another base than the concept's.
    """
    if to not in WRITERS:
        raise InputError(f"no format {to}: there is {', '.join(WRITERS)}")
    if concept.local:
        raise InputError(
            "the concept holds a photo's patches, which no format has: encode it without (--no-local)"
        )
    writer, folder = WRITERS[to], Path(folder)
    if fault := concept.fault():
        raise InputError(f"the concept is damaged: {fault}")
    if writer.needs_base:
        _based(base).wear(concept)  # says what does not fit
    told = header(concept)
    files = [dataclasses.replace(f, metadata={**told, **f.metadata}) for f in writer.files(concept, base)]
    if not files:
        raise InputError("the concept has neither a word nor a changed weight: there is nothing to export")
    _require_own(folder, [file.name for file in files])
    paths = [save_foreign(folder, file) for file in files]
    page = folder / "README.md"
    with written(page) as part:
        part.write_text(card(concept, files, to=to, licence=licence), encoding="utf-8")
    return [*paths, page]


def _require_own(folder: Path, names: list[str]) -> None:
    """InputError where files of such names are there that no export wrote."""
    page = folder / "README.md"
    if page.is_file() and MARK in page.read_text(encoding="utf-8", errors="replace"):
        return
    if there := [name for name in [*names, page.name] if (folder / name).exists()]:
        raise InputError(f"{folder / there[0]}: is there and is no export of motif's: choose another folder")
