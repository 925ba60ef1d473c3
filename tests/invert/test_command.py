"""`motif invert`: files, figures, the cache, exits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tiny
from motif.cli import main
from motif.inversion import Inversion

CAPTION = "photo of a cat"


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def motif(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "cache"))

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny.pipeline("sd1").save_pretrained(folder)
    return folder


@pytest.fixture
def picture(photo: Image.Image, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    photo.save(path)
    return path


def words(base: Path, *more: object) -> list[object]:
    return ["--base", base, "--steps", 3, "--height", 16, "--width", 24, *more]


def test_a_photo_becomes_a_file_a_strip_and_figures(
    motif: Any, base: Path, picture: Path, tmp_path: Path
) -> None:
    ran = motif(
        "invert",
        "null-text",
        picture,
        CAPTION,
        "-o",
        tmp_path / "a",
        *words(base, "--inner-steps", 2, "--json"),
    )
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    shown = json.loads(motif("show", tmp_path / "a.inversion", "--json").out)
    assert shown["method"] == "null-text" and shown["prompts"] == [CAPTION] and shown["steps"] == 3
    assert CAPTION in motif("show", tmp_path / "a.inversion").out
    assert (
        told["inversion"].endswith("a.inversion") and told["strip"].endswith("a.png") and not told["cached"]
    )
    assert {"psnr", "ssim", "vae_psnr", "forwards", "backwards", "seconds"} <= told.keys()
    found = Inversion.load(told["inversion"])
    assert found.method == "null-text" and found.steps == 3 and found.size == (16, 24)
    with Image.open(told["strip"]) as strip:
        assert strip.width > 2 * 128
    assert not (tmp_path / "a.run").exists()


def test_the_same_is_not_made_twice_wherever_the_photo_lies(
    motif: Any, base: Path, picture: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "other.png"
    elsewhere.write_bytes(picture.read_bytes())

    def cached(place: Path, *more: object) -> bool:
        ran = motif("invert", "ddim", place, CAPTION, "-o", tmp_path / "x", *words(base, "--json", *more))
        assert ran.code == 0, ran.err
        return json.loads(ran.out)["cached"]

    assert [cached(picture), cached(elsewhere), cached(elsewhere, "--no-cache")] == [False, True, False]
    assert not cached(picture, "--guidance", 2)
    text = motif("invert", "ddim", picture, CAPTION, "-o", tmp_path / "x", *words(base)).out
    assert "psnr" in text and "found in the cache" in text


@pytest.mark.parametrize(
    ("method", "more", "code", "message"),
    [
        ("ddim", ["--steps", 0], 2, "steps is 0"),
        ("ddim", ["--height", 15], 2, "15x24"),
        ("null-txt", [], 2, "did you mean null-text"),
        ("null-text", ["--guidance", 1], 2, "guidance 1"),
        ("ddim", ["--strip", "a.gif"], 2, "png"),
        ("proximal", ["--quantile", 3], 2, "quantile"),
        ("null-text", ["--resume"], 2, "no state to resume"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    motif: Any,
    base: Path,
    picture: Path,
    tmp_path: Path,
    method: str,
    more: list[object],
    code: int,
    message: str,
) -> None:
    ran = motif("invert", method, picture, CAPTION, "-o", tmp_path / "a", *words(base), *more)
    last = ran.err[ran.err.index("motif: ") :]
    assert ran.code == code and message in last and last.count("\n") <= 2 and "Traceback" not in ran.err
    assert not (tmp_path / "a.inversion").exists()


def test_a_photo_is_never_taken_for_the_strip_and_a_wrong_ending_is_named(
    motif: Any, base: Path, picture: Path, tmp_path: Path
) -> None:
    ran = motif("invert", "ddim", picture, CAPTION, "-o", tmp_path / "photo", *words(base))
    assert ran.code == 2 and "--strip" in ran.err
    ran = motif("invert", "ddim", picture, CAPTION, "-o", tmp_path / "a.safetensors", *words(base))
    assert ran.code == 2 and "a.inversion" in ran.err
    ran = motif("invert", "ddim", tmp_path / "none.png", CAPTION, "-o", tmp_path / "a", *words(base))
    assert ran.code == 2 and "none.png: no such picture" in ran.err


def test_previews_are_the_strip_until_it_is_done(
    motif: Any, base: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motif import images

    seen: list[tuple[str, int]] = []
    save = images.save_image

    def saving(image: Image.Image, path: Any) -> Path:
        seen.append((Path(path).name, image.height))
        return save(image, path)

    monkeypatch.setattr(images, "save_image", saving)
    ran = motif("invert", "null-text", picture, CAPTION, "-o", tmp_path / "a",
                *words(base, "--inner-steps", 1, "--preview-every", 1))  # fmt: skip
    assert ran.code == 0, ran.err
    assert [name for name, _ in seen] == ["a.png"] * 4  # three steps and the strip


def test_a_stopped_inversion_goes_on(
    motif: Any, base: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motif.invert import guided

    show, calls = guided.Guided.show, list[int]()

    def stopping(self: Any, step: int, before: Any, after: Any) -> None:
        calls.append(step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        show(self, step, before, after)

    monkeypatch.setattr(guided.Guided, "show", stopping)
    asked = ["invert", "null-text", picture, CAPTION, "-o", tmp_path / "a", *words(base, "--inner-steps", 1)]
    ran = motif(*asked)
    assert ran.code == 130 and "--resume" in ran.err and (tmp_path / "a.run").is_dir()
    assert motif(*asked).code == 2
    ran = motif(*asked, "--resume")
    assert ran.code == 0, ran.err
    assert calls == [0, 1, 2] and not (tmp_path / "a.run").exists()  # the step that was done is kept


def test_several_photos_go_together_with_one_caption_or_their_own(
    motif: Any, base: Path, tmp_path: Path, photos: list[Image.Image]
) -> None:
    """Each is what it is alone, and the strip has a row for each."""
    places = [tmp_path / f"{i}.png" for i in range(2)]
    for photo, place in zip(photos, places, strict=True):
        photo.save(place)
    own, few = "photo of a cat | photo of tea", words(base, "--inner-steps", 1, "--json")
    ran = motif("invert", "null-text", *places, own, "-o", tmp_path / "both", *few)
    assert ran.code == 0, ran.err
    both = Inversion.load(tmp_path / "both.inversion")
    assert len(both) == 2 and both.prompts == ("photo of a cat", "photo of tea")
    assert motif("invert", "null-text", places[1], "photo of tea", "-o", tmp_path / "one", *few).code == 0
    one = Inversion.load(tmp_path / "one.inversion")
    assert one.uncond is not None and both.uncond is not None
    assert (both.only(1).latents - one.latents).abs().max() < 1e-4
    with Image.open(tmp_path / "both.png") as two, Image.open(tmp_path / "one.png") as alone:
        assert two.height > 1.6 * alone.height and two.width == alone.width
    assert motif("invert", "direct", *places, CAPTION, "-o", tmp_path / "same", *words(base)).code == 0
    assert Inversion.load(tmp_path / "same.inversion").prompts == (CAPTION, CAPTION)
    ran = motif("invert", "direct", *places, "a | b | c", "-o", tmp_path / "x", *words(base))
    assert ran.code == 2 and "3 prompts for 2 photos" in ran.err
    ran = motif("invert", "ddim", *places, CAPTION, "-o", tmp_path / "1", *words(base))
    assert ran.code == 2 and "--strip" in ran.err  # 1.png is one of the photos


def test_what_the_cache_has_needs_no_stopped_run(
    motif: Any, base: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the very same run goes with it; another's stays, and is named when it is in the way."""
    from motif.invert import guided

    def stopping(*_: Any) -> None:
        raise KeyboardInterrupt

    def asked(name: str, inner: int, *more: object) -> Ran:
        return motif("invert", "null-text", picture, CAPTION, "-o", tmp_path / name,
                     *words(base, "--inner-steps", inner, *more))  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(guided.Guided, "show", stopping)
        assert asked("a", 1).code == 130 and asked("b", 2).code == 130
    assert asked("c", 1).code == 0
    assert asked("a", 1).code == 0 and not (tmp_path / "a.run").exists()
    assert asked("b", 1).code == 0 and (tmp_path / "b.run").is_dir()
    assert asked("b", 2, "--resume").code == 0 and not (tmp_path / "b.run").exists()


