"""The alignment of two prompts: the card's anchors, its tie rule, whole words, and both tails of replace."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edit_pieces import LENGTH, tokens
from motif.edit.alignment import aligned, chosen, dropped, places, refined, replaced, units
from motif.errors import InputError
from pieces import concept_of


def pairs(source: str, target: str) -> dict[int, int | None]:
    """{target position: source position}, both ends included (a word is a token here)."""
    return dict(enumerate(aligned(units(tokens(source)), units(tokens(target)))))


MIRROR = "a cat sitting next to a mirror"


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (MIRROR, "a silver cat sculpture sitting next to a mirror",
         [0, 1, None, 2, None, 3, 4, 5, 6, 7, 8]),
        (MIRROR, "a tiger sitting next to a mirror", [0, 1, None, 3, 4, 5, 6, 7, 8]),
        (MIRROR, "watercolor painting of a cat sitting next to a mirror",
         [0, None, None, None, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("a a b", "a b", [0, 1, 3, 4]),
        ("a b", "a a b", [0, 1, None, 2, 3]),
    ],
)  # fmt: skip
def test_the_card_s_anchors(source, target, expected):
    assert pairs(source, target) == dict(enumerate(expected))


words = st.lists(st.sampled_from("a b c d e".split()), min_size=1, max_size=7).map(" ".join)


@given(words, words)
def test_an_alignment_is_in_order_and_matches_equals(source, target):
    before, after = units(tokens(source)), units(tokens(target))
    found = aligned(before, after)
    kept = [i for i in found if i is not None]
    assert kept == sorted(set(kept))
    assert all(before[i].key == after[j].key for j, i in enumerate(found) if i is not None)
    assert found[0] == 0 and found[-1] == len(before) - 1  # the ends


@given(words)
def test_the_same_prompt_is_the_identity(prompt):
    mine = tokens(prompt)
    for carried in (refined(mine, mine), replaced(mine, mine), replaced(mine, mine, tail="official")):
        maps = torch.rand(2, 5, LENGTH)
        assert torch.equal(carried.carry(maps, torch.zeros_like(maps)), maps)


def test_refine_keeps_new_words_and_padding():
    carried = refined(tokens("a cat"), tokens("a silver cat"))
    source, target = torch.arange(20.0), -torch.arange(20.0)
    assert carried.carry(source, target).tolist() == [0, 1, -2, 2, 3, *range(5, 20)]


def test_replace_shares_a_word_among_its_tokens_and_keeps_the_tail():
    before, after = tokens("a cat on a mat"), tokens("a zebra on a mat", {"zebra": 2})
    matrix = replaced(before, after).matrix
    assert matrix[2, 2] == matrix[2, 3] == 0.5
    assert all(matrix[i, i + 1] == 1 for i in range(3, LENGTH - 1))
    assert matrix.sum(0)[[0, 1, *range(4, LENGTH)]].eq(1).all()


def test_the_official_tail_loses_a_word():
    before, after = tokens("a cat on a mat"), tokens("a zebra on a mat", {"zebra": 2})
    matrix = replaced(before, after, tail="official").matrix
    assert matrix[2, 2] == matrix[2, 3] == 0.5
    assert all(matrix[i, i] == 1 for i in range(4, LENGTH))
    assert matrix[3].sum() == 0  # "on"


def test_replace_by_a_shorter_word():
    before, after = tokens("a zebra on a mat", {"zebra": 2}), tokens("a cat on a mat")
    matrix = replaced(before, after).matrix
    assert matrix[2, 2] == matrix[3, 2] == 1
    assert all(matrix[i + 1, i] == 1 for i in range(3, LENGTH - 1))
    assert (matrix.sum(0) > 0).all()


@given(words, words)
def test_replace_wants_as_many_words(source, target):
    before, after = tokens(source), tokens(target)
    if len(source.split()) != len(target.split()):
        with pytest.raises(InputError, match="words"):
            replaced(before, after)
    else:
        matrix = replaced(before, after).matrix
        assert torch.equal(matrix, torch.eye(LENGTH))  # one token a word: every place keeps its own


def test_the_mode_comes_from_the_prompts():
    assert chosen(tokens("a cat"), tokens("a dog")) == "replace"
    assert chosen(tokens("a cat"), tokens("a red cat")) == "refine"
    assert chosen(tokens("a cat"), tokens("a cat")) == "refine"
    assert chosen(tokens("a red cat on grass"), tokens("a blue cat on sand")) == "replace"
    assert chosen(tokens("big big dog"), tokens("very big dog")) == "replace"
    # as many words, and yet nothing is swapped one for one: "red" would lend its map to "cat"
    assert chosen(tokens("a red cat on grass"), tokens("a cat on green grass")) == "refine"
    assert chosen(tokens("a cat in a red hat"), tokens("a black cat in a hat")) == "refine"


def test_what_is_dropped():
    assert dropped(tokens("a golden retriever on grass"), tokens("a dog on grass")) == ["golden", "retriever"]


def test_a_real_tokenizer_s_words_are_aligned_whole(sd1):
    """Here "teapot" is several tokens, "<new1>" three vectors, and a comma a unit of its own."""
    base = sd1.base.wear(concept_of(sd1.base, vectors=3))
    before, after = base.read("a cat, of tea").tokens[0], base.read("a <new1> cat, of tea").tokens[0]
    carried = refined(before, after)
    new = places(after, "<new1>")
    assert len(new) == 3 and carried.shared[new].eq(0).all()
    for word in ("a", "cat", "of", "tea"):
        assert carried.origin[places(after, word)].tolist() == places(before, word)
        assert carried.shared[places(after, word)].eq(1).all()
    assert carried.shared.sum() == len(carried.shared) - 3
    assert carried.origin[after.end] == before.end


def test_a_learned_word_in_a_word_s_place_is_refined(sd1):
    base = sd1.base.wear(concept_of(sd1.base))
    assert chosen(base.read("a cat").tokens[0], base.read("a <new1>").tokens[0]) == "refine"
    assert chosen(base.read("a <new1>").tokens[0], base.read("a cat").tokens[0]) == "replace"


def test_words_are_found_wherever_they_stand():
    assert places(tokens("a cat and a cat"), "cat") == [2, 5]
    with pytest.raises(InputError, match="dog"):
        places(tokens("a cat"), "dog")
