"""Features: CLIP (pictures and text) and DINO (pictures), as frozen values over transformers models, in fp32.

    CLIP picture   f = Wᵥ · pooled(ViT(x))              CLIP text   f = Wₜ · h[first end-of-text]
    DINO picture   f = LayerNorm(ViT(x))[CLS]

A name is `pocket` (the embedded encoders), `paper` (what the papers measure with: CLIP ViT-B/32, DINO
ViT-S/16), a folder in transformers format, or a hub id. Every choice that moves a number is in `choices()`.

Text is pooled at the FIRST end-of-text token of each prompt. transformers pools at the largest id where the
config says `eos_token_id: 2` (every original CLIP), which is the new token and not the end once tokens have
been added (customization card, 9.1 item 19). Preprocessing is the card's (4.2), by Pillow and torch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from PIL import Image

from motif.errors import InputError
from motif.features.models import Files, find, load_model, load_tokenizer
from motif.features.pictures import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

PromptPolicy = Literal["strip", "keep"]

CLIP_PAPER = "openai/clip-vit-base-patch32"
DINO_PAPER = "facebook/dino-vits16"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DINO_RESIZE = 256 / 224  # shorter side over crop, as in DINO's own evaluation


@dataclass(frozen=True, eq=False)
class ClipEncoder:
    """A CLIP for scoring: pictures and prompts to features of one space."""

    name: str  # as asked for: "pocket", a folder, a hub id
    folder: Path
    fingerprint: str  # of the weights
    preprocessing: Preprocessing
    model: Any  # transformers CLIPModel, fp32, evaluation mode
    tokenizer: Any
    longest: int  # tokens of a prompt that the text tower sees, both ends included

    @classmethod
    def load(cls, name: str | Path = "pocket", *, device: str = "cpu") -> Self:
        """Read an encoder.

        Args:
            name: `pocket`, `paper` (openai/clip-vit-base-patch32), a transformers folder, or a hub id.
            device: where it computes.

        Raises:
            MissingModel: not on this machine; the message names the repository and the command to fetch it.
            InputError: a folder of something else than a CLIP.
        """
        from motif.loading import device_of

        files = find(str(name), part="clip", paper=CLIP_PAPER)
        model = load_model(files, "clip", device_of(device))
        tokenizer = load_tokenizer(files)
        side: int = model.config.vision_config.image_size
        mean, std = _statistics(files)
        longest: int = model.config.text_config.max_position_embeddings
        prepare = Preprocessing(side, side, mean, std)
        return cls(files.name, files.folder, fingerprint(model), prepare, model, tokenizer, longest)

    def images(self, pictures: Sequence[Path | Image.Image], *, batch_size: int = 32) -> "Tensor":
        """Features of pictures: [image, channel], fp32, on the CPU, not normalised."""
        return batched(pictures, batch_size, self._images)

    def texts(self, prompts: Sequence[str], *, batch_size: int = 32) -> "Tensor":
        """Features of prompts as they are written: [prompt, channel], fp32, on the CPU, not normalised."""
        return batched(prompts, batch_size, self._texts)

    def _images(self, pictures: Sequence[Path | Image.Image]) -> "Tensor":
        pixels = self.preprocessing.batch(pictures).to(self.model.device)  # [image, 3, side, side]
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)

    def _texts(self, prompts: Sequence[str]) -> "Tensor":
        import torch

        read = self.tokenizer(
            list(prompts), padding="max_length", max_length=self.longest, truncation=True, return_tensors="pt"
        ).to(self.model.device)
        states = self.model.text_model(**read).last_hidden_state  # [prompt, token, channel]
        end = (read.input_ids == self.tokenizer.eos_token_id).int().argmax(1)  # the first one
        return self.model.text_projection(states[torch.arange(len(states), device=end.device), end])

    def tokens(self, prompt: str) -> int:
        """How many tokens a prompt has, both ends included, before it is cut to `longest`."""
        return len(self.tokenizer(prompt, verbose=False).input_ids)

    def choices(self) -> dict[str, object]:
        return _choices(self, "CLIP", self.model.config.vision_config)


@dataclass(frozen=True, eq=False)
class DinoEncoder:
    """A self-supervised ViT: pictures to features that tell instances of a class apart."""

    name: str
    folder: Path
    fingerprint: str
    preprocessing: Preprocessing
    model: Any  # transformers ViTModel, fp32, evaluation mode

    @classmethod
    def load(cls, name: str | Path = "pocket", *, device: str = "cpu") -> Self:
        """Read an encoder: `pocket`, `paper` (facebook/dino-vits16), a transformers ViT folder, or a hub id.

        Raises:
            MissingModel: not on this machine; the message names the repository and the command to fetch it.
            InputError: a folder of something else than a ViT.
        """
        from motif.loading import device_of

        files = find(str(name), part="dino", paper=DINO_PAPER)
        model = load_model(files, "vit", device_of(device))
        side: int = model.config.image_size
        prepare = _dino_preprocessing(files, side)
        return cls(files.name, files.folder, fingerprint(model), prepare, model)

    def images(self, pictures: Sequence[Path | Image.Image], *, batch_size: int = 32) -> "Tensor":
        """Features of pictures (the last CLS token): [image, channel], fp32, on the CPU, not normalised."""
        return batched(pictures, batch_size, self._images)

    def _images(self, pictures: Sequence[Path | Image.Image]) -> "Tensor":
        pixels = self.preprocessing.batch(pictures).to(self.model.device)  # [image, 3, side, side]
        return self.model(pixel_values=pixels).last_hidden_state[:, 0]

    def choices(self) -> dict[str, object]:
        return _choices(self, "ViT", self.model.config)


def cosines(a: "Tensor", b: "Tensor") -> "Tensor":
    """cos(aᵢ, bⱼ), float64: [n, channel], [m, channel] -> [n, m]. A zero vector gives NaN."""
    return _unit(a) @ _unit(b).mT


def paired_cosines(a: "Tensor", b: "Tensor") -> "Tensor":
    """cos(aᵢ, bᵢ), float64: [n, channel] twice -> [n]. A zero vector gives NaN."""
    return (_unit(a) * _unit(b)).sum(1)


def _unit(a: "Tensor") -> "Tensor":
    a = a.double()
    return a / a.square().sum(1, keepdim=True).sqrt()


def fingerprint(model: Any) -> str:
    """Of all weights, by name, shape and value: scores of two encoders compare only where these are equal."""
    digest = hashlib.blake2b(digest_size=6)
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def batched(items: Sequence[Any], batch_size: int, encode: Any) -> "Tensor":
    """[item, channel], fp32, on the CPU: what `encode` makes of so many items at a time."""
    import torch

    if batch_size < 1:
        raise InputError(f"batch size {batch_size}: use 1 or more")
    if not items:
        raise InputError("nothing to encode")
    with torch.inference_mode():
        parts = [encode(items[i : i + batch_size]).float().cpu() for i in range(0, len(items), batch_size)]
    return torch.cat(parts)


def _dino_preprocessing(files: Files, side: int) -> Preprocessing:
    """The card's (shorter side 256/224 of the crop, ImageNet's statistics) unless the folder says otherwise.

    The file of facebook/dino-vits16 is not DINO's own: at least one revision has 0.5 for mean and deviation
    and a plain number for a size, without a crop. So the card holds for that model, and for any file with a
    plain number.
    """
    card = round(side * DINO_RESIZE)
    size: Any = files.preprocessor.get("size")
    if files.name == DINO_PAPER or isinstance(size, int):
        return Preprocessing(card, side, IMAGENET_MEAN, IMAGENET_STD)
    mean, std = _statistics(files, IMAGENET_MEAN, IMAGENET_STD)
    told: Any = (size.get("shortest_edge") or size.get("height")) if isinstance(size, dict) else None
    return Preprocessing(int(told or card), side, mean, std)


def _statistics(files: Files, *default: tuple[float, float, float]) -> tuple[Any, Any]:
    """Mean and deviation of the folder's preprocessor, else the default; InputError without either."""
    told: list[Any] = [files.preprocessor.get(key) for key in ("image_mean", "image_std")]
    found = [tuple(map(float, values)) for values in told if values is not None]
    if len(found) == 2 and all(len(values) == 3 for values in found) and all(v > 0 for v in found[1]):
        return found[0], found[1]
    if len(default) == 2 and told == [None, None]:
        return default
    raise InputError(
        f"{files.folder}: preprocessor_config.json gives no image_mean and image_std of three numbers; "
        "without them a score means nothing"
    )


def _choices(encoder: ClipEncoder | DinoEncoder, kind: str, vision: Any) -> dict[str, object]:
    return {
        "encoder": encoder.name,
        "backbone": f"{kind}, {vision.num_hidden_layers} layers x {vision.hidden_size}, "
        f"patch {vision.patch_size} of {vision.image_size} px, fp32",
        "folder": str(encoder.folder),
        "weights": encoder.fingerprint,
        "preprocessing": str(encoder.preprocessing),
    }
