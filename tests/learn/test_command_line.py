"""What `motif learn` reads from a method's signature: several concepts, prompts without a token, worn concepts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

import tiny
from motif import methods
from motif.cli import main
from motif.cli.command import spelled
from motif.cli.learn import sizes, takes_several
from motif.concept import Concept
from motif.errors import InputError
from motif.learn import Examples
from pieces import Model

PROMPT = "photo of a <new1> cat"
SEVERAL = {"custom-diffusion", "dreambooth", "fine-tune-all"}
EVERY = sorted(methods.LEARN)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD1 pipeline's folder."""
    folder = tmp_path_factory.mktemp("base")
    tiny.pipeline("sd1").save_pretrained(folder)
    return folder


def run(place: Path, name: str, output: Path, *words: object) -> int:
    quick = ["--steps", 2, "--batch-size", 2, "--prior", "none", "--preview-every", 0]
    return main([str(word) for word in ["learn", name, *words, "-o", output, "--base", place, *quick]])


@pytest.mark.parametrize("name", EVERY)
def test_every_method_learns_from_the_command_line(
    place: Path, photos: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its plan knows how large the file becomes."""
    output = tmp_path / "c.safetensors"
    assert run(place, name, output, photos, PROMPT) == 0
    assert "motif sample plain 'a <new1> cat on the beach'" in capsys.readouterr().err
    concept = Concept.load(output)
    assert concept.record.method == name and concept.record.settings["steps"] == 2


@pytest.mark.parametrize("name", EVERY)
def test_what_a_run_writes_is_known_before(sd1: Model, photos: Path, tmp_path: Path, name: str) -> None:
    chosen: dict[str, Any] = {"steps": 4, "batch_size": 2, "prior": "none", "checkpoint_every": 2}
    function, examples = methods.load("learn", name), Examples(photos, PROMPT)
    concept, everything = sizes(function, sd1.base, examples, chosen, {})
    learned = function(sd1.base, examples, **chosen, preview_every=0)
    tensors = [p for c in learned.changes.values() for p in c.tensors().values()]
    tensors += [part for parts in learned.tokens.values() for part in parts]
    assert concept == sum(4 * tensor.numel() for tensor in tensors)
    assert everything == (1 + 3 + 2) * concept


def test_low_rank_changes_are_known_to_be_small(sd1: Model, photos: Path) -> None:
    function, examples = methods.load("learn", "dreambooth"), Examples(photos, PROMPT)
    whole, thin = (sizes(function, sd1.base, examples, {"lora": rank}, {})[0] for rank in (0, 2))
    assert thin < whole / 10


def test_a_method_of_another_package_is_guessed(sd1: Model, photos: Path) -> None:
    def toy(base: Any, examples: Any, *, steps: int = 4) -> Any: ...

    concept, everything = sizes(toy, sd1.base, Examples(photos, PROMPT), {"steps": 4}, {})
    assert 0 < concept < everything and not takes_several(toy)


@pytest.mark.parametrize("name", EVERY)
def test_a_default_is_not_given_and_what_is_given_must_be_heard(
    place: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Even where it is what the default is; in words, or in a file."""
    output, file = tmp_path / "c.safetensors", tmp_path / "settings.toml"
    file.write_text("retrieve-threshold = 0.85\n")
    for words in (("--retrieve-threshold", 0.85), ("--config", file)):
        assert run(place, name, output, photos, PROMPT, *words) == 2
        assert "add --retrieve" in capsys.readouterr().err


@pytest.mark.parametrize("name", EVERY)
def test_several_concepts_where_the_signature_takes_them(
    place: Path, photos: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert takes_several(methods.load("learn", name)) == (name in SEVERAL)
    file, output = tmp_path / "concepts.json", tmp_path / "c.safetensors"
    told = [
        {"instance_prompt": p, "instance_data_dir": str(photos)} for p in (PROMPT, "photo of a <new2> tea")
    ]
    file.write_text(json.dumps(told))
    code, said = run(place, name, output, "--concepts", file), capsys.readouterr().err
    if name not in SEVERAL:
        assert code == 2 and "--concepts" in said
        return
    assert code == 0 and list(Concept.load(output).tokens) == ["<new1>", "<new2>"]
    assert "a <new1> cat and a <new2> tea on the beach" in said
    assert run(place, name, output, photos, PROMPT, "--concepts", file) == 2
    assert "leave out PHOTOS" in capsys.readouterr().err
    assert run(place, name, output) == 2
    assert "--concepts FILE.json" in capsys.readouterr().err


def test_a_prompt_without_a_token_is_a_mistake_or_meant(
    place: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "c.safetensors"
    assert run(place, "custom-diffusion", output, photos, "photo of a cat") == 2
    assert "names no new word" in capsys.readouterr().err
    assert run(place, "custom-diffusion", output, photos, "photo of a cat", "--no-token") == 0
    assert not Concept.load(output).tokens and "'photo of a cat on the beach'" in capsys.readouterr().err
    assert run(place, "textual-inversion", output, photos, "photo of a cat", "--no-token") == 2
    assert "teach none" in capsys.readouterr().err


def test_a_rare_word_needs_no_flag_and_is_drawn_without_a_token(
    place: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "c.safetensors"
    assert run(place, "dreambooth", output, photos, "a sks cat") == 0
    assert "'a sks cat on the beach'" in capsys.readouterr().err
    draw = ["sample", "plain", "a sks cat on the beach", "--wear", str(output), "--base", str(place)]
    assert main([*draw, "--steps", "2", "-o", str(tmp_path / "drawn")]) == 0
    assert run(place, "dreambooth", output, photos, "a cat") == 2
    assert "neither a <token> nor the rare word" in capsys.readouterr().err


def test_learning_goes_on_from_what_is_worn(place: Path, photos: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert run(place, "custom-diffusion", first, photos, PROMPT) == 0
    words = (photos, "photo of a <new2> tea", "--wear", first)
    assert run(place, "textual-inversion", second, *words, "--initial", "tea") == 0
    both = Concept.load(second)
    assert (
        list(both.tokens) == ["<new1>", "<new2>"]
        and both.changes.keys() == Concept.load(first).changes.keys()
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prior-count", 3], "--prior-count would change nothing"),
        (["--trained", "crossattn", "--lr", 0, "--token-lr", 0.1], "lr is 0"),
        (["--optimiser", "prodigy", "--token-lr", 0.1], "leave --token-lr out"),
        (["--accumulate", 3], "--batch-size is 2"),
        (["--seed", 2**63], "seed"),
        (["--lr-warmup", 2], "--lr-warmup 2 of 2 steps"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_base_is_loaded(
    place: Path, photos: Path, tmp_path: Path, words: list[object], said: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In the words of the command line."""
    monkeypatch.setattr("motif.cli.learn.load_base", lambda *_: pytest.fail("the base was loaded"))
    assert run(place, "custom-diffusion", tmp_path / "c", photos, PROMPT, *words) == 2
    assert said in capsys.readouterr().err


def test_idle_settings_are_refused_where_the_base_is_not_here_yet(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["custom-diffusion", photos, PROMPT, "--prior", "none", "--prior-steps", 3, "-o", tmp_path / "c"]
    assert main([str(word) for word in ["learn", *words, "--base", "some/where"]]) == 2
    assert "--prior-steps would change nothing" in capsys.readouterr().err


def test_a_worn_token_to_start_from_is_known_before_the_base_is_loaded(
    place: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert run(place, "textual-inversion", first, photos, "photo of a <seen> cat") == 0
    words = [
        "photo of a <new1> cat",
        "--wear",
        first,
        "--rare-tokens",
        "<seen>",
        "--lr",
        0,
        "--token-lr",
        1e-9,
    ]
    assert run(place, "custom-diffusion", second, photos, *words) == 0, capsys.readouterr().err
    start, end = (Concept.load(path).tokens for path in (first, second))
    assert (start["<seen>"][0] - end["<new1>"][0]).abs().max() < 1e-6


def test_one_photo_is_one_photo_and_is_refused_once(
    place: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "custom-diffusion", tmp_path / "c", photos / "0.png", PROMPT) == 0
    assert "1 photo of <new1> cat" in capsys.readouterr().err
    (tmp_path / "cut.png").write_bytes((photos / "0.png").read_bytes()[:60])
    assert run(place, "custom-diffusion", tmp_path / "d", tmp_path / "cut.png", PROMPT) == 2
    assert capsys.readouterr().err.count("cut.png") == 2  # the place and the file, of one message


def test_a_caption_with_a_strange_word_is_told_of_that_word(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "0.png", tmp_path / "0.png")
    (tmp_path / "0.txt").write_text("photo of a <new2> cat")
    with pytest.raises(InputError, match=r"0\.png.*names <new2>, which the prompt"):
        Examples(tmp_path, PROMPT)


def test_a_message_has_the_command_lines_words() -> None:
    options = [click.Option(["prior_count", "--prior-count"]), click.Option(["steps", "--steps"])]
    for told, said in (
        ("prior_count is 0: ask for more", "--prior-count is 0: ask for more"),
        ("steps 0, prior_count 2.", "steps 0, --prior-count 2."),
        ("/tmp/prior_count/a.png: no", "/tmp/prior_count/a.png: no"),
        ("prior_count.txt and --prior-count", "prior_count.txt and --prior-count"),
        ('"prior_count" in the prompt', '"prior_count" in the prompt'),
    ):
        assert spelled(told, options) == said
