"""Finding a base: folders go round, what is missing or damaged is said in one line, and nothing is waited for."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from motif import loading
from motif.base import Base
from motif.errors import InputError, MissingModel
from pieces import fingerprint, gap, predict

REPOSITORY = "nobody/no-such-model"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every family as diffusers saves it."""
    import tiny

    places = {family: tmp_path_factory.mktemp(family) / "pipeline" for family in tiny.FAMILIES}
    for family, place in places.items():
        tiny.pipeline(family).save_pretrained(place)
    return places


@pytest.fixture
def sd1_folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of one that a test may damage."""
    return Path(shutil.copytree(folders["sd1"], tmp_path / "pipeline"))


def test_a_saved_pipeline_comes_back(small, folders):
    base = Base.load(str(folders[small.family]), device="cpu")
    x = small.noise()
    with torch.no_grad():
        assert gap(predict(base, x, "a cat"), predict(small.base, x, "a cat")) < 1e-5
        uncond = base.read_uncond()
    assert base.schedule.prediction == ("v_prediction" if small.family == "sd2-v" else "epsilon")
    assert base.origin.same_weights(small.base.origin) and base.size == small.base.size
    assert bool(uncond.states.any()) == (small.family != "sdxl")
    assert base.dtype == torch.float32 and base.device.type == "cpu"


def test_the_same_folder_is_the_same_bits(folders):
    first, second = (Base.load(str(folders["sd1"]), device="cpu") for _ in range(2))
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_half_precision(small, folders, precision, dtype):
    """The denoiser and the text in half precision, the pictures in float32; the answer is nearly the same."""
    base = Base.load(str(folders[small.family]), device="cpu", precision=precision)
    assert base.dtype == dtype and base.models.vae.dtype == torch.float32
    assert all(reader.encoder.dtype == dtype for reader in base.models.readers)
    with torch.no_grad():
        half = predict(base, small.noise().to(dtype), "a cat")
        assert half.dtype == dtype
        assert gap(half.float(), predict(small.base, small.noise(), "a cat")) < 0.1
        assert torch.isfinite(base.decode(half)).all()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_single_files_vae_is_never_rounded(folders, tmp_path, monkeypatch, precision):
    """Read in float32 as it is; the denoiser and the text are never held wider than they are used."""
    import diffusers

    import tiny

    def vae_alone(path: str, *, torch_dtype: torch.dtype, subfolder: str, **_: Any) -> Any:
        assert subfolder == "vae"
        return tiny.pipeline("sd1").vae.to(torch_dtype)

    def from_single_file(path: str, *, vae: Any, torch_dtype: torch.dtype, **_: Any) -> Any:
        assert torch_dtype == loading.PRECISIONS[precision]
        pipe = tiny.pipeline("sd1").to(torch_dtype)
        pipe.vae = vae
        return pipe

    (tmp_path / "x.safetensors").touch()
    monkeypatch.setattr("motif.single_file.config_folder", lambda path: (folders["sd1"], False))
    monkeypatch.setattr(diffusers.AutoencoderKL, "from_single_file", vae_alone)
    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "from_single_file", from_single_file)
    base = Base.load(str(tmp_path / "x.safetensors"), device="cpu", precision=precision)
    wanted = tiny.pipeline("sd1").vae.state_dict()
    assert all(torch.equal(weight, wanted[name]) for name, weight in base.models.vae.state_dict().items())
    assert base.dtype == base.models.readers[0].encoder.dtype == loading.PRECISIONS[precision]


def test_a_folder_with_fp16_files_alone_is_loaded(sd1_folder, caplog):
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        path = sd1_folder / part / f"{stem}.safetensors"
        save_file(
            {k: w.half() for k, w in load_file(path).items()},
            path.with_name(f"{stem}.fp16.safetensors"),
            {"format": "pt"},
        )
        path.unlink()
    with caplog.at_level(logging.INFO, "motif"):
        assert Base.load(str(sd1_folder), device="cpu").dtype == torch.float32
    assert "fp16 variant of unet" in caplog.text


def test_text_encoders_of_older_files_are_read(sd1_folder):
    """transformers once wrote `text_model.` before every name, and a buffer of positions."""
    wanted = Base.load(str(sd1_folder), device="cpu").read("a cat").states
    path = sd1_folder / "text_encoder" / "model.safetensors"
    old = {f"text_model.{k.removeprefix('text_model.')}": w for k, w in load_file(path).items()}
    save_file(old | {"text_model.embeddings.position_ids": torch.arange(20)[None]}, path, {"format": "pt"})
    assert torch.equal(Base.load(str(sd1_folder), device="cpu").read("a cat").states, wanted)


def test_advice_lies_beside_the_pipeline(sd1_folder):
    (sd1_folder / "motif.json").write_text(json.dumps({"guidance": 4.5}))
    assert Base.load(str(sd1_folder), device="cpu").guidance == 4.5


# -- damage --------------------------------------------------------------------------------------------------------


def change(folder: Path, part: str, **values: Any) -> None:
    path = folder / part
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def drop_weight(folder: Path, part: str) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    weights = load_file(path)
    weights.pop(sorted(weights)[3])
    save_file(weights, path, {"format": "pt"})


def cut(folder: Path, part: str) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda f: (f / "model_index.json").unlink(), InputError, "not a diffusers pipeline folder"),
        (lambda f: (f / "model_index.json").write_text("{half"), InputError, "cannot be read"),
        (lambda f: (f / "model_index.json").write_text("[1]"), InputError, "cannot be read"),
        (
            lambda f: change(f, "model_index.json", unet=None, _class_name="FluxPipeline"),
            InputError,
            "FluxPipeline without unet",
        ),
        (lambda f: shutil.rmtree(f / "unet"), MissingModel, "incomplete or damaged: unet"),
        (lambda f: shutil.rmtree(f / "vae"), MissingModel, "incomplete or damaged: vae"),
        (lambda f: shutil.rmtree(f / "text_encoder"), MissingModel, "incomplete or damaged: text_encoder"),
        (lambda f: shutil.rmtree(f / "tokenizer"), MissingModel, "tokenizer"),
        (lambda f: shutil.rmtree(f / "scheduler"), MissingModel, "scheduler"),
        (lambda f: (f / "tokenizer" / "tokenizer.json").unlink(), MissingModel, "no vocabulary"),
        (lambda f: cut(f, "unet"), MissingModel, "incomplete or damaged: unet"),
        (lambda f: cut(f, "text_encoder"), MissingModel, "incomplete or damaged: text_encoder"),
        (lambda f: drop_weight(f, "unet"), InputError, "unet lacks 1 weights"),
        (lambda f: drop_weight(f, "vae"), InputError, "vae lacks 1 weights"),
        (lambda f: drop_weight(f, "text_encoder"), InputError, "text_encoder lacks 1 weights"),
        (
            lambda f: change(f, "scheduler/scheduler_config.json", prediction_type="flow"),
            InputError,
            "predicts 'flow'",
        ),
        (
            lambda f: change(f, "text_encoder/config.json", hidden_size=48),
            MissingModel,
            "damaged: text_encoder",
        ),
        (
            lambda f: change(f, "text_encoder/config.json", num_attention_heads=7),
            MissingModel,
            "text_encoder",
        ),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{}"), MissingModel, "damaged: tokenizer"),
        (lambda f: change(f, "unet/config.json", sample_size=None), InputError, "no sample_size"),
        (lambda f: change(f, "vae/config.json", block_out_channels=[32]), MissingModel, "damaged: vae"),
        (
            lambda f: change(f, "scheduler/scheduler_config.json", beta_schedule="steep"),
            InputError,
            "cannot be read as DDIM",
        ),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(sd1_folder, damage, error, words):
    damage(sd1_folder)
    with pytest.raises(error, match=words) as raised:
        Base.load(str(sd1_folder), device="cpu")
    assert "\n" not in str(raised.value)
    assert str(sd1_folder) in str(raised.value) or "scheduler" in str(raised.value)


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["no-such-folder", "./no/such/folder", "/no/such", "a/b/c", "~/no-such-folder"]
)
def test_a_folder_that_is_not_there(name):
    with pytest.raises(MissingModel, match="no such folder"):
        Base.load(name, device="cpu")


def test_single_files_that_are_no_single_files(tmp_path):
    with pytest.raises(MissingModel, match="no such file"):
        Base.load(str(tmp_path / "x.safetensors"), device="cpu")
    (tmp_path / "x.ckpt").write_bytes(b"pickle")
    with pytest.raises(InputError, match="pickle"):
        Base.load(str(tmp_path / "x.ckpt"), device="cpu")
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="not a safetensors file"):
        Base.load(str(tmp_path / "x.safetensors"), device="cpu")


def test_pocket_that_was_not_made(monkeypatch, tmp_path):
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingModel, match="motif pocket train"):
        Base.load("pocket", device="cpu")


def test_a_folder_of_pickles_is_refused(sd1_folder):
    for part, words in (("text_encoder", "pytorch_model.bin"), ("unet", "diffusion_pytorch_model.bin")):
        (path,) = (sd1_folder / part).glob("*.safetensors")
        path.rename(path.with_name(words))
        with pytest.raises(InputError, match=rf"{part} has \.bin files alone, which are pickles") as error:
            Base.load(str(sd1_folder), device="cpu")
        assert str(sd1_folder) in str(error.value) and "\n" not in str(error.value)


def test_a_pickle_beside_the_weights_is_not_read(sd1_folder):
    for part, words in (("text_encoder", "pytorch_model.bin"), ("unet", "diffusion_pytorch_model.bin")):
        (sd1_folder / part / words).write_bytes(b"not to be read")
    assert Base.load(str(sd1_folder), device="cpu").guidance == 7.5


@pytest.mark.parametrize(
    "content",
    [
        b"{half",
        b"\xff\xfe{}",
        b"[1]",
        b'"text"',
        b'{"guidance": "high"}',
        b'{"learn": [1]}',
        b'{"learn": {"m": 1}}',
    ],
)
def test_broken_advice_is_refused_by_its_name(sd1_folder, content):
    (sd1_folder / "motif.json").write_bytes(content)
    with pytest.raises(InputError, match=r"motif\.json"):
        Base.load(str(sd1_folder), device="cpu")


@pytest.mark.parametrize("device", ["mps", "meta", "cuda:99", "cpu:3", "xla", "vulkan", "hpu", "gpu"])
def test_a_device_that_is_not_there_is_refused(device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is there")
    with pytest.raises(InputError, match=f"device '{device}'") as error:
        loading.device_of(device)
    assert "\n" not in str(error.value)


def test_a_cpu_by_its_number_is_a_cpu():
    assert loading.dtype_of(None, loading.device_of("cpu:0")) == torch.float32
    assert loading.dtype_of(None, "cuda:1") == torch.bfloat16


@pytest.mark.parametrize("bad", [{"precision": "fp8"}, {"device": "gpu"}, {"device": "tpu:x"}])
def test_settings_that_no_machine_has(folders, bad):
    with pytest.raises(InputError):
        Base.load(str(folders["sd1"]), **{"device": "cpu"} | bad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(folders):
    with pytest.raises(InputError, match="finds no GPU"):
        Base.load(str(folders["sd1"]), device="cuda")


# -- the hub -------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_here_names_what_would_fetch_it():
    start = time.monotonic()
    with pytest.raises(MissingModel) as error:
        Base.load(REPOSITORY, device="cpu")
    assert time.monotonic() - start < 10
    for words in (REPOSITORY, "model_index.json", f"hf download {REPOSITORY}", "HF_HUB_OFFLINE is set"):
        assert words in str(error.value)
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "https://hub.invalid"])
def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch, endpoint):
    from huggingface_hub import constants

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    start = time.monotonic()
    with pytest.raises(MissingModel, match="does not answer") as error:
        Base.load(REPOSITORY, device="cpu")
    assert time.monotonic() - start < 15
    assert f"hf download {REPOSITORY}" in str(error.value)


def cached(folder: Path, cache: Path) -> Path:
    """A hub cache that holds one repository, as the hub's library lays it out."""
    commit, place = "0" * 40, cache / f"models--{REPOSITORY.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    return place / "snapshots" / commit


