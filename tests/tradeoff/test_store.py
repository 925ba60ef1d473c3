"""The store: whole results or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motif.errors import InputError
from motif.tradeoff.store import Store


def test_a_result_is_there_when_it_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.making("abcd") as making:
        (making.folder / "picture.txt").write_text("x")
        making.result = {"mean": 1.5}
        assert not store.has("abcd")
    assert store.has("abcd") and store.result("abcd") == {"mean": 1.5}
    assert sorted(p.name for p in store.place("abcd").iterdir()) == ["picture.txt", "result.json"]


def test_a_failure_leaves_nothing_and_a_leftover_goes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.making("abcd") as making:
        (making.folder / "half").write_text("x")
        raise ZeroDivisionError
    assert not store.has("abcd") and not list(tmp_path.glob("results/ab/*"))
    left = tmp_path / "results" / "ab" / ".abcd.99.part"
    left.mkdir(parents=True)
    (left / "result.json").write_text("{}")
    assert not store.has("abcd")
    store.clean()
    assert not left.exists()


def test_a_value_that_is_no_number_is_never_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError), store.making("abcd") as making:
        making.result = {"mean": float("nan")}
    assert not store.has("abcd")


def test_of_two_who_make_one_result_the_first_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.making("abcd") as slow:
        slow.result = {"by": "slow"}
        os.rename(slow.folder, kept := slow.folder.with_name(".other.part"))
        with store.making("abcd") as quick:
            quick.result = {"by": "quick"}
        os.rename(kept, slow.folder)
    assert store.result("abcd") == {"by": "quick"}


def test_one_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with (
        store.alone("x"),
        store.alone("y"),
        pytest.raises(InputError, match="busy"),
        store.alone("x", wait=False, busy="busy"),
    ):
        pass
    with store.alone("x", wait=False):
        pass


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"), Store(tmp_path / "file").alone("x"):
        pass
    with pytest.raises(InputError, match="cannot write"), Store(tmp_path / "file").making("ab"):
        pass
