"""The demo: it goes on where it was stopped, and its places are new ones."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from motif.base import Base
from motif.demo import _learned, _unfinished
from motif.errors import InputError, Interrupted
from motif.pocket.concepts import held_out


def test_every_object_is_drawn_where_no_photo_of_it_was_taken() -> None:
    for subject in held_out():
        photographed = " ".join(path.with_suffix(".txt").read_text() for path in subject.references)
        assert len(set(subject.places)) == 6
        assert not [place for place in subject.places if place in photographed], subject.name


def test_a_stopped_demo_goes_on_by_the_same_command(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "motif")
    base, subject = Base.load("pocket"), held_out()[0]
    settings: dict[str, Any] = {"steps": 3, "batch_size": 1, "prior": "none", "preview_every": 0, "seed": 0}

    def stop(progress: Any) -> None:
        if progress.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="the same command goes on"):
        _learned(base, subject, folder=tmp_path / "run", on_progress=stop, **settings)
    on = _learned(base, subject, folder=tmp_path / "run", on_progress=None, **settings)
    whole = _learned(base, subject, folder=tmp_path / "whole", on_progress=None, **settings)
    assert json.loads((tmp_path / "run" / "state.json").read_text())["step"] == 3
    assert all(torch.equal(change.full(), whole.changes[name].full()) for name, change in on.changes.items())
    assert "learning rate" in caplog.text and "--" not in caplog.text, (
        "an option is advised that the demo lacks"
    )


def test_a_run_goes_on_only_where_its_state_is_there(tmp_path: Path) -> None:
    summary, state = tmp_path / "state.json", tmp_path / "state.pt"
    assert not _unfinished(tmp_path)
    summary.write_text(json.dumps({"step": 0, "steps": 3, "key": {}}))
    assert not _unfinished(tmp_path)
    state.touch()
    assert _unfinished(tmp_path)
    summary.write_text(json.dumps({"step": 3, "steps": 3, "key": {}}))
    assert not _unfinished(tmp_path)


@pytest.mark.parametrize("text", ["", '{"step": 1', "[]", "{}", '{"step": null, "steps": 3}', "\xff"])
def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"state\.json is damaged: .*-o"):
        _unfinished(tmp_path)
