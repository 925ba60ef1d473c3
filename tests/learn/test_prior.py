"""The prior: each source gives pictures with captions, drawn ones once; what cannot work is refused at once."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from motif.errors import InputError, Interrupted
from motif.images import open_picture
from motif.learn import Examples, custom_diffusion, examples, survey
from motif.learn.prior import Prior, find, gather, square
from pieces import concept_of


def bring(base: Any, source: str, prompts: list[str], *, count: int = 200, **how: Any) -> Prior:
    choice = {name: how.pop(name) for name in ("retrieve", "threshold") if name in how}
    return gather(base, find(source, prompts, count=count, **choice), **how)


def captioned(folder: Path, *captions: str) -> str:
    """A folder with a picture for each caption; "" is none."""
    folder.mkdir(exist_ok=True)
    for i, caption in enumerate(captions):
        Image.new("RGB", (40, 40), (i * 50, 0, 90)).save(folder / f"{i}.png")
        if caption:
            (folder / f"{i}.txt").write_text(caption)
    return str(folder)


def test_none_is_empty(base: Any) -> None:
    assert len(bring(base, "none", ["photo of a cat"])) == 0


def test_generated_pictures_are_kept_and_drawn_once(base: Any, tmp_path: Path) -> None:
    drawn: list[tuple[int, int]] = []
    settings: dict[str, Any] = {
        "count": 3,
        "steps": 2,
        "cache": tmp_path,
        "on_picture": lambda i, n: drawn.append((i, n)),
    }
    first = bring(base, "generate", ["photo of a cat"], **settings)
    assert drawn == [(1, 3), (2, 3), (3, 3)]
    assert first.captions == ("photo of a cat",) * 3
    second = bring(base, "generate", ["photo of a cat"], **settings)
    assert len(drawn) == 3, "drawn again"
    assert [a.tobytes() for a in first.images] == [b.tobytes() for b in second.images]
    more = bring(base, "generate", ["photo of a cat"], **settings | {"count": 4})
    assert drawn[3:] == [(1, 1)], "only the missing one is drawn"
    assert more.images[0].tobytes() == first.images[0].tobytes()


def test_ctrl_c_while_pictures_are_drawn_says_what_is_kept(base: Any, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    asked: dict[str, Any] = {"count": 3, "steps": 2, "batch_size": 1}
    with pytest.raises(Interrupted, match=f"kept in {tmp_path}, and the same command goes on"):
        bring(base, "generate", ["photo of a cat"], cache=tmp_path, on_picture=stop, **asked)
    again: list[tuple[int, int]] = []
    bring(
        base, "generate", ["photo of a cat"], cache=tmp_path, on_picture=lambda *at: again.append(at), **asked
    )
    assert again == [(1, 1)], "what was kept is drawn again"
    with pytest.raises(Interrupted, match="nothing is kept"):
        bring(base, "generate", ["photo of a cat"], on_picture=stop, **asked)


def test_another_setting_or_class_is_another_picture(base: Any, tmp_path: Path) -> None:
    bring(base, "generate", ["photo of a cat"], count=1, steps=2, cache=tmp_path)
    bring(base, "generate", ["photo of a cat"], count=1, steps=3, cache=tmp_path)
    bring(base, "generate", ["photo of a tea"], count=1, steps=2, cache=tmp_path)
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_what_the_base_wears_draws_other_pictures(base: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"count": 1, "steps": 2, "cache": tmp_path}
    bare = bring(base, "generate", ["photo of a cat"], **settings)
    worn = bring(base.wear(concept_of(base)), "generate", ["photo of a cat"], **settings)
    assert bare.images[0].tobytes() != worn.images[0].tobytes()
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_a_prior_without_pictures_is_its_captions(base: Any, tmp_path: Path) -> None:
    found = find("base", ["photo of a cat", "a dog"], count=200)
    prior = gather(base, found, cache=tmp_path)
    assert prior.captions == ("photo of a cat", "a dog") and not prior.pictured and len(prior) == 2
    assert not list(tmp_path.iterdir())
    assert found.content() != find("generate", ["photo of a cat", "a dog"], count=2).content()
    with pytest.raises(InputError, match="class word"):
        find("base", [])


def test_a_folder_brings_its_own_captions(base: Any, tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (40, 30), (i * 90, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.txt").write_text("a grey cat on a wall")
    found = bring(base, str(tmp_path), ["photo of a cat"], count=2)
    assert found.captions == ("photo of a cat", "a grey cat on a wall")
    assert {image.size for image in found.images} == {(base.size, base.size)}


def test_captions_in_a_file_are_drawn(base: Any, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a cat\n\n  a photo of tea \n")
    assert bring(base, str(tmp_path / "words.txt"), [], steps=1).captions == ("a cat", "a photo of tea")


@pytest.mark.parametrize(
    ("source", "nouns", "word"),
    [("generate", [], "class word"), ("no/such/place", ["photo of a cat"], "use none")],
)
def test_bad_sources_say_what_to_do(base: Any, source: str, nouns: list[str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        bring(base, source, nouns)


def test_an_empty_caption_file_and_an_empty_folder_are_refused(base: Any, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(InputError, match="no caption"):
        bring(base, str(tmp_path / "none.txt"), ["photo of a cat"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        bring(base, str(tmp_path / "empty"), ["photo of a cat"])


def test_retrieval_takes_the_nearest_captions_and_says_when_none_is_near(
    base: Any, clip_folder: Path, tmp_path: Path
) -> None:
    words = ["photo of a cat", "a photo of the red cat", "the dog on the beach, on the beach, on the beach"]
    for i, caption in enumerate(words):
        Image.new("RGB", (40, 40), (i * 90, 0, 0)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(caption + " ")
    found = bring(base, str(tmp_path), ["photo of a cat"], retrieve=str(clip_folder), threshold=-1.0)
    near = bring(base, str(tmp_path), ["photo of a cat"], retrieve=str(clip_folder), threshold=-1.0, count=1)
    assert set(found.captions) <= set(words) and len(near) == 1 and near.captions[0] == found.captions[0]
    with pytest.raises(InputError, match="lower the threshold"):
        bring(base, str(tmp_path), ["photo of a cat"], retrieve=str(clip_folder), threshold=1.01)


def test_retrieval_without_captions_ranks_the_pictures(base: Any, clip_folder: Path, tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (40, 40), (i * 90, 200 - i * 90, 0)).save(tmp_path / f"{i}.png")
    found = bring(base, str(tmp_path), ["photo of a cat"], retrieve=str(clip_folder))
    again = bring(base, str(tmp_path), ["photo of a cat"], retrieve=str(clip_folder), count=2)
    assert len(found) == 3 and [a.tobytes() for a in again.images] == [a.tobytes() for a in found.images[:2]]


def test_retrieval_needs_a_folder(base: Any, clip_folder: Path) -> None:
    with pytest.raises(InputError, match="folder of pictures"):
        bring(base, "generate", ["photo of a cat"], retrieve=str(clip_folder))


def test_a_drawn_prior_is_shared_out_among_the_classes(base: Any) -> None:
    captions = bring(base, "generate", ["photo of a cat", "photo of a tea"], count=3, steps=1).captions
    assert captions == ("photo of a cat", "photo of a tea", "photo of a cat")


def test_uncaptioned_pictures_need_the_class_word(base: Any, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="class word"):
        bring(base, str(tmp_path), [])


def test_a_caption_that_is_the_class_prompt_is_a_caption(
    base: Any, clip_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place = captioned(tmp_path, "photo of a cat", "the dog on the beach, on the beach, on the beach", "")
    how: dict[str, Any] = {"retrieve": str(clip_folder), "threshold": 0.9999}
    assert bring(base, place, ["photo of a cat"], **how).captions == ("photo of a cat",)
    assert '1 captions reach 0.9999 with "photo of a cat", and 1 are taken' in caplog.text
    assert "1 are below, 1 pictures have no caption" in caplog.text
    assert "the prior has 1 pictures, and 200 were asked for" in caplog.text


def test_retrieval_asks_for_every_class_in_turn(base: Any, clip_folder: Path, tmp_path: Path) -> None:
    both = ["photo of a cat", "photo of a dog"]
    place = captioned(tmp_path, *["photo of a cat"] * 3, "photo of a dog")
    found = bring(base, place, both, count=2, retrieve=str(clip_folder), threshold=0.99)
    assert set(found.captions) == set(both)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the pictures that were opened so far."""
    names: set[str] = set()

    def watched(path: Path) -> Any:
        names.add(path.name)
        return open_picture(path)

    for module in (survey, examples):
        monkeypatch.setattr(module, "open_picture", watched)
    return names


