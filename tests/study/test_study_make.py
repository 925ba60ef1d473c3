"""Pairing two folders, and the study made of them: what raters see, and what they cannot know."""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from studies import drawn, picture, two_sides

from motif.errors import InputError
from motif.images import open_picture
from motif.study.make import make, scrambled
from motif.study.pairing import pairs, side
from motif.study.questions import QUESTIONS, Question, asked
from motif.study.sheet import PICTURES, Comparison, Study


def test_pictures_are_paired_by_prompt_and_seed_whatever_their_names_and_tokens(tmp_path: Path) -> None:
    a, b, _ = two_sides(tmp_path, prompts=3, seeds=2)
    (b / "beach").rename(b / "elsewhere")
    found = pairs(a, b)
    assert len(found) == 6
    for pair in found:
        assert (pair.a.prompt, pair.a.seed) == (pair.b.prompt, pair.b.seed)
        assert pair.prompt == f"a photo of a cat in the {pair.a.name.partition('/')[0]}"


def test_without_a_record_pictures_are_paired_by_name_and_files_tell_the_prompt(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for i in (2, 10):
            picture(tmp_path / folder / f"{i}.png", i, len(folder), ord(folder))
    (tmp_path / "a" / "prompts.json").write_text(json.dumps({"2": "a <new1> cat"}))
    (tmp_path / "b" / "10.txt").write_text("a dog\n")
    found = pairs(tmp_path / "a", tmp_path / "b")
    assert [(p.a.name, p.b.name, p.prompt) for p in found] == [("2", "2", "a cat"), ("10", "10", "a dog")]


def test_only_what_a_record_lists_takes_part(tmp_path: Path) -> None:
    folder = drawn(tmp_path / "a", "a cat", range(2), 0)
    picture(folder / "sheet.png")
    picture(folder / ".kept" / "0.png")
    assert [one.name for one in side(folder)] == ["0000", "0001"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda a, b: (a / "beach" / "0001.png").unlink(),
            "0001.png: pictures.json lists it and it is not there",
        ),
        (
            lambda a, b: drawn(b / "beach", "a cat", range(2), 9),
            'has the prompt "a photo of a cat in the beach"',
        ),
        (lambda a, b: drawn(b / "more", "a cat", range(3), 9), "3 of 7 in .*theirs have no partner"),
        (
            lambda a, b: drawn(a / "again", "a photo of a cat in the snow", [1], 9),
            "are of one prompt and seed",
        ),
        (lambda a, b: (b / "snow" / "pictures.json").write_text('{"pictures": 3}'), "not a record"),
        (
            lambda a, b: (b / "snow" / "pictures.json").unlink(),
            "no picture in .*theirs has the name|no partner",
        ),
    ],
)
def test_what_does_not_pair_is_one_line_that_names_it(tmp_path: Path, change: object, words: str) -> None:
    a, b, _ = two_sides(tmp_path)
    assert callable(change)
    change(a, b)
    if "no partner" in words and "name" in words:
        (b / "snow").rename(b / "ice")
    with pytest.raises(InputError, match=words) as caught:
        pairs(a, b)
    assert "\n" not in str(caught.value)


def test_a_side_is_not_compared_with_itself_nor_a_picture_with_its_copy(tmp_path: Path) -> None:
    a, b, _ = two_sides(tmp_path, prompts=1, seeds=1)
    with pytest.raises(InputError, match="both sides are this folder"):
        pairs(a, a)
    (b / "beach" / "0000.png").write_bytes((a / "beach" / "0000.png").read_bytes())
    with pytest.raises(InputError, match="nothing to choose"):
        make(a, b, tmp_path / "study")
    assert not (tmp_path / "study" / "study.json").exists()


def test_concepts_keep_to_their_own_folders(tmp_path: Path) -> None:
    for blue, root in ((10, "a"), (200, "b")):
        for i, concept in enumerate(("cat", "dog")):
            drawn(tmp_path / root / concept, "a photo of a <new1> pet", range(2), blue + i)
    with pytest.raises(InputError, match="one prompt and seed"):
        pairs(tmp_path / "a", tmp_path / "b")
    picture(tmp_path / "refs" / "cat" / "1.png", 7)
    with pytest.raises(InputError, match="--refs has no folder dog"):
        make(tmp_path / "a", tmp_path / "b", tmp_path / "study", refs=tmp_path / "refs")
    picture(tmp_path / "refs" / "dog" / "1.png", 90)
    study = make(tmp_path / "a", tmp_path / "b", tmp_path / "study", refs=tmp_path / "refs")
    shown: dict[str, set[str]] = {"cat": set(), "dog": set()}
    for pair in study.pairs:
        concept = Path(pair.origin[0]).parent.name
        assert Path(pair.origin[1]).parent.name == concept
        shown[concept] |= set(pair.references)
    assert all(len(files) == 1 for files in shown.values()) and shown["cat"] != shown["dog"]


