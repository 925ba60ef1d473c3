"""`motif edit`: from an inversion's file, a picture or a seed to pictures, and what it refuses before the work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tiny
from edit_pieces import inverted, photo
from motif.base import Base
from motif.cli import main
from motif.inversion import Inversion
from pieces import concept_of

Ran = tuple[int, str, str]
"""Exit, stdout, stderr."""

SOURCE, TARGET = "a cat on sea", "a dog on sea"
FEW = ("--steps", 3, "--source", SOURCE, "--guidance", 3)


@pytest.fixture
def motif(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: Path
) -> Callable[..., Ran]:
    """Run `motif edit` in this process, on the tiny base."""
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "cache"))

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main(["edit", *[str(word) for word in words], "--base", str(base)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1 pipeline's folder."""
    folder = tmp_path_factory.mktemp("base")
    tiny.pipeline("sd1").save_pretrained(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    photo(3, (40, 60)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def failed(ran: Ran, *words: str) -> bool:
    """Exit 2, and a message of a line or two with these words."""
    message = ran[2][ran[2].index("motif: ") :]
    assert ran[0] == 2 and message.count("\n") <= 2 and "Traceback" not in message, ran
    assert all(word in message for word in words), message
    return True


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_picture_is_inverted_edited_and_kept(motif, picture, tmp_path):
    out, strip, kept = tmp_path / "dog.png", tmp_path / "strip.png", tmp_path / "cat.inversion"
    words = (
        TARGET,
        *FEW,
        "--strip",
        strip,
        "--keep",
        kept,
        "--blend",
        "cat",
        "--blend",
        "dog",
        "--louder",
        "dog=2",
    )
    ran = motif("prompt-to-prompt", picture, *words, "-o", out, "--json")
    assert ran[0] == 0, ran
    told = json.loads(ran[1])
    assert told["files"] == [str(out), str(strip), str(kept)]
    assert told["evaluations"] == 3 * 3  # the source's way is known
    assert pixels(out).shape == (16, 16, 3) and pixels(strip).shape[1] > 4 * 128
    assert Inversion.load(kept).method == "direct"

    again = tmp_path / "again.png"
    from_file = (kept, TARGET, "-o", again, "--blend", "cat", "--blend", "dog", "--louder", "dog=2")
    assert motif("prompt-to-prompt", *from_file)[0] == 0
    assert (pixels(again) == pixels(out)).all()


def test_several_targets_have_a_sheet_and_lie_beside_it(motif, tmp_path):
    out = tmp_path / "out.png"
    ran = motif("word-swap", "seed:4", TARGET, "a red cat on sea", *FEW, "-o", out)
    assert ran[0] == 0, ran
    assert ran[1].split() == [str(tmp_path / name) for name in ("out.png", "out-1.png", "out-2.png")]
    assert not (pixels(tmp_path / "out-1.png") == pixels(tmp_path / "out-2.png")).all()


def test_custom_edit_is_one_command(motif, picture, base, tmp_path):
    concept, out = tmp_path / "cat.safetensors", tmp_path / "out.png"
    concept_of(Base.load(str(base))).save(concept)
    words = (
        "--target",
        "a <new1> cat on sea",
        "--wear",
        concept,
        "--invert",
        "negative-prompt",
        *FEW,
        "-o",
        out,
    )
    ran = motif("custom-edit", picture, *words, "--strengths", ".4,.6")
    assert ran[0] == 0, ran
    assert (tmp_path / "out-2.png").is_file()
    ran = motif("custom-edit", picture, *words, "--strength", 0.6)
    assert ran[0] == 0 and (pixels(out) == pixels(tmp_path / "out-2.png")).all()


@pytest.fixture
def concept(base: Path, tmp_path: Path) -> Path:
    """A random one, called <new1>."""
    concept_of(Base.load(str(base))).save(tmp_path / "cat.safetensors")
    return tmp_path / "cat.safetensors"


def test_custom_edit_picks_a_strength_and_inverts_by_null_text(motif, picture, concept, tmp_path):
    references, out, kept = tmp_path / "references", tmp_path / "out.png", tmp_path / "cat.inversion"
    references.mkdir()
    for i in range(2):
        photo(i, (32, 32)).save(references / f"{i}.png")
    words = ("--target", "a <new1> cat on sea", "--wear", concept, *FEW[2:], "--steps", 2, "-o", out)
    ran = motif("custom-edit", picture, *words, "--strength", 0.5, "--keep", kept)
    assert ran[0] == 0 and out.is_file(), ran
    assert (made := Inversion.load(kept)).method == "null-text" and made.made.cost["backwards"] > 0
    auto = ("--auto", "--strengths", "0,.5", "--references", references, "--encoder", "pocket", "--json")
    ran = motif("custom-edit", picture, *words, *auto)
    assert ran[0] == 0, ran
    told = json.loads(ran[1])
    assert told["files"] == [str(out)] and told["why"].count("<- picked") == 1
    assert [line.split(":")[0] for line in told["why"].splitlines()[:2]] == ["strength 0", "strength 0.5"]


def test_p2plus_and_style_transfer(motif, picture, base, tmp_path):
    out, plain = tmp_path / "out.png", tmp_path / "plain.png"
    assert motif("word-swap", picture, TARGET, "--invert", "direct", *FEW, "-o", plain)[0] == 0
    ran = motif("p2plus", picture, TARGET, *FEW, "--uncond-until", 0.7, "-o", out, "--json")
    assert ran[0] == 0, ran
    assert (
        json.loads(ran[1])["evaluations"] == 3 * 2 + 3 + 2
    )  # source: the caption's side 3 times, the other twice
    assert not (pixels(out) == pixels(plain)).all()
    style = inverted(Base.load(str(base)), "value-embedding", photo(5), "tea", steps=3).save(tmp_path / "tea")
    ran = motif("style-transfer", picture, TARGET, *FEW, "--style", style, "-o", out)
    assert ran[0] == 0, ran
    assert not (pixels(out) == pixels(plain)).all()


def test_sdedit_and_pix2pix_zero(motif, picture, tmp_path):
    out = tmp_path / "out.png"
    assert motif("sdedit", picture, TARGET, "--strength", 0.7, "--steps", 3, "-o", out)[0] == 0
    captions = tmp_path / "dogs.txt"
    captions.write_text("a dog\n\na dog on sea\n")
    words = (TARGET, *FEW, "--source-captions", "a cat", "--target-captions", captions, "-o", out)
    assert motif("pix2pix-zero", picture, *words)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["IMAGE", TARGET, "-o", "OUT"], ["--source"]),
        (["IMAGE", TARGET, *FEW, "-o", "x.tiff"], [".png"]),
        (["IMAGE", TARGET, *FEW, "-o", "OUT", "--strip", "OUT"], ["strip"]),
        (["IMAGE", "a <new1> cat", *FEW, "-o", "OUT"], ["<new1>"]),
        (["nobody.inversion", TARGET, "-o", "OUT"], ["nobody.inversion"]),
        (["nobody.png", TARGET, *FEW, "-o", "OUT"], ["nobody.png"]),
        (["seed:3", TARGET, *FEW, "--invert", "ddim", "-o", "OUT"], ["--invert"]),
        (["seed:3", TARGET, *FEW, "--louder", "tiger=2", "-o", "OUT"], ["tiger"]),
        (["IMAGE", TARGET, *FEW, "--resume", "-o", "OUT"], ["--resume", "direct"]),
        (["IMAGE", TARGET, *FEW, "--invert", "null-text", "--resume", "-o", "OUT"], ["no state"]),
        (["IMAGE", TARGET, *FEW, "--preview-every", 1, "-o", "OUT"], ["--preview-every", "direct"]),
        (["seed:3", TARGET, *FEW, "--preview-every", 1, "-o", "OUT"], ["--preview-every"]),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(motif, picture, tmp_path, words, said):
    names = {"IMAGE": picture, "OUT": tmp_path / "out.png", "x.tiff": tmp_path / "x.tiff"}
    assert failed(motif("prompt-to-prompt", *[names.get(word, word) for word in words]), *said)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("prompt-to-prompt", "cat.png", TARGET, *FEW, "-o", "cat.png"),
        ("sdedit", "cat.png", TARGET, "--steps", 3, "-o", "cat.png"),
        ("word-swap", "cat.png", TARGET, *FEW, "-o", "out.png", "--strip", "cat.png"),
        ("word-swap", "cat-1.png", TARGET, "a red cat on sea", *FEW, "-o", "cat.png"),
        ("word-swap", "seed:1", TARGET, "a red cat on sea", *FEW, "-o", "out.png", "--strip", "out-2.png"),
        (
            "word-swap",
            "cat-preview.png",
            TARGET,
            *FEW,
            "--invert",
            "null-text",
            "--preview-every",
            1,
            "-o",
            "cat.png",
        ),
        (
            "word-swap",
            "cat.png",
            TARGET,
            *FEW,
            "--invert",
            "null-text",
            "--preview-every",
            1,
            "-o",
            "cat.jpg",
        ),
    ],
)
def test_no_result_takes_the_photo_s_place(motif, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    photos = [Path(name) for name in ("cat.png", "cat-1.png", "cat-preview.png")]
    for i, path in enumerate(photos):
        photo(i, (40, 60)).save(path)
    before = [path.read_bytes() for path in photos]
    assert failed(motif(*words), "name another file")
    assert [path.read_bytes() for path in photos] == before


def test_how_long_values_are_fed_is_the_edit_s_to_say(motif, picture, base, tmp_path):
    start = inverted(Base.load(str(base)), "value-embedding", photo(3)).save(tmp_path / "photo")
    found = list[Any]()
    for until in (0, 1):
        assert motif("word-swap", start, TARGET, "-o", tmp_path / "out.png", "--values-until", until)[0] == 0
        found.append(pixels(tmp_path / "out.png"))
    assert failed(
        motif("word-swap", start, TARGET, "-o", tmp_path / "out.png", "--steps", 3), "--steps", "itself"
    )
    assert not (found[0] == found[1]).all()
    ran = motif("word-swap", picture, TARGET, *FEW, "-o", tmp_path / "other.png", "--values-until", 0.5)
    assert failed(ran, "no values") and not (tmp_path / "other.png").exists()
    ran = motif("word-swap", "seed:3", TARGET, *FEW, "-o", tmp_path / "other.png", "--values-until", 0.5)
    assert failed(ran, "a drawn seed replays nothing")


def test_what_learned_values_do_not_go_with_is_said_before_they_are_learned(
    motif, picture, base, tmp_path, monkeypatch
):
    """Minutes of fitting would be lost else."""
    style = inverted(Base.load(str(base)), "value-embedding", photo(3), steps=3).save(tmp_path / "style")
    worked = list[str]()
    monkeypatch.setattr("motif.cli.edit.inverted", lambda *_: worked.append("inverted"))
    out = ("-o", tmp_path / "out.png")
    fed = (picture, TARGET, *FEW, *out, "--invert", "value-embedding")
    assert failed(motif("style-transfer", *fed, "--style", style), "values of its own")
    assert failed(motif("prompt-to-prompt", *fed, "--values-until", 2), "0 and 1")
    assert failed(motif("prompt-to-prompt", *fed, "--blend", "tiger"), "tiger")
    null = (picture, TARGET, *FEW, *out, "--invert", "null-text")
    assert failed(motif("prompt-to-prompt", *null, "--values-until", 0.5), "no values")
    assert not worked


def test_what_cannot_be_read_is_said_before_a_base_is_loaded(picture, tmp_path, capsys):
    """A base takes seconds, or a download."""
    (tmp_path / "torn.png").write_bytes(picture.read_bytes()[:200])
    out = ["-o", str(tmp_path / "out.png"), "--base", str(tmp_path / "no base")]
    for words, said in [
        (["edit", "word-swap", "torn.png", TARGET, "--source", SOURCE], "torn.png"),
        (["edit", "sdedit", "torn.png", TARGET], "torn.png"),
        (["edit", "word-swap", "none.inversion", TARGET], "none.inversion"),
        (
            ["edit", "word-swap", "seed:3", TARGET, "--source", SOURCE, "--wear", "none.safetensors"],
            "none.safe",
        ),
        (["invert", "null-text", "torn.png", SOURCE], "torn.png"),
        (["sample", "plain", SOURCE, "--wear", "none.safetensors"], "none.safetensors"),
        (["attend", SOURCE, "--wear", "none.safetensors"], "none.safetensors"),
    ]:
        there = [str(tmp_path / word) if "none" in word or "torn" in word else word for word in words]
        told = out if words[0] == "edit" else ["-o", str(tmp_path / "seen"), *out[2:]]
        assert main([*there, *told]) == 2
        assert said in (message := capsys.readouterr().err) and "no base" not in message, message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "torn.png"]


