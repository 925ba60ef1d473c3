"""`motif learn elite`, `motif encode` and `motif sample elite`, one after another on pocket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from motif.cli import main
from motif.concept import Concept
from motif.elite.encoder import Encoder
from motif.elite.start import fresh


def run(capsys: Any, *words: Any) -> tuple[int, Any]:
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out.startswith("{") else out.err


def test_the_whole_way(pocket, dataset: Path, tmp_path, capsys):
    encoder, concept = tmp_path / "e.safetensors", tmp_path / "c.safetensors"
    train = ["learn", "elite", dataset, "-o", encoder, "--steps", 1, "--local-steps", 1, "--batch-size", 2,
             "--local-batch-size", 2, "--json"]  # fmt: skip
    code, told = run(capsys, *train)
    assert code == 0 and told["settings"]["lr"] > 0 and (tmp_path / "e.run" / "metrics.jsonl").is_file()
    assert Encoder.load(encoder).patches
    code, told = run(capsys, *train)
    assert code == 2 and "--resume" in told
    small = tmp_path / "small.safetensors"
    folder = ["--run-folder", tmp_path / "other"]
    assert run(capsys, *train[:3], "-o", small, *train[5:], *folder, "--small", 4)[0] == 0
    assert small.stat().st_size < encoder.stat().st_size / 2 and Encoder.load(small).patches
    code, told = run(capsys, "encode", encoder, dataset / "0.png", "-o", concept, "--noun", "box", "--json")
    assert code == 0 and told["local"] == "patches of <S>" and told["nouns"] == {"<S>": "box"}
    assert Concept.load(concept).record.settings["masked"] == [True]
    code, told = run(capsys, "sample", "elite", "a <S> in the snow", "--wear", concept, "-o", tmp_path / "p",
                     "--steps", 1, "--local", 0.3, "--json")  # fmt: skip
    assert code == 0 and len(told["files"]) == 1
    code, told = run(
        capsys, "sample", "elite", "a cat", "--wear", concept, "-o", tmp_path / "q", "--steps", 1
    )
    assert code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--words", "9"], "words is 9"),
        (["--words", "both"], "words is 'both'"),
        (["--words", "all", "--local"], "primary word"),
        (["--token", "S"], "no token"),
        (["--mask", "no.png"], "no such picture"),
        (["--device", "gpu"], "gpu"),
    ],
)
def test_what_encode_refuses(pocket, dataset, tmp_path, capsys, words, says):
    fresh(pocket).save(tmp_path / "e.safetensors")
    out = tmp_path / "c.safetensors"
    code, told = run(capsys, "encode", tmp_path / "e.safetensors", dataset / "0.png", "-o", out, *words)
    assert code == 2 and says in told and not out.exists()


def test_words_and_patches_by_choice(pocket, dataset, tmp_path, capsys):
    fresh(pocket).save(tmp_path / "e.safetensors")
    out = tmp_path / "c.safetensors"
    for words, count, local in (
        (["--words", "all"], 4, False),
        (["--words", "2"], 1, False),
        (["--no-local"], 1, False),
    ):
        code, _ = run(
            capsys,
            "encode",
            tmp_path / "e.safetensors",
            dataset / "0.png",
            dataset / "1.png",
            "-o",
            out,
            *words,
        )
        assert code == 0
        concept = Concept.load(out)
        assert len(concept.tokens["<S>"][0]) == count and bool(concept.local) == local
    code, told = run(capsys, "encode", out, dataset / "0.png", "-o", tmp_path / "d.safetensors")
    assert code == 2 and "not an ELITE encoder" in told


def test_the_encoder_that_a_base_ships_is_found_by_its_name(pocket, dataset, tmp_path, capsys, monkeypatch):
    """Where none is shipped the message says so, and what to do; a file of that name is ./pocket."""
    import shutil

    from motif.loading import pocket_weights

    weights, out = tmp_path / "weights", tmp_path / "c.safetensors"
    (weights / "pipeline").mkdir(parents=True)
    shutil.copy(pocket_weights() / "pipeline" / "model_index.json", weights / "pipeline")
    (weights / "condition-clip").symlink_to(pocket_weights() / "condition-clip")
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", str(weights))
    monkeypatch.chdir(tmp_path)
    code, told = run(capsys, "encode", "pocket", dataset / "0.png", "-o", out)
    assert code == 3 and "ships no ELITE encoder" in told and "motif learn elite" in told and not out.exists()
    made = fresh(pocket)
    made.save(tmp_path / "pocket")
    assert run(capsys, "encode", "./pocket", dataset / "0.png", "-o", out)[0] == 0
    made.save(weights / "elite" / "encoder.safetensors", half=True)
    assert Encoder.load("pocket").layers == made.layers
    assert run(capsys, "encode", "pocket", dataset / "0.png", "-o", out)[0] == 0
    assert Concept.load(out).record.settings["encoder"] == Encoder.load("pocket").fingerprint
