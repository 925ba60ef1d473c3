"""`dci`: several balances, its sheets, the choice among them, what it refuses, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from motif.base import Base
from motif.cli import main
from motif.errors import InputError
from motif.images import open_picture
from motif.sample import dci, plain
from motif.sample.judged import Judge
from motif.sample.sheets import Row
from motif.sample.stand_in import Pair
from motif.sample.two_lanes import TwoLanes
from pieces import concept_of

PROMPT = "a <new1> cat"


@pytest.fixture
def wears(small):
    return small.base.wear(concept_of(small.base))


def same(a: Any, b: Any) -> bool:
    return [image.tobytes() for image in a] == [image.tobytes() for image in b]


def near(a: Any, b: Any) -> bool:
    return all(
        np.abs(np.asarray(x).astype(int) - np.asarray(y)).max() <= 1 for x, y in zip(a, b, strict=True)
    )


def test_until_0_is_plain(wears):
    assert same(dci(wears, PROMPT, n=2, seed=7, steps=2, until=0), plain(wears, PROMPT, n=2, seed=7, steps=2))
    assert same(dci(wears, "a cat", steps=1, until=0), plain(wears, "a cat", steps=1))
    nothing: dict[str, Any] = {"stand_in": [], "balances": []}  # given, and empty: as if they were left out
    assert same(dci(wears, "a cat", steps=1, until=0, **nothing), plain(wears, "a cat", steps=1))
    beside: dict[str, Any] = {
        "balance": 2.0,
        "masks": "paper",
        "layers": "last",
        "stand_in": ["fox"],
    }  # as in a grid
    assert same(dci(wears, PROMPT, steps=1, until=0, **beside), plain(wears, PROMPT, steps=1))


def test_several_balances_are_each_as_if_alone_and_batches_change_nothing(wears):
    kept: list[Any] = []
    found = dci(
        wears, PROMPT, n=2, seed=3, steps=2, until=1, balances="-2, 1.5", show_masks=True,
        on_image=lambda image, *, seed, label="": kept.append((seed, label)),
    )  # fmt: skip
    assert found.seeds == (3, 4, 3, 4)
    assert found.labels == ("balance -2",) * 2 + ("balance 1.5",) * 2
    assert kept == list(zip(found.seeds, found.labels, strict=True))
    assert found.sheets.keys() == {"balances", "masks"}
    assert found.about["aux_prompt"] == "a dog" and found.about["evaluations"] == 6
    alone = dci(wears, PROMPT, n=2, seed=3, steps=2, until=1, balance=1.5)
    assert alone.labels == ("", "") and same(found[2:], alone)
    assert near(dci(wears, PROMPT, n=2, seed=3, steps=2, until=1, balance=1.5, batch_size=1), alone)


def test_a_merged_pair_has_two_stand_ins(small):
    base = small.base.wear(concept_of(small.base, seed=1), concept_of(small.base, "<new2>", seed=2))
    found = dci(base, "<new1> cat, <new2> cat", steps=2, until=0.5, stand_in={"<new2> cat": "tea"})
    assert found.about["aux_prompt"] == "dog, tea"


def test_no_concept_need_be_worn(sd1):
    found = dci(sd1.base, "a cat", steps=2, until=0.5, stand_in=["cat=tea"])
    assert not same(found, plain(sd1.base, "a cat", steps=2))


def test_without_the_entire_prompt_each_lane_reads_its_part(wears):
    settings: dict[str, Any] = {"steps": 2, "until": 0.5}
    found = dci(wears, f"{PROMPT} on sea", **settings, entire=False)
    assert (found.about["main_prompt"], found.about["aux_prompt"]) == ("a <new1> cat", "on sea")
    assert not same(found, dci(wears, f"{PROMPT} on sea", **settings))
    by_hand = Pair("a <new1> cat", "on sea", ((2, 8), (9, 12)), ())
    assert same(found, TwoLanes(wears, by_hand, 2, wears.guidance, 0.5).pictures([0], 1.0))


def test_few_steps_of_strong_shared_guidance_are_told(sd1, caplog):
    base = sd1.base.wear(concept_of(sd1.base))
    for settings, told in (
        ({"guidance": 40.0}, 1),
        ({"guidance": 40.0, "shared": False}, 0),
        ({"guidance": 2.0}, 0),
    ):
        caplog.clear()
        dci(base, PROMPT, steps=4, until=0.5, **settings)
        assert len([text for text in caplog.messages if "--no-shared" in text]) == told


def test_equal_cost_costs_no_more(sd1):
    base = sd1.base.wear(concept_of(sd1.base))
    found = dci(base, PROMPT, steps=10, until=0.5, equal_cost=True)
    assert found.about["steps"] < 10 and found.about["evaluations"] <= 20


def test_auto_keeps_the_best_and_says_why(sd1, monkeypatch):
    base = sd1.base.wear(concept_of(sd1.base))
    calls: list[Any] = []

    class Chooses:
        def best(self, rows, alone):
            calls.append(([row.balance for row in rows], len(alone)))
            return 1, "because"

    monkeypatch.setattr(Judge, "of", staticmethod(lambda *_: Chooses()))
    kept: list[int] = []
    settings: dict[str, Any] = {"n": 2, "steps": 2, "until": 0.5}
    found = dci(
        base, PROMPT, **settings, auto=True, balances=[0, 2, 4], references="x", show_masks=True,
        on_image=lambda image, *, seed, label="": kept.append(seed),
    )  # fmt: skip
    assert calls == [([0, 2, 4], 2)] and kept == [0, 1]
    assert same(found, dci(base, PROMPT, **settings, balance=2)) and found.labels == ("", "")
    assert (found.why, found.about["balance"]) == ("because", 2) and len(found.sheets) == 2


def test_the_judge_wants_both():
    """Features by hand: the photos point along x, the auxiliary prompt's pictures and all words along y."""

    class Reads:
        def images(self, pictures):
            return torch.stack([torch.tensor(picture) for picture in pictures])

    photos = torch.tensor([[1.0, 0.01], [1.0, -0.01]])
    judge = Judge(Reads(), photos, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    rows = [Row(b, [[np.cos(a), np.sin(a)]], []) for b, a in ((-2.0, 0.1), (0.0, 0.8), (2.0, 1.5))]
    best, why = judge.best(rows, [[0.0, 1.0]])
    assert best == 1 and "balance 0: image 0.70, text 0.72" in why and why.count("picked") == 1
    copy = judge.best([Row(0.0, [[1.0, 0.0]], []), Row(1.0, [[0.0, 1.0]], [])], [[0.0, 1.0]])[1]
    assert "balance 0: image 1.00, text 0.00" in copy and "balance 1: image 0.00, text 1.00" in copy


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"until": 1.2}, "until is 1.2"),
        ({"until": 0.01}, "not one step"),
        ({"until": float("nan"), "equal_cost": True}, "until is nan"),
        ({"until": 0, "balances": "0,1"}, "balances would change nothing: until is 0"),
        ({"until": 0, "balances": "2"}, "balances would change nothing: until is 0"),
        ({"until": 0, "auto": True, "references": "x"}, "auto would change nothing: until is 0"),
        ({"until": 0, "show_masks": True}, "show_masks would change nothing: until is 0"),
        ({"until": 0, "entire": False}, "entire would change nothing: until is 0"),
        ({"until": 0, "aux_seed": 3}, "aux_seed would change nothing: until is 0"),
        ({"until": 0, "equal_cost": True}, "equal_cost would change nothing: until is 0"),
        ({"guidance": 1.0, "shared": False}, "shared would change nothing: guidance is 1"),
        ({"entire": False, "stand_in": ["fox"]}, "no stand-in"),
        ({"entire": False, "auto": True, "references": "x"}, "nothing that auto"),
        ({"entire": False}, "nothing but the concept"),
        ({"balance": 2.0, "balances": "0,1"}, "balance is 2"),
        ({"balance": 2.0, "auto": True, "references": "x"}, "balance is 2"),
        ({"masks": "none", "show_masks": True}, "no mask"),
        ({"masks": "paper", "gain": 3.0}, "gain"),
        ({"gain": 0.0}, "gain"),
        ({"balances": "1,x"}, "numbers with commas"),
        ({"balances": "1,1"}, "each once"),
        ({"auto": True}, "photos"),
        ({"auto": True, "balances": "1", "references": "x"}, "at least two"),
        ({"references": "x"}, "of auto"),
        ({"n": 0}, "at least one"),
        ({"seed": -1}, "seed"),
        ({"aux_seed": -1}, "seed"),
        ({"height": 13}, "multiples"),
        ({"prompt": "a cat"}, "no learned token"),
    ],
)
def test_what_cannot_be_done_is_refused(sd1, settings, says):
    base = sd1.base.wear(concept_of(sd1.base))
    with pytest.raises(InputError, match=says):
        dci(base, **{"prompt": PROMPT, "steps": 2, "until": 0.5} | settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1 pipeline's folder, and a concept of it."""
    place = tmp_path_factory.mktemp("dci")
    tiny.pipeline("sd1").save_pretrained(place / "base")
    concept_of(Base.load(str(place / "base"), device="cpu")).save(place / "cat.safetensors")
    return place


@pytest.fixture
def motif(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        wearing = [
            "--wear",
            folder / "cat.safetensors",
            "--base",
            folder / "base",
            "--steps",
            2,
            "--until",
            0.5,
        ]
        code = main([str(word) for word in ["sample", "dci", PROMPT, *wearing, *words]])
        return code, *capsys.readouterr()

    return run


def test_the_command_draws_a_sheet_of_balances(motif, tmp_path):
    out = tmp_path / "out"
    words = ["--balances", "-2,0", "--stand-in", "<new1> cat=tea", "--show-masks", "-n", 2]
    code, told, _ = motif(*words, "-o", out, "--json", "--grid", tmp_path / "grid.png")
    assert code == 0
    pictures = {f"000{seed}_balance_{balance}.png" for seed in (0, 1) for balance in (-2, 0)}
    assert {path.name for path in out.iterdir()} == pictures | {"balances.png", "masks.png", "pictures.json"}
    record = json.loads((out / "pictures.json").read_text())
    assert {row["file"] for row in record["pictures"]} == pictures
    assert record["pictures"][2] == {"file": "0000_balance_0.png", "seed": 0, "label": "balance 0"}
    assert record["aux_prompt"] == json.loads(told)["aux_prompt"] == "a tea"
    assert open_picture(tmp_path / "grid.png").image.width > 2 * 128


def test_the_command_draws_one_picture(motif, tmp_path):
    code, told, notes = motif("-o", tmp_path / "one.png", "--show-masks")
    assert code == 0 and told.split() == [str(tmp_path / "one.png"), str(tmp_path / "one_masks.png")]
    assert '"a dog"' in notes and {path.name for path in tmp_path.iterdir()} == {"one.png", "one_masks.png"}


def test_the_command_tells_what_is_wrong(motif, tmp_path):
    assert motif("-o", tmp_path / "out", "--stand-in", "dog=fox")[0] == 2
    code, _, error = motif("-o", tmp_path / "out", "--auto")
    assert code == 2 and "references" in error
    assert not (tmp_path / "out").exists()
