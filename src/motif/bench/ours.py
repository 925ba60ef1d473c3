"""Each row as motif does it: what is made ready beforehand, and the call that is measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from motif import methods
from motif.base import Base
from motif.bench.meter import Meter
from motif.bench.subject import Subject, concept

GUIDANCE = 5.0
NO_PRIOR = ("textual-inversion",)
WARM = 8
"""Steps of a drawing that is not measured: so many that DCI has a step of its own among them."""


@dataclass(frozen=True)
class Job:
    """One call, ready to be measured."""

    work: Callable[[Meter], Any]
    unet: Any = None  # whose evaluations count
    warm: Callable[[], Any] | None = None  # a short one before it
    spare: tuple[Any, ...] = ()  # the base's networks that this side has others for: they are put away


def ready(verb: str, method: str, settings: Mapping[str, Any], base: Base, subject: Subject) -> Job:
    """The job of a row."""
    return JOBS[verb](method, dict(settings), base, subject)


def known(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that a method takes."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in settings.items() if name in names}


def lesson(method: str, settings: Mapping[str, Any], subject: Subject) -> tuple[Any, Any, dict[str, Any]]:
    """(the way to learn, what it is shown, what it is told)."""
    from motif.learn.examples import Examples

    function = methods.load("learn", method)
    prompt = f"photo of a <new1> {subject.one.noun}"
    examples = Examples(subject.one.folder, prompt, prior="" if method in NO_PRIOR else str(subject.prior))
    return function, examples, known(function, {"masked": False, **settings})


def _learn(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    function, examples, told = lesson(method, settings, subject)
    return Job(lambda meter: function(base, examples, **told, on_progress=meter.told), base.models.unet)


def _merge(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.learn.merge import merge
    from motif.pocket.captions import captions

    concepts = [concept(base, i + 1, subject.one.noun) for i in range(settings["concepts"])]
    texts = captions(settings["captions"])
    return Job(lambda _: merge(base, *concepts, captions=texts), base.models.unet)


def _encode(_: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.elite.start import fresh

    encoder = fresh(base)
    photo, device = subject.one.references[0], str(base.device)

    def work() -> Any:
        return encoder.encode(photo, token="<S>", noun=subject.one.noun, device=device)

    return Job(lambda _: work(), base.models.unet, work)


def _sample(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    function, noun = methods.load("sample", method), subject.one.noun
    side = round(base.size * settings.pop("scale", 1.0) / 32) * 32
    worn = max(int(settings.pop("worn", 0)), method == "dci")
    me = base.wear(*[concept(base, i + 1, noun) for i in range(worn)]) if worn else base
    words = " and ".join(f"a <new{i + 1}> {noun}" for i in range(worn)) or f"a {noun}"
    told = {**settings, "guidance": GUIDANCE, "height": side, "width": side}

    def work(told: dict[str, Any], tell: Any = None) -> Any:
        return function(me, f"a photo of {words} in the snow", **told, on_progress=tell)

    return Job(
        lambda meter: work(told, meter.told),
        base.models.unet,
        lambda: work({**told, "steps": min(told["steps"], WARM)}),
    )


def _invert(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    function = methods.load("invert", method)

    def work(told: dict[str, Any], tell: Any = None) -> Any:
        return function(base, subject.photo, subject.source, **told, on_progress=tell)

    told = known(function, {**settings, "guidance": GUIDANCE})
    short = told | known(function, {"steps": 2, "inner_steps": 1})
    return Job(lambda meter: work(told, meter.told), base.models.unet, lambda: work(short))


def _edit(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    from motif.invert import ddim, direct, value_embedding

    function, steps = methods.load("edit", method), settings["steps"]
    me, target, extra = base, subject.target, dict[str, Any]()
    if method == "custom-edit":
        me = base.wear(concept(base, 1, subject.one.noun))
        target = target.replace(subject.one.noun, f"<new1> {subject.one.noun}")
    if method == "prompt-to-prompt":
        extra = {"mode": "replace"}
    if method == "pix2pix-zero":
        extra = {"source_captions": [subject.source], "target_captions": [subject.target]}
    start: Any = (ddim if method == "pix2pix-zero" else direct)(
        me, subject.photo, subject.source, steps=steps, guidance=GUIDANCE
    )
    if method == "style-transfer":
        extra = {"style": value_embedding(me, subject.one.views[1], subject.source, **settings)}
    if method == "sdedit":
        start, extra = subject.photo, {"steps": steps}

    def work(tell: Any = None) -> Any:
        return function(me, start, target, **extra, on_progress=tell)

    return Job(lambda meter: work(meter.told), base.models.unet, work)


JOBS: dict[str, Callable[[str, dict[str, Any], Base, Subject], Job]] = {
    "learn": _learn,
    "merge": _merge,
    "encode": _encode,
    "sample": _sample,
    "invert": _invert,
    "edit": _edit,
}
