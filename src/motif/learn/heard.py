"""A setting that the caller gave and nothing would hear is refused, before any work: never a silent no-op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.learn.examples import Examples
from motif.learn.lesson import Lesson
from motif.learn.optimisers import finds_rate

RATES = {"lr", "token_lr", "scale_lr", "context_factor"}
"""Of an optimiser that is told its rates. Prodigy's own groups cannot differ: it raises for any rate but one, or 0."""


def require_heard(
    use: Any, lesson: Lesson | None, concepts: Sequence[Examples], asked: Mapping[str, Any]
) -> None:
    """InputError for a given setting that cannot act.

    Args:
        use: All settings, as attributes.
        lesson: What is learned; None where it is not known yet.
        concepts: The examples; each may have a prior of its own.
        asked: The settings that the caller gave.
    """
    given = {name for name, value in asked.items() if value not in (None, (), "")}
    if lesson and asked.get("token_lr") and not lesson.words:
        raise InputError("token_lr is of a new word, and the prompt names none in angle brackets")
    if lesson and "rare_tokens" in given and not lesson.words:
        raise InputError("rare_tokens are where new words start, and the prompt names none in angle brackets")
    if lesson and "context_factor" in given and not lesson.contexts:
        raise InputError("context_factor is of the photos' contexts, and there are none: leave it out")
    for name in ("prior", "class_prompt"):
        if name in given and concepts and all(getattr(one, name) for one in concepts):
            raise InputError(f"every concept brings a {name} of its own, so that {name} would change nothing")
    if lesson and "trained" in given and not lesson.rates.weights:
        raise InputError("trained says which weights learn, and lr is 0: give lr, or leave trained out")
    if rates := sorted(given & RATES) if finds_rate(use.optimiser) else []:
        raise InputError(
            f"the optimiser {use.optimiser} finds one rate for all that learns: leave {' and '.join(rates)} out"
        )
    if use.keep != "best" and (idle := sorted(given & {"keep_encoder", "keep_patience"})):
        raise InputError(f"{idle[0]} is of keep best: add it, or leave {idle[0]} out")
    if not use.retrieve and (idle := sorted(given & {"retrieve_encoder", "retrieve_threshold"})):
        raise InputError(f"{' and '.join(idle)}: only a retrieved prior hears that: add --retrieve")
    priors = {examples.prior or use.prior for examples in concepts}
    for names, unheard, why in (
        (("prior_count", "prior_steps", "prior_weight", "class_prompt"), {"none"}, "the prior is none"),
        (("prior_count",), {"none", "base"}, "the prior has no pictures"),
        (("prior_steps",), {p for p in priors if _brought(p)}, "no picture of the prior is drawn"),
        (("class_prompt",), {p for p in priors if p.endswith(".txt")}, "the prior's captions are its file's"),
    ):
        if priors <= unheard and (idle := [name for name in names if name in given]):
            raise InputError(
                f"{idle[0]} would change nothing, for {why}: leave it out, or choose another --prior"
            )


def _brought(prior: str) -> bool:
    return prior in ("none", "base") or (prior != "generate" and Path(prior).expanduser().is_dir())
