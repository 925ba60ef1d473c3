"""Single files: told by their header alone, configured without a network, loaded by diffusers' own reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from motif.base import Base
from motif.errors import InputError
from motif.single_file import ENCODERS, TEXT, Kind, _build, _shapes, clip_tokenizer, config_folder, kind_of
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


# -- whole files -----------------------------------------------------------------------------------------------------

LAYER = dict(self_attn="attn", linear1="mlp.c_fc", linear2="mlp.c_proj", norm1="ln_1", norm2="ln_2")
PROMPT, WORDS = "photo of a cat", [49406, 1125, 539, 320, 2368, 49407]


class OpenClip(nn.Module):
    """OpenCLIP's text tower by its own names, its layers by torch's (LAYER). ViT-H and ViT-bigG are sizes of it."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        kind = {"activation": "gelu", "batch_first": True, "norm_first": True}
        stack = [nn.TransformerEncoderLayer(width, heads, 4 * width, **kind) for _ in range(layers)]
        self.token_embedding = nn.Embedding(49408, width)
        self.positional_embedding = nn.Parameter(torch.empty(77, width))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(stack)})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, width))
        self.logit_scale = nn.Parameter(torch.empty(()))

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(what the last layer reads, the end of text projected)."""
        later = torch.ones(77, 77, dtype=torch.bool).triu(1)
        x = before = self.token_embedding(ids) + self.positional_embedding
        for layer in self.transformer["resblocks"]:
            before, x = x, layer(x, src_mask=later)
        return before, self.ln_final(x)[:, len(WORDS) - 1] @ self.text_projection


def towers_of(family: str) -> dict[str, Any]:
    """A family's text encoders as published, with random values that float16 holds."""
    clip = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    towers: dict[str, Any] = {} if family == "sd2" else {"clip": CLIPTextModel(CLIPTextConfig(**clip))}
    if family != "sd1":
        towers["open"] = OpenClip(1024, 16, 24) if family == "sd2" else OpenClip(1280, 20, 32)
    draw = torch.Generator().manual_seed(0)
    for name, value in (named for tower in towers.values() for named in tower.named_parameters()):
        value.data = _random(name, tuple(value.shape), draw).float()
    return {name: tower.requires_grad_(False).eval() for name, tower in towers.items()}


def published(family: str, towers: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the UNet reads of PROMPT. SD1: the end of CLIP, padded with the end of text. SD2: what OpenCLIP's last layer
    reads, normed, padded with 0. SDXL: what the last layers of both read, and the second's pooled words."""
    by_end, by_0 = (torch.tensor([WORDS + [pad] * (77 - len(WORDS))]) for pad in (49407, 0))
    if family == "sd1":
        return towers["clip"](by_end).last_hidden_state, None
    before, pooled = towers["open"](by_0)
    if family == "sd2":
        return towers["open"].ln_final(before), None
    first = towers["clip"](by_end, output_hidden_states=True).hidden_states[-2]
    return torch.cat([first, before], -1), pooled


def random_file(path: Path, family: str, config: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Random towers, UNet and VAE by their original names, and what else published files hold; tells `published`."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(config / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(config / "vae"))
    draw, towers = torch.Generator().manual_seed(0), towers_of(family)
    first, second = (f"conditioner.embedders.{i}" if family == "sdxl" else "cond_stage_model" for i in (0, 1))
    prefix = {"clip": f"{first}.transformer.text_model.", "open": f"{second}.model."}
    named = {key: _random(key, tuple(t.shape), draw) for key, t in original(unet, vae).items()}
    for kind, tower in towers.items():
        for key, value in tower.state_dict().items():
            for torchs, own in LAYER.items() if kind == "open" else ():
                key = key.replace(torchs, own)
            named[prefix[kind] + key] = value.half()
    named |= {f"{prefix['clip']}embeddings.position_ids": torch.arange(77)[None]} if "clip" in towers else {}
    save_file(named | {"alphas_cumprod": torch.ones(1000), "model_ema.decay": torch.ones(())}, path)
    return published(family, towers)


def by_diffusers(base: Base) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the UNet reads of PROMPT, as diffusers' pipeline has it of the base's own encoders."""
    first, second = base.models.readers[0], base.models.readers[-1]
    parts: dict[str, Any] = {"tokenizer": first.tokenizer, "text_encoder": first.encoder}
    parts |= dict.fromkeys(("vae", "unet", "scheduler", "feature_extractor"))
    if first is second:
        pipe = StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)
        return pipe.encode_prompt(PROMPT, "cpu", 1, False)[0], None
    pipe = StableDiffusionXLPipeline(**parts, tokenizer_2=second.tokenizer, text_encoder_2=second.encoder)
    states, _, pooled, _ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    return states, pooled


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("family", "prediction", "side", "sites"),
    [("sd1", "epsilon", 512, 32), ("sd2", "v_prediction", 768, 32), ("sdxl", "epsilon", 1024, 140)],
)
def test_a_whole_file_is_loaded_read_and_predicts(tmp_path, monkeypatch, family, prediction, side, sites):
    """The words are those of the published computation, and those of diffusers. All is of full size but SDXL's UNet,
    which has a tenth of its width: it would take 14 GB."""
    thin = {"unet_sdxl": {"block_out_channels": [32, 64, 128], "attention_head_dim": [1, 2, 4]}}
    monkeypatch.setattr("motif.single_file._shapes", lambda name: _shapes(name) | thin.get(name, {}))
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "cache"))
    _build(Kind(family, prediction), tmp_path / "f")
    path = tmp_path / "random.safetensors"
    try:
        wanted = random_file(path, family, tmp_path / "f")
        base = Base.load(str(path), device="cpu", precision="fp32")
    finally:
        path.unlink(missing_ok=True)
    assert (base.schedule.prediction, base.size, len(base.models.sites)) == (prediction, side, sites)
    with torch.no_grad():
        text = base.read(PROMPT)
        out = base.predict(torch.ones(1, 4, 16, 16), 500, text.states, text.pooled, None)
        for states, pooled in (wanted, by_diffusers(base)):
            torch.testing.assert_close((text.states, text.pooled), (states, pooled), rtol=0, atol=1e-4)
    assert out.shape == (1, 4, 16, 16) and torch.isfinite(out).all()


def _random(key: str, shape: tuple[int, ...], draw: torch.Generator) -> torch.Tensor:
    """Weights that keep a unit variance; a prime many of them, again and again: no two rows or slices are alike."""
    size, prime = torch.Size(shape).numel(), 300_007
    noise = torch.randn(min(size, prime), generator=draw).repeat(-(-size // prime))[:size].view(shape)
    level = 0.0 if key.endswith("bias") else 1.0
    return (noise / torch.Size(shape[1:]).numel() ** 0.5 if len(shape) > 1 else level + noise / 10).half()
