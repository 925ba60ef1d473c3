"""Merging: words keep their meaning, captions theirs; what cannot be merged is refused."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import motif
import tiny
from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError, WrongBase
from motif.learn.compress import compress
from motif.learn.held import held_captions
from motif.learn.merge import merge
from motif.learn.merge_report import Report
from motif.learn.target_words import caption_rows, captions_of
from motif.weights import Change
from pieces import concept_of, predict

WORDS = ("photo", "cat", "of", "tea", "pot", "beach", "a")
CAPTIONS = tuple(
    dict.fromkeys(
        " ".join(WORDS[(i * step + j * j + j) % 7] for j in range(2 + (i + step) % 6))
        for i in range(12)
        for step in (1, 2, 3)
    )
)
"""Every word in many places: enough directions for tiny text encoders."""

PROMPTS = ("{}", "photo of a {}")


@pytest.fixture
def pair(base: Any) -> tuple[Concept, Concept]:
    return concept_of(base, seed=1), concept_of(base, "<new2>", seed=2)


def with_prompts(concept: Concept, *prompts: str) -> Concept:
    return dataclasses.replace(concept, record=dataclasses.replace(concept.record, prompts=prompts))


def heard(base: Base, prompt: str, phrase: str) -> dict[str, Tensor]:
    """What every key and value matrix that is worn makes of the phrase and of the end of the text."""
    text = base.read(prompt)
    span = text.span(phrase)
    rows = text.states[0, [*range(span.start, span.stop), text.tokens[0].end]].double()
    names = [name for name in base.models.own if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))]
    return {name: base.weight(name).double() @ rows.T for name in names}


def off(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest relative difference of one weight's."""
    return max(float((a[name] - b[name]).norm() / b[name].norm()) for name in b)


def moved(base: Base, worn: Base) -> float:
    """How far the captions' keys and values move, as a share."""
    rows = caption_rows(base, CAPTIONS).T
    names = worn.weights.keys()
    pairs = [(worn.weight(name).double() @ rows, base.weight(name).double() @ rows) for name in names]
    return sum(float((a - b).norm() / b.norm()) for a, b in pairs) / len(pairs)


# -- laws ------------------------------------------------------------------------------------------------------------


def test_one_concept_merged_means_what_it_meant(base: Any) -> None:
    concept = concept_of(base, seed=1)
    alone, merged = base.wear(concept), base.wear(merge(base, concept, captions=CAPTIONS))
    for prompt in PROMPTS:
        where = prompt.format("<new1> cat")
        assert off(heard(merged, where, "<new1> cat"), heard(alone, where, "<new1> cat")) < 2e-6
        assert off(heard(base.wear(dataclasses.replace(concept, changes={})), where, "<new1> cat"),
                   heard(alone, where, "<new1> cat")) > 1e-2  # fmt: skip


def test_every_concept_keeps_its_words_and_captions_move_less_than_with_added_changes(
    base: Any, pair: tuple[Concept, Concept]
) -> None:
    reports: list[Report] = []
    merged = base.wear(merge(base, *pair, captions=CAPTIONS, on_report=reports.append))
    for concept, phrase in zip(pair, ("<new1> cat", "<new2> cat"), strict=True):
        for prompt in PROMPTS:
            where = prompt.format(phrase)
            assert off(heard(merged, where, phrase), heard(base.wear(concept), where, phrase)) < 2e-6
    added = base.wear(*pair)
    assert moved(base, merged) < 0.5 * moved(base, added)
    (report,) = reports
    assert report.words == ("<new1> cat", "<new2> cat") and report.rows == 12 and report.renamed == ()
    assert max(row.words for row in report.residuals) < 1e-6
    assert report.mean("captions") == pytest.approx(moved(base, merged), rel=1e-3)
    assert report.mean("added") == pytest.approx(moved(base, added), rel=1e-3)
    assert [row.weight for row in report.residuals] == list(pair[0].changes)


def test_the_order_of_the_concepts_makes_no_difference(base: Any, pair: tuple[Concept, Concept]) -> None:
    one, two = (merge(base, *order, captions=CAPTIONS) for order in (pair, pair[::-1]))
    assert one.tokens.keys() == two.tokens.keys()
    a, b = ({name: change.full() for name, change in made.changes.items()} for made in (one, two))
    assert off(a, b) < 1e-5


