"""Laws of pocket's world: the same numbers draw the same picture, what is said is true, masks are exact."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motif.errors import InputError
from motif.pocket.world import edit_pairs, grammar, shards
from motif.pocket.world.scene import (
    ACCESSORIES,
    COLOURS,
    CONTEXTS,
    NOUNS,
    PATTERNS,
    STYLES,
    WEARERS,
    Scene,
    contrasting,
    draw_instance,
    draw_view,
)
from motif.pocket.world.shards import (
    CROWD,
    apart_at,
    crowd_at,
    is_held_out,
    read_shards,
    scene_at,
    tiled,
    untiled,
    write_shards,
)

SEEDS = st.integers(0, 2**31)


def some_scene(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    return Scene(draw_instance(rng), draw_view(rng))


# ---------------------------------------------------------------- scenes


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_scene_is_its_seed_and_survives_json(seed: int) -> None:
    scene = some_scene(seed)
    assert scene == some_scene(seed)
    assert scene != some_scene(seed + 1)
    assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_every_word_of_the_world_is_drawn() -> None:
    scenes = [some_scene(seed) for seed in range(1500)]
    seen = [grammar.labels(scene) for scene in scenes]
    for label, words in (("noun", NOUNS), ("context", CONTEXTS), ("colour", COLOURS), ("style", STYLES)):
        assert {entry[label] for entry in seen} == set(words)
    assert {entry["pattern"] for entry in seen} == set(PATTERNS)
    assert {entry["accessory"] for entry in seen} == {"none", *ACCESSORIES}
    photos = np.mean([scene.view.style == "photo" for scene in scenes])
    assert 0.81 < photos < 0.89  # 0.85; 4 standard errors are 0.037


def test_arguments_of_a_draw_are_kept() -> None:
    rng = np.random.default_rng(0)
    for noun in NOUNS:
        assert draw_instance(rng, noun=noun).noun == noun
    for context in CONTEXTS:
        view = draw_view(rng, context=context, style="pencil")
        assert (view.context, view.style) == (context, "pencil")
    for _ in range(50):
        view = draw_view(rng, plain=True)
        assert view.accessory is None and view.companion is None and view.style == "photo"


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_pattern_and_second_colour_are_told_from_the_main_one(seed: int) -> None:
    instance = some_scene(seed).instance
    assert instance.second.name in contrasting(instance.main.name)
    assert instance.contrast.name in contrasting(instance.main.name)


def test_pictures_of_one_instance_share_it_and_only_it() -> None:
    first, second, third = (scene_at(3, index, views_per_instance=2) for index in (0, 1, 2))
    assert first[0] == second[0] and first[1].instance == second[1].instance
    assert first[1].view != second[1].view
    assert third[0] != first[0] and third[1].instance != first[1].instance


# ---------------------------------------------------------------- words


def test_every_word_that_is_said_is_known() -> None:
    known = set(grammar.all_words())
    rng = np.random.default_rng(7)
    for seed in range(2000):
        scene = some_scene(seed)
        said = f"{grammar.caption(scene, rng, rare=0.1)} {grammar.full_caption(scene)}"
        assert set(said.split()) <= known, said
        assert said == " ".join(said.split()).lower()
    for _ in range(200):
        pair = edit_pairs.edit_pair(rng)
        assert set(f"{pair.before_caption} {pair.after_caption}".split()) <= known


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_captions_say_nothing_untrue(seed: int) -> None:
    scene = some_scene(seed)
    true = grammar.labels(scene)
    instance, company = scene.instance, scene.view.companion
    colours = {paint.name for paint in (instance.main, instance.second, instance.contrast)}
    colours |= {true["accessory_colour"], *({company.main.name} if company else set())}
    nouns = {true["noun"], *({company.noun} if company else set())}
    rng = np.random.default_rng(seed)
    for said in [grammar.caption(scene, rng) for _ in range(8)] + [grammar.full_caption(scene)]:
        for place in grammar.PLACES[true["context"]]:  # "in a green field", "on a plain background"
            said = said.replace(place, "")
        words = set(said.split())
        assert true["noun"] in words
        assert words & set(NOUNS) <= nouns
        assert words & set(COLOURS) <= colours, said
        assert words & set(PATTERNS) <= {true["pattern"]}
        assert words & {"hat", "ball", "box", "scarf"} <= {true["accessory"]}
        assert ("pencil" in said or "drawing" in said) <= (true["style"] == "pencil")
        assert ("painting" in said or "colour of" in said) <= (true["style"] == "watercolour")
        assert ("shiny" in words) <= instance.shiny


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_full_caption_says_all_that_words_can(seed: int) -> None:
    scene = some_scene(seed)
    said, true = grammar.full_caption(scene).split(), grammar.labels(scene)
    assert true["noun"] in said and true["colour"] in said
    assert true["pattern"] == "plain" or true["pattern"] in said
    if true["accessory"] != "none":
        assert true["accessory"] in said and true["accessory_colour"] in said
    assert ("shiny" in said) == scene.instance.shiny


def test_sizes_are_named_only_when_they_show() -> None:
    rng = np.random.default_rng(1)
    base = replace(draw_view(rng, plain=True))
    instance = draw_instance(rng)
    for fill, words in ((0.92, ("zoomed in", "close up")), (0.35, ("far away", "very small")), (0.7, ())):
        said = [grammar.caption(Scene(instance, replace(base, fill=fill)), rng) for _ in range(200)]
        named = [any(size in caption for size in grammar.LARGE + grammar.SMALL) for caption in said]
        assert all(
            any(word in caption for word in words) for caption, it in zip(said, named, strict=True) if it
        )
        assert 0.3 < np.mean(named) < 0.6 if words else not any(named)


def test_rare_tokens_stand_before_the_noun_at_their_rate() -> None:
    rng = np.random.default_rng(2)
    scene = replace(some_scene(4))
    plain = [grammar.caption(scene, rng) for _ in range(300)]
    assert not any(set(said.split()) & set(grammar.RARE_TOKENS) for said in plain)
    marked = [grammar.caption(scene, rng, rare=1.0).split() for _ in range(300)]
    assert all(words[words.index(scene.instance.noun) - 1] in grammar.RARE_TOKENS for words in marked)
    assert not set(grammar.RARE_TOKENS) & set(grammar.PLAIN_WORDS)
    assert {"sks", "ktn", "pll", "ucd"} <= set(grammar.RARE_TOKENS)


def test_a_share_of_captions_names_only_the_class() -> None:
    """Nothing of a striped object's looks, its hat or its place; else these are left out together once in 500."""
    rng = np.random.default_rng(3)
    scene = some_scene(11)
    scene = Scene(
        replace(scene.instance, pattern="striped"),
        replace(scene.view, accessory=("hat", "red"), companion=None, style="photo", fill=0.7),
    )
    told = {
        *" ".join(grammar.PREFIXES["photo"]).split(),
        "a",
        "an",
        "the",
        "bright",
        "dark",
        scene.instance.noun,
    }
    alone = np.mean([set(grammar.caption(scene, rng).split()) <= told for _ in range(1000)])
    assert 0.07 < alone < 0.13  # 0.1; 3 standard errors are 0.03
    assert grammar.class_caption("dog") == "a photo of a dog"


