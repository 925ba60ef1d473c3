"""ELITE's training: the global mapping network on a folder of objects, then the local one beside it, frozen.

Wei et al. 2023 (arXiv 2302.13848), section 3; card 2.5 and 3.6. AdamW at a constant rate, gradients clipped to 1,
70,000 steps and then 65,000 (the release's). Step i of a stage depends on (seed, stage, i) alone, so that a run that
was stopped goes on as if it had not been.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from motif.base import Base
from motif.elite.encoder import Encoder
from motif.elite.job import Job
from motif.elite.run import State
from motif.elite.stages import STAGES, Learning
from motif.elite.start import default_image, fresh
from motif.elite.subjects import read_subjects
from motif.elite.tower import Tower
from motif.errors import InputError
from motif.learn.ranks import Ranks
from motif.learn.training import advised
from motif.progress import Progress, Ticker

log = logging.getLogger("motif")

PAPER = {
    "text_steps": 0, "text_lr": 1e-3, "steps": 70_000, "local_steps": 65_000, "batch_size": 64, "local_batch_size": 32,
    "lr": 6.4e-5, "weight_lr": 6.4e-5, "local_lr": 3.2e-4, "l1": 0.01, "local_l1": 1e-4,
}  # fmt: skip
"""The release's numbers (the paper has batches of 16 and 8, and rates of 1e-6 and 1e-5 before scaling)."""


