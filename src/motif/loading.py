"""Finding a base's parts: in the package, in a diffusers folder, in a single `.safetensors`, or on the hub.

The only file that knows where models lie. Nothing is fetched where the machine is offline or the hub is out of reach:
MissingModel names the repository, the file and the command that would fetch it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from motif.errors import InputError, MissingModel
from motif.files import read_json, tells_no_memory
from motif.hub import out_of_reach, quiet
from motif.text import Reader

log = logging.getLogger("motif")

BYTES = 256  # a byte-pair vocabulary has at least so many entries
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def pocket_weights() -> Path:
    """The embedded base's folder (pipeline, clip, dino, ...); MOTIF_POCKET_WEIGHTS names another one."""
    folder = Path(os.environ.get("MOTIF_POCKET_WEIGHTS") or str(resources.files("motif.pocket") / "weights"))
    if not (folder / "pipeline" / "model_index.json").is_file():
        raise MissingModel(
            f"the embedded base is not in {folder}: make it with `motif pocket render` and `motif pocket train`"
        )
    return folder


def device_of(device: str | None) -> str:
    """The named device, or a GPU where there is one; InputError where this machine does not have it."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device or best)
    except RuntimeError:
        raise InputError(f"device {device!r}: use cpu, cuda or cuda:1") from None
    if found.type == "cuda" and best != "cuda":
        raise InputError(
            f"device {device!r}: torch {torch.__version__} finds no GPU on this machine; use cpu"
        )
    last = torch.cuda.device_count() - 1 if found.type == "cuda" else 0
    if (found.index or 0) > last:
        raise InputError(f"device {device!r}: the last one here is {found.type}:{last}")
    if found.type == "meta":
        raise InputError(f"device {device!r}: it computes nothing; use {best}")
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise InputError(
            f"device {device!r}: not on this machine ({_first_line(error)}); use {best}"
        ) from None
    return device or best


def dtype_of(precision: str | None, device: str) -> torch.dtype:
    """The type of a precision's name; the default is fp32 on a CPU and bf16 elsewhere."""
    precision = precision or ("fp32" if torch.device(device).type == "cpu" else "bf16")
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: use fp32, fp16 or bf16")
    return PRECISIONS[precision]


def precision_of(dtype: torch.dtype) -> str:
    """A type's name as `--precision` spells it."""
    return next((name for name, known in PRECISIONS.items() if known == dtype), str(dtype))