def test_a_scene_is_said_in_many_ways() -> None:
    rng = np.random.default_rng(4)
    for seed in range(5):
        scene = some_scene(seed)
        assert len({grammar.caption(scene, rng) for _ in range(100)}) > 30


@pytest.mark.parametrize("kind", ["colour", "context", "accessory", "noun", "pattern"])
def test_an_edit_pair_differs_in_one_word_and_one_thing(kind: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        pair = edit_pairs.edit_pair(rng, kind=kind)
        before, after = pair.before_caption.split(), pair.after_caption.split()
        assert len(before) == len(after)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        first, second = pair.before.to_json(), pair.after.to_json()
        changed = {
            f"{part}.{key}" for part in first for key in first[part] if first[part][key] != second[part][key]
        }
        expected = {
            "colour": "instance.main",
            "context": "view.context",
            "accessory": "view.accessory",
            "noun": "instance.noun",
            "pattern": "instance.pattern",
        }
        assert changed == {expected[kind]}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("world.grammar", ("mitsuba", "torch", "trimesh")), ("recipe", ("mitsuba", "trimesh"))],
)
def test_words_and_the_recipe_need_no_renderer(module: str, heavy: tuple[str, ...]) -> None:
    import subprocess

    code = f"import motif.pocket.{module}, sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# ---------------------------------------------------------------- meshes and camera


