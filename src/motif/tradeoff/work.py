"""One worker: it holds one base, does one job after another, and leaves results as files.

Learning goes leg by leg through the steps that are asked for, resuming the run's own state; so a run that was killed
goes on, one that is asked for more steps continues, and the result of a leg is what a run of so many steps gives.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import shutil
import time
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_args

import torch

from motif import methods
from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.files import read_json
from motif.images import save_image
from motif.learn.examples import Examples
from motif.learn.run import STATE, SUMMARY
from motif.tradeoff.jobs import Draw, Job, Learn, Measure, blocks
from motif.tradeoff.store import Store
from motif.versions import versions


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know before its first job."""

    folder: str  # the store's
    base: str
    fingerprint: str
    precision: str = ""
    device: str = ""
    threads: int = 1


class Worker:
    """Does jobs."""

    def __init__(self, setup: Setup, base: Base | None = None) -> None:
        self.setup, self.store, self.given = setup, Store(Path(setup.folder)), base
        self.worn: tuple[str, Base] | None = None

    @cached_property
    def base(self) -> Base:
        """The one base, loaded when it is first needed."""
        setup = self.setup
        base = self.given or Base.load(
            setup.base, device=setup.device or None, precision=setup.precision or None
        )
        if base.origin.fingerprint != setup.fingerprint:
            raise InputError(
                f"{setup.base} is another model for this worker: all of them must see the same one"
            )
        return base

    def do(self, job: Job) -> None:
        """Do a job, unless its results are there."""
        kept = torch.get_num_threads()
        torch.set_num_threads(self.setup.threads)
        try:
            if isinstance(job, Learn):
                self._learn(job)
            elif isinstance(job, Draw):
                self._draw(job)
            elif not self.store.has(job.address):
                self._measure(job)
        finally:
            torch.set_num_threads(kept)

    def _made_with(self) -> dict[str, Any]:
        return {"device": str(self.base.device), "threads": self.setup.threads, "versions": versions()}

    # -- learn ---------------------------------------------------------------------------------------------------

    def _learn(self, job: Learn) -> None:
        function = methods.load("learn", job.method)
        examples = Examples(job.photos.folder, job.photos.prompt, noun=job.photos.noun)
        with self.store.alone(job.name):
            missing = {steps: place for steps, place in job.gives.items() if not self.store.has(place)}
            for steps, place in missing.items():
                begun = time.monotonic()
                concept = self._leg(job, function, examples, steps)
                with self.store.making(place) as making:
                    concept.save(making.folder / "concept.safetensors")
                    told = {"settings": dict(concept.record.settings), **self._made_with()}
                    making.result = {"steps": steps, "seconds": round(time.monotonic() - begun, 1), **told}
            for passing in self.store.run(job.name).glob("concept-*.safetensors"):
                passing.unlink()

    def _leg(self, job: Learn, function: Any, examples: Examples, steps: int) -> Concept:
        """Up to `steps`, from where the run stands."""
        asked: dict[str, Any] = dict(job.settings) | ({"steps": steps} if steps else {})
        if not {"resume", "folder"} <= inspect.signature(function).parameters.keys():
            return function(self.base, examples, **asked)
        run = self.store.run(job.name)
        stands = int(read_json(run / SUMMARY)["step"]) if (run / STATE).is_file() else None
        if stands is None or stands > steps:
            shutil.rmtree(run, ignore_errors=True)
            self._share(self.store.run(f"prior-{job.prior}"), run)
        known = inspect.signature(function).parameters
        quiet = {"preview_every": 0} if "preview_every" in known else {}
        resume = (run / STATE).is_file()
        concept = function(self.base, examples, folder=run, resume=resume, **quiet, **asked)
        self._share(run, self.store.run(f"prior-{job.prior}"))
        return concept

    def _share(self, source: Path, target: Path) -> None:
        """Give a run the pictures of a prior that another one has drawn: whole priors alone come and go."""
        for folder in source.glob("prior-*"):
            if not (target / folder.name).is_dir():
                part = target / f".{folder.name}.{os.getpid()}.part"
                shutil.copytree(folder, part, dirs_exist_ok=True, copy_function=_linked)
                try:
                    os.rename(part, target / folder.name)
                except OSError:  # another worker was quicker
                    shutil.rmtree(part, ignore_errors=True)

    # -- draw ----------------------------------------------------------------------------------------------------

    def _draw(self, job: Draw) -> None:
        for seeds in batches(job, self.store):
            self._pass(job, seeds)

    def _pass(self, job: Draw, seeds: tuple[int, ...]) -> None:
        """Pictures of consecutive seeds, of which some may be there."""
        function = methods.load("sample", job.sampler)
        settings: dict[str, Any] = dict(job.settings)
        if "batch_size" in inspect.signature(function).parameters:
            settings["batch_size"] = len(seeds)
        begun, me = time.monotonic(), self._dressed(job.learned)
        images = function(me, job.prompt, n=len(seeds), seed=seeds[0], **settings)
        if len(images) != len(seeds):
            raise InputError(f"{job.sampler} gave {len(images)} pictures for {len(seeds)} seeds")
        told = {
            "prompt": job.prompt,
            "drawn_with": list(seeds),
            "seconds": round(time.monotonic() - begun, 1),
        }
        for seed, image in zip(seeds, images, strict=True):
            if self.store.has(job.gives[seed]):
                continue
            with self.store.making(job.gives[seed]) as making:
                save_image(image, making.folder / f"{seed}.png")
                making.result = {"file": f"{seed}.png", **told, **self._made_with()}

    def _dressed(self, learned: str) -> Base:
        """The base with a concept on; the last one is kept."""
        if not learned:
            return self.base
        if self.worn is None or self.worn[0] != learned:
            concept = Concept.load(self.store.place(learned) / "concept.safetensors")
            self.worn = learned, self.base.wear(concept)
        return self.worn[1]

    # -- measure -------------------------------------------------------------------------------------------------

    def _measure(self, job: Measure) -> None:
        function = methods.load("measure", job.metric)
        known = inspect.signature(function).parameters
        pictures = [self.store.place(draw) / self.store.result(draw)["file"] for draw in job.draws]
        given: dict[str, Any] = {"images": pictures}
        given |= {"prompts": list(job.prompts)} if "prompts" in known else {}
        given |= {"references": [Path(path) for path in job.references]} if "references" in known else {}
        device = {"device": self.setup.device or str(self.base.device)} if "device" in known else {}
        settings: dict[str, Any] = {**device, **job.settings}
        if "encoder" in settings:
            where = str(settings.get("device", "cpu"))
            settings["encoder"] = encoder_of(function, settings["encoder"], where)
        score = function(**given, **settings)
        score = dataclasses.replace(score, images=())  # files of one name in many folders
        with self.store.making(job.address) as making:
            making.result = {**score.as_dict(), "made_with": self._made_with()}


