"""The command line: exits, messages, and a concept from photos to pictures on a tiny base."""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

import tiny
from motif import methods
from motif.base import Base
from motif.cli import main
from motif.cli.app import app
from motif.cli.options import HANDLED, arguments_help, options
from motif.cli.outputs import concept_path, prepare
from motif.cli.reference import commands, reference
from motif.cli.voice import aligned, duration
from motif.errors import InputError
from motif.files import written
from pieces import concept_of

ROOT = Path(__file__).parents[1]
DUCKS = ROOT / "examples" / "duck_toy"
PROMPT = "photo of a <new1> cat"


class Ran:
    """What one command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def failed(self, code: int, *words: str) -> bool:
        """It failed as it should: the code, a message of at most two lines with all words in it, no traceback."""
        message = self.err[self.err.index("motif: ") :] if "motif: " in self.err else ""
        assert self.code == code, (self.code, self.err)
        assert message.count("\n") <= 2 and "Traceback" not in self.err, self.err
        missing = [word for word in words if word not in message]
        assert not missing, (missing, message)
        return True


@pytest.fixture
def motif(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line in this process."""

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1 pipeline's folder."""
    folder = tmp_path_factory.mktemp("base")
    tiny.pipeline("sd1").save_pretrained(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DUCKS, tmp_path / "photos"))


def process(*words: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line as users do."""
    return subprocess.run(
        [sys.executable, "-m", "motif", *words], text=True, **{"capture_output": True, **keywords}
    )


# -- the whole way ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cat(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A concept that the command line learned."""
    output = tmp_path_factory.mktemp("concept") / "cat"
    words = ["learn", "custom-diffusion", DUCKS, PROMPT, "-o", output, "--base", base, "--prior", "none"]
    words += ["--steps", 3, "--batch-size", 2, "--checkpoint-every", 2]
    assert main([str(word) for word in words]) == 0
    return output.with_suffix(".safetensors")


def test_learning_leaves_a_concept_and_a_run(motif: Callable[..., Ran], cat: Path, base: Path) -> None:
    assert (cat.with_suffix(".run") / "metrics.jsonl").read_text().count("\n") == 3
    assert cat.stat().st_mode == (cat.with_suffix(".run") / "metrics.jsonl").stat().st_mode
    shown = json.loads(motif("show", cat, "--json").out)
    assert shown["nouns"] == {"<new1>": "cat"} and shown["method"] == "custom-diffusion"
    assert shown["settings"]["steps"] == 3 and shown["prompt"] == PROMPT
    text = motif("show", cat).out
    assert "<new1>" in text and "custom-diffusion" in text and str(base) in text


def test_a_learned_concept_is_drawn(motif: Callable[..., Ran], cat: Path, base: Path, tmp_path: Path) -> None:
    words = [
        "sample",
        "plain",
        "a <new1> cat",
        "--wear",
        cat,
        "--base",
        base,
        "--steps",
        2,
        "--seed",
        5,
        "-n",
        3,
    ]
    done = motif(*words, "-o", tmp_path / "out", "--grid", tmp_path / "grid.png")
    assert done.code == 0, done.err
    names = ["0005.png", "0006.png", "0007.png"]
    assert done.out.split() == [*(str(tmp_path / "out" / name) for name in names), str(tmp_path / "grid.png")]
    assert sorted(os.listdir(tmp_path / "out")) == [*names, "pictures.json"]
    record = json.loads((tmp_path / "out" / "pictures.json").read_text())
    assert record["prompt"] == "a <new1> cat" and record["pictures"][2] == {"file": "0007.png", "seed": 7}
    one = tmp_path / "one.png"
    assert motif(*words[:-1], 1, "-o", one, "--quiet").out.split() == [str(one)]
    assert Image.open(one).tobytes() == Image.open(tmp_path / "out" / "0005.png").tobytes()


def test_the_hint_after_learning_is_a_command_that_draws(
    motif: Callable[..., Ran], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["learn", "custom-diffusion", DUCKS, PROMPT, "--base", base, "--prior", "none", "--batch-size", 1]
    done = motif(*words, "--steps", 1, "-o", tmp_path / "my cat's")
    hint = next(line for line in done.err.splitlines() if line.startswith("draw it: "))
    monkeypatch.chdir(tmp_path)
    command = shlex.split(hint.removeprefix("draw it: "))
    assert command[0] == "motif" and motif(*command[1:], "--steps", 1).code == 0
    assert recorded(tmp_path / "pictures") == ["0000.png a <new1> cat on the beach"]


def test_results_are_on_stdout_and_json_is_json(
    motif: Callable[..., Ran], cat: Path, base: Path, tmp_path: Path
) -> None:
    words = [
        "sample",
        "plain",
        "a <new1> cat",
        "--wear",
        cat,
        "--base",
        base,
        "--steps",
        1,
        "-o",
        tmp_path / "out",
    ]
    done = motif(*words, "--json")
    settings = json.loads(done.out)["settings"]
    assert (settings["n"], settings["seed"], settings["steps"]) == (1, 0, 1)
    assert "loading" in done.err
    assert motif(*words, "--json", "--quiet").err == ""


def recorded(folder: Path) -> list[str]:
    """The pictures that a folder's record lists, each of which must be there."""
    found = json.loads((folder / "pictures.json").read_text())
    names = [picture["file"] for picture in found["pictures"]]
    assert all((folder / name).is_file() for name in names)
    return [f"{name} {found['prompt']}" for name in names]


@pytest.fixture
def draws(base: Path, tmp_path: Path, motif: Callable[..., Ran]) -> Callable[..., Ran]:
    """Draw into tmp_path/out, one picture at a time."""
    words = ["--base", base, "--steps", 1, "--batch-size", 1, "-o", tmp_path / "out"]
    return lambda prompt, *more, method="plain": motif("sample", method, *words, prompt, *more)


def test_pictures_of_another_run_are_told_of(draws: Callable[..., Ran], tmp_path: Path) -> None:
    assert "other pictures" not in draws("a cat", "-n", 2).err
    assert "holds 1 other pictures (0001.png...)" in draws("a dog").err
    assert recorded(tmp_path / "out") == ["0000.png a dog"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(KeyboardInterrupt(), 130, "1 of 3 pictures"), (OSError(errno.ENOSPC, "full"), 2, "disk is full")],
)
def test_a_record_describes_what_lies_there_however_a_draw_ends(
    draws: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    error: BaseException, code: int, said: str,
) -> None:  # fmt: skip
    assert draws("a cat", "-n", 2).code == 0
    assert recorded(tmp_path / "out") == ["0000.png a cat", "0001.png a cat"]
    save = Image.Image.save

    def fail(self: Image.Image, path: Path, *rest: Any, **how: Any) -> None:
        save(self, path, *rest, **how)
        if "0001" in Path(path).name:
            raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    assert draws("a dog", "-n", 3).failed(code, said)
    assert recorded(tmp_path / "out") == ["0000.png a dog"]
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path / "out")) == ["0000.png", "0001.png", "pictures.json"]
    assert draws("a dog", "-n", 1, "--height", 13).code == 2
    assert recorded(tmp_path / "out") == ["0000.png a dog"], "what was refused changed nothing"


