"""What every method's signature shares, and the decorator that makes a method of a plan.

A method is written as its plan: a function of a base, examples and its own settings that gives a `Lesson`. `method`
resolves the settings, runs the lesson (`teach`), and shows one signature and one docstring with the shared settings in
them, so that the command line and the reader see them all.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypedDict, cast, get_type_hints

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.learn.examples import Examples
from motif.learn.fit import Progress
from motif.learn.lesson import Lesson
from motif.learn.teach import HANDLED, teach

P = ParamSpec("P")


class Training(TypedDict, total=False):
    """Settings of every method.

    Args:
        steps: Training steps.
        batch_size: Photos per step, shared out among the concepts; as many of the prior come with them.
        lr: Base learning rate.
        scale_lr: Multiply rates by the total batch, prior included.
        prior: none, generate, base (no pictures: the base's own answer to the class prompt at the photos' noisy latents
            is kept), a folder of pictures, or a .txt file of captions.
        prior_count: How many prior pictures.
        prior_steps: Denoising steps of a generated prior picture.
        prior_weight: Weight of the prior's term.
        class_prompt: What the prior shows: drawn by it, retrieved by it, the caption of pictures without one. The
            default is made of the class words.
        retrieve: Take from the prior folder only what CLIP finds nearest to the class prompt.
        retrieve_threshold: The least cosine of a retrieved caption with the class prompt.
        retrieve_encoder: The CLIP that retrieves: pocket, paper (ViT-B/32), a transformers folder or a hub id; the
            default is pocket's on pocket, and the paper's elsewhere.
        resolution: Side of the pictures to train on, in pixels; the default is the base's size.
        masked: Where a photo has a mask (NAME-mask.png, or alpha), learn its subject alone.
        gradient_checkpointing: Keep few activations for backward and compute the others again: the same result in
            less memory, at about two thirds of the speed.
        accumulate: Compute a step in so many parts, one after another: the same result to rounding, in less memory.
            It divides batch_size.
        optimiser: adamw; adamw-8bit (bitsandbytes; a GPU's, and never run where motif is tested) and prodigy, which
            finds one rate for all that learns (extra "optimisers"); or adafactor, which keeps next to nothing beside
            the values.
        lr_schedule: The rates over the steps: constant, or falling to 0 as a cosine or linear.
        lr_warmup: Steps in which the rates rise to their full size first.
        ema: The concept is a running average of the values that keeps this share at every step, such as 0.999 (less
            in the first steps); 0 is off: the last values.
        min_snr: What timesteps weigh by min-SNR: the ratio at which the weight stops to rise (its paper: 5); 0 weighs
            all alike.
        seed: Seed of every random choice.
        keep: Which checkpoint the concept is: last, or best: the knee of the curve of image and text alignment, drawn
            and measured at every checkpoint. The run ends when it is passed (keep.json and keep.png in its folder).
        keep_patience: How many checkpoints behind the knee must leave it where it is for it to be passed; 0 takes every
            step and chooses then.
        keep_encoder: The CLIP that measures for keep best: pocket, paper (ViT-B/32), a transformers folder or a hub id;
            the default is pocket's on pocket, and the paper's elsewhere.
        track: Trackers of accelerate that hear every step's numbers beside metrics.jsonl: tensorboard, trackio (extra
            "trackers"), wandb...; separated by commas.
        checkpoint_every: Save a checkpoint every so many steps. The default is 50 (500 where all weights learn), and
            with keep best a tenth of the steps.
        preview_every: Draw the preview prompts every so many steps, and before the first; 0 is never. The default is
            50 where the run has a folder.
        previews: Preview prompts; the default is the photos' prompt.
        folder: The run's folder: log, checkpoints, previews, and the state to resume from.
        resume: Go on from the state in the run's folder; the same settings are needed.
        again: A concept's settings, to repeat its run: they stand where none is given, and its photos, masks, prior and
            worn concepts must be the same, as far as it has their digests.
        on_progress: Told of every step.
        on_picture: Told of every prior picture that is drawn: how many, of how many.
    """

    steps: int | None
    batch_size: int | None
    lr: float | None
    scale_lr: bool
    prior: str
    prior_count: int | None
    prior_steps: int | None
    prior_weight: float
    class_prompt: Sequence[str]
    retrieve: bool
    retrieve_threshold: float
    retrieve_encoder: str
    resolution: int | None
    masked: bool | None
    gradient_checkpointing: bool
    accumulate: int
    optimiser: Literal["adamw", "adamw-8bit", "prodigy", "adafactor"]
    lr_schedule: Literal["constant", "cosine", "linear"]
    lr_warmup: int
    ema: float
    min_snr: float
    seed: int
    keep: Literal["last", "best"]
    keep_patience: int
    keep_encoder: str
    track: str
    checkpoint_every: int | None
    preview_every: int | None
    previews: Sequence[str]
    folder: Path | None
    resume: bool
    again: Mapping[str, Any] | None
    on_progress: Callable[[Progress], None] | None
    on_picture: Callable[[int, int], None] | None


DEFAULTS: Mapping[str, Any] = {
    "scale_lr": True, "prior": "generate", "prior_weight": 1.0, "class_prompt": (), "retrieve": False,
    "retrieve_threshold": 0.85, "retrieve_encoder": "", "gradient_checkpointing": False, "accumulate": 1,
    "optimiser": "adamw", "lr_schedule": "constant", "lr_warmup": 0, "ema": 0.0, "min_snr": 0.0, "seed": 23,
    "keep": "last", "keep_patience": 3, "keep_encoder": "", "track": "", "previews": (), "resume": False,
}  # fmt: skip
"""The others have none: they come from the base's advice, or from the paper."""

