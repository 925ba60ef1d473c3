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
ONE = ("-n", "1")
CHANGES = "[pairs.dreambooth-joint]\nsteps = 3\n[subjects.dreambooth]\ntrain_text_encoder = true\n"


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
    return [str(word) for word in [*words, "--encoder", "pocket", "--device", "cpu"]]


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
    out, words = tmp_path / "out", ["pairs", *ONE, str(data / "multi.json"), *asked]
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
        *ONE,
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


class Pretended:
    """motif's commands, by what they would leave; those whose words hold one of `fails` fail."""

    def __init__(self, *fails: str) -> None:
        self.fails, self.ran, self.hides = fails, list[tuple[str, ...]](), ""

    def __call__(self, words: tuple[str, ...]) -> tuple[int, str, str]:
        self.ran.append(words)
        if any(word in " ".join(words) for word in self.fails):
            return 2, "", "motif: not today"
        if words[0] == "measure":
            images = Path(words[2])
            names = sorted(
                path.name for path in images.glob("*.png") if path.is_file() and path.name != self.hides
            )
            values = [float(len(self.ran) + i) for i, _ in enumerate(names)]
            return 0, json.dumps({"name": words[1], "per_image": values, "choices": {"encoder": "none"}}), ""
        out = Path(words[words.index("-o") + 1])
        places = [out]
        if words[0] == "sample":
            lines = Path(words[2]).read_text().splitlines()
            places = [out / f"{i:04d}.png" for i in range(len(lines) * int(words[words.index("-n") + 1]))]
        elif words[:2] == ("edit", "custom-edit"):
            places = [out, *(out.with_name(f"{out.stem}-{i}.png") for i in (1, 2))]
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(shlex.join(words))
        return 0, "", ""

    def count(self, *words: str) -> int:
        return sum(line[: len(words)] == words for line in self.ran)


