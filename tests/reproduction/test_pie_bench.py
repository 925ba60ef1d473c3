"""PIE-Bench on two cases of its form, on pocket: edited, measured by both forms, gone on with, refused."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edit_pieces import photo
from motif.measure.readers import EditCase


@pytest.fixture(scope="module")
def protocol() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[2] / "reproduction"))
    return importlib.import_module("pie_bench")


def written(home: Path) -> list[str]:
    """Two photos, one with words to blend by, both with the left half to be edited; and the words that edit them."""
    (home / "pie" / "annotation_images").mkdir(parents=True)
    half = [number for row in range(512) for number in (row * 512, 256)]
    cases: dict[str, dict[str, Any]] = {}
    for i, (name, words) in enumerate({"000": "cat dog", "001": ""}.items()):
        photo(i, (64, 64)).resize((512, 512)).save(home / "pie" / "annotation_images" / f"{name}.jpg")
        cases[name] = {
            "image_path": f"{name}.jpg", "original_prompt": "a photo of a [cat]", "editing_instruction": "",
            "editing_prompt": "a photo of a [dog]", "editing_type_id": "1", "blended_word": words, "mask": half,
        }  # fmt: skip
    (home / "pie" / "mapping_file.json").write_text(json.dumps(cases))
    (home / "few.toml").write_text('base = "pocket"\nsteps = 3\nguidance = 2\n')
    (home / "edit.toml").write_text('base = "pocket"\nguidance = 2\n')
    words = ["--invert", "ddim", "--edit", "prompt-to-prompt", "--inverting", home / "few.toml"]
    words += ["--editing", home / "edit.toml", "--encoder", "pocket", "--device", "cpu", "--blend"]
    return [str(word) for word in [home / "pie", "-o", home / "out", *words]]


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    return written(tmp_path)


@pytest.fixture(scope="module")
def done(protocol: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run."""
    home = tmp_path_factory.mktemp("done")
    assert protocol.main(written(home)) == 0
    return home / "out"


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A copy of it, where `asked` would write: the same data and settings."""
    return shutil.copytree(done, tmp_path / "out")


def test_every_case_is_edited_and_measured_and_a_stopped_run_goes_on(
    protocol: Any, asked: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = (out / "pie.md").read_text()
    assert "2 of 2 cases" in table and "| structure |" in table
    found = json.loads((out / "pie.json").read_text())
    assert all(len(score["per_image"]) == 2 for score in found.values())
    assert [name.startswith("benchmark: ") for name in found] == [False] * 9 + [True] * 7
    mask = np.asarray(Image.open(out / "sources" / "000-mask.png"))
    assert mask.shape == (64, 64) and mask[32, 8] == 255 and mask[32, 48] == 0 and {*mask.flat} == {0, 255}
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    (out / "edited" / "001.png").unlink()
    assert protocol.main(asked) == 0
    told = capsys.readouterr()
    assert "2 of 2: 001" in told.err and "1 of 2" not in told.err and told.out == f"{table}\n"
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before
    assert protocol.main(asked) == 0 and "001\n" not in capsys.readouterr().err


def test_another_way_of_editing_does_not_mix_with_what_lies_there(
    protocol: Any, asked: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    asked.remove("--blend")
    for changed in (asked, [*asked, "--edit", "word-swap"], [*asked, "--edit", "p2plus", "--blend"]):
        assert protocol.main(changed) == 2
        said = f"{out} holds edits of another way ({out / 'settings.json'}): name another folder"
        assert capsys.readouterr().err == f"pie_bench: {said}\n"
    assert {path: path.read_bytes() for path in before} == before


def test_a_case_that_fails_is_named_and_the_rest_goes_on(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pie" / "annotation_images" / "000.jpg").write_bytes(b"no picture")
    assert protocol.main(asked) == 1
    told = capsys.readouterr()
    assert "1 of 2 cases" in told.out and "- 000 failed: " in told.out
    assert not (tmp_path / "out" / "edited" / "000.png").exists()
    (tmp_path / "pie" / "annotation_images" / "001.jpg").unlink()
    (tmp_path / "out" / "edited" / "001.png").unlink()
    assert protocol.main(asked) == 2 and "none of 2 cases" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "editing", "said"),
    [
        (["--limit", "-1"], "", "--limit -1: the first so many cases, or 0 for all"),
        (["--encoder", "nothing"], "", "--encoder nothing: use paper or pocket"),
        (["--encoder", "paper"], "", "facebook/dino-vitb8 is not on this machine"),
        (["--base", "nobody/nothing"], "", "nobody/nothing is not on this machine"),
        (["--device", "nowhere"], "", "device 'nowhere': use cpu, cuda or cuda:1"),
        (["--edit", "sdedit"], "", "--blend: sdedit has no blend"),
        (["--edit", "word-swop"], "", "no method word-swop to edit: did you mean word-swap?"),
        ([], "inner_steps = 3", "edit.toml: no setting inner_steps here"),
        ([], "guidance = = 3", "edit.toml: not TOML: "),
        ([], 'blend = ["cat"]', "edit.toml: blend is the data set's with --blend: leave out one"),
        ([], 'louder = "dog=2"', "edit.toml: louder is the data set's with --blend: leave out one"),
        ([], 'guidance = "high"', "edit.toml: guidance: 'high' is not a valid"),
        (["--invert", "none"], "", "few.toml: settings of an inversion, and --invert none is without one"),
        ([], 'base = "nobody/else"', "not one base: pocket ("),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value)[:30],
)
def test_what_cannot_be_done_is_one_line_before_any_edit(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: list[str], editing: str, said: str,
) -> None:  # fmt: skip
    if editing:
        (tmp_path / "edit.toml").write_text(f"{editing}\n")
    assert protocol.main([*asked, *words]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.startswith("pie_bench: ") and told.err.count("\n") == 1
    assert not told.out and not (tmp_path / "out").exists()


def test_the_base_is_either_file_s(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few.toml").write_text("steps = 3\n")
    (tmp_path / "edit.toml").write_text('base = "nobody/tuned"\n')
    assert protocol.main(asked) == 2 and "nobody/tuned" in capsys.readouterr().err
    (tmp_path / "few.toml").write_text('base = "nobody/tuned"\nsteps = 3\n')
    (tmp_path / "edit.toml").write_text("guidance = 2\n")
    assert protocol.main(asked) == 2 and "nobody/tuned" in capsys.readouterr().err
    (tmp_path / "edit.toml").write_text('base = "nobody/else"\n')
    assert protocol.main([*asked, "--base", "pocket", "--limit", "1"]) == 0, (
        "the command line's word is the last"
    )


def test_an_inversion_is_left_out_where_the_photo_itself_is_edited(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SDEdit of the photo is SDEdit of its inversion; other edits need one."""
    few = str(tmp_path / "few.toml")
    words = [asked[0], "--encoder", "pocket", "--device", "cpu", "--limit", "1", "--invert"]
    alone = ["none", "-o", str(tmp_path / "alone"), "--edit"]
    assert protocol.main([*words, *alone, "p2plus"]) == 2
    assert "--invert none: p2plus edits an inversion: name a method" in capsys.readouterr().err
    assert protocol.main([*words, *alone, "sdedit", "--editing", few]) == 0
    behind = ["ddim", "-o", str(tmp_path / "behind"), "--edit", "sdedit"]
    assert protocol.main([*words, *behind, "--inverting", few, "--editing", few]) == 0
    for place in ("sources", "edited"):
        one, other = (tmp_path / out / place / "000.png" for out in ("alone", "behind"))
        assert one.read_bytes() == other.read_bytes()


