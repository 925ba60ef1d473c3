"""Concepts as files: what is loaded is what was saved, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from motif.concept import Concept, Record
from motif.errors import InputError
from motif.origin import Origin
from motif.weights import Change

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
BASE = Origin("pocket", "0123456789abcdef", (1.5, 2.25, 1e-8))


@st.composite
def tensors(draw, *shape: int) -> torch.Tensor:
    seed, dtype = draw(st.integers(0, 2**16)), draw(st.sampled_from(DTYPES))
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@st.composite
def changes(draw) -> Change:
    out, into, rank = (draw(st.integers(1, 5)) for _ in range(3))
    if draw(st.booleans()):
        return Change(dense=draw(tensors(out, into)))
    return Change(up=draw(tensors(out, rank)), down=draw(tensors(rank, into)))


@st.composite
def concepts(draw) -> Concept:
    names = draw(st.lists(st.from_regex(r"<[a-z0-9é/*-]{1,8}>", fullmatch=True), unique=True, max_size=3))
    encoders, vectors = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    tokens = {name: tuple(draw(tensors(vectors, 3 + i)) for i in range(encoders)) for name in names}
    parameter = st.from_regex(r"(unet|text_encoder)(\.[a-z0-9_]{1,6}){1,3}\.weight", fullmatch=True)
    settings = st.dictionaries(
        st.text(max_size=8),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(),
            st.tuples(st.integers()),
        ),
        max_size=4,
    )
    return Concept(
        tokens,
        draw(st.dictionaries(parameter, changes(), max_size=3)),
        Record(
            draw(st.text(max_size=12)), BASE, {name: draw(st.text(max_size=5)) for name in names},
            draw(st.lists(st.text(min_size=1), max_size=2)), draw(settings), {"torch": "2.13.0"},
        ),
    )  # fmt: skip


def cat(scale: float = 1.0) -> Concept:
    change = Change(dense=scale * torch.ones(2, 3))
    return Concept(
        {"<new1>": (torch.ones(1, 4),)}, {"unet.a.weight": change}, Record("test", BASE, {"<new1>": "cat"})
    )


@given(concept=concepts())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_loading_gives_what_was_saved(concept, tmp_path):
    path = concept.save(tmp_path / "deep" / "c.safetensors")
    assert Concept.load(path) == concept
    first = path.read_bytes()
    assert Concept.load(path).save(path).read_bytes() == first


def test_a_file_from_before_the_signs_is_read(tmp_path):
    path, old = cat().save(tmp_path / "c.safetensors"), {"name": "b", "shape": "0", "norms": [1, 2.5]}
    header = {"motif.format": "motif.concept/1", "motif.record": json.dumps({"method": "m", "base": old})}
    save_file(load_file(path), path, metadata=header)
    assert Concept.load(path).record.base == Origin("b", "0", (1.0, 2.5))


def test_concepts_differ_by_value_type_and_record():
    assert cat() == cat() and cat() != cat(2.0) and cat() != "cat"
    half = Concept(cat().tokens, {"unet.a.weight": Change(dense=torch.ones(2, 3).half())}, cat().record)
    assert half != cat()
    assert Concept(cat().tokens, cat().changes, Record("other", BASE, {"<new1>": "cat"})) != cat()


def test_a_trained_parameter_is_saved_as_plain_numbers(tmp_path):
    weight = torch.nn.Parameter(torch.ones(4, 6).T)  # wants gradients, and is not contiguous
    concept = Concept({}, {"unet.a.weight": Change(dense=weight)}, cat().record)
    loaded = Concept.load(concept.save(tmp_path / "c.safetensors")).changes["unet.a.weight"].full()
    assert not loaded.requires_grad and torch.equal(loaded, weight.detach())


def test_the_header_tells_other_tools_what_it_is(tmp_path):
    from safetensors import safe_open

    with safe_open(cat().save(tmp_path / "c.safetensors"), framework="pt") as file:
        header = file.metadata()
    assert header["modelspec.trigger_phrase"] == "<new1>" and header["modelspec.title"] == "<new1> cat"
    assert (
        header["modelspec.sai_model_spec"] == "1.0.1"
        and json.loads(header["motif.record"])["method"] == "test"
    )


def test_a_file_of_before_has_its_prompts_in_one_line(tmp_path):
    from safetensors.torch import save_file

    header = cat()._header()
    record = {n: v for n, v in json.loads(header["motif.record"]).items() if n != "prompts"}
    record["prompt"] = "photo of a <new1> cat; a pot"
    save_file(cat()._tensors(), tmp_path / "c.safetensors", {**header, "motif.record": json.dumps(record)})
    assert Concept.load(tmp_path / "c.safetensors").record.prompts == ("photo of a <new1> cat", "a pot")


@given(concept=concepts(), suffix=st.sampled_from(["x", "-2", "é"]))
@settings(max_examples=25)
def test_renaming_changes_the_names_alone_and_back_again(concept, suffix):
    there = {token: f"{token[:-1]}{suffix}>" for token in concept.tokens}
    renamed = concept.renamed(there)
    assert list(renamed.tokens) == [there[token] for token in concept.tokens]
    assert renamed.changes is concept.changes and renamed.record.settings == concept.record.settings
    assert renamed.renamed({new: old for old, new in there.items()}) == concept


def test_a_renamed_concept_names_itself_so():
    record = Record("test", BASE, {"<new1>": "cat"}, ["photo of a <new1> cat, <new10>", "a pot"])
    renamed = Concept(cat().tokens, cat().changes, record).renamed({"<new1>": "<tom>"})
    assert renamed.record.nouns == {"<tom>": "cat"}
    assert renamed.record.prompts == ("photo of a <tom> cat, <new10>", "a pot")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"<new2>": "<a>"}, "no token <new2>"),
        ({"<new1>": "tom"}, '"tom" is no token'),
        ({"<new1>": "<a b>"}, "is no token"),
        ({"<new1>": "<|a|>"}, "is no token"),
        ({"<new1>": "<b>"}, "two tokens"),
    ],
)
def test_a_name_that_cannot_be_is_refused(names, words):
    two = Concept(cat().tokens | {"<b>": (torch.ones(1, 4),)}, {}, cat().record)
    with pytest.raises(InputError, match=words):
        two.renamed(names)


def test_describe_names_tokens_and_sizes():
    told = cat().describe()
    assert told["tokens"] == {"<new1>": "1 vector"} and told["nouns"] == {"<new1>": "cat"}
    assert told["weights"] == "1 changed (dense)" and told["base"] == "pocket"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_save_that_is_stopped_leaves_the_old_file(tmp_path, monkeypatch, error):
    import safetensors.torch

    path = cat().save(tmp_path / "c.safetensors")

    def stopped(tensors: object, part: Path, metadata: object) -> None:
        Path(part).write_bytes(b"half a file")
        raise error("stopped")

    monkeypatch.setattr(safetensors.torch, "save_file", stopped)
    with pytest.raises(InputError if error is OSError else error):
        cat(2.0).save(path)
    monkeypatch.undo()
    assert Concept.load(path) == cat()
    assert list(tmp_path.iterdir()) == [path]


def foreign(path: Path) -> None:
    save_file({"lora_unet.weight": torch.ones(2, 2)}, path)


def other_record(record: object) -> object:
    def make(path: Path) -> None:
        header = {"motif.format": "motif.concept/1"} | (
            {} if record is None else {"motif.record": str(record)}
        )
        save_file({"dense/unet.a.weight": torch.ones(2, 2)}, path, metadata=header)

    return make


def odd_tensor(path: Path) -> None:
    cat().save(path)
    tensors = load_file(path) | {"sparse/unet.b.weight": torch.ones(1)}
    header = {
        "motif.format": "motif.concept/1",
        "motif.record": json.dumps({"method": "m", "base": BASE.__dict__}),
    }
    save_file(tensors, path, metadata=header)


def holding(**tensors: torch.Tensor) -> object:
    """A concept's file with other tensors beside its own; `__` stands for `/`, `new1` for `<new1>`."""

    def make(path: Path) -> None:
        cat().save(path)
        names = {key.replace("__", "/").replace("new", "<new>"): value for key, value in tensors.items()}
        header = {
            "motif.format": "motif.concept/1",
            "motif.record": json.dumps({"method": "m", "base": BASE.__dict__}),
        }
        save_file(load_file(path) | names, path, metadata=header)

    return make


