"""A run's folder: what is resumed is never stopped, and what cannot be resumed is refused by name."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tiny
from motif.cli.voice import Voice
from motif.concept import Concept
from motif.errors import InputError, Interrupted
from motif.learn import Examples, custom_diffusion
from motif.learn.fit import Progress

PROMPT = "photo of a <new1> cat"
SHORT: dict[str, Any] = {"steps": 2, "batch_size": 2, "lr": 1e-2}
QUICK = SHORT | {"prior_count": 3, "prior_steps": 2}


def class_folder(folder: Path) -> Path:
    """A prior's folder: two pictures, one with a caption."""
    folder.mkdir()
    for i in range(2):
        Image.new("RGB", (20, 20), (i * 90, 0, 0)).save(folder / f"{i}.png")
    (folder / "1.txt").write_text("a red cat")
    return folder


@pytest.mark.parametrize(("stop", "prior"), [(3, "none"), (1, "generate"), (1, "class")])
def test_resumed_is_never_stopped(
    base: Any, photos: Path, tmp_path: Path, stop: int, prior: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folder(tmp_path / "class")
    some = {"prior_count": 3} if prior != "none" else {}
    some |= {"prior_steps": 2} if prior == "generate" else {}
    settings = SHORT | {"checkpoint_every": 1, "prior": prior} | some
    whole = custom_diffusion(
        base, Examples(photos, PROMPT), **settings | {"steps": 4}, folder=tmp_path / "whole"
    )
    custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": stop}, folder=tmp_path / "parts")
    parts = custom_diffusion(
        base, Examples(photos, PROMPT), **settings | {"steps": 4}, folder=tmp_path / "parts", resume=True
    )
    assert all(
        torch.equal(whole.changes[name].full(), change.full()) for name, change in parts.changes.items()
    )
    assert all(torch.equal(a, b) for a, b in zip(whole.tokens["<new1>"], parts.tokens["<new1>"], strict=True))
    lines = [json.loads(line) for line in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]


def test_resume_with_another_setting_is_refused_by_name(base: Any, photos: Path, tmp_path: Path) -> None:
    settings = SHORT | {"prior": "none"}
    custom_diffusion(base, Examples(photos, PROMPT), **settings, folder=tmp_path)
    with pytest.raises(InputError, match="token_lr"):
        custom_diffusion(
            base, Examples(photos, PROMPT), **settings, token_lr=0.5, folder=tmp_path, resume=True
        )


def test_ctrl_c_saves_and_resume_goes_on(base: Any, photos: Path, tmp_path: Path) -> None:
    settings = SHORT | {"steps": 4, "prior": "none", "preview_every": 0}

    def press(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    whole = custom_diffusion(base, Examples(photos, PROMPT), **settings)
    with pytest.raises(Interrupted, match="--resume"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings, folder=tmp_path, on_progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 3
    with pytest.raises(InputError, match="stopped after step 3 of 4"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings, folder=tmp_path)
    seen: list[int] = []
    again = custom_diffusion(
        base,
        Examples(photos, PROMPT),
        **settings,
        folder=tmp_path,
        resume=True,
        on_progress=lambda p: seen.append(p.step),
    )
    assert seen == [4], "steps were taken again"
    assert all(
        torch.equal(whole.changes[name].full(), change.full()) for name, change in again.changes.items()
    )


def test_resume_with_other_photos_or_with_nothing_there_is_refused(
    base: Any, photos: Path, tmp_path: Path
) -> None:
    settings = SHORT | {"prior": "none", "preview_every": 0}
    with pytest.raises(InputError, match="no state"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings, folder=tmp_path / "run", resume=True)
    custom_diffusion(base, Examples(photos, PROMPT), **settings, folder=tmp_path / "run")
    fewer = Examples(sorted(photos.glob("*.png"))[:2], PROMPT)
    with pytest.raises(InputError, match="other photos"):
        custom_diffusion(base, fewer, **settings, folder=tmp_path / "run", resume=True)


def test_a_fresh_run_takes_the_place_of_a_finished_one(base: Any, photos: Path, tmp_path: Path) -> None:
    settings = SHORT | {"prior": "none", "preview_every": 0, "checkpoint_every": 1}
    custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": 3}, folder=tmp_path)
    custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": 1}, folder=tmp_path)
    assert [path.stem for path in sorted(tmp_path.glob("concept-*"))] == ["concept-0001"]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_run_beyond_the_steps_asked_for_names_its_checkpoint(
    base: Any, photos: Path, tmp_path: Path
) -> None:
    settings = SHORT | {"prior": "none", "preview_every": 0, "checkpoint_every": 2, "folder": tmp_path}
    custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": 4})
    for steps, words in ((2, r"concept-0002\.safetensors"), (3, "no concept of step 3")):
        with pytest.raises(InputError, match=f"has taken 4 steps, more than {steps}: .*{words}"):
            custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": steps}, resume=True)
    done = custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": 4}, resume=True)
    assert done == Concept.load(tmp_path / "concept-0004.safetensors")


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_a_damaged_state_is_named_before_any_work(
    base: Any, photos: Path, tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QUICK | {"preview_every": 0, "folder": tmp_path}
    custom_diffusion(base, Examples(photos, PROMPT), **settings)
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:kept])
    monkeypatch.setattr("motif.learn.batches.place", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(InputError, match=r"state\.pt is damaged.*another run folder.*concept-0002"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": 3}, resume=True)


def test_resume_with_another_prior_is_refused_and_with_a_moved_one_not(photos: Path, tmp_path: Path) -> None:
    base, prior = tiny.base_of(tiny.pipeline("sd1")), class_folder(tmp_path / "class")
    settings = SHORT | {"preview_every": 0, "prior_count": 3, "folder": tmp_path / "run"}

    def resume(source: Path, steps: int) -> None:
        custom_diffusion(
            base, Examples(photos, PROMPT), **settings | {"prior": str(source), "steps": steps}, resume=True
        )

    custom_diffusion(base, Examples(photos, PROMPT), **settings, prior=str(prior))
    prior = prior.rename(tmp_path / "moved")
    resume(prior, 3)
    for name, content in (("1.txt", b"a blue cat"), ("0.png", (prior / "1.png").read_bytes())):
        before = (prior / name).read_bytes()
        (prior / name).write_bytes(content)
        with pytest.raises(InputError, match="another prior"):
            resume(prior, 4)
        (prior / name).write_bytes(before)
    (tmp_path / "words.txt").write_text("a cat\n")
    with pytest.raises(InputError, match="another prior"):
        resume(tmp_path / "words.txt", 4)


def test_resume_with_another_mask_is_refused_where_masks_count(photos: Path, tmp_path: Path) -> None:
    base, place = tiny.base_of(tiny.pipeline("sd1")), tmp_path / "photos"
    shutil.copytree(photos, place)
    settings = SHORT | {"prior": "none", "preview_every": 0}

    def run(masked: bool, steps: int, resume: bool = False) -> None:
        folder = tmp_path / f"run-{masked}"
        mine = settings | {"steps": steps, "masked": masked, "folder": folder, "resume": resume}
        custom_diffusion(base, Examples(place, PROMPT), **mine)

    Image.new("L", (40, 40), 255).save(place / "0-mask.png")
    run(True, 1)
    run(False, 1)
    Image.new("L", (40, 40), 128).save(place / "0-mask.png")
    with pytest.raises(InputError, match="other masks"):
        run(True, 2, resume=True)
    run(False, 2, resume=True)


def test_files_of_others_are_neither_taken_for_a_runs_nor_deleted(
    base: Any, photos: Path, tmp_path: Path
) -> None:
    settings = SHORT | {"prior": "none", "preview_every": 0, "folder": tmp_path}
    (tmp_path / "metrics.jsonl").write_text("mine")
    with pytest.raises(InputError, match=r"metrics\.jsonl, which no run"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings)
    (tmp_path / "metrics.jsonl").rename(tmp_path / "mine.jsonl")
    mine = [
        tmp_path / name
        for name in ("mine.jsonl", "concept-2024.safetensors", "concept-0001-best.safetensors")
    ]
    for path in mine:
        path.write_text("mine")
    for _ in range(2):  # a fresh run, and one that takes its place
        custom_diffusion(base, Examples(photos, PROMPT), **settings)
        assert all(path.read_text() == "mine" for path in mine)


def test_a_run_killed_between_state_and_summary_goes_on(base: Any, photos: Path, tmp_path: Path) -> None:
    settings = SHORT | {"prior": "none", "preview_every": 0, "folder": tmp_path, "checkpoint_every": 1}
    custom_diffusion(base, Examples(photos, PROMPT), **settings)
    summary = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(summary | {"step": 0}))  # as it was signed at the start
    with pytest.raises(InputError, match="--resume"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings)
    seen: list[int] = []
    custom_diffusion(
        base, Examples(photos, PROMPT), **settings | {"steps": 3}, resume=True,
        on_progress=lambda p: seen.append(p.step),
    )  # fmt: skip
    assert seen == [3]


def test_a_value_that_is_not_finite_is_never_saved(base: Any, photos: Path, tmp_path: Path) -> None:
    settings = SHORT | {"prior": "none", "preview_every": 0, "lr": 1e38, "token_lr": 1e38, "scale_lr": False}
    with pytest.raises(InputError, match="not finite after step 1"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings | {"steps": 1})
    with pytest.raises(InputError, match="not finite after step 1"):
        custom_diffusion(
            base, Examples(photos, PROMPT), **settings, checkpoint_every=1, folder=tmp_path / "run"
        )
    assert not list((tmp_path / "run").glob("*.safetensors")) and not (tmp_path / "run/state.pt").exists()


def test_a_run_stopped_before_its_first_step_goes_on_from_there(
    base: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SHORT | {"prior": "none", "preview_every": 1, "folder": tmp_path}

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("motif.lanes.denoise", stopped)
        with pytest.raises(KeyboardInterrupt):
            custom_diffusion(base, Examples(photos, PROMPT), **settings)
    custom_diffusion(base, Examples(photos, PROMPT), **settings, resume=True)
    assert [path.name for path in sorted(tmp_path.glob("preview-*"))] == [
        f"preview-000{i}.png" for i in range(3)
    ]


def test_the_preview_of_the_step_of_a_stop_is_drawn_on_resume(
    base: Any, photos: Path, tmp_path: Path
) -> None:
    settings = SHORT | {"steps": 3, "prior": "none", "preview_every": 2, "folder": tmp_path}

    def press(progress: Progress) -> None:
        if progress.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="after step 2"):
        custom_diffusion(base, Examples(photos, PROMPT), **settings, on_progress=press)
    assert not (tmp_path / "preview-0002.png").exists()
    told: list[Progress] = []
    custom_diffusion(base, Examples(photos, PROMPT), **settings, resume=True, on_progress=told.append)
    assert (tmp_path / "preview-0002.png").exists()
    assert [(p.step, p.loss is None) for p in told] == [(2, True), (3, False)], "a preview is no step"


def test_a_report_before_a_step_says_no_loss_and_no_speed(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run that starts, and of one that goes on with a preview."""
    voice = Voice()
    with voice.progress("learning") as tell:
        assert tell is not None
        for step in (0, 2):
            tell(Progress(step, 3, None, 0.0, math.inf))
        tell(Progress(3, 3, 0.25, 2.0, 0.0))
    assert capsys.readouterr().err == "learning: step 3/3  loss 0.2500  2.00 steps/s  0 s left\n"
