"""Trackers hear what metrics.jsonl holds, through accelerate; one that is not here is named before any work."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from motif import methods
from motif.errors import InputError, Interrupted
from motif.learn import Examples
from motif.learn.fit import Progress
from motif.learn.trackers import named
from pieces import Model

PROMPT = "photo of a <new1> cat"
QUICK: dict[str, Any] = {"steps": 3, "batch_size": 2, "lr": 1e-2, "preview_every": 0, "prior": "none"}


class Slate(GeneralTracker):
    """Notes what it is told."""

    name = "slate"
    requires_logging_directory = False
    seen: list[tuple[Any, ...]] = []  # noqa: RUF012

    def __init__(self, run_name: str) -> None:
        super().__init__()
        self.seen.append(("made", run_name))

    @property
    def tracker(self) -> Any:
        return self.seen

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.seen.append(("settings", values))

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.seen.append((step, values))

    def finish(self) -> None:
        self.seen.append(("finished",))


@pytest.fixture
def slate(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "slate", Slate)
    Slate.seen.clear()
    yield Slate.seen


@pytest.mark.parametrize("name", sorted(methods.LEARN))
def test_a_tracker_hears_every_line_of_the_log(
    name: str, sd1: Model, photos: Path, tmp_path: Path, slate: list[tuple[Any, ...]]
) -> None:
    concept = methods.load("learn", name)(
        sd1.base, Examples(photos, PROMPT), **QUICK, track="slate", folder=tmp_path
    )
    made, (what, settings), *told, finished = slate
    assert made == ("made", f"motif-{name}") and what == "settings" and finished == ("finished",)
    assert settings["lr"] == 1e-2 and all(isinstance(v, bool | int | float | str) for v in settings.values())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [{"step": step, **values} for step, values in told] == lines and len(lines) == 3
    assert concept.record.settings["track"] == "slate"


def test_a_run_that_is_stopped_finishes_its_trackers_and_goes_on_under_its_steps(
    sd1: Model, photos: Path, tmp_path: Path, slate: list[tuple[Any, ...]]
) -> None:
    import os
    import signal

    def press(progress: Progress) -> None:
        if progress.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    learn, examples = methods.load("learn", "textual-inversion"), Examples(photos, PROMPT)
    with pytest.raises(Interrupted):
        learn(sd1.base, examples, **QUICK, track="slate", folder=tmp_path, on_progress=press)
    assert [entry[0] for entry in slate if isinstance(entry[0], int)] == [1, 2] and slate[-1] == ("finished",)
    learn(sd1.base, examples, **QUICK, track=" slate, slate,", folder=tmp_path, resume=True)
    assert [entry[0] for entry in slate if isinstance(entry[0], int)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("track", "word"),
    [("tensorbord", "did you mean tensorboard"), ("mine", "no tracker that accelerate knows; there is aim")],
)
def test_a_tracker_that_nobody_knows_is_refused(
    sd1: Model, photos: Path, tmp_path: Path, track: str, word: str
) -> None:
    with pytest.raises(InputError, match=word):
        methods.load("learn", "textual-inversion")(
            sd1.base, Examples(photos, PROMPT), **QUICK, track=track, folder=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_a_missing_library_is_named_with_its_extra(
    sd1: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: [])
    learn, examples = methods.load("learn", "textual-inversion"), Examples(photos, PROMPT)
    for track, what in (("tensorboard", r'"motif\[trackers\]"'), ("slate,wandb", "install wandb")):
        monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "slate", Slate)
        with pytest.raises(InputError, match=f"library is not installed: pip install {what}|{what}"):
            learn(sd1.base, examples, **QUICK, track=track, folder=tmp_path / "run")


def test_trackers_need_a_run_folder(sd1: Model, photos: Path, slate: list[tuple[Any, ...]]) -> None:
    with pytest.raises(InputError, match="name a folder"):
        methods.load("learn", "textual-inversion")(sd1.base, Examples(photos, PROMPT), **QUICK, track="slate")
    assert not slate


def test_names_are_separated_by_commas() -> None:
    assert named(" tensorboard,trackio , tensorboard,") == ["tensorboard", "trackio"] and named("") == []


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="extra: trackers")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_curves(sd1: Model, photos: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # pyright: ignore[reportMissingImports]
        EventAccumulator,
    )

    methods.load("learn", "textual-inversion")(
        sd1.base, Examples(photos, PROMPT), **QUICK, track="tensorboard", folder=tmp_path
    )
    read = EventAccumulator(str(tmp_path / "tracked" / "motif-textual-inversion")).Reload()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [(event.step, event.value) for event in read.Scalars("loss")]
    assert found == [(line["step"], pytest.approx(line["loss"])) for line in lines]