def test_retrieval_by_captions_opens_what_it_takes_alone(
    base: Any, clip_folder: Path, tmp_path: Path, opened: set[str]
) -> None:
    place = captioned(tmp_path, "the dog on the beach, on the beach", "photo of a cat", "a red hat", "")
    (tmp_path / "unread.png").write_bytes(b"no picture")
    found = bring(base, place, ["photo of a cat"], count=1, retrieve=str(clip_folder))
    assert found.captions == ("photo of a cat",) and opened == {"1.png"}


def test_a_folder_opens_what_it_takes_alone(base: Any, tmp_path: Path, opened: set[str]) -> None:
    (tmp_path / "00.png").write_bytes(b"no picture")
    assert bring(base, captioned(tmp_path, *"abcd"), [], count=2).captions == ("a", "b")
    assert opened == {"00.png", "0.png", "1.png"}


def test_a_retrieved_prior_is_known_by_what_is_taken(clip_folder: Path, tmp_path: Path) -> None:
    def content() -> str:
        how: dict[str, Any] = {"retrieve": str(clip_folder), "threshold": 0.99}
        return find(str(tmp_path), ["photo of a cat"], **how).content()

    captioned(tmp_path, "the dog on the beach, on the beach", "photo of a cat", "")
    before = content()
    for name in ("-first", "last"):
        Image.new("RGB", (40, 40), "green").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("the dog on the beach")
    (tmp_path / "notes.txt").write_text("x")
    assert content() == before
    Image.new("RGB", (40, 40), "white").save(tmp_path / "0.png")
    assert content() == before
    Image.new("RGB", (40, 40), "white").save(tmp_path / "1.png")
    assert content() != before


