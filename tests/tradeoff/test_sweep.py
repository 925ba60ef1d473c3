"""A whole trade-off on a tiny base: what it gives, what is done again, what happens when it breaks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from motif import methods
from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError, Interrupted
from motif.tradeoff.jobs import Draw, Job, Learn, Measure, Plan
from motif.tradeoff.plan import Planner
from motif.tradeoff.scatter import Loop, attempt, scatter
from motif.tradeoff.spec import Spec
from motif.tradeoff.store import Store
from motif.tradeoff.sweep import tradeoff
from motif.tradeoff.table import Table
from motif.tradeoff.work import Setup, Worker

Make = Callable[..., Spec]
KINDS = (Learn, Draw, Measure)


@pytest.fixture
def run(tmp_path: Path, tiny_base: Base) -> Callable[[Spec], tuple[Table, list[Job]]]:
    """Run a spec in the test's folder; the table and the jobs that were done."""

    def runs(spec: Spec) -> tuple[Table, list[Job]]:
        done: list[Job] = []
        found = tradeoff(spec, tmp_path / "out", base=tiny_base, on_job=lambda n, of, job: done.append(job))
        return found, done

    return runs


def counts(jobs: list[Job]) -> tuple[int, ...]:
    return tuple(sum(isinstance(job, kind) for job in jobs) for kind in KINDS)


def plan(spec: Spec, base: Base) -> Plan:
    return Planner(spec, base).plan()


