"""Custom Diffusion: what is trained and what is not, the recipes, the start token (card 1.2 to 1.9, 11)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from motif.concept import Concept
from motif.errors import InputError
from motif.learn import Examples, custom_diffusion
from motif.learn.fit import Progress
from motif.learn.recipes import RECIPES
from motif.learn.starts import class_prompts

PROMPT = "photo of a <new1> cat"
SHORT: dict[str, Any] = {"steps": 2, "batch_size": 2, "lr": 1e-2}
QUICK = SHORT | {"prior_count": 3, "prior_steps": 2}


def fingerprint(base: Any) -> str:
    digest = hashlib.sha256()
    for model in (base.models.unet, base.models.vae, *(r.encoder for r in base.models.readers)):
        for name, tensor in model.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def test_trains_every_cross_attention_kv_and_the_new_row_alone(base: Any, photos: Path) -> None:
    before = fingerprint(base)
    concept = custom_diffusion(base, Examples(photos, PROMPT), **QUICK)
    cross = [site for site in base.models.sites if site.kind == "cross"]
    assert set(concept.changes) == {
        f"unet.{s.name}.{part}.weight" for s in cross for part in ("to_k", "to_v")
    }
    assert all(change.full().abs().max() > 0 for change in concept.changes.values())
    assert [len(part) for part in concept.tokens["<new1>"]] == [1] * len(base.models.readers)
    assert fingerprint(base) == before, "the base changed"
    assert not any(p.requires_grad or p.grad is not None for p in base.models.unet.parameters())


def test_the_token_starts_from_the_rare_row_and_moves(base: Any, photos: Path) -> None:
    concept = custom_diffusion(base, Examples(photos, PROMPT), **QUICK | {"token_lr": 1e-9})
    for reader, (row,) in zip(base.models.readers, concept.tokens["<new1>"], strict=True):
        table = reader.encoder.get_input_embeddings().weight
        assert torch.allclose(row, table[reader.token_id("ktn")], atol=1e-7)
        assert not torch.equal(row, table[reader.token_id("ktn")])


def test_a_token_of_rate_0_stays_the_rare_one(base: Any, photos: Path) -> None:
    """The card's ablation "V* not optimised" (table 5); it has no part in the clipped norm either."""
    for recipe in ("compvis", "diffusers"):
        concept = custom_diffusion(base, Examples(photos, PROMPT), **QUICK, token_lr=0.0, recipe=recipe)
        for reader, (row,) in zip(base.models.readers, concept.tokens["<new1>"], strict=True):
            table = reader.encoder.get_input_embeddings().weight
            assert torch.equal(row, table[reader.token_id("ktn")])
        assert all(change.full().abs().max() > 0 for change in concept.changes.values())
        assert concept.record.settings["token_lr"] == 0


def test_a_word_can_start_at_random(base: Any, photos: Path) -> None:
    """The card's ablation "random normal init" (table 5): as the table's rows are spread, the same each time, another
    for each word."""
    examples = Examples(photos, "photo of a <new1> <new2> cat")
    same = QUICK | {"token_lr": 0.0, "rare_tokens": ("<random>", "<random>")}
    first, again = (custom_diffusion(base, examples, **same) for _ in range(2))
    for i, reader in enumerate(base.models.readers):
        table = reader.encoder.get_input_embeddings().weight.detach()
        one, two = (first.tokens[token][i] for token in ("<new1>", "<new2>"))
        assert torch.equal(one, again.tokens["<new1>"][i]) and not torch.equal(one, two)
        assert not (table == one).all(1).any(), "no entry's own row"
        far = ((torch.cat([one, two]) - table.mean(0)) / table.std(0)).flatten()
        assert abs(far.mean()) < 5 / len(far) ** 0.5 and abs(far.std() - 1) < 5 / (2 * len(far)) ** 0.5
    assert first.record.settings["rare_tokens"] == ["<random>", "<random>"]


