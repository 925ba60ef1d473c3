"""Prompts: stock encoding where nothing is learned, learned vectors in their places, words found where they stand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from motif.errors import InputError
from motif.text import STAND_IN, Reader, Tokens
from pieces import concept_of

PROMPTS = [
    "",
    "photo of a cat",
    "Two CATS,  a teapot & café au lait ☕ — 漢字!",
    "it's o'clock: 12:30",
    "x " * 40,
]


@pytest.fixture(scope="module")
def reader() -> Reader:
    import tiny

    pipe = tiny.pipeline("sd1")
    return Reader(pipe.tokenizer, pipe.text_encoder.requires_grad_(False).eval())


def cut(reader: Reader, prompt: str, **lengths: int) -> Tokens:
    return reader.tokenise(prompt, {f"<{name}>": n for name, n in lengths.items()})


# -- without learned tokens: the stock encoder ---------------------------------------------------------------------


@pytest.mark.parametrize("prompt", PROMPTS)
def test_ids_are_the_tokenizers_own(model, prompt):
    for reader in model.base.models.readers:
        stock = reader.tokenizer(prompt, padding="max_length", truncation=True, max_length=reader.length)
        assert list(reader.tokenise(prompt, {}).ids) == stock["input_ids"]


@example("\x1f")  # white space for Python, a character for the tokenizer
@given(st.text(max_size=40))
def test_ids_are_the_tokenizers_own_for_any_text(prompt):
    reader = _plain_reader()
    if "<" in prompt and ">" in prompt:
        prompt = prompt.replace("<", "(")
    stock = reader.tokenizer(prompt, padding="max_length", truncation=True, max_length=reader.length)
    tokens = reader.tokenise(prompt, {})
    assert list(tokens.ids) == stock["input_ids"]
    assert len(tokens.ids) == len(tokens.chars) == reader.length
    assert tokens.ids[tokens.end] == reader.tokenizer.eos_token_id
    assert all(c is None or 0 <= c[0] <= c[1] <= len(prompt) for c in tokens.chars)


def _plain_reader() -> Reader:
    global _READER
    if _READER is None:
        import tiny

        tokens = tiny.tokenizer()
        encoder = type("Encoder", (), {"config": type("C", (), {"max_position_embeddings": tiny.LENGTH})})
        _READER = Reader(tokens, encoder)
    return _READER


_READER: Reader | None = None


@pytest.mark.parametrize("prompts", [["photo of a cat"], ["a cat", "the beach at night, in the rain"]])
def test_encoding_is_diffusers_own_bit_for_bit(model, prompts):
    with torch.no_grad():
        text = model.base.read(prompts)
        theirs = model.stock.encode_prompt(
            prompt=prompts,
            device=torch.device("cpu"),
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
    assert torch.equal(text.states, theirs[0])
    if model.family == "sdxl":
        assert torch.equal(text.pooled, theirs[2])
    else:
        assert text.pooled is None


def test_wearing_a_concept_leaves_prompts_without_its_token_alone(model):
    dressed = model.base.wear(concept_of(model.base, vectors=3))
    with torch.no_grad():
        for prompt in PROMPTS:
            assert torch.equal(dressed.read(prompt).states, model.base.read(prompt).states)


@pytest.mark.parametrize("negative", ["", "blurry, bad"])
def test_the_unconditional_side_is_diffusers_own(model, negative):
    with torch.no_grad():
        ours = model.base.read_uncond(negative)
        theirs = model.stock.encode_prompt(
            prompt="a cat", device=torch.device("cpu"), num_images_per_prompt=1, do_classifier_free_guidance=True,
            negative_prompt=negative or None,
        )  # fmt: skip
    assert torch.equal(ours.states, theirs[1])
    if model.family == "sdxl":
        assert torch.equal(ours.pooled, theirs[3])


# -- learned tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt", ["<a>", "a <a> cat", "cat<a>", "<a>cat", "my(<a>)", "<a><a>", "<a> <b>", "<b><a>."]
)
def test_learned_tokens_take_their_places_wherever_they_stand(reader, prompt):
    tokens = cut(reader, prompt, a=3, b=1)
    wanted = [(name, i) for name in _tokens(prompt) for i in range({"<a>": 3, "<b>": 1}[name])]
    assert [(token, i) for _, token, i in tokens.splices] == wanted
    assert all(tokens.ids[position] == STAND_IN for position, _, _ in tokens.splices)
    ordinary = [
        i for p, i in enumerate(tokens.ids[1 : tokens.end], 1) if p not in {s[0] for s in tokens.splices}
    ]
    pieces = prompt.replace("<a>", "\0").replace("<b>", "\0").split("\0")
    assert ordinary == [
        i for piece in pieces for i in reader.tokenizer(piece, add_special_tokens=False)["input_ids"]
    ]


def _tokens(prompt: str) -> list[str]:
    import re

    return re.findall(r"<.>", prompt)


def test_a_learned_vector_equal_to_an_embedding_reads_as_that_word(model):
    """The splice is exact: <new1> holding the vectors of "cat" is the word "cat"."""
    parts, pieces = [], 0
    for reader in model.base.models.readers:
        ids = reader.tokenizer("cat", add_special_tokens=False)["input_ids"]
        parts.append(reader.encoder.get_input_embeddings().weight[ids].detach().clone())
        pieces = len(ids)
    dressed = model.base.dressed({}, {"<new1>": tuple(parts)}, {})
    with torch.no_grad():
        spliced, plain = dressed.read("photo of a <new1> on it"), model.base.read("photo of a cat on it")
    assert pieces >= 1 and torch.equal(spliced.states, plain.states)
    if plain.pooled is not None:
        assert torch.equal(spliced.pooled, plain.pooled)


def test_the_pooled_vector_is_read_at_the_first_end_of_text(sdxl):
    """Also behind learned tokens, whatever stands in for them and whatever follows the end."""
    dressed = sdxl.base.wear(concept_of(sdxl.base, vectors=2))
    second = sdxl.base.models.readers[1]
    with torch.no_grad():
        text = dressed.read("a <new1> cat")
        tokens = second.tokenise("a <new1> cat", {"<new1>": 2})
        _, pooled = second.encode([tokens], {"<new1>": dressed.vectors["<new1>"][1]})
        hidden = []
        hook = second.encoder.text_model.final_layer_norm.register_forward_hook(
            lambda m, i, o: hidden.append(o)
        )
        second.encode([tokens], {"<new1>": dressed.vectors["<new1>"][1]})
        hook.remove()
        wanted = second.encoder.text_projection(hidden[0][:, tokens.end])
    assert (
        tokens.ids[tokens.end] == second.tokenizer.eos_token_id
        and tokens.ids.index(tokens.ids[tokens.end]) == tokens.end
    )
    assert torch.equal(text.pooled, pooled) and torch.allclose(pooled, wanted, atol=1e-6)


def test_gradients_reach_the_learned_vectors_alone(model):
    parts = tuple(torch.randn(2, r.width).requires_grad_() for r in model.base.models.readers)
    dressed = model.base.dressed({}, {"<new1>": parts}, {})
    text = dressed.read(["photo of <new1>", "no such token"])
    assert not torch.autograd.grad(text.states[1].sum(), parts, retain_graph=True, allow_unused=True)[0].any()
    weight = torch.randn(text.states.shape[1:], generator=torch.Generator().manual_seed(0))
    grads = torch.autograd.grad((text.states[0] * weight).sum(), parts)
    assert all(bool(g.abs().sum(1).gt(0).all()) for g in grads)
    for reader in model.base.models.readers:
        assert all(p.grad is None and not p.requires_grad for p in reader.encoder.parameters())
        assert not reader.encoder.get_input_embeddings()._forward_hooks


def test_prompts_of_a_batch_do_not_influence_one_another(model):
    dressed = model.base.wear(concept_of(model.base, vectors=2))
    prompts = ["a <new1> cat", "<new1>", "the beach"]
    with torch.no_grad():
        together = dressed.read(prompts)
        for i, prompt in enumerate(prompts):
            assert torch.allclose(together.states[i], dressed.read(prompt).states[0], atol=1e-5)


def test_an_exception_while_encoding_leaves_no_hook(sd1):
    dressed = sd1.base.dressed({}, {"<new1>": (torch.randn(1, 7),)}, {})  # the wrong width
    with pytest.raises((RuntimeError, IndexError)):
        dressed.read("<new1>")


# -- refusals ------------------------------------------------------------------------------------------------------


def test_a_token_that_nobody_learned_is_refused(model):
    with pytest.raises(InputError, match="names <new1>, but no concept is worn"):
        model.base.read("photo of a <new1> cat")
    dressed = model.base.wear(concept_of(model.base, "<new2>"))
    with pytest.raises(InputError, match="know <new2>"):
        dressed.read("photo of a <new1> cat")
    with pytest.raises(InputError, match="<NEW2>"):
        dressed.read("<NEW2>")


def test_a_token_behind_the_last_position_is_refused(reader):
    room = reader.length - 2
    fits = "x " * (room - 2) + "<a>"
    assert cut(reader, fits, a=2).splices == ((room - 1, "<a>", 0), (room, "<a>", 1))
    with pytest.raises(InputError, match="<a> falls behind"):
        cut(reader, "x " + fits, a=2)
    cut(reader, fits + " and much more that falls away", a=2)


def test_words_behind_the_last_position_are_named_once(caplog, capfd):
    import tiny

    fresh = Reader(tiny.tokenizer(), _plain_reader().encoder)
    prompt = "cat " * (fresh.length - 2) + "beach, cat"
    with caplog.at_level("WARNING"):
        fresh.tokenise("cat " * (fresh.length - 2), {})
        assert not caplog.records
        for _ in range(3):
            fresh.tokenise(prompt, {})
    (record,) = caplog.records
    assert record.name == "motif" and 'from "beach" on' in record.getMessage()
    assert "indexing errors" not in capfd.readouterr().err


def test_a_smaller_than_sign_is_no_token(reader):
    assert not cut(reader, "3 < 4 and 5 > 4, <| |>").splices


# -- words ---------------------------------------------------------------------------------------------------------


def read_back(reader: Reader, tokens: Tokens, span: slice) -> str:
    names = {i: name for name, i in reader.tokenizer.get_vocab().items()}
    return "".join(names[i] for i in tokens.ids[span]).replace("</w>", " ").strip()


def test_a_word_of_several_tokens_is_one_span(reader):
    tokens = cut(reader, "photo of a teapot, a cat")
    assert read_back(reader, tokens, tokens.span("teapot")) == "teapot"
    assert tokens.span("teapot").stop - tokens.span("teapot").start > 1
    assert read_back(reader, tokens, tokens.span("photo of")) == "photo of"
    assert read_back(reader, tokens, tokens.span("PHOTO  of a")) == "photo of a"
    assert tokens.span("a").stop < tokens.span("a", occurrence=1).start


def test_learned_tokens_have_spans_too(reader):
    tokens = cut(reader, "a cat<a>, <a> cat", a=2)
    assert tokens.span("<a>") == slice(tokens.splices[0][0], tokens.splices[1][0] + 1)
    assert tokens.span("<a>", occurrence=1) == slice(tokens.splices[2][0], tokens.splices[3][0] + 1)
    assert tokens.span("<a> cat").stop == tokens.span("cat", occurrence=1).stop
    assert tokens.span(",").stop - tokens.span(",").start == 1


@pytest.mark.parametrize("phrase", ["ca", "at", "dog", "a", "my", "", "  ", "new"])
def test_only_whole_words_are_found(reader, phrase):
    with pytest.raises(InputError, match="is not in the prompt"):
        cut(reader, "cat <my-new>", **{"my-new": 1}).span(phrase)


def test_a_second_occurrence_that_is_not_there_is_refused(reader):
    with pytest.raises(InputError, match='"cat" is not in the prompt'):
        cut(reader, "a cat").span("cat", occurrence=1)


def test_a_word_behind_the_last_position_says_so(reader):
    with pytest.raises(InputError, match="shorten the prompt"):
        cut(reader, "x " * 30 + "cat").span("cat")


def test_words_lists_every_word_with_its_place(reader):
    tokens = cut(reader, "photo of my<a> cat, now", a=2)
    words = tokens.words()
    assert [word for word, _ in words] == ["photo", "of", "my", "<a>", "cat", "now"]
    for word, span in words:
        assert span == tokens.span(word)


@given(
    st.lists(st.sampled_from(["cat", "teapot", "<a>", "café", "ugly", "the", "☕"]), min_size=1, max_size=5)
)
def test_spans_of_words_follow_one_another(words):
    reader = _plain_reader()
    tokens = reader.tokenise(" ".join(words), {"<a>": 2})
    last = 1
    for word, span in tokens.words():
        assert span.start >= last or span.start == last
        assert span.stop > span.start
        last, _ = span.stop, word


def test_text_finds_the_words_of_each_image(model):
    text = model.base.read(["a cat", "the old cat"])
    assert text.span("cat", image=0) != text.span("cat", image=1)
    assert len(text) == 2


def test_a_vocabulary_entry_is_found_by_name(reader):
    vocabulary = reader.tokenizer.get_vocab()
    assert reader.token_id("ktn") == vocabulary["ktn</w>"]
    assert reader.token_id("of") == vocabulary["of</w>"]
    assert reader.token_id("t") == vocabulary["t"]
    with pytest.raises(InputError, match="not an entry"):
        reader.token_id("zebra")
