"""Finding a base's parts: in the package, in a diffusers folder, in a single `.safetensors`, or on the hub.

The only file that knows where models lie. Nothing is fetched where the machine is offline or the hub is out of reach:
MissingModel names the repository, the file and the command that would fetch it.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from motif.errors import InputError, MissingModel
from motif.text import Reader

log = logging.getLogger("motif")

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def pocket_weights() -> Path:
    """The embedded base's folder (pipeline, clip, dino, ...); MOTIF_POCKET_WEIGHTS names another one."""
    folder = Path(os.environ.get("MOTIF_POCKET_WEIGHTS") or str(resources.files("motif.pocket") / "weights"))
    if not (folder / "pipeline" / "model_index.json").is_file():
        raise MissingModel(f"the embedded base is not in {folder}: make it with `motif pocket render` and `motif pocket train`")
    return folder


def dtype_of(precision: str | None, device: str) -> torch.dtype:
    """The type of a precision's name; the default is fp32 on a CPU and bf16 elsewhere."""
    precision = precision or ("fp32" if device == "cpu" else "bf16")
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: use fp32, fp16 or bf16")
    return PRECISIONS[precision]


def pipeline_parts(name: str, *, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """The keywords of `Base.of` for a model's name; models are on the device, in the type.

    The VAE stays in float32: it overflows in float16 (SDXL), and it runs once per picture.
    """
    if name.endswith((".safetensors", ".ckpt")):
        parts = _single_file(name, dtype)
    else:
        folder = str(pocket_weights() / "pipeline") if name == "pocket" else name
        parts = _folder_or_hub(name, folder, dtype)
    parts["unet"].to(device=device, dtype=dtype, memory_format=torch.channels_last)
    parts["vae"].to(device=device, dtype=torch.float32)
    for reader in parts["readers"]:
        reader.encoder.to(device=device, dtype=dtype)
    return parts


def _folder_or_hub(name: str, where: str, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    index = _model_index(name, where)
    models: dict[str, Any] = {}
    with _missing(name):
        models["unet"] = _weights(UNet2DConditionModel.from_pretrained, where, "unet", dtype)
        models["vae"] = _weights(AutoencoderKL.from_pretrained, where, "vae", torch.float32)
        models["readers"] = _readers(where, index, dtype)
        models["scheduler"] = _scheduler(where)
    models["empty_is_zero"] = bool(index.get("force_zeros_for_empty_prompt", False))
    advice = Path(where) / "motif.json"
    models["advice"] = json.loads(advice.read_text()) if advice.is_file() else {}
    return models


def _model_index(name: str, where: str) -> dict[str, Any]:
    if os.path.isdir(where):
        path = Path(where) / "model_index.json"
        if not path.is_file():
            raise InputError(f"{where} is not a diffusers pipeline folder: it has no model_index.json")
    elif where.count("/") == 1 and not where.startswith((".", "/", "~")):
        from huggingface_hub import hf_hub_download

        with _missing(name):
            path = Path(hf_hub_download(where, "model_index.json"))
    else:
        raise MissingModel(f"{where}: no such folder; a base is `pocket`, a diffusers folder, a .safetensors or a hub id")
    index: dict[str, Any] = json.loads(path.read_text())
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        if not isinstance(index.get(part), list) or index[part][0] is None:
            raise InputError(f"{name} is a {index.get('_class_name', 'folder')} without {part}: motif reads SD1, SD2 and SDXL")
    return index


def _readers(where: str, index: dict[str, Any], dtype: torch.dtype) -> tuple[Reader, ...]:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    two = index.get("text_encoder_2", [None])[0] is not None
    readers: list[Reader] = []
    for suffix in ("", "_2") if two else ("",):
        kind = CLIPTextModelWithProjection if suffix else CLIPTextModel
        encoder = _weights(kind.from_pretrained, where, f"text_encoder{suffix}", dtype)
        tokenizer: Any = CLIPTokenizer.from_pretrained(where, subfolder=f"tokenizer{suffix}")
        readers.append(Reader(tokenizer, encoder, penultimate=two))
    return tuple(readers)


def _scheduler(where: str) -> dict[str, Any]:
    from diffusers import DDIMScheduler

    config: Any = DDIMScheduler.load_config(where, subfolder="scheduler")
    return dict(config)


def _weights(load: Callable[..., Any], where: str, part: str, dtype: torch.dtype) -> Any:
    """One component; where the plain weights are not there, the repository's fp16 variant."""
    key = "torch_dtype" if "diffusers" in load.__self__.__module__ else "dtype"  # pyright: ignore[reportFunctionMemberAccess]
    try:
        return load(where, subfolder=part, **{key: dtype})
    except OSError:
        try:
            model = load(where, subfolder=part, variant="fp16", **{key: dtype})
        except OSError:
            model = None
        if model is None:
            raise
        log.info("%s: using the fp16 variant of %s", where, part)
        return model


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Turn the libraries' many ways of not finding a file into one MissingModel."""
    try:
        yield
    except (OSError, ValueError) as error:
        if os.path.isdir(name):
            raise MissingModel(f"{name} is incomplete: {_first_line(error)}") from error
        raise MissingModel(
            f"{name} is not on this machine and cannot be fetched ({_first_line(error)}); "
            f"with a network: hf download {name}"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _single_file(name: str, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    from motif.single_file import config_folder

    path = Path(name)
    if not path.is_file():
        raise MissingModel(f"{name}: no such file")
    if path.suffix == ".ckpt":
        raise InputError(f"{name} is a pickle: convert it to .safetensors first (motif never unpickles a model)")
    folder, two = config_folder(path)
    kind: Any = StableDiffusionXLPipeline if two else StableDiffusionPipeline
    extra = {} if two else {"safety_checker": None, "feature_extractor": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = kind.from_single_file(str(path), config=str(folder), torch_dtype=dtype, local_files_only=True, **extra)
    readers = [Reader(pipe.tokenizer, pipe.text_encoder, penultimate=two)]
    if two:
        readers.append(Reader(pipe.tokenizer_2, pipe.text_encoder_2, penultimate=True))
    index = json.loads((folder / "model_index.json").read_text())
    return {
        "unet": pipe.unet,
        "vae": pipe.vae,
        "readers": tuple(readers),
        "scheduler": dict(pipe.scheduler.config),
        "empty_is_zero": bool(index.get("force_zeros_for_empty_prompt", False)),
    }
