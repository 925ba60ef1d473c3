"""The published training loops, written plainly, beside ours: the same steps from the same draws, on pocket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from motif.bench import ours, peers
from motif.bench.plain_learning import Draw, draws, ready, rows_of, table_of, train
from motif.bench.plain_pipelines import folder, stock
from motif.bench.plan import rows
from motif.bench.subject import Subject, subject
from motif.learn.batches import Batches, Drawn

METHODS = [row.method for row in rows(only=["learn"]) if row.peer]
SHORT = {"steps": 2, "batch_size": 1}


@pytest.fixture(scope="module")
def about(pocket: Any, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return subject(tmp_path_factory.mktemp("prior"), pocket.size)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Draw]:
    """What our steps draw, as the plain side takes it."""
    found: list[Draw] = []
    draw = Batches._drawn

    def heard(self: Batches, base: Any, step: int) -> Drawn:
        one = draw(self, base, step)
        photos, prior = ([(i, how) for _, i, how in part] for part in (one.photos, one.priors))
        found.append(Draw(photos, prior, one.z, one.eps, one.t))
        return one

    monkeypatch.setattr(Batches, "_drawn", heard)
    return found


def far(mine: Iterator[Tensor], theirs: Iterator[Tensor], before: Iterator[Tensor]) -> float:
    """How far apart two learnings are, as a share of how far they went."""
    a, b, start = (
        torch.cat([part.detach().flatten().float() for part in parts]) for parts in (mine, theirs, before)
    )
    assert float((a - start).abs().max()) > 0, "nothing was learned"
    return float((a - b).norm() / (a - start).norm())


@pytest.mark.parametrize("method", METHODS)
def test_the_published_loop_takes_our_steps(
    method: str, pocket: Any, about: Subject, drawn: list[Draw]
) -> None:
    """Losses, weights and words. Adam takes signs at first: where a slope is nearly 0 they are rounding's."""
    losses: list[float] = []
    function, examples, told = ours.lesson(method, SHORT, about)
    concept = function(pocket, examples, **told, on_progress=lambda p: losses.append(p.loss))
    course, photos, prior = peers.course_of(method, SHORT, pocket, about)
    pipe = ready(stock(folder(pocket), pocket.device, torch.float32), course)
    theirs = list(train(pipe, photos, prior, course, iter(drawn)))
    assert losses == pytest.approx(theirs, rel=1e-3) and len(theirs) == 2
    own = pocket.models.unet
    assert {f"unet.{name}" for name in course.names} == set(concept.changes)
    if course.names:
        mine = (own.get_parameter(name) + concept.changes[f"unet.{name}"].full() for name in course.names)
        plain = (pipe.unet.get_parameter(name) for name in course.names)
        assert far(mine, plain, (own.get_parameter(name) for name in course.names)) < 0.05
    if course.rates.words:
        word = table_of(pipe)[rows_of(pipe, course)]
        assert far(iter([concept.tokens["<new1>"][0]]), iter([word]), iter([course.words])) < 0.05


@pytest.mark.parametrize("method", ["custom-diffusion", "textual-inversion"])
def test_no_word_moves_but_the_one_that_is_learned(method: str, pocket: Any, about: Subject) -> None:
    """All rows' gradients but the word's are zeroed; AdamW's decay, as published, moves the others by lr x 1 % alone,
    and Textual Inversion's script puts them back."""
    course, photos, prior = peers.course_of(method, SHORT, pocket, about)
    pipe = ready(stock(folder(pocket), pocket.device, torch.float32), course)
    table, (token,) = table_of(pipe), rows_of(pipe, course)
    before = table.detach().clone()
    assert torch.equal(before[token], course.words[0])
    run = train(pipe, photos, prior, course, draws(course, len(photos), len(prior), pipe))
    assert 0 < next(run) < 10
    decay = course.rates.words * 1e-2 if course.names else 0.0
    moved = (table.detach() - before * (1 - decay)).norm(dim=1)
    assert int(moved.argmax()) == token and float(moved[token]) > 0.5 * course.rates.words
    moved[token] = 0
    assert float(moved.max()) < 1e-5