@pytest.mark.parametrize("noun", NOUNS)
def test_toys_stand_on_the_ground_at_one_size(noun: str) -> None:
    pytest.importorskip("trimesh")
    from motif.pocket.world.meshes import TOY_SIZE, build

    for seed in range(4):
        model = build(draw_instance(np.random.default_rng(seed), noun=noun))
        solid, colours = model.mesh.solid, model.mesh.colours
        low, high = solid.vertices.min(0), solid.vertices.max(0)
        assert low[2] == pytest.approx(0, abs=1e-9)
        assert np.allclose((low + high)[:2], 0, atol=1e-9)
        size = max(high[2], 0.8 * np.hypot(*(high - low)[:2]))
        assert size == pytest.approx(TOY_SIZE)
        assert np.allclose(np.linalg.norm(solid.normals, axis=1), 1, atol=1e-6)
        assert solid.faces.max() < len(solid.vertices) and solid.faces.min() >= 0
        assert len(colours) == len(solid.vertices) and colours.min() >= 0 and colours.max() <= 1
        assert (model.neck is not None) == (noun in WEARERS)
        assert model.top[2] > 0.35 * high[2]


@pytest.mark.parametrize("noun", NOUNS)
def test_an_instance_has_six_proportions_of_its_own_or_more(noun: str) -> None:
    """What words cannot say: each of them alone makes another mesh."""
    pytest.importorskip("trimesh")
    from motif.pocket.world.meshes import build

    middle = replace(draw_instance(np.random.default_rng(3), noun=noun), pattern="plain", shape=(0.5,) * 8)
    first = build(middle).mesh.solid.vertices
    moved = 0
    for place in range(8):
        shape = (*(0.5,) * place, 0.95, *(0.5,) * (7 - place))
        other = build(replace(middle, shape=shape)).mesh.solid.vertices
        moved += other.shape != first.shape or not np.allclose(other, first, atol=1e-6)
    assert moved >= 6


