"""Finding and reading encoders: each way to be missing is one clear error; preprocessing is the card's."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from motif.errors import InputError, MissingModel
from motif.features import models as encoders
from motif.features.extractors import ClipEncoder, DinoEncoder
from motif.features.pictures import Preprocessing
from motif.hub import out_of_reach
from motif.tokens import without_tokens

HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def copy(clip_folder, tmp_path):
    return shutil.copytree(clip_folder, tmp_path / "clip")


def test_pocket_is_found_where_the_environment_says(clip_folder, dino_folder, tmp_path, monkeypatch, clip):
    shutil.copytree(clip_folder, tmp_path / "clip")
    shutil.copytree(dino_folder, tmp_path / "dino")
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", str(tmp_path))
    found = ClipEncoder.load("pocket")
    assert (found.name, found.folder) == ("pocket", tmp_path / "clip")
    assert found.fingerprint == clip.fingerprint
    assert DinoEncoder.load().folder == tmp_path / "dino"


def test_pocket_that_is_not_there_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(MissingModel, match="MOTIF_POCKET_WEIGHTS"):
        ClipEncoder.load()


@pytest.mark.parametrize(
    ("load", "repository"),
    [(ClipEncoder.load, "openai/clip-vit-base-patch32"), (DinoEncoder.load, "facebook/dino-vits16")],
)
def test_a_model_that_is_not_here_names_the_command_that_fetches_it(load, repository, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "out_of_reach", lambda: "no network")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("paper", repository):
        with pytest.raises(MissingModel, match=f"hf download {repository}") as caught:
            load(name)
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)


def test_nothing_is_fetched_offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("socket.create_connection", lambda *a: pytest.fail("asked the network"))
    assert out_of_reach() == "HF_HUB_OFFLINE is set"


def test_where_the_hub_is_in_reach_only_what_is_needed_is_fetched(clip_folder, tmp_path, monkeypatch, clip):
    from types import SimpleNamespace

    import huggingface_hub as hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def download(name, local_files_only=False, allow_patterns=None):
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        asked.append((name, allow_patterns))
        return str(clip_folder)

    files = [
        SimpleNamespace(rfilename=f)
        for f in ("config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5")
    ]
    monkeypatch.setattr(encoders, "out_of_reach", lambda: "")
    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "model_info", lambda name: SimpleNamespace(siblings=files))
    assert ClipEncoder.load("some/clip").fingerprint == clip.fingerprint
    assert asked == [("some/clip", ["*.json", "*.txt", "model.safetensors"])]


@pytest.mark.parametrize("name", ["./no/such/folder", "/nowhere", "nothing", "a b/c"])
def test_a_name_that_can_be_nothing_is_a_missing_model_as_a_wrong_base_is(name):
    with pytest.raises(MissingModel, match="no such folder"):
        ClipEncoder.load(name)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_without_a_file_is_refused(copy, file):
    (copy / file).unlink()
    with pytest.raises(MissingModel, match=str(copy)):
        ClipEncoder.load(copy)


def test_a_folder_without_mean_and_deviation_is_refused(copy):
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="image_mean"):
        ClipEncoder.load(copy)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_a_file_that_is_no_json_is_refused(copy, file):
    (copy / file).write_text("{")
    with pytest.raises(InputError, match=f"{file} is not JSON"):
        ClipEncoder.load(copy)


def test_truncated_weights_are_refused(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(MissingModel, match="cannot be read"):
        ClipEncoder.load(copy)


def test_a_missing_weight_is_refused_not_drawn_at_random(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(MissingModel, match=r"no weight visual_projection\.weight"):
        ClipEncoder.load(copy)


def test_another_kind_of_model_is_refused(clip_folder, dino_folder):
    with pytest.raises(InputError, match="'vit', not 'clip'"):
        ClipEncoder.load(dino_folder)
    with pytest.raises(InputError, match="'clip', not 'vit'"):
        DinoEncoder.load(clip_folder)


def test_encoders_are_single_precision_and_frozen(copy, clip):
    from transformers import CLIPModel

    CLIPModel.from_pretrained(copy).half().save_pretrained(copy)
    half = ClipEncoder.load(copy)
    for encoder in (clip, half):
        assert {p.dtype for p in encoder.model.parameters()} == {torch.float32}
        assert not any(p.requires_grad for p in encoder.model.parameters())
        assert not encoder.model.training
    assert half.fingerprint != clip.fingerprint  # rounded weights are other weights


def test_loading_is_silent_and_leaves_transformers_as_it_was(clip_folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    ClipEncoder.load(clip_folder)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_clip_prepares_pictures_as_transformers_does(clip_folder, clip, pictures):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    theirs = CLIPImageProcessorPil.from_pretrained(clip_folder)(pictures, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(clip.preprocessing.batch(pictures), theirs, atol=1e-5, rtol=0)


def test_dino_prepares_pictures_by_the_card_unless_the_folder_says_otherwise(dino_folder, dino, tmp_path):
    assert dino.preprocessing == Preprocessing(32, 28, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    folder = shutil.copytree(dino_folder, tmp_path / "dino")
    told = {"size": {"shortest_edge": 28}, "image_mean": list(HALF), "image_std": list(HALF)}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    assert DinoEncoder.load(folder).preprocessing == Preprocessing(28, 28, HALF, HALF)
    square = told | {"size": {"height": 28, "width": 28}}  # as pocket's, which sees its pictures whole
    (folder / "preprocessor_config.json").write_text(json.dumps(square))
    assert DinoEncoder.load(folder).preprocessing == Preprocessing(28, 28, HALF, HALF)
    (folder / "preprocessor_config.json").write_text(json.dumps(told | {"size": {"shortest_edge": 20}}))
    with pytest.raises(InputError, match="28 px does not fit in 20 px"):
        DinoEncoder.load(folder)
    # as the file of facebook/dino-vits16, which is not how DINO was trained: the card holds
    (folder / "preprocessor_config.json").write_text(json.dumps(told | {"size": 28}))
    assert DinoEncoder.load(folder).preprocessing == dino.preprocessing


def test_the_papers_sizes():
    assert round(224 * 256 / 224) == 256
    prepare = Preprocessing(256, 224, HALF, HALF)
    assert (
        str(prepare)
        == "shorter side to 256 px bicubic, centre crop 224 px, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)"
    )


def test_a_processor_file_of_transformers_5_is_read(copy, clip):
    told = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").unlink()
    (copy / "processor_config.json").write_text(json.dumps({"image_processor": told}))
    assert ClipEncoder.load(copy).preprocessing == clip.preprocessing


@given(st.integers(1, 90), st.integers(1, 90), st.integers(4, 20), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_size_becomes_the_square(width, height, crop, more):
    plain = Image.new("RGB", (width, height), (255, 0, 51))
    x = Preprocessing(crop + more, crop, HALF, HALF)(plain)
    assert x.shape == (3, crop, crop)
    torch.testing.assert_close(x, torch.tensor([1.0, -1.0, -0.6]).view(3, 1, 1).expand_as(x))


def test_a_picture_of_the_encoders_size_passes_untouched():
    values = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    x = Preprocessing(24, 24, (0, 0, 0), (1, 1, 1))(Image.fromarray(values))
    assert np.array_equal((x * 255).round().permute(1, 2, 0).numpy(), values)


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("a <new1> cat", "a cat"),
        ("<new1> cat", "cat"),
        ("photo of a <new1>", "photo of a"),
        ("a <new1> <new2> cat and a <new3> dog", "a cat and a dog"),
        ("a cat < a dog > a mouse", "a cat < a dog > a mouse"),
        ("a cat", "a cat"),
        ("a <|endoftext|> cat", "a <|endoftext|> cat"),
    ],
)
def test_stripping_concept_tokens(prompt, plain):
    assert without_tokens(prompt) == plain


@settings(deadline=None)
@given(st.text("<>ab 1\n", max_size=30))
def test_stripping_twice_is_stripping_once(text):
    once = without_tokens(text)
    assert without_tokens(once) == once
    assert "  " not in once
