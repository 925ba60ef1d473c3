"""What a spec may say, and how it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motif import methods
from motif.errors import InputError
from motif.tradeoff.jobs import blocks
from motif.tradeoff.settings import Signature, grid, plain
from motif.tradeoff.spec import made, read_spec
from motif.tradeoff.subjects import look_at
from motif.tradeoff.ways import read_way

Raw = Callable[..., dict[str, Any]]


def test_a_file_is_read_and_photos_lie_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text("""
concepts = ["cat", {name = "toy", photos = "toy", prompt = "a <new1> toy", places = ["here", "there"], prior = "class"}]
prompts = ["a {concept} {place}"]
seeds = 3
methods = [{learn = "ico", settings = {steps = [1, 2]}}]
""")
    (tmp_path / "class").mkdir()
    spec = read_spec(file)
    assert spec.concepts[1].prior == str(tmp_path / "class")
    assert spec.seeds == (0, 1, 2) and spec.concepts[0].name == "cat"
    assert spec.concepts[1].photos == str(tmp_path / "toy")
    assert spec.shown == ("clip-t", "clip-i")
    assert spec.methods[0].called == "ico"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": 0}, "seeds 0: how many there are, from 1 up"),
        ({"metrics": ["clip-t", "kid"]}, "of kid less is better: name the worst corner"),
        ({"seed": 3}, "no setting seed here; did you mean seeds?"),
        ({"methods": [{"lern": "ico"}]}, "no setting lern here in methods.0; did you mean learn?"),
        ({"concepts": [{"name": "cat", "photo": "x"}]}, "did you mean photos?"),
        ({"methods": []}, "methods"),
        ({"seeds": [1, 1]}, "seed 1 is there twice"),
        ({"seeds": [-1]}, "seeds are 0 or more"),
        ({"seeds": "many"}, "seeds"),
        ({"methods": [{"learn": "ico"}, {"learn": "ico"}]}, "the method ico is there twice"),
        ({"metrics": ["kid", "kid"]}, 'kid is there twice: give one another name, as {name = "kid-2", metric = "kid"}'),
        ({"metrics": [{"name": "clip-i", "metric": "kid"}]}, "clip-i is a metric, and here the name of kid"),
        ({"metrics": ["clip-t", {"name": "mine", "metric": "kid"}]}, "of mine less is better: name the worst corner"),
        ({"axes": ["clip-t", "mine"], "metrics": ["clip-t", "kid"]}, "the axis mine is none of the metrics"),
        ({"prompts": ["a cat"]}, "does not say where the {concept} stands"),
        ({"prompts": []}, "toy has no prompts"),
        ({"concepts": [{"name": "toy", "photos": "x"}]}, "belong together"),
        ({"axes": ["clip-t", "kid"]}, "the axis kid is none of the metrics"),
        ({"reference": [0.0, float("inf")]}, "reference"),
        ({"methods": [{"noun": False}]}, "the base learns no word that could stand without its noun"),
        ({"methods": [{"learn": "ico", "noun": "no"}]}, "methods.0.noun"),
        ({"batch_size": 0}, "batch_size"),
        ({"threads": True}, "threads"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(raw: Raw, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        made(raw(**change), "spec.toml")
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"learn": "custom-difusion"}, "did you mean custom-diffusion?"),
        ({"learn": "ico", "settings": {"stepps": 3}}, "ico has no setting stepps; did you mean steps?"),
        ({"learn": "ico", "settings": {"steps": "many"}}, "steps = 'many'"),
        ({"learn": "ico", "settings": {"steps": [1, 1]}}, "different values"),
        ({"learn": "ico", "settings": {"steps": 1.5}}, "steps = 1.5"),
        ({"learn": "ico", "settings": {"folder": "x"}}, "no setting folder that a trade-off can set"),
        ({"learn": "ico", "settings": {"scheme": "icoo"}}, "scheme = 'icoo'"),
        ({"settings": {"steps": 3}}, "learns nothing"),
        ({"sample": "dci", "sampling": {"auto": True}}, "no setting auto that"),
        ({"sampling": {"guidance": [1, 2], "eta": [0, 1]}}, "guidance and eta vary: say which"),
        ({"sampling": {"guidance": [1, 2]}, "along": "eta"}, "along eta"),
    ],
)  # fmt: skip
def test_settings_are_the_functions_own(raw: Raw, method: dict[str, Any], words: str) -> None:
    spec = made(raw(methods=[method]))
    with pytest.raises(InputError) as caught:
        read_way(spec.methods[0], spec).grid()
    assert words in str(caught.value)


def test_a_list_is_a_grid_unless_the_setting_is_a_list(raw: Raw) -> None:
    one = {"learn": "custom-diffusion", "settings": {"rare_tokens": ["ktn"], "lr": [1e-5, 1], "steps": 5}}
    spec = made(raw(methods=[one], sampling={"steps": 3}))
    way = read_way(spec.methods[0], spec)
    learning = [learning for learning, _ in way.grid()]
    assert [tuple(each["rare_tokens"]) for each in learning] == [("ktn",)] * 2
    assert [each["lr"] for each in learning] == [1e-5, 1.0] and way.along == "lr" and way.names == ["lr"]


def test_steps_of_learning_and_of_drawing_are_told_apart(raw: Raw) -> None:
    one = {
        "learn": "ico",
        "settings": {"steps": [1, 2]},
        "sampling": {"steps": [3, 4]},
        "along": "drawing steps",
    }
    spec = made(raw(methods=[one]))
    way = read_way(spec.methods[0], spec)
    assert way.names == ["steps", "drawing steps"] and len(way.grid()) == 4
    assert way.varying({"steps": 1}, {"steps": 4}) == {"steps": 1, "drawing steps": 4}


def test_a_range_is_for_a_search(raw: Raw) -> None:
    one = {
        "learn": "ico",
        "settings": {"lr": {"low": 1e-6, "high": 1e-4, "log": True}, "steps": {"low": 1, "high": 3}},
    }
    spec = made(raw(methods=[{**one, "along": "lr"}]))
    way = read_way(spec.methods[0], spec)
    assert way.learning["steps"].range and way.learning["steps"].range.whole
    assert way.learning["lr"].range and not way.learning["lr"].range.whole
    with pytest.raises(InputError, match="lr is a range"):
        way.grid()
    one["settings"]["lr"] = {"low": 1e-4, "high": 1e-6}
    with pytest.raises(InputError, match="empty"):
        read_way(made(raw(methods=[one])).methods[0], spec)


def test_a_shared_setting_of_drawing_that_nothing_has_is_refused(raw: Raw) -> None:
    spec = made(raw(sampling={"stepz": 3}))
    with pytest.raises(InputError, match="no way to draw here has a setting stepz; did you mean steps"):
        read_way(spec.methods[0], spec)


def test_concepts_and_what_is_asked_of_them(raw: Raw) -> None:
    spec = made(raw(concepts=["cat"], prompts=["a {concept} {place}", "one {concept}"]))
    cat = look_at(spec.concepts[0], spec)
    assert (
        len(cat.prompts) == 7 and cat.said(True)[-1] == "one <new1> cat" and cat.said(False)[-1] == "one cat"
    )
    with pytest.raises(InputError, match="no held-out object cta; did you mean cat"):
        look_at(made(raw(concepts=["cta"])).concepts[0], spec)
    toy = made(raw(prompts=["a {concept} {place}"]))
    with pytest.raises(InputError, match=r"toy: .* wants places"):
        look_at(toy.concepts[0], toy)


@pytest.mark.parametrize(
    ("concept", "prompt", "noun"),
    [
        ({"prompt": "photo of a <new1> stuffed toy on a bench"}, "photo of a <new1> on a bench", "stuffed toy"),
        ({"prompt": "photo of a <new1>", "noun": "cat"}, "photo of a <new1>", "cat"),
        ({"prompt": "a <new1> cat, a <new2> cat"}, "a <new1>, a <new2> cat", "cat"),
    ],
)  # fmt: skip
def test_a_word_without_its_noun(raw: Raw, concept: dict[str, Any], prompt: str, noun: str) -> None:
    spec = made(raw(concepts=[{**raw()["concepts"][0], **concept}]))
    whole = look_at(spec.concepts[0], spec)
    assert (
        whole.alone.photos.prompt == whole.alone.examples.prompt == prompt and not whole.alone.examples.noun
    )
    assert whole.alone.said(True) == ["<new1> on beach", "a <new1>"]
    assert whole.said(True) == [f"<new1> {noun} on beach", f"a <new1> {noun}"]
    assert whole.alone.own == {"class_prompt": f"photo of a {noun}", "initial": noun}
    assert whole.alone.alone.said(True) == whole.alone.said(True)


def test_a_caption_of_its_own_must_not_name_the_noun(raw: Raw, tmp_path: Path) -> None:
    """It would be learned with the noun, and drawn without."""
    folder = tmp_path / "one"
    shutil.copytree(raw()["concepts"][0]["photos"], folder)
    photo = next(path for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg"))
    photo.with_suffix(".txt").write_text("a <new1> toy in a box")
    concept = {"name": "toy", "photos": str(folder), "prompt": "photo of a <new1> toy"}
    spec = made(raw(concepts=[concept]))
    with pytest.raises(InputError, match=r"its caption .*noun = false leaves it out"):
        _ = look_at(spec.concepts[0], spec).alone


def test_a_noun_that_cannot_be_left_out_is_refused(raw: Raw) -> None:
    spec = made(raw(concepts=[{**raw()["concepts"][0], "prompt": "a <new1> <new2> cat"}]))
    with pytest.raises(InputError, match=r'toy: in "a <new1> <new2> cat" no noun .* right behind <new1>'):
        _ = look_at(spec.concepts[0], spec).alone


def test_seeds_are_drawn_in_runs() -> None:
    assert blocks([0, 1, 2, 3, 4], 2) == [(0, 1), (2, 3), (4,)]
    assert blocks([7, 1, 2, 5], 8) == [(7,), (1, 2), (5,)]


def test_a_path_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    def some(base: object, *, where: str | Path = "none", size: tuple[int, int] = (1, 2)) -> None: ...

    found = Signature("some", some)
    (tmp_path / "a.txt").write_text("one")
    before = found.defaults({"where": str(tmp_path)})
    (tmp_path / "a.txt").write_text("two")
    assert found.defaults({"where": str(tmp_path)}) != before
    assert found.defaults({}) == {"where": "none", "size": [1, 2]}
    assert grid(found.read({"size": [3, 4]})) == [{"size": (3, 4)}]
    assert plain("x" * 5000) == plain("x" * 5000, ()) == "x" * 5000
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    before = found.defaults({"where": str(deep)})
    (deep / "a.txt").write_text("one")
    assert found.defaults({"where": str(deep)}) != before


@pytest.mark.parametrize(
    ("verb", "name", "settings", "places"),
    [
        ("learn", "ico", {"scheme": "ico", "prior": "none", "rare_tokens": ("cat",), "keep": "best"}, ""),
        ("learn", "ico", {"prior": "generate"}, ""),
        ("learn", "ico", {"prior": "pocket", "keep_encoder": "cat"}, "prior keep_encoder"),
        ("learn", "custom-diffusion", {"retrieve_encoder": "paper", "class_prompt": ("cat",)}, ""),
        ("learn", "textual-inversion", {"initial": "cat"}, ""),
        ("sample", "plain", {"negative": "cat"}, ""),
        ("sample", "dci", {"masks": "paper", "stand_in": ("cat",), "encoder": "cat"}, "encoder"),
        ("measure", "clip-i", {"encoder": "pocket"}, ""),
        ("measure", "clip-t", {"encoder": "paper", "policy": "strip"}, ""),
        ("measure", "kid", {"encoder": "cat", "features": "dino"}, "encoder"),
        ("measure", "drift", {"clip": "pocket", "dino": "cat"}, "dino"),
        ("measure", "ns-lpips", {"on": "paper", "word": "cat"}, "on"),
        ("measure", "clipscore", {"masks": "paper", "encoder": "pocket"}, "masks"),
    ],
)  # fmt: skip
def test_a_word_is_no_place_whatever_lies_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    name: str,
    settings: dict[str, Any],
    places: str,
) -> None:
    """In a folder in which everything lies that a setting could say."""
    found = Signature(name, methods.load(verb, name))
    before = found.plain(settings)
    monkeypatch.chdir(tmp_path)
    for word in "ico none generate pocket paper cat best strip dino".split():
        (tmp_path / word).mkdir()
        (tmp_path / word / "a.txt").write_text("one")
    changed = [name for name, value in found.plain(settings).items() if value != before[name]]
    assert changed == places.split()


def test_a_benchmarks_own_file_is_its_concepts(tmp_path: Path) -> None:
    """CustomConcept101's and DreamBench's: every concept with its photos and its own prompts."""
    one = {"instance_prompt": "photo of a <new1> cat", "class_prompt": "cat", "prompt_filename": "prompts/cat.txt",
           "instance_data_dir": "./photos/pet_cat1", "class_data_dir": "./reg/cat"}  # fmt: skip
    for folder in ("photos/pet_cat1", "prompts", "dog2"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dataset.json").write_text(json.dumps([one]))
    (tmp_path / "prompts" / "cat.txt").write_text("Photo of a {}.\n{} in times square.\n")
    (tmp_path / "classes.txt").write_text("subject_name,class\ndog2,dog\n")
    spec = tmp_path / "spec.toml"
    spec.write_text('concepts = "dataset.json"\nmethods = [{learn = "ico"}]')
    (cat,) = read_spec(spec).concepts
    assert (cat.name, cat.photos, cat.prompt, cat.noun) == (
        "pet_cat1", str(tmp_path / "photos" / "pet_cat1"), "photo of a <new1> cat", "cat",
    )  # fmt: skip
    assert cat.prompts == ("Photo of a {concept}.", "{concept} in times square.")
    spec.write_text('concepts = "classes.txt"\nmethods = [{learn = "ico"}]')
    (dog,) = read_spec(spec).concepts
    assert (
        dog.photos == str(tmp_path / "dog2")
        and dog.prompt == "photo of a <new1> dog"
        and len(dog.prompts) == 25
    )
    assert "a {concept} wearing a red hat" in dog.prompts
    (tmp_path / "dog2").rmdir()
    wrong = {"classes.txt": "it is not there", "no.json": "cannot be read", "cat": "a list"}
    for told, words in wrong.items():
        spec.write_text(f'concepts = "{told}"\nmethods = [{{learn = "ico"}}]')
        with pytest.raises(InputError, match=words):
            read_spec(spec)


def test_prompts_are_read_from_files_beside_the_spec(tmp_path: Path) -> None:
    """Those for all, and a concept's own; {} stands for the concept as in the papers' files."""
    (tmp_path / "own").mkdir()
    (tmp_path / "all.txt").write_text("a {} in the snow\n\na {concept} {place}\n")
    (tmp_path / "own" / "boat.txt").write_text("one {concept}\n")
    spec = tmp_path / "spec.toml"
    told = """
concepts = ["cat", {{name = "boat", prompts = "own/{boat}.txt"}}]
prompts = "all.txt"
methods = [{{learn = "ico"}}]
"""
    spec.write_text(told.format(boat="boat"))
    found = read_spec(spec)
    assert found.prompts == ("a {concept} in the snow", "a {concept} {place}")
    assert [one.prompts for one in found.concepts] == [(), ("one {concept}",)]
    (tmp_path / "own" / "empty.txt").write_text("\n")
    (tmp_path / "own" / "bare.txt").write_text("a boat\n")
    wrong = {"none": "none.txt", "empty": "holds no prompts", "bare": "does not say where"}
    for name, words in wrong.items():
        spec.write_text(told.format(boat=name))
        with pytest.raises(InputError, match=words):
            read_spec(spec)


def test_a_word_in_braces_that_stands_for_nothing_is_refused(raw: Raw) -> None:
    """It would be drawn as it stands."""
    spec = made(raw(prompts=["a {concept} {plaice}"]))
    with pytest.raises(InputError, match=r"nothing stands for \{plaice\}"):
        look_at(spec.concepts[0], spec)