def test_shape_and_colours_are_the_instances_own() -> None:
    pytest.importorskip("trimesh")
    from motif.pocket.world.meshes import build

    instance = draw_instance(np.random.default_rng(1), noun="cat")
    same, other = build(instance).mesh, build(replace(instance, shape=(0.0,) * 8)).mesh
    assert not np.allclose(same.solid.vertices[:100], other.solid.vertices[:100])
    plain = build(replace(instance, pattern="plain")).mesh.colours
    for pattern in PATTERNS[1:]:
        colours = build(replace(instance, pattern=pattern)).mesh.colours
        changed = (colours != plain).any(1)
        assert 0.05 < changed.mean() < 0.6
        assert np.allclose(colours[changed], instance.contrast.rgb)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_camera_keeps_everything_inside_at_the_asked_size(seed: int) -> None:
    pytest.importorskip("trimesh")
    from motif.pocket.world.camera import INSIDE
    from motif.pocket.world.staging import seen, staged

    scene = some_scene(seed)
    stage = staged(scene)
    meshes = [mesh for mesh in (stage.object_, stage.accessory, stage.companion) if mesh is not None]
    above = [seen(mesh.solid) for mesh in meshes]
    places = stage.camera.project(np.concatenate(above))
    assert np.abs(places).max() < 1
    span = (places.max(0) - places.min(0)).max() / 2
    body = stage.camera.project(above[0])
    size = (body.max(0) - body.min(0)).max() / 2
    assert size == pytest.approx(scene.view.fill, rel=0.03) or span == pytest.approx(INSIDE, rel=0.03)
    assert size <= scene.view.fill * 1.03


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("index", [117, 205, 206])
def test_what_goes_into_the_ground_is_inside_the_picture(index: int) -> None:
    """A rocket's fins: their upper vertices are inside the body, and where they leave the ground is far out."""
    from motif.pocket.world.staging import staged

    _, scene = scene_at(1, index)
    stage = staged(scene)
    solid = stage.object_.solid
    ends = solid.vertices[solid.faces[:, [0, 1, 1, 2, 2, 0]]].reshape(-1, 2, 3)
    steps = np.linspace(0, 1, 201)[:, None, None]
    along = (ends[None, :, 0] * (1 - steps) + ends[None, :, 1] * steps).reshape(-1, 3)
    shown = stage.camera.project(along[along[:, 2] >= 0])
    assert np.abs(shown).max() <= 1


def test_a_picture_is_its_scene_and_its_mask_is_the_object() -> None:
    pytest.importorskip("mitsuba")
    from motif.pocket.world.render import render

    for index, context in enumerate(("beach", "floor", "night")):
        rng = np.random.default_rng(index)
        instance = replace(draw_instance(rng, noun="teapot"), shiny=False, pattern="plain")
        scene = Scene(instance, replace(draw_view(rng, context=context, plain=True), fill=0.7))
        picture, mask = render(scene, size=32, samples=8)
        again, mask_again = render(scene, size=32, samples=8)
        assert (picture == again).all() and (mask == mask_again).all()
        assert picture.shape == (32, 32, 3) and mask.shape == (32, 32) and mask.dtype == np.uint8
        assert mask.max() == 255 and mask.min() == 0
        assert mask[[0, -1]].max() == 0 and mask[:, [0, -1]].max() == 0
        rows, columns = np.nonzero(mask > 127)
        side = max(np.ptp(rows), np.ptp(columns)) + 1
        assert side / 32 == pytest.approx(0.7, abs=0.08)
        other = replace(instance, main=replace(instance.main, rgb=(0.02, 0.7, 0.02)), second=instance.main)
        recoloured, same_mask = render(Scene(other, scene.view), size=32, samples=8)
        assert (same_mask == mask).all()
        changed = np.abs(recoloured.astype(int) - picture).max(-1)
        assert changed[mask == 255].mean() > 8 * max(changed[mask == 0].mean(), 0.5)


def test_an_edit_changes_the_picture_inside_its_mask() -> None:
    pytest.importorskip("mitsuba")
    from motif.pocket.world.pairs import render_pair

    for seed, kind in enumerate(("colour", "context", "accessory", "noun", "pattern")):
        pair = edit_pairs.edit_pair(np.random.default_rng(seed + 20), kind=kind)
        drawn = render_pair(pair, size=32, samples=8)
        change = np.abs(drawn.before.astype(int) - drawn.after).mean(-1)
        inside, outside = change[drawn.change > 200].mean(), change[drawn.change < 50].mean()
        assert inside > 2.5 * outside, (kind, inside, outside)


def test_what_is_painted_otherwise_is_the_change_of_a_colour_or_a_pattern() -> None:
    """Not the whole object: the part in its second colour stays outside, and so does all that is beside it."""
    pytest.importorskip("mitsuba")
    from motif.pocket.world.pairs import render_pair
    from motif.pocket.world.render import render

    for seed, kind in enumerate(("colour", "pattern")):
        pair = edit_pairs.edit_pair(np.random.default_rng(seed + 40), kind=kind)
        drawn = render_pair(pair, size=32, samples=8)
        body = render(pair.before, size=32, samples=8)[1] > 0
        assert 0.1 < (drawn.change > 127).sum() / body.sum() < 0.9, kind
        assert not (drawn.change[~body] > 0).any(), kind
        change = np.abs(drawn.before.astype(int) - drawn.after).mean(-1)
        assert change[drawn.change == 255].mean() > 3 * change[body & (drawn.change == 0)].mean(), kind