def test_a_grid_is_learned_drawn_measured_and_told(tmp_path: Path, spec: Make, run: Any) -> None:
    found, done = run(spec())
    assert counts(done) == (1, 3 * 2, 3 * 2)  # one run for both numbers of steps; two prompts, two metrics
    assert [row.name for row in found.rows] == [
        "the base",
        "custom-diffusion steps 1",
        "custom-diffusion steps 2",
    ]
    assert all(row.values["clip-i"].n == 4 and row.values["clip-t"].error is not None for row in found.rows)
    told = json.loads((tmp_path / "out" / "table.json").read_text())
    assert told == found.as_dict() and not told["failures"] and "all" in told["hypervolume"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<svg" in page and "custom-diffusion steps 2" in page and "What failed" not in page
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width > 300
    assert not list((tmp_path / "out" / "runs").glob("*/concept-*"))  # results hold them


def test_a_concept_brings_its_prior_to_methods_that_name_none(
    tmp_path: Path, spec: Make, raw: Any, tiny_base: Base, photos: Path
) -> None:
    told = raw()
    learned = told["methods"][1]
    settings = {name: value for name, value in learned["settings"].items() if name != "prior"}
    word = {"learn": "textual-inversion", "settings": {"steps": 1, "batch_size": 2}}
    methods = [{**learned, "settings": settings, "name": "own"}, {**learned, "name": "none"}, word]
    (tmp_path / "class").mkdir()
    shutil.copy(next(photos.glob("*.jpg")), tmp_path / "class" / "1.jpg")
    told |= {"concepts": [{**told["concepts"][0], "prior": str(tmp_path / "class"), "class_prompt": "a toy"}]}

    def learned_by(methods: list[Any]) -> list[Learn]:
        asked = spec(concepts=told["concepts"], methods=methods)
        return [job for job in plan(asked, tiny_base).jobs if isinstance(job, Learn)]

    found = learned_by(methods)
    own, none, other = (dict(job.settings) for job in found)
    assert (own["prior"], own["class_prompt"]) == (str(tmp_path / "class"), "a toy")
    assert none["prior"] == "none" and "class_prompt" not in none and "prior" not in other
    shutil.copy(next(photos.glob("*.jpg")), tmp_path / "class" / "2.jpg")
    same = [a.name == b.name for a, b in zip(found, learned_by(methods), strict=True)]
    assert same == [False, True, True]
    with pytest.raises(InputError, match="brings a prior, and every method here"):
        learned_by([methods[1], word])


def test_a_word_alone_is_learned_and_drawn_without_its_noun_and_scored_with_it(
    tmp_path: Path, spec: Make, raw: Any, run: Any
) -> None:
    """Textual Inversion's own way beside a method of the usual one: one sheet, for both are asked the same."""
    word = {"learn": "textual-inversion", "settings": {"steps": 1, "batch_size": 2, "resolution": 16}}
    asked = spec(
        methods=[{}, word, {**word, "name": "alone", "noun": False}], prompts=["a {concept} on beach"]
    )
    found, done = run(asked)
    learned = {job.photos.prompt: job for job in done if isinstance(job, Learn)}
    assert learned.keys() == {"photo of a <new1> cat", "photo of a <new1>"}
    alone = learned["photo of a <new1>"]
    assert alone.settings["initial"] == "cat" and "initial" not in learned["photo of a <new1> cat"].settings
    kept = Store(tmp_path / "out").place(alone.gives[1]) / "concept.safetensors"
    assert Concept.load(kept).record.prompts == ("photo of a <new1>",)
    drawn = [job.prompt for job in done if isinstance(job, Draw)]
    assert sorted(drawn) == ["a <new1> cat on beach", "a <new1> on beach", "a cat on beach"]
    scored = {job.prompts for job in done if isinstance(job, Measure) and job.metric == "clip-t"}
    assert scored == {("a cat on beach",) * 2, ("a <new1> cat on beach",) * 2}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "toy, alone: a cat on beach" in page, "the sheet has its pictures beside the others'"
    assert [row.name for row in found.rows] == ["the base", "textual-inversion", "alone"]


@pytest.mark.parametrize(("keep", "runs"), [("last", 1), ("best", 4)])
def test_a_run_that_keeps_its_best_is_another_for_other_checkpoints(
    spec: Make, raw: Any, tiny_base: Base, keep: str, runs: int
) -> None:
    methods = raw()["methods"]
    methods[1] |= {"along": "steps"}
    methods[1]["settings"] |= {"keep": keep, "checkpoint_every": [1, 2], "steps": [2, 4]}
    found = [job for job in plan(spec(methods=methods), tiny_base).jobs if isinstance(job, Learn)]
    assert len(found) == runs


def test_a_checkpoint_is_the_shorter_run(tmp_path: Path, spec: Make, tiny_base: Base, photos: Path) -> None:
    """Leg by leg gives bit for bit what one run of so many steps gives."""
    whole, store = plan(spec(), tiny_base), Store(tmp_path / "out")
    worker = Worker(Setup(str(store.folder), "tiny", tiny_base.origin.fingerprint), tiny_base)
    job = next(job for job in whole.jobs if isinstance(job, Learn))
    worker.do(job)
    from motif.learn import Examples, custom_diffusion

    examples = Examples(photos, job.photos.prompt)
    for steps, address in job.gives.items():
        alone = custom_diffusion(tiny_base, examples, **{**job.settings, "steps": steps})
        assert Concept.load(store.place(address) / "concept.safetensors").fingerprint == alone.fingerprint
    assert len({store.result(address)["steps"] for address in job.gives.values()}) == 2


def test_the_same_again_does_nothing_and_gives_the_same(tmp_path: Path, spec: Make, run: Any) -> None:
    run(spec())
    before = (tmp_path / "out" / "table.json").read_bytes()
    assert run(spec())[1] == []
    assert (tmp_path / "out" / "table.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"seeds": [1, 0]}, (0, 0, 6)),
        ({"seeds": 1}, (0, 0, 6)),
        ({"batch_size": 1}, (0, 0, 0)),
        ({"metrics": ["clip-t", "clip-i", "kid"], "encoder": "same"}, (0, 0, 3)),
        ({"prompts": ["{concept} on beach", "a {concept}", "cat {concept}"]}, (0, 3, 6)),
        ({"seeds": 9}, (0, 3 * 2 * 2, 6)),
        ({"sampling": {"steps": 2, "eta": 0.0}}, (0, 0, 0)),
        ({"sampling": {"steps": 3}}, (0, 6, 6)),
        ({"axes": ["clip-i", "clip-t"], "reference": [0.1, 0.1]}, (0, 0, 0)),
    ],
)  # fmt: skip
def test_a_change_does_again_what_it_touches(
    spec: Make, raw: Any, tiny_base: Base, tmp_path: Path, change: dict[str, Any], wanted: tuple[int, ...]
) -> None:
    """By the plans alone: what is missing where all results of the first are there."""
    change = {k: v for k, v in change.items() if v != "same"}
    if "kid" in change.get("metrics", ()):
        change = {**change, "seeds": 2, "metrics": ["clip-t", "clip-i", "reference-similarity"]}
    first, second = (plan(spec(**each), tiny_base) for each in ({}, change))
    there = {address for job in first.jobs for address in job.makes}
    assert counts([job for job in second.jobs if not there.issuperset(job.makes)]) == wanted


