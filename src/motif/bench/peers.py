"""The same rows done plainly, as the published code does them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from motif.base import Base
from motif.bench.meter import Meter
from motif.bench.ours import GUIDANCE, WARM, Job
from motif.bench.subject import Subject, concept
from motif.images import to_images
from motif.loading import pocket_weights
from motif.photo import encode, read_photos


def ready(verb: str, method: str, settings: Mapping[str, Any], base: Base, subject: Subject) -> Job:
    """The plain side of a row."""
    return {"learn": _learn, "merge": _merge, "sample": _sample, "invert": _invert, "edit": _edit}[verb](
        method, dict(settings), base, subject
    )


def folder(base: Base) -> str:
    """What diffusers loads the base from."""
    return str(pocket_weights() / "pipeline") if base.name == "pocket" else os.path.expanduser(base.name)


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
    from diffusers import DDIMScheduler

    from motif.bench.plain_learning import stock

    pipe = stock(folder(base), base.device, base.dtype)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.vae.float()
    pipe.set_progress_bar_config(disable=True)
    prompt, steps, n = f"a photo of a {subject.one.noun} in the snow", settings["steps"], settings["n"]

    def work(steps: int, meter: Meter | None = None) -> Any:
        def tell(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if meter:
                meter.tick(step + 1, last=step + 1 == steps)
            return tensors

        latents = pipe(prompt, num_inference_steps=steps, guidance_scale=GUIDANCE, num_images_per_prompt=n,
                       generator=torch.Generator().manual_seed(0), callback_on_step_end=tell,
                       output_type="latent").images  # fmt: skip
        return to_images(base.decode(latents.to(base.device)))

    return Job(lambda meter: work(steps, meter), pipe.unet, lambda: work(min(steps, WARM)))


def _invert(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    plain, start = _plain(base, settings["steps"], subject)

    def work(rounds: int) -> Any:
        return plain.null_text(*start(), rounds)

    return Job(lambda _: work(settings["inner_steps"]), plain.unet, lambda: work(1))


def _edit(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    plain, start = _plain(base, settings["steps"], subject)
    x0, caption, empty = start()
    noise = plain.ddim(x0, caption)[-1]
    nulls = torch.stack([empty] * settings["steps"])

    def work() -> Any:
        with torch.no_grad():
            source, target = (base.read(text).states for text in (subject.source, subject.target))
            return to_images(base.decode(plain.prompt_to_prompt(noise, nulls, source, target)))

    return Job(lambda _: work(), plain.unet, work)


def _plain(base: Base, steps: int, subject: Subject) -> Any:
    """(the plain procedures, what gives a photo's latents and the states of its caption and of the empty prompt)."""
    from motif.bench.plain_editing import Plain

    def start() -> Any:
        with torch.no_grad():
            x0 = encode(base, read_photos(base, subject.photo))
            return x0, base.read(subject.source).states, base.read("").states

    return Plain(base, steps, GUIDANCE), start