def test_weights_of_rate_0_are_not_in_the_concept(base: Any, photos: Path) -> None:
    concept = custom_diffusion(base, Examples(photos, PROMPT), **QUICK | {"lr": 0.0, "token_lr": 1e-2})
    assert not concept.changes and concept.record.settings["lr"] == 0
    for reader, (row,) in zip(base.models.readers, concept.tokens["<new1>"], strict=True):
        assert not torch.equal(row, reader.encoder.get_input_embeddings().weight[reader.token_id("ktn")])
    assert "<new1>" in base.wear(concept).vectors


@pytest.mark.parametrize(
    ("prompt", "recipe", "expected"),
    [
        (PROMPT, "compvis", ["photo of a cat"]),
        (PROMPT, "adobe-diffusers", ["cat"]),
        (PROMPT, "diffusers", ["cat"]),
        ("painting in the style of <new1> art", "compvis", ["art"]),
        ("photo of a <new1> cat in the style of <new2> art", "compvis", ["photo of a cat", "art"]),
        ("photo of a <new1>", "compvis", []),
    ],
)
def test_what_the_prior_shows(photos: Path, prompt: str, recipe: str, expected: list[str]) -> None:
    """Card 1.4 and 1.7."""
    assert class_prompts(Examples(photos, prompt), RECIPES[recipe]) == expected


def test_the_prior_shows_the_class_prompt(base: Any, photos: Path, tmp_path: Path) -> None:
    drawn = custom_diffusion(
        base, Examples(photos, PROMPT), **QUICK, class_prompt=("a cat", "cats"), folder=tmp_path
    )
    assert drawn.record.settings["class_prompt"] == ["a cat", "cats"]
    named = [hashlib.sha256(words.encode()).hexdigest()[:8] for words in ("a cat", "cats", "a cat")]
    assert [path.stem[5:] for path in sorted(tmp_path.glob("prior-*/*.png"))] == named


def test_crossattn_trains_q_and_out_too(base: Any, photos: Path) -> None:
    concept = custom_diffusion(base, Examples(photos, PROMPT), **QUICK, trained="crossattn")
    kinds = {name.split(".attn2.")[1] for name in concept.changes}
    assert kinds == {"to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias"}


def test_bf16_trains_and_previews(photos: Path, tmp_path: Path) -> None:
    low = tiny.base_of(tiny.pipeline("sdxl"))
    low.models.unet.to(torch.bfloat16)
    for reader in low.models.readers:
        reader.encoder.to(torch.bfloat16)
    concept = custom_diffusion(low, Examples(photos, PROMPT), **QUICK, preview_every=1, folder=tmp_path)
    assert all(c.full().dtype == torch.float32 and c.full().abs().max() > 0 for c in concept.changes.values())
    assert len(list(tmp_path.glob("preview-*.png"))) == 3
    assert concept.record.settings["precision"] == "bfloat16"


def test_another_resolution(base: Any, photos: Path) -> None:
    wide = custom_diffusion(
        base, Examples(photos, PROMPT), **SHORT | {"prior": "none"}, resolution=2 * base.size
    )
    assert wide.record.settings["resolution"] == 2 * base.size
    with pytest.raises(InputError, match="multiples"):
        custom_diffusion(base, Examples(photos, PROMPT), **QUICK, resolution=base.size + 1)