def test_merging_a_merged_concept_is_merging_all(base: Any, pair: tuple[Concept, Concept]) -> None:
    third = concept_of(base, "<dog>", seed=3)
    once = merge(base, *pair, third, captions=CAPTIONS)
    twice = merge(base, merge(base, *pair, captions=CAPTIONS), third, captions=CAPTIONS)
    a, b = ({name: change.full() for name, change in made.changes.items()} for made in (once, twice))
    assert off(a, b) < 1e-4
    assert dict(twice.record.nouns) == {"<new1>": "cat", "<new2>": "cat", "<dog>": "cat"}


def test_what_comes_out_is_small_and_travels(
    base: Any, pair: tuple[Concept, Concept], tmp_path: Path
) -> None:
    merged = merge(base, with_prompts(pair[0], "photo of a <new1> cat"), pair[1], captions=CAPTIONS)
    assert all(change.up is not None and change.up.shape[1] <= 12 for change in merged.changes.values())
    assert Concept.load(merged.save(tmp_path / "both.safetensors")) == merged
    assert merged.record.method == "merge" and merged.record.prompts == ("photo of a <new1> cat",)
    assert [row["words"] for row in merged.record.settings["concepts"]] == ["<new1> cat", "<new2> cat"]


def test_a_compressed_concept_merges(base: Any, pair: tuple[Concept, Concept]) -> None:
    small = compress(pair[0], rank=2)
    merged = base.wear(merge(base, small, pair[1], captions=CAPTIONS))
    assert (
        off(heard(merged, "<new1> cat", "<new1> cat"), heard(base.wear(small), "<new1> cat", "<new1> cat"))
        < 2e-6
    )


def test_a_word_alone_keeps_the_bases_keys_and_values(base: Any, pair: tuple[Concept, Concept]) -> None:
    word = dataclasses.replace(pair[1], changes={})
    merged = base.wear(merge(base, pair[0], word, captions=CAPTIONS))
    phrase = "<new2> cat"
    assert off(heard(merged, phrase, phrase), heard(base.wear(word), phrase, phrase)) < 2e-6
    both = merge(base, word, dataclasses.replace(pair[0], changes={}), captions=CAPTIONS)
    assert both.changes == {} and both.tokens.keys() == {"<new1>", "<new2>"}


def test_a_concept_without_a_token_is_known_by_its_prompt(base: Any) -> None:
    bare = concept_of(base, None, seed=4)
    gate = with_prompts(bare, "photo of a tea pot")
    merged = base.wear(merge(base, gate, concept_of(base, seed=1), captions=CAPTIONS))
    assert off(heard(merged, "tea pot", "tea pot"), heard(base.wear(gate), "tea pot", "tea pot")) < 2e-6
    with pytest.raises(InputError, match="neither a token nor a prompt"):
        merge(base, bare, captions=CAPTIONS)


def test_plain_words_beside_a_token_are_held_however_they_came_together(base: Any) -> None:
    """A concept of both, learned at once, in sequence or merged before, says all of its words to the next merge."""
    gate = with_prompts(concept_of(base, None, seed=4), "photo of a tea pot")
    cat = with_prompts(concept_of(base, seed=1), "photo of a <new1> cat")
    both = merge(base, gate, cat, captions=CAPTIONS)
    assert both.record.prompts == ("photo of a tea pot", "photo of a <new1> cat")
    other, reports = concept_of(base, "<new2>", seed=2), list[Report]()
    merged = base.wear(merge(base, both, other, captions=CAPTIONS, on_report=reports.append))
    assert set(reports[0].words) == {"tea pot", "<new1> cat", "<new2> cat"}
    for concept, phrase in ((gate, "tea pot"), (cat, "<new1> cat"), (other, "<new2> cat")):
        for prompt in PROMPTS:
            where = prompt.format(phrase)
            assert off(heard(merged, where, phrase), heard(base.wear(concept), where, phrase)) < 2e-6
    assert off(heard(base, "tea pot", "tea pot"), heard(base.wear(gate), "tea pot", "tea pot")) > 1e-2


