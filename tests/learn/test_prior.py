"""The prior: each source gives pictures with captions, drawn ones once; what cannot work is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from motif.errors import InputError
from motif.learn.prior import gather


def test_none_is_empty(base: Any) -> None:
    assert len(gather(base, "none", ["cat"])) == 0


def test_generated_pictures_are_kept_and_drawn_once(base: Any, tmp_path: Path) -> None:
    drawn: list[tuple[int, int]] = []
    settings: dict[str, Any] = {
        "count": 3,
        "steps": 2,
        "cache": tmp_path,
        "on_picture": lambda i, n: drawn.append((i, n)),
    }
    first = gather(base, "generate", ["cat"], **settings)
    assert drawn == [(1, 3), (2, 3), (3, 3)]
    assert first.captions == ("photo of a cat",) * 3
    second = gather(base, "generate", ["cat"], **settings)
    assert len(drawn) == 3, "drawn again"
    assert [a.tobytes() for a in first.images] == [b.tobytes() for b in second.images]
    more = gather(base, "generate", ["cat"], **settings | {"count": 4})
    assert drawn[3:] == [(1, 1)], "only the missing one is drawn"
    assert more.images[0].tobytes() == first.images[0].tobytes()


def test_another_setting_or_class_is_another_picture(base: Any, tmp_path: Path) -> None:
    gather(base, "generate", ["cat"], count=1, steps=2, cache=tmp_path)
    gather(base, "generate", ["cat"], count=1, steps=3, cache=tmp_path)
    gather(base, "generate", ["tea"], count=1, steps=2, cache=tmp_path)
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_a_folder_brings_its_own_captions(base: Any, tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (40, 30), (i * 90, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.txt").write_text("a grey cat on a wall")
    found = gather(base, str(tmp_path), ["cat"], count=2)
    assert found.captions == ("photo of a cat", "a grey cat on a wall")
    assert {image.size for image in found.images} == {(base.size, base.size)}


def test_captions_in_a_file_are_drawn(base: Any, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a cat\n\n  a photo of tea \n")
    assert gather(base, str(tmp_path / "words.txt"), [], steps=1).captions == ("a cat", "a photo of tea")


@pytest.mark.parametrize(
    ("source", "nouns", "word"), [("generate", [], "class word"), ("no/such/place", ["cat"], "use none")]
)
def test_bad_sources_say_what_to_do(base: Any, source: str, nouns: list[str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        gather(base, source, nouns)


def test_an_empty_caption_file_and_an_empty_folder_are_refused(base: Any, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(InputError, match="no caption"):
        gather(base, str(tmp_path / "none.txt"), ["cat"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        gather(base, str(tmp_path / "empty"), ["cat"])


def test_retrieval_takes_the_nearest_captions_and_says_when_none_is_near(
    base: Any, clip_folder: Path, tmp_path: Path
) -> None:
    words = ["photo of a cat", "a photo of the red cat", "the dog on the beach, on the beach, on the beach"]
    for i, caption in enumerate(words):
        Image.new("RGB", (40, 40), (i * 90, 0, 0)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(caption + " ")
    found = gather(base, str(tmp_path), ["cat"], retrieve=str(clip_folder), threshold=-1.0)
    near = gather(base, str(tmp_path), ["cat"], retrieve=str(clip_folder), threshold=-1.0, count=1)
    assert set(found.captions) <= set(words) and len(near) == 1 and near.captions[0] == found.captions[0]
    with pytest.raises(InputError, match="lower the threshold"):
        gather(base, str(tmp_path), ["cat"], retrieve=str(clip_folder), threshold=1.01)


def test_retrieval_without_captions_ranks_the_pictures(base: Any, clip_folder: Path, tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (40, 40), (i * 90, 200 - i * 90, 0)).save(tmp_path / f"{i}.png")
    found = gather(base, str(tmp_path), ["cat"], retrieve=str(clip_folder))
    again = gather(base, str(tmp_path), ["cat"], retrieve=str(clip_folder), count=2)
    assert len(found) == 3 and [a.tobytes() for a in again.images] == [a.tobytes() for a in found.images[:2]]


def test_retrieval_needs_a_folder(base: Any, clip_folder: Path) -> None:
    with pytest.raises(InputError, match="folder of pictures"):
        gather(base, "generate", ["cat"], retrieve=str(clip_folder))


def test_a_drawn_prior_is_shared_out_among_the_classes(base: Any) -> None:
    captions = gather(base, "generate", ["cat", "tea"], count=3, steps=1).captions
    assert captions == ("photo of a cat", "photo of a tea", "photo of a cat")


def test_uncaptioned_pictures_need_the_class_word(base: Any, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="class word"):
        gather(base, str(tmp_path), [])
