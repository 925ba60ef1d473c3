"""The demo: it goes on where it was stopped, and its places are new ones."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

from motif.base import Base
from motif.demo import _learned, _left, demo, subject_named
from motif.demo_report import _commands
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
    assert _left(tmp_path) == "nothing"
    for step, held, left in (
        (0, False, "nothing"),
        (0, True, "a part"),
        (3, True, "all"),
        (3, False, "nothing"),
    ):
        summary.write_text(json.dumps({"step": step, "steps": 3, "key": {}}))
        state.unlink(missing_ok=True)
        if held:
            state.touch()
        assert _left(tmp_path) == left


def test_a_demo_stopped_after_learning_does_not_learn_again(tmp_path: Path) -> None:
    base, (first, second, *_) = Base.load("pocket"), held_out()
    settings: dict[str, Any] = {"steps": 2, "batch_size": 1, "prior": "none", "preview_every": 0, "seed": 0}
    seen: list[int] = []
    settings |= {"folder": tmp_path / "run", "on_progress": lambda progress: seen.append(progress.step)}
    concept = _learned(base, first, **settings)
    assert _learned(base, first, **settings) == concept and seen == [1, 2]
    assert _learned(base, second, **settings) != concept and seen == [1, 2, 1, 2], (
        "another object's took its place"
    )
    (tmp_path / "run" / "state.json").write_text(
        (tmp_path / "run" / "state.json").read_text().replace('"steps": 2', '"steps": 3', 1)
    )
    with pytest.raises(InputError, match=r"stopped demo .* choose another folder \(-o\)"):
        _learned(base, first, **settings)


@pytest.mark.parametrize("text", ["", '{"step": 1', "[]", "{}", '{"step": null, "steps": 3}', "\xff"])
def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"state\.json is damaged: .*-o"):
        _left(tmp_path)


def test_every_caption_can_name_the_learned_object() -> None:
    from motif.demo_edit import renamed

    assert renamed("a picture of the tall red boat on a lake", "boat", "<new1>") == (
        "a picture of a <new1> boat on a lake"
    )
    assert renamed("photo of an orange-striped cat", "cat", "<new1>") == "photo of a <new1> cat"
    assert renamed("a cat beside the house", "house", "<new1>") == "a cat beside a <new1> house"
    for caption, noun in (
        ("a red boat with a white sail in winter", "boat"),
        ("a pink cat with teal paws", "cat"),
    ):
        assert "sail" not in renamed(caption, noun, "<new1>") and "paws" not in renamed(
            caption, noun, "<new1>"
        )
    assert renamed("a car with a red hat", "car", "<new1>") == "a <new1> car with a red hat"


@pytest.mark.parametrize("subject", held_out(), ids=lambda subject: subject.name)
def test_there_is_a_picture_to_put_every_object_into(subject: Any) -> None:
    from motif.demo_edit import another

    _, caption = another(subject)
    assert f" {subject.noun}" in caption and "<new1>" not in caption


@pytest.mark.slow
def test_the_demo_from_end_to_end(tmp_path: Path) -> None:
    """Few steps of the real thing: everything it promises is there, and its page needs nothing else."""
    from motif.cli.app import app

    cat = subject_named("cat")
    measured = demo(Base.load("pocket"), cat, tmp_path, steps=2)
    assert json.loads((tmp_path / "demo.json").read_text()) == json.loads(json.dumps(measured))
    assert len(measured["scores"]) == 4
    for found in measured["scores"].values():
        assert {"clip-i", "dino-i"} <= found.keys() and all(
            np.isfinite(one["mean"]) for one in found.values()
        )
    drawn = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {
        f"{when}-{place}-{seed}.png" for when in ("before", "after") for place in range(6) for seed in (0, 1)
    }
    assert all((tmp_path / name).stat().st_size for name in ("sheet.png", "edit.png", "concept.safetensors"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    links = re.findall(r"""(?:src|href)=["']?([^"'> ]*)""", page)
    assert links and not [link for link in links if not link.startswith(("data:", "#"))]
    assert page.count("data:image/") >= len(cat.references) + 2 * 6 + 1 and "<svg" in page
    assert all(place in page for place in cat.places)
    by_hand = _commands(cat, measured).splitlines()
    assert [line.split()[1] for line in by_hand] == ["learn", "sample"]
    for line in by_hand:  # as click reads them: an option that does not exist, or a missing one, would raise
        words = shlex.split(line)[1:]
        group = app.get_command(click.Context(app), words[0])
        assert isinstance(group, click.Group)
        command = group.get_command(click.Context(group), words[1])
        assert command and command.make_context(words[1], words[2:]).params["output"]