def test_where_two_begin_with_one_word_it_gets_their_mean(
    base: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Words that stayed the rare token both started from; their nouns and ends are held exactly all the same."""

    def frozen(token: str, noun: str, seed: int) -> Concept:
        concept = dataclasses.replace(concept_of(base, token, seed=seed), tokens={token: word})
        return dataclasses.replace(concept, record=dataclasses.replace(concept.record, nouns={token: noun}))

    word = concept_of(base).tokens["<new1>"]
    two, reports = (frozen("<new1>", "cat", 1), frozen("<new2>", "tea", 2)), list[Report]()
    phrases = ("<new1> cat", "<new2> tea")
    with caplog.at_level(logging.WARNING, "motif"):
        merged = base.wear(merge(base, *two, captions=CAPTIONS, on_report=reports.append))
    assert '"<new1> cat" and "<new2> tea" begin with one word to the text encoder' in caplog.text
    assert "cannot all be held" in caplog.text and reports[0].mean("words") > 1e-2
    own = [heard(base.wear(one), phrase, phrase) for one, phrase in zip(two, phrases, strict=True)]
    for mine, phrase in zip(own, phrases, strict=True):
        made = heard(merged, phrase, phrase)
        assert off({n: v[:, 1:] for n, v in made.items()}, {n: v[:, 1:] for n, v in mine.items()}) < 2e-6
        mean = {name: (own[0][name][:, :1] + own[1][name][:, :1]) / 2 for name in made}
        assert off({n: v[:, :1] for n, v in made.items()}, mean) < 2e-6


def test_the_same_concept_twice_is_one_thing_under_two_names(base: Any) -> None:
    concept = concept_of(base, seed=1)
    twice = merge(base, concept, concept, captions=CAPTIONS)
    assert twice.tokens.keys() == {"<new1>", "<new2>"}
    once = merge(base, concept, captions=CAPTIONS)
    a, b = ({name: change.full() for name, change in made.changes.items()} for made in (twice, once))
    assert off(a, b) < 1e-5


def test_states_are_those_of_a_whole_prompt(base: Any) -> None:
    """Cutting a prompt behind its end changes nothing before it."""
    text = base.read(list(CAPTIONS[:9]))
    rows = [text.states[i, 1 : tokens.end + 1] for i, tokens in enumerate(text.tokens)]
    assert torch.allclose(caption_rows(base, CAPTIONS[:9]).float(), torch.cat(rows), atol=1e-5)


def test_a_base_in_bfloat16_is_read_in_float32() -> None:
    base = tiny.base_of(tiny.pipeline("sd1").to(torch.bfloat16))
    exact = tiny.base_of(tiny.pipeline("sd1").to(torch.bfloat16).to(torch.float32))
    assert torch.equal(caption_rows(base, CAPTIONS), caption_rows(exact, CAPTIONS))


# -- names -----------------------------------------------------------------------------------------------------------


def test_a_token_of_two_is_renamed_and_told(base: Any, caplog: pytest.LogCaptureFixture) -> None:
    concepts = [concept_of(base, seed=1), concept_of(base, "<new2>", seed=2), concept_of(base, seed=3)]
    reports: list[Report] = []
    with caplog.at_level(logging.WARNING, "motif"):
        merged = merge(base, *concepts, captions=CAPTIONS, on_report=reports.append)
    assert list(merged.tokens) == ["<new1>", "<new2>", "<new3>"] and reports[0].renamed == (
        ("<new1> cat", "<new3>"),
    )
    assert "<new1> is taken: <new1> cat is <new3> from now on" in caplog.text
    worn = base.wear(merged)
    mine = heard(base.wear(concepts[2]), "<new1> cat", "<new1> cat")
    assert off(heard(worn, "<new3> cat", "<new3> cat"), mine) < 2e-6


def test_a_concepts_words_are_its_own_prompts_or_the_fields(base: Any) -> None:
    def told(*prompts: str, noun: str = "cat") -> list[tuple[str, str]]:
        concept = with_prompts(concept_of(base), *prompts)
        record = dataclasses.replace(concept.record, nouns={"<new1>": noun})
        return captions_of(dataclasses.replace(concept, record=record))

    assert told("a picture of <new1> cat on a bench") == [
        ("<new1> cat", "<new1> cat"),
        ("<new1> cat", "a picture of <new1> cat on a bench"),
    ]
    assert told("photo of a <new1> cat and a <dog>")[1][1] == "photo of a <new1> cat"
    assert told("photo of a tea pot", "a picture of <new1> cat") == [
        ("<new1> cat", "<new1> cat"),
        ("<new1> cat", "a picture of <new1> cat"),
        ("tea pot", "tea pot"),
        ("tea pot", "photo of a tea pot"),
    ]
    assert told(noun="art")[1][1] == "painting in the style of <new1> art"
    for noun in ("cartoon", "heart", ""):  # "art" is a word, not a part of one
        assert told(noun=noun)[1][1] == f"photo of a <new1> {noun}".strip()


# -- captions --------------------------------------------------------------------------------------------------------


def test_captions_come_from_a_file_or_the_concepts_priors(
    base: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def with_prior(**settings: Any) -> Concept:
        concept = concept_of(base)
        return dataclasses.replace(concept, record=dataclasses.replace(concept.record, settings=settings))

    (tmp_path / "lines.txt").write_text("a cat\n\na <b> pot\na cat\na beach\n")
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "folder" / "0.png")
    (tmp_path / "folder" / "0.txt").write_text("a cat of a pot")
    of_file = with_prior(prior=str(tmp_path / "lines.txt"), class_prompt=["photo of a cat"])
    drawn = with_prior(prior="generate", class_prompt=["photo of a cat"])
    of_folder = with_prior(prior=str(tmp_path / "folder"))
    assert held_captions(base, [], tmp_path / "lines.txt", 9) == ("a cat", "a b pot", "a beach")
    assert held_captions(base, [], str(tmp_path / "lines.txt"), 2) == ("a cat", "a b pot")
    general = held_captions(base, [], "", 999)
    assert len(general) > 200 and held_captions(base, [drawn], "", 999) == ("photo of a cat", *general)
    mine, others = ("a cat", "a b pot", "a beach"), held_captions(base, [of_file], "", 9)
    assert others[0] == "photo of a cat" and tuple(line for line in others[1:] if line in mine) == mine
    assert tuple(line for line in others[1:] if line not in mine) == general[:5]
    assert held_captions(base, [drawn, of_folder], "", 2) == ("photo of a cat", "a cat of a pot")
    again = merge(base, drawn, of_folder.renamed({"<new1>": "<new2>"}), captions=CAPTIONS)
    assert held_captions(base, [again], "", 2) == ("photo of a cat", "a cat of a pot")
    with caplog.at_level(logging.WARNING, "motif"):
        assert held_captions(base, [drawn], ["a beach"], 9) == ("a beach",)
        assert 'none of the 1 captions says "cat"' in caplog.text
        gone = with_prior(prior=str(tmp_path / "gone"), class_prompt=["photo of a cat"])
        assert held_captions(base, [gone], "", 1) == ("photo of a cat",)
        assert "gone of <new1> is not here any more" in caplog.text


def test_pockets_captions_are_its_worlds(pocket: Any) -> None:
    from motif.learn.held import general_captions
    from motif.pocket.captions import captions

    assert general_captions(pocket) == captions(400) and captions(9) == captions(400)[:9]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere.txt", "nowhere.txt: no such file"),
        ("folder", "no such file of captions"),
        ((), "no caption in the list"),
        ("empty.txt", "no caption in"),
    ],
)
def test_without_captions_there_is_no_merge(
    sd1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty.txt").write_text(" \n\n")
    with pytest.raises(InputError, match=words):
        merge(sd1.base, concept_of(sd1.base), captions=given)
    with pytest.raises(InputError, match="count is 0"):
        merge(sd1.base, concept_of(sd1.base), captions=CAPTIONS, count=0)


# -- what cannot be merged -------------------------------------------------------------------------------------------


def with_change(concept: Concept, name: str, like: Tensor) -> Concept:
    return dataclasses.replace(
        concept, changes={**concept.changes, name: Change(dense=torch.full_like(like, 0.1))}
    )


def test_other_weights_are_refused_by_name(sd1: Any) -> None:
    base, concept = sd1.base, concept_of(sd1.base)
    own = base.models.own
    text = next(name for name in own if name.startswith("text_encoder"))
    query = next(name for name in own if name.endswith("attn2.to_q.weight"))
    with pytest.raises(InputError, match=f"<new1> cat changes the text encoder .{text}"):
        merge(base, with_change(concept, text, own[text]), captions=CAPTIONS)
    with pytest.raises(InputError, match=r"to_q.weight \(and 0 more\): only keys and values"):
        merge(base, with_change(concept, query, own[query]), captions=CAPTIONS)


def test_what_does_not_go_together_is_refused(sd1: Any, sdxl: Any) -> None:
    base, concept = sd1.base, concept_of(sd1.base)
    with pytest.raises(WrongBase, match="learned on"):
        merge(sdxl.base, concept, captions=CAPTIONS)
    with pytest.raises(InputError, match="nothing to merge"):
        merge(base, captions=CAPTIONS)
    with pytest.raises(InputError, match="bare base"):
        merge(base.wear(concept), concept_of(base, "<new2>"), captions=CAPTIONS)
    nan = dataclasses.replace(concept, tokens={"<new1>": (torch.full((1, 24), torch.nan),)})
    with pytest.raises(InputError, match="<new1> cat is damaged"):
        merge(base, nan, captions=CAPTIONS)
    key = next(iter(concept.changes))
    nan = dataclasses.replace(
        concept, changes={key: Change(dense=torch.full(concept.changes[key].shape, torch.nan))}
    )
    with pytest.raises(InputError, match=f"{key} is not finite"):
        merge(base, nan, captions=CAPTIONS)
    other = dataclasses.replace(
        concept_of(base, seed=5), tokens=concept.tokens
    )  # the same word, other weights
    with pytest.raises(InputError, match='"<new1> cat" and "<new2> cat" are the same words'):
        merge(base, concept, other, captions=CAPTIONS)


def test_a_relative_of_the_base_is_merged_when_allowed(sd1: Any) -> None:
    concept = concept_of(sd1.base)
    other = dataclasses.replace(concept.record.base, signs=tuple(-s for s in concept.record.base.signs))
    strange = dataclasses.replace(concept, record=dataclasses.replace(concept.record, base=other))
    with pytest.raises(WrongBase, match="--other-base"):
        merge(sd1.base, strange, captions=CAPTIONS)
    assert merge(sd1.base, strange, captions=CAPTIONS, other_base=True).record.base == sd1.base.origin


def test_more_words_than_a_text_encoder_tells_apart_are_warned_of(
    sd1: Any, caplog: pytest.LogCaptureFixture
) -> None:
    many = [concept_of(sd1.base, f"<new{i}>", seed=i) for i in range(1, 7)]  # 36 rows of 24 channels
    with caplog.at_level(logging.WARNING, "motif"):
        merged = merge(sd1.base, *many, captions=CAPTIONS)
    assert "cannot all be held" in caplog.text and merged.fault() is None


# -- pocket ----------------------------------------------------------------------------------------------------------


def test_two_learned_concepts_are_drawn_by_one(pocket: Any) -> None:
    """Each word is drawn as by its own concept, not as its class, and not as the other."""
    from motif.pocket.concepts import held_out

    quick = {"steps": 4, "batch_size": 1, "lr": 3e-5, "token_lr": 0.05, "prior": "none", "scale_lr": False}
    nouns, learned = [h.noun for h in held_out()[:2]], list[Concept]()
    for i, subject in enumerate(held_out()[:2], 1):
        examples = motif.Examples(subject.folder, f"photo of a <new{i}> {subject.noun}")
        learned.append(motif.learn.custom_diffusion(pocket, examples, **quick))
    merged = pocket.wear(motif.merge(pocket, *learned))
    x = torch.randn(2, *pocket.latent_shape(None), generator=torch.Generator().manual_seed(0))
    for concept, noun in zip(learned, nouns, strict=True):
        own = predict(pocket.wear(concept), x, concept.record.prompt)
        mine = float((predict(merged, x, concept.record.prompt) - own).norm())
        assert mine < 0.3 * float((predict(pocket, x, f"photo of a {noun}") - own).norm())


def test_no_prior_takes_all_the_places(base: Any, tmp_path: Path) -> None:
    """Two concepts with 200 captions each: both classes, and general captions, are held."""
    concepts = list[Concept]()
    for i, noun in enumerate(("cat", "pot"), 1):
        (tmp_path / f"{noun}.txt").write_text("\n".join(f"{noun} number {k}" for k in range(200)))
        one = concept_of(base, f"<new{i}>", seed=i)
        settings = {"prior": str(tmp_path / f"{noun}.txt"), "class_prompt": [f"photo of a {noun}"]}
        concepts.append(dataclasses.replace(one, record=dataclasses.replace(one.record, settings=settings)))
    lines = held_captions(base, concepts, "", 200)
    assert len(lines) == 200 and {"photo of a cat", "photo of a pot"} <= {*lines}
    of = [sum(line.startswith(f"{noun} number") for line in lines) for noun in ("cat", "pot")]
    assert min(*of, 200 - sum(of)) >= 65


def test_a_word_of_two_tokens_is_held_as_it_was_learned(base: Any) -> None:
    one = concept_of(base, "<a>", seed=1)
    record = dataclasses.replace(
        one.record, nouns={"<a>": "cat", "<b>": "cat"}, prompts=("photo of a <a> <b> cat",)
    )
    word = dataclasses.replace(
        one,
        tokens={"<a>": one.tokens["<a>"], "<b>": concept_of(base, "<b>", seed=2).tokens["<b>"]},
        record=record,
    )
    said = "photo of a <a> <b> cat"
    assert captions_of(word) == [("<a> <b> cat", "<a> <b> cat"), ("<a> <b> cat", said)]
    merged = merge(base, word, captions=CAPTIONS)
    mine, theirs = (heard(base.wear(c), said, "<a> <b> cat") for c in (merged, word))
    assert off(mine, theirs) < 1e-4
