"""The settings for Stable Diffusion 1.4, executed: two steps of each (five of edits, whose windows are parts of them),
on pocket and on a pipeline of its full size with random weights, 64 pixels. What needs more memory than is free is
skipped by name; ELITE's image encoder is a tiny one.

`-k pocket` takes a minute or two; the full size some minutes and 8 GB.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from encoders import drawn, preprocessor
from motif.base import Base
from motif.cli import main

ROOT = Path(__file__).parents[2]
SD14 = ROOT / "reproduction" / "sd14"
NAMES = sorted(path.stem for path in SD14.glob("*.toml"))
WHOLE = ("dreambooth", "fine-tune-all")
HEAVY, LIGHT = 24, 17
"""GB beside the base that training all of its UNet takes: values, gradients and moments 14, the concept's copies 7; and
what is left of that with adafactor, which keeps next to no moments."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module", params=["pocket", "full"])
def base(request: pytest.FixtureRequest) -> Base:
    """pocket, which shows quickly what a settings file asks for; and Stable Diffusion 1's shapes, for 64 px."""
    if request.param == "pocket":
        return Base.load("pocket", device="cpu")
    place = importlib.util.spec_from_file_location("full_size", ROOT / "tests" / "learn" / "full_size.py")
    assert place and place.loader
    shapes = importlib.util.module_from_spec(place)
    place.loader.exec_module(shapes)
    full: Base = shapes.base_of("sd1")
    assert sum(weight.numel() for weight in full.models.unet.parameters()) == 859_520_964, "SD 1's UNet"
    return dataclasses.replace(full, size=64)


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision tower for ELITE's encoder."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    folder = tmp_path_factory.mktemp("weights") / "tower"
    torch.manual_seed(0)
    config = CLIPVisionConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=2,
                              image_size=24, patch_size=8, projection_dim=16)  # fmt: skip
    CLIPVisionModel(config).eval().save_pretrained(folder)
    preprocessor(folder, 24)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of a box on noise, with masks, as a method and as ELITE's training take them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        image, mask, box = drawn(i, (72, 64)), Image.new("L", (72, 64)), (12 + i, 8, 50 + i, 50)
        rng = np.random.default_rng(i)
        ImageDraw.Draw(image).rectangle(box, fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
        ImageDraw.Draw(mask).rectangle(box, fill=255)
        image.save(folder / f"{i}.png")
        mask.save(folder / f"{i}-mask.png")
    return folder


@dataclasses.dataclass
class Desk:
    """Where a settings file is tried."""

    base: Base
    folder: Path
    photos: Path
    tower: Path
    encoders: tuple[Path, Path]
    motif: Callable[..., None]

    @property
    def photo(self) -> Path:
        return self.photos / "0.png"

    def wearing(self) -> list[Any]:
        """A concept to wear."""
        from motif.bench.subject import concept

        return ["--wear", concept(self.base, 1, "duck").save(self.folder / "worn.safetensors")]


@pytest.fixture
def desk(
    base: Base, tmp_path: Path, photos: Path, tower: Path, clip_folder: Path, dino_folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Desk:  # fmt: skip
    """A command line on the one base that is loaded."""

    def load(name: str = "", **_: Any) -> Base:
        assert name == "CompVis/stable-diffusion-v1-4", "the settings file names the paper's base"
        return base

    monkeypatch.setattr(Base, "load", staticmethod(load))
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "cache"))

    def motif(*words: Any) -> None:
        code = main([*map(str, words), "--quiet"])
        assert code == 0, capsys.readouterr().err

    return Desk(base, tmp_path, photos, tower, (clip_folder, dino_folder), motif)


def settings(name: str) -> list[Any]:
    return ["--config", SD14 / f"{name}.toml"]


def learning(method: str, *more: Any) -> Callable[[Desk, str], None]:
    def run(desk: Desk, name: str) -> None:
        lighter = memory_for_all() if name in WHOLE and desk.base.name != "pocket" else []
        out = desk.folder / "c.safetensors"
        few = [] if method == "textual-inversion" else ["--prior-count", 2, "--prior-steps", 1]
        desk.motif("learn", method, desk.photos, "photo of a <new1> duck", *settings(name), "-o", out, "--steps", 2,
                   "--resolution", 64, "--preview-every", 0, *few, *lighter, *more)  # fmt: skip
        said = tomllib.loads((SD14 / f"{name}.toml").read_text())
        made = recorded(out)
        for key in said.keys() - {"base", "steps", "resolution", "prior_count", "prior_steps"}:
            assert made[key] == said[key], f"{key} was not heard"
        assert made["steps"] == 2

    return run


