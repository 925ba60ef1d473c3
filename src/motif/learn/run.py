"""A training run's folder: its log, checkpoints, previews, and the state to resume from.

metrics.jsonl                 one line a step
concept-0050.safetensors      the concept as it was at a checkpoint
preview-0050.png              fixed prompts and seeds, drawn at that step
state.pt, state.json          values, optimiser and average; the step, and the settings that must not change
keep.json, keep.png           which checkpoint is kept, and why
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.files import natural, written
from motif.learn.descent import Descent
from motif.learn.trained import Trained

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("motif")

STATE, SUMMARY, METRICS = "state.pt", "state.json", "metrics.jsonl"
KEPT, PLOT = "keep.json", "keep.png"
FREE = (
    "steps",
    "checkpoint_every",
    "preview_every",
    "previews",
    "prior",
    "gradient_checkpointing",
    "accumulate",
    "processes",
    "keep",
    "keep_encoder",
    "keep_patience",
    "track",
    "again",
)
"""Settings that may differ between stop and resume: how long and how loudly to train, in how much memory, in how
many processes, which checkpoint is kept in the end, and where photos and prior lie (their digests say what they are).
Where rates fall towards the last step, `steps` may not."""

CONTENT = {
    "base": "another base",
    "photos": "other photos",
    "masks": "other masks",
    "prior_content": "another prior (its pictures or captions)",
    "worn": "another concept worn",
}
"""Parts of a key that are digests: what to say where one differs."""


@dataclass(frozen=True, eq=False)
class Run:
    """Where and how often a run leaves its traces. Without a folder nothing is written."""

    folder: Path | None = None
    resume: bool = False
    checkpoint_every: int = 50
    preview_every: int = 0
    preview: Callable[[Base], Image] | None = None  # a sheet of fixed prompts and seeds, by the dressed base
    hears: Callable[[Mapping[str, Any]], None] | None = None  # is told every line of the log
    writes: bool = True  # of several processes of a run, one does; the others read

    def check(self, record: Record, steps: int) -> None:
        """Before any work: whether this run can begin, or go on to `steps`, in its folder. InputError says what to
        do."""
        if self.checkpoint_every < 1 or self.preview_every < 0:
            raise InputError(
                f"checkpoint_every is {self.checkpoint_every} and preview_every {self.preview_every}: "
                "a checkpoint needs a step between, a preview too, or 0 for none"
            )
        if self.folder is None:
            if self.resume or self.preview_every:
                raise InputError("resume and previews need the run's folder: name one")
            return
        found = _read(self.folder / SUMMARY)
        if self.resume:
            begun = (self.folder / STATE).is_file()
            if not found or (found["step"] and not begun):
                raise InputError(f"{self.folder} holds no state to resume from: start without --resume")
            _same(found["key"], _key(record), self.folder)
            if begun:
                _reaches(self.folder, int(_state(self.folder / STATE, mmap=True)["step"]), steps)
        elif found and found["step"] < found["steps"] and (self.folder / STATE).is_file():
            raise InputError(
                f"{self.folder} holds a run stopped after step {found['step']} of {found['steps']}: "
                "go on with --resume, or choose another run folder"
            )
        elif not found and (strange := _traces(self.folder, steps)):
            raise InputError(
                f"{self.folder} holds {strange[0].name}, which no run here is known to have left: "
                "choose another run folder"
            )

    def begin(self, trained: Trained, descent: Descent, record: Record, steps: int) -> int:
        """The step to start from. A resumed run's values are put back and its log cut to them; a fresh run takes the
        place of a finished one, and signs the folder before it leaves anything there."""
        if self.folder is None:
            return 0
        begun = self.resume and (self.folder / STATE).is_file()
        step = _restore(self.folder / STATE, trained, descent) if begun else 0
        if not self.writes:
            return step
        self.folder.mkdir(parents=True, exist_ok=True)
        if not step:
            self._clear()
        self._sign(record, step, steps)
        metrics = self.folder / METRICS
        lines = metrics.read_text().splitlines() if metrics.is_file() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with written(metrics) as part:
            part.write_text("".join(f"{line}\n" for line in kept))
        return step

    def _clear(self) -> None:
        assert self.folder is not None
        if found := _read(self.folder / SUMMARY):
            old = _traces(self.folder, found["steps"])
            log.warning("%s: an earlier run's traces are replaced (%d files)", self.folder, len(old))
            for path in old:
                path.unlink()

    def _sign(self, record: Record, step: int, steps: int) -> None:
        assert self.folder is not None
        with written(self.folder / SUMMARY) as part:
            part.write_text(json.dumps({"step": step, "steps": steps, "key": _key(record)}) + "\n")

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        if self.folder and self.writes:
            with (self.folder / METRICS).open("a") as file:
                file.write(json.dumps(entry) + "\n")
            if self.hears:
                self.hears(entry)

    def save(self, trained: Trained, descent: Descent, concept: Concept, step: int, steps: int) -> None:
        """The state to resume from, and the concept as it is; each beside its place, then renamed."""
        if self.folder is None or not self.writes:
            return
        values = {name: value.detach().cpu() for name, value in trained.parameters().items()}
        with written(self.folder / STATE) as part:
            torch.save({"step": step, "values": values, **descent.state_dict()}, part)
        self._sign(concept.record, step, steps)
        concept.save(self.folder / f"concept-{step:04d}.safetensors")

    def end(self, record: Record, step: int) -> None:
        """Sign a run that needs no more steps than it has taken as finished."""
        if self.folder and self.writes:
            self._sign(record, step, step)

    def checkpoints(self, steps: int) -> list[tuple[int, Path]]:
        """Its checkpoints of so many steps, with the step of each."""
        paths = _checkpoints(self.folder) if self.folder else []
        found = [(int(path.stem.removeprefix("concept-")), path) for path in paths]
        return [(step, path) for step, path in found if step <= steps]

    def kept(self) -> Path | None:
        """Its last checkpoint, where it can go on from one."""
        last = _checkpoints(self.folder) if self.folder and (self.folder / STATE).is_file() else []
        return last[-1] if last else None

    def draw(self, trained: Trained, base: Base, step: int) -> Path | None:
        """The preview of this step, where one is due."""
        if self.folder is None or self.preview is None or not self.writes:
            return None
        if not self.preview_every or step % self.preview_every:
            return None
        path = self.folder / f"preview-{step:04d}.png"
        with written(path) as part:
            self.preview(trained.settled(base)).save(part)
        return path


def _restore(path: Path, trained: Trained, descent: Descent) -> int:
    state = _state(path)
    with torch.no_grad():
        for name, value in trained.parameters().items():
            value.copy_(state["values"][name])
    descent.load_state_dict(state)
    return int(state["step"])


def _state(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """What `save` wrote. InputError where the file is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError):
        hint = f"; its last checkpoint is {last[-1]}" if (last := _checkpoints(path.parent)) else ""
        raise InputError(
            f"{path} is damaged or cut short, and this run cannot go on: choose another run folder{hint}"
        ) from None