def test_the_strip_takes_no_picture_s_place_unasked(
    motif: Any, base: Path, picture: Path, tmp_path: Path
) -> None:
    """Beside the output it replaces an inversion's own strip alone."""
    other = tmp_path / "a.png"
    other.write_bytes(picture.read_bytes())
    asked = ["invert", "ddim", picture, CAPTION, "-o", tmp_path / "a", *words(base)]
    ran = motif(*asked)
    assert ran.code == 2 and "a.png: the strip" in ran.err and "--strip" in ran.err
    assert other.read_bytes() == picture.read_bytes() and not (tmp_path / "a.inversion").exists()
    assert motif(*asked, "--strip", other).code == 0  # asked for
    assert motif(*asked).code == 0  # its own


def test_a_forgotten_caption_is_named(motif: Any, base: Path, picture: Path, tmp_path: Path) -> None:
    for photos in ([picture], [picture, picture]):
        ran = motif("invert", "ddim", *photos, "-o", tmp_path / "a", *words(base))
        assert ran.code == 2 and "what it shows" in ran.err and str(picture) in ran.err
    ran = motif("invert", "ddim", tmp_path, CAPTION, "-o", tmp_path / "a", *words(base))
    assert ran.code == 2 and "name the pictures in it" in ran.err


def test_counts_are_whole_and_named(motif: Any, base: Path, picture: Path, tmp_path: Path) -> None:
    asked = ["invert", "ddim", picture, CAPTION, "-o", tmp_path / "a", *words(base)]
    rows = dict(line.split() for line in motif(*asked).out.splitlines()[2:])
    assert (rows["forwards"], rows["backwards"], rows["reconstruction_forwards"]) == ("3", "0", "6")