def recorded(path: Path) -> dict[str, Any]:
    """The settings that a concept says it was learned with."""
    from motif.concept import Concept

    return dict(Concept.load(path).record.settings)


def memory_for_all() -> list[str]:
    """What else to ask for, so that training all of the UNet fits into what is free."""
    psutil = pytest.importorskip("psutil")
    free = psutil.virtual_memory().available / 1e9
    if free < LIGHT:
        pytest.skip(f"all weights of SD 1's UNet take {LIGHT} GB more to train, and {free:.0f} are free")
    return ["--optimiser", "adafactor"] if free < HEAVY else []


def drawing(method: str, steps: int, *more: Any) -> Callable[[Desk, str], None]:
    def run(desk: Desk, name: str) -> None:
        out = desk.folder / "drawn"
        desk.motif("sample", method, "a <new1> duck on the beach", *settings(name), *desk.wearing(), "-o", out,
                   "--steps", steps, *more)  # fmt: skip
        assert len(list(out.glob("*.png"))) == 1

    return run


def inverting(method: str, edit: str, *more: Any) -> Callable[[Desk, str], None]:
    """An inversion, and the edit that the paper makes with it."""

    def run(desk: Desk, name: str) -> None:
        out = desk.folder / "x.inversion"
        desk.motif("invert", method, desk.photo, "a duck on a table", *settings(name), "-o", out, "--steps", 5,
                   "--inner-steps", 1, *more)  # fmt: skip
        words = ["edit", "p2plus" if edit == "edit-p2plus" else "prompt-to-prompt", out, "a cat on a table"]
        desk.motif(*words, *settings(edit), "-o", desk.folder / "e.png")
        with Image.open(desk.folder / "e.png") as found:
            assert found.size == (64, 64)

    return run


def edited(desk: Desk, name: str) -> None:
    words = ["edit", "sdedit", desk.photo, "a cat on a table"]
    desk.motif(*words, *settings(name), "-o", desk.folder / "e.png", "--steps", 2)
    assert (desk.folder / "e.png").is_file()


def custom_edited(desk: Desk, name: str) -> None:
    out = desk.folder / "e.png"
    desk.motif("edit", "custom-edit", desk.photo, "--source", "a duck on a table", "--target",
               "a <new1> duck on a table", *settings(name), *desk.wearing(), "-o", out, "--steps", 5)  # fmt: skip
    assert len(list(desk.folder.glob("e-*.png"))) == 4, "one for each strength"


def elite(desk: Desk, name: str) -> None:
    out = desk.folder / "encoder.safetensors"
    desk.motif("learn", "elite", desk.photos, *settings(name), "-o", out, "--image", desk.tower, "--steps", 2,
               "--local-steps", 2, "--batch-size", 2, "--local-batch-size", 1)  # fmt: skip
    desk.motif("encode", out, desk.photo, "-o", desk.folder / "encoded")


def with_elite(desk: Desk, name: str) -> None:
    from motif.elite.start import fresh

    encoder = fresh(desk.base, str(desk.tower)).save(desk.folder / "encoder.safetensors")
    desk.motif("encode", encoder, desk.photo, "-o", desk.folder / "encoded")
    desk.motif("sample", "elite", "a <S> on the beach", *settings(name), "--wear", desk.folder / "encoded.safetensors",
               "-o", desk.folder / "drawn", "--steps", 2)  # fmt: skip
    assert len(list((desk.folder / "drawn").glob("*.png"))) == 1


def traded(desk: Desk, name: str) -> None:
    """A trade-off's spec with every method it has: one concept, prompt and seed, and two steps of everything."""
    from motif.tradeoff.spec import made
    from motif.tradeoff.sweep import tradeoff

    raw = tomllib.loads((SD14 / f"{name}.toml").read_text())
    raw["concepts"] = [{"name": "toy", "photos": str(desk.photos), "prompt": "photo of a <new1> duck"}]
    raw |= {"prompts": raw.get("prompts", ["a {concept}"])[:1], "seeds": 1}
    clip, dino = (str(folder) for folder in desk.encoders)
    encoders = {name: dino if name == "dino-i" else clip for name in raw["metrics"]}
    raw["metrics"] = [{"name": name, "settings": {"encoder": where}} for name, where in encoders.items()]
    raw["sampling"]["steps"] = 2
    for method in raw["methods"]:
        few = {"prior_count": 2, "prior_steps": 1} if method["learn"] != "textual-inversion" else {}
        few = {} if method["settings"].get("prior") == "none" else few
        every = {"checkpoint_every": 1} if "checkpoint_every" in method["settings"] else {}
        several = isinstance(method["settings"]["steps"], list)
        method["settings"] |= {"steps": [1, 2] if several else 2, "resolution": 64, **few, **every}
        if "until" in method.get("sampling", {}):
            method["sampling"] |= {"steps": 8, "balance": method["sampling"]["balance"][:2]}
    if desk.base.name != "pocket":
        raw["methods"] = [method for method in raw["methods"] if method["learn"] not in WHOLE]
    found = tradeoff(made(raw), desk.folder / "out", base=desk.base)
    assert not found.failures and all(len(row.values) == 3 for row in found.rows)
    assert {row.spot.method for row in found.rows} == {m.get("name", m["learn"]) for m in raw["methods"]}


