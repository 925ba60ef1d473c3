"""Drift of a class word, identity and bleed of several concepts, and the score's pictures without a value."""

import json

import pytest
from PIL import Image

from motif.errors import InputError
from motif.measure import Score, clip_i, concepts, dino_i, drift, kid


@pytest.fixture
def folders(tmp_path, picture):
    """{"before", "after"}: five pictures each, of the same names."""
    found = {}
    for i, name in enumerate(("before", "after")):
        found[name] = tmp_path / name
        found[name].mkdir()
        for seed in range(5):
            picture(100 * i + seed).save(found[name] / f"{seed}.png")
    return found


def test_what_did_not_change_has_not_drifted(folders, clip, dino):
    score = drift(folders["before"], folders["before"], clip=clip, dino=dino)
    assert score.also["twins"] == pytest.approx(1)
    assert score.mean == pytest.approx(score.also["clip-i of before with itself"])
    assert score.also["dino-i"] == pytest.approx(score.also["dino-i of before with itself"])
    assert score.also["kid x 10^3 (dino)"] == pytest.approx(0, abs=1e-6)
    moved = drift(folders["after"], folders["before"], clip=clip, dino=dino)
    assert moved.also["twins"] < 0.999 and moved.n == 5


def test_drift_is_the_scores_between_the_sets(folders, clip, dino, pictures, picture):
    """Of pictures that are no twins: CLIP-I, DINO-I and KID as they are alone."""
    before = [picture(100 + i) for i in range(4)]
    score = drift(pictures, before, clip=clip, dino=dino)
    assert score.per_image == pytest.approx(clip_i(pictures, before, encoder=clip).per_image)
    assert score.also["dino-i"] == pytest.approx(dino_i(pictures, before, encoder=dino).mean)
    alone = kid(pictures, before, encoder=dino)
    assert score.also["kid x 10^3 (dino)"] == pytest.approx(alone.also["x 10^3"])
    assert score.also["kid's error x 10^3"] == pytest.approx(1e3 * alone.standard_error)
    assert "twins" not in score.also
    with pytest.raises(InputError, match="needs 3 of each"):
        drift(pictures, before[:2], clip=clip, dino=dino)


@pytest.fixture
def three(picture):
    """{concept: pictures}, {concept: references}."""
    names = ("cat", "dog", "hat")
    made = {name: [picture(10 * i + k) for k in range(2 + i)] for i, name in enumerate(names)}
    wanted = {name: [picture(200 + 10 * i + k) for k in range(2)] for i, name in enumerate(names)}
    return made, wanted


def test_identity_and_bleed_are_clip_i_of_every_pair_of_sets(three, clip):
    made, wanted = three
    score = concepts(made, wanted, encoder=clip)
    table = {(a, b): clip_i(made[a], wanted[b], encoder=clip).mean for a in made for b in wanted}
    own = [value for name in made for value in clip_i(made[name], wanted[name], encoder=clip).per_image]
    assert score.per_image == pytest.approx(own)
    assert score.images[:3] == ("cat/picture 0", "cat/picture 1", "dog/picture 0")
    for (a, b), value in table.items():
        assert score.also[f"identity of {a}" if a == b else f"{a} as {b}"] == pytest.approx(value, abs=1e-6)
    others = [value for (a, b), value in table.items() if a != b]
    assert score.also["bleed"] == pytest.approx(sum(others) / 6, abs=1e-6)


def test_perfect_pictures_bleed_as_the_references_do(three, dino):
    _, wanted = three
    score = concepts(wanted, wanted, encoder=dino, features="dino")
    assert score.also["bleed"] == pytest.approx(score.also["references of two"])


def test_pictures_of_all_together_are_scored_against_each_set_and_averaged(three, clip, pictures):
    _, wanted = three
    score = concepts(pictures, wanted, encoder=clip)
    each = [clip_i(pictures, refs, encoder=clip) for refs in wanted.values()]
    assert score.per_image == pytest.approx(
        [sum(v) / 3 for v in zip(*(s.per_image for s in each), strict=True)]
    )
    assert score.also == pytest.approx(
        {f"identity of {name}": s.mean for name, s in zip(wanted, each, strict=True)}, abs=1e-6
    )


def test_folders_of_folders_are_read_and_must_match(tmp_path, three, clip):
    made, wanted = three
    for top, sets in (("made", made), ("wanted", wanted)):
        for name, some in sets.items():
            (tmp_path / top / name).mkdir(parents=True)
            for i, p in enumerate(some):
                p.save(tmp_path / top / name / f"{i}.png")
    by_folder = concepts(tmp_path / "made", tmp_path / "wanted", encoder=clip)
    assert by_folder.per_image == pytest.approx(concepts(made, wanted, encoder=clip).per_image)
    assert by_folder.images[0] == "cat/0.png"
    with pytest.raises(InputError, match="two concepts or more"):
        concepts(tmp_path / "made", tmp_path / "wanted" / "cat", encoder=clip)
    (tmp_path / "made" / "hat").rename(tmp_path / "made" / "hut")
    with pytest.raises(InputError, match="hat has no pictures"):
        concepts(tmp_path / "made", tmp_path / "wanted", encoder=clip)


def test_a_picture_without_a_value_is_counted_and_left_out():
    score = Score("x", (0.5, None, 0.7), {"no value": "an empty region"}, images=("a", "b", "c"))
    assert (score.n, score.without) == (2, 1)
    assert score.mean == pytest.approx(0.6) and score.standard_error == pytest.approx(0.1)
    read = json.loads(score.to_json())
    assert (read["per_image"], read["without_value"], read["n"]) == ([0.5, None, 0.7], 1, 2)
    assert "without a value" not in Score("x", (0.5,)).row()
    with pytest.raises(InputError, match="no value for any of 2 pictures: an empty region"):
        Score("x", (None, None), {"no value": "an empty region"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["psnr", "after", "before"], {"name": "psnr", "n": 5}),
        (
            ["mse", "after", "before", "--region", "inside", "--masks", "mask.png"],
            {"name": "mse", "without_value": 0},
        ),
        (["drift", "after", "before", "--clip", "CLIP", "--dino", "DINO"], {"name": "drift", "n": 5}),
        (["kid", "after", "before", "--encoder", "DINO", "--subsets", "3"], {"name": "kid", "n": 5}),
        (["structure", "after", "before", "--encoder", "DINO"], {"name": "structure", "n": 5}),
        (["ns-lpips", "after", "before", "--encoder", "DINO", "--masks", "mask.png"], {"name": "ns-lpips"}),
        (["concepts", ".", ".", "--encoder", "CLIP"], {"name": "concepts", "n": 10}),
        (["clipscore", "after", "a cat", "--encoder", "CLIP"], {"name": "clipscore", "n": 5}),
        (["source-similarity", "after", "before", "--encoder", "CLIP"], {"name": "source-similarity"}),
    ],
)
def test_the_command_line_measures_them(words, told, folders, clip_folder, dino_folder, monkeypatch, capsys):
    from motif.cli import main

    monkeypatch.chdir(folders["before"].parent)
    mask = Image.new("L", (40, 33))
    mask.paste(255, (0, 0, 20, 33))
    mask.save("mask.png")
    places = {"CLIP": str(clip_folder), "DINO": str(dino_folder)}
    monkeypatch.setattr("sys.argv", ["motif"])
    code = main(["measure", *[places.get(word, word) for word in words], "--json"])
    out = capsys.readouterr().out
    assert code in (0, None), out
    score = json.loads(out)
    assert {key: score[key] for key in told} == told
