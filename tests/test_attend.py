"""`motif attend`: maps that are shares of the attention, of the right word, and that change nothing."""

from __future__ import annotations

import json

import pytest
import torch

import tiny
from edit_pieces import inverted, photo
from motif.attend import Watched, attend, file_name
from motif.cli import main
from motif.edit import seeded
from motif.errors import InputError
from motif.lanes import denoise, finish
from pieces import concept_of, gap

PROMPT = "a zebu cat on sea"


def start(base, prompt=PROMPT, n=1, size=None):
    h, w = size or (base.size, base.size)
    return seeded(base, prompt, steps=3, guidance=3.0, n=n, height=h, width=w)


def test_the_shares_of_all_positions_are_the_whole_attention(small):
    """Of each pixel, in every level and step; and watching changes nothing but rounding."""
    base = small.base
    size = base.size, base.size * 3 // 2
    source = start(base, size=size)
    (lane,) = source.lanes(base)
    count = lane.text.states.shape[1]
    seen = Watched([[[position] for position in range(count)]])
    done = finish(denoise(base, [lane], steps=3, controls=[seen]))["source"]
    assert {step for _, step in seen.sums} == {0, 1, 2}
    for key, (maps,) in seen.sums.items():
        h, w = (-(-side >> seen.levels[key[0]]) for side in done.shape[-2:])
        assert maps.shape == (count, h, w)
        torch.testing.assert_close(maps.sum(0), torch.ones(h, w))
    assert gap(finish(denoise(base, [lane], steps=3))["source"], done) < 1e-3


def test_rows_are_parts_of_the_whole_mean(small):
    """Steps and levels weigh in the mean by their layers; one level's map is as large as the level."""
    found = attend(small.base, start(small.base))
    assert found.words == (("a", "zebu", "cat", "on", "sea"),)
    by_step = torch.stack([found.mean(steps=[step]) for step in range(3)])
    torch.testing.assert_close(by_step.mean(0), found.mean())
    h = small.base.latent_shape()[1]
    assert [found.mean(levels=[level]).shape[-1] for level in found.levels] == [h >> x for x in found.levels]
    assert found.sheet(per_level=True).height > found.sheet().height
    crossed = [site.name for site in small.base.models.sites if site.kind == "cross"]
    assert sorted(found.layers) == sorted(crossed) and found.layers[0].startswith("down_blocks.0")
    finest = [layer for layer in found.layers if found.watched.levels[layer] == found.levels[0]]
    torch.testing.assert_close(
        torch.stack([found.mean(layers=[layer]) for layer in finest]).mean(0),
        found.mean(levels=[found.levels[0]]),
    )
    assert found.sheet(per_layer=True).height > found.sheet(per_level=True).height
    with pytest.raises(InputError, match="per_layer"):
        found.sheet(per_layer=True, per_level=True)
    assert found.sheet(per_step=True, every=2).height < found.sheet(per_step=True).height
    with pytest.raises(InputError, match="no maps of levels"):
        found.mean(levels=[9])


def test_the_maps_are_of_the_conditional_side(small):
    """At the first step guidance has moved nothing yet: with an unconditional side and without, they are the same."""
    source = start(small.base)
    guided, plain = (attend(small.base, source, word="cat", guidance=g).mean(steps=[0]) for g in (3.0, 1.0))
    torch.testing.assert_close(guided, plain, rtol=1e-3, atol=1e-6)


def test_a_phrase_is_the_mean_of_its_positions_and_one_picture_of_many_is_itself(small):
    base = small.base
    many = attend(base, start(base, n=2), word=["cat", "zebu cat", "zebu"])
    cat, both, zebu = many.mean(1)
    (span,) = [s for word, s in base.read(PROMPT).tokens[0].words() if word == "zebu"]
    n = span.stop - span.start
    torch.testing.assert_close(both, (cat + n * zebu) / (n + 1))
    alone = seeded(base, PROMPT, seed=1, steps=3, guidance=3.0)
    torch.testing.assert_close(attend(base, alone, word="cat").mean()[0], cat, rtol=1e-3, atol=1e-5)