RUNS: dict[str, Callable[[Desk, str], None]] = {
    "custom-diffusion": learning("custom-diffusion"),
    "textual-inversion": learning("textual-inversion"),
    "ico": learning("ico"),
    "ico-for-dci": learning("ico"),
    "custom-edit": learning("custom-edit"),
    "dreambooth": learning("dreambooth"),
    "fine-tune-all": learning("fine-tune-all"),
    "elite": elite,
    "sample-ddpm": drawing("plain", 2),
    "sample-dci": drawing("dci", 8, "--stand-in", "cat"),
    "sample-elite": with_elite,
    "invert-null-text": inverting("null-text", "edit-p2p"),
    "edit-p2p": inverting("null-text", "edit-p2p"),
    "invert-value-embedding": inverting("value-embedding", "edit-p2plus", "--encoder", "pocket"),
    "edit-p2plus": inverting("value-embedding", "edit-p2plus", "--encoder", "pocket"),
    "edit-sdedit": edited,
    "edit-custom-edit": custom_edited,
    "custom-diffusion-single": traded,
    "custom-concept-101": traded,
    "ico-steps": traded,
    "ico-schemes": traded,
    "ico-templates": traded,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_settings_file_runs(name: str, desk: Desk) -> None:
    if name in ("edit-p2p", "edit-p2plus"):
        pytest.skip("runs behind its inversion's")
    RUNS[name](desk, name)


CHANGES = tomllib.loads((ROOT / "reproduction" / "protocol.toml").read_text())


@pytest.mark.parametrize(("protocol", "name"), [(p, name) for p, files in CHANGES.items() for name in files])
def test_what_a_protocol_changes_of_a_settings_file_runs(protocol: str, name: str, desk: Desk) -> None:
    """`reproduction/protocol.py`'s trainings, two steps each: jointly of two concepts, of one photo, for edits."""
    sys.path.insert(0, str(ROOT / "reproduction"))
    plan = importlib.import_module("protocol_plan").Plan
    method, out = name.removesuffix("-joint"), desk.folder / "c.safetensors"
    words = plan(desk.folder, SD14, CHANGES[protocol], 1, 0, "", "", ()).using(method, as_=name)
    lighter = memory_for_all() if method in WHOLE and desk.base.name != "pocket" else []
    few = [] if method == "textual-inversion" else ["--prior-count", 2, "--prior-steps", 1]
    taught: list[Any] = [desk.photos, "photo of a <new1> duck"]
    if name != method:
        told = [{"instance_prompt": f"photo of a <new{i}> {noun}", "instance_data_dir": str(desk.photos)}
                for i, noun in enumerate(("duck", "cat"), 1)]  # fmt: skip
        (desk.folder / "both.json").write_text(json.dumps(told))
        taught = ["--concepts", desk.folder / "both.json"]
    desk.motif("learn", method, *taught, *words, "-o", out, "--steps", 2, "--resolution", 64, "--preview-every", 0,
               *few, *lighter)  # fmt: skip
    changed, made = CHANGES[protocol][name], recorded(out)
    assert all(made[key] == value for key, value in changed.items() if key != "steps") and made["steps"] == 2


def test_a_concept_is_learned_on_another(desk: Desk) -> None:
    """Custom Diffusion's sequential training: what the first changed is in the second's file too."""
    out = desk.folder / "c.safetensors"
    words = ["learn", "custom-diffusion", desk.photos, "photo of a <new2> cat", *settings("custom-diffusion")]
    desk.motif(*words, *desk.wearing(), "-o", out, "--steps", 2, "--resolution", 64, "--preview-every", 0,
               "--prior-count", 2, "--prior-steps", 1)  # fmt: skip
    from motif.concept import Concept

    assert {*Concept.load(out).tokens} == {"<new1>", "<new2>"}