def test_same_seed_same_bits_and_another_seed_others(base: Any, photos: Path) -> None:
    runs = [
        custom_diffusion(base, Examples(photos, PROMPT), **SHORT | {"prior": "none"}, seed=s)
        for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_checkpoints_load_and_the_last_is_the_result(base: Any, photos: Path, tmp_path: Path) -> None:
    concept = custom_diffusion(base, Examples(photos, PROMPT), **QUICK, checkpoint_every=1, folder=tmp_path)
    saved = sorted(tmp_path.glob("concept-*.safetensors"))
    assert [path.stem for path in saved] == ["concept-0001", "concept-0002"]
    assert Concept.load(saved[-1]) == concept


def test_previews_are_drawn_before_the_first_step_and_as_it_goes(
    base: Any, photos: Path, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    custom_diffusion(
        base,
        Examples(photos, PROMPT),
        **SHORT | {"prior": "none"},
        preview_every=1,
        folder=tmp_path,
        on_progress=seen.append,
    )
    assert [p.step for p in seen] == [0, 1, 2]
    assert all(p.preview is not None and p.preview.stat().st_size > 500 for p in seen)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_published_recipe_runs_and_differs(base: Any, photos: Path, recipe: Any) -> None:
    mine = custom_diffusion(base, Examples(photos, PROMPT), **QUICK, recipe=recipe)
    other = custom_diffusion(base, Examples(photos, PROMPT), **QUICK, recipe="compvis")
    assert (mine.changes.keys() == other.changes.keys()) and (
        (recipe == "compvis")
        == all(torch.equal(mine.changes[n].full(), c.full()) for n, c in other.changes.items())
    )


def test_a_concept_wears_and_changes_what_the_base_says(base: Any, photos: Path) -> None:
    concept = custom_diffusion(base, Examples(photos, PROMPT), **QUICK)
    me = base.wear(concept)
    x, states = torch.zeros(1, 4, 8, 8), base.read("photo of a cat")
    with torch.no_grad():
        mine = me.predict(x, 500, states.states, states.pooled, None)
        theirs = base.predict(x, 500, states.states, states.pooled, None)
    assert not torch.equal(mine, theirs)
    assert base.difference(me).startswith(f"{len(concept.changes)} of {len(concept.changes)} weights changed")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"prior": "nowhere"}, "prior 'nowhere'"),
        ({"rare_tokens": ("zzzz",)}, "zzzz"),
        ({"rare_tokens": ()}, "rare tokens"),
        ({"lr": -1.0}, "lr -1.0"),
        ({"token_lr": -1.0}, "token_lr -1.0"),
        ({"lr": 0.0}, "one must be positive"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**63}, "seed"),
        ({"prior_count": -1}, "prior_count"),
        ({"prior_weight": -0.5}, "prior_weight"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"resume": True}, "run's folder"),
        ({"previews": ("photo of a <new1> cat",)}, "previews are off"),
        ({"previews": ("a <new9> cat",), "preview_every": 1}, "<new9>|folder"),
    ],
)
def test_bad_settings_fail_before_the_first_step(
    base: Any, photos: Path, settings: dict[str, Any], word: str
) -> None:
    def never(_: Progress) -> None:
        pytest.fail("a step was taken")

    with pytest.raises(InputError, match=word):
        custom_diffusion(base, Examples(photos, PROMPT), **QUICK | settings, on_progress=never)


def test_gradient_checkpointing_gives_the_same_bits(
    base: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motif.attention import Seam

    calls, forward = [0], Seam.__call__

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Seam, "__call__", counted)
    found = []
    for wanted in (False, True):
        calls[0] = 0
        concept = custom_diffusion(
            base, Examples(photos, PROMPT), **SHORT | {"prior": "none"}, gradient_checkpointing=wanted
        )
        found.append((calls[0], concept))
        assert not base.models.unet.is_gradient_checkpointing
    (once, plain), (twice, checkpointed) = found
    assert once < twice, "nothing was computed again"
    assert all(torch.equal(plain.changes[n].full(), c.full()) for n, c in checkpointed.changes.items())
    assert all(
        torch.equal(a, b) for a, b in zip(plain.tokens["<new1>"], checkpointed.tokens["<new1>"], strict=True)
    )


