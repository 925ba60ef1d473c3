"""Results of a bench by object and row, each made once: OUT/cells/"OBJECT - ROW.json", {metric: a value per picture}.

A cell is known by what it was asked for, by the base's weights, by the encoders that judge and the held-out pictures
and photos, and by the bench's own code and motif's version: where one of them is another, it is made again. It says
too what code made it (`codes`): the methods' modules with all that they import, and the bench's. That is no part of
what it is known by; pages say where rows are of different code. `bench/reproduction.py` reads the folder.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

KNOWN = "for"
"""Where a cell says what it was made for."""
CODE = "code"
"""Where a cell says what code made it: {place: digest}; cells of before 2026-11-29 do not."""

Cell = dict[str, list[float | None]]


def digest(told: Any) -> str:
    """What a specification is known by."""
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def cell(
    folder: Path,
    subject: str,
    row: str,
    known: str,
    make: Callable[[], Mapping[str, Any]],
    *,
    by: Iterable[str] = (),
) -> Cell:
    """A cell, from its file or made; a stopped bench goes on with what is not there.

    Args:
        folder: Where cells are.
        subject: Whose it is.
        row: Of what.
        known: What it is made for, in a word.
        make: What makes it: {metric: a value per picture}.
        by: The methods that make it, "learn ico": `methods.load` names them, and no import does.
    """
    from motif.files import written

    asking = Path(inspect.stack(0)[1].filename)

    path = folder / f"{subject} - {row}.json"
    if path.is_file():
        told = json.loads(path.read_text(encoding="utf-8"))
        told.pop(CODE, None)
        if told.pop(KNOWN, None) == known:
            return told
    print(f"{subject}: {row}", flush=True)
    made = {name: [*value] if isinstance(value, list | tuple) else [value] for name, value in make().items()}
    with written(path) as part:
        part.write_text(json.dumps({KNOWN: known, CODE: codes(asking, by), **made}), encoding="utf-8")
    return made


def part_of(word: str) -> tuple[int, int]:
    """ "1/2" -> (0, 2): which share of a run, and of how many."""
    number, _, count = word.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise ValueError(word)
    return int(number) - 1, int(count)


def share(work: Sequence[Any], part: tuple[int, int] | None) -> Sequence[Any]:
    """Every n-th of the work, for one of n processes; all of it without a part."""
    return work if part is None else work[part[0] :: part[1]]


def known_by(base: Any, *settings: Any) -> str:
    """One word for what a cell depends on; of the script that asks its code too, but for what it only says."""
    asking = inspect.stack(0)[1].filename
    told = [base.origin.fingerprint, surroundings(), code_of(Path(asking)), *settings]
    return sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


@cache
def surroundings() -> str:
    """One word for motif's version, pocket's encoders, and its held-out pictures, objects and captions."""
    import motif
    from motif.loading import pocket_weights
    from motif.pocket import concepts
    from motif.tradeoff.digest import address, content

    encoders = {name: content(pocket_weights() / name) for name in ("clip", "dino", "judge")}
    data = content(Path(concepts.__file__).parent / "data")
    return address("bench", version=motif.__version__, encoders=encoders, data=data)


def codes(asking: Path, by: Iterable[str] = ()) -> dict[str, str]:
    """{place: a digest of the code there and of all of motif that it imports}: of methods as a trade-off knows them,
    and of the script that asks, with what it takes from its folder."""
    from motif import methods
    from motif.tradeoff.digest import code, script

    found = {name: code(methods.find(*name.split(" ", 1)).path) for name in by}
    return {**found, asking.stem: script(asking)}


@cache
def weights(*parts: str) -> str:
    """A digest of parts of pocket, such as pipeline (with its advice), clip and dino: results of others are not
    taken."""
    from motif.loading import pocket_weights

    folders = (pocket_weights() / part for part in parts)
    files = sorted(
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")
    )
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:16]


@cache
def content(path: Path) -> str:
    """One word for a file, or for a folder's files."""
    from motif.tradeoff import digest

    return digest.content(path)


def place(folder: Path, subject: Any, row: str, told: Sequence[Any], parts: Sequence[str]) -> Path:
    """Where a cell lies that travels with the repository: known by what is told of it, by these parts of pocket, and by
    the object's photos."""
    known = digest([subject.name, row, *told, weights(*parts), content(subject.folder)])
    name = "".join(c for c in row.replace(" ", "-") if c not in ":,")
    return folder / f"{subject.name}-{name}-{known}.result"


def put(path: Path, scores: Mapping[str, Any], asking: Path, by: Iterable[str] = ()) -> None:
    """Write a cell that lies at a `place`: its values, and what code made them."""
    from motif.files import written

    with written(path) as part:
        part.write_text(json.dumps({CODE: codes(asking, by), **scores}), encoding="utf-8")


def got(path: Path) -> Cell | None:
    """The values of a cell that lies at a `place`; None where it is not there."""
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    told.pop(CODE, None)
    return told


@cache
def code_of(script: Path) -> str:
    """One word for a script without its comments and docstrings: its constants, and what it does with them."""
    tree = ast.parse(script.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _says_only(line)]
    return sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _says_only(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def learned(base: Any, subject: Any, method: str, folder: Path, **settings: Any) -> tuple[Any, float]:
    """(a concept of a held-out object by a method of `motif learn`, seconds), from its file where it was learned on
    this very base with these settings before."""
    import time

    from motif import methods
    from motif.concept import Concept
    from motif.learn import Examples
    from motif.tradeoff.digest import code

    made_by = code(methods.find("learn", method).path)
    path = folder / f"{subject.name}-{method}-{known_by(base, method, settings, made_by)}.safetensors"
    spent = path.with_suffix(".seconds")
    if not path.is_file():
        begun = time.perf_counter()
        examples = Examples(subject.folder, f"photo of a <new1> {subject.noun}")
        concept = methods.load("learn", method)(base, examples, preview_every=0, **settings)
        spent.parent.mkdir(parents=True, exist_ok=True)
        spent.write_text(f"{time.perf_counter() - begun:.2f}")
        concept.save(path)
        print(f"{path.stem}: {spent.read_text()} s", flush=True)
    return Concept.load(path), float(spent.read_text())


def exam(subject: Any, me: Any, words: str, *, prompts: int, seeds: int, steps: int) -> dict[str, list[Any]]:
    """CLIP-I, DINO-I and CLIP-T (with the class word in the concept's place) of pictures of an object in its places."""
    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.lanes import draw
    from motif.measure import clip_i, clip_t, dino_i

    openings = [f"a photo of a {{}} {place}" for place in subject.places][:prompts]
    texts = [opening.format(words) for opening in openings for _ in range(seeds)]
    images = list(draw(me, texts, seeds=[*range(seeds)] * len(openings), steps=steps))
    clip, dino = ClipEncoder.load("pocket"), DinoEncoder.load("pocket")
    said = [opening.format(subject.noun) for opening in openings for _ in range(seeds)]
    return {
        "CLIP-I": [*clip_i(images, subject.references, encoder=clip).per_image],
        "DINO-I": [*dino_i(images, subject.references, encoder=dino).per_image],
        "CLIP-T": [*clip_t(images, said, encoder=clip).per_image],
    }
