"""What goes out comes back: every format, every family, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from foreign_files import learned, same
from motif.errors import InputError, WrongBase
from motif.interop import FORMATS
from motif.interop.incoming import read_files
from motif.interop.outgoing import WRITERS, write_files
from motif.learn.compress import compress
from motif.weights import Change, is_cross
from pieces import concept_of


def files_of(folder, to):
    """What `import` is given of an export: words and weights, each once."""
    found = sorted(folder.rglob("*.safetensors"))
    return [path for path in found if not (to == "diffusers" and "custom_diffusion" in path.name)]


def test_the_formats_of_the_command_line_are_the_formats_that_are_written():
    assert list(WRITERS) == list(FORMATS)


@pytest.mark.parametrize("to", FORMATS)
def test_a_learned_concept_comes_back_bit_for_bit(model, to, tmp_path):
    concept = learned(model.base, concept_of(model.base))
    write_files(concept, tmp_path, to=to, base=model.base)
    back = read_files(files_of(tmp_path, to), model.base, noun=["cat"])
    assert same(back, concept)
    assert back.record.method == "import" and back.record.nouns == {"<new1>": "cat"}
    assert back.record.base == model.base.origin
    model.base.wear(back)


@pytest.mark.parametrize("to", ["diffusers", "adobe"])
def test_whole_weights_of_any_change_are_worn_bit_for_bit(small, to, tmp_path):
    """W₀ + Δ is rounded once on the way out, and W − W₀ adds up to the same."""
    concept = concept_of(small.base, size=0.7)
    write_files(concept, tmp_path, to=to, base=small.base)
    path = tmp_path / (
        "delta.safetensors" if to == "adobe" else "pytorch_custom_diffusion_weights.safetensors"
    )
    back = read_files([path], small.base)
    ours, theirs = small.base.wear(concept), small.base.wear(back)
    assert ours.weights.keys() == theirs.weights.keys()
    for name, weight in ours.weights.items():
        assert torch.equal(theirs.weights[name], weight), name
        gap = (back.changes[name].full() - concept.changes[name].full()).abs()
        assert (gap <= 2**-23 * torch.maximum(weight.abs(), concept.changes[name].full().abs())).all(), name


@pytest.mark.parametrize("to", ["lora", "kohya", "a1111"])
def test_a_lora_of_any_change_is_exact(small, to, tmp_path):
    concept = concept_of(small.base, size=0.7)
    write_files(concept, tmp_path, to=to)
    assert same(read_files(files_of(tmp_path, to), small.base), concept)


@pytest.mark.parametrize("to", FORMATS)
def test_a_compressed_concept_stays_small_and_exact(small, to, tmp_path):
    concept = compress(concept_of(small.base), energy=0.5)
    ranks = {len(change.down) for change in concept.changes.values() if change.down is not None}
    assert len(ranks) > 1, "ranks differ by layer: what alphas are lost over"
    write_files(concept, tmp_path, to=to, base=small.base)
    back = read_files(files_of(tmp_path, to), small.base)
    if to == "kohya" or to == "a1111":  # padded to common ranks: a larger sum of the same products
        gaps = [(back.changes[n].full() - c.full()).abs().max() for n, c in concept.changes.items()]
        assert max(gaps) < 1e-7
    else:
        assert same(back, concept)
        assert all(back.changes[n].dense is None for n in concept.changes)


@pytest.mark.parametrize("to", FORMATS)
def test_several_words_of_several_vectors(small, to, tmp_path):
    two = [concept_of(small.base, token, vectors=1 if to == "adobe" else 3, seed=i).tokens
           for i, token in enumerate(["<a/b>", "<a_b>"])]  # fmt: skip
    concept = replace(concept_of(small.base), tokens={**two[0], **two[1]})
    write_files(concept, tmp_path, to=to, base=small.base)
    back = read_files(files_of(tmp_path, to), small.base)
    assert set(back.tokens) == set(concept.tokens)
    for token, parts in concept.tokens.items():
        assert all(torch.equal(x, y) for x, y in zip(back.tokens[token], parts, strict=True))


@pytest.mark.parametrize("to", FORMATS)
def test_a_word_alone_and_weights_alone(sd1, to, tmp_path):
    word = replace(concept_of(sd1.base), changes={})
    write_files(word, tmp_path / "word", to=to, base=sd1.base)
    assert same(read_files(files_of(tmp_path / "word", to), sd1.base), word)
    weights = learned(sd1.base, concept_of(sd1.base, None))
    write_files(weights, tmp_path / "weights", to=to, base=sd1.base)
    assert same(read_files(files_of(tmp_path / "weights", to), sd1.base), weights)


@pytest.mark.parametrize("to", ["diffusers", "lora", "adobe"])
def test_faces_queries_outputs_and_biases(small, to, tmp_path):
    own = {name: weight for name, weight in small.base.models.own.items() if is_cross(name)}
    changes = {name: Change(dense=0.1 * torch.randn(w.shape) * w.abs()) for name, w in own.items()}
    assert any(name.endswith("to_out.0.bias") for name in changes)
    concept = learned(small.base, replace(concept_of(small.base), changes=changes))
    write_files(concept, tmp_path, to=to, base=small.base)
    assert same(read_files(files_of(tmp_path, to), small.base), concept)


@pytest.mark.parametrize("to", ["lora", "kohya"])
def test_a_lora_holds_text_encoders_and_convolutions(small, to, tmp_path):
    def held(name):
        return name.endswith("weight") and (
            (name.startswith("text") and ("proj" in name or "fc1" in name))
            or ".conv1." in name
            or "proj_in" in name
        )

    own = {name: weight for name, weight in small.base.models.own.items() if held(name)}
    assert any(weight.dim() == 4 for weight in own.values()) and any(name.startswith("text") for name in own)
    concept = replace(
        concept_of(small.base), changes={n: Change(dense=torch.randn(w.shape)) for n, w in own.items()}
    )
    write_files(concept, tmp_path, to=to)
    assert same(read_files(files_of(tmp_path, to), small.base), concept)


@pytest.mark.parametrize(
    ("to", "name"),
    [("adobe", "unet.conv_in.weight"), ("lora", "unet.conv_norm_out.weight"), ("kohya", "unet.conv_in.bias"),
     ("lora", "unet.conv_in.bias"), ("diffusers", "unet.conv_norm_out.weight")],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused_and_nothing_is_written(sd1, to, name, tmp_path):
    change = Change(dense=torch.ones_like(sd1.base.models.parameter(name)))
    concept = replace(concept_of(sd1.base), changes={name: change})
    with pytest.raises(InputError, match=name):
        write_files(concept, tmp_path / "out", to=to, base=sd1.base)
    assert not (tmp_path / "out").exists()


def test_the_official_delta_has_one_vector_per_token(sd1, tmp_path):
    with pytest.raises(InputError, match=r"3 vectors.*--to diffusers"):
        write_files(concept_of(sd1.base, vectors=3), tmp_path, to="adobe", base=sd1.base)


def test_whole_weights_need_the_concepts_own_base(sd1, sdxl, tmp_path):
    with pytest.raises(WrongBase):
        write_files(concept_of(sd1.base), tmp_path, to="adobe", base=sdxl.base)
    with pytest.raises(InputError, match="base"):
        write_files(concept_of(sd1.base), tmp_path, to="diffusers")


def test_a_folder_of_somebody_elses_is_left_alone_and_an_export_is_replaced(sd1, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"README\.md.*another folder"):
        write_files(concept_of(sd1.base), tmp_path, to="lora")
    assert page.read_text(encoding="utf-8") == "mine" and len(list(tmp_path.iterdir())) == 1
    page.unlink()
    first = write_files(concept_of(sd1.base), tmp_path, to="lora")
    again = write_files(concept_of(sd1.base, seed=5), tmp_path, to="lora")
    assert first == again and same(
        read_files(files_of(tmp_path, "lora"), sd1.base), concept_of(sd1.base, seed=5)
    )


def test_nothing_that_is_written_is_a_pickle(sd1, tmp_path):
    for to in FORMATS:
        for path in write_files(concept_of(sd1.base), tmp_path / to, to=to, base=sd1.base):
            assert path.suffix in {".safetensors", ".md"}
