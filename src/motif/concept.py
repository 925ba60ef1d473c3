"""A concept: what a method learned, as one value and one `.safetensors` file.

    tokens    "<new1>" -> one [vector, channel] tensor per text encoder
    changes   "unet.<parameter>" -> W − W₀ (dense or low rank); "text_encoder.<parameter>" likewise
    local     "<new1>" -> keys and values of an encoded photo's patches in each cross-attention layer (`motif.local`)
    record    how it was made: method, base, prompt, noun, every setting, versions

The record travels as JSON in the file's header beside the ModelSpec keys that other tools show. Never a pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motif.errors import InputError
from motif.files import written
from motif.origin import Origin
from motif.tokens import TOKEN
from motif.weights import Change, not_finite

FORMAT = "motif.concept/1"
LOCAL = ("local_k", "local_v")


@dataclass(frozen=True)
class Record:
    """How a concept was made."""

    method: str
    base: Origin
    nouns: Mapping[str, str] = field(default_factory=dict[str, str])  # "<new1>" -> "cat"
    prompts: Sequence[str] = ()  # what each of its words was learned with, and words that are no tokens
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])  # the method's bound signature
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Settings are kept as JSON reads them back (tuples are lists, paths words), so a file equals its value."""
        if isinstance(self.prompts, str):
            raise TypeError(f"prompts are several, not one string: {self.prompts!r}")
        object.__setattr__(self, "prompts", tuple(self.prompts))
        object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings), default=str)))

    @property
    def prompt(self) -> str:
        """All of its prompts in one line, to be read."""
        return "; ".join(self.prompts)