def test_the_benchmark_s_forms_stand_beside_ours(protocol: Any, done: Path) -> None:
    """Frames that are black inside the mask have the region's error over all their pixels."""
    found, text = json.loads((done / "pie.json").read_text()), (done / "pie.md").read_text()
    for i, name in enumerate(("000", "001")):
        x, y = (np.asarray(Image.open(done / place / f"{name}.png")) / 255 for place in ("edited", "sources"))
        kept = np.asarray(Image.open(done / "sources" / f"{name}-mask.png")) == 0
        error = ((x - y)[kept] ** 2).sum() / x.size
        of = {row: found[row]["per_image"][i] for row in found}
        assert 0 < kept.mean() < 1 and of["benchmark: MSE outside"] == pytest.approx(error)
        assert of["MSE outside"] == pytest.approx(error / kept.mean())
        assert of["benchmark: PSNR outside"] == pytest.approx(-10 * math.log10(error))
        assert of["benchmark: SSIM outside"] != of["SSIM outside"]
    choices = {row: score["choices"] for row, score in found.items()}
    ranges = [
        choices[row]["input range"]
        for row in ("structure", "benchmark: structure", "benchmark: LPIPS outside")
    ]
    assert ranges == ["[0, 1]", "[0, 255]", "[-1, 1]"]
    for part in ("", " of the edited part"):
        ours, theirs = choices[f"Clipscore{part}"], choices[f"benchmark: CLIP similarity{part}"]
        assert (ours["form"], theirs["form"]) == ("hessel", "torchmetrics") and theirs["scale"] == 100
        assert ours["region"] == theirs["region"] and ours["region"].startswith("inside" if part else "whole")
    assert protocol.NETWORKS["clip-large"] == "openai/clip-vit-large-patch14"
    for row, made in choices.items():  # a line below the table for each, with what it was measured with
        (line,) = (line for line in text.splitlines() if line.startswith(f"- {row}: "))
        assert f"scale {made['scale']}" in line and line.endswith("n 2")
        assert ("encoder" in made) == ("encoder pocket" in line)


