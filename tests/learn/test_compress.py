"""Compression: what is kept is the nearest of its rank; never nothing; a concept like any other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from motif.concept import Concept
from motif.errors import InputError
from motif.learn.compress import ENERGY, Report, compress, kept_rank
from motif.weights import Change
from pieces import concept_of


def full(concept: Concept) -> dict[str, Tensor]:
    return {name: change.full() for name, change in concept.changes.items()}


def off(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def steep(concept: Concept, power: float = 2.0) -> Concept:
    """The same concept with singular values that fall as those of a learned one do: 1, 1/2ᵖ, 1/3ᵖ ..."""

    def fallen(dense: Tensor) -> Tensor:
        u, s, v = torch.linalg.svd(dense, full_matrices=False)
        return u * torch.arange(1, len(s) + 1) ** -power @ v

    changes = {name: Change(dense=fallen(change.full())) for name, change in concept.changes.items()}
    return dataclasses.replace(concept, changes=changes)


@pytest.fixture
def concept(base: Any) -> Concept:
    return steep(concept_of(base, seed=1))


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=30), st.floats(0.01, 1))
def test_the_rank_is_the_largest_within_the_share_and_never_0(values: list[float], energy: float) -> None:
    scales = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    rank, shares = kept_rank(scales, energy), scales.cumsum(0) / scales.sum()
    assert 1 <= rank <= len(scales)
    assert rank == 1 or shares[rank - 1] <= energy + 1e-9
    assert rank == len(scales) or shares[rank] > energy
    assert kept_rank(scales, 1.0) == len(scales)


def test_the_released_codes_rule_on_numbers() -> None:
    assert kept_rank(torch.tensor([4.0, 3.0, 2.0, 1.0]), 0.6) == 1  # .4, .7
    assert kept_rank(torch.tensor([4.0, 3.0, 2.0, 1.0]), 0.7) == 2
    assert kept_rank(torch.tensor([9.0, 1.0]), 0.6) == 1  # there it keeps none


@pytest.mark.parametrize("how", [{}, {"energy": 0.3}, {"rank": 3}])
def test_what_is_kept_is_the_nearest_of_its_rank(concept: Concept, how: dict[str, Any]) -> None:
    reports: list[Report] = []
    small = compress(concept, **how, on_report=reports.append)
    before, after, rows = full(concept), full(small), {row.weight: row for row in reports[0].residuals}
    assert before.keys() == after.keys() == rows.keys() and set(small.tokens) == set(concept.tokens)
    for name, change in before.items():
        row, scales = rows[name], torch.linalg.svdvals(change)
        expected = kept_rank(scales, how.get("energy", ENERGY)) if "rank" not in how else 3
        assert row.rank == expected == small.changes[name].tensors()["down"].shape[0] >= 1
        assert row.of == min(change.shape)
        assert off(after[name], change) == pytest.approx(row.residual, rel=1e-3)
        assert row.residual == pytest.approx(float(scales[row.rank :].norm() / scales.norm()), rel=1e-3)


def test_sizes_are_those_of_the_tensors_and_of_the_file(concept: Concept, tmp_path: Path) -> None:
    reports: list[Report] = []
    small = compress(concept, rank=1, on_report=reports.append)
    sizes = [one.save(tmp_path / name).stat().st_size for one, name in ((concept, "a"), (small, "b"))]
    report = reports[0]
    assert report.after < report.before / 4
    for said, size in zip((report.before, report.after), sizes, strict=True):
        assert said <= size < said + 20_000  # the header
    assert Concept.load(tmp_path / "b") == small
    assert small.record.settings["compressed"] == {"rank": 1}
    assert dataclasses.replace(small.record, settings={}) == dataclasses.replace(concept.record, settings={})


def test_all_of_the_energy_is_all_of_the_change(base: Any, concept: Concept) -> None:
    for one in (concept, concept_of(base, seed=2), concept_of(base, seed=2, rank=3)):
        kept = full(compress(one, energy=1))
        assert all(off(kept[name], change) < 1e-5 for name, change in full(one).items())


def test_more_energy_is_nearer_and_larger(concept: Concept) -> None:
    made = [compress(concept, energy=energy) for energy in (0.2, 0.4, 0.6, 0.8)]
    for name, change in full(concept).items():
        gaps = [off(one.changes[name].full(), change) for one in made]
        assert gaps == sorted(gaps, reverse=True)
    sizes = [one.describe()["megabytes"] for one in made]
    assert sizes == sorted(sizes)


def test_a_product_is_compressed_as_what_it_stands_for(base: Any) -> None:
    thin = concept_of(base, seed=2, rank=4)
    dense = dataclasses.replace(thin, changes={n: Change(dense=c.full()) for n, c in thin.changes.items()})
    one, two = full(compress(thin, rank=2)), full(compress(dense, rank=2))
    assert all(off(one[name], two[name]) < 1e-4 for name in one)
    again = compress(thin, rank=9)  # it has 4
    assert all(again.changes[name] is change for name, change in thin.changes.items())


def test_compressed_concepts_are_worn(base: Any, concept: Concept) -> None:
    small = compress(concept)
    worn, name = base.wear(small), next(iter(small.changes))
    assert off(worn.weight(name) - base.weight(name), small.changes[name].full()) < 1e-4


def test_a_change_of_nothing_keeps_rank_1(base: Any) -> None:
    concept = concept_of(base)
    nothing = {name: Change(dense=torch.zeros(change.shape)) for name, change in concept.changes.items()}
    small = compress(dataclasses.replace(concept, changes=nothing))
    for change in small.changes.values():
        assert change.down is not None and len(change.down) == 1 and float(change.full().abs().max()) == 0


def test_what_is_no_matrix_and_what_would_grow_stay_as_they_are(base: Any) -> None:
    concept = concept_of(base)
    kernel, bias = Change(dense=torch.ones(4, 4, 3, 3)), Change(dense=torch.ones(7))
    mixed = dataclasses.replace(
        concept, changes={**concept.changes, "unet.a.weight": kernel, "unet.a.bias": bias}
    )
    reports: list[Report] = []
    small = compress(mixed, rank=1, on_report=reports.append)
    assert small.changes["unet.a.weight"] is kernel and small.changes["unet.a.bias"] is bias
    assert [row.rank for row in reports[0].residuals[-2:]] == [0, 0]
    whole = compress(concept, rank=10**6)
    assert all(whole.changes[name] is change for name, change in concept.changes.items())


def test_half_precision_stays_half(base: Any) -> None:
    concept = concept_of(base)
    half = {name: Change(dense=change.full().half()) for name, change in concept.changes.items()}
    small = compress(dataclasses.replace(concept, changes=half), rank=2)
    assert {part.dtype for c in small.changes.values() for part in c.tensors().values()} == {torch.float16}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"energy": 0.5, "rank": 2}, "give one"),
        ({"energy": 0.0}, "energy is 0"),
        ({"energy": 1.2}, "energy is 1.2"),
        ({"energy": float("nan")}, "energy is nan"),
        ({"rank": 0}, "at least one"),
    ],
)
def test_settings_that_mean_nothing_are_refused(concept: Concept, how: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        compress(concept, **how)


def test_a_word_alone_has_nothing_to_compress(concept: Concept) -> None:
    with pytest.raises(InputError, match="<new1> changes no matrix"):
        compress(dataclasses.replace(concept, changes={}))
    nan = {
        name: Change(dense=torch.full(change.shape, torch.nan)) for name, change in concept.changes.items()
    }
    with pytest.raises(InputError, match="damaged"):
        compress(dataclasses.replace(concept, changes=nan))
