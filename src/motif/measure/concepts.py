"""Identity and bleed of several concepts, as of a merged file: does each word draw its own object, and no other's?

    I[a, b] = mean over pictures x of a, references r of b of cos(f(x), f(r))
    identity = mean I[a, a]        bleed = mean over a ≠ b of I[a, b]

Custom Diffusion (Kumari et al. 2023; customization card, 4.2) scores a picture of two concepts against each reference
set alone and averages; pictures in one folder, of all concepts together, are scored so. Bleed is ours: it means
something beside the same mean of the references themselves ("references of two"), which is what perfect pictures have.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from PIL import Image

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, DinoEncoder, cosines
from motif.features.pictures import Pictures, gather, names
from motif.measure.encoders import load_encoder
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor

Albums = Mapping[str, Pictures] | Pictures
"""{concept: its pictures}, or a folder with a folder for each concept; any other pictures are of all together."""


def concepts(
    images_by_concept: Albums,
    references_by_concept: Albums,
    *,
    encoder: str | Path | ClipEncoder | DinoEncoder = "pocket",
    features: Literal["clip", "dino"] = "clip",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Identity of each concept's pictures with its own photos, and what they have of the other concepts'.

    Args:
        images_by_concept: {concept: its pictures}, or a folder with a folder for each; or pictures that show all
            concepts together (no bleed then).
        references_by_concept: {concept: its photos}, or a folder with a folder of the same name for each.
        encoder: `pocket`, `paper` (CLIP ViT-B/32, DINO ViT-S/16), a folder or a hub id.
        features: whose features: clip or dino.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: fewer than two concepts, names that do not match, no pictures, or an unreadable one.
        MissingModel: the encoder is not on this machine.
    """
    shelves = _albums(references_by_concept) or {}
    if len(shelves) < 2:
        raise InputError("references of two concepts or more are needed: a folder with a folder for each")
    wanted = {name: gather(some, f"references of {name}") for name, some in shelves.items()}
    drawn = _albums(images_by_concept)
    apart = drawn is not None
    made = _apart(drawn, wanted) if drawn is not None else {"": gather(_plain(images_by_concept), "pictures")}
    loaded = load_encoder(encoder, features, device)
    theirs = {name: loaded.images(some, batch_size=batch_size) for name, some in wanted.items()}
    values: list[float] = []
    labels: list[str] = []
    table: dict[tuple[str, str], float] = {}
    for name, some in made.items():
        found = _against(loaded.images(some, batch_size=batch_size), theirs)
        table |= {(name, other): float(value.mean()) for other, value in found.items()}
        own = found[name] if apart else sum(found.values(), start=0 * next(iter(found.values()))) / len(found)
        values += [float(value) for value in own]
        labels += [f"{name}/{label}" if apart else label for label in names(some)]
    choices: dict[str, object] = {
        **loaded.choices(),
        "pairs": ", ".join(f"{name} {len(some)}" for name, some in made.items())
        + " pictures x "
        + ", ".join(f"{name} {len(some)}" for name, some in wanted.items())
        + " references",
        "scale": 1.0,
        "standard error": "over pictures",
    }
    return Score("concepts", tuple(values), choices, _readings(table, theirs, apart=apart), tuple(labels))


def _albums(source: Albums) -> dict[str, Pictures] | None:
    """{concept: its pictures}, by name; None for pictures that are not sorted by concept."""
    if isinstance(source, Mapping):
        return dict(cast(Mapping[str, Pictures], source))
    if isinstance(source, str | Path) and (folder := Path(source).expanduser()).is_dir():
        return {each.name: each for each in sorted(folder.iterdir()) if each.is_dir()} or None
    return None


def _plain(source: Albums) -> Pictures:
    return [] if isinstance(source, Mapping) else source


def _apart(
    drawn: Mapping[str, Pictures], wanted: Mapping[str, object]
) -> dict[str, list[Path | Image.Image]]:
    """Every concept's pictures, in the references' order."""
    if odd := sorted(drawn.keys() ^ wanted.keys()):
        lacks = "pictures" if odd[0] in wanted else "references"
        raise InputError(f"{odd[0]} has no {lacks}: both need a folder of that name for each concept")
    return {name: gather(drawn[name], f"pictures of {name}") for name in wanted}


def _against(x: "Tensor", theirs: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """{concept: [image] the mean cosine with its references}."""
    return {name: cosines(x, r).mean(1) for name, r in theirs.items()}


def _readings(
    table: Mapping[tuple[str, str], float], theirs: "Mapping[str, Tensor]", *, apart: bool
) -> dict[str, float]:
    """Identity of each concept; where they were drawn apart, every bleed, their mean, and the references' own."""
    if not apart:
        return {f"identity of {b}": value for (_, b), value in table.items()}
    also = {f"identity of {a}": value for (a, b), value in table.items() if a == b}
    others = {(a, b): value for (a, b), value in table.items() if a != b}
    among = [float(cosines(theirs[a], theirs[b]).mean()) for a, b in others]
    also |= {"bleed": sum(others.values()) / len(others), "references of two": sum(among) / len(among)}
    return also | {f"{a} as {b}": value for (a, b), value in others.items()}
