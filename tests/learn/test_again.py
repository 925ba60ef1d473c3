"""`motif learn --again`: a concept's record is enough to learn it once more, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tiny
from motif import methods
from motif.cli import main
from motif.concept import Concept

PROMPT = "photo of a <new1> cat"
QUICK = ("--steps", 2, "--batch-size", 2, "--prior-count", 2, "--prior-steps", 2, "--preview-every", 0)
NONE = ("--steps", 2, "--batch-size", 2, "--prior", "none", "--preview-every", 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1 pipeline's folder."""
    folder = tmp_path_factory.mktemp("base")
    tiny.pipeline("sd1").save_pretrained(folder)
    return folder


@pytest.fixture
def album(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "album"))


def learn(*words: object) -> int:
    return main(["learn", *map(str, words)])


@pytest.mark.parametrize("name", sorted(methods.LEARN))
def test_again_is_bit_identical_with_every_method(
    place: Path, album: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder, and of a record that went through a file."""
    prior = () if name == "textual-inversion" else QUICK
    monkeypatch.chdir(tmp_path)
    assert learn(name, "album", PROMPT, "-o", "a", "--base", place, *(prior or NONE)) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert learn("--again", tmp_path / "a.safetensors", "-o", tmp_path / "b") == 0
    a, b = (Concept.load(tmp_path / f"{one}.safetensors") for one in "ab")
    assert a == b and (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_what_is_given_stands_in_place_of_what_is_recorded(place: Path, album: Path, tmp_path: Path) -> None:
    a, b, c = (tmp_path / f"{one}.safetensors" for one in "abc")
    first = (album, PROMPT, "--base", place, "--class-prompt", "a cat", "--rare-tokens", "pll", "--lr", 1e-3)
    assert learn("custom-diffusion", *first, *QUICK, "-o", a) == 0
    file = tmp_path / "more.toml"
    file.write_text("steps = 3\n")
    assert learn("--again", a, "-o", b, "--config", file, "--seed", 4) == 0
    assert learn("custom-diffusion", *first, *QUICK, "--steps", 3, "--seed", 4, "-o", c) == 0
    assert Concept.load(b) == Concept.load(c) != Concept.load(a)
    assert learn("-o", b, "--again", a, album, "photo of a <dog> dog", "--prior", "none") == 0
    dog = Concept.load(b)
    assert list(dog.tokens) == ["<dog>"] and dog.record.nouns == {"<dog>": "dog"}
    assert dog.record.settings["lr"] == 1e-3 and dog.record.settings["prior"] == "none"


def test_a_joint_run_again(place: Path, album: Path, tmp_path: Path) -> None:
    """Plain words beside a token, priors and class prompts of their own."""
    shutil.copytree(album, tmp_path / "reg")
    told = [
        {"instance_prompt": PROMPT, "instance_data_dir": str(album), "class_prompt": "a tea"},
        {"instance_prompt": "photo of a pot", "instance_data_dir": str(album), "class_prompt": "pot",
         "class_data_dir": "reg"},
    ]  # fmt: skip
    (tmp_path / "list.json").write_text(json.dumps(told))
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    first = ("custom-diffusion", "--concepts", tmp_path / "list.json", "--base", place, *QUICK)
    assert learn(*first, "-o", a) == 0 and learn("--again", a, "-o", b) == 0
    assert Concept.load(a) == Concept.load(b) and b.read_bytes() == a.read_bytes()
    assert learn("--again", a, "-o", b, album, PROMPT) == 2


def test_what_was_worn_is_worn_again(
    place: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (tmp_path / f"{one}.safetensors" for one in "abc")
    assert learn("textual-inversion", album, PROMPT, *NONE, "--base", place, "-o", a) == 0
    words = (album, "photo of a <new2> tea", *NONE, "--base", place)
    assert learn("custom-diffusion", *words, "--wear", a, "-o", b) == 0
    assert learn("--again", b, "-o", c) == 2 and "give what it wore" in capsys.readouterr().err
    assert learn("--again", b, "-o", c, "--wear", a) == 0 and Concept.load(b) == Concept.load(c)
    assert learn("textual-inversion", album, PROMPT, *NONE, "--base", place, "--seed", 1, "-o", a) == 0
    assert (
        learn("--again", b, "-o", c, "--wear", a) == 2 and "another concept worn" in capsys.readouterr().err
    )


def test_photos_that_moved_or_changed_are_told_of(
    place: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert learn("custom-diffusion", album, PROMPT, *NONE, "--base", place, "-o", a) == 0
    moved = album.rename(tmp_path / "moved")
    assert learn("--again", a, "-o", b) == 2
    assert f"are not at {album} any more" in capsys.readouterr().err
    assert learn("--again", a, moved, "-o", b) == 0  # its prompt is the recorded one
    assert Concept.load(a).fingerprint == Concept.load(b).fingerprint
    shutil.copytree(moved, album)
    shutil.copy(moved / "1.png", album / "0.png")
    assert learn("--again", a, "-o", b) == 2
    assert "other photos (0.png is not what it was)" in capsys.readouterr().err
    assert learn("--again", a, album, "-o", b) == 0
    assert Concept.load(a).fingerprint != Concept.load(b).fingerprint


def test_what_cannot_be_repeated_says_why(
    place: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert learn("textual-inversion", album, PROMPT, *NONE, "--base", place, "-o", a) == 0
    assert main(["merge", str(a), "-o", str(b), "--base", str(place)]) == 0
    for words, said in (
        (("--again", b, "-o", tmp_path / "c"), "was made by merge"),
        (("--again", tmp_path / "none", "-o", b), "no such concept file"),
        (("--again", a, "-o", a), "is the concept that is repeated"),
        (("ico", "--again", a, "-o", b), "was learned by textual-inversion"),
        (("--again",), "--again"),
        (("textual-inversion", "-o", b), "--again CONCEPT"),
    ):
        assert learn(*words) == 2, words
        assert said in capsys.readouterr().err


def test_what_follows_from_a_new_setting_follows_anew(place: Path, album: Path, tmp_path: Path) -> None:
    """LoRA's own rate, and the word's rate that is the weights'."""
    a, b, c = (tmp_path / f"{one}.safetensors" for one in "abc")
    short = (album, PROMPT, "--base", place, *NONE)
    for method, more in (("dreambooth", ("--lora", 2)), ("custom-diffusion", ("--lr", 1e-3))):
        assert learn(method, *short, "-o", a) == 0
        assert learn("--again", a, "-o", b, *more) == 0 and learn(method, *short, *more, "-o", c) == 0
        assert Concept.load(b) == Concept.load(c) != Concept.load(a)
