"""Kinds of concepts x inversions x edits on pocket, every pair of them, from one table: what has no meaning is refused.

Every run checks what must hold of all: finite pictures of the photo's size, a strip, the same prompt as the photo's
lane where that is a law, and what the record says.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from PIL import Image

from edit_pieces import inverted, photo
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.images import to_images
from motif.methods import EDIT, INVERT
from motif.weights import Change
from pieces import concept_of, encoded

STEPS = 2
CAPTION = "a photo of a cat in the night"

WORN = {
    "nothing": "a photo of a dog in the night",
    "custom-diffusion": "a photo of a <new1> cat in the night",
    "low-rank": "a photo of a <new1> cat in the night",
    "merged": "a photo of a <new1> cat and a <new2> dog in the night",
    "textual-inversion": "a photo of a <new1> in the night",
    "dreambooth": "a photo of a sks cat in the night",
    "ico": "a photo of a <new1> cat in the night",
    "encoded": "a photo of a <S> cat in the night",
}
"""What the base wears -> the prompt that says it."""

SETTINGS: dict[str, dict[str, Any]] = {
    "prompt-to-prompt": {"blend": ["cat"], "self_until": 0.5},
    "p2plus": {"self_until": 0.5},
    "custom-edit": {"strength": 0.5, "blend": ["cat"]},
    "sdedit": {"strength": 0.5, "steps": STEPS},
    "word-swap": {},
    "pix2pix-zero": {},
    "style-transfer": {},
}

OWN_GUIDANCE = "guides away from the caption itself, and a {} inversion"
REFUSED: dict[tuple[str, str], str] = {
    **{("pix2pix-zero", name): OWN_GUIDANCE.format(name)
       for name in ("null-text", "null-text-plus", "proximal", "text-embedding", "value-embedding")},
    ("style-transfer", "value-embedding"): "content was inverted with values of its own",
}  # fmt: skip
"""(edit, inversion) -> why it has no meaning, whatever is worn."""


def reason(worn: str, inversion: str, edit: str) -> str:
    """Why a combination is refused; nothing where it has a meaning."""
    if edit == "custom-edit" and worn == "nothing":
        return "puts a learned concept into a photo: wear one"
    return REFUSED.get((edit, inversion), "")


def some() -> list[tuple[str, str, str]]:
    """Every pair of the three at least once, as in a Latin square: what a quick run takes."""
    edits = [*EDIT]
    return [(worn, name, edits[(i + j) % len(edits)])
            for i, worn in enumerate(WORN) for j, name in enumerate(INVERT)]  # fmt: skip


def whole_weights(base: Any, *, cross: bool, token: bool) -> Concept:
    """What DreamBooth and ICO leave: changes of many layers; with a word of its own, or with a rare one of the base."""
    draw = torch.Generator().manual_seed(3)
    part = ".attn2." if cross else ".attn"
    names = [n for n, _ in base.models.unet.named_parameters() if part in n and n.endswith("weight")]
    weights = {f"unet.{n}": base.models.parameter(f"unet.{n}") for n in names}
    changes = {n: Change(dense=0.01 * torch.randn(w.shape, generator=draw)) for n, w in weights.items()}
    vectors = tuple(0.5 * torch.randn(1, r.width, generator=draw) for r in base.models.readers)
    record = Record("random", base.origin, {"<new1>": "cat"} if token else {})
    return Concept({"<new1>": vectors} if token else {}, changes, record)


def worn_by(base: Any, kind: str) -> Any:
    """The base with a random concept of that kind on."""
    if kind == "nothing":
        return base
    if kind in ("dreambooth", "ico"):
        return base.wear(whole_weights(base, cross=kind == "ico", token=kind == "ico"))
    if kind == "encoded":  # ELITE's: a word with patches of its photo
        return base.wear(encoded(base))
    if kind == "textual-inversion":
        full = concept_of(base)
        return base.wear(Concept(full.tokens, {}, full.record))
    one = concept_of(base, size=0.01, rank=4 if kind == "low-rank" else 0)
    if kind != "merged":
        return base.wear(one)
    two = concept_of(base, "<new2>", seed=1, size=0.01)
    return base.wear(Concept({**one.tokens, **two.tokens}, one.changes, one.record))


@cache
def dressed(base: Any, kind: str) -> Any:
    return worn_by(base, kind)


@cache
def begun(base: Any, kind: str, name: str, caption: str = CAPTION) -> Any:
    return inverted(dressed(base, kind), name, photo(3, (64, 64)), caption, steps=STEPS)


def carried_out(pocket: Any, worn: str, name: str, edit: str) -> Any:
    base, settings = dressed(pocket, worn), dict(SETTINGS[edit])
    if edit == "style-transfer":
        settings["style"] = begun(pocket, worn, "value-embedding", "a watercolour")
    return EDIT[edit].load()(base, begun(pocket, worn, name), WORN[worn], **settings)


def holds(pocket: Any, worn: str, name: str, edit: str) -> None:
    """What is true of every combination."""
    if why := reason(worn, name, edit):
        with pytest.raises(InputError, match=why):
            carried_out(pocket, worn, name, edit)
        return
    found = carried_out(pocket, worn, name, edit)
    assert found.method == edit and found.prompts == (WORN[worn],) and found.evaluations > 0
    assert torch.isfinite(found.latents).all() and found.latents.shape == (1, 1, *pocket.latent_shape())
    assert found.image.size == (64, 64) and len(found.sources) == len(found.reconstructions) == 1
    assert isinstance(found.strip(), Image.Image) and found.strip().width > 3 * 128
    if name == "direct":  # whatever is worn and edited, its source is the photo through the VAE
        (through,) = to_images(pocket.decode(begun(pocket, worn, name).latents[0]))
        assert found.reconstructions[0].tobytes() == through.tobytes()


@pytest.mark.parametrize(("worn", "name", "edit"), some())
def test_concepts_inversions_and_edits_go_together(pocket: Any, worn: str, name: str, edit: str) -> None:
    holds(pocket, worn, name, edit)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", INVERT)
@pytest.mark.parametrize("worn", WORN)
def test_every_combination(pocket: Any, worn: str, name: str) -> None:
    """All 448; a quick run takes the 64 of `some`."""
    for edit in EDIT:
        holds(pocket, worn, name, edit)


def test_every_edit_has_its_settings_and_every_refusal_its_names() -> None:
    assert SETTINGS.keys() == EDIT.keys()
    assert {edit for edit, _ in REFUSED} <= EDIT.keys() and {name for _, name in REFUSED} <= INVERT.keys()
    pairs = {(a, b) for row in some() for a, b in ((row[0], row[1]), (row[1], row[2]), (row[0], row[2]))}
    assert pairs >= {*product(WORN, INVERT), *product(INVERT, EDIT), *product(WORN, EDIT)}