def test_other_encoders_of_pocket_measure_again(
    spec: Make, tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named by a word alone: pictures stay, and no score of the old ones is taken for one of the new."""
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", str(tmp_path / "weights"))
    plans: list[set[str]] = []
    for told in ("one", "other"):
        for part in ("clip", "dino"):
            (tmp_path / "weights" / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / "weights" / part / "config.json").write_text("{}")
            (tmp_path / "weights" / part / "model.safetensors").write_text(told)
        plans.append({where for job in plan(spec(encoder="pocket"), tiny_base).jobs for where in job.makes})
    again = [
        job for job in plan(spec(encoder="pocket"), tiny_base).jobs if not plans[0].issuperset(job.makes)
    ]
    assert counts(again) == (0, 0, 6) and len(plans[0]) == len(plans[1])


def test_another_setting_of_learning_leaves_the_base_alone(spec: Make, raw: Any, tiny_base: Base) -> None:
    first = plan(spec(), tiny_base)
    there = {address for job in first.jobs for address in job.makes}

    def missing(**settings: Any) -> tuple[int, ...]:
        ways = raw()["methods"]
        ways[1]["settings"] |= settings
        second = plan(spec(methods=ways), tiny_base)
        return counts([job for job in second.jobs if not there.issuperset(job.makes)])

    assert missing(lr=2e-2) == (1, 4, 4)
    assert missing(prior_weight=1.0, seed=23) == (0, 0, 0)  # what they are anyway
    assert missing(steps=[1, 2, 3]) == (1, 2, 2)
    assert missing(lr=[1e-2, 2e-2], steps=2) == (1, 2, 2)


def test_other_photos_masks_and_captions_are_another_concept(
    spec: Make, photos: Path, tiny_base: Base
) -> None:
    def addresses() -> set[str]:
        return {
            address for job in plan(spec(), tiny_base).jobs if isinstance(job, Learn) for address in job.makes
        }

    first = addresses()
    photo = sorted(photos.glob("*.jp*g"))[0]
    (photos / f"{photo.stem}.txt").write_text("a {concept} in a bath")
    second = addresses()
    Image.open(photo).convert("L").save(photos / f"{photo.stem}-mask.png")
    third = addresses()
    assert not first & second and not second & third


def test_a_result_folder_of_a_setting_s_name_goes_on(
    spec: Make, raw: Any, tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-o ico` with the scheme ico, `-o pocket` with pocket's encoder: the folder grows, and nothing is done again."""
    learned = {"learn": "ico", "settings": {"steps": 1, "batch_size": 2, "prior": "none", "scheme": "ico"}}

    def addresses() -> list[str]:
        asked = spec(methods=[learned], encoder="pocket", sampling={"steps": 2, "negative": "out"})
        return [where for job in plan(asked, tiny_base).jobs for where in job.makes]

    first = addresses()
    monkeypatch.chdir(tmp_path)
    for name in ("ico", "pocket", "none", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.json").write_text("{}")
        assert addresses() == first, name


def test_photos_far_down_are_known_by_what_they_show(spec: Make, tiny_base: Base, tmp_path: Path) -> None:
    """Two concepts at paths of more than two hundred characters do not get each other's scores."""
    deep, concepts = tmp_path / ("d" * 100) / ("e" * 100), list[dict[str, str]]()
    for name, colour in (("one", "red"), ("two", "blue")):
        (deep / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), colour).save(deep / name / "0.png")
        concepts.append({"name": name, "photos": str(deep / name), "prompt": "photo of a <new1> cat"})

    def scores() -> list[str]:
        spots = plan(spec(concepts=concepts, methods=[{}], metrics=["clip-i"]), tiny_base).spots
        return [cell.scores["clip-i"] for spot in spots for cell in spot.cells]

    first = scores()
    assert len({*first}) == 2
    Image.new("RGB", (32, 32), "green").save(deep / "two" / "0.png")
    assert [a == b for a, b in zip(first, scores(), strict=True)] == [True, False]


def test_more_steps_go_on_from_where_the_run_stands(
    tmp_path: Path, spec: Make, raw: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(spec())
    asked: list[tuple[int, bool]] = []
    real = methods.load("learn", "custom-diffusion")

    def learn(*args: Any, **given: Any) -> Any:
        asked.append((given["steps"], given["resume"]))
        return real(*args, **given)

    learn.__signature__ = __import__("inspect").signature(real)  # pyright: ignore[reportFunctionMemberAccess]
    learn.settle = real.settle  # pyright: ignore[reportFunctionMemberAccess]
    load = methods.load
    monkeypatch.setattr(methods, "load", lambda verb, name: learn if verb == "learn" else load(verb, name))
    ways = raw()["methods"]
    ways[1]["settings"]["steps"] = [2, 4]
    run(spec(methods=ways))
    ways[1]["settings"]["steps"] = [3]
    run(spec(methods=ways))
    assert asked == [(4, True), (3, False)]  # to 4 from 2; and 3 anew, as the run is beyond it


@pytest.mark.parametrize("last", [0, 1, 2, 5, 7, 11, 17])
def test_stopped_anywhere_it_ends_with_the_same_table(
    tmp_path: Path, spec: Make, run: Any, tiny_base: Base, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """A stop inside of job number `last`, with its result half written."""
    whole = tradeoff(spec(), tmp_path / "whole", base=tiny_base).as_dict()
    making, made = Store.making, [0]

    def breaks(self: Store, address: str) -> Any:
        made[0] += 1
        if made[0] == last + 1:
            folder = self.place(address).with_name(f".{address}.1.part")
            folder.mkdir(parents=True)
            (folder / "half.png").write_bytes(b"\x89PNG")
            raise KeyboardInterrupt
        return making(self, address)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "making", breaks)
        with pytest.raises(Interrupted, match="goes on"):
            run(spec())
    found, done = run(spec())
    assert found.as_dict() == whole and len(done) <= 13
    assert not list((tmp_path / "out").rglob("*.part"))
    assert (tmp_path / "out" / "table.json").read_bytes() == (tmp_path / "whole" / "table.json").read_bytes()


def test_a_failed_job_is_named_and_the_rest_goes_on(tmp_path: Path, spec: Make, raw: Any, run: Any) -> None:
    """What nobody can see beforehand: a rate at which the values overflow."""
    settings = {"steps": 2, "batch_size": 2, "prior": "none", "resolution": 16, "lr": 1e38}
    ways = [*raw()["methods"], {"learn": "dreambooth", "settings": settings}]
    found, done = run(spec(methods=ways))
    assert [failure.label for failure in found.failures] == ["toy: learn dreambooth to step 2"]
    assert found.failures[0].wrong_input and "nan" in found.failures[0].why
    assert [bool(row.values) for row in found.rows] == [True, True, True, False]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What failed" in page and "toy: learn dreambooth to step 2" in page and "lower --lr" in page
    assert "Traceback" in next((tmp_path / "out" / "failures").iterdir()).read_text()
    settings["lr"] = 1e-6
    again, done = run(spec(methods=ways))
    assert not again.failures and counts(done) == (1, 2, 2) and not (tmp_path / "out" / "failures").exists()


def test_a_bug_in_a_metric_costs_its_own_column(
    spec: Make, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = methods.load

    def broken(images: Any, references: Any, *, encoder: str = "pocket") -> Any:
        raise ZeroDivisionError("no way")

    monkeypatch.setattr(methods, "load", lambda verb, name: broken if name == "clip-i" else load(verb, name))
    found, _ = run(spec())
    assert [sorted(row.values) for row in found.rows] == [["clip-t"]] * 3
    assert {failure.why for failure in found.failures} == {"ZeroDivisionError: no way"}
    assert not found.failures[0].wrong_input and not found.front()


def test_two_at_once_are_refused(tmp_path: Path, spec: Make, run: Any) -> None:
    with (
        Store(tmp_path / "out").alone("tradeoff"),
        pytest.raises(InputError, match="another trade-off works"),
    ):
        run(spec())


def test_another_base_in_a_worker_is_refused(tmp_path: Path, tiny_base: Base, spec: Make) -> None:
    worker = Worker(Setup(str(tmp_path), "tiny", "0123"), tiny_base)
    failure = attempt(worker, next(job for job in plan(spec(), tiny_base).jobs if isinstance(job, Draw)))
    assert failure and "another model" in failure.why


def test_threads_are_the_specs_and_come_back(tmp_path: Path, tiny_base: Base, spec: Make) -> None:
    seen: list[int] = []

    class Watch(Worker):
        def _draw(self, job: Draw) -> None:
            seen.append(torch.get_num_threads())

    kept = torch.get_num_threads()
    worker = Watch(Setup(str(tmp_path), "tiny", tiny_base.origin.fingerprint, threads=3), tiny_base)
    worker.do(next(job for job in plan(spec(), tiny_base).jobs if isinstance(job, Draw)))
    assert seen == [3] and torch.get_num_threads() == kept


def test_runs_with_one_prior_draw_it_once(tmp_path: Path, spec: Make, raw: Any, run: Any) -> None:
    settings = {
        "steps": 1,
        "batch_size": 2,
        "resolution": 16,
        "prior_count": 2,
        "prior_steps": 1,
        "lr": [1e-3, 1e-2],
    }
    found, _ = run(spec(methods=[{"learn": "custom-diffusion", "settings": settings}]))
    assert not found.failures
    drawn = [path.stat().st_ino for path in (tmp_path / "out" / "runs").rglob("*.png")]
    assert len(drawn) == 6 and len(set(drawn)) == 2  # two runs and what they share; one file each


def test_metrics_that_need_something_else_are_refused(spec: Make, tiny_base: Base) -> None:
    with pytest.raises(InputError, match="psnr compares pictures with their sources"):
        plan(spec(metrics=["clip-t", "psnr"]), tiny_base)
    with pytest.raises(InputError, match="did you mean clip-i"):
        plan(spec(metrics=["clipi"]), tiny_base)
    with pytest.raises(InputError, match="scale has several values"):
        plan(spec(metrics=[{"name": "clip-t", "settings": {"scale": [1, 2.5]}}]), tiny_base)


def test_one_metric_stands_twice_by_two_names(
    tmp_path: Path, spec: Make, run: Any, clip_folder: Path, dino_folder: Path
) -> None:
    """KID on CLIP's features and on DINO's: two columns, and two axes, of both of which less is better."""
    folders = {"clip": clip_folder, "dino": dino_folder}
    two = [{"name": f"kid-{part}", "metric": "kid", "settings": {"features": part, "encoder": str(folder)}}
           for part, folder in folders.items()]  # fmt: skip
    asked = spec(methods=[{}], metrics=two, axes=["kid-clip", "kid-dino"], reference=[9.0, 9.0])
    found, done = run(asked)
    (row,) = found.rows
    assert not found.failures and list(row.values) == ["kid-clip", "kid-dino"]
    assert row.values["kid-clip"].mean != row.values["kid-dino"].mean and found.lower == {
        "kid-clip",
        "kid-dino",
    }
    told = {job.label: job.settings["features"] for job in done if isinstance(job, Measure)}
    assert told == {"toy: the base: kid-clip": "clip", "toy: the base: kid-dino": "dino"}
    assert "kid-dino (less is better)" in (tmp_path / "out" / "report.html").read_text()
    renamed = [{**two[0], "name": "other"}, two[1]]
    again, done = run(spec(methods=[{}], metrics=renamed, reference=[9.0, 9.0]))
    assert not done and again.rows[0].values["other"] == row.values["kid-clip"]
    with pytest.raises(InputError, match="no method kidd to measure: did you mean kid"):
        run(spec(metrics=[{"name": "mine", "metric": "kidd"}]))


def test_the_scatter_does_all_that_can_be_done(tmp_path: Path) -> None:
    """Jobs as letters: whatever fails, exactly what needs it is lost."""

    class Fake(Loop):
        def __init__(self, fails: str) -> None:
            self.ahead, self.fails, self.hands = __import__("collections").deque(), fails, 1

            class Hand:
                def do(self, job: Any) -> None:
                    if job.address in fails:
                        raise InputError("no")
                    with store.making(job.address):
                        pass

            self.worker: Any = Hand()

    def job(address: str, *needs: str) -> Any:
        return Measure(address, "", {}, needs, (), (), address)

    def note(seen: list[int], done: int, of: int, job: Job) -> None:
        seen.append(done)

    jobs = [job("aa"), job("bb", "aa"), job("cc"), job("dd", "cc", "bb"), job("ee", "cc")]
    for fails, lost in (("", ""), ("aa", "aabbdd"), ("cc", "ccddee"), ("ee", "ee")):
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        store = Store(tmp_path / "s")
        seen = list[int]()
        tell = partial(note, seen)
        found = scatter(jobs, store, partial(Fake, fails), on_job=tell)
        assert "".join(sorted(found)) == lost and seen == sorted(seen)
        assert all(store.has(each.address) for each in jobs if each.address not in found)
        assert {each.label for each in found.values()} <= {fails}


def test_a_library_that_is_missing_is_told_before_the_base_is_loaded(
    tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motif.tradeoff.sweep.find_spec", lambda name: None)
    monkeypatch.setattr(Base, "load", lambda *args, **named: pytest.fail("the base was loaded"))
    with pytest.raises(InputError, match="Ray is not installed"):
        tradeoff(spec(), tmp_path / "out", on="ray")
    with pytest.raises(InputError, match="optuna is not installed"):
        tradeoff(spec(), tmp_path / "out", optimise=3)
    assert not (tmp_path / "out").exists()