def elite(
    base: Base,
    dataset: str | Path,
    *,
    image: str = "",
    layers: str | Sequence[int] = "",
    text_steps: int | None = None,
    steps: int | None = None,
    local_steps: int | None = None,
    batch_size: int | None = None,
    local_batch_size: int | None = None,
    text_lr: float | None = None,
    lr: float | None = None,
    weight_lr: float | None = None,
    local_lr: float | None = None,
    l1: float | None = None,
    local_l1: float | None = None,
    augment: bool = True,
    hidden: int = 0,
    ema: float = 0.0,
    mixed: bool = False,
    limit: int = 0,
    seed: int = 23,
    checkpoint_every: int = 500,
    folder: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Encoder:
    """Train an encoder that makes a concept of one photo, on pictures with one object each.

    What is not given comes from the base's advice where it has some, and from the release elsewhere.

    Args:
        image: The image encoder: pocket, paper (CLIP ViT-L/14), a transformers folder or a hub id; the default is
            pocket's on pocket, and the paper's elsewhere.
        layers: Layers of the image encoder that the words read, the primary word's first, such as 4,1,2,3; the same one
            may be read several times. The default is the paper's choice, by depth.
        text_steps: Steps of a stage before the others, in which the words learn to say what words for the objects say,
            where the pictures have them (pocket's shards do; release: 0).
        steps: Steps of the global stage (release: 70000).
        local_steps: Steps of the local stage (release: 65000); 0 leaves the local network out.
        batch_size: Pictures per step of the global stage (release: 64, paper: 16).
        local_batch_size: Pictures per step of the local stage (release: 32, paper: 8).
        text_lr: Learning rate of the text stage.
        lr: Learning rate of the global stage's network, as it is used (release: 6.4e-5).
        weight_lr: Learning rate of the base's keys and values in that stage (release: 6.4e-5).
        local_lr: Learning rate of the local stage, as it is used (release: 3.2e-4).
        l1: Weight of the words' mean size (release: 0.01).
        local_l1: Weight of the local values' mean size (release: 0.0001).
        augment: Vary what the image encoder sees, and place the local stage's targets by chance.
        hidden: Channels inside of the networks; 0 is as many as the image encoder has (release).
        ema: Each stage ends with a running average of its values that keeps this share at every step, such as 0.999;
            0 is off (release).
        mixed: Compute in bfloat16 where this machine multiplies it; the values stay in float32.
        limit: Use the first so many objects; 0 is all.
        seed: Seed of every random choice.
        checkpoint_every: Save the state every so many steps.
        folder: The run's folder: log, state, and the encoder behind the global stage.
        resume: Go on from the state in the run's folder; the same settings are needed, more steps may be asked for.
        on_progress: Told of every step of both stages.
    Raises:
        InputError: no object of a fit size, no mask for the local stage, a base that is not in float32, or a state of
            another run. Interrupted: stopped by Ctrl-C; the state is saved.
    """
    given = {
        "text_steps": text_steps, "steps": steps, "local_steps": local_steps, "batch_size": batch_size,
        "local_batch_size": local_batch_size, "text_lr": text_lr, "lr": lr, "weight_lr": weight_lr,
        "local_lr": local_lr, "l1": l1, "local_l1": local_l1, "augment": augment, "hidden": hidden, "ema": ema,
        "mixed": mixed, "limit": limit, "seed": seed, "image": image or default_image(base),
        "layers": _layers(layers),
    }  # fmt: skip
    settings = advised(base, "elite", PAPER, given)
    use = SimpleNamespace(**settings)
    _check(base, use, checkpoint_every)
    _tell_idle(given, use)
    subjects = read_subjects(dataset, limit=limit)
    tower = Tower.load(use.image, device=str(base.device))
    start = fresh(base, use.image, seed=seed, hidden=hidden, layers=use.layers, settings=settings)
    job = Job(base, subjects, tower, start, Learning.of(start, base), use, Ranks.here(base.device))
    job.check()
    state = State(
        folder, {**settings, "base": base.origin.fingerprint, "pictures": [s.name for s in subjects]}
    )
    state = state.led_by(job.ranks)
    state.check(resume)
    counts: dict[str, int] = dict(zip(STAGES, (use.text_steps, use.steps, use.local_steps), strict=True))
    ticker, todo = Ticker(on_progress, sum(counts.values())), list(STAGES)
    done, saved = 0, None
    if resume:
        stage, done, saved = state.read(job.learning.own, counts)
        for _ in STAGES[: STAGES.index(stage)]:
            ticker.skip(counts[todo.pop(0)])
    for stage in todo:
        if counts[stage]:
            job.run(stage, done, counts[stage], saved, state, ticker, checkpoint_every)
        if stage == "global" and folder and job.ranks.leads:
            job.encoder(local=False).save(folder / "global.safetensors")
        done, saved = 0, None
    return job.encoder(local=bool(use.local_steps))


IDLE = {"text_steps": ("text_lr",), "local_steps": ("local_batch_size", "local_lr", "local_l1")}
"""What says nothing where a stage has no steps."""


def _tell_idle(given: Mapping[str, Any], use: Any) -> None:
    for steps, names in IDLE.items():
        if not getattr(use, steps) and (said := [name for name in names if given[name] is not None]):
            log.warning("%s is 0, so that %s changes nothing", steps, " and ".join(said))


def _layers(told: str | Sequence[int]) -> tuple[int, ...]:
    """The layers asked for; none is the paper's choice."""
    try:
        return tuple(
            int(part) for part in (told.split(",") if isinstance(told, str) else told) if str(part).strip()
        )
    except ValueError:
        raise InputError(f'layers "{told}": numbers with commas between, such as 4,1,2,3') from None


def _check(base: Base, use: Any, checkpoint_every: int) -> None:
    if base.dtype != torch.float32:
        raise InputError(
            f"the base is in {base.dtype}: ELITE's networks are trained in float32 (--precision fp32)"
        )
    if base.concepts:
        raise InputError("the base wears concepts: an encoder is trained on the bare base")
    least = {
        "text_steps": 0,
        "steps": 1,
        "local_steps": 0,
        "batch_size": 1,
        "local_batch_size": 1,
        "l1": 0,
        "local_l1": 0,
        "hidden": 0,
        "limit": 0,
    }
    for name, lowest in least.items():
        if not getattr(use, name) >= lowest:
            raise InputError(f"{name} is {getattr(use, name)}: it must be {lowest} or more")
    if not 0 <= use.ema < 1:
        raise InputError(f"ema is {use.ema}: a share of the average that each step keeps; 0 is off")
    for name in ("text_lr", "lr", "weight_lr", "local_lr"):
        if not (math.isfinite(getattr(use, name)) and getattr(use, name) > 0):
            raise InputError(f"{name} is {getattr(use, name)}: it must be above 0")
    if checkpoint_every < 1:
        raise InputError(f"checkpoint_every is {checkpoint_every}: a checkpoint needs a step between")
