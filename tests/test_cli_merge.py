"""`motif merge` and `motif compress`: from files to a file, with their tables, and what they refuse."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from motif.base import Base
from motif.cli import main
from motif.cli.merge import compress, merge
from motif.concept import Concept
from pieces import concept_of

Ran = tuple[int, str, str]
"""Exit, stdout, stderr."""

CAPTIONS = (
    "photo of a cat\na tea pot\na beach of cat photo\na pot of tea of beach\ncat beach\ntea cat pot photo a\n"
)


@pytest.fixture
def motif(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line in this process."""

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1 pipeline's folder."""
    folder = tmp_path_factory.mktemp("merging") / "base"
    tiny.pipeline("sd1").save_pretrained(folder)
    return folder


@pytest.fixture
def files(base: Path, tmp_path: Path) -> dict[str, Path]:
    """Two concepts of it with one token, one without weights, and captions."""
    loaded = Base.load(str(base), device="cpu")
    (tmp_path / "lines.txt").write_text(CAPTIONS)
    for i, name in enumerate(("cat", "dog"), 1):
        concept_of(loaded, seed=i).save(tmp_path / f"{name}.safetensors")
    word = concept_of(loaded, "<word>", seed=3)
    Concept(word.tokens, {}, word.record).save(tmp_path / "word.safetensors")
    names = ("cat.safetensors", "dog.safetensors", "word.safetensors", "lines.txt")
    return {name.partition(".")[0]: tmp_path / name for name in names} | {"out": tmp_path / "out.safetensors"}


def failed(ran: Ran, *words: str) -> bool:
    """Exit 2 and one line with all of the words."""
    code, out, err = ran
    message = err[err.index("motif: ") :]
    assert (code, out) == (2, "") and message.count("\n") == 1 and "Traceback" not in err, err
    assert [word for word in words if word not in message] == [], message
    return True


def test_two_files_become_one_that_draws(
    motif: Callable[..., Ran], files: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    words = ["merge", files["cat"], files["dog"], files["word"], "--captions", files["lines"], "--base", base]
    code, out, err = motif(*words, "-o", files["out"].with_suffix(""))
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["weight", "words", "captions", "added"] and lines[-1] == str(files["out"])
    rows = [line.split() for line in lines if "attn2" in line]
    assert len(rows) == len(Concept.load(files["cat"]).changes)
    assert all(float(row[1]) < 1e-6 < float(row[2]) for row in rows)
    assert "<new1> cat is <new2> from now on" in out and "<new1> is taken" in err
    assert list(Concept.load(files["out"]).tokens) == ["<new1>", "<new2>", "<word>"]
    prompt = "photo of a <new1> cat and a <new2> cat"
    assert f"motif sample plain '{prompt} and a <word> cat' --wear {files['out']} --base {base}" in err
    drawn = [
        "sample",
        "plain",
        "a <new1> and a <new2> cat",
        "--wear",
        files["out"],
        "--base",
        base,
        "--steps",
        1,
    ]
    assert motif(*drawn, "-o", tmp_path / "drawn")[0] == 0


def test_merge_tells_machines_the_same(motif: Callable[..., Ran], files: dict[str, Path], base: Path) -> None:
    words = [
        "merge",
        files["cat"],
        files["dog"],
        "--captions",
        files["lines"],
        "--base",
        base,
        "-o",
        files["out"],
    ]
    code, out, err = motif(*words, "--count", 5, "--json", "--quiet")
    told = json.loads(out)
    assert code == 0 and told["method"] == "merge" and told["concept"] == str(files["out"])
    assert told["report"]["captions"] == 5 and told["report"]["renamed"] == [["<new1> cat", "<new2>"]]
    assert {"weight", "words", "captions", "added"} == set(told["report"]["residuals"][0])
    assert all(line.startswith("warning: ") for line in err.splitlines())


def test_a_file_is_compressed_and_is_a_concept(
    motif: Callable[..., Ran], files: dict[str, Path], base: Path
) -> None:
    small = files["out"]
    code, out, err = motif("compress", files["cat"], "--rank", 2, "-o", small)
    assert code == 0 and out.splitlines()[0].split() == ["weight", "rank", "of", "before", "after", "lost"], (
        err
    )
    assert "times smaller" in out and out.splitlines()[-1] == str(small)
    assert small.stat().st_size < files["cat"].stat().st_size / 2
    told = json.loads(motif("compress", files["cat"], "-o", small, "--json")[1])
    assert told["settings"]["compressed"] == {"energy": 0.6}
    assert told["report"]["after"] < told["report"]["before"]
    words = ["merge", small, files["dog"], "--captions", files["lines"], "--base", base]
    assert motif(*words, "-o", small.with_name("both"))[0] == 0


def test_what_cannot_be_merged_is_one_line_and_leaves_nothing(
    motif: Callable[..., Ran], files: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    cat, out = files["cat"], files["out"]
    assert failed(motif("merge", cat, tmp_path / "nix", "-o", out), "nix: no such concept file")
    assert failed(motif("merge", cat, files["lines"], "-o", out), "lines.txt: not a safetensors file")
    assert failed(motif("merge", cat, "-o", cat), "one of the concepts")
    assert failed(motif("merge", cat, "-o", tmp_path / "c.bin"), "c.safetensors")
    assert failed(motif("merge", cat, "-o", out), "was learned on", "pocket")
    on = ["--base", base, "-o", out]
    assert failed(motif("merge", cat, *on, "--captions", tmp_path / "gone.txt"), "gone.txt: no such file")
    assert failed(motif("compress", files["word"], "-o", out), "<word> changes no matrix")
    assert failed(motif("compress", cat, "-o", out, "--rank", 2, "--energy", 0.5), "give one")
    assert failed(motif("compress", cat, "-o", cat), "one of the concepts")
    assert not out.exists()
    for words in (["merge", "-o", out], ["merge", cat], ["compress", cat, "--energy", 2, "-o", out]):
        code, _, err = motif(*words)
        assert code == 2 and "Traceback" not in err


def test_options_are_the_functions_keywords_with_their_defaults() -> None:
    from motif.learn.compress import compress as compressing
    from motif.learn.merge import merge as merging

    for command, function in ((merge, merging), (compress, compressing)):
        values = command.make_context(command.name, ["c.safetensors", "-o", "d"]).params
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "on_report":
                assert values[parameter.name] == parameter.default
