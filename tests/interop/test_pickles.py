"""Pickles are read for their tensors and run nothing."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from motif.errors import InputError
from motif.interop.foreign import open_foreign
from motif.interop.incoming import read_files


class Touch:
    """Unpickling it runs a command that leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Evaluate:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("harm", [Touch, Evaluate])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["delta.bin", "delta.ckpt", "toy.pt", "toy"])
def test_a_malicious_pickle_is_refused_with_one_line_and_runs_nothing(sd1, harm, zipped, name, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / name
    content = {"unet": {}, "modifier_token": {"<new1>": torch.zeros(24)}, "more": harm(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"refused.*\.safetensors") as caught:
        read_files([path], sd1.base)
    assert "\n" not in str(caught.value) and not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the file would have done it"


def test_a_bare_malicious_pickle(sd1, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "toy.pt"
    path.write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(InputError) as caught:
        read_files([path], sd1.base)
    assert "\n" not in str(caught.value) and not trace.exists()


def test_a_malicious_pickle_in_safetensors_clothes(sd1, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "toy.safetensors"
    buffer = io.BytesIO()
    torch.save({"x": Touch(trace)}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="not a safetensors file"):
        read_files([path], sd1.base)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut short", b"\x80\x02}", b"hello there, this is text", b"\0" * 64]
)
@pytest.mark.parametrize("ending", ["pt", "safetensors", "ckpt"])
def test_damaged_files_are_one_line(content, ending, tmp_path):
    path = tmp_path / f"file.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_foreign(path)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_one_line(tmp_path):
    path = tmp_path / "file.pt"
    torch.save({"<new1>": torch.zeros(24)}, path)
    whole = path.read_bytes()
    for n in range(0, len(whole), 97):
        path.write_bytes(whole[:n])
        with pytest.raises(InputError):
            open_foreign(path)


def test_folders_missing_files_and_motifs_own(sd1, tmp_path):
    from pieces import concept_of

    with pytest.raises(InputError, match="is a folder"):
        open_foreign(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_foreign(tmp_path / "no.pt")
    with pytest.raises(InputError, match="motif concept already"):
        open_foreign(concept_of(sd1.base).save(tmp_path / "c.safetensors"))
