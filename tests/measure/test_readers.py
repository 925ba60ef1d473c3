"""Readers of benchmarks, on fixtures of their own form and a few lines long."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motif.errors import InputError
from motif.measure.readers import (
    concept_pairs,
    decoded_mask,
    dreambench,
    dreambench_prompts,
    pie_bench,
    single_concepts,
)

CASE = {
    "image_path": "1_change_object_80/1_artificial/1_animal/111000000000.jpg",
    "original_prompt": "a [cat] sitting on a bench",
    "editing_prompt": "a [dog] sitting on a bench",
    "editing_instruction": "Change the cat to a dog",
    "editing_type_id": "1",
    "blended_word": "cat dog",
    "mask": [0, 3, 512 * 2 + 5, 4, 512 * 512 - 2, 10],
}


def written(folder, cases):
    (folder / "mapping_file.json").write_text(json.dumps(cases))
    return folder


def test_a_case_is_read(tmp_path):
    other = {**CASE, "editing_type_id": "9", "blended_word": "", "mask": []}
    first, second = pie_bench(written(tmp_path, {"111000000000": CASE, "911000000001": other}))
    assert (first.name, first.kind, first.blend) == ("111000000000", "change object", ("cat", "dog"))
    assert (first.source, first.target) == ("a cat sitting on a bench", "a dog sitting on a bench")
    assert first.photo == tmp_path / "annotation_images" / CASE["image_path"]
    assert (second.kind, second.blend) == ("change style", None)
    mask = np.asarray(first.mask())
    assert mask.shape == (512, 512) and set(np.unique(mask)) == {0, 255}
    assert np.flatnonzero(mask[2, 1:-1]).tolist() == [4, 5, 6, 7]  # 5 to 8, behind the frame's column
    assert (np.asarray(second.mask())[1:-1, 1:-1] == 0).all()


@given(st.lists(st.booleans(), min_size=64, max_size=64))
def test_runs_decode_to_the_pixels_that_they_were_made_of(pixels):
    runs = []
    for i, on in enumerate(pixels):
        if on and runs and sum(runs[-2:]) == i:
            runs[-1] += 1
        elif on:
            runs += [i, 1]
    mask = np.asarray(decoded_mask(runs, side=8, frame=False)).flatten() > 0
    assert mask.tolist() == pixels
    framed = np.asarray(decoded_mask(runs, side=8)) > 0
    assert (framed[1:-1, 1:-1] == mask.reshape(8, 8)[1:-1, 1:-1]).all()
    assert framed[0].all() and framed[-1].all() and framed[:, 0].all() and framed[:, -1].all()


@pytest.mark.parametrize(
    "change",
    [{"mask": [1]}, {"mask": [-1, 3]}, {"mask": [512 * 512, 1]}, {"mask": [1, -1]}, {"blended_word": "cat"},
     {"editing_type_id": "10"}, {"mask": "none"}],
)  # fmt: skip
def test_a_case_that_is_none_is_named(tmp_path, change):
    with pytest.raises(InputError, match="case7"):
        pie_bench(written(tmp_path, {"case7": CASE | change}))


def test_what_is_no_pie_bench_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"mapping_file\.json"):
        pie_bench(tmp_path)
    with pytest.raises(InputError, match="holds no cases"):
        pie_bench(written(tmp_path, {}))
    with pytest.raises(InputError, match="no case"):
        pie_bench(written(tmp_path, {"x": {k: v for k, v in CASE.items() if k != "editing_prompt"}}))


def concept(token, noun, name, **extra):
    return {
        "instance_prompt": f"photo of a {token} {noun}",
        "class_prompt": noun,
        "instance_data_dir": f"./benchmark_dataset/{name}",
        "class_data_dir": f"./regularization/{noun}",
        "prompt_filename": f"prompts/{noun}.txt",
    } | extra


def test_custom_concept_101_is_read_and_its_prompts_are_filled(tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "cat.txt").write_text("Photo of a {}.\n\n{} in times square.\n")
    (tmp_path / "prompts" / "pet_toy.txt").write_text("photo of the {0} and {1}. \nA {1} beside a {0}.\n")
    cat, toy = concept("<new1>", "cat", "pet_cat1"), concept("<new2>", "toy gnome", "toy_gnome")
    (tmp_path / "dataset.json").write_text(json.dumps([cat]))
    (tmp_path / "dataset_multiconcept.json").write_text(
        json.dumps([[cat, toy, {"prompt_filename_compose": "prompts/pet_toy.txt"}]])
    )
    (found,) = single_concepts(tmp_path / "dataset.json")
    assert (found.name, found.token, found.noun) == ("pet_cat1", "<new1>", "cat")
    assert found.photos == tmp_path / "benchmark_dataset" / "pet_cat1"
    assert found.prompts() == ["Photo of a <new1> cat.", "<new1> cat in times square."]
    assert found.prompts(token=False) == ["Photo of a cat.", "cat in times square."]
    (pair,) = concept_pairs(tmp_path / "dataset_multiconcept.json")
    assert pair.name == "pet_cat1+toy_gnome"
    assert pair.prompts()[1] == "A <new2> toy gnome beside a <new1> cat."
    assert pair.prompts(token=False)[0] == "photo of the cat and toy gnome."
    with pytest.raises(InputError, match=r"gnome\.txt"):
        pair.second.prompts()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[{}]",
        json.dumps([concept("", "cat", "x")]),
        json.dumps([concept("<a> <b>", "cat", "x")]),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path, text):
    (tmp_path / "d.json").write_text(text)
    for read in (single_concepts, concept_pairs):
        with pytest.raises(InputError, match=r"d\.json"):
            read(tmp_path / "d.json")


@pytest.mark.parametrize("line", ["a cat", "{1} alone", "{0} and {2}"])
def test_a_prompt_without_a_place_is_named_by_its_line(tmp_path, line):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "cat.txt").write_text(f"a {{}}\n{line}\n")
    (tmp_path / "d.json").write_text(json.dumps([concept("<new1>", "cat", "x")]))
    with pytest.raises(InputError, match="line 2"):
        single_concepts(tmp_path / "d.json")[0].prompts()


@pytest.mark.parametrize("kind", ["object", "live"])
def test_dreambench_has_25_different_prompts_of_each_kind(kind):
    prompts = dreambench_prompts(kind, "<new1> cat")
    assert len(set(prompts)) == len(prompts) == 25
    assert all(prompt.startswith("a ") and prompt.count("<new1> cat") == 1 for prompt in prompts)
    assert [p.replace("<new1> cat", "S*") for p in prompts] == dreambench_prompts(kind, "S*")
    assert len(set(dreambench_prompts("object", "x")) & set(dreambench_prompts("live", "x"))) == 15


def test_dreambench_subjects_are_read(tmp_path):
    text = "Classes\n\nsubject_name,class\n"
    text += "backpack,backpack\ndog2,dog\nwolf_plushie,stuffed animal\n\nPrompts\n\n'a, b'\n"
    (tmp_path / "prompts_and_classes.txt").write_text(text)
    found = dreambench(tmp_path / "prompts_and_classes.txt")
    assert [(s.name, s.noun, s.kind) for s in found] == [
        ("backpack", "backpack", "object"), ("dog2", "dog", "live"), ("wolf_plushie", "stuffed animal", "object"),
    ]  # fmt: skip
    assert found[1].photos == tmp_path / "dog2"
    assert "a <v> dog wearing a red hat" in found[1].prompts("<v>")
    (tmp_path / "other.txt").write_text("nothing")
    with pytest.raises(InputError, match="holds no table"):
        dreambench(tmp_path / "other.txt")
    with pytest.raises(InputError, match="object or live"):
        dreambench_prompts("alive", "x")
