"""ELITE's bench: its kept cells are made once, and without an encoder what needs none is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import cells
import results

import elite
from motif.errors import MissingModel


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(object, row) of everything that is made."""
    made: list[tuple[str, str]] = []

    def scored(self: Any, subject: Any, row: str, make: Any) -> dict[str, list[float]]:
        made.append((subject.name, row))
        values = [0.1 * len(made) + 0.01 * i for i in range(24)]
        return {"CLIP-T": values, "CLIP-I": values, "DINO-I": values, "seconds": [1.0]}

    monkeypatch.setattr(elite.Bench, "scored", scored)
    monkeypatch.setattr(elite, "sheet", lambda bench, subject: None)
    monkeypatch.setattr(cells, "weights", lambda *parts: "these")
    monkeypatch.setattr(elite.Bench.__init__, "__defaults__", (tmp_path / "kept",))
    return made


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["elite.py", "-o", str(tmp_path / "out"), *words])
    elite.main()
    return (tmp_path / "out" / "elite.md").read_text()


def none_is_shipped() -> Path:
    raise MissingModel("pocket ships no ELITE encoder")


def test_without_an_encoder_the_methods_that_learn_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any], capsys: Any
) -> None:
    monkeypatch.setattr("motif.elite.encoder.shipped", none_is_shipped)
    page = run(tmp_path, monkeypatch, "--learned", "--concepts", "car,cat")
    rows = ["class word", *(f"{method}, one photo" for method in elite.LEARNED)]
    assert drawn == [(name, row) for name in ("car", "cat") for row in rows]
    assert "ships no ELITE encoder; what needs none is measured" in capsys.readouterr().err
    assert page.count("\n| ") == 1 + 4 and "| dreambooth, one photo |" in page
    run(tmp_path, monkeypatch, "--learned")
    assert [name for name, _ in drawn[8:]] == ["boat"] * 4 + ["cactus"] * 4, "the others' were there"


def test_a_cell_says_what_code_made_it_and_one_that_does_not_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    monkeypatch.setattr("motif.elite.encoder.shipped", none_is_shipped)
    bench, subjects = elite.whole_plan(tmp_path / "kept")
    cat = next(subject for subject in subjects if subject.name == "cat")
    first, *rest = bench.rows(cat)
    old = {metric: [7.0] for metric in (*elite.METRICS, "seconds")}
    bench.place(cat, first).parent.mkdir()
    bench.place(cat, first).write_text(json.dumps(old))
    run(tmp_path, monkeypatch, "--learned", "--concepts", "cat")
    assert drawn == [("cat", row.name) for row in rest] and bench.cell(cat, first) == old
    for row, method in zip(rest, elite.LEARNED, strict=True):
        told = json.loads(bench.place(cat, row).read_text())["code"]
        assert told.keys() == {"elite", f"learn {method}"} and bench.cell(cat, row).keys() == old.keys()
    found = results.elite_codes(tmp_path / "kept")
    assert found[""][""] == ["cat - class word"] and len(found["elite"]) == 1


def test_a_cell_is_of_one_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]) -> None:
    encoder = tmp_path / "e.safetensors"
    settings = {
        key: 1 for key in ("batch_size", "text_lr", "lr", "weight_lr", "l1", "hidden", "ema", "mixed", "seed")
    }
    monkeypatch.setattr("motif.elite.encoder.Encoder.load", lambda path: SimpleNamespace(settings=settings))
    encoder.write_bytes(b"one")
    words = ("--encoder", str(encoder), "--concepts", "cat", "--ablation-steps", "2")
    run(tmp_path, monkeypatch, *words)
    first = len(drawn)
    assert first == 1 + 5 + 2 + 2 + 6 + 1 + 1
    run(tmp_path, monkeypatch, *words)
    assert len(drawn) == first
    cells.content.cache_clear()
    encoder.write_bytes(b"two")
    run(tmp_path, monkeypatch, *words)
    assert len(drawn) == first + 10, "words, patches and sweep; not the class word, nor what was trained here"


def test_the_page_is_written_when_everything_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Any]
) -> None:
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    monkeypatch.setattr(elite, "DOCS", tmp_path / "docs")
    page, sheet = tmp_path / "docs" / "elite.md", tmp_path / "docs" / "pictures" / "elite-cat.jpg"

    def drawn_sheet(bench: Any, subject: Any) -> Path:
        path = tmp_path / f"sheet-{subject.name}.png"
        Image.new("RGB", (len(subject.name), 2)).save(path)
        return path

    monkeypatch.setattr(elite, "sheet", drawn_sheet)
    settings = {
        key: 1 for key in ("batch_size", "text_lr", "lr", "weight_lr", "l1", "hidden", "ema", "mixed", "seed")
    }
    monkeypatch.setattr("motif.elite.encoder.Encoder.load", lambda path: SimpleNamespace(settings=settings))
    monkeypatch.setattr("motif.elite.encoder.shipped", lambda: tmp_path / "sheet-cat.png")
    (tmp_path / "sheet-cat.png").write_bytes(b"an encoder")
    run(tmp_path, monkeypatch, "--learned")
    run(tmp_path, monkeypatch, *elite.WHOLE, "--concepts", "cat,car")
    assert not page.exists() and not sheet.exists(), "a part of it is no page"
    run(tmp_path, monkeypatch, *elite.WHOLE)
    text = page.read_text()
    with Image.open(sheet) as shown:
        assert shown.size == (3, 2) and "pictures/elite-cat.jpg" in text
    assert text.count("\n| ") == 1 + len({row for _, row in drawn})
    assert all(line in text for line in elite.verdicts(elite.planned(tmp_path / "kept")))
    assert text.count("\n- ") == len(list(elite.verdicts(elite.planned(tmp_path / "kept")))) == 15
