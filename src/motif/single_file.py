"""A single `.safetensors` checkpoint in the original (CompVis, SGM) layout: what it is, and its configuration.

Such a file holds the weights and no configuration. Its header, read alone, names the family:

    family   told by                                                    text encoders
    SD1      attn2.to_k reads 768 channels                              CLIP ViT-L
    SD2      attn2.to_k reads 1024 channels                             OpenCLIP ViT-H
    SDXL     attn2.to_k reads 2048 channels                             CLIP ViT-L and OpenCLIP ViT-bigG

What the network predicts (ε or v) is in no shape. It is decided by the first of these that speaks:

    1. NAME.yaml beside the file with `parameterization: "v"` or `"eps"`     the explicit way, as other tools have it
    2. the header's metadata `modelspec.prediction_type`                     "v" or "epsilon"
    3. a tensor named `v_pred`                                               SDXL and SD1 fine-tunes in v
    4. the file's name: `v-pred`, `768-v` or `512-base`
    5. the family: SD2 predicts v (the 768 px models), the others ε          for SD2 the log says that it was assumed

The configuration is a diffusers folder without weights in the cache, built from shapes and CLIP's merges that the
package carries, so that nothing is fetched.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from motif.errors import InputError
from motif.files import cache_folder, reason

log = logging.getLogger("motif")

Family = Literal["sd1", "sd2", "sdxl"]

BUILD = 1
"""Counts up where the folders' content changes, so that an old cache is not used."""

UNET = "model.diffusion_model."
FAMILIES: Mapping[int, Family] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}  # what cross-attention reads
TEXT = {
    "sd1": ("cond_stage_model.transformer.text_model.embeddings.position_embedding.weight",),
    "sd2": ("cond_stage_model.model.token_embedding.weight",),
    "sdxl": (
        "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
        "conditioner.embedders.1.model.token_embedding.weight",
    ),
}
SHAPES = {"sd1": "unet_sd15", "sd2": "unet_sd21", "sdxl": "unet_sdxl"}
ENCODERS = {"sd1": ("sd15_text",), "sd2": ("sd21_text",), "sdxl": ("sd15_text", "sdxl_text_2")}


@dataclass(frozen=True)
class Kind:
    """What a checkpoint is."""

    family: Family
    prediction: Literal["epsilon", "v_prediction"]
    zero_snr: bool = False  # trained to full noise, as its `ztsnr` tensor says

    @property
    def two_encoders(self) -> bool:
        return self.family == "sdxl"

    @property
    def side(self) -> int:
        """Its pictures in pixels."""
        small = 768 if (self.family, self.prediction) == ("sd2", "v_prediction") else 512
        return 1024 if self.family == "sdxl" else small


def config_folder(path: str | Path) -> tuple[Path, bool]:
    """(a diffusers folder with this checkpoint's configurations and no weights, whether it has two text encoders).

    InputError for a file that is no whole SD1, SD2 or SDXL checkpoint in the original layout, and says what it is.
    """
    kind = kind_of(Path(path))
    cache = cache_folder("single-file")
    name = f"{kind.family}-{kind.prediction}{'-zero-snr' if kind.zero_snr else ''}-{BUILD}"
    folder = cache / name
    if not (folder / "model_index.json").is_file():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as beside:
                _build(kind, Path(beside) / name)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(Path(beside) / name, folder)
        except OSError as error:
            if not (folder / "model_index.json").is_file():  # else another process was quicker
                raise InputError(
                    f"cannot write {folder}: {reason(error)} (MOTIF_CACHE names another place)"
                ) from error
    return folder, kind.two_encoders


def kind_of(path: Path) -> Kind:
    """Read the header and decide; no tensor is loaded."""
    shapes, metadata = _header(path)
    family = _family(path, shapes)
    lost = [key for key in (*TEXT[family], "first_stage_model.decoder.conv_in.weight") if key not in shapes]
    if lost:
        part = "VAE" if lost[0].startswith("first_stage") else "text encoder"
        raise InputError(
            f"{path}: {family.upper()} without its {part} ({lost[0]}): use a whole checkpoint, or a diffusers folder"
        )
    return Kind(family, _prediction(path, family, shapes, metadata), zero_snr="ztsnr" in shapes)