def test_a_row_of_the_benchmark_without_its_encoder_is_left_out_and_ours_are_not(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here = dict.fromkeys(protocol.NETWORKS, "pocket")
    missing = {"squeeze": "nobody/squeeze", "clip-large": "nobody/large"}
    monkeypatch.setattr(protocol, "NETWORKS", {**here, **missing})
    words = [*asked, "--encoder", "paper", "--limit", "1"]
    assert protocol.main(words) == 0
    told, found = capsys.readouterr(), json.loads((tmp_path / "out" / "pie.json").read_text())
    lost = {"benchmark: LPIPS outside": "nobody/squeeze", "benchmark: CLIP similarity": "nobody/large",
            "benchmark: CLIP similarity of the edited part": "nobody/large"}  # fmt: skip
    assert len(found) == 16 - 3 and not lost.keys() & found.keys()
    for row, model in lost.items():
        assert told.err.index(f"{row} is left out: {model}") < told.err.index("1 of 1: 000")
        assert f"- {row} is left out: {model}" in told.out and f"| {row} |" not in told.out
    monkeypatch.setattr(protocol, "NETWORKS", {**here, "alex": "nobody/alex"})
    assert protocol.main([*words, "-o", str(tmp_path / "other")]) == 2
    assert "nobody/alex" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_one_picture_s_error_is_unknown_and_what_has_no_number_is_counted(
    protocol: Any, asked: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (out / "pie.md").read_text()
    assert "± –" not in text and "(n = " not in text
    assert protocol.main([*asked, "--limit", "1"]) == 0
    text = capsys.readouterr().out
    assert text.count(" ± – |") == 16 and "± 0.0" not in text and "(n = " not in text
    source, edited = (out / place / "000.png" for place in ("sources", "edited"))
    edited.write_bytes(source.read_bytes())  # nothing differs: its PSNR is infinite, its MSE 0
    assert protocol.main(asked) == 0
    alone = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" ± – (n = 1) |")]
    assert [line.split("|")[1] for line in alone] == [" PSNR outside ", " benchmark: PSNR outside "]
    assert protocol.main([*asked, "--limit", "1"]) == 1
    text = capsys.readouterr().out
    assert "- PSNR outside has no number: psnr: no value for any of 1 pictures" in text
    assert "| PSNR outside |" not in text and "| MSE outside | 0.0000 ± – |" in text


def test_a_longer_limit_goes_on_and_a_shorter_one_forgets_nothing(
    protocol: Any, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping, few = tmp_path / "pie" / "mapping_file.json", [*asked, "--limit", "1"]
    assert protocol.main(few) == 0
    cases = json.loads(mapping.read_text())
    cases["001"]["editing_prompt"] = "a photo of a [bird]"  # not edited yet: nothing old is there
    mapping.write_text(json.dumps(cases))
    for words, edited in ((asked, ["2 of 2: 001"]), (few, []), (asked, [])):
        capsys.readouterr()
        assert protocol.main(words) == 0
        assert [line for line in capsys.readouterr().err.splitlines() if " of " in line] == edited


@pytest.mark.parametrize(
    "changed",
    [{"editing_prompt": "a photo of a cow"}, {"original_prompt": "a cat"}, {"blended_word": "cat dog"},
     {"mask": [0, 9]}, {}],
    ids=lambda changed: " ".join(changed) or "photo",
)  # fmt: skip
def test_an_edit_of_data_that_changed_is_not_taken_for_the_new(
    protocol: Any, asked: list[str], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any],
) -> None:  # fmt: skip
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    cases = json.loads((tmp_path / "pie" / "mapping_file.json").read_text())
    cases["001"] |= changed
    (tmp_path / "pie" / "mapping_file.json").write_text(json.dumps(cases))
    if not changed:
        photo(7, (64, 64)).save(tmp_path / "pie" / "annotation_images" / "001.jpg")
    assert protocol.main(asked) == 2
    said = f"{out / 'edited' / '001.png'} is of other prompts, words, mask or photo: name another folder"
    assert capsys.readouterr().err == f"pie_bench: {said}\n"
    assert {path: path.read_bytes() for path in before} == before


def test_blending_is_the_benchmark_s(protocol: Any, tmp_path: Path) -> None:
    """The target's word twice as loud where the prompt says it, in methods that can; no words: neither."""
    (tmp_path / "edit.toml").write_text("blend_threshold = 0.4\nguidance = 2\n")
    p2p = protocol.Way.of("edit", "prompt-to-prompt", tmp_path / "edit.toml")
    case = EditCase("000", tmp_path, "a cat", "a dog", "", "random", ("cat", "dog"), ())
    same = {"blend_threshold": 0.4, "guidance": 2.0}
    assert protocol.blending(case, p2p) == {**same, "blend": ["cat", "dog"], "louder": {"dog": 2.0}}
    unsaid = EditCase("000", tmp_path, "a cat", "a pet", "", "random", ("cat", "dog"), ())
    assert protocol.blending(unsaid, p2p) == {**same, "blend": ["cat", "dog"]}
    plain = EditCase("000", tmp_path, "a cat", "a dog", "", "random", None, ())
    assert protocol.blending(plain, p2p) == {"guidance": 2.0}


def test_words_to_blend_by_change_the_cases_that_have_them(
    protocol: Any, asked: list[str], done: Path, tmp_path: Path
) -> None:
    asked.remove("--blend")
    assert protocol.main(asked) == 0
    places = [
        [home / "edited" / name for home in (done, tmp_path / "out")] for name in ("000.png", "001.png")
    ]
    assert [one.read_bytes() == other.read_bytes() for one, other in places] == [False, True]
