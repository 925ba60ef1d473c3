"""The same rows done plainly, as the published code does them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.bench import peers_editing
from motif.bench.meter import Meter
from motif.bench.ours import GUIDANCE, WARM, Job
from motif.bench.plain_pipelines import folder, pipeline_of
from motif.bench.subject import Subject, concept
from motif.images import to_images


def ready(verb: str, method: str, settings: Mapping[str, Any], base: Base, subject: Subject) -> Job:
    """The plain side of a row."""
    return JOBS[verb](method, dict(settings), base, subject)


def _learn(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.bench.plain_learning import pipeline, train
    from motif.images import open_picture

    pipe = pipeline(folder(base), base.device)
    photos, prior = (
        [open_picture(path).image for path in paths]
        for paths in (subject.one.references, sorted(subject.prior.glob("*.png")))
    )
    noun, steps = subject.one.noun, settings["steps"]
    run = train(pipe, photos, prior, prompt=f"photo of a <new1> {noun}", noun=noun, lr=1e-6,
                batch_size=settings.get("batch_size", 4), dtype=base.dtype)  # fmt: skip

    def work(meter: Meter) -> None:
        for step in range(1, steps + 1):
            next(run)
            meter.tick(step, last=step == steps)

    return Job(work, pipe.unet)


def _merge(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.bench.plain_merging import merge
    from motif.pocket.captions import captions

    concepts = [concept(base, i + 1, subject.one.noun) for i in range(settings["concepts"])]
    texts = captions(settings["captions"])
    return Job(lambda _: merge(base, concepts, texts), base.models.unet)


def _sample(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    pipe = pipeline_of(base)
    prompt, steps, n = f"a photo of a {subject.one.noun} in the snow", settings["steps"], settings["n"]

    def work(steps: int, meter: Meter | None = None) -> Tensor:
        def tell(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if meter:
                meter.tick(step + 1, last=step + 1 == steps)
            return tensors

        draws = [torch.Generator().manual_seed(seed) for seed in range(n)]
        latents = pipe(prompt, num_inference_steps=steps, guidance_scale=GUIDANCE, num_images_per_prompt=n,
                       generator=draws, callback_on_step_end=tell, output_type="latent").images  # fmt: skip
        to_images(base.decode(latents.to(base.device)))
        return latents

    return Job(lambda meter: work(steps, meter), pipe.unet, lambda: work(min(steps, WARM)))


JOBS: dict[str, Callable[[str, dict[str, Any], Base, Subject], Job]] = {
    "learn": _learn, "merge": _merge, "sample": _sample, "invert": peers_editing.invert, "edit": peers_editing.edit,
}  # fmt: skip
