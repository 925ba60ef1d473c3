"""`motif export` and `motif import`: from a concept to another tool's files and back, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from foreign_files import random, same
from motif.cli import main
from motif.concept import Concept
from motif.interop import FORMATS
from pieces import concept_of


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1's folder and a concept of it."""
    from motif.base import Base

    folder = tmp_path_factory.mktemp("travel")
    tiny.pipeline("sd1").save_pretrained(folder / "base")
    base = Base.load(str(folder / "base"))
    concept_of(base).save(folder / "cat.safetensors")
    concept_of(base, rank=2).save(folder / "thin.safetensors")
    return folder


@pytest.fixture
def motif(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def refused(ran: tuple[int, str, str], *words: str, code: int = 2) -> None:
    """One line on stderr with all the words."""
    said = ran[2][ran[2].index("motif: ") :]
    assert ran[0] == code and said.count("\n") <= 2 and "Traceback" not in ran[2], ran
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("to", FORMATS)
def test_there_and_back(motif: Any, home: Path, to: str, tmp_path: Path) -> None:
    code, out, _ = motif("export", home / "cat.safetensors", "--to", to, "-o", tmp_path / "out", "--json")
    assert code == 0
    paths = [Path(path) for path in json.loads(out)["files"]]
    assert paths[-1].name == "README.md" and all(path.is_file() for path in paths)
    files = [p for p in paths if p.suffix == ".safetensors" and "custom_diffusion" not in p.name]
    code, out, err = motif(
        "import", *files, "-o", tmp_path / "back", "--base", home / "base", "--noun", "cat"
    )
    assert code == 0 and "draw it: motif sample plain 'a photo of a <new1> cat'" in err, err
    back, cat = (Concept.load(path) for path in (tmp_path / "back.safetensors", home / "cat.safetensors"))
    assert back.record.method == "import" and back.record.settings["file"] == [path.name for path in files]
    assert str(tmp_path) not in json.dumps(dict(back.record.settings))
    if to == "adobe":  # whole weights: W0 + Δ is rounded once
        assert all(
            torch.allclose(back.changes[n].full(), c.full(), atol=1e-7) for n, c in cat.changes.items()
        )
    else:
        assert same(back, cat)
    words = [
        "sample",
        "plain",
        "a <new1> cat",
        "--wear",
        tmp_path / "back.safetensors",
        "--base",
        home / "base",
    ]
    assert motif(*words, "--steps", 1, "-o", tmp_path / "pictures")[0] == 0


@pytest.mark.parametrize(("how", "rank"), [(["--rank", 2], 2), (["--energy", "0.3"], None)])
def test_a_small_lora_is_as_small_as_it_is_told(motif: Any, home: Path, how: list[Any], rank: int | None,
                                                tmp_path: Path) -> None:  # fmt: skip
    assert motif("export", home / "cat.safetensors", "--to", "lora", "-o", tmp_path, *how)[0] == 0
    found = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    ranks = {len(value) for name, value in found.items() if "lora_A" in name}
    assert ranks == {rank} if rank else max(ranks) < 16
    assert motif("export", home / "cat.safetensors", "--to", "adobe", "-o", tmp_path / "a", *how)[0] == 0
    assert (tmp_path / "a" / "compressed_delta.safetensors").is_file()


def test_a_base_that_has_moved(motif: Any, home: Path, tmp_path: Path) -> None:
    concept = Concept.load(home / "cat.safetensors")
    from dataclasses import replace

    lost = replace(concept.record, base=replace(concept.record.base, name=str(tmp_path / "gone")))
    replace(concept, record=lost).save(tmp_path / "cat.safetensors")
    words = ["export", tmp_path / "cat.safetensors", "-o", tmp_path / "out", "--to"]
    assert motif(*words, "kohya")[0] == 0
    ran = motif(*words, "adobe")
    assert ran[0] in (2, 3) and "gone" in ran[2]
    assert motif(*words, "adobe", "--base", home / "base")[0] == 0
    refused(motif(*words, "lora", "--base", home / "base"), "--base says nothing here")
    refused(motif(*words, "adobe", "--base", "pocket"), "learned on")


def test_what_is_refused(motif: Any, home: Path, tmp_path: Path) -> None:
    cat = home / "cat.safetensors"
    refused(motif("export", cat, "--to", "comfy", "-o", tmp_path), "comfy")
    refused(motif("export", cat, "--to", "lora", "-o", cat), "is a file")
    refused(
        motif("export", cat, "--to", "lora", "-o", tmp_path, "--energy", "0.5", "--rank", "2"), "give one"
    )
    refused(motif("export", tmp_path / "no.safetensors", "--to", "lora", "-o", tmp_path), "no such concept")
    save_file({"<new1>": random(1, 24)}, tmp_path / "learned_embeds.safetensors")
    words = ["import", tmp_path / "learned_embeds.safetensors", "-o"]
    refused(motif(*words, tmp_path / "c"), "text encoders read", "(1, 24)")  # pocket's are wider
    refused(motif(*words, tmp_path / "learned_embeds.safetensors"), "is what is imported")
    refused(motif("import", cat, "-o", tmp_path / "c", "--base", home / "base"), "a motif concept already")
    refused(motif("import", tmp_path, "-o", tmp_path / "c"), "is a folder")
    refused(motif("import", tmp_path / "no.pt", "-o", tmp_path / "c"), "no such file")
    refused(motif("import", "-o", tmp_path / "c"), "FILE")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["learned_embeds.safetensors"]


class Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_malicious_pickle(motif: Any, home: Path, tmp_path: Path) -> None:
    torch.save({"<new1>": Harm(tmp_path / "trace")}, tmp_path / "learned_embeds.bin")
    ran = motif("import", tmp_path / "learned_embeds.bin", "-o", tmp_path / "c", "--base", home / "base")
    refused(ran, "refused", "system", ".safetensors")
    assert not (tmp_path / "trace").exists() and not (tmp_path / "c.safetensors").exists()


def test_weights_that_change_nothing(motif: Any, home: Path, tmp_path: Path) -> None:
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    content = {f"{layer}.lora_A.weight": random(1, 24), f"{layer}.lora_B.weight": torch.zeros(32, 1)}
    save_file(content, tmp_path / "pytorch_lora_weights.safetensors")
    ran = motif(
        "import", tmp_path / "pytorch_lora_weights.safetensors", "-o", tmp_path / "c", "--base", home / "base"
    )
    refused(ran, "changes nothing")