@dataclass(frozen=True, eq=False)
class Concept:
    """Token vectors, named changes of weights, and the record of how they were made."""

    tokens: Mapping[str, tuple[Tensor, ...]]
    changes: Mapping[str, Change]
    record: Record
    local: Mapping[str, Mapping[str, tuple[Tensor, Tensor]]] = field(
        default_factory=dict[str, Mapping[str, tuple[Tensor, Tensor]]]
    )

    def save(self, path: str | Path) -> Path:
        """Write one `.safetensors`, beside its place and then renamed."""
        from safetensors.torch import save_file

        path = Path(path)
        tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in self._tensors().items()}
        with written(path) as part:
            save_file(tensors, part, metadata=self._header())
            _sort_header(part)
        return path

    @staticmethod
    def load(path: str | Path) -> Concept:
        """Read a file that `save` wrote. InputError for anything else, with what to do instead."""
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such concept file")
        try:
            with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
                header: dict[str, str] = file.metadata() or {}  # pyright: ignore[reportUnknownMemberType]
                tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from None
        except SafetensorError as error:
            raise InputError(f"{path}: not a safetensors file, or cut short ({error})") from None
        if header.get("motif.format") != FORMAT:
            raise InputError(f"{path}: not a motif concept: wear a file that `motif learn` wrote")
        try:
            concept = _assemble(json.loads(header["motif.record"]), tensors)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: damaged, its record does not fit its tensors ({type(error).__name__}: {error})"
            ) from None
        if fault := concept.fault():
            raise InputError(f"{path}: damaged: {fault}")
        return concept

    def fault(self) -> str | None:
        """What makes it unusable on any base: a token that is no token, vectors that are none, a value not finite."""
        for token, parts in self.tokens.items():
            if not TOKEN.fullmatch(token):
                return f'"{token}" is no token: one word in angle brackets, such as <new1>'
            shapes = [tuple(part.shape) for part in parts]
            if any(len(shape) != 2 or not all(shape) for shape in shapes) or len({s[0] for s in shapes}) != 1:
                return f"{token} is {shapes}: each text encoder needs the same number of vectors of its width"
        broken = not_finite(self._tensors())
        return f"its tensor {broken} is not finite" if broken else None

    @property
    def fingerprint(self) -> str:
        """One word for what was learned: of its tensors' names, types and values."""
        digest = hashlib.sha256()
        for key, tensor in sorted(self._tensors().items()):
            digest.update(f"{key}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def renamed(self, names: Mapping[str, str]) -> Concept:
        """The same concept under other tokens, {"<new1>": "<new2>"}: two that use one token can be worn together.

        Its nouns and its prompts follow. InputError for a token that it does not have, a name that is no token, and two
        tokens of one name.
        """
        for old, new in names.items():
            if old not in self.tokens:
                raise InputError(
                    f"no token {old} to rename: this concept has {' '.join(self.tokens) or 'none'}"
                )
            if not TOKEN.fullmatch(new):
                raise InputError(f'"{new}" is no token: one word in angle brackets, such as <new2>')
        tokens = {names.get(token, token): parts for token, parts in self.tokens.items()}
        if len(tokens) < len(self.tokens):
            raise InputError(f"two tokens of one concept would both be {' '.join(names.values())}")
        nouns = {names.get(token, token): noun for token, noun in self.record.nouns.items()}
        prompts = [
            TOKEN.sub(lambda found: names.get(found[0], found[0]), told) for told in self.record.prompts
        ]
        local = {names.get(token, token): parts for token, parts in self.local.items()}
        record = replace(self.record, nouns=nouns, prompts=prompts)
        return replace(self, tokens=tokens, record=record, local=local)

    def same_encoder(self, other: Concept) -> bool:
        """Whether one encoder made both from photos: their weights are the same then, and are not added up."""
        mine, theirs = (one.record.settings.get("encoder") for one in (self, other))
        return mine is not None and mine == theirs and self.record.method == other.record.method == "elite"

    def describe(self) -> dict[str, Any]:
        """What `motif show` prints: tokens, noun, method, base, settings and sizes."""
        sizes = [tensor.numel() * tensor.element_size() for tensor in self._tensors().values()]
        vectors = {token: len(parts[0]) for token, parts in self.tokens.items()}
        forms = {"low rank" if change.dense is None else "dense" for change in self.changes.values()}
        return {
            "tokens": {token: f"{n} vector{'s' * (n > 1)}" for token, n in vectors.items()},
            "nouns": dict(self.record.nouns),
            "method": self.record.method,
            "base": self.record.base.name,
            "prompt": self.record.prompt,
            "weights": f"{len(self.changes)} changed ({', '.join(sorted(forms)) or 'none'})",
            **({"local": "patches of " + " ".join(self.local)} if self.local else {}),
            "megabytes": round(sum(sizes) / 1e6, 2),
            "settings": dict(self.record.settings),
            "versions": dict(self.record.versions),
        }

    def _tensors(self) -> dict[str, Tensor]:
        vectors = {
            f"token/{name}/{i}": part for name, parts in self.tokens.items() for i, part in enumerate(parts)
        }
        changes = {
            f"{kind}/{name}": part for name, c in self.changes.items() for kind, part in c.tensors().items()
        }
        local = {
            f"{kind}/{token}/{site}": part
            for token, sites in self.local.items()
            for site, pair in sites.items()
            for kind, part in zip(LOCAL, pair, strict=True)
        }
        return vectors | changes | local

    def _header(self) -> dict[str, str]:
        noun = next((noun for _, noun in sorted(self.record.nouns.items())), "concept")
        return {
            "format": "pt",
            "motif.format": FORMAT,
            "motif.record": json.dumps(asdict(self.record), sort_keys=True),
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": f"{self.record.base.name}/motif-{self.record.method}",
            "modelspec.implementation": "motif",
            "modelspec.title": f"{' '.join(sorted(self.tokens))} {noun}".strip(),
            "modelspec.trigger_phrase": " ".join(sorted(self.tokens)),
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Concept) or self.record != other.record:
            return False
        mine, theirs = self._tensors(), other._tensors()
        return mine.keys() == theirs.keys() and all(_same(mine[key], theirs[key]) for key in mine)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


def _sort_header(path: Path) -> None:
    """Put the header's keys in order, in place: the library writes them in another order each time, so that the same
    concept would be another file."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) <= length:
            file.seek(8)
            file.write(ordered.ljust(length))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu())


def _assemble(record: dict[str, Any], tensors: dict[str, Tensor]) -> Concept:
    tokens: dict[str, dict[int, Tensor]] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    local: dict[str, dict[str, dict[str, Tensor]]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "token":
            token, _, encoder = name.rpartition("/")
            tokens.setdefault(token, {})[int(encoder)] = tensor
        elif kind in LOCAL:
            token, _, site = name.rpartition("/")
            local.setdefault(token, {}).setdefault(site, {})[kind] = tensor
        else:
            parts.setdefault(name, {})[kind] = tensor
    told = record["base"]
    norms, signs = (tuple(map(float, numbers)) for numbers in (told["norms"], told.get("signs", ())))
    rest = (str(told.get(name, "")) for name in ("prediction", "frame"))
    origin = Origin(str(told["name"]), str(told["shape"]), norms, signs, *rest)
    words = {
        name: {str(k): str(v) for k, v in record.get(name, {}).items()} for name in ("nouns", "versions")
    }
    prompts = record.pop("prompts", None) or str(record.pop("prompt", "")).split(
        "; "
    )  # older files have one line
    made: dict[str, Any] = {**record, **words, "base": origin, "prompts": [p for p in prompts if p]}
    return Concept(
        {token: tuple(by_encoder[i] for i in range(len(by_encoder))) for token, by_encoder in tokens.items()},
        {name: Change(**part) for name, part in parts.items()},
        Record(**made),
        {t: {site: (p[LOCAL[0]], p[LOCAL[1]]) for site, p in sites.items()} for t, sites in local.items()},
    )