def test_the_opposite_senses_of_strength_are_told(capsys):
    assert main(["edit", "sdedit", "--help"]) == 0
    assert "opposite" in capsys.readouterr().out


def test_a_long_inversion_that_was_stopped_goes_on(motif, picture, tmp_path, monkeypatch):
    from motif.invert import guided

    show, calls = guided.Guided.show, list[int]()

    def stopping(self: Any, step: int, before: Any, after: Any) -> None:
        calls.append(step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        show(self, step, before, after)

    monkeypatch.setattr(guided.Guided, "show", stopping)
    words = (picture, TARGET, *FEW, "--invert", "null-text", "-o", tmp_path / "out.png")
    ran = motif("word-swap", *words)
    assert ran[0] == 130 and "--resume" in ran[2] and (tmp_path / "out.run").is_dir()
    assert motif("word-swap", *words, "--resume")[0] == 0
    assert calls == [0, 1, 2] and (tmp_path / "out.png").is_file() and not (tmp_path / "out.run").exists()


def test_a_long_inversion_is_seen_while_it_runs(motif, picture, tmp_path, monkeypatch):
    from motif import images

    save, seen = images.save_image, list[str]()

    def saving(image: Image.Image, path: Any) -> Path:
        seen.append(Path(path).name)
        return save(image, path)

    monkeypatch.setattr(images, "save_image", saving)
    words = (picture, TARGET, *FEW, "--invert", "null-text", "--preview-every", 2)
    strip = tmp_path / "strip.png"
    assert motif("word-swap", *words, "-o", tmp_path / "out.png", "--strip", strip)[0] == 0
    assert seen == ["out-preview.png", "out.png", "strip.png"]  # after the second of three steps
    assert not (tmp_path / "out-preview.png").exists()  # it is of the way there, and no result


def test_photos_that_were_inverted_together_are_edited_together(motif, base, tmp_path):
    from motif.invert import direct

    both = direct(Base.load(str(base)), [photo(1), photo(2)], [SOURCE, "tea on sea"], steps=3, guidance=3.0)
    both.save(tmp_path / "both")
    out, strip = tmp_path / "out.png", tmp_path / "strip.png"
    ran = motif("word-swap", tmp_path / "both.inversion", TARGET, "-o", out, "--strip", strip)
    assert ran[0] == 0, ran
    assert (tmp_path / "out-1.png").is_file() and (tmp_path / "out-2.png").is_file()
    told = motif(
        "word-swap", tmp_path / "both.inversion", TARGET, "-o", out, "--strip", tmp_path / "out-1.png"
    )
    assert failed(told, "saved there")
    ran = motif(
        "word-swap", "seed:1", TARGET, *FEW, "-o", tmp_path / "one.png", "--strip", tmp_path / "row.png"
    )
    assert (
        ran[0] == 0 and pixels(strip).shape[0] > 1.6 * pixels(tmp_path / "row.png").shape[0]
    )  # a row for each


@pytest.mark.parametrize(
    ("method", "words", "said"),
    [
        ("prompt-to-prompt", [TARGET, "--blend", "tiger"], "tiger"),
        ("prompt-to-prompt", [TARGET, "--self-until", 0.1], "shorter"),
        ("p2plus", [TARGET, "--louder", "tiger=2"], "tiger"),
        ("custom-edit", ["--target", TARGET], "wear"),
        ("style-transfer", [TARGET], "style"),
        ("pix2pix-zero", [TARGET], "null-text"),
        ("word-swap", ["a <new1> cat"], "<new1>"),
    ],
)
def test_what_is_wrong_with_an_edit_is_said_before_its_photo_is_inverted(
    motif, picture, tmp_path, monkeypatch, method, words, said
):
    from motif.invert import fitted

    def working(*_: Any) -> None:
        raise AssertionError("the photo was inverted first")

    monkeypatch.setattr(fitted._Descent, "step", working)
    more = ("--invert", "null-text", *FEW, "-o", tmp_path / "out.png")
    assert failed(motif(method, picture, *words, *more), said)
    assert not (tmp_path / "out.png").exists() and not (tmp_path / "out.run").exists()
