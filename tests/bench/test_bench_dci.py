"""DCI's bench: kept cells are made once, two processes share them, and the page is written of what is there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import cells
import dci
import results

from motif.tradeoff import digest


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What is drawn, one entry for each cell; nothing is learned, and the docs are in the folder."""
    made: list[tuple[str, Any]] = []

    def pictures(self: Any, *told: Any, **how: Any) -> list[Any]:
        made.append((self.name, told or how))
        return [Image.new("RGB", (8, 8))] * (self.size.prompts * self.size.seeds)

    def scored(self: Any, images: list[Any]) -> dict[str, list[float]]:
        values = [0.1 * len(self.name) + 0.01 * i + 0.001 * len(made) for i in range(len(images))]
        return {metric: values for metric in ("CLIP-T", "asked", "CLIP-I", "DINO-I")}

    for name in ("plainly", "with_dci"):
        monkeypatch.setattr(dci.Exam, name, pictures)
    monkeypatch.setattr(dci.Exam, "scored", scored)
    monkeypatch.setattr(dci.Exam, "checkpoint", lambda self, name, step: (name, step))
    monkeypatch.setattr(dci, "base", lambda: type("Base", (), {"wear": lambda self, concept: concept})())
    monkeypatch.setattr(results, "DRAWS", 5)  # for an error's sake alone
    monkeypatch.setattr(dci, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(dci, "DOCS", tmp_path / "docs")
    for module in (dci, cells):
        monkeypatch.setattr(module, "weights", lambda *parts: "these")
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    return made


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["dci.py", "-o", str(tmp_path / "out"), *words])
    dci.main()


@pytest.mark.slow
def test_two_processes_share_the_cells_and_the_page_is_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    run(tmp_path, monkeypatch, "--concepts", "car,cat")
    half, page = len(drawn), tmp_path / "docs" / "dci.md"
    assert half == 2 * 40 and not page.exists()
    run(
        tmp_path, monkeypatch, "--report"
    )  # half of it is there: nothing is drawn, and the docs stay as they are
    assert len(drawn) == half and not page.exists()
    run(tmp_path, monkeypatch, "--concepts", "boat,cactus")
    assert len(drawn) == 2 * half and {name for name, _ in drawn[half:]} == {"boat", "cactus"}
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    run(tmp_path, monkeypatch)
    assert len(drawn) == 2 * half, "all cells were there"
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    text = page.read_text()
    assert (
        "car, cat, boat, cactus; 8 prompts x 4 seeds" in text
        and (tmp_path / "docs/pictures/dci.png").is_file()
    )
    assert text.count("\n| ") == 41 and "| overfitted: dci 1, until 0.3 |" in text
    assert "- dci, above ICO's checkpoints: " in text and "- overfitted: dci, above ICO's checkpoints" in text


def test_a_cell_is_made_again_where_it_is_lost_or_of_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    run(tmp_path, monkeypatch, "--concepts", "cat")
    first = len(drawn)
    exam = dci.Exam("cat", dci.WHOLE, tmp_path / "out", tmp_path / "kept")
    exam.place(exam.rows[3]).unlink()
    run(tmp_path, monkeypatch, "--concepts", "cat")
    assert len(drawn) == first + 1
    learning = {**dci.LEARNING, "ico": {**dci.LEARNING["ico"], "lr": 1.0}}
    monkeypatch.setattr(dci, "LEARNING", learning)
    run(tmp_path, monkeypatch, "--concepts", "cat")
    assert len(drawn) == first + 1 + 4 + 15 + 3, "what that learning has to do with, and nothing else"
    monkeypatch.setattr(cells, "weights", lambda *parts: "others")
    run(tmp_path, monkeypatch, "--concepts", "cat")
    assert len(drawn) == 2 * first + 1 + 4 + 15 + 3


def test_a_cell_says_what_code_made_it_and_one_that_does_not_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    exam = dci.Exam("cat", dci.WHOLE, tmp_path / "out", tmp_path / "kept")
    first, *rest = exam.rows
    exam.place(first).parent.mkdir()
    old = {metric: [7.0] * 32 for metric in ("CLIP-T", "asked", "CLIP-I", "DINO-I")}
    exam.place(first).write_text(json.dumps(old))
    run(tmp_path, monkeypatch, "--concepts", "cat")
    assert len(drawn) == len(rest) and exam.cell(first) == old
    told = {row.name: json.loads(exam.place(row).read_text())["code"] for row in rest}
    assert told["custom-diffusion 50"].keys() == {"dci", "learn custom-diffusion"}
    assert told["ico, overfitted 50"].keys() == {"dci", "learn ico"}
    assert told["overfitted: dci 1, until 0.3"].keys() == {"dci", "learn ico", "sample dci"}
    assert told["dci 1, until 0.3"]["sample dci"] == digest.code("motif.sample.dci:dci")
    assert all(exam.cell(row).keys() == old.keys() for row in rest)
    found = results.dci_codes(tmp_path / "kept")
    assert found[""][""] == ["cat - base class word"] and len(found["dci"]) == 1
    assert results.told_codes(found) == "one; unknown of 1 cells"


def test_kept_cells_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]) -> None:
    monkeypatch.undo()
    exam = dci.Exam("cat", dci.WHOLE, tmp_path, tmp_path)
    cell = {
        m: [dci.short(1.23456789 + i) for i in range(32)] for m in ("CLIP-T", "asked", "CLIP-I", "DINO-I")
    }
    assert 4 * len(exam.rows) * len(json.dumps(cell)) < 500_000, "all of them, in bytes"
