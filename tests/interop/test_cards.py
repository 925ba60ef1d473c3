"""The card beside every export: what a stranger needs, and no word of the machine or the photos."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from foreign_files import learned, same
from motif.interop import FORMATS
from motif.interop.card import base_label
from motif.interop.incoming import read_files
from motif.interop.outgoing import write_files
from pieces import concept_of

SECRET = "/home/alice/private"


def told(base, name=f"{SECRET}/sd15.safetensors"):
    """A concept whose record holds paths wherever a user may have put them."""
    concept = concept_of(base)
    record = replace(
        concept.record,
        method="custom-diffusion",
        base=replace(concept.record.base, name=name),
        settings={
            "examples": SECRET,
            "prior": f"{SECRET}/prior",
            "steps": 250,
            "lr": 1e-5,
            "run_folder": SECRET,
        },
        versions={"motif": "0.1.0"},
        prompts=(f"photo of a <new1> cat {SECRET}",),
    )
    return replace(concept, record=record)


@pytest.mark.parametrize("to", FORMATS)
def test_a_card_says_what_it_is_and_nothing_of_where_it_was_made(small, to, tmp_path):
    paths = write_files(told(small.base), tmp_path, to=to, base=small.base, licence="CC BY 4.0")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for word in ("<new1> cat", "sd15.safetensors", "custom-diffusion", "steps 250", "CC BY 4.0", "Licence"):
        assert word in text, word
    for path in paths:
        assert path.name in text or path.name == "README.md"
        assert b"alice" not in path.read_bytes(), path


def test_without_a_licence_the_card_says_so(sd1, tmp_path):
    write_files(told(sd1.base), tmp_path, to="lora")
    assert "not stated by its maker" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "label"),
    [("pocket", "pocket"), ("stabilityai/sd-turbo", "stabilityai/sd-turbo"),
     (f"{SECRET}/x", "x"), ("./models/x", "x"), ("~/x", "x"), ("C:\\Users\\alice\\sd.safetensors", "sd.safetensors"),
     ("models/alice/x", "x"), ("../x", "x")],
)  # fmt: skip
def test_a_base_is_named_without_its_folder(name, label):
    assert base_label(name) == label


def test_a_folder_here_is_no_hub_id(tmp_path, monkeypatch):
    (tmp_path / "alice" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert base_label("alice/base") == "base" and base_label("alice/other") == "alice/other"


def test_only_a_hub_id_is_a_base_model(sd1, tmp_path):
    hub = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    for name, wanted in ((hub, True), ("pocket", False), (f"{SECRET}/sd15.safetensors", False)):
        write_files(told(sd1.base, name), tmp_path, to="lora")
        text = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert (f"base_model: {hub}" in text) == wanted and text.startswith("---\n")
        assert ("from_single_file('sd15.safetensors')" in text) == name.endswith("sd15.safetensors")


@pytest.mark.parametrize("rank", [0, 3])
def test_the_cards_code_makes_the_official_pickle(small, rank, tmp_path, monkeypatch):
    """We write no pickle; the user's own Python does, and it is the official form."""
    concept = concept_of(small.base, rank=rank) if rank else learned(small.base, concept_of(small.base))
    write_files(concept, tmp_path, to="adobe", base=small.base)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    (path,) = tmp_path.glob("*.bin")
    official = torch.load(path, weights_only=True)
    assert official.keys() == {"unet", "modifier_token"}
    assert {f"unet.{name}" for name in official["unet"]} == concept.changes.keys()
    value = next(iter(official["unet"].values()))
    assert (set(value) == {"u", "v"}) if rank else isinstance(value, torch.Tensor)
    row = official["modifier_token"]["<new1>"]
    assert isinstance(row, list) == (small.family == "sdxl")
    assert same(read_files([path], small.base), concept)
