"""Lanes: every sampler, inversion and edit is a few named trajectories in one loop.

A lane has its latents, its text and its unconditional side. The loop stacks the rows of all lanes into one batch, asks
the denoiser once per step, guides each lane and moves it:

    ε̂ = ε_u + g (ε_c − ε_u)          (classifier-free guidance; Ho & Salimans 2022)

This file alone knows the batch's order; controls find rows by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from motif.attention import Call, Control, Memory, Row, Side
from motif.base import Base
from motif.errors import InputError
from motif.guidance import Outputs, guided, lend
from motif.images import to_images
from motif.local import hearing
from motif.schedule import draw_noise
from motif.solver import Solver, begun, walk
from motif.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image

SEEDS = 2**63
"""Seeds lie below it."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One denoising trajectory.

    `uncond` is one text, one per step, or None (no guidance). `borrows` names the lane whose unconditional prediction
    this one is guided with. `until` is the fraction of the run that the lane lives. `way` is where it goes, for a lane
    that was walked before: it is put there, and only those of its rows are predicted that somebody reads.
    """

    name: str
    latents: Tensor  # [image, c, h, w]
    text: Text
    uncond: Text | Sequence[Text] | None = None
    guidance: float = 1.0
    borrows: str | None = None
    until: float = 1.0
    way: Tensor | None = None  # [level, image, c, h, w], level 0 its end

    def sides(self, step: int) -> list[tuple[Side, Text]]:
        """The rows that this lane needs at a step."""
        rows: list[tuple[Side, Text]] = [("cond", self.text)]
        if self.uncond is not None and self.guidance != 1.0:
            rows.append(("uncond", self.uncond if isinstance(self.uncond, Text) else self.uncond[step]))
        return rows

    def last(self, steps: int) -> int:
        """How many steps of the run it lives."""
        return round(self.until * steps)


@dataclass(frozen=True, eq=False)
class Step:
    """Where the loop stands: after step `step`, at timestep `t`, with every living lane's latents."""

    step: int
    steps: int
    t: float
    latents: Mapping[str, Tensor]


def denoise(
    base: Base,
    lanes: Sequence[Lane],
    *,
    steps: int,
    start: int = 0,
    eta: float = 0.0,
    solver: Solver = "ddim",
    draws: Sequence[torch.Generator] = (),
    controls: Sequence[Control] = (),
) -> Iterator[Step]:
    """Walk all lanes down the schedule from step `start`, yielding after each step.

    Latents are in float32 from step to step, whatever the base's type; only what the UNet reads is cast to it. `solver`
    says at which timesteps the run stands and how a lane is moved (`motif.solver`); DDIM is the default.
    Noise for `eta` > 0 comes from each image's generator and is the same in every lane. InputError at the end of the
    run where a control that edits maps was shown none: it would have changed nothing.
    """
    base.models.check_seams()
    controls = hearing(base, controls)
    lengths = {lane.name: len(lane.latents) for lane in lanes}
    if len(lengths) != len(lanes):
        raise InputError("two lanes have one name")
    course = walk(solver, base.schedule, steps, eta)
    if eta and set(lengths.values()) != {len(draws)}:
        raise InputError("eta > 0 needs one generator for each image of every lane")
    _check_lanes(lanes, steps, eta, solver)
    latents = {lane.name: lane.latents.to(_wide(base)) for lane in lanes}
    looked, memory = set[int](), Memory()
    batch: _Batch | None = None
    for step in range(start, steps):
        alive = [lane for lane in lanes if step < lane.last(steps)]
        if not alive:
            break
        rows = [(lane, *row) for lane in alive for row in _read(lane, lanes, controls, step, steps)]
        if batch is None or not batch.holds(rows):
            batch = _Batch.stack(rows, lengths)
        t = course.times[step]
        first = next(iter(latents.values()))
        here = {lane.name: latents[lane.name] for lane in alive}
        kept = None if torch.is_grad_enabled() else memory
        h, w = first.shape[-2:]
        call = Call(batch.rows, step, steps, t, (h, w), tuple(controls), kept, looked, here)
        outputs = _predict(base, batch, here, t, call)
        for control in controls:
            outputs = control.predicted(call, outputs)
        outputs = lend(base.schedule, alive, outputs, here, t)
        noise = draw_noise(tuple(first.shape[1:]), draws, first) if eta else None
        latents = {
            lane.name: lane.way[steps - 1 - step].to(latents[lane.name])
            if lane.way is not None and any((lane.name, side) not in outputs for side, _ in lane.sides(step))
            else course.move(lane.name, latents[lane.name], guided(lane, outputs), step, noise)
            for lane in alive
        }
        for control in controls:
            latents = dict(control.after(call, latents))
        yield Step(step, steps, t, latents)
    deaf = [c for c in controls if type(c).maps is not Control.maps and id(c) not in looked]
    if deaf and start < steps:
        raise InputError(
            f"{type(deaf[0]).__name__} saw no attention map in the whole run: it changed nothing"
        )


