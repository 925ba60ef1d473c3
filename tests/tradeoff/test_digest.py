"""Addresses: everything that a result depends on, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from motif import methods
from motif.tradeoff import digest
from motif.tradeoff.digest import address, code, content


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's own: `mine.way` uses `mine.part`."""
    home = tmp_path / "mine_tradeoff"
    home.mkdir()
    (home / "__init__.py").write_text("")
    (home / "way.py").write_text(
        '"""What it is."""\nfrom mine_tradeoff.part import two\n\n\ndef way():\n    return two\n'
    )
    (home / "part.py").write_text("two = 2\n")
    (home / "other.py").write_text("three = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "mine_tradeoff", None)
    monkeypatch.delitem(sys.modules, "mine_tradeoff")
    return home


def known() -> str:
    code.cache_clear()
    digest._parsed.cache_clear()
    return code("mine_tradeoff.way:way")


def test_a_change_of_code_is_one_and_a_remark_is_none(package: Path) -> None:
    before = known()
    (package / "other.py").write_text("three = 4\n")
    (package / "way.py").write_text(
        '"""Another story."""\n# a remark\nfrom mine_tradeoff.part import two\n\n\n'
        'def way():\n    """Says two."""\n    return two\n'
    )
    assert known() == before
    (package / "part.py").write_text("two = 3\n")
    changed = known()
    assert changed != before
    (package / "way.py").write_text("from mine_tradeoff.part import two\n\n\ndef way():\n    return -two\n")
    assert known() not in {before, changed}


def test_a_method_is_all_that_it_imports() -> None:
    found = digest._reached("motif.learn.custom_diffusion")
    assert {"motif.learn.teach", "motif.learn.fit", "motif.base", "motif.lanes"} <= found.keys()
    assert not any(name.startswith(("motif.cli.", "motif.report", "motif.tradeoff")) for name in found)
    plain = digest._reached("motif.sample.plain")
    assert "motif.learn.fit" not in plain and "motif.lanes" in plain
    assert len({code(each.path) for each in methods.SAMPLE.values()}) == len(methods.SAMPLE)


def test_addresses_and_contents(tmp_path: Path) -> None:
    assert address("a", x=1, y=2) == address("a", y=2, x=1)
    assert len({address("a", x=1), address("b", x=1), address("a", x=2), address("a", y=1)}) == 4
    with pytest.raises(ValueError):
        address("a", x=float("nan"))
    (tmp_path / "a").write_text("one")
    before = content(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert content(tmp_path) != before and content(tmp_path / "b") == content(tmp_path / "b")
