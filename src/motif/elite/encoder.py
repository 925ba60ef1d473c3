"""ELITE's encoder: one photo, one pass, one concept. A value and one `.safetensors` file.

    v = M_g(ψ(x))          words, the first of which stands in the prompt; W_k, W_v become W_kᵍ, W_vᵍ      (global)
    e = M_l(ψ(x ⊙ m))      patches; their keys W_kˡ e and values W_vˡ e go into the concept               (local)

Wei et al. 2023 (arXiv 2302.13848), section 3; card 2, 3 and 5. Ours: the crop around the mask (training sees objects
so), several photos of one object averaged, bases with other text widths and two text encoders, other image encoders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from motif.concept import Concept, Record
from motif.elite.mapper import Mapper
from motif.elite.photos import Photo, looked_at
from motif.elite.tower import Tower, cut_out, marked, whole
from motif.errors import InputError, MissingModel
from motif.files import written
from motif.origin import Origin
from motif.tokens import TOKEN
from motif.versions import versions
from motif.weights import Change, not_finite

FORMAT = "motif.elite/1"

SHIPPED = Path("elite") / "encoder.safetensors"
"""Where a base's own encoder lies among its weights."""

UP, DOWN = "/up", "/down"
"""A change of a weight is one tensor, or the product of two."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """Both mapping networks, the projections that were trained with them, and what they belong to."""

    base: Origin
    image: str  # the image encoder's name
    image_weights: str  # its fingerprint
    layers: tuple[int, ...]  # of it, in the words' order
    widths: tuple[int, ...]  # of the text encoders' words
    words: Mapper
    changes: Mapping[str, Tensor]  # W_g − W₀ by the weight's full name
    patches: Mapper | None = None
    projections: Mapping[str, Tensor] = field(
        default_factory=dict[str, Tensor]
    )  # "<layer>.to_k" and "<layer>.to_v"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of its training

    def encode(
        self,
        photos: Photo | Sequence[Photo],
        mask: Photo | Sequence[Photo] | None = None,
        *,
        token: str = "<S>",
        noun: str = "",
        words: Literal["primary", "all"] | str | int = "primary",
        local: bool | None = None,
        crop: bool = True,
        segment: str = "",
        device: str = "cpu",
    ) -> Concept:
        """A concept from one photo, or from several of the same object (averaged).

        Args:
            photos: A file or a picture, or several.
            mask: White on the object, one for each photo; the default is what a photo brings with it (NAME-mask.png,
                or alpha), else all of the picture.
            token: What the concept is called in prompts.
            noun: Its class, where it should be told.
            words: Primary (the paper), all of them, or the number of one.
            local: Keep the patches too; the default is yes where the encoder has a local network and one word is used.
            crop: Look at the mask's surroundings alone, as training does (the release looks at the whole picture).
            segment: What the object is, in words: CLIPSeg makes the masks that the photos do not bring.
            device: Where it computes.
        Raises:
            InputError: no token, no photo, a mask that does not fit or is black, patches without a network or with
                several words. MissingModel: the image encoder is not on this machine.
        """
        if not TOKEN.fullmatch(token):
            raise InputError(f'"{token}" is no token: one word in angle brackets, such as <S>')
        chosen = self._chosen(words)
        local = (self.patches is not None and words == "primary") if local is None else local
        if local and (self.patches is None or words != "primary"):
            raise InputError(
                "this encoder has no local network: leave the patches out (--no-local)"
                if self.patches is None
                else "patches are read where the primary word looks: use it, or leave the patches out (--no-local)"
            )
        views = looked_at(photos, mask, crop=crop, segment=segment)
        tower = self.tower(device)
        images = torch.stack([whole(image, tower.side) for image, _ in views]).to(device)
        with torch.no_grad():
            found = self._on(self.words, device).words(tower.states(images, self.layers)).mean(0)[chosen]
            features = self._features(tower, views, device) if local else {}
        tokens = {token: tuple(part.cpu().contiguous() for part in found.split(self.widths, dim=-1))}
        settings = {"encoder": self.fingerprint, "photos": len(views), "words": words, "local": local, "crop": crop,
                    "masked": [own is not None for _, own in views]}  # fmt: skip
        record = Record(
            "elite", self.base, {token: noun} if noun else {}, [f"photo of a {token}"], settings, versions()
        )
        changes = {name: Change(dense=change) for name, change in self.changes.items()}
        return Concept(tokens, changes, record, {token: features} if local else {})

    def _chosen(self, words: str | int) -> slice:
        if words in ("primary", "all"):
            return slice(0, 1 if words == "primary" else None)
        if not isinstance(words, int) or not 0 <= words < len(self.layers):
            raise InputError(
                f"words is {words!r}: primary, all, or a number from 0 to {len(self.layers) - 1}"
            )
        return slice(words, words + 1)

    def _features(
        self, tower: Tower, views: Sequence[tuple[Image.Image, Image.Image | None]], device: str
    ) -> dict[str, tuple[Tensor, Tensor]]:
        assert self.patches is not None
        objects = [(image if own is None else cut_out(image, own), own) for image, own in views]
        seen = torch.stack([whole(image, tower.side) for image, _ in objects]).to(device)
        full = torch.ones(tower.cells**2)
        masks = torch.stack([full if own is None else marked(own, tower.cells) for _, own in objects]).to(
            device
        )
        e = self._on(self.patches, device).patches(tower.states(seen, self.layers), masks).mean(0)
        sites = sorted({name.rpartition(".")[0] for name in self.projections})
        return {
            site: tuple(
                (e @ self.projections[f"{site}.{side}"].to(device).T).cpu() for side in ("to_k", "to_v")
            )
            for site in sites
        }  # pyright: ignore[reportReturnType]

    def tower(self, device: str = "cpu") -> Tower:
        """Its image encoder. InputError where the one of that name has other weights."""
        tower = Tower.load(self.image, device=device)
        if self.image_weights and tower.fingerprint != self.image_weights:
            raise InputError(
                f"the image encoder {self.image} here is not the one that this ELITE encoder was trained with"
            )
        return tower

    def _on(self, mapper: Mapper, device: str) -> Mapper:
        return Mapper({name: weight.to(device).float() for name, weight in mapper.weights.items()})

    @cached_property
    def fingerprint(self) -> str:
        """One word for its weights on the base, which concepts of one encoder share."""
        digest = hashlib.sha256(self.base.fingerprint.encode())
        for name, tensor in sorted(self.changes.items()):
            digest.update(name.encode() + tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | Path, *, half: bool = False, rank: int = 0) -> Path:
        """Write one `.safetensors`.

        Args:
            path: The file.
            half: In float16.
            rank: Keep only so much of every change of the base (its largest singular values); 0 is all of it.
        """
        from safetensors.torch import save_file

        told = {name: getattr(self, name) for name in ("image", "image_weights", "layers", "widths")}
        head = {**told, "base": asdict(self.base), "settings": dict(self.settings)}
        header = {
            "format": "pt",
            "motif.format": FORMAT,
            "motif.elite": json.dumps(head, sort_keys=True, default=str),
        }
        tensors = {
            name: tensor.detach().cpu().to(torch.float16 if half else tensor.dtype).contiguous().clone()
            for name, tensor in self._tensors(rank).items()
        }
        with written(Path(path)) as part:
            save_file(tensors, part, metadata=header)
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> Encoder:
        """Read a file that `save` wrote, or the encoder that the base of a name ships ("pocket").

        Raises:
            MissingModel: that base ships none. InputError: anything but an encoder's file.
        """
        from safetensors import SafetensorError, safe_open

        path = shipped() if path == "pocket" else Path(path).expanduser()
        if not path.is_file():
            raise InputError(f"{path}: no such encoder file: `motif learn elite` makes one")
        try:
            with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
                header: dict[str, str] = file.metadata() or {}  # pyright: ignore[reportUnknownMemberType]
                tensors: dict[str, Tensor] = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: not a safetensors file, or cut short ({error})") from None
        if header.get("motif.format") != FORMAT:
            raise InputError(f"{path}: not an ELITE encoder: give a file that `motif learn elite` wrote")
        if broken := not_finite(tensors):
            raise InputError(f"{path}: damaged: its tensor {broken} is not finite")
        try:
            return _assembled(json.loads(header["motif.elite"]), tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: damaged ({type(error).__name__}: {error})") from None

    def _tensors(self, rank: int = 0) -> dict[str, Tensor]:
        parts: dict[str, Mapping[str, Tensor]] = {
            "global": self.words.weights, "change": _thin(self.changes, rank) if rank else self.changes,
            "local": self.patches.weights if self.patches else {}, "projection": self.projections,
        }  # fmt: skip
        return {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}


def shipped() -> Path:
    """pocket's own encoder. MissingModel where none is shipped."""
    from motif.loading import pocket_weights

    path = pocket_weights() / SHIPPED
    if not path.is_file():
        raise MissingModel(
            f"pocket ships no ELITE encoder ({path} is not there): train one, `motif pocket render` and then "
            "`motif learn elite SHARDS -o encoder`, and give its file (a file of that name is ./pocket)"
        )
    return path


def _assembled(told: dict[str, Any], tensors: Mapping[str, Tensor]) -> Encoder:
    def part(kind: str) -> dict[str, Tensor]:
        return {name.partition("/")[2]: t for name, t in tensors.items() if name.startswith(f"{kind}/")}

    base: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told["base"].items()
    }
    local, changes = part("local"), part("change")
    for name in [key.removesuffix(UP) for key in changes if key.endswith(UP)]:
        changes[name] = changes.pop(name + UP) @ changes.pop(name + DOWN)
    return Encoder(
        Origin(**base), told["image"], told["image_weights"], tuple(told["layers"]), tuple(told["widths"]),
        Mapper(part("global")), changes, Mapper(local) if local else None, part("projection"), told["settings"],
    )  # fmt: skip


def _thin(changes: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Each change as two thin matrices, of its largest singular values."""
    found: dict[str, Tensor] = {}
    for name, change in changes.items():
        u, s, v = torch.linalg.svd(change.float(), full_matrices=False)
        half = s[:rank].sqrt()
        found |= {name + UP: u[:, :rank] * half, name + DOWN: half[:, None] * v[:rank]}
    return found
