"""Single files: told by their header alone, configured without a network, loaded by diffusers' own reader."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from motif.errors import InputError
from motif.single_file import ENCODERS, TEXT, Kind, _build, clip_tokenizer, config_folder, kind_of
from original import original

UNET = "model.diffusion_model.input_blocks."
READS = {"sd1": 768, "sd2": 1024, "sdxl": 2048}


def header_file(path: Path, shapes: dict[str, tuple[int, ...]], **metadata: str) -> Path:
    """A safetensors file that is nothing but its header."""
    header = {
        key: {"dtype": "F16", "shape": list(shape), "data_offsets": [0, 0]} for key, shape in shapes.items()
    }
    packed = json.dumps({"__metadata__": metadata, **header} if metadata else header).encode()
    path.write_bytes(len(packed).to_bytes(8, "little") + packed)
    return path


def shapes_of(family: str) -> dict[str, tuple[int, ...]]:
    names = {f"{UNET}0.0.weight": (320, 4, 3, 3), "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}
    names[f"{UNET}4.1.transformer_blocks.0.attn2.to_k.weight"] = (640, READS[family])
    return names | {key: (77, 768) for key in TEXT[family]}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path_factory.getbasetemp() / "motif-cache"))


@pytest.mark.parametrize(("family", "prediction", "side"), [("sd1", "epsilon", 512), ("sd2", "v_prediction", 768),
                                                            ("sdxl", "epsilon", 1024)])  # fmt: skip
def test_the_family_is_told_by_the_header(tmp_path, family, prediction, side):
    kind = kind_of(header_file(tmp_path / "model.safetensors", shapes_of(family)))
    assert kind == Kind(family, prediction) and kind.side == side and kind.two_encoders == (family == "sdxl")


@pytest.mark.parametrize(
    ("family", "name", "extra", "metadata", "yaml", "wanted"),
    [
        ("sd2", "v2-1_768-ema", {}, {}, None, "v_prediction"),
        ("sd2", "512-base-ema", {}, {}, None, "epsilon"),
        ("sd2", "x", {}, {"modelspec.prediction_type": "epsilon"}, None, "epsilon"),
        ("sd2", "x", {}, {}, "model:\n  params:\n    linear_start: 0.00085\n", "epsilon"),
        ("sd2", "512-base-ema", {}, {}, 'model:\n  params:\n    parameterization: "v"\n', "v_prediction"),
        ("sdxl", "x", {"v_pred": ()}, {}, None, "v_prediction"),
        ("sdxl", "x", {"v_pred": ()}, {}, "parameterization: eps", "epsilon"),
        ("sd1", "anime-vpred", {}, {}, None, "v_prediction"),
        ("sd1", "x", {}, {"modelspec.prediction_type": "v"}, None, "v_prediction"),
        ("sd1", "x", {}, {}, None, "epsilon"),
    ],
)
def test_what_it_predicts_is_decided_in_the_stated_order(
    tmp_path, family, name, extra, metadata, yaml, wanted
):
    path = header_file(tmp_path / f"{name}.safetensors", shapes_of(family) | extra, **metadata)
    if yaml:
        path.with_suffix(".yaml").write_text(yaml)
    assert kind_of(path).prediction == wanted


def test_an_assumed_prediction_is_said(tmp_path, caplog):
    kind_of(header_file(tmp_path / "mystery.safetensors", shapes_of("sd2")))
    assert "taken for a v-prediction model" in caplog.text and "mystery.yaml" in caplog.text
    caplog.clear()
    kind_of(header_file(tmp_path / "plain.safetensors", shapes_of("sd1")))
    assert not caplog.text


def without(family: str, key: str) -> dict[str, tuple[int, ...]]:
    return {k: s for k, s in shapes_of(family).items() if not k.startswith(key)}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "no UNet"),
        ({"lora_unet_mid.lora_down.weight": (4, 4)}, "a LoRA"),
        ({"down_blocks.0.resnets.0.conv1.weight": (1, 1)}, "pipeline's folder"),
        ({"dense/unet.a.weight": (1, 1)}, "--wear"),
        ({"model.diffusion_model.joint_blocks.0.x": (1,)}, "SD3"),
        (without("sd1", "first_stage"), "without its VAE"),
        (without("sd1", "cond_stage"), "without its text encoder"),
        (without("sdxl", "conditioner.embedders.1"), "without its text encoder"),
        (shapes_of("sd1") | {f"{UNET}0.0.weight": (320, 9, 3, 3)}, "reads 9 channels"),
        (shapes_of("sd1") | {f"{UNET}4.1.transformer_blocks.0.attn2.to_k.weight": (1, 1280)}, "reads 1280"),
    ],
)
def test_what_is_no_base_is_refused_and_named(tmp_path, shapes, words):
    path = header_file(tmp_path / "x.safetensors", shapes)
    with pytest.raises(InputError, match=words) as error:
        config_folder(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"not a file of tensors at all", b'\x10\0\0\0\0\0\0\0{"a": [1, 2]}  ']
)
def test_what_is_no_safetensors_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a safetensors file|no UNet"):
        config_folder(path)


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="MOTIF_CACHE"):
        config_folder(header_file(tmp_path / "x.safetensors", shapes_of("sd1")))


# -- the rebuilt configuration -------------------------------------------------------------------------------------


def test_the_rebuilt_vocabulary_is_clips():
    tokenizer = clip_tokenizer()
    vocabulary = tokenizer.get_vocab()
    assert len(vocabulary) == 49408
    assert [vocabulary[name] for name in ("ktn", "pll", "ucd</w>", "sks</w>")] == [42170, 47629, 43514, 48136]
    ids = tokenizer("a photo of a cat", padding="max_length").input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368] + [49407] * 71


def test_the_folder_is_made_once_and_is_whole(tmp_path):
    path = header_file(tmp_path / "x.safetensors", shapes_of("sdxl"))
    folder, two = config_folder(path)
    stamp = (folder / "model_index.json").stat().st_mtime_ns
    assert (
        two and config_folder(path)[0] == folder and (folder / "model_index.json").stat().st_mtime_ns == stamp
    )
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    from transformers import CLIPTokenizer

    pads = [
        CLIPTokenizer.from_pretrained(folder, subfolder=name).pad_token_id
        for name in ("tokenizer", "tokenizer_2")
    ]
    assert pads == [49407, 0]


@pytest.mark.parametrize(("family", "millions"), [("sd1", 859.5), ("sd2", 865.9), ("sdxl", 2567.5)])
def test_the_configuration_holds_the_published_shapes(tmp_path, family, millions):
    """Built on the meta device: diffusers' conversion of the original names fills every parameter, shape by shape."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    _build(Kind(family, "epsilon"), tmp_path / "f")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(tmp_path / "f" / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(tmp_path / "f" / "vae"))
    assert sum(p.numel() for p in unet.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    named = original(unet, vae)
    for module, convert in ((unet, convert_ldm_unet_checkpoint), (vae, convert_ldm_vae_checkpoint)):
        found = {key: tuple(t.shape) for key, t in convert(dict(named), module.config).items()}
        assert found == {key: tuple(t.shape) for key, t in module.state_dict().items()}
    texts = {key: (77, 768) for key in TEXT[family]}
    header = header_file(
        tmp_path / "full.safetensors", {key: tuple(t.shape) for key, t in named.items()} | texts
    )
    assert kind_of(header).family == family
    assert len(ENCODERS[family]) == len(texts)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_sd15_checkpoint_is_loaded_and_predicts(tmp_path):
    """Full size, random float16 weights, original names: 2 GB, deleted afterwards."""
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    from motif.base import Base

    path = tmp_path / "random-sd15.safetensors"
    try:
        save_file(_random_sd15(CLIPTextModel, CLIPTextConfig, tmp_path), path)
        gc.collect()
        base = Base.load(str(path), device="cpu", precision="fp32")
        assert base.size == 512 and base.schedule.prediction == "epsilon" and len(base.models.sites) == 32
        assert not any(p.is_meta for p in base.models.unet.parameters())
        with torch.no_grad():
            text = base.read("photo of a cat")
            x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
            out = base.predict(x, 500, text.states, text.pooled, None)
        assert text.states.shape == (1, 77, 768) and out.shape == x.shape and torch.isfinite(out).all()
    finally:
        path.unlink(missing_ok=True)


def _random_sd15(text_model: Any, text_config: Any, tmp_path: Path) -> dict[str, torch.Tensor]:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    _build(Kind("sd1", "epsilon"), tmp_path / "f")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(tmp_path / "f" / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(tmp_path / "f" / "vae"))
        text = text_model(text_config.from_pretrained(tmp_path / "f" / "text_encoder"))
    prefix = "cond_stage_model.transformer.text_model."
    named = original(unet, vae) | {
        prefix + n.removeprefix("text_model."): t for n, t in text.state_dict().items()
    }
    draw = torch.Generator().manual_seed(0)
    return {key: _random(key, tuple(t.shape), draw) for key, t in named.items()}


def _random(key: str, shape: tuple[int, ...], draw: torch.Generator) -> torch.Tensor:
    if len(shape) == 1:
        return (torch.ones if key.endswith("weight") else torch.zeros)(shape, dtype=torch.float16)
    size, fan_in = torch.Size(shape).numel(), torch.Size(shape[1:]).numel()
    noise = (torch.randn(min(size, 2**18), generator=draw) / fan_in**0.5).half()
    return noise.repeat(-(-size // len(noise)))[:size].view(shape)