def batches(job: Draw, store: Store) -> list[tuple[int, ...]]:
    """The seeds to draw at once, so that every picture of a job is there.

    Those that a stopped worker had drawn together are drawn together again, although some of them are kept: a picture
    depends on its own seed alone but for rounding, and a stop changes not even that.
    """
    there = {seed for seed in job.gives if store.has(job.gives[seed])}
    known = {tuple(store.result(job.gives[seed])["drawn_with"]) for seed in there}
    known = sorted(batch for batch in known if job.gives.keys() >= {*batch})
    begun = {seed: batch for batch in reversed(known) for seed in batch}  # of several the first
    again = dict.fromkeys(begun[seed] for seed in job.gives if seed in begun and seed not in there)
    fresh = [seed for seed in job.gives if seed not in begun and seed not in there]
    return [*sorted(again), *blocks(fresh, len(job.gives))]


def encoder_of(function: Any, name: Any, device: str) -> Any:
    """The encoder that a metric asks for, read once; its name where the metric takes several kinds.

    MissingModel where it is not on this machine.
    """
    kind = inspect.signature(function).parameters["encoder"].annotation
    kind = eval(kind, function.__globals__) if isinstance(kind, str) else kind
    loads = [one for one in get_args(kind) if hasattr(one, "load")]
    return _encoder(loads[0], str(name), device) if len(loads) == 1 and isinstance(name, str | Path) else name


@cache
def _encoder(kind: Any, name: str, device: str) -> Any:
    return kind.load(name, device=device)


def _linked(source: str, target: str) -> str:
    """A second name for a file, or a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
