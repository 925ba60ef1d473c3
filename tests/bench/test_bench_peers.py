"""The plain side of every row beside ours, on pocket: the same numbers, so that the seconds are of the same work."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from motif.base import Base
from motif.bench import ours, peers
from motif.bench.meter import Meter, put_away
from motif.bench.plain_merging import first_of
from motif.bench.plain_merging import merge as plain_merge
from motif.bench.plan import Row, rows
from motif.bench.subject import Subject, concept, subject
from motif.errors import InputError
from motif.inversion import Inversion
from motif.learn.target_words import caption_rows, word_rows
from pieces import gap

SHORT = {"steps": 4, "inner_steps": 1, "n": 2, "captions": 20}
BYTE = 2 / 255
"""Half a step of a picture's bytes is .5 of this; our side of a drawing and of an edit has been rounded."""

SHARES = {
    "sample plain": 1, "sample dci": 1,
    "invert ddim": 1, "invert negative-prompt": 1, "invert proximal": 1, "invert value-embedding": 1,
    "invert direct": 1 / 3,  # offsets are not measured, and the way back is known
    "invert null-text": 4 / 5, "invert text-embedding": 4 / 5,  # the other side of guidance is kept
    "invert null-text-plus": 1,
    "edit prompt-to-prompt": 3 / 4, "edit custom-edit": 3 / 4,  # the source's way is known: its caption is read alone
    "edit p2plus": 14 / 16,  # its other side too, in the first two of four steps
    "edit sdedit": 1, "edit word-swap": 1,
    "edit pix2pix-zero": 6 / 7,  # the reference's sides of guidance are equal, and maps are seen as they are made
}  # fmt: skip
"""Our evaluations of the denoiser for one of the plain side's."""

ROWS = [row for row in rows(quick=True) if row.peer and row.verb in ("sample", "invert", "edit")]


