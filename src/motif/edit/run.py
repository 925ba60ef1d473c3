"""The run that every edit of an inversion is: its lanes, its controls, and what comes out, counted and timed.

A target whose prompt is the photo's own caption, and that nothing else sets apart, is the source, photo by photo.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motif.attention import Call, Control
from motif.base import Base
from motif.counted import Counted
from motif.edit.edited import Edited
from motif.edit.seeded import Seeded
from motif.errors import InputError
from motif.images import to_images
from motif.inversion import Inversion
from motif.lanes import Lane, denoise, finish
from motif.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

    from motif.edit.blend import LocalBlend

log = logging.getLogger("motif")

Source = Inversion | Seeded
Tell = Callable[[Progress], None]

UNSAID = ("base", "inversion", "photo", "prompt", "on_progress")
"""Parameters of an edit that are no settings."""


def targets_of(base: Base, source: Source, prompt: str | Sequence[str]) -> tuple[str, ...]:
    """The target prompts, read once so that what is wrong with them is found before the first step."""
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    if not prompts or not all(text.strip() for text in prompts):
        raise InputError("an edit needs a target prompt: say what the picture shall show")
    source.check(base)
    base.tokenise(prompts)
    return prompts


def told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A method's bound arguments, as a record of it."""
    return {name: value for name, value in settings.items() if name not in UNSAID}


class Follows(Control):
    """Images of lanes that are the source, step for step.

    Args:
        lanes: Which images, for each lane by its name.
    """

    def __init__(self, lanes: Mapping[str, Sequence[int]], source: str = "source") -> None:
        self.lanes, self.source = lanes, source

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        found = dict(latents)
        for lane, images in self.lanes.items():
            found[lane] = latents[lane].clone()
            found[lane][list(images)] = latents[self.source][list(images)]
        return found


@dataclass(frozen=True, eq=False)
class Plan:
    """What an edit does: its lanes, its own controls, and the blend that stands behind all."""

    lanes: Sequence[Lane]
    controls: Sequence[Control] = ()
    blend: LocalBlend | None = None
    same: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    """The images of each lane that nothing sets apart from the source."""


def same_as_source(base: Base, source: Source, lanes: Sequence[Lane]) -> dict[str, list[int]]:
    """{lane: the images whose own caption its prompt is}, to the text encoder."""
    own = said(base, source.prompts)
    own = own * (len(source) if len(own) == 1 else 1)
    found = {
        lane.name: [i for i, caption in enumerate(own) if {*said(base, lane.text.prompts)} == {caption}]
        for lane in lanes[1:]
    }
    return {lane: images for lane, images in found.items() if images}


def said(base: Base, prompts: Sequence[str]) -> list[tuple[Any, ...]]:
    """What the text encoders read of each prompt: equal where letter case and spaces alone differ."""
    columns = zip(*base.tokenise([*prompts]), strict=True)
    return [tuple((tokens.ids, tokens.splices) for tokens in column) for column in columns]


def carried_out(
    base: Base,
    source: Source,
    plan: Plan,
    *,
    method: str,
    settings: Mapping[str, Any],
    tell: Tell | None = None,
    labels: Sequence[str] = (),
) -> Edited:
    """Walk the plan's lanes down and make the result of what they end at."""
    counted = Counted(tell, source.steps)
    last: list[Control] = [plan.blend] if plan.blend else []
    last += [Follows(plan.same)] if plan.same else []
    with torch.no_grad():
        controls = [*source.controls(base), *plan.controls, *last, counted]
        done = finish(denoise(base, plan.lanes, steps=source.steps, controls=controls))
        targets = [lane.name for lane in plan.lanes[1:]]
        pictures = {name: to_images(base.decode(done[name])) for name in ("source", *targets)}
    found = torch.stack([done[name] for name in targets])
    masks = None if plan.blend is None else _masks(plan.blend, targets, found)
    if masks is not None:
        _tell_of(masks)
    return Edited(
        method,
        tuple(lane.text.prompts[0] for lane in plan.lanes[1:]),
        tuple(image for name in targets for image in pictures[name]),
        found,
        sources=photos_of(source),
        reconstructions=tuple(pictures["source"]),
        masks=masks,
        settings=dict(settings),
        evaluations=counted.evaluations,
        seconds=counted.ticker.seconds,
        labels=tuple(labels),
    )


def photos_of(source: Source) -> tuple[Image, ...]:
    """The photos that were inverted; none of a drawn source."""
    return tuple(source.pictures()) if isinstance(source, Inversion) else ()


def _masks(blend: LocalBlend, targets: Sequence[str], like: Tensor) -> Tensor:
    empty = torch.ones(like.shape[1], *like.shape[-2:], dtype=torch.bool)
    return torch.stack([blend.masks[name][:, 0].cpu() if name in blend.masks else empty for name in targets])


def _tell_of(masks: Tensor) -> None:
    """Warn where a mask of [target, image, h, w] keeps nothing of the source, or all of it."""
    if bool(masks.all((-2, -1)).any()):
        log.warning(
            "a mask takes in the whole picture, and keeps nothing of the source: raise the blend threshold"
        )
    if not bool(masks.any(-1).any(-1).all()):
        log.warning(
            "a mask is empty, and its picture stays the source: lower the blend threshold, or spare less"
        )
