"""The steps of one run of ELITE's training: views drawn by chance, a loss, an optimiser, an average."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motif.base import Base
from motif.elite.encoder import Encoder
from motif.elite.run import State
from motif.elite.stages import Batch, Learning, Stage, global_loss, local_loss, text_loss
from motif.elite.subjects import Box, Subject, fits_global, fits_local
from motif.elite.targets import Targets
from motif.elite.tower import Tower
from motif.elite.views import View, global_view, local_view
from motif.errors import InputError
from motif.learn.ranks import Ranks
from motif.progress import Ticker
from motif.weights import not_finite

log = logging.getLogger("motif")

NUMBER: Mapping[Stage, int] = {"global": 0, "local": 1, "text": 2}
"""Of a stage's stream of random numbers."""


@dataclass(frozen=True, eq=False)
class Job:
    """One run with everything that it is made of."""

    base: Base
    subjects: tuple[Subject, ...]
    tower: Tower
    start: Encoder
    learning: Learning
    use: Any  # the settings, by name
    ranks: Ranks = field(default_factory=Ranks)
    targets: Targets = field(init=False)
    lost: set[tuple[str, Box | None]] = field(default_factory=set[tuple[str, Box | None]])  # cannot be read

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", Targets(self.base))

    def check(self) -> None:
        """InputError where a stage would have nothing to see (the first objects are looked at), or a process nothing to
        do."""
        if self.use.text_steps and not all(subject.words and subject.caption for subject in self.subjects):
            raise InputError(
                "the text stage needs words for every object, as pocket's shards have them: text_steps 0"
            )
        for stage in ("global", *(("local",) if self.use.local_steps else ())):
            if not any(self._fits(stage, subject) for subject in self.subjects[:64]):
                what = (
                    "2 to 80 % of its picture"
                    if stage == "global"
                    else "a mask of a fifth of its picture's side"
                )
                raise InputError(f"no object for the {stage} stage among the first: each needs {what}")
            if (size := self._size(stage)) < self.ranks.count:
                raise InputError(
                    f"{size} pictures a step for {self.ranks.count} processes: each needs one at least"
                )

    def _size(self, stage: str) -> int:
        return int(self.use.local_batch_size if stage == "local" else self.use.batch_size)

    def _fits(self, stage: str, subject: Subject) -> bool:
        if stage == "local" and not subject.masked:
            return False
        image, mask, box = subject.seen()
        if stage != "local":
            return fits_global(image, box)
        own = mask.crop(box).getbbox() if mask else None  # a box may be another object's than the mask
        return own is not None and fits_local(image, own)

    def _usable(self, stage: str, subject: Subject) -> bool:
        """Whether it fits; one that cannot be read is left out, with a warning, so that it does not end a long run."""
        try:
            return (subject.name, subject.box) not in self.lost and self._fits(stage, subject)
        except InputError as error:
            self.lost.add((subject.name, subject.box))
            log.warning("left out: %s", error)
            return False

    def run(
        self,
        stage: Stage,
        first: int,
        total: int,
        saved: Mapping[str, Any] | None,
        state: State,
        ticker: Ticker,
        checkpoint_every: int,
    ) -> None:
        """Take the steps of one stage; its values are their average then, where one is kept."""
        self.learning.begin(stage)
        own, optimiser = self.learning.own(stage), self._optimiser(stage)
        average = {name: value.detach().clone() for name, value in own.items()} if self.use.ema else {}
        if saved:
            optimiser.load_state_dict(dict(saved["optimiser"]))
            for name, mean in average.items():
                mean.copy_(saved["average"][name])
        if first > total:
            raise InputError(
                f"the run has taken {first} steps of the {stage} stage, more than {total}: ask for more"
            )
        ticker.skip(first)
        with state.stopping() as stop:
            for step in range(first, total):
                reached, stopped = self._step(stage, step, own, optimiser, average, stop=stop.is_set())
                state.note({"stage": stage, "step": step + 1, "loss": reached})
                due = (step + 1) % checkpoint_every == 0 or step + 1 == total or stopped
                if due and (broken := not_finite(own)):
                    raise InputError(f"{broken} is not finite after step {step + 1}: lower the stage's rate")
                if due:
                    state.save(stage, step + 1, self.learning.own, optimiser, average)
                ticker.tick(loss=reached)
                state.stop(stopped, stage, step + 1, total)
        with torch.no_grad():
            for name, mean in average.items():
                own[name].copy_(mean)

    def _optimiser(self, stage: Stage) -> torch.optim.AdamW:
        use, (network, weights) = self.use, self.learning.parts(stage)
        rates = {
            "text": (use.text_lr, 0.0),
            "global": (use.lr, use.weight_lr),
            "local": (use.local_lr, use.local_lr),
        }[stage]
        groups = [
            {"params": [*part.values()], "lr": rate}
            for part, rate in zip((network, weights), rates, strict=True)
            if part
        ]
        return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, fused=True)

    def _step(
        self,
        stage: Stage,
        step: int,
        own: Mapping[str, nn.Parameter],
        optimiser: torch.optim.Optimizer,
        average: Mapping[str, Tensor],
        *,
        stop: bool,
    ) -> tuple[float, bool]:
        """(the loss, whether any process was asked to stop)."""
        size = self._size(stage)
        rows = range(size)[self.ranks.parts(1)[0]]
        loss = self.loss(stage, step, rows) * (len(rows) / size)
        reached, stopped = self.ranks.told(float(loss.detach()), stop)
        if not math.isfinite(reached):
            raise InputError(f"the loss at step {step} of the {stage} stage is {reached}: lower its rate")
        loss.backward()
        self.ranks.add_gradients(own.values())
        nn.utils.clip_grad_norm_(own.values(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if average:
            keep = min(self.use.ema, (1 + step) / (10 + step))
            for name, mean in average.items():
                mean.lerp_(own[name].detach(), 1 - keep)
        return reached, stopped

    def loss(self, stage: Stage, step: int, rows: range | None = None) -> Tensor:
        """What a step minimises, over these pictures of it."""
        rows = range(self._size(stage)) if rows is None else rows
        rngs = [np.random.default_rng([self.use.seed, NUMBER[stage], step, i]) for i in rows]
        views = [self._view(stage, rng) for rng in rngs]
        draws = [torch.Generator().manual_seed(int(rng.integers(2**62))) for rng in rngs]
        if stage == "text":
            return self._text(views)
        batch = Batch.of(self.base, self.tower, self.start.layers, views, draws, self.targets)
        with self._precision():
            if stage == "global":
                return global_loss(self.base, self.learning, self.start.widths, batch, self.use.l1)
            return local_loss(self.base, self.learning, self.start.widths, batch, self.use.local_l1)

    def _text(self, views: Sequence[View]) -> Tensor:
        pictures = torch.stack([view.picture for view in views]).to(self.base.device)
        states = self.tower.states(pictures, self.start.layers)
        captions, said = (tuple(getattr(view, name) for view in views) for name in ("caption", "words"))
        with self._precision():
            return text_loss(self.base, self.learning, self.start.widths, states, captions, said)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        """bfloat16 where it is asked for and pays. On a CPU the fused attention's way back is slow in it: the plain one
        takes a third of the time."""
        from torch.nn.attention import SDPBackend, sdpa_kernel

        from motif.pocket.recipe.speed import autocast

        if not self.use.mixed:
            yield
            return
        kind = self.base.device.type
        with autocast(kind), sdpa_kernel(SDPBackend.MATH) if kind == "cpu" else contextlib.nullcontext():
            yield

    def _view(self, stage: Stage, rng: np.random.Generator) -> View:
        """One object that fits, drawn by chance, as this stage sees it."""
        side, factor = self.base.size, self.base.latent_factor
        for _ in range(1000):
            subject = self.subjects[int(rng.integers(len(self.subjects)))]
            if self._usable(stage, subject):
                augment = self.use.augment
                if stage != "local":
                    return global_view(subject, side, factor, self.tower.side, rng, augment=augment)
                return local_view(
                    subject, side, factor, self.tower.side, self.tower.cells, rng, augment=augment
                )
        raise InputError(
            f"a thousand objects, and none fits the {stage} stage: their boxes or masks are too small"
        )

    def encoder(self, *, local: bool) -> Encoder:
        """What was learned so far."""
        return self.learning.encoder(
            self.start,
            self.base,
            local=local,
            settings=json.loads(json.dumps(vars(self.use))),
            origin=self.base.origin,
        )
