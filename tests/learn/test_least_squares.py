"""The closed form: its constraint, its optimality, its numbers where they are hard."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from motif.learn.least_squares import RIDGE, solve

WIDTH, OUT = 24, 10


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def off(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@given(rows=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_words_get_what_they_are_to_have_and_captions_move_least(rows: int, seed: int) -> None:
    words, held, errors = (
        random(rows, WIDTH, seed=seed),
        random(80, WIDTH, seed=seed + 1),
        random(OUT, rows, seed=seed + 2),
    )
    update = solve(words, held)
    change = errors @ update.left @ update.right
    assert off(change @ words.T, errors) < 1e-10
    assert torch.linalg.matrix_rank(change) <= rows
    gram = held.T @ held
    printed = errors @ torch.linalg.solve(
        words @ torch.linalg.solve(gram, words.T), words @ gram.inverse()
    )  # eq. 5
    assert off(change, printed) < 1e-8
    q, _ = torch.linalg.qr(words.T)
    free = random(OUT, WIDTH, seed=seed + 3)
    free = free - free @ q @ q.T  # what the constraint does not see
    least = float((change @ held.T).square().sum())
    for size in (1e-3, -1e-3, 1.0):
        assert float(((change + size * free) @ held.T).square().sum()) > least


def test_nothing_to_change_changes_nothing() -> None:
    update = solve(random(5, WIDTH, seed=0), random(60, WIDTH, seed=1))
    assert float(update.change(torch.zeros(OUT, 5)).full().abs().max()) == 0


def test_with_captions_of_every_direction_alike_the_update_is_the_smallest() -> None:
    words, errors = random(4, WIDTH, seed=0), random(OUT, 4, seed=1)
    change = solve(words, torch.eye(WIDTH)).change(errors).full().double()
    assert off(change, errors @ torch.linalg.pinv(words.T)) < 1e-6


def test_a_hard_gram_matrix_keeps_the_constraint_and_so_does_its_rounding_to_float32() -> None:
    scales = torch.logspace(0, -4, WIDTH, dtype=torch.float64)  # cond(G) = 1e8
    words, held, errors = (
        random(6, WIDTH, seed=0),
        random(200, WIDTH, seed=1) * scales,
        random(OUT, 6, seed=2),
    )
    update = solve(words, held)
    assert update.ridge == 0
    assert off(errors @ update.left @ update.right @ words.T, errors) < 1e-10
    assert off(update.change(errors).full().double() @ words.T, errors) < 1e-5


def test_too_few_captions_get_a_ridge_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    words, held, errors = random(6, WIDTH, seed=0), random(5, WIDTH, seed=1), random(OUT, 6, seed=2)
    with caplog.at_level(logging.WARNING, "motif"):
        update = solve(words, held)
    assert update.ridge == RIDGE and "more captions" in caplog.text
    change = errors @ update.left @ update.right
    assert off(change @ words.T, errors) < 1e-9
    assert float((change @ held.T).norm()) < 1e-3 * float(change.norm() * held.norm())


def test_a_direction_that_holds_rounding_alone_is_left_out() -> None:
    """A text encoder's last layer norm leaves one: all states sum to nothing but float32's rounding."""
    words, held, errors = random(6, WIDTH, seed=0), random(100, WIDTH, seed=1), random(OUT, 6, seed=2)
    centred = [rows - rows.mean(1, keepdim=True) for rows in (words, held)]
    noisy = [rows + 1e-7 * random(*rows.shape, seed=3) for rows in centred]
    one, two = solve(*centred), solve(*noisy)
    assert one.ridge == two.ridge == 0
    assert off(two.change(errors).full(), one.change(errors).full()) < 1e-5
    assert float(two.change(errors).full().sum(1).norm()) < 1e-4


def test_the_spread_stands_for_the_captions() -> None:
    held, weight = random(80, WIDTH, seed=1), random(OUT, WIDTH, seed=2)
    update = solve(random(6, WIDTH, seed=0), held)
    assert float((weight @ update.spread).norm()) == pytest.approx(float((weight @ held.T).norm()))


def test_rows_that_say_the_same_are_met_together_and_more_rows_than_channels_as_well_as_can_be() -> None:
    words, held = random(4, WIDTH, seed=0), random(80, WIDTH, seed=1)
    errors = random(OUT, 4, seed=2)
    twice = solve(torch.cat([words, words]), held).change(torch.cat([errors, errors], 1))
    assert off(twice.full(), solve(words, held).change(errors).full()) < 1e-5
    many, wanted = random(2 * WIDTH, WIDTH, seed=3), random(OUT, 2 * WIDTH, seed=4)
    change = solve(many, held).change(wanted).full().double()
    assert off(change, wanted @ torch.linalg.pinv(many.T)) < 1e-5
