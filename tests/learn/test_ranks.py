"""Two processes give what one gives; they stop and go on together, and one of them writes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from two_ranks import CASES, PROMPT, taken

import tiny
from motif import methods
from motif.concept import Concept
from motif.errors import InputError
from motif.learn import Examples
from motif.learn.ranks import Ranks
from pieces import Model, gap


def launcher(*words: object) -> list[str]:
    """`accelerate launch` of two processes. Its --cpu asks for mpirun, where there is more than one; on a machine
    without a GPU --multi_gpu starts them as torchrun does, and --device cpu is motif's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    how = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    how += ["--dynamo_backend", "no", "--main_process_port", str(port)]
    return [sys.executable, "-m", "accelerate.commands.launch", *how, *map(str, words)]


ALONE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def shared(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left of every case."""
    folder = tmp_path_factory.mktemp("ranks")
    command = launcher(Path(__file__).with_name("two_ranks.py"), photos, folder)
    done = subprocess.run(command, env={**os.environ, **ALONE}, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_what_one_gives(case: str, photos: Path, shared: Path, tmp_path: Path) -> None:
    """Losses, gradients and files; both processes end with the same bits."""
    alone = taken(case, photos, tmp_path)
    first, second = (torch.load(shared / f"{case} {rank}.pt", weights_only=True) for rank in (0, 1))
    told, lone = ([loss for loss in one["losses"] if loss is not None] for one in (first, alone))
    steps = 2 if "kept" in case else 3  # rank 0 alone sees that the knee is passed
    assert len(told) == steps and told == pytest.approx(lone, rel=1e-3)
    largest = max(float(gradient.abs().max()) for gradient in alone["gradients"][0].values())
    for step, theirs in enumerate(alone["gradients"]):
        assert first["gradients"][step].keys() == second["gradients"][step].keys() == theirs.keys()
    for name, gradient in alone["gradients"][0].items():
        mine = first["gradients"][0][name]
        assert torch.equal(mine, second["gradients"][0][name])
        assert torch.allclose(mine, gradient, rtol=1e-3, atol=1e-5 * largest), name
    for name, parts in first["values"].items():
        assert all(torch.equal(a, b) for a, b in zip(parts, second["values"][name], strict=True))
        assert all(gap(a, b) < 0.2 for a, b in zip(parts, alone["values"][name], strict=True))
    assert first["settings"]["processes"] == 2 and alone["settings"]["processes"] == 1
    assert first["settings"] | {"processes": 1} == alone["settings"]
    files = sorted(path.name for path in (shared / case).rglob("*"))
    assert files == sorted(path.name for path in (tmp_path / case).rglob("*")) and "preview-0002.png" in files
    lines = (shared / case / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [*range(1, steps + 1)]


@pytest.mark.slow
def test_a_command_of_two_processes_is_stopped_and_goes_on(photos: Path, tmp_path: Path) -> None:
    """Ctrl-C at the launcher ends both after the same step, with one state; --resume ends where one process does."""
    tiny.pipeline("sd1").save_pretrained(tmp_path / "base")
    output, run = tmp_path / "c.safetensors", tmp_path / "run"
    how = [
        "--base",
        tmp_path / "base",
        "--device",
        "cpu",
        "--prior",
        "none",
        "--batch-size",
        2,
        "--preview-every",
        0,
    ]
    words = [
        "-m",
        "motif",
        "learn",
        "textual-inversion",
        photos,
        PROMPT,
        "-o",
        output,
        "--run-folder",
        run,
        *how,
    ]
    env = {**os.environ, **ALONE}
    process = subprocess.Popen(
        launcher(*words, "--steps", 100000),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, deadline = run / "metrics.jsonl", time.monotonic() + 60
    while not (log.is_file() and log.read_text().count("\n") > 2) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert "stopped after step" in said, said[-2000:]
    reached = json.loads((run / "state.json").read_text())["step"]
    assert reached == len(log.read_text().splitlines()) and not output.exists()
    steps = ["--steps", reached + 2, "--resume"]
    done = subprocess.run(launcher(*words, *steps), env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [str(output)], "one process speaks"
    learned = Concept.load(output)
    alone = methods.load("learn", "textual-inversion")(
        tiny.base_of(tiny.pipeline("sd1")),
        Examples(photos, PROMPT),
        prior="none",
        batch_size=2,
        steps=reached + 2,
    )
    assert gap(learned.tokens["<new1>"][0], alone.tokens["<new1>"][0]) < 1e-2


# -- one process -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "accumulate", "rows"), [(1, 1, 4), (2, 1, 5), (2, 2, 7), (3, 2, 6)])
def test_every_row_is_one_ranks(count: int, accumulate: int, rows: int) -> None:
    parts = [part for rank in range(count) for part in Ranks(rank, count).parts(accumulate)]
    assert sorted(row for part in parts for row in range(rows)[part]) == list(range(rows))
    assert all(range(rows)[part] for part in parts)


def test_one_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks = Ranks.here("cpu")
    assert (ranks.rank, ranks.count, ranks.leads) == (0, 1, True) and ranks.told(1.5, True) == (1.5, True)
    value = torch.nn.Parameter(torch.ones(2))
    ranks.add_gradients([value])
    assert value.grad is None


def test_processes_that_cannot_find_each_other_are_refused(
    sd1: Model, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    learn = methods.load("learn", "textual-inversion")
    with pytest.raises(InputError, match="WORLD_SIZE is 2 and RANK is not set"):
        learn(sd1.base, Examples(photos, PROMPT), steps=1)
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(InputError, match="name cuda alone"):
        Ranks.here("cuda:0")


def test_fewer_photos_than_processes_are_refused(
    sd1: Model, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Ranks(0, 2)
    monkeypatch.setattr(Ranks, "here", staticmethod(lambda device: pair))
    with pytest.raises(InputError, match="batch_size 1 in 2 processes"):
        methods.load("learn", "textual-inversion")(sd1.base, Examples(photos, PROMPT), batch_size=1, steps=1)


def test_the_others_are_not_heard(capsys: pytest.CaptureFixture[str]) -> None:
    for ranks in (Ranks(0, 2), Ranks(1, 2)):
        with pytest.raises(InputError), ranks.one_voice():
            print(f"rank {ranks.rank}")
            raise InputError("raised all the same")
    assert capsys.readouterr().out == "rank 0\n"