def test_a_retrieving_run_resumes_beside_an_unrelated_file(
    base: Any, photos: Path, clip_folder: Path, tmp_path: Path
) -> None:
    place = captioned(tmp_path / "class", "photo of a cat", "photo of a dog")
    settings: dict[str, Any] = {
        "prior": place, "retrieve": True, "retrieve_encoder": str(clip_folder), "retrieve_threshold": 0.9999,
        "batch_size": 1, "preview_every": 0, "checkpoint_every": 1, "folder": tmp_path / "run",
    }  # fmt: skip
    learned = Examples(photos, "photo of a <new1> cat")
    custom_diffusion(base, learned, **settings, steps=1)
    captioned(tmp_path / "class", "photo of a cat", "photo of a dog", "a red hat")
    custom_diffusion(base, learned, **settings, steps=2, resume=True)
    captioned(tmp_path / "class", "photo of a cat", "photo of a cat", "a red hat")
    with pytest.raises(InputError, match="another prior"):
        custom_diffusion(base, learned, **settings, steps=3, resume=True)


def test_equal_captions_come_in_the_folders_order(clip_folder: Path, tmp_path: Path) -> None:
    place = captioned(tmp_path, *["photo of a cat", "the red hat"] * 20)
    found = find(place, ["photo of a cat"], count=20, retrieve=str(clip_folder))
    assert [photo.path.name for photo in found.photos] == [f"{i}.png" for i in range(0, 40, 2)]


