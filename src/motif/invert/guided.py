"""One guided step of the source lane, for methods that fit something to come back along Z*."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from motif.attention import Call, Control, Memory, Row, Side
from motif.images import grid, to_images
from motif.invert.pivot import Task
from motif.local import hearing
from motif.replay import clean_between
from motif.schedule import CLEAN
from motif.text import Text


class Guided:
    """Steps down the trajectory `latents` [level, image, c, h, w] with a task's base, captions and guidance."""

    def __init__(self, task: Task, latents: Tensor) -> None:
        self.task, self.latents = task, latents
        self.times = (*task.base.schedule.timesteps(task.steps), CLEAN)
        self.memory, self.heard = Memory(), hearing(task.base, ())
        with torch.no_grad():
            self.empty = task.base.read_uncond()

    def target(self, step: int) -> Tensor:
        """Z* behind a step: [image, c, h, w]."""
        return self.latents[self.task.steps - 1 - step]

    def predict(
        self,
        step: int,
        x: Tensor,
        states: Tensor,
        pooled: Tensor | None,
        *,
        side: Side = "uncond",
        controls: Sequence[Control] = (),
        remember: bool = False,
    ) -> Tensor:
        """The network's output for the source lane; gradients go to `states` and `controls` where they are wanted.

        `remember` keeps the text's keys and values from step to step: for states that never change.
        """
        base, t = self.task.base, self.times[step]
        text = self.task.text if side == "cond" else self.empty
        row = Row("source", side, slice(0, len(x)), text)
        h, w = x.shape[-2:]
        memory = self.memory if remember and not torch.is_grad_enabled() else None
        all_controls = (*self.heard, *controls)
        call = Call((row,), step, self.task.steps, t, (h, w), all_controls, memory, latents={"source": x})
        states = states.to(base.dtype).expand(len(x), -1, -1)
        pooled = None if pooled is None else pooled.expand(len(x), -1)
        self.task.spend(forwards=len(x))
        return base.predict(x.to(base.dtype), t, states, pooled, call).to(x.dtype)

    def cond(self, step: int, x: Tensor) -> Tensor:
        """The output for the captions, without gradients."""
        text = self.task.text
        with torch.no_grad():
            return self.predict(step, x, text.states, text.pooled, side="cond", remember=True)

    def move(self, step: int, x: Tensor, cond: Tensor, uncond: Tensor) -> Tensor:
        """z_{k−1} by guidance and DDIM."""
        out = uncond + self.task.guidance * (cond - uncond)
        return self.task.base.schedule.move(x, out, self.times[step], self.times[step + 1])

    def loss(self, step: int, moved: Tensor, images: Sequence[int]) -> Tensor:
        """The mean squared distance from Z* of each of these images."""
        return (moved - self.target(step)[list(images)]).square().flatten(1).mean(1)

    def clean(self, step: int, before: Tensor, after: Tensor) -> Tensor:
        """x̂₀ that a step went towards."""
        return clean_between(self.task.base.schedule, before, after, self.times[step], self.times[step + 1])

    def show(self, step: int, before: Tensor, after: Tensor) -> None:
        """Hand photos and what the way back goes towards to whoever looks, where it is time for it."""
        task = self.task
        if not task.on_image or not task.show_every or (step + 1) % task.show_every:
            return
        now = to_images(task.base.decode(self.clean(step, before, after)))
        pairs = zip(to_images(task.photos.float() / 127.5 - 1), now, strict=True)
        cells = [picture for pair in pairs for picture in pair]
        labels = ["photo", f"step {step + 1} of {task.steps}"] * len(now)
        task.on_image(grid(cells, columns=2, labels=labels, title=task.prompts[0]))


def states_of(text: Text, images: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """(states, pooled vectors) of some of the images; one prompt is everyone's."""
    if len(text.states) == 1:
        return text.states, text.pooled
    return text.states[list(images)], None if text.pooled is None else text.pooled[list(images)]
