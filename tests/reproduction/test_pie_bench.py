"""PIE-Bench's protocol on two cases of its form, on pocket: edited, measured, gone on with, refused."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edit_pieces import photo

FEW = 'base = "pocket"\nsteps = 3\nguidance = 2\n'


@pytest.fixture(scope="module")
def protocol() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[2] / "reproduction"))
    return importlib.import_module("pie_bench")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two photos: one with words to blend by, both with the left half to be edited."""
    home = tmp_path / "pie"
    (home / "annotation_images").mkdir(parents=True)
    half = [number for row in range(512) for number in (row * 512, 256)]
    cases: dict[str, dict[str, Any]] = {}
    for i, (name, words) in enumerate({"000": "cat dog", "001": ""}.items()):
        photo(i, (64, 64)).resize((512, 512)).save(home / "annotation_images" / f"{name}.jpg")
        cases[name] = {
            "image_path": f"{name}.jpg", "original_prompt": "a photo of a [cat]", "editing_instruction": "",
            "editing_prompt": "a photo of a [dog]", "editing_type_id": "1", "blended_word": words, "mask": half,
        }  # fmt: skip
    (home / "mapping_file.json").write_text(json.dumps(cases))
    return home


@pytest.fixture
def asked(data: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "few.toml").write_text(FEW)
    (tmp_path / "edit.toml").write_text('base = "pocket"\nguidance = 2\n')
    words = ["--invert", "ddim", "--edit", "prompt-to-prompt", "--inverting", tmp_path / "few.toml"]
    words += ["--editing", tmp_path / "edit.toml", "--encoder", "pocket", "--device", "cpu", "--blend"]
    return [str(word) for word in [data, "-o", tmp_path / "out", *words]]


def test_every_case_is_edited_and_measured_and_a_stopped_run_goes_on(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert protocol.main(asked) == 0, capsys.readouterr()
    table = capsys.readouterr().out
    assert "2 of 2 cases" in table and "| structure |" in table and (out / "pie.md").read_text() in table
    found = json.loads((out / "pie.json").read_text())
    assert all(len(score["per_image"]) == 2 for score in found.values()) and len(found) == 9
    mask = np.asarray(Image.open(out / "sources" / "000-mask.png"))
    assert mask.shape == (64, 64) and mask[32, 8] == 255 and mask[32, 48] == 0 and {*mask.flat} == {0, 255}
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    (out / "edited" / "001.png").unlink()
    assert protocol.main(asked) == 0 and "2 of 2: 001" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before
    assert protocol.main(asked) == 0 and "001\n" not in capsys.readouterr().err


def test_another_way_of_editing_does_not_mix_with_what_lies_there(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert protocol.main([*asked, "--limit", "1"]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert protocol.main([*asked, "--edit", "word-swap"]) == 2 and "no" in capsys.readouterr().err
    asked.remove("--blend")
    assert protocol.main(asked) == 2 and "edits of another way" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_a_case_that_fails_is_named_and_the_rest_goes_on(
    protocol: Any, asked: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "annotation_images" / "000.jpg").write_bytes(b"no picture")
    assert protocol.main(asked) == 1
    told = capsys.readouterr()
    assert "1 of 2 cases" in told.out and "- 000 failed: " in told.out
    assert not (tmp_path / "out" / "edited" / "000.png").exists()
    (data / "annotation_images" / "001.jpg").unlink()
    (tmp_path / "out" / "edited" / "001.png").unlink()
    assert protocol.main(asked) == 2 and "none of 2 cases" in capsys.readouterr().err


def test_a_settings_file_says_what_its_method_takes_alone(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "edit.toml").write_text("inner_steps = 3\n")
    assert protocol.main(asked) == 2
    assert "edit.toml: prompt-to-prompt has no inner_steps" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "edit.toml").write_text("steps = = 3")
    assert protocol.main(asked) == 2 and capsys.readouterr().err.count("\n") == 1