CHECKPOINTS, READINGS = 50, 10
"""Steps between two checkpoints; and how many checkpoints a curve of keep best has."""


class Method(Protocol[P]):
    """What the decorator makes: a method, with its parts at hand."""

    def __call__(self, *args: P.args, **keywords: P.kwargs) -> Concept: ...

    def settle(self, base: Base, examples: Examples | Sequence[Examples], **given: Any) -> dict[str, Any]:
        """Every setting as it will be used and recorded."""
        ...

    def plan(self, base: Base, examples: Examples | Sequence[Examples], **settings: Any) -> Lesson:
        """The lesson of settled settings."""
        ...


def method(
    name: str,
    paper: Mapping[str, Any],
    *,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    checkpoint_every: int = CHECKPOINTS,
    **defaults: Any,
) -> Callable[[Callable[P, Lesson]], Method[P]]:
    """Make a method of its plan.

    Args:
        name: On the command line, in records, and in a base's advice.
        paper: The paper's numbers for settings that are not given, which a base's advice can replace.
        variants: {setting: other paper numbers where it is on}; advice for them is under "name-setting".
        checkpoint_every: Its default, where a run keeps its last checkpoint.
        defaults: Of shared settings, where they are not everybody's.
    """

    def made(plan: Callable[P, Lesson]) -> Method[P]:
        signature = _signature(plan, {**DEFAULTS, **defaults})

        def settle(base: Base, examples: Examples | Sequence[Examples], **given: Any) -> dict[str, Any]:
            bound = signature.bind(base, examples, **given)
            bound.apply_defaults()
            values = {k: v for k, v in bound.arguments.items() if k not in ("base", "examples", *HANDLED)}
            on = next((setting for setting in variants or {} if values[setting]), "")
            numbers = (variants or {}).get(on, paper)
            settings = advised(base, f"{name}-{on}" if on else name, numbers, values)
            if values["steps"] is None and not isinstance(examples, Examples):
                settings["steps"] *= len(examples)
            if values["batch_size"] is None and not isinstance(examples, Examples):
                settings["batch_size"] += -settings["batch_size"] % len(examples)  # each has its share
            if settings["checkpoint_every"] is None:
                tenth = max(settings["steps"] // READINGS, 1)
                settings["checkpoint_every"] = tenth if settings["keep"] == "best" else checkpoint_every
            if settings.get("token_lr", 0.0) is None:
                settings["token_lr"] = settings["lr"]
            return settings

        @functools.wraps(plan)
        def learned(base: Base, examples: Examples | Sequence[Examples], **given: Any) -> Concept:
            again, new = given.get("again") or {}, given.keys() - HANDLED
            settings = settle(base, examples, **repeated(again, signature.parameters, new) | given)
            known = {k: v for k, v in settings.items() if k in signature.parameters}
            lesson = cast(Any, plan)(base, examples, **known)
            concepts = (examples,) if isinstance(examples, Examples) else tuple(examples)
            handled = {k: given.get(k) for k in HANDLED}
            return teach(base, concepts, name, lesson, settings, asked=given, **handled)

        shown = cast(Any, learned)
        shown.__signature__, shown.__doc__ = signature, _document(plan, paper)
        shown.settle, shown.plan = settle, plan
        return shown

    return made


def repeated(settings: Mapping[str, Any], names: Container[str], new: Collection[str]) -> dict[str, Any]:
    """A concept's settings as a method of these parameters takes them, for the same run again: before it was written
    into them what they turned out to mean for its photos. Where settings are new, only those that were asked for:
    the others follow from all of them anew (a rate from `lora`)."""
    past = settings.get("again", {})
    told = {**settings, **past.get("settings", {})}
    if new:
        told = {name: told[name] for name in past.get("asked", ()) if name in told}
    return {name: value for name, value in told.items() if name in names}


def _signature(plan: Callable[..., Any], defaults: Mapping[str, Any]) -> inspect.Signature:
    """The plan's own parameters, then the shared ones; a number without a default is None."""
    hints, shared = get_type_hints(plan), get_type_hints(Training)
    mine = inspect.signature(plan).parameters.values()
    own = [p.replace(annotation=hints[p.name]) for p in mine if p.kind is not p.VAR_KEYWORD]
    taken = {parameter.name for parameter in own}
    rest = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=shared[name]
        )
        for name in shared
        if name not in taken
    ]
    return inspect.Signature([*own, *rest], return_annotation=Concept)