def pipeline_parts(name: str, *, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """The keywords of `Base.of` for a model's name; models are on the device, in the type.

    The VAE stays in float32: it overflows in float16 (SDXL), and it runs once per picture.
    """
    with quiet():
        if name.endswith((".safetensors", ".ckpt")):
            parts = _single_file(name, dtype)
        else:
            folder = str(pocket_weights() / "pipeline") if name == "pocket" else os.path.expanduser(name)
            parts = _folder_or_hub(name, folder, dtype)
        parts["unet"].to(device=device, dtype=dtype, memory_format=torch.channels_last)
        parts["vae"].to(device=device, dtype=torch.float32)
        for reader in parts["readers"]:
            reader.encoder.to(device=device, dtype=dtype)
    return parts


def _folder_or_hub(name: str, where: str, dtype: torch.dtype) -> dict[str, Any]:
    """A folder's parts, or a repository's: from the hub's cache alone where all of it is there, else fetched."""
    if os.path.isdir(where):
        return _parts(name, where, dtype, local=True)
    if where.count("/") != 1 or where.startswith((".", "/", "~")):
        raise MissingModel(
            f"{where}: no such folder; a base is `pocket`, a diffusers folder, a .safetensors or a hub id"
        )
    try:
        return _parts(name, where, dtype, local=True)
    except MissingModel as missing:
        if why := out_of_reach():
            raise MissingModel(
                f"{missing} and cannot be fetched now: {why}. With a network: hf download {name}"
            ) from None
    return _parts(name, where, dtype, local=False)


def _parts(name: str, where: str, dtype: torch.dtype, *, local: bool) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    index = _model_index(name, where, local=local)
    models: dict[str, Any] = {
        "unet": _weights(UNet2DConditionModel.from_pretrained, name, where, "unet", dtype, local=local),
        "vae": _weights(AutoencoderKL.from_pretrained, name, where, "vae", torch.float32, local=local),
        "readers": (readers := _readers(name, where, index, dtype, local=local)),
        "scheduler": _scheduler(name, where, one_reader=len(readers) == 1, local=local),
        "empty_is_zero": bool(index.get("force_zeros_for_empty_prompt", False)),
    }
    models["advice"] = _advice(Path(where) / "motif.json")
    return models


def _advice(path: Path) -> dict[str, Any]:
    """What a base's makers found to work; see `Base.of`."""
    advice = read_json(path) if path.is_file() else {}
    guidance, learn = advice.get("guidance", 7.5), advice.get("learn", {})
    fits = isinstance(learn, dict) and all(isinstance(settings, dict) for settings in learn.values())  # pyright: ignore
    if not fits or isinstance(guidance, bool) or not isinstance(guidance, int | float):
        raise InputError(f'{path}: needs {{"guidance": number, "learn": {{method: {{setting: value}}}}}}')
    return advice


def _model_index(name: str, where: str, *, local: bool) -> dict[str, Any]:
    if os.path.isdir(where):
        path = Path(where) / "model_index.json"
        if not path.is_file():
            raise InputError(f"{where} is not a diffusers pipeline folder: it has no model_index.json")
    else:
        from huggingface_hub import hf_hub_download

        with _missing(name, "model_index.json"):
            path = Path(hf_hub_download(where, "model_index.json", local_files_only=local))
    index = read_json(path)
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        if not isinstance(index.get(part), list) or index[part][0] is None:
            raise InputError(
                f"{name} is a {index.get('_class_name', 'folder')} without {part}: motif reads SD1, SD2 and SDXL"
            )
    return index


def _readers(
    name: str, where: str, index: dict[str, Any], dtype: torch.dtype, *, local: bool
) -> tuple[Reader, ...]:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    two = index.get("text_encoder_2", [None])[0] is not None
    readers: list[Reader] = []
    for suffix in ("", "_2") if two else ("",):
        kind = CLIPTextModelWithProjection if suffix else CLIPTextModel
        encoder = _weights(kind.from_pretrained, name, where, f"text_encoder{suffix}", dtype, local=local)
        with _missing(name, f"tokenizer{suffix}"):
            tokenizer: Any = CLIPTokenizer.from_pretrained(
                where, subfolder=f"tokenizer{suffix}", local_files_only=local
            )
        if len(tokenizer) < BYTES:  # transformers makes an empty one where the files are not there
            raise MissingModel(f"{name} is incomplete: tokenizer{suffix} has no vocabulary")
        readers.append(Reader(tokenizer, encoder, penultimate=two))
    return tuple(readers)


def _scheduler(name: str, where: str, *, one_reader: bool, local: bool) -> dict[str, Any]:
    """The scheduler's config; of SD1 and SD2 with `steps_offset` 1, as diffusers' pipeline of theirs sets it whatever
    the file says (the last of 50 steps is 1, not 0, where it could not move)."""
    from diffusers import DDIMScheduler

    with _missing(name, "scheduler/scheduler_config.json"):
        config: Any = DDIMScheduler.load_config(where, subfolder="scheduler", local_files_only=local)
    return {**config, "steps_offset": 1} if one_reader else dict(config)


def _weights(
    load: Callable[..., Any], name: str, where: str, part: str, dtype: torch.dtype, *, local: bool
) -> Any:
    """One component; where the plain weights are not there, the fp16 variant. InputError where a weight is absent."""
    options: dict[str, Any] = {
        "subfolder": part, "dtype": dtype, "local_files_only": local, "output_loading_info": True,
        "use_safetensors": True,
    }  # fmt: skip
    files = {path.suffix for path in Path(where, part).glob("*")}
    if ".bin" in files and ".safetensors" not in files:
        raise InputError(
            f"{name}: {part} has .bin files alone, which are pickles: save it as .safetensors first "
            "(motif never unpickles a base)"
        )
    with _missing(name, part):
        try:
            model, info = load(where, **options)
        except OSError as plain:
            try:
                model, info = load(where, variant="fp16", **options)
            except OSError:
                raise plain from None
            log.info("%s: using the fp16 variant of %s", where, part)
    if absent := sorted(info["missing_keys"]):
        raise InputError(
            f"{name}: {part} lacks {len(absent)} weights, {absent[0]} first: the file is damaged or another model's"
        )
    return model


@contextmanager
def _missing(name: str, part: str) -> Iterator[None]:
    """Turn the libraries' many ways of not finding or not reading a file into one MissingModel."""
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError
    from safetensors import SafetensorError

    absent = (OSError, ValueError, SafetensorError)  # also what a damaged file raises
    try:
        yield
    except LocalEntryNotFoundError as error:
        raise MissingModel(
            f"{name} is not on this machine (no {part} in {constants.HF_HUB_CACHE})"
        ) from error
    except Exception as error:  # KeyError, IndexError, pydantic's...: a config that does not fit its weights
        if tells_no_memory(error):
            raise
        if os.path.isdir(name) or name == "pocket" or not isinstance(error, absent):
            raise MissingModel(f"{name} is incomplete or damaged: {part} ({_first_line(error)})") from error
        raise MissingModel(f"{name} is not on this machine ({part}: {_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _single_file(name: str, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline
    from safetensors import SafetensorError

    from motif.single_file import config_folder

    path = Path(name).expanduser()
    if not path.is_file():
        raise MissingModel(f"{name}: no such file")
    if path.suffix == ".ckpt":
        raise InputError(
            f"{name} is a pickle: convert it to .safetensors first (motif never unpickles a base)"
        )
    folder, two = config_folder(path)
    kind: Any = StableDiffusionXLPipeline if two else StableDiffusionPipeline
    extra: dict[str, Any] = {} if two else {"safety_checker": None, "feature_extractor": None}
    where: dict[str, Any] = {"config": str(folder), "local_files_only": True}
    try:
        vae: Any = AutoencoderKL.from_single_file(
            str(path), subfolder="vae", torch_dtype=torch.float32, **where
        )
        pipe = kind.from_single_file(str(path), vae=vae, torch_dtype=dtype, **where, **extra)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{name} cannot be read as {kind.__name__}: {_first_line(error)}") from error
    readers = [Reader(pipe.tokenizer, pipe.text_encoder, penultimate=two)]
    if two:
        readers.append(Reader(pipe.tokenizer_2, pipe.text_encoder_2, penultimate=True))
    for part in (pipe.unet, pipe.vae, *(reader.encoder for reader in readers)):
        if absent := [key for key, weight in part.named_parameters() if weight.is_meta]:
            raise InputError(
                f"{name}: its {type(part).__name__} lacks {len(absent)} weights, {absent[0]} first"
            )
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return {
        "unet": pipe.unet,
        "vae": pipe.vae,
        "readers": tuple(readers),
        "scheduler": dict(pipe.scheduler.config),
        "empty_is_zero": bool(index.get("force_zeros_for_empty_prompt", False)),
    }
