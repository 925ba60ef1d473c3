"""The papers' protocols on one case each, on pocket: every command of them runs, a stopped run goes on, and what
cannot be done is said beforehand or by its row."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from motif.cli import main
from motif.cli.app import app
from motif.pocket.concepts import held_out

ROOT = Path(__file__).parents[2]
FEW = 'base = "pocket"\nsteps = 2\n'
LEARNED = FEW + "batch_size = 2\n"
PRIOR = LEARNED + "prior_count = 2\nprior_steps = 1\n"
SETTINGS = {
    "custom-diffusion": PRIOR, "dreambooth": PRIOR, "fine-tune-all": PRIOR, "custom-edit": PRIOR,
    "textual-inversion": LEARNED, "sample-ddpm": FEW + "eta = 1.0\n", "sample-elite": FEW,
    "edit-sdedit": FEW, "edit-custom-edit": 'base = "pocket"\nsteps = 5\ninvert = "ddim"\nstrengths = "0.2,0.8"\n',
}  # fmt: skip
CHANGES = "[pairs.dreambooth]\nsteps = 3\n[subjects.dreambooth]\ntrain_text_encoder = true\n"


@pytest.fixture(scope="module")
def protocol() -> Any:
    sys.path.insert(0, str(ROOT / "reproduction"))
    return importlib.import_module("protocol")


@pytest.fixture
def ran(protocol: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that ran, here and not in processes of their own."""
    said: list[tuple[str, ...]] = []

    def motif(words: tuple[str, ...]) -> tuple[int, str, str]:
        out, beside = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(beside):
            code = main([*words])
        said.append(words)
        return code, out.getvalue(), beside.getvalue()

    monkeypatch.setattr(protocol, "motif", motif)
    return said


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    settings = tmp_path / "settings"
    settings.mkdir()
    for name, text in SETTINGS.items():
        (settings / f"{name}.toml").write_text(text)
    (tmp_path / "changes.toml").write_text(CHANGES)
    words = ["-o", tmp_path / "out", "--settings", settings, "--changes", tmp_path / "changes.toml"]
    return [str(word) for word in [*words, "--encoder", "pocket", "--device", "cpu", "-n", "1"]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A cat and a boat, two photos of each, in the form of all three data sets."""
    home = tmp_path / "data"
    (home / "prompts").mkdir(parents=True)
    known = {one.name: one for one in held_out()}
    entries: list[dict[str, str]] = []
    for i, name in enumerate(("cat", "boat"), 1):
        (home / name).mkdir()
        for photo in known[name].references[:2]:
            shutil.copy(photo, home / name / photo.name)
        entries.append({
            "instance_prompt": f"photo of a <new{i}> {name}", "class_prompt": name, "instance_data_dir": f"./{name}",
            "class_data_dir": f"./real/{name}", "prompt_filename": f"prompts/{name}.txt",
        })  # fmt: skip
    (home / "prompts" / "both.txt").write_text("{0} next to a {1}\na {1} and a {0} in the snow\n")
    (home / "multi.json").write_text(
        json.dumps([[*entries, {"prompt_filename_compose": "prompts/both.txt"}]])
    )
    photo = Image.open(known["boat"].references[0]).convert("RGB")
    photo.save(home / "boat.jpg")
    edit = {"photo": "boat.jpg", "source": "a photo of a boat", "target": "a photo of a {concept}"}
    toy = {
        "name": "toy",
        "photos": "cat",
        "prompt": "photo of a <new1> cat",
        "initial": "cat",
        "edits": [edit],
    }
    (home / "edits.json").write_text(json.dumps([toy]))
    (home / "bench.txt").write_text("Classes\n\nsubject_name,class\ncat,cat\n\nPrompts\n")
    return home


def table(out: Path) -> dict[str, dict[str, list[float]]]:
    return json.loads((out / "table.json").read_text())


@pytest.mark.slow
def test_pairs_are_learned_in_every_way_drawn_and_measured(
    protocol: Any, ran: list[tuple[str, ...]], asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, words = tmp_path / "out", ["pairs", str(data / "multi.json"), *asked]
    assert protocol.main(words) == 0, capsys.readouterr().err
    found = table(out)
    assert len(found) == 6 and all({*row} == {"text", "image", "dino"} for row in found.values())
    assert all(len(values) == 2 for row in found.values() for values in row.values())
    assert "| custom-diffusion, merge | 2 |" in capsys.readouterr().out
    home = out / "cat+boat"
    assert (home / "words.txt").read_text() == "<new1> next to a <new2>\na <new2> and a <new1> in the snow\n"
    assert (home / "said.txt").read_text() == "cat next to a boat\na boat and a cat in the snow\n"
    (joint,) = (line for line in ran if line[:2] == ("learn", "dreambooth"))
    assert joint[joint.index("--steps") + 1] == "3", "what the protocol changes of a settings file"
    alone = [line for line in ran if line[:2] == ("learn", "textual-inversion")]
    assert [(line[3], line[line.index("--initial") + 1]) for line in alone] == [
        ("photo of a <new1>", "cat"),
        ("photo of a <new2>", "boat"),
    ]
    # what is there is not made again; what is lost of it alone is, and comes out the same
    before, count = table(out), len(ran)
    (home / "custom-diffusion-merge" / "image.json").unlink()
    assert protocol.main(words) == 0 and table(out) == before
    assert [line[0] for line in ran[count:]] == ["sample", "measure"]


@pytest.mark.slow
def test_subjects_are_encoded_and_learned_from_one_photo(
    protocol: Any, ran: list[tuple[str, ...]], asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = [
        "subjects",
        str(data / "bench.txt"),
        *asked,
        "--elite",
        "pocket",
        "--rows",
        "elite; textual-inversion",
    ]
    assert protocol.main(words) == 0, capsys.readouterr().err
    found = table(tmp_path / "out")
    assert [*found] == ["elite", "textual-inversion"]
    assert all(len(values) == 25 for row in found.values() for values in row.values())
    home = tmp_path / "out" / "cat"
    assert (home / "elite.txt").read_text().startswith("a <S> in the jungle\n")
    assert (home / "said.txt").read_text().startswith("a cat in the jungle\n")
    assert len([*(home / "photo").glob("*.png")]) - len([*(home / "photo").glob("*-mask.png")]) == 1


def test_objects_are_put_into_pictures_at_every_strength(
    protocol: Any, ran: list[tuple[str, ...]], asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["edits", str(data / "edits.json"), *asked]
    rows = "textual-inversion, P2P 0.2; textual-inversion, P2P 0.8; textual-inversion, SDEdit 0.5"
    assert protocol.main([*words, "--rows", rows]) == 0, capsys.readouterr().err
    found = table(tmp_path / "out")
    assert [len(found[row.strip()]["source"]) for row in rows.split(";")] == [2, 2, 3]
    edits = [line for line in ran if line[0] == "edit"]
    assert [line[1] for line in edits] == ["custom-edit"] * 2 + ["sdedit"] * 3
    assert edits[0][edits[0].index("--target") + 1] == "a photo of a <new1>"
    drawn = tmp_path / "out" / "toy" / "textual-inversion"
    low, high = (
        Image.open(drawn / f"P2P-{part}" / "edited" / "0-0.2.png").tobytes() for part in ("0.2", "0.8")
    )
    assert (
        low != high
        and (drawn / "P2P-0.2" / "sources" / "0-0.2.png").resolve() == (data / "boat.jpg").resolve()
    )


def test_a_row_that_fails_is_named_and_the_rest_goes_on(
    protocol: Any, ran: list[tuple[str, ...]], asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "settings" / "custom-diffusion.toml").write_text(PRIOR + "lr = -1\n")
    rows = "custom-diffusion, merge; textual-inversion, both worn"
    words = ["pairs", str(data / "multi.json"), *asked, "--rows", rows]
    assert protocol.main(words) == 1
    said = capsys.readouterr()
    assert "cat+boat: custom-diffusion, merge: motif learn custom-diffusion" in said.err and "lr" in said.err
    assert [*table(tmp_path / "out")] == ["textual-inversion, both worn"]
    assert "- cat+boat: custom-diffusion, merge failed:" in (tmp_path / "out" / "table.md").read_text()


def test_what_cannot_be_done_is_refused_before_anything_is_run(
    protocol: Any, ran: list[tuple[str, ...]], asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pair, subjects = str(data / "multi.json"), str(data / "bench.txt")
    (data / "none.json").write_text('[{"name": "toy", "photos": "cat", "prompt": "a <new1> cat"}]')
    wrong = [
        (["pairs", pair, *asked, "--rows", "nothing"], "no row nothing"),
        (["pairs", pair, *asked, "--encoder", str(tmp_path / "nowhere")], "nowhere"),
        (["pairs", pair, *asked, "-n", "0"], "-n is 1 or more"),
        (["pairs", str(data / "edits.json"), *asked], "entry 0"),
        (["subjects", subjects, *asked], "--elite"),
        (["edits", str(data / "none.json"), *asked], "no edits"),
        (["edits", subjects, *asked], "JSON"),
        (["pairs", pair, *asked, "--settings", str(tmp_path)], "sample-ddpm.toml"),
    ]
    for words, why in wrong:
        assert protocol.main(words) == 2
        said = capsys.readouterr().err
        assert why in said and said.count("\n") == 1, said
    assert not ran and not (tmp_path / "out").exists()


def test_a_folder_belongs_to_one_protocol(
    protocol: Any, asked: list[str], data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(protocol, "motif", lambda words: (ran.append(words), (1, "", "motif: not today"))[1])
    words = [
        "pairs",
        str(data / "multi.json"),
        *asked,
        "--rows",
        "custom-diffusion, merge; custom-diffusion, sequential",
    ]
    assert protocol.main(words) == 1 and capsys.readouterr().err.count("motif: not today") == 2
    assert len(ran) == 1, "a command that both rows need, and that failed, is not run again"
    assert protocol.main([*words, "-n", "2"]) == 2 and "another folder" in capsys.readouterr().err
    assert len(ran) == 1


def test_the_commands_can_be_looked_at(
    protocol: Any, asked: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the shipped settings: each is one that motif's parser takes."""
    shipped = [
        "--settings",
        str(ROOT / "reproduction" / "sd14"),
        "--changes",
        str(ROOT / "reproduction" / "protocol.toml"),
    ]
    words = [*asked, *shipped, "--print", "--elite", "pocket"]
    for name, file in {"pairs": "multi.json", "subjects": "bench.txt", "edits": "edits.json"}.items():
        assert protocol.main([name, str(data / file), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 100 and not (tmp_path / "out").exists()
    for line in lines:
        first, *told = shlex.split(line)
        command: Any = app
        while isinstance(command, click.Group):
            name, command, told = command.resolve_command(click.Context(command), told)
        with command.make_context(name, told) as context:
            assert first == "motif" and context.params