def test_a_study_holds_the_pictures_as_they_were_under_names_that_tell_nothing(tmp_path: Path) -> None:
    a, b, photos = two_sides(tmp_path)
    study = make(a, b, tmp_path / "study", refs=photos, refs_shown=3)
    assert Study.load(tmp_path / "study") == study
    folder = tmp_path / "study" / PICTURES
    assert {path.name for path in folder.iterdir()} == study.files()
    for pair in study.pairs:
        for file, origin in zip((pair.a, pair.b), pair.origin, strict=True):
            kept = Image.open(folder / file)
            assert kept.tobytes() == open_picture(origin).image.tobytes() and not kept.info
        assert len(pair.references) == 3
        assert not any(word in name for name in (pair.a, pair.b) for word in ("ours", "theirs", "_a", "_b"))
    again = make(a, b, tmp_path / "again", refs=photos, refs_shown=3)
    assert again == study
    with pytest.raises(InputError, match="holds a study already"):
        make(a, b, tmp_path / "study")


def test_questions_are_asked_with_what_they_show_or_not_at_all(tmp_path: Path) -> None:
    assert [q.name for q in asked([], references=True, sources=False)] == ["text", "image"]
    assert [q.name for q in asked([], references=False, sources=False)] == ["text"]
    assert [q.name for q in asked([], references=False, sources=True)] == ["edit"]
    for names, given_, words in (
        (["image"], (False, False), "give --refs"),
        (["edit"], (False, False), "give --sources"),
        (["text"], (True, False), "--refs: none of the questions"),
        (["text", "text"], (False, False), "twice"),
        (["tex"], (False, False), "did you mean text"),
    ):
        with pytest.raises(InputError, match=words):
            asked(names, references=given_[0], sources=given_[1])
    assert all(name == question.name and question.shows for name, question in QUESTIONS.items())
    for folder in ("a", "b"):
        picture(tmp_path / folder / "1.png", ord(folder))
    with pytest.raises(InputError, match=r"nothing says its prompt \(1 of 1 pairs\): put it into 1.txt"):
        make(tmp_path / "a", tmp_path / "b", tmp_path / "study")


def test_edits_are_shown_beside_their_own_sources(tmp_path: Path) -> None:
    a, b, _ = two_sides(tmp_path, prompts=1, seeds=2)
    for i in range(2):
        picture(tmp_path / "before" / f"000{i}.png", 99, i)
    study = make(a, b, tmp_path / "study", sources=tmp_path / "before")
    for pair in study.pairs:
        source = tmp_path / "before" / Path(pair.origin[0]).name
        assert (
            Image.open(tmp_path / "study" / PICTURES / pair.source).tobytes() == Image.open(source).tobytes()
        )
    (tmp_path / "before" / "0001.png").rename(tmp_path / "before" / "other.png")
    with pytest.raises(InputError, match="--sources has no picture named 0001"):
        make(a, b, tmp_path / "second", sources=tmp_path / "before")


def test_pictures_of_two_sizes_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder, size in (("a", (48, 36)), ("b", (96, 72))):
        picture(tmp_path / folder / "1.png", ord(folder), size=size).with_suffix(".txt").write_text("a cat")
    with caplog.at_level(logging.WARNING, "motif"):
        make(tmp_path / "a", tmp_path / "b", tmp_path / "study")
    assert "48x36 and 96x72" in caplog.text


def pixels(image: Image.Image) -> list[bytes]:
    data = image.tobytes()
    return [data[i : i + 3] for i in range(0, len(data), 3)]


@given(st.integers(12, 70), st.integers(12, 70), st.integers(0, 99))
def test_a_scrambled_picture_has_the_same_pixels_elsewhere(width: int, height: int, seed: int) -> None:
    rng = random.Random(seed)
    image = Image.frombytes("RGB", (width, height), rng.randbytes(3 * width * height))
    torn = scrambled(image, random.Random(seed))
    assert torn.size == image.size and torn.tobytes() != image.tobytes()
    assert Counter(pixels(torn)) == Counter(pixels(image))