def _read(
    lane: Lane, lanes: Sequence[Lane], controls: Sequence[Control], step: int, steps: int
) -> list[tuple[Side, Text]]:
    """A lane's rows of a step; where its way is known, those that another lane borrows or a control reads."""
    rows = lane.sides(step)
    if lane.way is None:
        return rows
    lent = any(other.borrows == lane.name for other in lanes)
    return [
        (side, text)
        for side, text in rows
        if (lent and side == "uncond") or any(c.reads(lane.name, side, step, steps) for c in controls)
    ]


def _check_lanes(lanes: Sequence[Lane], steps: int, eta: float, solver: Solver) -> None:
    """InputError where a lane would go unguided without a word, or not the way that is known."""
    by_name = {lane.name: lane for lane in lanes}
    for lane in lanes:
        if lane.way is not None and (eta or solver != "ddim" or len(lane.way) != steps + 1):
            raise InputError(
                f"lane {lane.name} has a known way of {len(lane.way) - 1} DDIM steps without noise, and the run "
                f"{steps} of {solver} with eta {eta:g}"
            )
        lender = by_name.get(lane.borrows or lane.name)
        if lender is None:
            raise InputError(f"lane {lane.name} borrows from {lane.borrows}, which is no lane of this run")
        if not isinstance(lender.uncond, Text | None) and len(lender.uncond) < steps:
            raise InputError(
                f"lane {lender.name} has {len(lender.uncond)} unconditional texts for {steps} steps"
            )
        if lane.guidance == 1.0:
            continue
        if lender.uncond is None:
            raise InputError(f"lane {lane.name} has guidance {lane.guidance:g} and no unconditional text")
        if lender.guidance == 1.0 or lender.last(steps) < lane.last(steps):
            raise InputError(
                f"lane {lane.name} borrows from {lender.name}, which is not guided as long as it lives"
            )


@dataclass(frozen=True, eq=False)
class _Batch:
    """The stacked rows of one or more steps."""

    rows: tuple[Row, ...]
    states: Tensor  # [row x image, word, channel]
    pooled: Tensor | None

    @staticmethod
    def stack(rows: Sequence[tuple[Lane, Side, Text]], lengths: Mapping[str, int]) -> _Batch:
        named: list[Row] = []
        for lane, side, text in rows:
            first = named[-1].span.stop if named else 0
            named.append(Row(lane.name, side, slice(first, first + lengths[lane.name]), text))
        counts = [row.span.stop - row.span.start for row in named]
        states = [_each(row.text.states, n) for row, n in zip(named, counts, strict=True)]
        pooled = [
            _each(row.text.pooled, n)
            for row, n in zip(named, counts, strict=True)
            if row.text.pooled is not None
        ]
        stacked = torch.cat(states) if states else torch.empty(0)
        return _Batch(tuple(named), stacked, torch.cat(pooled) if pooled else None)

    def holds(self, rows: Sequence[tuple[Lane, Side, Text]]) -> bool:
        """Whether these are the rows it was stacked from."""
        mine = [(row.lane, row.side, id(row.text)) for row in self.rows]
        return mine == [(lane.name, side, id(text)) for lane, side, text in rows]