def test_a_sheet_that_cannot_be_written_is_refused_before_anything_is_drawn(
    draws: Callable[..., Ran], tmp_path: Path, motif: Callable[..., Ran]
) -> None:
    out = tmp_path / "out"
    nowhere = ["--base", "nowhere/at-all"]
    for grid, words in {
        tmp_path / "sheet.gif": ["sheet.gif", ".png"],
        tmp_path / "sheet": ["sheet", ".png"],
        out / "0001.png": ["0001.png", "another file"],
        tmp_path / "x" / ".." / "out" / "0000.png": ["0000.png", "another file"],
    }.items():
        assert draws("a cat", "-n", 2, "--grid", grid, *nowhere).failed(2, *words)
    one = tmp_path / "one.png"
    assert draws("a cat", "-o", one, "--grid", one, *nowhere).failed(2, "one.png", "another file")
    assert os.listdir(tmp_path) == []
    assert draws("a cat", "-n", 2, "--grid", out / "0002.png").code == 0
    assert draws("a dog", "-o", out / "0001.png", *nowhere).failed(2, "0001.png", "pictures.json says")
    assert draws("a dog", "--grid", out / "0001.png", *nowhere).failed(2, "0001.png", "pictures.json says")


def test_a_file_of_prompts_is_drawn_on_and_on_and_each_picture_s_prompt_is_recorded(
    draws: Callable[..., Ran], tmp_path: Path
) -> None:
    """Each picture is what its prompt and seed alone give; none takes another's place."""
    captions, out = tmp_path / "captions.txt", tmp_path / "out"
    captions.write_text("a cat\n\n  a dog \na cat\n")
    done = draws(captions, "-n", 2, "--seed", 3, "--grid", tmp_path / "sheet.png")
    assert done.code == 0 and "drawing prompt 3 of 3: step" in done.err, done.err
    record = json.loads((out / "pictures.json").read_text())
    said = [(row["file"], row["seed"], row["prompt"]) for row in record["pictures"]]
    texts = ["a cat", "a cat", "a dog", "a dog", "a cat", "a cat"]
    assert said == [(f"{seed:04d}.png", seed, text) for seed, text in zip(range(3, 9), texts, strict=True)]
    assert record["prompts"] == ["a cat", "a dog", "a cat"] and "prompt" not in record
    assert draws("a dog", "-n", 2, "--seed", 5, "-o", tmp_path / "dogs").code == 0
    for name in ("0005.png", "0006.png"):
        assert (tmp_path / "dogs" / name).read_bytes() == (out / name).read_bytes()
    from motif.cli.measure import prompts_of

    assert prompts_of(None, out) == texts and prompts_of(None, out / "0005.png") == ["a dog"]
    captions.write_text("a dog")
    assert draws(captions, "-o", tmp_path / "one.png").code == 0, "one picture of one prompt"


def test_a_file_of_prompts_that_is_none_is_refused_before_a_base_is_loaded(
    draws: Callable[..., Ran], tmp_path: Path
) -> None:
    captions, nowhere = tmp_path / "captions.txt", ["--base", "nowhere/at-all"]
    assert draws(captions, *nowhere).failed(2, "captions.txt", "no such file of prompts")
    captions.write_text(" \n\n")
    assert draws(captions, *nowhere).failed(2, "captions.txt", "no prompts in it")
    captions.write_text("a cat\na dog\n")
    assert draws(captions, "-o", tmp_path / "a.png", *nowhere).failed(2, "a.png", "2 are asked for")
    assert draws(captions, "--grid", tmp_path / "out" / "0001.png", *nowhere).failed(
        2, "0001.png", "another file"
    )
    assert os.listdir(tmp_path) == ["captions.txt"]


def test_a_stop_amid_a_file_of_prompts_keeps_what_is_drawn(
    draws: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "captions.txt").write_text("a cat\na dog\n")
    save = Image.Image.save

    def stop(self: Image.Image, path: Path, *rest: Any, **how: Any) -> None:
        if "0003" in Path(path).name:
            raise KeyboardInterrupt
        save(self, path, *rest, **how)

    monkeypatch.setattr(Image.Image, "save", stop)
    assert draws(tmp_path / "captions.txt", "-n", 2).failed(130, "3 of 4 pictures")
    rows = json.loads((tmp_path / "out" / "pictures.json").read_text())["pictures"]
    assert [row["prompt"] for row in rows] == ["a cat", "a cat", "a dog"]