def test_styles_differ_from_the_photo_and_pencil_is_grey() -> None:
    pytest.importorskip("mitsuba")
    from motif.pocket.world.render import render

    rng = np.random.default_rng(9)
    scene = Scene(draw_instance(rng, noun="car"), draw_view(rng, context="meadow", plain=True))
    drawn = {
        style: render(replace(scene, view=replace(scene.view, style=style)), size=32, samples=4)
        for style in STYLES
    }
    photo = drawn["photo"][0].astype(int)
    for style in STYLES[1:]:
        picture, mask = drawn[style]
        assert (mask == drawn["photo"][1]).all()
        assert np.abs(picture - photo).mean() > 15
    assert np.ptp(drawn["pencil"][0].astype(int), axis=-1).max() <= 6


# ---------------------------------------------------------------- shards


@given(st.integers(1, 40), st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_tiles_come_back_from_their_sheet(count: int, columns: int) -> None:
    pictures = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    assert (untiled(tiled(pictures, columns=columns), count, side=4) == pictures).all()


def test_shards_are_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    asked = {"seed": 5, "workers": 1, "samples": 4, "views_per_instance": 2, "per_shard": 3}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    seen: list[Path] = []
    sheets = write_shards(whole, count=8, done=seen.append, **{**asked, "workers": 2})
    assert [sheet.name for sheet in sheets] == ["train-0000.avif", "train-0001.avif", "train-0002.avif"]
    assert sorted(seen) == sheets

    write_shards(broken, count=5, **asked)  # the second shard is shorter than it will be
    (broken / "train-0000.avif").unlink()  # a shard whose sheet was not yet there
    kept = (broken / "train-0001.avif").stat().st_mtime_ns
    write_shards(broken, count=8, **asked)
    assert (broken / "train-0001.avif").stat().st_mtime_ns != kept
    assert sorted(path.name for path in whole.iterdir()) == sorted(path.name for path in broken.iterdir())
    for path in whole.iterdir():
        assert path.read_bytes() == (broken / path.name).read_bytes(), path.name

    stamps = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    write_shards(whole, count=8, **asked)
    assert stamps == {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    for wrong in ({"seed": 6}, {"samples": 5}, {"views_per_instance": 3}):
        with pytest.raises(InputError, match=f"rendered with {next(iter(wrong))}"):
            write_shards(whole, count=8, **{**asked, **wrong})
    with pytest.raises(InputError, match="another seed, views per instance or shard size"):
        write_shards(whole, count=8, **{**asked, "per_shard": 4})

    pictures = read_shards(whole)
    assert pictures.rgb.shape == (8, 64, 64, 3) and pictures.mask.shape == (8, 64, 64)
    assert list(zip(pictures.instances, pictures.scenes, strict=True)) == [
        scene_at(5, index, views_per_instance=2) for index in range(8)
    ]
    from motif.pocket.world.render import render

    picture, mask = render(pictures.scenes[7], samples=4)
    assert (mask == pictures.mask[7]).all()
    assert np.square(picture.astype(float) - pictures.rgb[7]).mean() < 255**2 / 10**3.3  # 33 dB
    assert len(read_shards(whole, limit=4).scenes) == 4


def test_a_render_that_is_stopped_begins_no_further_shard(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")

    def stopped(sheet: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, count=20, seed=5, samples=1, per_shard=1, workers=2, done=stopped)
    ready = {path.name for path in tmp_path.glob("train-*.avif")}
    assert 0 < len(ready) < 10 and not list(tmp_path.glob("*.part*"))


def test_all_cores_that_are_ours_render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process each, and never more than there are shards."""
    asked: list[int] = []

    def pool(workers: int, **rest: object) -> None:
        asked.append(workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(shards.os, "sched_getaffinity", lambda process: {1, 4, 5}, raising=False)
    for count, workers in ((20, None), (2, None), (20, 7)):
        with pytest.raises(KeyboardInterrupt):
            write_shards(tmp_path, count=count, seed=5, per_shard=1, workers=workers)
    assert asked == [3, 2, 7]


def test_the_crowd_shows_each_instance_twice_in_two_places() -> None:
    drawn = [crowd_at(3, index) for index in range(2 * CROWD * len(NOUNS))]
    for (name, first), (again, second) in zip(drawn[::2], drawn[1::2], strict=True):
        assert name == again and first.instance == second.instance
        assert first.view.context != second.view.context and first.view.style == second.view.style == "photo"
    nouns = [one.instance.noun for _, one in drawn]
    assert all(nouns.count(noun) == 2 * CROWD for noun in NOUNS)
    assert len({name for name, _ in drawn}) == CROWD * len(NOUNS)
    trained = {repr(scene_at(3, index)[1].instance) for index in range(0, 5000, 5)}
    assert not trained & {repr(one.instance) for _, one in drawn}


def test_those_apart_are_the_held_out_instances_of_training_in_its_order() -> None:
    drawn = [scene_at(3, index) for index in range(2000)]
    assert [apart_at(3, index) for index in range(40)] == [one for one in drawn if is_held_out(one[0])][:40]
    pairs = [apart_at(3, index, views_per_instance=2)[0] for index in range(4)]
    assert pairs[0] == pairs[1] != pairs[2] == pairs[3]


def test_shards_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shards"):
        read_shards(tmp_path)
    with pytest.raises(InputError, match="samples is 0"):
        write_shards(tmp_path, count=1, seed=0, samples=0)


# ---------------------------------------------------------------- held out


def test_held_out_sets_are_complete_and_read_back(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    from motif.pocket.world.held_out import concept_at, held_out, read_edits, read_pairs

    held_out(tmp_path, samples=4, concepts=1, pairs=3, edits=2)
    folder = tmp_path / "concepts" / "dog"
    record = json.loads((folder / "concept.json").read_text())
    assert record["noun"] == "dog"
    for group in ("refs", "views"):
        names = sorted(path.name for path in (folder / group).iterdir())
        assert names == sorted(f"{k:02d}{end}" for k in range(6) for end in (".png", "-mask.png", ".txt"))
        assert "{concept}" in (folder / group / "00.txt").read_text()
    contexts = [entry["context"] for group in ("refs", "views") for entry in record[group]]
    assert sorted(contexts) == sorted(CONTEXTS)
    assert concept_at(2, 0).instance.to_json() == json.loads(json.dumps(record["instance"])) | {
        "shape": concept_at(2, 0).instance.shape,
        **{
            part: concept_at(2, 0).instance.to_json()[part]
            for part in ("main", "second", "accent", "contrast")
        },
    }
    pictures, captions, full = read_pairs(tmp_path)
    assert pictures.rgb.shape == (3, 64, 64, 3) and len(captions) == len(full) == 3
    edits = read_edits(tmp_path)
    assert [edit.pair.kind for edit in edits] == ["colour", "context"]
    assert edits[0].before.shape == (64, 64, 3) and edits[0].change.max() == 255


def test_held_out_objects_are_not_in_training() -> None:
    from motif.pocket.world.held_out import CONCEPTS, SEED, concept_at

    held = {json.dumps(concept_at(SEED, k).instance.to_json()) for k in range(len(CONCEPTS))}
    trained = {json.dumps(scene_at(1, index)[1].instance.to_json()) for index in range(0, 2000, 5)}
    assert len(held) == len(CONCEPTS) and not held & trained
