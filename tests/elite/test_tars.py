"""Webdataset's shards: the same pictures in tar files are the same subjects, and train the same encoder."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from motif.elite.subjects import read_subjects
from motif.elite.train import elite
from motif.errors import InputError


def packed(place: Path, *samples: tuple[str, dict[str, bytes]]) -> Path:
    """A tar file as webdataset's TarWriter makes it: KEY.ENDING, sample by sample."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place, "w") as shard:
        for key, parts in samples:
            for ending, data in parts.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    return place


def parts(dataset: Path, i: int) -> dict[str, bytes]:
    """A picture of the folder, as a sample."""
    found = {"png": (dataset / f"{i}.png").read_bytes(), "mask.png": (dataset / f"{i}-mask.png").read_bytes()}
    caption = dataset / f"{i}.txt"
    return found | ({"txt": caption.read_bytes()} if caption.is_file() else {})


@pytest.fixture
def tars(dataset: Path, tmp_path: Path) -> Path:
    """The folder's six pictures in two shards."""
    folder = tmp_path / "tars"
    packed(folder / "data-000.tar", *((f"deep/{i:05d}", parts(dataset, i)) for i in range(4)))
    packed(folder / "data-001.tar", *((f"{i:05d}", parts(dataset, i)) for i in (4, 5)))
    return folder


def test_the_same_pictures_in_tar_files_are_the_same_subjects(dataset: Path, tars: Path) -> None:
    wanted, found = read_subjects(dataset), read_subjects(tars)
    assert [one.name for one in found][3:5] == ["data-000.tar/deep/00003", "data-001.tar/00004"]
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine.caption, mine.masked) == (theirs.caption, theirs.masked)
        (image, mask, box), (image2, mask2, box2) = mine.seen(), theirs.seen()
        assert mask and mask2 and box == box2
        assert image.tobytes() == image2.tobytes() and mask.tobytes() == mask2.tobytes()
    assert [s.name for s in read_subjects(tars, limit=5)] == [s.name for s in found[:5]]


def test_the_places_that_name_tar_files(tars: Path) -> None:
    every = [s.name for s in read_subjects(tars)]
    for place, wanted in (("data-001.tar", every[4:]), ("data-{000..001}.tar", every), ("data-*.tar", every)):
        assert [s.name for s in read_subjects(tars / place)] == wanted
    for place in ("data-002.tar", "data-{000..002}.tar", "data-0*2.tar"):
        with pytest.raises(InputError, match="no such tar file"):
            read_subjects(tars / place)


def test_they_train_the_same_encoder(dataset: Path, tars: Path, sd1: Any, tower_folder: Path) -> None:
    settings: dict[str, Any] = {"steps": 2, "local_steps": 2, "batch_size": 2, "local_batch_size": 2,
                                "image": str(tower_folder)}  # fmt: skip
    one, other = elite(sd1.base, dataset, **settings), elite(sd1.base, tars, **settings)
    for mine, theirs in ((one.words, other.words), (one.patches, other.patches)):
        assert mine and theirs
        assert all(torch.equal(mine.weights[name], weight) for name, weight in theirs.weights.items())
    assert one.fingerprint == other.fingerprint


def test_boxes_captions_and_what_is_no_picture(dataset: Path, tmp_path: Path) -> None:
    picture = parts(dataset, 0)["png"]
    record = {"boxes": [[0, 0, 20, 20], [5, 5, 30, 30]], "caption": "a <x> in a bath"}
    place = packed(
        tmp_path / "t.tar",
        ("a", {"json": json.dumps(record).encode(), "png": picture}),
        ("b", {"txt": b"words without a picture"}),
        ("c.d", {"png": picture}),  # the name is c: the first dot parts it
        ("e", {"JPG": picture, "json": json.dumps({"box": [1, 2, 3, 4], "text": "no token"}).encode()}),
        ("f", {"cls": b"7", "png": picture}),
    )
    found = read_subjects(place)
    assert [s.name for s in found] == ["t.tar/a", "t.tar/a", "t.tar/e", "t.tar/f"]
    assert [s.box for s in found] == [(0, 0, 20, 20), (5, 5, 30, 30), (1, 2, 3, 4), None]
    assert [s.caption for s in found] == ["a {} in a bath"] * 2 + ["", ""]
    assert [s.masked for s in found] == [True, True, False, True]  # a PNG may have alpha
    assert found[3].seen()[2] == (0, 0, 48, 40), "the whole picture is its own object"


def test_what_is_refused(dataset: Path, tars: Path, tmp_path: Path) -> None:
    good = parts(dataset, 0)
    cases: list[tuple[Path, str]] = []
    folder = tmp_path / "bad"
    folder.mkdir()
    zipped = folder / "z.tar"
    zipped.write_bytes(gzip.compress((tars / "data-000.tar").read_bytes()))
    cases.append((zipped, "gunzip"))
    (folder / "no.tar").write_bytes(b"what is this" * 100)
    cases.append((folder / "no.tar", "not a plain tar file"))
    (folder / "empty.tar").write_bytes(b"")
    cases.append((folder / "empty.tar", "not a plain tar file"))
    cases.append((packed(folder / "n.tar", ("a", {"txt": b"x"})), "no pictures in there"))
    cases.append((packed(folder / "w.tar", ("a", good), ("a", good)), "twice"))
    cases.append((packed(folder / "b.tar", ("a", {**good, "json": b'{"box": [3, 3, 2, 9]}'})), "box is"))
    cases.append((packed(folder / "j.tar", ("a", {**good, "json": b"[1"})), "no JSON object"))
    for place, told in cases:
        with pytest.raises(InputError, match=told):
            read_subjects(place)
    (tars / "loose.png").write_bytes(good["png"])
    with pytest.raises(InputError, match=r"loose\.png: lies beside tar files"):
        read_subjects(tars)


def test_a_picture_that_cannot_be_read_is_named_by_its_shard(
    dataset: Path, tars: Path, tmp_path: Path
) -> None:
    good = parts(dataset, 0)
    (broken,) = read_subjects(packed(tmp_path / "t.tar", ("x/a", {**good, "png": good["png"][:60]})))
    with pytest.raises(InputError, match=r"^t\.tar/x/a: picture\.png: (damaged|not a picture)"):
        broken.open()
    shard = tars / "data-001.tar"
    last = read_subjects(tars)[-1]
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(InputError, match="cut short"):
        last.open()