def test_the_next_nearest_stands_in_for_what_cannot_be_used(
    clip_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = captioned(tmp_path, *["photo of a cat"] * 4)
    (tmp_path / "0.png").write_bytes(b"no picture")
    (tmp_path / "1.txt").write_bytes(b"\xff\xfe\xfa")

    def taken(count: int) -> list[str]:
        found = find(place, ["photo of a cat"], count=count, retrieve=str(clip_folder))
        return [photo.path.name for photo in found.photos]

    assert taken(1) == ["2.png"] and taken(4) == ["2.png", "3.png"]
    assert "0.png: refused: not a picture" in caplog.text and "1.png: refused: its caption" in caplog.text
    for i in (2, 3):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.png is refused \(and 2 more\)"):
        taken(1)


def test_a_picture_of_which_class_is_asked_for(clip_folder: Path, tmp_path: Path) -> None:
    both, place = ["photo of a cat", "photo of a dog"], captioned(tmp_path, "a cat", "a dog", "")
    with pytest.raises(InputError, match=r'2\.png has no caption.*"photo of a cat" or .*caption.*--retrieve'):
        find(place, both)
    assert [photo.caption for photo in find(place, both, count=2).photos] == ["a cat", "a dog"]
    assert find(place, both[1:]).photos[2].caption == "photo of a dog"
    for name in ("0.txt", "1.txt"):
        (tmp_path / name).unlink()
    shown = find(place, both, retrieve=str(clip_folder)).photos
    assert len(shown) == 3 and {photo.caption for photo in shown} <= {*both}


def test_a_word_is_no_folder_and_a_home_is_found(
    base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for word in ("none", "generate"):
        captioned(tmp_path / word, "a lure")
    assert len(bring(base, "none", [])) == 0
    assert bring(base, "generate", ["a cat"], count=1, steps=1).captions == ("a cat",)
    assert bring(base, "./generate", []).captions == bring(base, "~/generate", []).captions == ("a lure",)


@pytest.mark.parametrize(("source", "count"), [("generate", -1), ("generate", 0), (".", 0), ("none", -1)])
def test_too_few_pictures_are_refused(source: str, count: int) -> None:
    with pytest.raises(InputError, match=f"prior_count is {count}: .*--prior none"):
        find(source, ["a cat"], count=count)


def test_captions_in_another_encoding_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes("ein Kätzchen".encode("latin-1"))
    with pytest.raises(InputError, match=r"words\.txt: not UTF-8"):
        find(str(tmp_path / "words.txt"), [])


def test_its_content_is_known_wherever_it_lies(tmp_path: Path) -> None:
    def content(source: Path | str) -> str:
        return find(str(source), ["photo of a cat"]).content()

    place = tmp_path / "a"
    captioned(place, "a cat", "")
    before = content(place)
    assert content(place.rename(tmp_path / "b")) == before
    assert content("none") == "" != content("generate")
    (tmp_path / "b/1.txt").write_text("a white cat")
    named = content(tmp_path / "b")
    Image.new("RGB", (40, 40), "white").save(tmp_path / "b/0.png")
    assert len({before, named, content(tmp_path / "b")}) == 3


def test_a_folder_is_opened_one_picture_at_a_time(
    base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[Any]] = []
    alive: list[int] = []
    read = examples.open_picture

    def watched(path: Path) -> Any:
        picture = read(path)
        opened.append(weakref.ref(picture.image))
        return picture

    def squared(image: Any, side: int) -> Any:
        alive.append(sum(ref() is not None for ref in opened))
        return square(image, side)

    monkeypatch.setattr(examples, "open_picture", watched)
    monkeypatch.setattr("motif.learn.prior.square", squared)
    assert len(bring(base, captioned(tmp_path, *"abcd"), [])) == 4
    assert alive == [1] * 4 and not any(ref() for ref in opened)


def test_captions_from_the_web_are_plain_text(tmp_path: Path) -> None:
    folder = tmp_path / "class"
    folder.mkdir()
    Image.new("RGB", (20, 20), "red").save(folder / "0.png")
    (folder / "0.txt").write_text("I <3 ducks & <b>ponds</b>")
    (tmp_path / "captions.txt").write_text("I <3 ducks\n<b>\n")
    assert find(str(folder), ["duck"]).photos[0].caption == "I 3 ducks & b ponds /b"
    assert find(str(tmp_path / "captions.txt"), ["duck"]).captions == ("I 3 ducks", "b")
    (folder / "0.txt").write_text("photo of a {concept}")
    with pytest.raises(InputError, match=r"caption of .*0\.png has \{concept\}"):
        find(str(folder), ["duck"])
