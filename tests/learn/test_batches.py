"""The loss of a step: the card's formula, the start token's detached gradient, and what is computed once."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from motif.attention import Call, Row
from motif.errors import InputError
from motif.learn import Examples, examples
from motif.learn.batches import Batches, Group, Shown, StartDetached
from motif.learn.prior import Prior
from motif.learn.recipes import RECIPES
from motif.learn.starts import rare_rows, weights
from motif.learn.trained import Trained
from motif.weights import is_cross_kv


@pytest.fixture
def trained(base: Any) -> Trained:
    return Trained.start(
        base, weights(base, is_cross_kv), rare_rows(base, ("<new1>",), ("ktn",)), {"<new1>": "cat"}
    )


def batches(
    base: Any, photos: Path, *, prior: bool = True, augment: bool = False, masked: bool = False
) -> Batches:
    pictures = (
        Prior((Image.new("RGB", (16, 16), "red"),) * 2, ("photo of a cat", "a cat"))
        if prior
        else Prior((), ())
    )
    shown = Examples(photos, "photo of a <new1> cat")
    return Batches(
        base,
        [Group(Shown.all(base, shown, RECIPES["compvis"], base.size, masked=masked), pictures)],
        RECIPES["compvis"],
        batch_size=2,
        seed=0,
        side=base.size,
        augment=augment,
    )


def test_no_gradient_reaches_kv_through_the_start_token(base: Any, trained: Trained) -> None:
    """Where a text is start tokens only, Wk and Wv learn nothing; the outputs are the same with and without."""
    dressed = trained.on(base)
    text = base.read("photo of a cat")
    states = text.states[:, :1]
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    outs = []
    for controls in ((), (StartDetached(),)):
        call = Call((Row("main", "cond", slice(0, 1), text),), 0, 1, 0.0, (8, 8), controls)
        outs.append(dressed.predict(x, 500, states, text.pooled, call))
    assert torch.equal(outs[0], outs[1])
    outs[1].square().mean().backward()
    assert all(w.grad is None or w.grad.abs().max() == 0 for w in trained.weights.values())
    outs[0].square().mean().backward()
    assert any(
        w.grad is not None and w.grad.abs().max() > 0 for name, w in trained.weights.items() if "to_v" in name
    )


def test_gradients_reach_every_weight_and_the_token(base: Any, trained: Trained, photos: Path) -> None:
    batches(base, photos, augment=True).loss(trained.on(base), 0, 1.0).backward()
    for name, value in trained.parameters().items():
        assert value.grad is not None and value.grad.abs().max() > 0, name
    for reader in base.models.readers:
        assert reader.encoder.get_input_embeddings().weight.grad is None


def test_a_step_is_drawn_from_seed_and_step_alone(base: Any, trained: Trained, photos: Path) -> None:
    first, second = batches(base, photos, augment=True), batches(base, photos, augment=True)
    dressed = trained.on(base)
    with torch.no_grad():
        straight = [float(first.loss(dressed, step, 1.0)) for step in range(4)]
        jumped = float(second.loss(dressed, 3, 1.0))
    assert jumped == straight[3]
    assert len(set(straight)) == 4


def test_weight_of_the_prior(base: Any, trained: Trained, photos: Path) -> None:
    """The loss is linear in the prior's weight, and 0 leaves the photos' term."""
    material, dressed = batches(base, photos, augment=False), trained.on(base)
    with torch.no_grad():
        zero, one, three = (float(material.loss(dressed, 0, weight)) for weight in (0.0, 1.0, 3.0))
    assert three - zero == pytest.approx(3 * (one - zero), rel=1e-4)
    assert one > zero


def test_whole_photos_and_prior_captions_are_encoded_once(
    base: Any, trained: Trained, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material, dressed = batches(base, photos, augment=False), trained.on(base)
    with torch.no_grad():
        for step in range(12):
            material.loss(dressed, step, 1.0)
        encoded: list[int] = []
        encode = base.models.vae.encode
        monkeypatch.setattr(base.models.vae, "encode", lambda x: encoded.append(len(x)) or encode(x))
        read: list[int] = []
        original = type(dressed).read
        monkeypatch.setattr(
            type(dressed), "read", lambda self, prompts: read.append(len(prompts)) or original(self, prompts)
        )
        for step in range(12, 16):
            material.loss(dressed, step, 1.0)
    assert encoded == [], "a whole photo went through the VAE again"
    assert read == [1] * 4, "two equal captions are encoded once, prior captions not again"


def test_a_photo_s_mask_says_where_it_is_learned(
    base: Any, trained: Trained, photos: Path, tmp_path: Path
) -> None:
    """Masks change the loss; a mask that is white all over does not; `masked=False` does not look at them."""
    for photo in photos.glob("*.png"):
        with Image.open(photo) as picture:
            picture.save(tmp_path / photo.name)
            mask = Image.new("L", picture.size, 0)
            mask.paste(255, (0, 0, picture.width // 2, picture.height))
            mask.save(tmp_path / f"{photo.stem}-mask.png")
    dressed = trained.on(base)

    def loss(folder: Path, masked: bool = False) -> float:
        with torch.no_grad():
            return float(batches(base, folder, prior=False, masked=masked).loss(dressed, 0, 1.0))

    assert loss(tmp_path, masked=True) != loss(photos)
    assert loss(tmp_path) == loss(photos)
    for mask in tmp_path.glob("*-mask.png"):
        with Image.open(mask) as picture:
            size = picture.size
        Image.new("L", size, 255).save(mask)
    assert loss(tmp_path, masked=True) == pytest.approx(loss(photos), rel=1e-6)


def test_a_mask_outside_the_square_is_refused_by_name(base: Any, tmp_path: Path) -> None:
    Image.new("RGB", (80, 40), "red").save(tmp_path / "a.png")
    mask = Image.new("L", (80, 40))
    mask.paste(255, (0, 0, 10, 40))
    mask.save(tmp_path / "a-mask.png")
    with pytest.raises(InputError, match=r"a\.png: its mask marks nothing"):
        batches(base, tmp_path, masked=True)
    batches(base, tmp_path)


def test_masked_photos_without_a_mask_are_refused_or_named(
    base: Any, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InputError, match="no photo has a mask"):
        batches(base, photos, masked=True)
    for name in ("a", "b"):
        Image.new("RGB", (40, 40), "red").save(tmp_path / f"{name}.png")
    Image.new("L", (40, 40), 255).save(tmp_path / "a-mask.png")
    batches(base, tmp_path, masked=True)
    assert "1 of 2 photos have no mask and are learned whole: b.png" in caplog.text


def test_photos_are_opened_once_and_not_kept_at_full_size(
    base: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[Any]] = []
    read = examples.open_picture

    def watched(path: Path) -> Any:
        picture = read(path)
        opened.append(weakref.ref(picture.image))
        return picture

    monkeypatch.setattr(examples, "open_picture", watched)
    material = batches(base, photos)
    assert len(opened) == len(material.groups[0].photos) == 3
    assert not any(ref() for ref in opened)
    assert max(max(photo.image.size) for photo in material.groups[0].photos) <= 1.4 * base.size + 1