def test_a_caption_too_long_is_refused_before_any_work(
    base: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = base.models.readers[0].length - 2
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("motif.learn.prior.draw", lambda *_, **__: pytest.fail("work was done"))
    (folder / "1.txt").write_text(f"{'a ' * room}<new1> cat")
    with pytest.raises(InputError, match="too long"):
        custom_diffusion(base, Examples(folder, PROMPT), **QUICK)
    (folder / "1.txt").write_text(f"{'a ' * (room - 2)}<new1> cat")  # fits, until it is "a far away ..."
    with pytest.raises(InputError, match="too long"):
        custom_diffusion(base, Examples(folder, PROMPT), **QUICK)


@pytest.mark.parametrize(
    ("advice", "words"),
    [
        ({"learning_rate": 1e-3}, "learning_rate"),
        ({"scale_lr": False}, "scale_lr"),
        ({"steps": "many"}, "steps = 'many'"),
        ({"steps": 2.5}, "steps = 2.5"),
        ({"steps": True}, "steps = True"),
        ({"augment": 1}, "augment = 1"),
        ({"masked": 1}, "masked = 1"),
    ],
)
def test_advice_that_would_not_be_heard_is_refused(photos: Path, advice: dict[str, Any], words: str) -> None:
    import dataclasses

    base = dataclasses.replace(tiny.base_of(tiny.pipeline("sd1")), advice={"custom-diffusion": advice})
    with pytest.raises(InputError, match=words):
        custom_diffusion(base, Examples(photos, PROMPT), **QUICK)


def test_advised_masks_are_for_photos_that_have_them(photos: Path, tmp_path: Path) -> None:
    import dataclasses

    from PIL import Image

    base = tiny.base_of(tiny.pipeline("sd1"))
    advised = dataclasses.replace(base, advice={"custom-diffusion": {"masked": True}})
    quick = SHORT | {"steps": 1, "prior": "none"}
    assert custom_diffusion(advised, Examples(photos, PROMPT), **quick).record.settings["masked"] is False
    with pytest.raises(InputError, match="no photo has a mask"):
        custom_diffusion(advised, Examples(photos, PROMPT), **quick, masked=True)
    for path in photos.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    first = min(photos.glob("*.png"))
    with Image.open(first) as photo:
        mask = Image.new("L", photo.size)
    mask.paste(255, (0, 0, mask.width // 2, mask.height))
    mask.save(tmp_path / f"{first.stem}-mask.png")
    examples = Examples(tmp_path, PROMPT)
    assert custom_diffusion(base, examples, **quick).record.settings["masked"] is False
    assert custom_diffusion(advised, examples, **quick).record.settings["masked"] is True
    assert custom_diffusion(advised, examples, **quick, masked=False).record.settings["masked"] is False


@pytest.mark.parametrize(
    ("idle", "words"),
    [
        ({"retrieve_threshold": 0.9}, "add --retrieve"),
        ({"retrieve_encoder": "pocket"}, "add --retrieve"),
        ({"prior": "none", "class_prompt": ["a cat"]}, "the prior is none"),
        ({"prior": "none", "prior_weight": 0.5}, "the prior is none"),
        ({"prior": "none", "prior_count": 3}, "prior_count .* the prior is none"),
        ({"prior": "none", "prior_steps": 2}, "prior_steps .* the prior is none"),
        ({"prior": "base", "prior_count": 3}, "prior_count .* no pictures"),
        ({"prior": "base", "prior_steps": 3}, "prior_steps .* no picture .* drawn"),
        ({"prior": ".", "prior_steps": 3}, "prior_steps .* no picture .* drawn"),
        ({"prior": "captions.txt", "class_prompt": ["a cat"]}, "class_prompt .* its file's"),
        ({"lr": 0.0, "token_lr": 0.1, "trained": "crossattn"}, "lr is 0"),
        ({"retrieve_threshold": 0.85}, "add --retrieve"),
    ],
)
def test_a_setting_that_nothing_would_hear_is_refused(
    base: Any, photos: Path, idle: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        custom_diffusion(base, Examples(photos, PROMPT), **SHORT | idle)