def test_a_picture_that_looks_the_same_scrambled_is_no_check(tmp_path: Path) -> None:
    """As a black one that a safety checker left: nobody could choose, and who chose wrong would be left out."""
    a, b, _ = two_sides(tmp_path, prompts=2, seeds=2)
    black = sorted(a.rglob("*.png"))
    for path in black[1:]:
        Image.new("RGB", (48, 36)).save(path)
    found = make(a, b, tmp_path / "study")
    assert [bool(pair.torn) for pair in found.pairs if pair.origin[0] == str(black[0])] == [True]
    assert sum(bool(pair.torn) for pair in found.pairs) == 1 and len(found.turns(0)) == 4 + 3
    Image.new("RGB", (48, 36)).save(black[0])
    with pytest.raises(InputError, match="--checks 0"):
        make(a, b, tmp_path / "other")
    assert not (tmp_path / "other").exists() and not any(
        p.torn for p in make(a, b, tmp_path / "no", checks=0).pairs
    )


def plan(pairs_: int, per_rater: int, checks: int, questions: int, seed: int = 0) -> Study:
    """A study without files."""
    made = tuple(
        Comparison(f"p{i}", "a cat", f"a{i}", f"b{i}", f"t{i}" if i < 12 else "") for i in range(pairs_)
    )
    some = tuple(Question(f"q{i}", "Which?", ("prompt",), "") for i in range(questions))
    return Study("id", ("a", "b"), some, made, min(per_rater, pairs_), checks, seed)


@given(st.integers(1, 25), st.integers(1, 12), st.integers(0, 6), st.integers(1, 3), st.integers(0, 9))
def test_every_rater_has_a_fair_share(n: int, per_rater: int, checks: int, questions: int, seed: int) -> None:
    study, shown = plan(n, per_rater, checks, questions, seed), Counter[str]()
    for rater in range(7):
        turns = study.turns(rater)
        assert turns == study.turns(rater) == plan(n, per_rater, checks, questions, seed).turns(rater)
        assert len({turn.id for turn in turns}) == len(turns)
        own = [turn for turn in turns if not turn.check]
        for question in study.questions:
            block = [turn for turn in own if turn.question == question]
            assert {t.pair.id for t in block} == set(study.dealt(rater)) and len(block) == study.per_rater
            lefts = Counter(turn.left for turn in block)
            assert abs(lefts["a"] - lefts["b"]) <= 1
        for before, after in pairwise(turns):  # one question after the other
            if before.question != after.question:
                assert all(turn.question != before.question for turn in turns[turns.index(after) :])
        found = [turn for turn in turns if turn.check]
        assert len(found) == checks and not turns[0].check
        if checks >= 2:
            assert {"left" if turn.left == "torn" else "right" for turn in found} == {"left", "right"}
        shown.update(study.dealt(rater))
        counts = [shown[pair.id] for pair in study.pairs]
        assert max(counts) - min(counts) <= 1


def test_raters_differ_in_order_and_ids(tmp_path: Path) -> None:
    study = plan(12, 12, 2, 1)
    one, other = study.turns(0), study.turns(1)
    assert not {turn.id for turn in one} & {turn.id for turn in other}
    assert [turn.pair.id for turn in one] != [turn.pair.id for turn in other]
    assert [t.pair.id for t in plan(12, 12, 2, 1, seed=1).turns(0)] != [t.pair.id for t in one]


@pytest.mark.parametrize(
    ("settings", "words"), [({"per_rater": 0}, "--per-rater 0"), ({"checks": -1}, "--checks -1"),
                            ({"refs": Path("nowhere")}, "--refs is a folder")]
)  # fmt: skip
def test_settings_are_checked(tmp_path: Path, settings: dict[str, object], words: str) -> None:
    a, b, _ = two_sides(tmp_path, prompts=1, seeds=1)
    with pytest.raises(InputError, match=words):
        make(a, b, tmp_path / "study", **settings)
    assert not (tmp_path / "study").exists()


def test_what_is_no_study_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study"):
        Study.load(tmp_path)
    (tmp_path / "study.json").write_text('{"format": 1, "names": ["a"]}')
    with pytest.raises(InputError, match="damaged"):
        Study.load(tmp_path)


@pytest.mark.parametrize("there", [False, True])
def test_a_picture_cut_short_leaves_no_half_study(tmp_path: Path, there: bool) -> None:
    a, b, photos = two_sides(tmp_path)
    last = max(b.rglob("*.png"))
    last.write_bytes(last.read_bytes()[:100])
    output = tmp_path / "study"
    if there:
        output.mkdir()
        (output / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=last.name):
        make(a, b, output, refs=photos)
    assert sorted(path.name for path in output.rglob("*")) == ["notes.txt"] * there
    assert output.exists() == there
