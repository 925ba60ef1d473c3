"""DDIM up the schedule: from clean latents to the noise that DDIM brings back to them.

    ε = ε_θ(z_{k−1}, t_k, c),   z_k = √(A_k/A_{k−1}) z_{k−1} + √A_k (√(1/A_k − 1) − √(1/A_{k−1} − 1)) ε

(Song et al. 2021; the label is the next level's, as in prompt-to-prompt's release; card 1.) One conditional pass a
step, guidance 1. The output is read at the level that the latents have, so that v-prediction inverts too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from motif.attention import Call, Control, Memory, Row
from motif.base import Base
from motif.errors import InputError
from motif.local import hearing
from motif.schedule import CLEAN
from motif.text import Text


def climb(
    base: Base,
    x0: Tensor,
    text: Text,
    *,
    steps: int,
    start: int = 0,
    controls: Sequence[Control] = (),
    change: Callable[[int, Tensor, Tensor], Tensor] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (level, z_level) up to level `steps`, for x0 [image, c, h, w], the latents of level `start`.

    `change(t, z, output)` may replace the network's output before the step. The call's row is lane "source", its
    step is the one that comes down again from that level.
    """
    base.models.check_seams()
    schedule, controls = base.schedule, hearing(base, controls)
    if schedule.prediction == "sample" and schedule.at(CLEAN) == 1:
        raise InputError(
            f"{base.name} predicts x0 and ends at ᾱ = 1: no noise can be told from a clean picture"
        )
    times = [CLEAN, *reversed(schedule.timesteps(steps))]
    states = text.states.expand(len(x0), -1, -1)
    pooled = None if text.pooled is None else text.pooled.expand(len(x0), -1)
    row, x = Row("source", "cond", slice(0, len(x0)), text), x0
    h, w = x0.shape[-2:]
    rows, memory = (row,), Memory()
    for k in range(start + 1, steps + 1):
        with torch.no_grad():
            call = Call(
                rows, steps - k, steps, times[k], (h, w), tuple(controls), memory, latents={"source": x}
            )
            out = base.predict(x.to(base.dtype), times[k], states, pooled, call).to(x.dtype)
            out = out if change is None else change(times[k], x, out)
            x = schedule.move(x, out, times[k - 1], times[k])
        yield k, x