@pytest.fixture
def pretended(protocol: Any, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    made = Pretended()
    monkeypatch.setattr(protocol, "motif", made)
    return made


def test_every_picture_has_a_command_of_its_own(
    protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path
) -> None:
    """Of all rows: each strength and seed is drawn by its own command, and measured among its own."""
    assert protocol.main(["edits", str(data / "edits.json"), *asked]) == 0
    methods = len(protocol.sys.modules["protocol_rows"].EDITED)
    assert pretended.count("edit", "custom-edit") == 2 * methods
    assert pretended.count("edit", "sdedit") == 12 * methods
    out = tmp_path / "out" / "toy" / "dreambooth"
    for strength in (0.5, 0.6, 0.7, 0.8):
        for seed in (0, 1, 2):
            said = shlex.split((out / f"SDEdit-{strength}" / "edited" / f"0-{seed}.png").read_text())
            assert said[1] == "sdedit" and said[said.index("--strength") + 1] == str(strength)
            assert said[said.index("--seed") + 1] == str(seed)
    for place, number in (("P2P-0.2", 1), ("P2P-0.8", 2)):
        link = out / place / "edited" / "0-0.6.png"
        assert link.resolve().name == f"0-p2p-0.6-{number}.png" and "custom-edit" in link.read_text()
    found = table(tmp_path / "out")
    assert len(found) == 3 * (2 + 4) and {len(row["text"]) for row in found.values()} == {2, 3}


def test_what_fails_is_named_and_the_rest_goes_on(
    protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A concept that cannot be learned costs its rows; a picture that cannot be drawn costs itself, and once it can,
    its row is measured anew."""
    toy = json.loads((data / "edits.json").read_text())[0]
    shutil.copy(data / "boat.jpg", data / "bad.jpg")
    toy["edits"].append(toy["edits"][0] | {"photo": "bad.jpg"})
    (data / "edits.json").write_text(json.dumps([toy]))
    words = ["edits", str(data / "edits.json"), *asked]
    pretended.fails = ("bad.jpg", "learn dreambooth")
    assert protocol.main(words) == 1
    said, out = capsys.readouterr(), tmp_path / "out"
    assert "toy: custom-edit, P2P 0.2: motif edit custom-edit" in said.err and "motif: not today" in said.err
    found = table(out)
    assert len(found) == 12 and not any(name.startswith("dreambooth") for name in found)
    assert len(found["custom-edit, P2P 0.2"]["text"]) == 2
    assert pretended.count("learn", "dreambooth") == 1, "a command that failed is not run again"
    assert "- failed: toy: dreambooth, P2P 0.2" in (out / "table.md").read_text()
    pretended.fails, count = (), len(pretended.ran)
    assert protocol.main(words) == 0
    again = pretended.ran[count:]
    assert not any("boat.jpg" in " ".join(line) for line in again if "dreambooth" not in " ".join(line))
    assert len(table(out)["custom-edit, P2P 0.2"]["text"]) == 4 and len(table(out)) == 18
    assert protocol.main(words) == 0 and len(pretended.ran) == count + len(again)


def test_a_folder_that_was_moved_measures_its_own_pictures(
    protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Pictures are measured by names that point to them: wherever the folder lies by now, and all of them."""
    words, rows = ["edits", str(data / "edits.json"), *asked], ["--rows", "custom-edit, SDEdit 0.5"]
    pretended.fails = ("--seed 2",)
    assert protocol.main([*words, *rows]) == 1
    (tmp_path / "out").rename(tmp_path / "moved")
    pretended.fails = ()
    words[words.index("-o") + 1] = str(tmp_path / "moved")
    assert protocol.main([*words, *rows]) == 0, capsys.readouterr().err
    spot = tmp_path / "moved" / "toy" / "custom-edit" / "SDEdit-0.5" / "edited"
    assert len(table(tmp_path / "moved")["custom-edit, SDEdit 0.5"]["text"]) == 3
    assert all(link.resolve().is_relative_to(tmp_path / "moved") for link in spot.iterdir())
    # a measure that saw fewer pictures than there are is no score
    (spot.parent / "text.json").unlink()
    link = next(spot.iterdir())
    pretended.hides = link.name
    assert (
        protocol.main([*words, *rows]) == 1
        and "2 pictures measured, and 3 are there" in capsys.readouterr().err
    )
    assert not (spot.parent / "text.json").is_file()


def test_a_prior_is_retrieved_from_a_folder_that_is_named(
    protocol: Any, pretended: Pretended, asked: list[str], data: Path
) -> None:
    (toy,) = json.loads((data / "edits.json").read_text())
    (data / "edits.json").write_text(json.dumps([toy | {"prior": "boat"}]))
    assert protocol.main(["edits", str(data / "edits.json"), *asked]) == 0
    learned = {line[1]: line for line in pretended.ran if line[0] == "learn"}
    for method in ("custom-edit", "dreambooth"):
        assert learned[method][learned[method].index("--prior") + 1] == str(data / "boat")
        assert "--retrieve" in learned[method]
    assert "--prior" not in learned["textual-inversion"]


def test_rows_alone_leave_the_others_in_the_table(
    protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path
) -> None:
    words = ["pairs", *ONE, str(data / "multi.json"), *asked]
    assert protocol.main(words) == 0
    whole, count = table(tmp_path / "out"), len(pretended.ran)
    assert protocol.main([*words, "--rows", "custom-diffusion, merge"]) == 0
    assert table(tmp_path / "out") == whole and len(whole) == 6 and len(pretended.ran) == count


def test_a_number_says_what_it_is(protocol: Any) -> None:
    """One picture leaves the error open; pictures without a value are counted."""
    said = sys.modules[protocol.table.__module__].said
    assert said([0.5], 1) == "0.5000 ± –" and said([None], 1) == "–"
    assert said([0.5, 0.7, None], 3) == "0.6000 ± 0.1000 (2)"


@pytest.mark.parametrize("what", ["photo", "prompts", "settings", "changes", "n"])
def test_a_folder_belongs_to_what_it_was_begun_with(
    what: str, protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["pairs", *ONE, str(data / "multi.json"), *asked, "--rows", "textual-inversion, both worn"]
    assert protocol.main(words) == 0
    count, before = (
        len(pretended.ran),
        {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.*") if p.is_file()},
    )
    if what == "photo":
        next((data / "cat").glob("*.png")).write_bytes((data / "boat.jpg").read_bytes())
    elif what == "prompts":
        (data / "prompts" / "both.txt").write_text("{0} under a {1}\n")
    elif what == "settings":
        (tmp_path / "settings" / "textual-inversion.toml").write_text(LEARNED + "lr = 1e-3\n")
    elif what == "changes":
        (tmp_path / "changes.toml").write_text("[pairs.dreambooth-joint]\nsteps = 4\n")
    else:
        words += ["-n", "2"]
    assert protocol.main(words) == 2 and "was begun with other" in capsys.readouterr().err
    assert len(pretended.ran) == count and all(p.read_bytes() == was for p, was in before.items())


WRONG = {
    "no list": ("{}", "no name"),
    "no photo": ([{"edits": [{"source": "a", "target": "{concept}"}]}], "an edit without photo"),
    "no concept": (
        [{"edits": [{"photo": "boat.jpg", "source": "a", "target": "b"}]}],
        "a target without {concept}",
    ),
    "no edits": ([{"edits": []}], "no edits"),
    "no name": ([{"name": ""}], "no name"),
    "no token": ([{"prompt": "photo of a cat"}], "a prompt without <new1>"),
    "no noun": ([{"prompt": "photo of a <new1>"}], "a prompt without <new1> and a noun"),
    "a stranger": ([{"pror": "cat"}], "has pror, which nothing would hear"),
    "no prior": ([{"prior": "nowhere"}], "no such file or folder"),
    "two of a name": ([{}, {}], "toy is there twice"),
    "a path": ([{"name": "../toy"}], "no name for a case"),
    "no folder": ([{"photos": "nowhere"}], "no such file or folder"),
    "no picture": ([{"edits": [{"photo": "none.jpg", "source": "a", "target": "{concept}"}]}], "none.jpg"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_edits_json_is_read_strictly(
    what: str, protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    changes, why = WRONG[what]
    (toy,) = json.loads((data / "edits.json").read_text())
    told = [{"toy": 1}] if isinstance(changes, str) else [toy | change for change in changes]
    (data / "edits.json").write_text(json.dumps(told))
    assert protocol.main(["edits", str(data / "edits.json"), *asked]) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1, said
    assert not pretended.ran and not (tmp_path / "out").exists()


def test_what_cannot_be_done_is_refused_before_anything_is_run(
    protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pair, subjects = str(data / "multi.json"), str(data / "bench.txt")
    files = {
        "unheard": "[pairs.custom-edti]\nlr = 1",
        "strange": "[pair.dreambooth]\nlr = 1",
        "no-option": "[pairs.dreambooth-joint]\nstpes = 3",
        "no-number": '[pairs.dreambooth-joint]\nsteps = "few"',
        "no-list": "[pairs.dreambooth-joint]\nsteps = [1, 2]",
        "no-table": "pairs = 3",
        "no-tables": "[pairs]\ndreambooth = 3",
        "no-toml": "[pairs",
        "own": "[edits.edit-sdedit]\nstrength = 0.9",
        "cross": "[edits.edit-custom-edit]\ncross_until = 0.4",
        "strengths": '[edits.edit-custom-edit]\nstrengths = "low,high"',
    }
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    (data / "two.txt").write_text("subject_name,class\ncat,cat\ncat,cat\n")

    def changes(name: str, protocol: str = "pairs") -> list[str]:
        file = pair if protocol == "pairs" else str(data / "edits.json")
        return [protocol, file, *asked, "--changes", str(tmp_path / f"{name}.toml")]

    (data / "empty.json").write_text("[]")
    settings = shutil.copytree(tmp_path / "settings", tmp_path / "elsewhere")
    (settings / "sample-ddpm.toml").write_text(f'base = "{tmp_path / "no-base"}"\nsteps = 2\n')

    wrong = [
        (["pairs", *ONE, pair, *asked, "--rows", "nothing"], "no row nothing"),
        (["pairs", *ONE, pair, *asked, "--encoder", str(tmp_path / "nowhere")], "nowhere"),
        (["pairs", *ONE, pair, *asked, "-n", "0"], "-n is 1 or more"),
        (["pairs", *ONE, pair, *asked, "--limit", "-1"], "--limit 0 or more"),
        (["pairs", *ONE, str(data / "edits.json"), *asked], "entry 0"),
        (["subjects", *ONE, subjects, *asked], "--elite"),
        (["subjects", *ONE, str(data / "two.txt"), *asked, "--elite", "pocket"], "cat is there twice"),
        (["edits", subjects, *asked], "JSON"),
        (["pairs", *ONE, pair, *asked, "--settings", str(tmp_path)], "sample-ddpm.toml"),
        (changes("unheard"), "nothing uses the changes of custom-edti"),
        (changes("strange"), "no protocol pair"),
        (changes("no-option"), "stpes"),
        (changes("no-number"), "few"),
        (changes("no-list"), "--steps is told twice"),
        (changes("no-table"), "pairs is no table"),
        (changes("no-tables"), "pairs is no table"),
        (changes("no-toml"), "no-toml.toml: not TOML"),
        (changes("own", "edits"), "--strength is told twice"),
        (changes("cross", "edits"), "--cross-until is told twice"),
        (changes("strengths", "edits"), "strengths"),
        (["edits", str(data / "edits.json"), *asked, "-n", "2"], "-n is of prompts"),
        (["edits", str(data / "edits.json"), *asked, "--elite", "pocket"], "--elite is of subjects"),
        (["edits", str(data / "empty.json"), *asked], "holds no objects"),
        (["subjects", *ONE, subjects, *asked, "--elite", str(tmp_path / "none")], "no such encoder of ELITE"),
        (["pairs", *ONE, pair, *asked, "--settings", str(settings)], "no-base"),
    ]
    for words, why in wrong:
        assert protocol.main(words) == 2, words
        said = capsys.readouterr().err
        assert why in said and said.count("\n") == 1, said
    assert not pretended.ran and not (tmp_path / "out").exists()


def test_a_stopped_training_goes_on(
    protocol: Any, pretended: Pretended, asked: list[str], data: Path, tmp_path: Path
) -> None:
    """Behind a checkpoint with --resume; before the first, from the start."""
    run = tmp_path / "out" / "cat+boat" / "textual-inversion-1.run"
    run.mkdir(parents=True)
    (run / "state.pt").write_text("")
    words = ["pairs", *ONE, str(data / "multi.json"), *asked, "--rows", "textual-inversion, both worn"]
    assert protocol.main(words) == 0
    first, second = (line for line in pretended.ran if line[0] == "learn")
    assert first[-1] == "--resume" and "--resume" not in second


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
    words = [*asked, *shipped, "--print"]
    for name, file in {"pairs": "multi.json", "subjects": "bench.txt", "edits": "edits.json"}.items():
        more = ["--elite", "pocket"] if name == "subjects" else []
        assert protocol.main([name, str(data / file), *words, *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 100 and not (tmp_path / "out").exists()
    for line in lines:
        first, *told = shlex.split(line)
        command: Any = app
        while isinstance(command, click.Group):
            name, command, told = command.resolve_command(click.Context(command), told)
        with command.make_context(name, told) as context:
            assert first == "motif" and context.params