def _traces(folder: Path, steps: int) -> list[Path]:
    """The files that a run of so many steps may have left, and no others."""
    names = [f"{kind}-{step:04d}.{suffix}" for kind, suffix in (("concept", "safetensors"), ("preview", "png"))
             for step in range(steps + 1)]  # fmt: skip
    return [
        folder / name for name in (STATE, SUMMARY, METRICS, KEPT, PLOT, *names) if (folder / name).is_file()
    ]


def _checkpoints(folder: Path) -> list[Path]:
    found = sorted(folder.glob("concept-*.safetensors"), key=natural)
    return [path for path in found if path.stem.removeprefix("concept-").isdecimal()]


def _reaches(folder: Path, done: int, steps: int) -> None:
    """InputError where a run is already beyond the steps that it is to go on to."""
    if done <= steps:
        return
    there = folder / f"concept-{steps:04d}.safetensors"
    hint = (
        f"the concept of step {steps} is {there}"
        if there.is_file()
        else f"it kept no concept of step {steps}"
    )
    raise InputError(
        f"the run in {folder} has taken {done} steps, more than {steps}: {hint}; ask for at least {done}, "
        "or choose another run folder"
    )


def _read(path: Path) -> dict[str, Any]:
    """What `_sign` wrote; {} where it is not that."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"step", "steps", "key"} <= found.keys() else {}


def _key(record: Record) -> dict[str, Any]:
    """What must not change between stop and resume: the base, the photos, and every setting but FREE."""
    free = [name for name in FREE if name != "steps" or record.settings["lr_schedule"] == "constant"]
    settings = {name: value for name, value in record.settings.items() if name not in free}
    key = {"method": record.method, "prompt": record.prompt, "base": record.base.fingerprint, **settings}
    return json.loads(json.dumps(key))


def require_content(again: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """InputError where what a run is to repeat was made of other files: of those kinds whose digests it has."""
    mine = json.loads(json.dumps({name: settings.get(name) for name in CONTENT}))
    for name in CONTENT.keys() & again.keys():
        if mine[name] != again[name]:
            gone = [entry[0] for entry in _entries(again[name]) if entry not in _entries(mine[name])]
            which = f" ({gone[0]} is not what it was)" if gone else ""
            instead = "" if name == "worn" else ", or name what to take instead"
            raise InputError(f"the run to repeat had {CONTENT[name]}{which}: bring back what it had{instead}")


def _entries(photos: Any) -> list[list[str]]:
    """The [name, content, caption] of photos, of one concept or of several; none of other digests."""
    found = [one for one in photos if isinstance(one, list)] if isinstance(photos, list) else []
    return [e for one in found for e in _entries(one)] if found and isinstance(found[0][0], list) else found


def _same(theirs: Mapping[str, Any], mine: Mapping[str, Any], folder: Path) -> None:
    differing = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
    if not differing:
        return
    name = differing[0]
    if name in CONTENT:
        raise InputError(
            f"the run in {folder} has {CONTENT[name]}: resume it with the same, or choose another run folder"
        )
    raise InputError(
        f"the run in {folder} has {name} = {theirs.get(name)}, not {mine.get(name)}: resume with the same settings"
    )
