"""`motif tradeoff` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motif.cli import main


def write(folder: Path, home: Path, photos: Path, clip: Path, more: str = "") -> Path:
    spec = folder / "spec.toml"
    spec.write_text(f"""
base = "{home}"
concepts = [{{name = "toy", photos = "photos", prompt = "photo of a <new1> cat"}}]
prompts = ["a {{concept}}"]
seeds = 2
sampling = {{steps = 1}}
encoder = "{clip}"
methods = [{{name = "the base", sampling = {{guidance = [1.0, 3.0]}}}}]
{more}
""")
    return spec


def test_a_grid_from_the_shell(
    tmp_path: Path, home: Path, photos: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, out = write(tmp_path, home, photos, clip_folder), tmp_path / "out"
    words = ["tradeoff", str(spec), "-o", str(out), "--device", "cpu"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "the base guidance 1" in told.out and "hypervolume of the base" in told.out
    assert "6 jobs, 0 of them done already" in told.err and "6 of 6 jobs" in told.err
    assert main([*words, "--json", "--quiet"]) == 0
    again = capsys.readouterr()
    assert again.err == "" and json.loads(again.out)["points"][1]["settings"] == {"guidance": 3.0}


def test_what_cannot_work_is_said_before_any_work(
    tmp_path: Path, home: Path, photos: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write(tmp_path, home, photos, clip_folder, "metrix = 3")
    assert main(["tradeoff", str(spec), "-o", str(tmp_path / "out")]) == 2
    assert "no setting metrix here; did you mean metrics?" in capsys.readouterr().err
    assert main(["tradeoff", str(tmp_path / "no.toml"), "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_failures_are_the_exit(
    tmp_path: Path, home: Path, photos: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, words = write(tmp_path, home, photos, clip_folder), ["-o", str(tmp_path / "out"), "--device", "cpu"]
    text = spec.read_text()
    spec.write_text(text.replace("guidance = [1.0, 3.0]", 'negative = ["", "<new9>"]'))
    assert main(["tradeoff", str(spec), *words]) == 2
    told = capsys.readouterr()
    assert "toy: the base negative <new9>" in told.err and not told.out, "seen before the first job"
    settings = 'settings = {steps = 2, batch_size = 2, prior = "none", resolution = 16, lr = 1e38}'
    spec.write_text(text.replace("methods = [", f'methods = [{{learn = "dreambooth", {settings}}}, '))
    assert main(["tradeoff", str(spec), *words]) == 2
    told = capsys.readouterr()
    assert "1 job failed (see the report): toy: learn dreambooth to step 2: the loss" in told.err
    assert "hypervolume" in told.out