def _each(states: Tensor, images: int) -> Tensor:
    if len(states) not in (1, images):
        raise InputError(f"{len(states)} prompts for {images} images: give one prompt, or one for each")
    return states.expand(images, *states.shape[1:])


def _predict(base: Base, batch: _Batch, latents: Mapping[str, Tensor], t: float, call: Call) -> Outputs:
    """The raw output of every row: {(lane, side): [image, c, h, w]}."""
    if not batch.rows:
        return {}
    x = torch.cat([latents[row.lane] for row in batch.rows])
    out = base.predict(x.to(base.dtype), t, batch.states, batch.pooled, call).to(x.dtype)
    return {(row.lane, row.side): out[row.span] for row in batch.rows}


def _wide(base: Base) -> torch.dtype:
    """The type of a trajectory: float32 at least, so that a step's small move is not rounded away."""
    return torch.promote_types(base.dtype, torch.float32)


def finish(steps: Iterator[Step]) -> Mapping[str, Tensor]:
    """Run a loop to its end and return the last latents of its lanes."""
    latents: Mapping[str, Tensor] | None = None
    for step in steps:
        latents = step.latents
    if latents is None:
        raise InputError("the run has no steps left to take")
    return latents


def away(base: Base, negative: str, guidance: float) -> Text:
    """What guidance leads away from: the negative prompt, or the empty one. InputError where it would not be heard."""
    if negative and guidance == 1.0:
        raise InputError(
            "guidance 1 leads away from nothing: leave the negative prompt out, or raise guidance"
        )
    return base.read_uncond(negative)


def draw(
    base: Base,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int,
    guidance: float | None = None,
    eta: float = 0.0,
    solver: Solver = "ddim",
    negative: str = "",
    size: tuple[int, int] | None = None,
    batch_size: int = 8,
    controls: Sequence[Control] = (),
) -> Iterator[Image]:
    """Plain pictures, one per prompt and seed; each depends on its own prompt and seed and the settings alone.

    Everything is checked before the first step: prompts, size, counts.
    """
    if seeds and not (min(seeds) >= 0 and max(seeds) < SEEDS):
        raise InputError(f"seeds {min(seeds)} to {max(seeds)}: they lie between 0 and 2^63 - 1")
    if len(prompts) != len(seeds) or not seeds or batch_size < 1:
        raise InputError(
            f"{len(prompts)} prompts, {len(seeds)} seeds, batches of {batch_size}: all must match, from 1 up"
        )
    shape = base.latent_shape(size)
    guidance = base.guidance if guidance is None else guidance
    with torch.no_grad():
        uncond = away(base, negative, guidance)
        texts = [
            base.read(_shortest(prompts[i : i + batch_size])) for i in range(0, len(prompts), batch_size)
        ]
    for i, text in zip(range(0, len(seeds), batch_size), texts, strict=True):
        with torch.no_grad():
            draws = [torch.Generator().manual_seed(seed) for seed in seeds[i : i + batch_size]]
            noise = draw_noise(shape, draws, torch.empty(0, device=base.device, dtype=_wide(base)))
            lane = Lane("main", begun(solver, base.schedule, noise), text, uncond, guidance)
            run = denoise(
                base, [lane], steps=steps, eta=eta, solver=solver, draws=draws, controls=controls
            )  # fmt: skip
            done = finish(run)
            images = to_images(base.decode(done["main"]))
        yield from images


def _shortest(prompts: Sequence[str]) -> Sequence[str]:
    return prompts[:1] if len(set(prompts)) == 1 else prompts