def test_a_file_of_prompts_goes_on_where_it_was_stopped(
    draws: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompts that are drawn stay, the one that was begun is drawn again; the pictures are those of one run."""
    captions, out, saved = tmp_path / "captions.txt", tmp_path / "out", list[str]()
    captions.write_text("a cat\na dog\na cat\n")
    assert draws(captions, "-n", 2).code == 0
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    record = json.loads(whole["pictures.json"])
    (out / "pictures.json").write_text(json.dumps({**record, "pictures": record["pictures"][:3]}))
    save = Image.Image.save

    def note(self: Image.Image, path: Path, *rest: Any, **how: Any) -> None:
        saved.extend(re.findall(r"^\W?(\d{4})", Path(path).name))
        save(self, path, *rest, **how)

    monkeypatch.setattr(Image.Image, "save", note)
    done = draws(captions, "-n", 2, "--grid", tmp_path / "sheet.png")
    assert done.code == 0 and "the first 1 of 3 prompts" in done.err, done.err
    assert saved == ["0002", "0003", "0004", "0005"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    saved.clear()
    assert draws(captions, "-n", 2, "--steps", 2).code == 0, "other pictures"
    assert len(saved) == 6


def test_a_prompt_of_a_file_that_cannot_be_drawn_is_refused_before_any_is(
    draws: Callable[..., Ran], cat: Path, tmp_path: Path
) -> None:
    (tmp_path / "captions.txt").write_text("a <new1> cat on sea\na <new1> dog\n")
    assert draws("a cat", "-n", 2).code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    words = [tmp_path / "captions.txt", "--wear", cat, "--stand-in", "<new1> cat=dog"]
    done = draws(*words, "--until", 1, method="dci")
    assert done.failed(2, "<new1> dog"), done.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert draws(*words, "--until", 1, "--unnamed", method="dci").failed(2, "--unnamed")


def test_the_record_of_many_pictures_is_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motif.cli import record

    monkeypatch.setattr(record, "OFTEN", 4)
    album, done, write = record.Album(tmp_path, 0, {}), list[int](), record.Album.write

    def note(self: record.Album) -> None:
        done.append(len(self.rows))
        write(self)

    monkeypatch.setattr(record.Album, "write", note)
    for _ in range(13):
        album.keep(Image.new("RGB", (4, 4)))
    assert done == [1, 2, 3, 4, 6, 9, 12], "each at first, then ever fewer"


def test_the_class_s_own_pictures_are_drawn_where_they_are_asked_for(
    draws: Callable[..., Ran], cat: Path, tmp_path: Path
) -> None:
    """KID and drift compare pictures of captions that name no concept, drawn with it worn."""
    captions = tmp_path / "captions.txt"
    captions.write_text("a cat\na cat on a mat\n")
    worn = ["--wear", cat]
    assert draws(captions, *worn).failed(2, '"a cat" does not name <new1>')
    done = draws(captions, *worn, "--unnamed")
    assert done.code == 0 and "warning" not in done.err
    record = json.loads((tmp_path / "out" / "pictures.json").read_text())
    assert [each["tokens"] for each in record["concepts"]] == [["<new1>"]] and len(record["pictures"]) == 2
    assert draws("a cat", "--unnamed").failed(2, "--unnamed", "no concept is worn")
    assert draws("a <new1> cat", *worn, "--unnamed").failed(2, "--unnamed", "names <new1>")
    assert draws("a <new2> cat", *worn, "--unnamed").failed(2, "<new2>")


def test_a_concept_without_a_word_of_its_own_is_drawn_unnamed(
    draws: Callable[..., Ran], base: Path, tmp_path: Path
) -> None:
    """DreamBooth's word is one of the base's."""
    concept_of(Base.load(str(base)), token=None).save(tmp_path / "sks.safetensors")
    done = draws("a photo of a cat", "--unnamed", "--wear", tmp_path / "sks.safetensors")
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", ["x.gif", "x.TIFF", "a/x.heic"])
def test_a_kind_of_picture_that_is_not_written_is_no_folder(
    draws: Callable[..., Ran], tmp_path: Path, name: str
) -> None:
    done = draws("a cat", "-o", tmp_path / name, "--base", "nowhere/at-all")
    assert done.failed(2, Path(name).name, "name it x.png") and os.listdir(tmp_path) == []
    assert draws("a cat", "-o", tmp_path / "v1.5").code == 0 and (tmp_path / "v1.5").is_dir()


def test_progress_of_drawing_is_told_and_changes_no_picture(
    draws: Callable[..., Ran], tmp_path: Path
) -> None:
    loud, quiet = (
        draws("a cat", "-n", 2, "--steps", 3),
        draws("a cat", "-n", 2, "--steps", 3, "--quiet", "-o", tmp_path / "quiet"),
    )
    assert "drawing: step 6/6  " in loud.err and "loss" not in loud.err and quiet.err == ""
    for name in ("0000.png", "0001.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "quiet" / name).read_bytes()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat on the beach", ['"a cat on the beach" does not name <new1>']),
        ("a <new2> cat", ["names <new2>", "know <new1>"]),
        ("a <new1> cat and a <new2> cat", ["names <new2>", "know <new1>"]),
    ],
)
def test_a_prompt_of_other_words_than_the_worn_is_refused(
    motif: Callable[..., Ran], cat: Path, base: Path, tmp_path: Path, prompt: str, words: list[str]
) -> None:
    line = ["sample", "plain", prompt, "--wear", cat, "--base", base, "-o", tmp_path / "out", "--steps", 1]
    assert motif(*line).failed(2, *words)


def test_a_concept_on_another_base_is_refused(motif: Callable[..., Ran], cat: Path, tmp_path: Path) -> None:
    tiny.pipeline("sd2-v").save_pretrained(tmp_path / "other")
    words = [
        "sample",
        "plain",
        "a <new1> cat",
        "--wear",
        cat,
        "--base",
        tmp_path / "other",
        "-o",
        tmp_path / "out",
    ]
    assert motif(*words).failed(2, "<new1>", "learned on")


def test_a_worn_concept_answers_to_another_name(
    motif: Callable[..., Ran], cat: Path, base: Path, tmp_path: Path
) -> None:
    words = ["sample", "plain", "--base", base, "--steps", 1]
    plain = motif(*words, "a <new1> cat", "--wear", cat, "-o", tmp_path / "a.png")
    named = motif(*words, "a <tom> cat", "--wear", f"{cat}=<tom>", "-o", tmp_path / "b.png")
    assert plain.code == named.code == 0, named.err
    assert Image.open(tmp_path / "a.png").tobytes() == Image.open(tmp_path / "b.png").tobytes()
    both = ["a <new1> cat and a <tom> cat", "--wear", cat, "-o", tmp_path / "c.png", "--wear"]
    assert "does not name" not in motif(*words, *both, f"{cat}=<tom>").err
    left_out = motif(*words, "a <tom> cat", *both[1:], f"{cat}=<tom>", "--quiet")
    assert (
        left_out.code == 0
        and left_out.err.count("does not name") == left_out.err.count("<new1> is worn") == 1
    )
    assert motif(*words, *both, cat).failed(2, "two concepts use the token <new1>", "--wear FILE=<new2>")
    assert motif(*words, *both, f"{cat}=tom").failed(2, f"{cat}=tom", "FILE=<new2>")
    assert motif(*words, *both, f"{cat}=<a>,<b>").failed(2, "has 1 tokens (<new1>), and 2 are named")


def test_a_config_file_is_the_same_as_words(
    motif: Callable[..., Ran], cat: Path, base: Path, tmp_path: Path
) -> None:
    config = tmp_path / "a.toml"
    config.write_text(f'base = "{base}"\nsteps = 1\nbatch-size = 2\nwear = ["{cat}"]\nn = 2\n')
    words = ["sample", "plain", "a <new1> cat", "--config", config, "-o", tmp_path / "out", "--json"]
    assert json.loads(motif(*words).out)["settings"]["n"] == 2
    assert json.loads(motif(*words, "-n", "1").out)["settings"]["n"] == 1  # words come before the file


def test_one_value_in_a_config_file_is_enough_for_an_option_of_several(
    motif: Callable[..., Ran], cat: Path, base: Path, tmp_path: Path
) -> None:
    config = tmp_path / "a.toml"
    config.write_text(f'base = "{base}"\nsteps = 1\nwear = "{cat}"\n')
    done = motif("sample", "plain", "a <new1> cat", "--config", config, "-o", tmp_path / "out", "--json")
    assert done.code == 0 and json.loads(done.out)["wear"] == [str(cat)], done.err


def test_debug_in_a_config_file_shows_the_traceback(motif: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("debug = true\n")
    (tmp_path / "b.toml").write_text("debug = false\n")
    words = ["show", tmp_path / "none.safetensors", "--config"]
    done = motif(*words, tmp_path / "a.toml")
    assert done.code == 2 and done.err.count("Traceback") == 1 and "motif: " in done.err
    assert "Traceback" not in motif(*words, tmp_path / "b.toml").err


def test_a_record_says_what_was_used(
    motif: Callable[..., Ran], cat: Path, base: Path, tmp_path: Path
) -> None:
    from motif.base import Base
    from motif.concept import Concept

    words = ["sample", "plain", "a <tom> cat", "--wear", f"{cat}=<tom>", "--base", base, "--device", "cpu"]
    done = motif(*words, "--steps", 1, "-o", tmp_path / "out", "--json")
    record = json.loads((tmp_path / "out" / "pictures.json").read_text())
    told = json.loads(done.out)
    assert {key: told[key] for key in record} == record
    with Image.open(tmp_path / "out" / "0000.png") as picture:
        side = picture.size[0]
    used = {"guidance": 7.5, "height": side, "width": side, "steps": 1, "eta": 0.0, "seed": 0, "n": 1}
    assert used.items() <= record["settings"].items()
    assert (record["precision"], record["device"]) == ("fp32", "cpu") and "torch" in record["versions"]
    assert record["base_fingerprint"] == Base.load(str(base), device="cpu").origin.fingerprint
    concept = Concept.load(cat).renamed({"<new1>": "<tom>"})
    wanted = {"tokens": ["<tom>"], "method": "custom-diffusion", "fingerprint": concept.fingerprint}
    assert record["concepts"] == [wanted]
    again = motif(*words, *[f"--{k.replace('_', '-')}={v}" for k, v in record["settings"].items()],
                  "-o", tmp_path / "again")  # fmt: skip
    assert again.code == 0, again.err
    assert (tmp_path / "again" / "0000.png").read_bytes() == (tmp_path / "out" / "0000.png").read_bytes()


@pytest.mark.parametrize("words", [["--height", "0"], ["--width", "0"], ["--seed", 2**63], ["--steps", "0"]])
def test_zero_and_too_much_are_not_taken_for_nothing(
    motif: Callable[..., Ran], base: Path, tmp_path: Path, words: list[object]
) -> None:
    done = motif("sample", "plain", "a cat", "--base", base, "-o", tmp_path / "o", *words)
    assert done.failed(2, str(words[1])[:5])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz = 3", ["a.toml", "stepz", "did you mean steps"]),
        ("steps = 2.5", ["a.toml: steps: '2.5'"]),
        ('steps = "many"', ["a.toml: steps: 'many'"]),
        ("grid = 2\nsteps = true", ["a.toml: steps: 'true'"]),
        ("[learn]\nsteps = 3", ["a.toml", "learn"]),
        ("steps = ", ["a.toml", "not TOML"]),
        ("guidance = nan", ["a.toml: guidance", "finite"]),
        ("wear = 3", ["3: no such concept"]),
        ("# caf\xe9", ["a.toml", "not UTF-8"]),
    ],
)
def test_a_config_file_with_a_mistake_is_refused(
    motif: Callable[..., Ran], tmp_path: Path, text: str, words: list[str]
) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="latin-1")
    assert motif("sample", "plain", "a cat", "-o", tmp_path / "o", "--config", tmp_path / "a.toml").failed(
        2, *words
    )
    assert motif("sample", "plain", "a cat", "-o", "o", "--config", tmp_path / "none").failed(
        2, "none", "cannot be read"
    )


def test_resume_is_the_same_as_never_stopping(motif: Callable[..., Ran], base: Path, tmp_path: Path) -> None:
    words = ["learn", "custom-diffusion", DUCKS, PROMPT, "--base", base, "--prior", "none", "--batch-size", 1]
    assert motif(*words, "--steps", 4, "-o", tmp_path / "whole").code == 0
    assert motif(*words, "--steps", 2, "-o", tmp_path / "parts").code == 0
    assert motif(*words, "--steps", 4, "-o", tmp_path / "parts", "--resume").code == 0
    from motif.concept import Concept

    whole, parts = (Concept.load(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert whole == parts
    assert motif(*words, "--steps", 4, "--lr", 1, "-o", tmp_path / "parts", "--resume").failed(2, "lr")


# -- bad input: each exits 2 before the work, in one line ---------------------------------------------------------


def learn(motif: Callable[..., Ran], photos: Path, *words: object, prompt: str = PROMPT) -> Ran:
    """Learn on a base that is not there: a check that comes too late is seen as exit 3."""
    return motif("learn", "custom-diffusion", photos, prompt, "--base", "nowhere/at-all", *words)


def test_an_empty_folder(motif: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert learn(motif, tmp_path / "photos", "-o", tmp_path / "c").failed(2, "photos: no photo", "empty")
    assert motif("check", tmp_path / "photos").failed(2, "photos: no photo", "empty")
    assert motif("check", tmp_path / "none").failed(2, "none: no such folder")


def test_check_lists_every_problem_of_a_folder(motif: Callable[..., Ran], photos: Path) -> None:
    (photos / "notes.txt").write_text("text")
    (photos / "cut.jpg").write_bytes((photos / "00.jpg").read_bytes()[:3000])
    Image.open(photos / "00.jpg").convert("CMYK").save(photos / "cmyk.jpg")
    Image.open(photos / "00.jpg").convert("I;16").save(photos / "deep.png")
    clear = Image.open(photos / "00.jpg").quantize(32)
    clear.save(photos / "palette.png", transparency=3)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(photos / "00.jpg").resize((80, 60)).save(photos / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1)).save(photos / "pixel.png")
    done = motif("check", photos)
    assert done.code == 0
    for name, word in {
        "skipped notes.txt": "text",
        "refused cut.jpg": "damaged or cut short",
        "used    cmyk.jpg": "CMYK became RGB",
        "used    deep.png": "scaled to 8 bits",
        "used    palette.png": "its transparency is the mask",
        "used    turned.jpg": "turned upright (EXIF orientation 8)",
        "refused pixel.png": "1x1 pixels: too small",
    }.items():
        fate, file = name.split()
        line = next(
            i for i, line in enumerate(done.out.splitlines()) if line.startswith(fate) and file in line
        )
        assert word in "\n".join(done.out.splitlines()[line : line + 4])
    assert done.out.splitlines()[-1].startswith("8 used, 2 refused, 1 skipped")
    data = json.loads(motif("check", photos, "--json").out)
    assert data["used"] == 8 and {file["fate"] for file in data["files"]} == {"used", "refused", "skipped"}


def test_check_lists_every_problem_of_the_captions_once(motif: Callable[..., Ran], photos: Path) -> None:
    captions = {"00": "a cat", "01": "a <other> cat", "02": "a <new 1> cat", "03": "a fine {concept}"}
    for name, caption in captions.items():
        shutil.copy(DUCKS / "00.jpg", photos / f"{name}.jpg")
        (photos / f"{name}.txt").write_text(caption)
    Image.new("RGB", (1, 1)).save(photos / "pixel.png")
    done = motif("check", photos, PROMPT)
    assert done.failed(2, "00.jpg", "(and 2 more, listed above)")
    problems = [line for line in done.out.splitlines() if line.startswith("problem: ")]
    assert len(problems) == 3 and all(f"0{i}.jpg" in problems[i] for i in range(3))
    assert "warning" not in done.err, "what the survey says is told once"
    told = json.loads(motif("check", photos, PROMPT, "--json").out)
    assert [f"problem: {problem}" for problem in told["problems"]] == problems
    told = json.loads(motif("check", photos, "a cat", "--json").out)
    assert len(told["problems"]) == 1 and "names no new word" in told["problems"][0]
    for name in captions:
        (photos / f"{name}.txt").unlink()
    assert motif("check", photos, PROMPT).code == 0


def test_a_refused_photo_is_named_while_learning(motif: Callable[..., Ran], base: Path, photos: Path) -> None:
    (photos / "cut.jpg").write_bytes((photos / "00.jpg").read_bytes()[:3000])
    words = [
        "learn",
        "custom-diffusion",
        photos,
        PROMPT,
        "--base",
        base,
        "--prior",
        "none",
        "--steps",
        1,
        "--batch-size",
        1,
    ]
    done = motif(*words, "-o", photos.parent / "c", "--quiet")
    assert done.code == 0 and "warning: " in done.err and "cut.jpg: refused" in done.err


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("photo of a cat", ["names no new word", "<new1>"]),
        ("photo of a sks cat", ["names no new word"]),
        ("photo of a <new 1> cat", ["<new 1>"]),
    ],
)
def test_a_prompt_without_its_token(
    motif: Callable[..., Ran], tmp_path: Path, prompt: str, words: list[str]
) -> None:
    assert learn(motif, DUCKS, "-o", tmp_path / "c", prompt=prompt).failed(2, *words)
    assert motif("check", DUCKS, prompt).failed(2, *words)


def test_a_token_that_is_already_a_word(motif: Callable[..., Ran], base: Path, tmp_path: Path) -> None:
    words = ["learn", "custom-diffusion", DUCKS, "a <|endoftext|> cat", "--base", base, "-o", tmp_path / "c"]
    assert motif(*words).failed(2, "<|endoftext|>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lern"], ["no command lern", "learn"]),
        (["frobnicate"], ["no command frobnicate", "there is demo"]),
        (["learn", "custom-difusion"], ["no method custom-difusion", "custom-diffusion"]),
        (["measure", "clip"], ["no metric clip", "clip-"]),
        (["sample", "plain", "a cat", "-o", "o", "--stepz", "3"], ["--stepz", "--steps"]),
        (["sample", "plain", "a cat", "-o", "o", "--steps", "three"], ["--steps", "three"]),
        (["sample", "plain", "a cat", "-o", "o", "--guidance", "nan"], ["--guidance", "finite"]),
        (["sample", "plain", "a cat", "-o", "o", "--seed", "-1"], ["--seed", "-1"]),
        (["demo", "--seed", "-1"], ["--seed", "-1"]),
        (["sample", "plain", "a cat", "-o", "o", "--precision", "fp8"], ["--precision", "fp8", "bf16"]),
        (["sample", "plain", "a cat"], ["--output"]),
        (["sample", "plain"], ["PROMPT"]),
        (["show", "none.safetensors"], ["none.safetensors"]),
        (["sample", "plain", "a cat", "-o", "a.png", "-n", "2"], ["a.png", "2"]),
        (["measure", "clip-t", "nowhere"], ["nowhere", "PROMPTS"]),
    ],
)
def test_usage_errors(motif: Callable[..., Ran], words: list[str], message: list[str], tmp_path: Path,
                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert motif(*words).failed(2, *message)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", [[], ["measure"], ["learn"], ["pocket"]])
def test_without_arguments_the_help_is_shown_as_it_is(motif: Callable[..., Ran], words: list[str]) -> None:
    done, asked = motif(*words), motif(*words, "--help")
    assert asked.code == 0 and asked.out.startswith("Usage: motif")
    assert (done.code, done.out, done.err) == (2, "", asked.out)


def test_a_folder_to_measure_is_not_made(motif: Callable[..., Ran], tmp_path: Path) -> None:
    words = ["pocket", "card", "--shards", tmp_path, "--folder"]
    assert motif(*words, tmp_path / "none").failed(2, "none: no such folder")
    (tmp_path / "empty").mkdir()
    assert motif(*words, tmp_path / "empty").failed(2, "empty: it has no pipeline")
    assert os.listdir(tmp_path) == ["empty"] and os.listdir(tmp_path / "empty") == []


def test_a_refused_command_leaves_no_folder(motif: Callable[..., Ran], base: Path, tmp_path: Path) -> None:
    assert motif("demo", "--concept", "nothing", "-o", tmp_path / "dd").failed(2, "nothing", "boat")
    words = ["--base", base, "-o"]
    assert motif("sample", "plain", "a <new9> cat", *words, tmp_path / "s1").failed(2, "<new9>")
    assert motif("learn", "custom-diffusion", DUCKS, PROMPT, "--lr", -1, *words, tmp_path / "x1").failed(
        2, "lr"
    )
    assert os.listdir(tmp_path) == []


def test_a_model_that_is_not_here_exits_3(motif: Callable[..., Ran], tmp_path: Path) -> None:
    done = motif("sample", "plain", "a cat", "--base", "nobody/nothing", "-o", tmp_path / "o")
    assert done.failed(3, "nobody/nothing")
    for name in ("nobody/nothing", "nothing", tmp_path / "nothing"):
        assert motif("measure", "clip-i", DUCKS, DUCKS, "--encoder", name).failed(3, str(name))
    assert os.listdir(tmp_path) == []


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    motif: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.safetensors").mkdir()
    for output, word in {
        "/proc/motif/c": "cannot write",
        str(tmp_path / "file" / "c"): "cannot write",
        str(tmp_path / "folder"): "is a folder",
        str(tmp_path / "c.ckpt"): "c.safetensors",
    }.items():
        assert learn(motif, DUCKS, "-o", output).failed(2, word)
    assert motif("sample", "plain", "a cat", "-o", tmp_path / "file").failed(2, "is a file")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.safetensors"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(motif: Callable[..., Ran], tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert learn(motif, DUCKS, "-o", tmp_path / "c").failed(2, "cannot write", "no permission")


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_a_disk_that_takes_nothing_is_refused_before_the_work(
    motif: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, word: str
) -> None:
    def refuse(self: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert learn(motif, DUCKS, "-o", tmp_path / "c").failed(2, str(tmp_path / "c.safetensors"), word)
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    assert learn(motif, DUCKS, "-o", tmp_path / "c").failed(2, "are free there")
    assert os.listdir(tmp_path) == []


def test_work_that_would_not_fit_is_refused_before_it_begins(
    motif: Callable[..., Ran], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**7, 7 * 10**6, 3 * 10**6))
    words = ["custom-diffusion", DUCKS, PROMPT, "--base", base, "--prior", "none", "-o", tmp_path / "c"]
    many = ["--steps", 1000, "--checkpoint-every", 1]
    assert motif("learn", *words, *many).failed(2, "3000 kB are free there", "are needed")
    assert os.listdir(tmp_path) == []
    words = ["a cat", "--base", base, "--steps", 1, "-n", 2000, "--height", 32, "--width", 32]
    assert motif("sample", "plain", *words, "-o", tmp_path / "out").failed(2, "6144 kB are needed")
    assert motif("demo", "-o", tmp_path / "demo").failed(2, "3000 kB are free there", "are needed")
    assert os.listdir(tmp_path) == []


def test_what_a_run_needs_grows_with_its_checkpoints(base: Path, cat: Path) -> None:
    from motif.base import Base
    from motif.cli.learn import concept_bytes, run_bytes

    loaded = Base.load(str(base), device="cpu")
    values = {"steps": 100, "checkpoint_every": 10}
    size = concept_bytes(loaded, values)
    assert 0.5 * cat.stat().st_size < size <= cat.stat().st_size
    assert run_bytes(loaded, values, {}) == (1 + 3 + 10) * size
    assert run_bytes(loaded, {"checkpoint_every": 10}, {"steps": 20}) == (1 + 3 + 2) * size
    assert run_bytes(loaded, {"steps": 0, "checkpoint_every": 10}, {"steps": 20}) == (1 + 3 + 1) * size
    assert concept_bytes(loaded, {"trained": "crossattn"}) > size


def test_a_world_of_several_without_a_launcher_is_refused(
    motif: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert learn(motif, DUCKS, "-o", tmp_path / "c").failed(2, "WORLD_SIZE is 2")
    assert os.listdir(tmp_path) == []
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert learn(motif, DUCKS, "-o", tmp_path / "c").failed(3, "nowhere/at-all")


def test_a_disk_that_fills_up_while_writing_leaves_nothing_half_written(
    motif: Callable[..., Ran], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Image.Image, path: Path, *_: object, **__: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", fail)
    words = ["sample", "plain", "a cat", "--base", base, "--steps", 1, "-o", tmp_path / "out"]
    assert motif(*words).failed(2, "0000.png", "disk is full")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_stdout_on_a_full_disk_exits_2() -> None:
    with open("/dev/full", "w") as full:
        done = process("methods", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "disk is full" in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m motif methods | true"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- what goes wrong inside ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyError("lost"), 1, ["this is a bug", "KeyError", "--debug"]),
        (MemoryError(), 2, ["out of memory", "--batch-size"]),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            2,
            ["out of memory"],
        ),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 2, ["disk is full"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (OSError(errno.EROFS, "read-only", "/x"), 2, ["/x", "read-only"]),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    motif: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    words: list[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(methods, "table", fail)
    assert motif("methods").failed(code, *words)
    if code == 1:
        done = motif("methods", "--debug")
        assert "Traceback" in done.err and "lost" in done.err and done.code == 1


@pytest.mark.parametrize("module", ["motif.cli.exits", "click", "PIL.Image", "motif.cli.pocket"])
def test_ctrl_c_while_motif_starts_shows_no_traceback(module: str) -> None:
    code = f"""
import sys

class Interrupting:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from motif.cli import main
sys.exit(main(["methods"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "motif: interrupted\n")


def test_ctrl_c_saves_and_exits_130(
    motif: Callable[..., Ran], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from motif.learn.batches import Batches

    loss = Batches.loss

    def interrupt(self: Batches, base: Any, step: int, *others: Any) -> Any:
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        return loss(self, base, step, *others)

    monkeypatch.setattr(Batches, "loss", interrupt)
    words = ["learn", "custom-diffusion", DUCKS, PROMPT, "--base", base, "--prior", "none", "--batch-size", 1]
    done = motif(*words, "--steps", 9, "-o", tmp_path / "c")
    assert done.failed(130, "stopped after step 3 of 9", "--resume", "c.run")
    assert (tmp_path / "c.run" / "state.pt").is_file() and not (tmp_path / "c.safetensors").exists()


# -- options come from signatures ---------------------------------------------------------------------------------

EVERY = [(verb, name) for verb in methods.VERBS for name in methods.VERBS[verb]]


@pytest.mark.parametrize(("verb", "name"), EVERY)
def test_every_setting_of_a_method_is_an_option_with_its_default(verb: str, name: str) -> None:
    function = methods.load(verb, name)
    found = {option.name: option for option in options(function)}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in HANDLED:
            option = found[parameter.name]
            assert option.default == parameter.default or (option.default, parameter.default) == (None, ())
            assert option.help and parameter.name in {*arguments_help(function), "resume"}, parameter.name


def test_every_command_and_every_option_explains_itself(motif: Callable[..., Ran]) -> None:
    for name, command in commands(app, ("motif",)):
        assert command.help and command.get_short_help_str(), name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)
        shown = motif(*name.split()[1:], "--help")
        assert shown.code == 0 and shown.out.startswith(f"Usage: {name} ")
        assert "--debug" in shown.out and "--json" in shown.out


def test_the_reference_page_is_what_the_commands_say() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == reference(), "docs/commands.md is out of date: make docs"


def test_the_demos_options_are_its_functions() -> None:
    from motif.cli.demo import demo as command
    from motif.demo import demo

    defaults = {option.name: option.default for option in options(demo, hidden=["say"])}
    assert defaults.keys() == {"steps", "seed"}
    values = command.make_context("demo", []).params
    assert {name: values[name] for name in defaults} == defaults


def toy(
    base: object,
    *,
    n: int = 1,
    rate: float | None = None,
    sizes: tuple[int, int] = (1, 2),
    words: list[str] = [],  # noqa: B006
    place: Path | None = None,
    flag: bool = True,
    hook: Callable[[int], None] | None = None,
) -> None:
    """Do something.

    Args:
        n: How many,
            in a second line.
        rate: How fast.
    Raises:
        ValueError: never.
    """


def test_types_become_options() -> None:
    found = {option.name: option for option in options(toy)}
    assert list(found) == ["n", "rate", "sizes", "words", "place", "flag"]
    assert found["n"].opts == ["-n", "--n"] and found["n"].help == "How many, in a second line."
    assert (
        found["sizes"].nargs == 2
        and found["words"].multiple
        and found["flag"].secondary_opts == ["--no-flag"]
    )


def test_a_method_of_another_package_is_found(
    monkeypatch: pytest.MonkeyPatch, motif: Callable[..., Ran]
) -> None:
    from importlib import metadata

    entries = metadata.EntryPoints(
        [
            metadata.EntryPoint("learn.toy", "test_cli:toy", methods.GROUP),
            metadata.EntryPoint("learn.custom-diffusion", "test_cli:toy", methods.GROUP),
        ]
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **_: entries)
    methods.table.cache_clear()
    try:
        assert methods.load("learn", "toy") is toy
        assert methods.find("learn", "custom-diffusion") is methods.LEARN["custom-diffusion"]
        assert "learn toy" in motif("methods").out
        with pytest.raises(InputError, match="did you mean toy"):
            methods.find("learn", "tox")
    finally:
        methods.table.cache_clear()


# -- small things ---------------------------------------------------------------------------------------------------


def test_python_m_motif_is_the_same_and_stderr_has_no_bar_when_it_is_no_terminal(
    base: Path, tmp_path: Path
) -> None:
    assert process("--version").stdout.startswith("motif, version ")
    words = [
        "learn",
        "custom-diffusion",
        str(DUCKS),
        PROMPT,
        "--base",
        str(base),
        "--prior",
        "none",
        "--steps",
        "2",
    ]
    done = process(*words, "--batch-size", "1", "-o", str(tmp_path / "c"))
    assert done.returncode == 0 and done.stdout == f"{tmp_path / 'c.safetensors'}\n"
    assert "step 2/2  loss" in done.stderr and "\x1b" not in done.stderr and "\r" not in done.stderr
    assert "Warning" not in done.stderr


def test_doctor_tells_what_a_bug_report_needs(
    motif: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", "/nowhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = motif("doctor", "--json")
    told = json.loads(done.out)
    assert done.failed(3, "/nowhere")
    assert told["environment"]["HF_HUB_OFFLINE"] == "1" and "does not load" in told["pocket"]
    assert {"python", "torch", "diffusers"} <= told["versions"].keys() and told["machine"][
        "torch threads"
    ] >= 1


def test_the_prompts_of_clip_t_come_from_the_record_a_file_or_a_word(tmp_path: Path) -> None:
    from motif.cli.measure import prompts_of

    with pytest.raises(InputError, match="give PROMPTS"):
        prompts_of(None, tmp_path)
    (tmp_path / "pictures.json").write_text('{"prompt": "a <new1> cat"}')
    (tmp_path / "p.txt").write_text("a cat\n\na dog\n")
    assert prompts_of(None, tmp_path) == "a <new1> cat" and prompts_of("a dog", tmp_path) == "a dog"
    assert prompts_of(str(tmp_path / "p.txt"), tmp_path) == ["a cat", "a dog"]
    (tmp_path / "p.txt").write_bytes("a café\n".encode("utf-8-sig"))
    assert prompts_of(str(tmp_path / "p.txt"), tmp_path) == ["a café"]
    (tmp_path / "p.txt").write_bytes("a café\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"p\.txt: not UTF-8 text"):
        prompts_of(str(tmp_path / "p.txt"), tmp_path)


def test_clip_t_reads_the_prompts_that_evaluate_py_reads(
    motif: Callable[..., Ran], tmp_path: Path, clip_folder: Path
) -> None:
    """R/samples/NAME.png and R/prompts.json, {NAME: prompt}; or the file beside the pictures, or named; or NAME.txt."""
    root = tmp_path / "root"
    (root / "samples").mkdir(parents=True)
    for name, photo in {"2": "00", "10": "01"}.items():
        Image.open(DUCKS / f"{photo}.jpg").resize((64, 64)).save(root / "samples" / f"{name}.png")
    (tmp_path / "p.txt").write_text("a cat\na dog\n")
    words = ["--encoder", clip_folder, "--device", "cpu", "--json"]
    wanted = json.loads(motif("measure", "clip-t", root / "samples", tmp_path / "p.txt", *words).out)
    assert motif("measure", "clip-t", root / "samples", *words).failed(2, "give PROMPTS")
    told = root / "prompts.json"
    told.write_text(json.dumps({"10": "a dog", "2": "a cat", "11": "a bird"}))
    assert json.loads(motif("measure", "clip-t", root / "samples", *words).out) == wanted
    assert json.loads(motif("measure", "clip-t", root / "samples", told, *words).out) == wanted
    told.write_text(json.dumps({"2": "a cat"}))
    assert motif("measure", "clip-t", root / "samples", *words).failed(
        2, "10.png", "prompts.json names no prompt"
    )
    told.write_text(json.dumps({"2": "a cat", "10": ["a dog"]}))
    assert motif("measure", "clip-t", root / "samples", *words).failed(2, "prompts.json", "10 is no text")
    told.rename(root / "elsewhere.json")
    assert motif("measure", "clip-t", root / "samples", told, *words).failed(
        2, "prompts.json", "no such file"
    )
    for name, text in {"2": "a cat\n", "10": "a dog"}.items():
        (root / "samples" / f"{name}.txt").write_text(text)
    assert json.loads(motif("measure", "clip-t", root / "samples", *words).out) == wanted
    told.write_text(json.dumps({"2": "a cat"}))  # named, it tells alone
    assert motif("measure", "clip-t", root / "samples", told, *words).failed(2, "10.png", "names no prompt")


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Pictures as `motif sample` leaves them, in a folder that held others before."""
    folder = tmp_path / "drawn"
    folder.mkdir()
    for name, photo in {"0000.png": "00", "0001.png": "01", "grid.png": "02", "old.png": "02"}.items():
        Image.open(DUCKS / f"{photo}.jpg").resize((64, 64)).save(folder / name)
    record = {"prompt": "a cat", "base": "tiny", "pictures": [{"file": "0000.png"}, {"file": "0001.png"}]}
    (folder / "pictures.json").write_text(json.dumps(record))
    return folder


def test_what_a_record_lists_is_scored_alone(
    motif: Callable[..., Ran], drawn: Path, clip_folder: Path
) -> None:
    words = ["measure", "clip-i", drawn, DUCKS, "--encoder", clip_folder, "--device", "cpu", "--json"]
    score = json.loads(motif(*words).out)
    assert score["images"] == ["0000.png", "0001.png"] and score["n"] == 2
    (drawn / "0001.png").unlink()
    assert motif(*words).failed(2, "0001.png", "pictures.json lists it")
    (drawn / "pictures.json").write_text("[]")
    assert motif(*words).failed(2, "pictures.json", "lists no pictures")
    (drawn / "pictures.json").unlink()
    assert json.loads(motif(*words).out)["images"] == ["0000.png", "grid.png", "old.png"]
    assert motif(*words[:-2], "gpu9").failed(2, "gpu9")


@pytest.mark.parametrize(
    ("side", "base_name", "references", "warned"),
    [
        (64, "tiny", 64, []),
        (512, "tiny", 64, ["drawn"]),
        (512, "pocket", 64, []),
        (64, "pocket", 512, ["photos"]),
        (512, "tiny", 512, ["drawn", "photos"]),
    ],
)
def test_pockets_encoder_is_warned_of_for_every_source_that_is_not_its_own_world(
    motif: Callable[..., Ran], drawn: Path, photos: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch,
    side: int, base_name: str, references: int, warned: list[str],
) -> None:  # fmt: skip
    weights = drawn.parent / "weights"
    weights.mkdir()
    (weights / "clip").symlink_to(clip_folder)
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", str(weights))
    record = json.loads((drawn / "pictures.json").read_text()) | {"base": base_name}
    (drawn / "pictures.json").write_text(json.dumps(record))
    for path, to in {
        **dict.fromkeys(drawn.glob("*.png"), side),
        **dict.fromkeys(photos.glob("*"), references),
    }.items():
        Image.open(DUCKS / "00.jpg").resize((to, to)).save(path)
    done = motif("measure", "clip-i", drawn, photos)
    warnings = [line for line in done.err.splitlines() if "--encoder paper" in line]
    assert done.code == 0 and len(warnings) == len(warned), done.err
    assert all(f"{name}: pictures of" in line for name, line in zip(warned, warnings, strict=True))
    assert "--encoder paper" not in motif("measure", "clip-i", drawn, photos, "--encoder", clip_folder).err


def test_one_picture_is_known_by_the_record_beside_it(
    motif: Callable[..., Ran], drawn: Path, clip_folder: Path
) -> None:
    words = ["--encoder", clip_folder, "--device", "cpu", "--json"]
    score = json.loads(motif("measure", "clip-t", drawn / "0000.png", *words).out)
    assert score == json.loads(motif("measure", "clip-t", drawn / "0000.png", "a cat", *words).out)
    assert motif("measure", "clip-t", drawn / "old.png", *words).failed(2, "old.png", "give PROMPTS")
    (drawn / "pictures.json").write_text("[]")
    assert motif("measure", "clip-i", drawn / "0000.png", DUCKS, *words).code == 0


def test_no_help_speaks_of_what_a_command_line_cannot_give() -> None:
    for name, command in commands(app, ("motif",)):
        told = [parameter.help or "" for parameter in command.params if isinstance(parameter, click.Option)]
        assert not re.search(r"loaded|PIL|[a-z]Encoder", " ".join([command.help or "", *told])), name


def test_outputs_are_checked_without_leaving_a_trace(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for place in ("a/b/c.png", "here/c.png", "here/a/c.png"):
        assert prepare(tmp_path / place) == tmp_path / place
    with pytest.raises(InputError, match="needed"):
        prepare(tmp_path / "c" / "d", needs=1 << 62)
    assert os.listdir(tmp_path) == ["here"] and os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize(
    ("name", "advised"),
    [
        ("v1.5", "v1.5.safetensors"),
        ("cat.ckpt", "cat.safetensors"),
        ("cat.txt", "cat.safetensors"),
        ("cat.PNG", "cat.safetensors"),
        ("a.b/cat.v2", "cat.v2.safetensors"),
    ],
)
def test_an_advised_name_is_taken_and_loses_nothing(name: str, advised: str) -> None:
    assert concept_path("cat") == Path("cat.safetensors") == concept_path("cat.safetensors")
    with pytest.raises(InputError, match=f"name it {advised}$"):
        concept_path(name)
    assert concept_path(advised) == Path(advised)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_written_file_has_the_mode_of_a_new_one_whatever_its_writer_made_it(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        for writers in (0o600, 0o644, 0o666):
            with written(tmp_path / "file") as part:
                part.touch(writers)
                part.chmod(writers)
            assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_takes_the_folders_with_it_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for place in ("here/file", "here/a/b/file", "c/file"):
        with pytest.raises(KeyError), written(tmp_path / place) as part:
            part.write_text("half")
            raise KeyError
    assert os.listdir(tmp_path) == ["here"] and os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (65, "1 min 05 s"), (7800, "2 h 10 min"), (float("nan"), "?")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tables_are_aligned_and_nothing_is_cut_off() -> None:
    lines = aligned([("a" * 100, 0.5), ("b", None)], ["name", "mean"]).splitlines()
    assert [line.index(word) for line, word in zip(lines, ["mean", "0.5000", "-"], strict=True)] == [
        102,
        102,
        102,
    ]