@pytest.fixture(scope="module")
def about(pocket: Any, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return subject(tmp_path_factory.mktemp("prior"), pocket.size)


@pytest.fixture(scope="module")
def edits() -> dict[str, Tensor]:
    """What the plain edits that were tested here became."""
    return {}


@pytest.fixture
def own() -> Base:
    """pocket, of which a side may put away what it does not need."""
    return Base.load("pocket")


def done(side: Any, row: Row, base: Any, about: Subject) -> tuple[Any, int]:
    """(what a side makes of a row, its evaluations); what it has others for is put away, as in a bench."""
    short = {name: SHORT.get(name, value) for name, value in row.settings.items()}
    job, meter = side.ready(row.verb, row.method, short, base, about), Meter(base.device)
    put_away(job.spare)
    with meter.watching(job.unet):
        return job.work(meter), meter.evaluations


def held(*modules: Any) -> int:
    """Bytes of their parameters."""
    return sum(weight.untyped_storage().nbytes() for module in modules for weight in module.parameters())


def shown(base: Any, made: Any) -> Tensor:
    """[image, 3, h, w] of latents, of an inversion's way back, or of pictures."""
    if isinstance(made, Inversion):
        assert made.way is not None
        made = made.way[0]
    if isinstance(made, Tensor):
        return base.decode(made)
    pixels = np.stack([np.asarray(image) for image in getattr(made, "images", made)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_both_sides_make_the_same(
    row: Row,
    pocket: Any,
    own: Base,
    about: Subject,
    edits: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if row.method == "sdedit":  # diffusers draws from the photo's posterior, we take its mean
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

        monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    (mine, few), (plain, many) = done(ours, row, pocket, about), done(peers, row, own, about)
    assert held(own.models.unet) < 0.01 * held(pocket.models.unet), "it lies beside the plain side's own"
    mine, plain = shown(pocket, mine), shown(pocket, plain)
    assert mine.shape == plain.shape
    assert float((mine - plain).abs().max()) < 0.6 * BYTE
    assert few == pytest.approx(SHARES[row.name] * many)
    if row.verb == "edit":
        edits[row.name] = plain


def test_the_edits_differ_from_one_another(edits: dict[str, Tensor]) -> None:
    """Else a control that did nothing would be equal too."""
    if len(edits) < 2:
        pytest.skip("the edits were not tested beside it")
    for (name, one), (other, two) in combinations(edits.items(), 2):
        assert float((one - two).abs().max()) > 4 * BYTE, f"{name}, {other}"


def test_both_sides_encode_to_the_same(pocket: Any, about: Subject) -> None:
    """A word, and what attention reads of the photo's patches."""
    (row,) = rows(quick=True, only=["encode"])
    (concept, _), ((word, features), _) = (done(side, row, pocket, about) for side in (ours, peers))
    assert gap(concept.tokens["<S>"][0], word) < 1e-4
    mine = {f"{site}.{side}": part for site, pair in concept.local["<S>"].items()
            for side, part in zip(("to_k", "to_v"), pair, strict=True)}  # fmt: skip
    assert mine.keys() == features.keys() and all(gap(mine[name], features[name]) < 1e-4 for name in mine)


def test_plain_learning_has_one_pipeline(own: Base, about: Subject) -> None:
    job = peers.ready("learn", "custom-diffusion", {"steps": 1, "batch_size": 1}, own, about)
    put_away(job.spare)
    assert held(own.models.unet, own.models.vae, *(each.encoder for each in own.models.readers)) < 10_000
    job.work(meter := Meter(own.device))
    assert len(meter.ticks) == 1


def test_both_sides_merge_to_the_same(pocket: Any, about: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, and what they add to words, to the captions that are held and to others; with captions that the release
    takes whole. Its float32 is measured by the latter alone: in the direction that the text encoder's last norm leaves
    out, it solves rounding."""
    from motif.pocket import captions as world

    def far(one: Tensor, other: Tensor) -> float:
        return float((one - other).norm() / one.norm())

    said = [caption for caption in world.captions(700) if first_of(caption) == 1]
    monkeypatch.setattr(world, "captions", lambda count: tuple(said[:count]))
    settings = {"concepts": 2, "captions": 200}
    jobs = [side.ready("merge", "merge", settings, pocket, about) for side in (ours, peers)]
    mine, theirs = (job.work(Meter(pocket.device)) for job in jobs)
    concepts = [concept(pocket, i + 1, about.one.noun) for i in range(2)]
    exact = plain_merge(pocket, concepts, said[:200], torch.float64)
    words = word_rows(pocket, concepts, {t: v for one in concepts for t, v in one.tokens.items()})
    texts = [
        torch.cat([word.rows for word in words]),
        caption_rows(pocket, said[:200]),
        caption_rows(pocket, said[200:260]),
    ]
    assert len(said) >= 260 and theirs.keys() == exact.keys() == mine.changes.keys()
    norm = pocket.models.readers[0].encoder.final_layer_norm
    lost = 1 / norm.weight.detach().double()  # Σ (y - β) / γ = 0 for all y that the norm gives
    lost = lost / lost.norm()
    assert float((torch.cat(texts).double() @ lost).std()) < 1e-4

    def reached(weight: Tensor) -> Tensor:
        """Without the direction in which no text differs from another: what lies there is rounding, on each machine
        another."""
        return weight - (weight @ lost)[:, None] * lost

    for name, change in mine.changes.items():
        a, own = change.full().double(), pocket.models.parameter(name).double()
        assert far(reached(a), reached(exact[name] - own)) < 1e-3
        for read, rounding in zip(texts, (1e-3, 2e-2, 2e-2), strict=True):
            assert far(a @ read.T, (exact[name] - own) @ read.T) < 1e-3
            assert far(a @ read.T, (theirs[name].double() - own) @ read.T) < rounding
        added = sum(one.changes[name].full().double() for one in concepts)
        assert far(a @ texts[1].T, added @ texts[1].T) > 0.5, "nothing is merged"


def test_the_release_leaves_out_how_a_caption_of_a_photo_opens() -> None:
    told = {
        "photo of a cat": 4,
        "a photo of a cat": 4,
        "a drawing of a cat": 1,
        "a cat in a photo of a garden": 1,
    }
    assert {caption: first_of(caption) for caption in told} == told


def test_bases_that_the_plain_side_is_not_written_for_are_refused(pocket: Any, about: Subject) -> None:
    other = dataclasses.replace(
        pocket, schedule=dataclasses.replace(pocket.schedule, prediction="v_prediction")
    )
    for row in ROWS:
        if row.name not in ("sample plain", "edit sdedit"):
            with pytest.raises(InputError, match="predicts noise"):
                peers.ready(row.verb, row.method, row.settings, other, about)