@pytest.mark.parametrize("offline", [True, False])
def test_a_repository_in_the_hubs_cache_is_loaded_without_asking_the_hub(
    folders, tmp_path, monkeypatch, capfd, offline
):
    from huggingface_hub import constants

    cached(folders["sdxl"], tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    base = Base.load(REPOSITORY, device="cpu")
    assert len(base.models.readers) == 2 and base.models.empty_is_zero
    assert capfd.readouterr() == ("", ""), "loading a base says nothing of its own"


def test_a_repository_that_is_cached_in_part_names_what_is_missing(folders, tmp_path, monkeypatch):
    from huggingface_hub import constants

    shutil.rmtree(cached(folders["sd1"], tmp_path / "hub") / "vae")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(MissingModel, match="vae") as error:
        Base.load(REPOSITORY, device="cpu")
    assert f"hf download {REPOSITORY}" in str(error.value)


@pytest.mark.slow
def test_a_fresh_process_says_nothing_and_warns_of_nothing(folders):
    """Importing the libraries and loading a base, with every warning an error."""
    code = f"from motif.base import Base; print(len(Base.load({str(folders['sdxl'])!r}, device='cpu').models.readers))"
    env = os.environ | {"PYTHONPATH": str(Path(loading.__file__).parents[1])}
    run = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert (done.stdout.strip(), done.stderr) == ("2", "")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_running_out_of_memory_is_no_damage(sd1_folder, monkeypatch, error):
    from diffusers import UNet2DConditionModel

    def no_room(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", no_room)
    with pytest.raises(type(error)):
        Base.load(str(sd1_folder), device="cpu")
