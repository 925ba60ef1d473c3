"""Every setting of a trade-off told to its methods before any job: what one would refuse is refused first. Of a search
these are the choices, and the ends of the ranges.

A method looks at its settings before it asks a network for anything. So it is called as its job will call it, and
ended where the denoiser, the VAE or a judging encoder would be asked for the first time. Texts are read; nothing is
learned, drawn or written. A concept that is still to be learned is worn as it will start: its words, no weights.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import tempfile
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from motif import methods
from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.learn.examples import Examples
from motif.tradeoff.jobs import Draw, Job, Learn, Measure

log = logging.getLogger("motif")


class Curtain(BaseException):
    """The work would begin here."""


class Nobody:
    """Stands where an encoder will: whoever asks it for anything has looked at the settings."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise Curtain


@dataclass(eq=False)
class Rehearsal:
    """Goes through jobs; each question is asked once."""

    base: Base
    runs: dict[str, Learn] = field(default_factory=dict[str, Learn])  # by the addresses that they give
    asked: set[str] = field(default_factory=set[str])

    def know(self, job: Job) -> None:
        """What later jobs have from it."""
        if isinstance(job, Learn):
            self.runs |= dict.fromkeys(job.makes, job)

    def of(self, job: Job) -> None:
        """InputError where the job would be refused."""
        if isinstance(job, Learn):
            self._learn(job)
        elif isinstance(job, Draw):
            self._draw(job)
        else:
            self._measure(job)

    def _learn(self, job: Learn) -> None:
        function: Any = methods.load("learn", job.method)
        known = inspect.signature(function).parameters
        quiet = {"preview_every": 0} if "preview_every" in known else {}
        for steps in job.gives:
            with tempfile.TemporaryDirectory(prefix="motif-rehearsal-") as folder, ended_at_work(self.base):
                place = {"folder": Path(folder)} if "folder" in known else {}
                asked = dict(job.settings) | ({"steps": steps} if steps else {})
                function(self.base, examples(job), **place, **quiet, **asked)

    def _draw(self, job: Draw) -> None:
        run = self.runs.get(job.learned)
        if self._known("draw", job.sampler, job.settings, run.name if run else job.learned):
            return
        me = self._dressed(run) if job.learned else self.base
        if me is not None:
            function: Any = methods.load("sample", job.sampler)
            with ended_at_work(self.base):
                function(me, job.prompt, n=1, seed=job.seeds[0], **job.settings)

    def _dressed(self, run: Learn | None) -> Base | None:
        """The base with a run's words as they start; None where that is not known, as of a method of somebody's own."""
        function: Any = methods.load("learn", run.method) if run else None
        if run is None or not hasattr(function, "plan"):
            return None
        shown = examples(run)
        settings = function.settle(self.base, shown, **run.settings)
        known = inspect.signature(function).parameters
        lesson = function.plan(self.base, shown, **{k: v for k, v in settings.items() if k in known})
        record = Record(run.method, self.base.origin, shown.nouns, [shown.prompt])
        return self.base.wear(Concept(lesson.words, {}, record)) if lesson.words else self.base

    def _measure(self, job: Measure) -> None:
        n = len(job.draws)
        if self._known("measure", job.metric, job.settings, n, len(job.references)):
            return
        from PIL import Image

        function: Any = methods.load("measure", job.metric)
        known = inspect.signature(function).parameters
        given: dict[str, Any] = {"images": [Image.new("RGB", (8, 8))] * n}
        given |= {"prompts": list(job.prompts)} if "prompts" in known else {}
        given |= {"references": [Path(path) for path in job.references]} if "references" in known else {}
        if "encoder" in known:  # without one a metric of pixels works at once: its job does
            with contextlib.suppress(Curtain):
                function(**given, **{**job.settings, "encoder": Nobody()})

    def _known(self, *question: Any) -> bool:
        told = repr(question)
        self.asked, new = self.asked | {told}, told not in self.asked
        return not new


def rehearse(jobs: Iterable[Job], base: Base, missing: Container[Job]) -> list[str]:
    """Go through the jobs that are to be done; the names of those in which a method's code has a mistake.

    Args:
        jobs: All of them, in an order in which they can be done.
        base: The base.
        missing: Those without a result.

    Raises:
        InputError: what the first of those that cannot work says, and how many there are.
    """
    play, refused, broken = Rehearsal(base), dict[str, str](), list[str]()
    with unheard():
        for job in jobs:
            play.know(job)
            if job not in missing:
                continue
            try:
                play.of(job)
            except InputError as error:
                refused.setdefault(str(error), job.label)
            except Exception:  # its job fails by name, and the rest goes on
                broken.append(job.label)
    if refused:
        why, where = next(iter(refused.items()))
        more = f" (and {len(refused) - 1} more that cannot work)" if len(refused) > 1 else ""
        raise InputError(f"{where}: {why}{more}")
    return broken


def examples(job: Learn) -> Examples:
    """What the run is shown."""
    return Examples(job.photos.folder, job.photos.prompt, noun=job.photos.noun)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """No warnings inside: the work itself says them."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def ended_at_work(base: Base) -> Iterator[None]:
    """End what is done inside, without a word, where the denoiser or the VAE is asked for something."""

    def end(*_: Any) -> NoReturn:
        raise Curtain

    vae: Any = base.models.vae
    with contextlib.ExitStack() as stack:
        for part in (base.models.unet, vae.encoder, vae.decoder):
            stack.callback(part.register_forward_pre_hook(end).remove)
        with contextlib.suppress(Curtain):
            yield