def cut_short(path: Path) -> None:
    path.write_bytes(cat().save(path).read_bytes()[:-7])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such concept file"),
        (lambda path: path.mkdir(), "no such concept file"),
        (lambda path: path.write_bytes(b""), "not a safetensors file"),
        (lambda path: path.write_text("not this"), "not a safetensors file"),
        (cut_short, "cut short"),
        (foreign, "not a motif concept"),
        (other_record(None), "damaged"),
        (other_record("{half"), "damaged"),
        (other_record("[]"), "damaged"),
        (other_record('{"method": "m", "base": {"name": "b"}}'), "damaged"),
        (odd_tensor, "damaged"),
        (holding(token__new__0=torch.tensor(1.0)), "<new> is"),
        (holding(token__new__0=torch.ones(4)), "<new> is"),
        (holding(token__new__0=torch.ones(0, 4)), "<new> is"),
        (holding(token__new__0=torch.ones(1, 4), token__new__1=torch.ones(2, 4)), "same number of vectors"),
        (holding(token__new__1=torch.ones(1, 4)), "damaged"),
        (holding(token__cat__0=torch.ones(1, 4)), '"cat" is no token'),
        (holding(up__a=torch.ones(2, 3), down__a=torch.ones(4, 2)), "have no product"),
        (holding(up__a=torch.ones(2), down__a=torch.ones(4, 2)), "have no product"),
        (holding(dense__a=torch.tensor([1.0, float("nan")])), "dense/a is not finite"),
        (holding(token__new__0=torch.full((1, 4), float("inf"))), "token/<new>/0 is not finite"),
    ],
    ids=[
        "absent",
        "folder",
        "empty",
        "text",
        "cut",
        "foreign",
        "no record",
        "bad json",
        "list",
        "half base",
        "odd tensor",
        "a number for a token",
        "a flat token",
        "no vectors",
        "encoders differ",
        "first encoder lost",
        "no brackets",
        "no product",
        "flat product",
        "nan",
        "infinite token",
    ],
)
def test_what_is_no_concept_is_refused_in_one_line(tmp_path, make, words):
    path = tmp_path / "c.safetensors"
    make(path)
    with pytest.raises(InputError, match=words) as error:
        Concept.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_fingerprint_is_of_what_was_learned():
    half = Concept(cat().tokens, {"unet.a.weight": Change(dense=torch.ones(2, 3).half())}, cat().record)
    others = [cat(2.0), half, cat().renamed({"<new1>": "<new2>"})]
    assert len({concept.fingerprint for concept in (cat(), cat(), *others)}) == 4


def test_an_origin_knows_itself_in_float16_and_not_another():
    near = Origin("copy", BASE.shape, tuple(norm * 1.0005 for norm in BASE.norms))
    assert BASE.same_weights(near) and near.same_weights(BASE)
    assert not BASE.same_weights(Origin("other", BASE.shape, (1.5, 2.3, 1e-8)))
    assert not BASE.same_weights(Origin("other", "f" * 16, BASE.norms))
    assert not BASE.same_weights(Origin("fewer", BASE.shape, BASE.norms[:2]))
