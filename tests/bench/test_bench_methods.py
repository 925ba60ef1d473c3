"""The table of methods: every kind of cell is asked for, goes on where it was, and the papers' orderings can fail."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import methods
import methods_report

FAKE = """
import json, os, sys
from pathlib import Path
path, out = Path(sys.argv[1]), Path(sys.argv[2])
spec = json.loads(path.read_text())
with (out / "calls").open("a") as file:
    file.write(spec["row"] + "\\n")
if spec["row"] == "ico" and not (out / "mended").exists():
    path.with_suffix(".error").write_text("Traceback\\nValueError: no contexts\\n")
    raise SystemExit(1)
if spec["row"] == "dreambooth" and not (out / "mended").exists():
    os._exit(9)
n = spec["prompts"] * spec["seeds"]
better = 0.2 * (spec["row"] == "custom-diffusion")
scores = [0.3 + better + 0.01 * i for i in range(n)]
found = {name: scores for name in ("CLIP-I", "CLIP-I of the first", "DINO-I")}
found |= {"CLIP-T": [1.5] * n, "drift": [0.0, 0.01], "ceiling": 0.9}
cost = {"seconds": 2.0 + len(spec["subjects"][0]), "peak": 7e8, "bytes": 3e6, "moved": 0.01}
found["cost"] = {} if spec["how"] == "base" else cost
path.with_suffix(".result").write_text(json.dumps(found))
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Two objects and a pair, two prompts and seeds; processes that learn nothing."""
    words = ["--concepts", "boat,cat", "--pairs", "boat+cat", "--prompts", "2", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["methods.py", "-o", str(tmp_path), *words])
    monkeypatch.setattr(methods, "weights", lambda: "known")
    (tmp_path / "one.py").write_text(FAKE)
    told = methods.arguments()
    told.one = tmp_path / "one.py"
    return told


def calls(asked: Namespace) -> list[str]:
    return (asked.out / "calls").read_text().splitlines() if (asked.out / "calls").exists() else []


def test_a_cell_that_fails_is_named_and_the_others_go_on(asked: Namespace, capfd: Any) -> None:
    assert methods.run(asked) == 4  # two rows of two objects
    said, page = capfd.readouterr().err, (asked.out / "methods.md").read_text()
    for name in ("boat, ico: ValueError: no contexts", "cat, dreambooth: ended with code 9"):
        assert f"FAILED {name}" in said and f"- {name}" in page
    every = 2 * len(methods.SINGLE) + len(methods.PAIRS) + 3
    assert len(calls(asked)) == every and "| custom-diffusion, merge |" in page
    assert "drift: DreamBooth's above Custom Diffusion's | KID 32.5, 21.0 | | | not measured" in page


def test_a_run_goes_on_where_it_was(asked: Namespace) -> None:
    asked.report = True
    assert methods.run(asked) == 0 and not calls(asked)  # a report runs nothing
    assert (
        f"Not run yet ({2 * len(methods.SINGLE) + len(methods.PAIRS) + 3}): boat, (the base"
        in (asked.out / "methods.md").read_text()
    )
    asked.report = False
    assert methods.run(asked) == 4
    done = len(calls(asked))
    (asked.out / "mended").touch()
    assert methods.run(asked) == 0
    assert calls(asked)[done:] == ["dreambooth"] * 2 + ["ico"] * 2
    page = (asked.out / "methods.md").read_text()
    assert "Failed" not in page and "Not run yet" not in page
    asked.seeds = 3  # another question has other answers
    methods.run(asked)
    assert len(calls(asked)) == 2 * len(methods.SINGLE) + len(methods.PAIRS) + 3 + done + 4


def test_every_number_has_its_error_and_its_n(asked: Namespace) -> None:
    (asked.out / "mended").touch()
    methods.run(asked)
    page = (asked.out / "methods.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| custom-diffusion |"))
    error = np.std([0.5, 0.51, 0.52, 0.53] * 2, ddof=1) / 8**0.5
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1] == f"0.515 ± {error:.3f} (0.000)" and cells[-1] == "2 x 4 (2)"
    assert cells[7] == "6 ± 0" and all("±" in cell for cell in cells[1:-1])
    (told,) = (line for line in page.splitlines() if line.startswith("| image: Textual Inversion above"))
    assert "| -0.200 ± 0.000 (0.000) | 0 of 2 | does not hold |" in told


@pytest.mark.parametrize(
    ("gaps", "same", "said"),
    [
        ([0.10, 0.12, 0.11], False, "holds"),
        ([-0.10, -0.12, -0.11], False, "does not hold"),
        ([0.10, -0.12, 0.11], False, "undecided"),
        ([0.10], False, "undecided"),
        ([0.001, 0.002, -0.001], True, "holds"),
        ([0.10, 0.12, 0.11], True, "does not hold"),
        ([0.10, -0.12, 0.03], True, "undecided"),  # little is known: that is no equality
    ],
)
def test_an_ordering_can_come_out_no(gaps: list[float], same: bool, said: str) -> None:
    assert methods_report.verdict([np.asarray(gaps)], same=same) == said


def test_every_ordering_is_of_rows_that_are_run() -> None:
    rows = {*methods.SINGLE, *methods.PAIRS}
    assert {row for *_, a, b in methods_report.ORDERINGS for row in (a, b)} <= rows
    assert {*methods.ORDER} == rows and methods.BASE == methods_report.BASE


def test_the_smoke_asks_for_every_kind_of_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["methods.py"])
    asked = methods.arguments()
    vars(asked).update(methods.SMOKE)
    rows = methods.plan(asked)
    assert {row["row"] for row in rows} == {*methods.SINGLE, *methods.PAIRS, methods.BASE}
    assert all(row["quick"] for row in rows) and len(rows) == len(methods.ORDER) + 2
    assert json.dumps(rows)


def test_a_rendered_prior_is_of_the_class_with_its_captions(tmp_path: Path) -> None:
    """What the row "rendered prior" learns beside: held-out renders, and as many drawn ones for the row beside it."""
    from methods_one import renders_of

    from motif.images import open_picture

    folder = renders_of("boat", tmp_path)
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == 17
    for picture in pictures:
        assert "boat" in picture.with_suffix(".txt").read_text().split()
        assert open_picture(picture).size == (64, 64) and np.asarray(open_picture(picture).image).std() > 10
    assert methods.stage("custom-diffusion, rendered prior", ["<new1>"], {})["prior"] == "rendered"
    assert "prior" not in methods.stage("custom-diffusion", ["<new1>"], {})
