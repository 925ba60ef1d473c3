"""Tiny random encoders in transformers format, as fixtures: every law of a metric holds for them too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motif.features.extractors import ClipEncoder, DinoEncoder

WORDS = ("a", "photo", "of", "the", "cat", "dog", "red", "hat", "on", "beach")


def clip_tokenizer():
    """A CLIPTokenizer whose words are whole; anything else is spelled by bytes."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    vocab = letters + [letter + "</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for end in range(1, len(word)):
            left, right = word[:end], word[end] + ("</w>" if end == len(word) - 1 else "")
            if (left, right) not in merges:
                merges.append((left, right))
                vocab.append(left + right)
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(dict.fromkeys(vocab))}, merges=merges, model_max_length=24
    )


def preprocessor(folder: Path, side: int, mean: float = 0.45, std: float = 0.27, **extra: object) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=[mean, mean + 0.02, mean - 0.03],
        image_std=[std, std - 0.01, std + 0.02],
        **extra,
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP as `save_pretrained` leaves it, with the wrong end-of-text id (2) of the original ones."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("weights") / "clip"
    tokenizer = clip_tokenizer()
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 24,
            "projection_dim": 16,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "initializer_factor": 3.0,
        },
        vision_config={
            **tower,
            "image_size": 24,
            "patch_size": 8,
            "projection_dim": 16,
            "initializer_factor": 3.0,
        },
        projection_dim=16,
        initializer_factor=3.0,
    )
    CLIPModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor(folder, 24)
    return folder


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT with no preprocessor file: the card's DINO preprocessing applies."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("weights") / "dino"
    torch.manual_seed(1)
    config = ViTConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=7,
        initializer_range=0.2,
    )
    ViTModel(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> ClipEncoder:
    return ClipEncoder.load(clip_folder)


@pytest.fixture(scope="session")
def dino(dino_folder: Path) -> DinoEncoder:
    return DinoEncoder.load(dino_folder)


def drawn(seed: int, size: tuple[int, int] = (40, 33)) -> Image.Image:
    """Smooth noise, another for each seed."""
    values = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    return [drawn(seed) for seed in range(5)]


@pytest.fixture(scope="session")
def references() -> list[Image.Image]:
    return [drawn(100 + seed, (36, 52)) for seed in range(3)]


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image.Image]:
    """Draws a picture: `picture(seed, size)`."""
    return drawn
