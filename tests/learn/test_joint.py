"""Several concepts in one run, and concepts without a word (card 1.3, 1.10)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from motif.base import Base
from motif.cli.learn import drawing
from motif.errors import InputError
from motif.learn import Examples, custom_diffusion, dreambooth, fine_tune_all, ico
from motif.learn.batches import Batches, Group, Shown
from motif.learn.concepts_list import concepts_list
from motif.learn.prior import Prior, find
from motif.learn.recipes import COMPVIS
from motif.learn.starts import rare_rows
from motif.learn.target_words import captions_of
from motif.learn.trained import Trained
from motif.schedule import Schedule
from pieces import Model

CAT, TEA = "photo of a <new1> cat", "photo of a <new2> tea"
SHORT: dict[str, Any] = {"steps": 2, "batch_size": 4, "lr": 1e-2}
QUICK = SHORT | {"prior_count": 2, "prior_steps": 2}


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven photos: more than the other concept's three."""
    folder = tmp_path_factory.mktemp("more")
    rng = np.random.default_rng(1)
    for i in range(7):
        Image.fromarray(rng.integers(0, 255, (36, 36, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def both(photos: Path, more: Path) -> list[Examples]:
    return [Examples(photos, CAT), Examples(more, TEA)]


def test_a_joint_run_learns_every_word(base: Any, both: list[Examples]) -> None:
    concept = custom_diffusion(base, both, **QUICK)
    assert concept.record.nouns == {"<new1>": "cat", "<new2>": "tea"} and concept.record.prompts == (CAT, TEA)
    assert concept.record.settings["class_prompt"] == ["photo of a cat", "photo of a tea"]
    for token, rare in (("<new1>", "ktn"), ("<new2>", "pll")):
        for reader, (row,) in zip(base.models.readers, concept.tokens[token], strict=True):
            start = reader.encoder.get_input_embeddings().weight[reader.token_id(rare)]
            assert not torch.equal(row, start), token


def test_every_step_shows_each_concept_in_its_half(
    sd1: Model, both: list[Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half batches, however many photos each has ([CV]); a cat's prior goes with cats."""
    drawn, seen = Batches._drawn, list[tuple[int, list[str], int]]()

    def watched(self: Batches, base: Any, step: int) -> Any:
        found = drawn(self, base, step)
        for k, group in enumerate(self.groups):
            mine = [i for of, i, _ in found.priors if of == k]
            shown = [c for (of, *_), c in zip(found.photos, found.captions, strict=True) if of == k]
            seen.append((k, shown, len(mine)))
            assert all(group.prior.captions[i] == ("photo of a cat", "photo of a tea")[k] for i in mine)
        return found

    monkeypatch.setattr(Batches, "_drawn", watched)
    custom_diffusion(sd1.base, both, **QUICK, augment=False)
    assert seen == [(0, [CAT] * 2, 2), (1, [TEA] * 2, 2)] * 2


def test_every_concept_weighs_the_same(
    sd1: Model, both: list[Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With errors of 1 on the first concept's photos, 3 on the second's, 5 and 7 on their priors' pictures."""
    errors = torch.tensor([1.0, 1, 3, 3, 5, 5, 7, 7]).view(-1, 1, 1, 1)
    monkeypatch.setattr(Schedule, "target", lambda _, x0, *__: -errors.expand_as(x0))
    monkeypatch.setattr(Base, "predict", lambda _, x, *__: torch.zeros_like(x))
    words = rare_rows(sd1.base, ("<new1>", "<new2>"), ("ktn", "pll"))
    me = Trained.start(sd1.base, [], words, {}).on(sd1.base)
    priors = [Prior((Image.new("RGB", (16, 16)),), (caption,)) for caption in ("a cat", "tea")]
    groups = [
        Group(Shown.all(sd1.base, one, COMPVIS, 16, masked=False), prior)
        for one, prior in zip(both, priors, strict=True)
    ]
    material = Batches(sd1.base, groups, COMPVIS, batch_size=2, seed=0, side=16, augment=False)
    assert float(material.loss(me, 0, 0.5)) == pytest.approx((1 + 9) / 2 + 0.5 * (25 + 49) / 2)


def test_steps_are_of_each_concept(sd1: Model, both: list[Examples]) -> None:
    """250 for one, 500 for two (card 1.8); what is given is taken as it is."""
    assert custom_diffusion.settle(sd1.base, both[0])["steps"] == 250
    assert custom_diffusion.settle(sd1.base, both)["steps"] == 500
    assert custom_diffusion.settle(sd1.base, both, steps=7)["steps"] == 7
    assert fine_tune_all.settle(sd1.base, both)["steps"] == 1000


def test_resumed_is_never_stopped(sd1: Model, both: list[Examples], tmp_path: Path) -> None:
    settings = QUICK | {"preview_every": 0, "checkpoint_every": 1}
    whole = custom_diffusion(sd1.base, both, **settings, folder=tmp_path / "whole")
    custom_diffusion(sd1.base, both, **settings | {"steps": 1}, folder=tmp_path / "parts")
    assert custom_diffusion(sd1.base, both, **settings, folder=tmp_path / "parts", resume=True) == whole
    with pytest.raises(InputError, match=r"other photos|prompt"):
        custom_diffusion(sd1.base, both[::-1], **settings, folder=tmp_path / "parts", resume=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"batch_size": 3}, "batch_size 3 for 2 concepts"), ({"rare_tokens": ("ktn",)}, "2 new tokens, 1 rare")],
)
def test_what_two_concepts_cannot_share(
    sd1: Model, both: list[Examples], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        custom_diffusion(sd1.base, both, **QUICK | settings)


def test_two_concepts_need_two_words(sd1: Model, photos: Path, more: Path) -> None:
    with pytest.raises(InputError, match="two concepts have the token <new1>"):
        custom_diffusion(sd1.base, [Examples(photos, CAT), Examples(more, CAT)], **QUICK)


# -- concepts without a word ---------------------------------------------------------------------------------------


def test_plain_words_learn_what_the_photos_show(base: Any, photos: Path) -> None:
    plain = Examples(photos, "photo of a cat", token=None)
    concept = custom_diffusion(base, plain, **SHORT | {"prior": "base"}, class_prompt=["photo of tea"])
    assert not concept.tokens and concept.changes and not concept.record.nouns
    assert base.wear(concept).read("photo of a cat").states.shape == base.read("photo of a cat").states.shape
    after = custom_diffusion(base.wear(concept), Examples(photos, CAT), **SHORT | {"prior": "none"})
    assert after.record.prompts == ("photo of a cat", CAT)
    with pytest.raises(InputError, match="say what the prior shows"):
        custom_diffusion(base, plain, **QUICK)
    with pytest.raises(InputError, match="one must be positive"):
        custom_diffusion(base, plain, **SHORT | {"prior": "none", "lr": 0.0})
    with pytest.raises(InputError, match="token_lr is of a new word"):
        custom_diffusion(base, plain, **SHORT | {"prior": "none", "token_lr": 0.1})


# -- the field's file ------------------------------------------------------------------------------------------------


def listed(folder: Path, photos: Path, more: Path, **first: Any) -> Path:
    told = [
        {"instance_prompt": CAT, "instance_data_dir": str(photos), "class_prompt": "a cat", "class_data_dir": "reg"},
        {"instance_prompt": TEA, "instance_data_dir": "tea"},
    ]  # fmt: skip
    told[0] = {k: v for k, v in (told[0] | first).items() if v is not None}
    (folder / "tea").symlink_to(more)
    (folder / "concepts.json").write_text(json.dumps(told))
    return folder / "concepts.json"


def test_a_concepts_list_is_read(sd1: Model, tmp_path: Path, photos: Path, more: Path) -> None:
    """Folders lie beside the file too; a class folder that is not there yet is drawn."""
    found = concepts_list(path := listed(tmp_path, photos, more))
    assert [one.prompt for one in found] == [CAT, TEA] and [len(one) for one in found] == [3, 7]
    assert [(one.class_prompt, one.prior) for one in found] == [("a cat", ""), ("", "")]
    (tmp_path / "reg").mkdir()
    Image.new("RGB", (20, 20), "red").save(tmp_path / "reg" / "0.png")
    found = concepts_list(path)
    assert found[0].prior == str(tmp_path / "reg")
    concept = custom_diffusion(sd1.base, found, **QUICK)
    assert concept.record.settings["prior"] == [str(tmp_path / "reg"), "generate"]
    assert concept.record.settings["class_prompt"] == ["a cat", "photo of a tea"]


def test_an_entry_without_a_token_teaches_its_words(
    sd1: Model, tmp_path: Path, photos: Path, more: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = concepts_list(listed(tmp_path, photos, more, instance_prompt="photo of a cat"))
    assert [one.token for one in found] == [None, "<new2>"] and [one.phrase for one in found] == [
        "cat",
        "<new2> tea",
    ]
    assert '"photo of a cat" names no <token>' in caplog.text
    assert "'a cat and a <new2> tea on the beach'" in drawing(found, Path("c.safetensors"), "pocket")
    concept = custom_diffusion(sd1.base, found, **QUICK)
    assert list(concept.tokens) == ["<new2>"] and concept.record.prompts == ("photo of a cat", TEA)
    assert captions_of(concept)[-2:] == [("cat", "cat"), ("cat", "photo of a cat")]


def test_a_retrieved_class_folder_is_named_by_itself_or_by_its_lists(
    sd1: Model, tmp_path: Path, photos: Path, more: Path
) -> None:
    (tmp_path / "reg" / "images").mkdir(parents=True)
    Image.new("RGB", (20, 20), "red").save(tmp_path / "reg" / "images" / "0.jpg")
    for name, line in (
        ("images", "elsewhere/images/0.jpg"),
        ("caption", "a red cat"),
        ("urls", "http://x.org"),
    ):
        (tmp_path / "reg" / f"{name}.txt").write_text(f"{line}\n")
    lists = {"class_data_dir": "reg/images.txt", "class_prompt": "reg/caption.txt"}
    path, keys = listed(tmp_path, photos, more), list[str]()
    for first in ({}, lists):
        told = json.loads(path.read_text())
        path.write_text(json.dumps([told[0] | first, told[1]]))
        found = concepts_list(path)
        assert [(one.prior, one.class_prompt) for one in found] == [
            (str(tmp_path / "reg"), "" if first else "a cat"),
            ("", ""),
        ]
        source = find(found[0].prior, ["a cat"])
        assert [(p.path.name, p.caption, p.captioned) for p in source.photos] == [
            ("0.jpg", "a red cat", True)
        ]
        keys.append(custom_diffusion(sd1.base, found, **QUICK).fingerprint)
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ({"instance_prompts": "x"}, "did you mean instance_prompt"),
        ({"instance_prompt": None}, "no instance_prompt"),
        ({"class_prompt": 3}, "text is wanted"),
        ({"instance_data_dir": "nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_concepts_list_is_refused_by_name(
    tmp_path: Path, photos: Path, more: Path, first: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        concepts_list(listed(tmp_path, photos, more, **first))


@pytest.mark.parametrize("text", ["{", "{}", "[]", "[3]"])
def test_what_is_no_list_of_concepts(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"JSON file|list of objects"):
        concepts_list(tmp_path / "c.json")


def test_a_batch_that_nobody_gave_has_a_share_for_each(sd1: Model, photos: Path, more: Path) -> None:
    three = [Examples(photos, CAT), Examples(more, TEA), Examples(more, "photo of a <new3> pot")]
    for method, size in ((custom_diffusion, 6), (dreambooth, 3)):
        assert cast(Any, method).settle(sd1.base, three)["batch_size"] == size
        assert cast(Any, method).settle(sd1.base, three[:2])["batch_size"] % 2 == 0
    assert cast(Any, dreambooth).settle(sd1.base, three[0])["batch_size"] == 1
    with pytest.raises(InputError, match="must be a multiple"):
        custom_diffusion(sd1.base, three, **QUICK)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prior": "none"}, "every concept brings a prior of its own"),
        ({"class_prompt": "a cat"}, "every concept brings a class_prompt of its own"),
    ],
)
def test_what_every_concept_brings_is_not_given_for_all(
    sd1: Model, photos: Path, more: Path, given: dict[str, Any], words: str
) -> None:
    own = [
        Examples(photos, CAT, class_prompt="a cat", prior=str(more)),
        Examples(more, TEA, class_prompt="tea", prior=str(photos)),
    ]
    with pytest.raises(InputError, match=words):
        custom_diffusion(sd1.base, own, **QUICK | given)


def test_where_no_word_or_context_learns_its_settings_are_refused(sd1: Model, photos: Path) -> None:
    wordless = Examples(photos, "photo of a cat", token=None)
    with pytest.raises(InputError, match="rare_tokens are where new words start"):
        custom_diffusion(sd1.base, wordless, **QUICK, rare_tokens=("pll",))
    with pytest.raises(InputError, match="context_factor is of the photos' contexts"):
        ico(sd1.base, Examples(photos, CAT), **QUICK, before=0, after=0, context_factor=2.0)