def _document(plan: Callable[..., Any], paper: Mapping[str, Any]) -> str:
    """The plan's docstring with the shared settings among its arguments, and the paper's numbers behind them."""
    head, raises, errors = (inspect.getdoc(plan) or "").partition("Raises:\n")
    head, _, own = head.partition("Args:\n")
    shared = (inspect.getdoc(Training) or "").partition("Args:\n")[2]
    cut = re.split(r"^(?= {4}\w+: )", f"{own.rstrip()}\n{shared}", flags=re.MULTILINE)
    entries = [_told(entry.rstrip(), paper) for entry in cut if entry.strip()]
    return "\n".join(
        [f"{head.rstrip()}\n\nArgs:", *entries, "Raises:", errors.rstrip() if raises else ERRORS]
    )


def _told(entry: str, paper: Mapping[str, Any]) -> str:
    """A setting's help with the paper's number behind it, where it is a plain one."""
    value = paper.get(entry.partition(":")[0].strip())
    if value is None or "(paper" in entry:
        return entry
    word = ("yes" if value else "no") if isinstance(value, bool) else f"{value:g}"
    return f"{entry.removesuffix('.')} (paper: {word})."


ERRORS = "    InputError: photos, prompt, prior or settings that cannot work, found before the first step."


def advised(base: Base, method: str, paper: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A method's settings as plain JSON values, for use and for the record: what was given, else the base's
    advice, else the paper's; and the precision that the base was loaded in."""
    advice = base.advice.get(method, {})
    for name, value in advice.items():
        if name not in paper or not _fits(value, paper[name]):
            raise InputError(
                f"{base.name} advises {name} = {value!r} for {method}, which cannot be: it may advise numbers for "
                f"{', '.join(paper)} (true or false where the method asks for that)"
            )
    names = sorted(given.keys() | paper.keys())
    settings = {n: given[n] if given.get(n) is not None else advice.get(n, paper.get(n)) for n in names}
    settings["precision"] = str(base.dtype).removeprefix("torch.")
    return json.loads(json.dumps(settings, default=str))


def _fits(value: Any, example: Any) -> bool:
    """Whether an advised value is of the kind of the paper's."""
    if isinstance(value, bool) or isinstance(example, bool):
        return isinstance(value, bool) and isinstance(example, bool)
    return isinstance(value, int if isinstance(example, int) else int | float)
