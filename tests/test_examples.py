"""Photos with prompts: what is in a folder, what becomes of it, and which prompts cannot be meant."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tiny
from motif.concept import Concept
from motif.errors import InputError
from motif.images import MASKS
from motif.learn import custom_diffusion
from motif.learn.examples import Examples, check_token, find_nouns, find_tokens
from motif.learn.survey import survey
from motif.weights import is_cross_kv, select
from pieces import Model

DUCKS = Path(__file__).parents[1] / "examples" / "duck_toy"
PROMPT = "photo of a <new1> toy"


@pytest.fixture
def ducks(tmp_path: Path) -> Path:
    """Four photos, 00.jpg to 03.jpg, to add things to."""
    return Path(shutil.copytree(DUCKS, tmp_path / "ducks"))


def fates(folder: Path, **keywords: Any) -> dict[str, str]:
    return {file.path.name: file.fate for file in survey(folder, **keywords).files}


# -- surveys ---------------------------------------------------------------------------------------------------


def test_ordinary_photos_are_used() -> None:
    found = survey(DUCKS)
    assert [file.path.name for file in found.used] == ["00.jpg", "01.jpg", "02.jpg", "03.jpg"]
    assert found.problems == () and found.notices == ()


def test_every_file_has_a_fate_and_a_reason(ducks: Path) -> None:
    clutter = [".DS_Store", "._00.jpg", "Thumbs.db", "notes.txt", "labels.csv", "film.mp4", "model.bin"]
    for name in clutter:
        (ducks / name).write_bytes(b"something")
    (ducks / "more").mkdir()
    (ducks / "text.jpg").write_text("not a picture")
    (ducks / "cut.jpg").write_bytes((ducks / "00.jpg").read_bytes()[:2000])
    (ducks / "empty.png").touch()
    Image.new("RGB", (1, 1)).save(ducks / "pixel.png")
    Image.new("RGB", (15, 400)).save(ducks / "thin.png")
    found = survey(ducks)
    assert {file.path.name for file in found.files} == {path.name for path in ducks.iterdir()}
    assert all(file.why for file in found.files)
    assert {file.path.name for file in found.of("skipped")} == {*clutter, "more"}
    refused = {"text.jpg", "cut.jpg", "empty.png", "pixel.png", "thin.png"}
    assert {file.path.name for file in found.of("refused")} == refused
    assert len(found.used) == 4
    for name in refused:
        assert (ducks / name).exists()
        assert any(name in line for line in found.problems)


def test_a_picture_by_another_name_is_used(ducks: Path) -> None:
    shutil.copy(ducks / "00.jpg", ducks / "IMG_0001")
    shutil.copy(ducks / "01.jpg", ducks / "photo.dat")
    assert fates(ducks)["IMG_0001"] == fates(ducks)["photo.dat"] == "used"


@pytest.mark.parametrize(
    ("resolution", "warned"), [(None, False), (64, False), (128, False), (132, True), (512, True)]
)
def test_photos_under_a_quarter_of_the_resolution_are_warned_about(
    tmp_path: Path, resolution: int | None, warned: bool
) -> None:
    Image.linear_gradient("L").resize((32, 32)).save(tmp_path / "a.png")
    (file,) = survey(tmp_path, resolution=resolution).used
    assert any("blurred" in warning for warning in file.warnings) == warned


def test_what_is_good_to_know_is_said(ducks: Path) -> None:
    shutil.copy(ducks / "00.jpg", ducks / "again.jpg")
    Image.new("RGB", (64, 64), "red").save(ducks / "flat.png")
    Image.open(ducks / "01.jpg").resize((90, 60)).save(ducks / "wide.png")
    Image.open(ducks / "01.jpg").resize((300, 60)).save(ducks / "banner.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(ducks / "02.jpg").resize((64, 40)).save(ducks / "turned.jpg", exif=exif)
    found = {file.path.name: file for file in survey(ducks).used}
    assert "same file as 00.jpg" in found["again.jpg"].warnings[0]
    assert "flat colour" in found["flat.png"].warnings[0]
    assert found["wide.png"].notes == ("the centre square keeps 67 % of it",)
    assert found["banner.png"].warnings == ("the centre square keeps 20 % of it",)
    assert "upright" in found["turned.jpg"].notes[0] and found["turned.jpg"].size == (40, 64)


def test_files_come_in_natural_order(tmp_path: Path) -> None:
    for i in (10, 9, 1):
        Image.linear_gradient("L").save(tmp_path / f"cat{i}.png")
    assert [file.path.name for file in survey(tmp_path).used] == ["cat1.png", "cat9.png", "cat10.png"]


def test_one_file_and_a_list_of_files_are_places_too() -> None:
    assert len(survey(DUCKS / "01.jpg").used) == 1
    listed = survey([DUCKS / "02.jpg", str(DUCKS / "00.jpg")])
    assert [file.path.name for file in listed.used] == ["02.jpg", "00.jpg"]
    with pytest.raises(InputError, match="no such picture"):
        survey([DUCKS / "none.jpg"])


def test_a_kohya_folder_is_read_with_a_notice(tmp_path: Path) -> None:
    shutil.copytree(DUCKS, tmp_path / "train" / "10_sks dog")
    for place in (tmp_path / "train", tmp_path / "train" / "10_sks dog"):
        found = survey(place)
        assert len(found.used) == 4 and "10 repeats" in found.notices[0] and "sks dog" in found.notices[0]


def retrieved(folder: Path, inner: str, count: int = 3) -> Path:
    """What the released retrieve.py leaves, on another machine: pictures and three lists beside them."""
    (folder / inner).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.linear_gradient("L").resize((20 + i, 20)).save(folder / inner / f"{i}.jpg")
    lists = {
        "images": f"real_reg/cat/{inner}/{{}}.jpg",
        "caption": "a cat, number {}",
        "urls": "http://x.org/{}",
    }
    for name, line in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line.format(i)}\n" for i in range(count)))
    return folder


@pytest.mark.parametrize("inner", ["images", "wooden_pot", "."])
def test_a_retrieved_set_is_its_lists(tmp_path: Path, inner: str) -> None:
    """Of both releases, and with the pictures beside the lists; wherever they were written."""
    found = survey(retrieved(tmp_path, inner))
    assert [(f.path.name, f.caption) for f in found.used] == [
        (f"{i}.jpg", f"a cat, number {i}") for i in range(3)
    ]
    assert not found.problems and not found.notices
    (tmp_path / inner / "1.jpg").unlink()
    (tmp_path / inner / "2.txt").write_text("its own")
    found = survey(tmp_path)
    assert [f.caption for f in found.used] == ["a cat, number 0", "its own"]
    assert "1 of 3 pictures of images.txt are not there" in found.notices[0]
    (tmp_path / "caption.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"images.txt has 3 lines and caption.txt 2"):
        survey(tmp_path)


def test_the_one_folder_of_a_folder_is_meant(tmp_path: Path) -> None:
    shutil.copytree(DUCKS, tmp_path / "images")
    (tmp_path / ".cache").mkdir()
    found = survey(tmp_path)
    assert len(found.used) == len(survey(DUCKS).used) and "pictures are those of images" in found.notices[0]
    (tmp_path / "more").mkdir()
    assert not survey(tmp_path).used  # which of the two is not known


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ["it is empty"]),
        (["notes.txt", "film.mp4"], ["text", "video", "notes.txt"]),
        ([".hidden"], ["hidden file"]),
        (["a.jpg"], ["a.jpg is refused", "not a picture"]),
    ],
)
def test_a_folder_without_photos_says_what_is_there(
    tmp_path: Path, names: list[str], words: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError) as caught:
        survey(tmp_path).require_used()
    assert str(caught.value).startswith(f"{tmp_path}: no photo to learn from")
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "word"), [("none/here", "no such folder"), ("https://x.org/cat", "download")]
)
def test_a_place_that_is_not_there_is_named(place: str, word: str) -> None:
    with pytest.raises(InputError, match=rf"{place}.*{word}"):
        survey(place)


# -- captions and masks ----------------------------------------------------------------------------------------


def test_captions_come_from_files_beside_and_from_metadata(ducks: Path) -> None:
    (ducks / "00.txt").write_text("\ufeffa {concept}\n on a bench\n", encoding="utf-8")
    (ducks / "01.txt").write_text("the <new1> toy in snow")
    (ducks / "02.txt").write_text("  ")
    lines = [
        {"file_name": "01.jpg", "text": "lost to 01.txt"},
        {"file_name": "03.jpg", "text": "{concept} at night"},
    ]
    (ducks / "metadata.jsonl").write_text("\n\n".join(json.dumps(line) for line in lines))
    examples = Examples(ducks, PROMPT)
    captions = ["a <new1> toy on a bench", "the <new1> toy in snow", PROMPT, "<new1> toy at night"]
    assert [photo.caption for photo in examples.photos] == captions
    assert {name: fate for name, fate in fates(ducks).items() if fate == "caption"}.keys() == {
        "00.txt", "01.txt", "02.txt", "metadata.jsonl",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("photo", "beside"),
    [
        ("IMG_1.JPG", "IMG_1.TXT"),
        ("IMG_1.JPG", "IMG_1.Caption"),
        ("IMG_1.JPG", "img_1.txt"),
        ("img_1.jpg", "IMG_1.TXT"),
        ("a.b.jpg", "a.b.txt"),
    ],
)
def test_what_is_called_a_caption_is_the_caption(tmp_path: Path, photo: str, beside: str) -> None:
    shutil.copy(DUCKS / "00.jpg", tmp_path / photo)
    (tmp_path / beside).write_text("a {concept} on a bench")
    assert fates(tmp_path) == {photo: "used", beside: "caption"}
    assert [p.caption for p in Examples(tmp_path, PROMPT).photos] == ["a <new1> toy on a bench"]


def test_a_caption_belongs_to_the_photo_of_its_very_name_first(tmp_path: Path) -> None:
    for name in ("a.jpg", "A.jpg", "b.jpg"):
        shutil.copy(DUCKS / "00.jpg", tmp_path / name)
    for name in ("a.txt", "b.TXT", "b.txt", "b.caption"):
        (tmp_path / name).write_text(f"{{concept}} by {name}")
    captions = {p.path.name: p.caption for p in Examples(tmp_path, PROMPT).photos}
    assert captions == {"a.jpg": "<new1> toy by a.txt", "A.jpg": PROMPT, "b.jpg": "<new1> toy by b.txt"}
    assert {name for name, fate in fates(tmp_path).items() if fate == "caption"} == {"a.txt", "b.txt"}


def test_a_caption_without_the_token_is_named(ducks: Path) -> None:
    (ducks / "00.txt").write_text("a toy on a bench")
    with pytest.raises(InputError, match=r"00\.jpg.*does not name <new1>"):
        Examples(ducks, PROMPT)
    (ducks / "00.txt").write_text("a <new1> and a <new2>")
    with pytest.raises(InputError, match="<new2>"):
        Examples(ducks, PROMPT)


def test_a_broken_metadata_line_is_named_and_missing_files_are_noticed(ducks: Path) -> None:
    (ducks / "metadata.jsonl").write_text('{"file_name": "gone.jpg", "text": "x"}\n')
    assert "gone.jpg is not there" in survey(ducks).notices[0]
    assert survey(ducks / "00.jpg").notices == survey(ducks).notices, (
        "a file that is there, but not asked for"
    )
    wrong = [json.dumps({"file_name": "00.jpg", "text": text}) for text in (3, True, ["x"], {"en": "x"})]
    for line in ("{", '{"file_name": "a"}', "[]", "3", '{"file_name": 1, "text": "x"}', *wrong):
        (ducks / "metadata.jsonl").write_text('{"file_name": "00.jpg", "text": "x"}\n' + line)
        with pytest.raises(InputError, match=r"metadata\.jsonl, line 2"):
            survey(ducks)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_an_empty_metadata_text_is_no_caption(ducks: Path, text: str | None) -> None:
    (ducks / "metadata.jsonl").write_text(json.dumps({"file_name": "00.jpg", "text": text}))
    photo = Examples(ducks, PROMPT).photos[0]
    assert (photo.caption, photo.captioned) == (PROMPT, False)
    assert survey(ducks).used[0].caption is None


def test_a_caption_that_is_no_text_refuses_its_photo(ducks: Path) -> None:
    (ducks / "00.txt").write_bytes(b"\xff\xfe\xfa")
    assert fates(ducks)["00.jpg"] == "refused"


def test_masks_are_found_beside_photos(ducks: Path) -> None:
    Image.new("L", (512, 512), 255).save(ducks / "00-mask.png")
    Image.new("L", (512, 512), 255).save(ducks / "else-mask.png")
    assert fates(ducks)["00-mask.png"] == "mask" and fates(ducks)["else-mask.png"] == "skipped"
    photos = Examples(ducks, PROMPT).photos
    assert photos[0].mask is not None and photos[1].mask is None


@pytest.mark.parametrize("ending", MASKS)
def test_a_mask_is_a_mask_in_capitals_too(ducks: Path, ending: str) -> None:
    Image.new("L", (512, 512), 255).save(ducks / f"00{ending}", "PNG")
    assert fates(ducks)[f"00{ending}"] == "mask"
    examples = Examples(ducks, PROMPT)
    assert [photo.mask is not None for photo in examples.photos] == [True, False, False, False]
    assert [mask != "" for mask in examples.masks()] == [True, False, False, False]


@pytest.mark.parametrize("name", ["00-mask.jpg", "00-Mask.webp", "00-mAsK.png", "00-mask.dat", "00-mask.JPG"])
def test_a_mask_of_another_kind_is_no_photo(ducks: Path, name: str) -> None:
    Image.new("L", (512, 512), 255).save(ducks / name, "JPEG")
    looked = survey(ducks)
    (file,) = (file for file in looked.files if file.path.name == name)
    assert (file.fate, file.why) == ("skipped", "not read as a mask: save it as 00-mask.png")
    assert any(line.endswith(file.why) for line in looked.problems)
    assert len(Examples(ducks, PROMPT)) == 4 and Examples(ducks, PROMPT).photos[0].mask is None


def test_one_photo_has_one_mask_and_a_name_alone_makes_none(ducks: Path) -> None:
    for name in ("00-mask.png", "00-MASK.PNG"):
        Image.new("L", (512, 512), 255).save(ducks / name)
    shutil.copy(ducks / "01.jpg", ducks / "carnival-mask.jpg")
    (ducks / "carnival-mask.txt").write_text("{concept} with feathers")
    found = fates(ducks)
    assert (found["00-mask.png"], found["00-MASK.PNG"]) == ("mask", "skipped")
    assert (found["carnival-mask.jpg"], found["carnival-mask.txt"]) == ("used", "caption")


def test_an_unopened_survey_says_the_same_of_sound_files(
    ducks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ducks / "00.TXT").write_text("a {concept}")
    Image.new("L", (512, 512), 255).save(ducks / "01-mask.png")
    (ducks / "02.txt").write_bytes(b"\xff\xfe\xfa")
    (ducks / "notes.txt").write_text("x")

    def told() -> list[tuple[str, str, str | None]]:
        return [(file.path.name, file.fate, file.caption) for file in survey(ducks, opened=False).files]

    before = [(file.path.name, file.fate, file.caption) for file in survey(ducks).files]
    monkeypatch.setattr("motif.learn.survey.open_picture", lambda path: pytest.fail(f"{path} was opened"))
    assert told() == before
    assert [name for name, fate, _ in told() if fate == "refused"] == ["02.jpg"]


# -- examples --------------------------------------------------------------------------------------------------


def test_examples_know_their_token_and_noun() -> None:
    examples = Examples(DUCKS, PROMPT)
    assert (examples.token, examples.noun, examples.phrase, len(examples)) == (
        "<new1>",
        "toy",
        "<new1> toy",
        4,
    )
    assert examples.photos[0].image.size == (512, 512) and examples.photos[0].image.mode == "RGB"
    assert Examples(DUCKS, PROMPT, noun="rubber duck").nouns == {"<new1>": "rubber duck"}


def test_a_prior_needs_no_token() -> None:
    examples = Examples(DUCKS, "photo of a toy", token=None)
    assert examples.token is None and examples.photos[0].caption == "photo of a toy"
    assert examples.tokens == () and examples.nouns == {}
    with pytest.raises(InputError, match="names <new1>, and these pictures teach no word"):
        Examples(DUCKS, PROMPT, token=None)


def test_a_general_concept_is_learned_in_plain_words(sd1: Model, tmp_path: Path) -> None:
    """Card 1.3: no modifier token; keys and values alone are trained, and a run goes on as any other."""
    plain = Examples(DUCKS, "photo of a toy", token=None)
    settings: dict[str, Any] = {"batch_size": 1, "prior_count": 1, "prior_steps": 1, "preview_every": 2}
    with pytest.raises(InputError, match="--class-prompt"):
        custom_diffusion(sd1.base, plain, **settings, steps=2)
    settings |= {"class_prompt": ["photo of a toy"], "checkpoint_every": 1}
    whole = custom_diffusion(sd1.base, plain, **settings, steps=2, folder=tmp_path / "whole")
    custom_diffusion(sd1.base, plain, **settings, steps=1, folder=tmp_path / "parts")
    parts = custom_diffusion(sd1.base, plain, **settings, steps=2, folder=tmp_path / "parts", resume=True)
    assert whole.tokens == {} and whole.record.nouns == {} and whole.record.prompt == "photo of a toy"
    assert whole.changes.keys() == {f"unet.{name}" for name in select(sd1.base.models.unet, is_cross_kv)}
    assert all(change.full().abs().max() > 0 for change in whole.changes.values())
    assert parts == whole == Concept.load(whole.save(tmp_path / "moongate.safetensors"))
    assert whole.describe()["tokens"] == {}
    worn = sd1.base.wear(whole)
    text = sd1.base.read("photo of a toy")
    x = torch.zeros(1, *sd1.base.latent_shape((sd1.base.size, sd1.base.size)))
    assert not torch.equal(
        worn.predict(x, 500, text.states, text.pooled, None),
        sd1.base.predict(x, 500, text.states, text.pooled, None),
    )


@pytest.mark.parametrize(
    ("prompt", "keywords", "words"),
    [
        ("photo of a toy", {}, ["names no new word", "<new1>"]),
        ("photo of a sks toy", {"token": "sks"}, ["<sks>", "already has a meaning"]),
        ("photo of a <new 1> toy", {}, ['"<new 1>"', "one word"]),
        ("photo of a <> toy", {}, ['"<>"', "not a token"]),
        ("photo of a <new1 toy", {}, ["<new1 toy", "not a token"]),
        ("photo of a <new1> toy", {"token": "<new2>"}, ["does not name <new2>"]),
        ("", {}, ["names no new word"]),
    ],
)
def test_prompts_that_cannot_be_meant(prompt: str, keywords: dict[str, str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Examples(DUCKS, prompt, **keywords)
    assert all(word in str(caught.value) for word in words), str(caught.value)


class Vocabulary:
    """As much of a tokenizer as `check_token` asks."""

    def get_vocab(self) -> dict[str, int]:
        return {"cat</w>": 1, "<new7>": 2, "<|endoftext|>": 3, "<i></w>": 4}


@pytest.mark.parametrize("token", ["cat", "<new7>", "<i>", "<|endoftext|>", "new1", "<new 1>", ""])
def test_a_token_that_is_already_a_word_is_refused(token: str) -> None:
    with pytest.raises(InputError):
        check_token(Vocabulary(), token)


@pytest.mark.parametrize("token", ["<new1>", "<my-cat>"])
def test_a_new_token_is_welcome_until_it_is_a_word(token: str) -> None:
    words = tiny.tokenizer()
    assert len(words.tokenize(token)) > 1
    check_token(words, token)
    words.add_tokens(token)
    assert words.tokenize(token) == [token]
    with pytest.raises(InputError, match=f"{token} is already a word"):
        check_token(words, token)


@pytest.mark.parametrize(
    ("prompt", "nouns"),
    [
        ("photo of a <new1> cat", {"<new1>": "cat"}),
        ("photo of a <new1> stuffed toy on a bench", {"<new1>": "stuffed toy"}),
        ("a <new1> cat, sitting", {"<new1>": "cat"}),
        ("a <new1> cat and a <new2> dog", {"<new1>": "cat", "<new2>": "dog"}),
        ("a <a> <b> cat", {"<a>": "cat", "<b>": "cat"}),
        ("a painting in the style of <new1>", {"<new1>": ""}),
        ("<new1>", {"<new1>": ""}),
        ("a cat", {}),
    ],
)
def test_the_noun_is_what_follows_the_token(prompt: str, nouns: dict[str, str]) -> None:
    assert find_nouns(prompt) == nouns


@given(st.lists(st.sampled_from(["<a>", "<b>", "<new1>", "cat", "on", "the", "beach,"]), max_size=8))
def test_tokens_and_nouns_agree(words: list[str]) -> None:
    prompt = " ".join(words)
    tokens = find_tokens(prompt)
    assert set(tokens) == {word for word in words if word.startswith("<")} == find_nouns(prompt).keys()


def test_problems_are_logged_and_the_rest_is_used(ducks: Path, caplog: pytest.LogCaptureFixture) -> None:
    (ducks / "cut.jpg").write_bytes((ducks / "00.jpg").read_bytes()[:2000])
    with caplog.at_level(logging.WARNING, logger="motif"):
        assert len(Examples(ducks, PROMPT)) == 4
    assert "cut.jpg: refused: damaged" in caplog.text