def test_an_inversion_with_captions_of_its_own_and_a_learned_token(small):
    """Each photo has its own words; what comes back is the inversion's own reconstruction."""
    base = small.base.wear(concept_of(small.base, vectors=2))
    prompts = ["a <new1> cat", "the cat on sea"]
    inversion = inverted(base, "negative-prompt", [photo(1), photo(2)], prompts)
    found = attend(base, inversion)
    assert found.words == (("a", "<new1>", "cat"), ("the", "cat", "on", "sea"))
    again = base.decode(inversion.reconstruct(base))
    drawn = torch.stack([torch.tensor(list(image.tobytes())) for image in found.images]) / 127.5 - 1
    assert gap(drawn.view(2, *again.shape[2:], 3).permute(0, 3, 1, 2), again) < 0.02
    learned = attend(base, inversion.only(0), word="<new1>")
    torch.testing.assert_close(learned.mean()[0], found.mean(0)[1], rtol=1e-3, atol=1e-5)


def test_a_word_that_is_not_there_is_an_error(small):
    with pytest.raises(InputError, match='"dog" is not in the prompt'):
        attend(small.base, start(small.base), word=["cat", "dog"])
    with pytest.raises(InputError, match="no words"):
        attend(small.base, start(small.base, ""))


def test_on_pocket_a_thing_is_looked_at_where_it_stands(pocket):
    """The object's map is denser in the middle of the picture than at its border; a place's is not."""
    source = seeded(pocket, "a photo of a red cat in the snow", seed=1, steps=4)
    found = attend(pocket, source, word=["cat", "snow"])
    cat, snow = found.mean(levels=[found.levels[1]])
    middle = torch.zeros_like(cat, dtype=torch.bool)
    middle[2:-2, 2:-2] = True
    assert cat[middle].mean() / cat[~middle].mean() > 1.5 * (snow[middle].mean() / snow[~middle].mean())


def test_the_command_draws_a_prompt_or_reads_an_inversion(tmp_path, capsys):
    tiny.pipeline("sd1").save_pretrained(tmp_path / "base")
    base = ["--base", str(tmp_path / "base"), "--json"]
    few = ["--steps", "2", "--per-step"]
    assert main(["attend", PROMPT, "-o", str(tmp_path / "seen"), *few, *base]) == 0
    told = json.loads(capsys.readouterr().out)
    names = {path.name for path in (tmp_path / "seen").iterdir()}
    assert names == {"sheet.png", "picture.png", *(f"{file_name(i, w)}.png" for i, w in
                     enumerate(["a", "zebu", "cat", "on", "sea"], 1))}  # fmt: skip
    assert len(told["files"]) == len(names) and 0 < told["shares"][0]["cat"] < 1
    from motif.base import Base

    inversion = inverted(Base.load(str(tmp_path / "base")), "ddim", photo(1))
    file = str(inversion.save(tmp_path / "x"))
    assert "other pictures" not in capsys.readouterr().err
    assert main(["attend", file, "-o", str(tmp_path / "seen"), "--word", "cat", *base]) == 0
    assert "seen holds 5 other pictures (01-a.png...)" in capsys.readouterr().err
    assert main(["attend", file, "-o", str(tmp_path / "seen"), "--steps", "2", *base]) == 2
    assert "--steps says how a prompt is drawn" in capsys.readouterr().err
    assert main(["attend", PROMPT, "-o", str(tmp_path / "no"), "--word", "dog", *few, *base]) == 2
    assert '"dog" is not in the prompt' in capsys.readouterr().err and not (tmp_path / "no").exists()
    assert main(["attend", PROMPT, "-o", str(tmp_path / "no"), "--every", "2", *base]) == 2
    assert main(["attend", PROMPT, "-o", str(tmp_path / "seen"), "--per-layer", *few, *base]) == 0
    assert main(["attend", str(tmp_path / "seen" / "picture.png"), "-o", str(tmp_path / "no"), *base]) == 2
    assert "picture.png is a file and no prompt" in capsys.readouterr().err
    assert main(["attend", PROMPT, "-o", str(tmp_path / "no"), "--per-layer", "--per-level", *base]) == 2
