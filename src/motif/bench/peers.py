"""The same rows done plainly, as the published code does them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motif.base import Base
from motif.bench import peers_editing
from motif.bench.meter import Meter
from motif.bench.ours import GUIDANCE, WARM, Job, known, lesson
from motif.bench.plain_pipelines import encoders, folder, pipeline_of, stock
from motif.bench.subject import Subject, concept
from motif.errors import InputError
from motif.images import to_images

if TYPE_CHECKING:
    from PIL.Image import Image

    from motif.bench.plain_learning import Course


def ready(verb: str, method: str, settings: Mapping[str, Any], base: Base, subject: Subject) -> Job:
    """The plain side of a row. InputError for bases that it is not written for."""
    told = verb in ("learn", "invert", "edit") and method != "sdedit"
    if len(base.models.readers) > 1 or (base.schedule.prediction != "epsilon" and (told or method == "dci")):
        raise InputError("the plain side is written for one text encoder, and a denoiser that predicts noise")
    return JOBS[verb](method, dict(settings), base, subject)


def _learn(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.bench import plain_learning as plain

    course, photos, prior = course_of(method, settings, base, subject)
    pipe, steps = plain.ready(stock(folder(base), base.device, torch.float32), course), settings["steps"]
    run = plain.train(
        pipe, photos, prior, course, plain.draws(course, len(photos), len(prior), pipe), base.dtype
    )

    def work(meter: Meter) -> None:
        for step in range(1, steps + 1):
            next(run)
            meter.tick(step, last=step == steps)

    return Job(work, pipe.unet, spare=(base.models.unet, base.models.vae, *encoders(base)))


def course_of(
    method: str, settings: Mapping[str, Any], base: Base, subject: Subject
) -> tuple[Course, list[Image], list[Image]]:
    """(what is learned, at which rates, and what is said of the pictures, as ours has it; photos; the prior's)."""
    from motif.bench.plain_learning import DUMMY, Course
    from motif.images import open_picture

    function, examples, told = lesson(method, settings, subject)
    use = function.settle(base, examples, **told)
    plan = function.plan(base, examples, **known(function, use))
    paths = sorted(subject.prior.glob("*.png")) if use["prior"] != "none" else []
    captions = [*plan.captions[0]] if plan.captions else [photo.caption for photo in examples.photos]
    contexts = None
    if plan.contexts:
        ends = [torch.stack([v[0] for name, v in plan.contexts.items() if name.startswith(f"<·{end}")])
                for end in ("before", "after")]  # fmt: skip
        before, after = (" ".join([DUMMY] * part.shape[1]) for part in ends)
        contexts, captions = (ends[0], ends[1]), [f"{before} {examples.phrase} {after}"] * len(examples)
    (words,) = (vectors[0] for vectors in plan.words.values())
    batch = use["batch_size"] * (2 if paths else 1) if use["scale_lr"] else 1
    names = [name.removeprefix("unet.") for name in plan.learned()]
    course = Course(plan.recipe, plan.rates.times(batch), words, captions, plan.class_prompts[0][0], use["batch_size"],
                    names, contexts, plan.augment)  # fmt: skip
    return course, [photo.image for photo in examples.photos], [open_picture(path).image for path in paths]


def _merge(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.bench.plain_merging import merge
    from motif.pocket.captions import captions

    concepts = [concept(base, i + 1, subject.one.noun) for i in range(settings["concepts"])]
    texts = captions(settings["captions"])
    return Job(lambda _: merge(base, concepts, texts), base.models.unet)


def _encode(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.bench.plain_encoding import Encoding
    from motif.elite.start import fresh

    encoding, photo = Encoding(fresh(base), base.device), subject.one.references[0]
    return Job(lambda _: encoding.encode(photo), base.models.unet, lambda: encoding.encode(photo))


def _sample(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    if method == "dci":
        return _dci(settings["steps"], settings["n"], base, subject)
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

    return Job(lambda meter: work(steps, meter), pipe.unet, lambda: work(min(steps, WARM)),
               (base.models.unet, *encoders(base)))  # fmt: skip


def _dci(steps: int, n: int, base: Base, subject: Subject) -> Job:
    from motif.bench.plain_drawing import dci
    from motif.bench.plain_editing import Plain
    from motif.sample.integration import Words
    from motif.sample.stand_in import Pair
    from motif.sample.two_lanes import ASIDE

    noun = subject.one.noun
    me = base.wear(concept(base, 1, noun))
    prompts = Pair.of(me, f"a photo of a <new1> {noun} in the snow")
    main, aux = me.tokenise([prompts.main, prompts.aux])[0]
    words = (Words.of(main, prompts.concept), Words.of(aux, prompts.stand_in, rest=True))
    plain = Plain(me, steps, GUIDANCE)

    def work(steps: int) -> Tensor:
        plain.take(me, steps)
        with torch.no_grad():
            texts = [me.read(text).states for text in ("", prompts.main, prompts.aux)]
        lanes = ([torch.Generator().manual_seed(seed ^ aside) for seed in range(n)] for aside in (0, ASIDE))
        x, other = (
            torch.stack([torch.randn(me.latent_shape(), generator=draw) for draw in lane]) for lane in lanes
        )
        places = ((words[0].own, words[0].picked), (words[1].own, words[1].picked))
        latents = dci(plain, x.to(me.device), other.to(me.device), texts, places, round(0.15 * steps))
        to_images(me.decode(latents))
        return latents

    return Job(lambda _: work(steps), plain.unet, lambda: work(min(steps, WARM)), (base.models.unet,))


JOBS: dict[str, Callable[[str, dict[str, Any], Base, Subject], Job]] = {
    "learn": _learn,
    "merge": _merge,
    "encode": _encode,
    "sample": _sample,
    "invert": peers_editing.invert,
    "edit": peers_editing.edit,
}