def _header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """(shape of every tensor by name, the file's metadata)."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= 100_000_000:
                raise ValueError("no header")
            header: dict[str, Any] = dict(json.loads(file.read(length)))
        metadata = dict(header.pop("__metadata__", {}))
        return {key: tuple(entry["shape"]) for key, entry in header.items()}, metadata
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path}: not a safetensors file, or cut short") from None


def _family(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Family:
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    reads = next(
        (s[1] for k, s in shapes.items() if k.startswith(UNET) and k.endswith("attn2.to_k.weight")), None
    )
    if first is None or reads is None:
        raise InputError(f"{path}: {_what_else(shapes)}")
    if first[1] != 4:
        raise InputError(
            f"{path}: its UNet reads {first[1]} channels (inpainting or editing); motif reads text-to-image models"
        )
    if reads not in FAMILIES:
        raise InputError(
            f"{path}: its cross-attention reads {reads} channels; SD1 has 768, SD2 1024 and SDXL 2048"
        )
    return FAMILIES[reads]


def _what_else(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What a file without the original layout's UNet seems to be."""
    keys = list(shapes)
    if any("lora" in key.lower() for key in keys):
        return "a LoRA, which is no base; make a concept of it (motif import) and wear that"
    if any(key.startswith(("dense/", "up/", "token/")) for key in keys):
        return "a motif concept, which is no base; wear it with --wear"
    if any(key.startswith(("down_blocks.", "unet.down_blocks.", "encoder.down_blocks.")) for key in keys):
        return "one part of a diffusers pipeline; give the pipeline's folder instead"
    if any("double_blocks." in key or "joint_blocks." in key for key in keys):
        return "a transformer (SD3 or FLUX); motif reads SD1, SD2 and SDXL"
    return f"{len(keys)} tensors, and no UNet of SD1, SD2 or SDXL among them"


def _prediction(
    path: Path, family: Family, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]
) -> Literal["epsilon", "v_prediction"]:
    yaml = path.with_suffix(".yaml")
    if yaml.is_file():
        said = re.search(
            r"^\s*parameterization\s*:\s*[\"']?(v|eps)\b",
            yaml.read_text(encoding="utf-8", errors="replace"),
            re.M,
        )
        return "v_prediction" if said and said[1] == "v" else "epsilon"
    if said := metadata.get("modelspec.prediction_type", ""):
        return "v_prediction" if said.lower().startswith("v") else "epsilon"
    if "v_pred" in shapes:
        return "v_prediction"
    if re.search(r"v[-_]?pred|768[-_]?v", path.stem, re.IGNORECASE):
        return "v_prediction"
    if family != "sd2" or re.search(r"512[-_]?base|512[-_]ema|[-_]base\b", path.stem, re.IGNORECASE):
        return "epsilon"
    log.warning(
        "%s: taken for a v-prediction model, as SD2 at 768 px is; if not, put `parameterization: eps` into %s",
        path,
        yaml,
    )
    return "v_prediction"


# -- the folder ----------------------------------------------------------------------------------------------------


def _build(kind: Kind, folder: Path) -> None:
    texts = _shapes("text_and_schedule")
    unet = _shapes(SHAPES[kind.family]) | {
        "_class_name": "UNet2DConditionModel",
        "sample_size": kind.side // 8,
    }
    scaling = {"scaling_factor": 0.13025, "force_upcast": True} if kind.two_encoders else {}
    vae = _shapes("vae_sd") | {"_class_name": "AutoencoderKL", "sample_size": kind.side} | scaling
    schedule = {**texts["schedule"], "_class_name": "DDIMScheduler", "prediction_type": kind.prediction}
    schedule |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if kind.zero_snr else {}
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if kind.two_encoders else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
    }
    index |= {"force_zeros_for_empty_prompt": True} if kind.two_encoders else {"safety_checker": [None, None]}
    for suffix, name in zip(("", "_2"), ENCODERS[kind.family], strict=False):
        encoder = "CLIPTextModelWithProjection" if "projection_dim" in texts[name] else "CLIPTextModel"
        specials = {
            "bos_token_id": 49406,
            "eos_token_id": 49407,
            "pad_token_id": 49407 if name == "sd15_text" else 0,
        }
        config = {**texts[name], **specials, "architectures": [encoder], "model_type": "clip_text_model"}
        _write(folder / f"text_encoder{suffix}" / "config.json", config)
        pad = "<|endoftext|>" if name == "sd15_text" else "!"
        clip_tokenizer(pad=pad).save_pretrained(str(folder / f"tokenizer{suffix}"))
        index |= {
            f"text_encoder{suffix}": ["transformers", encoder],
            f"tokenizer{suffix}": ["transformers", "CLIPTokenizer"],
        }
    _write(folder / "unet" / "config.json", unet)
    _write(folder / "vae" / "config.json", vae)
    _write(folder / "scheduler" / "scheduler_config.json", schedule)
    _write(folder / "model_index.json", index)


def clip_tokenizer(*, pad: str = "<|endoftext|>") -> Any:
    """CLIP's tokenizer from its merges: 256 bytes, the same at a word's end, one entry per merge, two specials."""
    from transformers import CLIPTokenizer

    packed = resources.files("motif") / "data" / "clip-merges.txt.gz"
    lines = (
        gzip.decompress(packed.read_bytes()).decode().splitlines()[1:]
    )  # the first line is the format's version
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    symbols = [chr(code) for code in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    entries = [
        *symbols,
        *(f"{s}</w>" for s in symbols),
        *(a + b for a, b in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    made: Any = CLIPTokenizer
    return made(vocab=vocabulary, merges=merges, model_max_length=77, pad_token=pad)


def _shapes(name: str) -> dict[str, Any]:
    return json.loads(
        (resources.files("motif") / "data" / "shapes" / f"{name}.json").read_text(encoding="utf-8")
    )


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
