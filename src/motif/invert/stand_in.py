"""An inversion of nothing: what an edit's settings are tried on before a photo is inverted for minutes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from motif.base import Base
from motif.inversion import Inversion, Made
from motif.invert.pivot import begin
from motif.photo import Photo


def stand_in(
    function: Callable[..., Inversion], method: str, base: Base, photo: Photo, prompt: str, **settings: Any
) -> Inversion:
    """As large and as long as `function` would make it, its latents and values 0; photo and caption are checked."""
    bound = inspect.signature(function).bind(base, photo, prompt, **settings)
    bound.apply_defaults()
    task = begin(base, photo, prompt, bound.arguments)
    shape = base.latent_shape((task.photos.shape[-2], task.photos.shape[-1]))
    worn = {concept.fingerprint: " ".join(concept.tokens) for concept in base.concepts}
    latents = torch.zeros(task.steps + 1, len(task.photos), *shape)
    times = base.schedule.timesteps(task.steps)
    parts: dict[str, Any] = {}
    if method == "value-embedding":  # what an edit asks for, and may refuse
        states = torch.zeros(task.steps, len(task.photos), *task.text.states.shape[1:])
        parts = {
            "values": {"direct": states},
            "replays": {"values": {name: bound.arguments[name] for name in ("until", "inputs")}},
        }
    return Inversion(
        method, task.prompts, latents, times, task.guidance, Made(base.origin, worn), task.photos, **parts
    )
