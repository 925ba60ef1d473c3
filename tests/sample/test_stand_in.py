"""The auxiliary prompt says the same with another noun, and both prompts know where their words are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from motif.errors import InputError
from motif.sample.stand_in import KINDS, Pair, positions
from pieces import concept_of


class Wears:
    """A base as far as prompts go: tokens with vectors, nouns, a tokenizer."""

    def __init__(self, **nouns: str) -> None:
        from motif.text import Reader

        self.nouns = {f"<{name}>": noun for name, noun in nouns.items()}
        self.vectors = dict.fromkeys(self.nouns, 2)
        self.reader = Reader(tiny.tokenizer(), Sized())

    def tokenise(self, prompts):
        return [[self.reader.tokenise(prompt, self.vectors) for prompt in prompts]]


class Sized:
    class config:
        max_position_embeddings = 200

    model_max_length = 200


@pytest.fixture
def cat():
    return wears(new1="cat")


def wears(**nouns: str) -> Wears:
    found = Wears(**nouns)
    found.reader.tokenizer.model_max_length = 77
    return found


def words(prompt: str, spans) -> list[str]:
    return [prompt[a:b] for a, b in spans]


@pytest.mark.parametrize(
    ("prompt", "given_words", "aux", "concept", "stand_ins"),
    [
        ("A <new1> cat in times square", (), "A dog in times square", ["<new1>", "cat"], ["dog"]),
        ("a <new1> cat", ["<new1> cat=fox"], "a fox", ["<new1>", "cat"], ["fox"]),
        ("a <new1> cat", ["<new1>=fox"], "a fox", ["<new1>", "cat"], ["fox"]),
        ("a <new1> cat", ["fox"], "a fox", ["<new1>", "cat"], ["fox"]),
        ("a <new1> cat", {"<new1> cat": "red fox"}, "a red fox", ["<new1>", "cat"], ["red fox"]),
        ("a <new1> cat", ["owl"], "an owl", ["<new1>", "cat"], ["owl"]),
        ("a <new1> cat next to a dog", (), "a duck next to a dog", ["<new1>", "cat"], ["duck"]),
        ("a <new1> cat next to two dogs", (), "a duck next to two dogs", ["<new1>", "cat"], ["duck"]),
        ("a <new1> fluffy Cat, cat", (), "a fluffy dog, cat", ["<new1>", "Cat"], ["dog"]),
        ("a <new1> orange cat", (), "an orange dog", ["<new1>", "cat"], ["dog"]),
        ("<new1> sleeps in the sun", (), "dog sleeps in the sun", ["<new1>"], ["dog"]),
        ("a <new1>, a cat", (), "a dog, a cat", ["<new1>"], ["dog"]),
        ("a <new1> cat, a <new1> cat", (), "a dog, a dog", ["<new1>", "cat"] * 2, ["dog"] * 2),
        ("two <new1> cats, a cat", (), "two dogs, a cat", ["<new1>", "cat"], ["dog"]),
        ("a <new1> category", (), "a dog category", ["<new1>"], ["dog"]),
        ("a <new1> cat on a sofa", ["cat=fox", "sofa=bench"], None, None, None),
        ("a <new1> cat on a sofa", ["<new1>=fox", "sofa=bench"], "a fox on a bench",
         ["<new1>", "cat", "sofa"], ["fox", "bench"]),
    ],
)  # fmt: skip
def test_the_concept_is_replaced_and_nothing_else(cat, prompt, given_words, aux, concept, stand_ins):
    if (
        aux is None
    ):  # "cat" alone lies inside the concept: the learned word would be left in the auxiliary prompt
        with pytest.raises(InputError, match="<new1>"):
            Pair.of(cat, prompt, given_words)
        return
    pair = Pair.of(cat, prompt, given_words)
    assert (pair.main, pair.aux) == (prompt, aux)
    assert words(pair.main, pair.concept) == concept
    assert words(pair.aux, pair.stand_in) == stand_ins


def test_two_concepts_have_two_stand_ins():
    base = wears(new1="cat", new2="dog")
    pair = Pair.of(base, "a <new1> cat and a <new2> dog", ["<new2> dog=bear"])
    assert pair.aux == "a duck and a bear"
    assert words(pair.aux, pair.stand_in) == ["duck", "bear"]
    assert words(pair.main, pair.concept) == ["<new1>", "cat", "<new2>", "dog"]
    twins = Pair.of(wears(new1="cat", new2="cat"), "a <new1> cat and a <new2> cat on a <new1> cat")
    assert twins.aux == "a dog and a duck on a dog"


def test_a_run_of_tokens_is_one_concept():
    pair = Pair.of(wears(a="tortoise plushy", b=""), "a <a> <b> tortoise plushy on a rock")
    assert words(pair.main, pair.concept) == ["<a> <b>", "tortoise plushy"]
    assert pair.aux == "a snowman on a rock"


def test_every_vector_and_every_piece_of_a_noun_is_in_the_span():
    """The card's worked example, with this tokenizer's pieces: <a> has two vectors, the noun is cut to letters."""
    base = wears(a="tortoise plushy")
    prompt = "A <a> tortoise plushy in tea"
    (tokens,) = base.tokenise([prompt])[0]
    where = positions(tokens, Pair.of(base, prompt).concept)
    assert where == tuple(range(2, where[-1] + 1))  # behind the begin token and "A"
    assert {tokens.chars[i] for i in where[:2]} == {(2, 5)}
    noun = tokens.span("tortoise plushy")
    assert noun.stop - noun.start > 2 and where[2:] == tuple(range(noun.start, noun.stop))


@given(
    kind=st.sampled_from(sorted(KINDS)),
    index=st.integers(0, 50),
    tail=st.sampled_from(["", " next to a dog"]),
)
def test_a_noun_gets_a_noun_of_its_kind_that_differs(kind, index, tail):
    nouns = KINDS[kind].split()
    noun = nouns[index % len(nouns)]
    prompt = f"a <new1> {noun}{tail}"
    pair = Pair.of(wears(new1=noun), prompt)
    (stand_in,) = words(pair.aux, pair.stand_in)
    assert stand_in not in re.findall(r"\w+", prompt)
    assert any({noun, stand_in} <= set(group.split()) for group in KINDS.values())


def test_a_noun_of_no_known_kind_gets_a_cat_and_a_note(caplog):
    caplog.set_level("INFO", "motif")
    assert Pair.of(wears(new1="gizmo"), "a <new1> gizmo").aux == "a cat"
    assert "gizmo" in caplog.text


@pytest.mark.parametrize(
    ("prompt", "given_words", "says"),
    [
        ("a cat", (), "no learned token"),
        ("a <new1> cat", ["cat"], "another noun"),
        ("a <new1> cat", ["<new1> cat=Cat"], "another noun"),
        ("a <new1> cat", ["dog=fox"], "not in the prompt"),
        ("a <new1> cat", ["<new1> cat="], "ordinary noun"),
        ("a <new1> cat", ["<new1>=<new1>"], "ordinary noun"),
        ("a <new1> cat", ["<new1>=fox", "<new1>=bear"], "two stand-ins"),
        ("a <new1> fluffy cat", ["<new1>=fox", "fluffy cat=bear"], "overlap"),
        ("a <bare> thing", (), "no noun"),
    ],
)  # fmt: skip
def test_what_cannot_stand_in_is_refused(prompt, given_words, says):
    with pytest.raises(InputError, match=says):
        Pair.of(wears(new1="cat", bare=""), prompt, given_words)


def test_words_behind_the_last_token_are_refused(sd1):
    base = sd1.base.wear(concept_of(sd1.base))
    prompt = "a <new1> " + "x " * 9 + "cat"
    (tokens,) = base.tokenise([prompt + " teapots are here too"])[0]
    with pytest.raises(InputError, match="shorten"):
        positions(tokens, [(len(prompt) + 16, len(prompt) + 20)])


@pytest.mark.parametrize(
    ("prompt", "main", "rest"),
    [
        ("a photo of a <new1> cat in the snow", "a <new1> cat", "a photo in the snow"),
        ("<new1> cats carved from ice", "<new1> cats", "carved from ice"),
        ("The <new1> fluffy cat, on a sofa", "The <new1> fluffy cat", "on a sofa"),
        ("snow on <new1>", "<new1>", "snow on"),
    ],
)
def test_a_prompt_is_cut_apart(cat, prompt, main, rest):
    pair = Pair.apart(cat, prompt)
    assert (pair.main, pair.aux, pair.stand_in) == (main, rest, ())
    assert words(main, pair.concept) == [word for word in ("<new1>", "cat") if word in main]


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a cat", "names 0"),
        ("a <new1> cat, a <new1> cat", "names 2"),
        ("a photo of a <new1> cat", None),
        ("a <new1> cat.", "nothing but"),
    ],
)
def test_what_cannot_be_cut_apart_is_refused(cat, prompt, says):
    if says is None:
        assert Pair.apart(cat, prompt).aux == "a photo"
        return
    with pytest.raises(InputError, match=says):
        Pair.apart(cat, prompt)
