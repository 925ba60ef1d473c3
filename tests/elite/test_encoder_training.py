"""ELITE's training: its losses against the equations, where gradients go, its views, resuming, published files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from encoders import drawn
from motif.cli import main
from motif.elite.encoder import Encoder
from motif.elite.job import Job
from motif.elite.mapper import Mapper
from motif.elite.official import from_official, read_official, role
from motif.elite.run import STATE
from motif.elite.stages import Batch, Learning, global_loss, local_loss, text_loss
from motif.elite.start import fresh
from motif.elite.subjects import Subject, fits_global, fits_local, read_subjects, unnamed
from motif.elite.targets import Targets
from motif.elite.tower import PAPER, Tower
from motif.elite.train import elite
from motif.elite.views import global_view, local_view, prefixed
from motif.errors import InputError, Interrupted, WrongBase
from motif.learn.ranks import Ranks
from motif.sample import plain
from pieces import fingerprint

SHORT: dict[str, Any] = {"steps": 2, "local_steps": 2, "batch_size": 2, "local_batch_size": 2}


def batch_of(base: Any, tower: Tower, layers: Any, n: int = 2) -> Batch:
    draw = torch.Generator().manual_seed(1)
    shape = (n, *base.latent_shape())
    cells = torch.ones(n, 1, *shape[2:])
    cells[0, :, :2] = 0
    pictures = torch.rand(2, n, 3, tower.side, tower.side, generator=draw)
    masks = torch.ones(n, tower.cells**2)
    masks[0, :4] = 0
    return Batch(
        torch.randn(shape, generator=draw), torch.randn(shape, generator=draw), torch.tensor([100, 700][:n]), cells,
        tower.states(pictures[0], layers), ("a photo of a {}", "the {} on a cat")[:n],
        tower.states(pictures[1], layers), masks,
    )  # fmt: skip


@pytest.fixture
def job(small, tower_folder):
    encoder = fresh(small.base, str(tower_folder), seed=3)
    tower = Tower.load(str(tower_folder))
    return SimpleNamespace(
        base=small.base, encoder=encoder, tower=tower, learning=Learning.of(encoder, small.base),
        batch=batch_of(small.base, tower, encoder.layers),
    )  # fmt: skip


def test_the_global_loss_is_the_equation(job):
    """By the public road: each image alone, with its words as a worn concept's."""
    base, batch = job.base, job.batch
    words = job.encoder.words.words(batch.states)
    gaps = []
    for i, caption in enumerate(batch.captions):
        vectors = {"<s>": words[i].split(job.encoder.widths, dim=-1)}
        text = base.dressed({}, vectors, {}).read(caption.replace("{}", "<s>"))
        one = slice(i, i + 1)
        x = base.schedule.noise(batch.latents[one], batch.noise[one], batch.times[one])
        with torch.no_grad():
            output = base.predict(x, batch.times[one], text.states, text.pooled, None)
        target = base.schedule.target(batch.latents[one], batch.noise[one], batch.times[one])
        gaps.append((output - target).square().mean())
    wanted = sum(gaps) / 2 + 0.01 * words.abs().mean()
    got = global_loss(base, job.learning, job.encoder.widths, batch, 0.01)
    assert torch.allclose(got, wanted, rtol=1e-4)


def test_the_local_loss_counts_the_valid_cells_and_reads_the_patches(job):
    base, batch = job.base, job.batch

    def loss(batch: Batch, l1: float = 0.0) -> torch.Tensor:
        with torch.no_grad():
            return local_loss(base, job.learning, job.encoder.widths, batch, l1)

    plain_loss = loss(batch)
    other = Batch(**{**vars(batch), "cells": torch.ones_like(batch.cells)})
    assert not torch.allclose(loss(other), plain_loss)
    hidden = Batch(**{**vars(batch), "masks": torch.zeros_like(batch.masks)})
    assert not torch.allclose(loss(hidden), plain_loss)
    e = job.encoder.patches.patches(batch.objects, batch.masks)
    sites = {name.rpartition(".")[0] for name in job.encoder.projections}
    size = sum((e @ job.encoder.projections[f"{site}.to_v"].T).abs().mean() for site in sites) / len(sites)
    assert torch.allclose(loss(batch, 3.0) - plain_loss, 3 * size, rtol=1e-3)
    # the release's sum: with a full mask, the mean over cells of the sum over channels
    channels = batch.latents.shape[1]
    with_words = [job.encoder.words.words(batch.states)[:, :1]]
    vectors = {f"<s{i}>": with_words[0][i].split(job.encoder.widths, dim=-1) for i in range(2)}
    captions = [c.replace("{}", f"<s{i}>") for i, c in enumerate(batch.captions)]
    text = base.dressed({}, vectors, {}).read(captions)
    x = base.schedule.noise(batch.latents, batch.noise, batch.times)
    with torch.no_grad():
        output = base.predict(x, batch.times, text.states, text.pooled, None)
    gap = (output - base.schedule.target(batch.latents, batch.noise, batch.times)).square().mean()
    silent = Batch(**{**vars(hidden), "cells": torch.ones_like(batch.cells)})
    assert torch.allclose(loss(silent), channels * gap, rtol=1e-4)


@pytest.mark.parametrize("stage", ["global", "local"])
def test_gradients_go_where_they_belong_and_nowhere_else(job, stage):
    before = fingerprint(job.base)
    job.learning.begin(stage)
    loss = global_loss if stage == "global" else local_loss
    loss(job.base, job.learning, job.encoder.widths, job.batch, 0.01).backward()
    other = "local" if stage == "global" else "global"
    assert all(p.grad is None and not p.requires_grad for p in job.learning.own(other).values())
    silent = {name for name, p in job.learning.own(stage).items() if p.grad is None or not p.grad.any()}
    assert not silent
    models = (
        job.base.models.unet,
        job.base.models.vae,
        job.tower.model,
        *(r.encoder for r in job.base.models.readers),
    )
    assert all(p.grad is None for model in models for p in model.parameters())
    assert fingerprint(job.base) == before


def test_training_changes_what_it_should_and_only_that(small, dataset, tower_folder, tmp_path):
    settings = {**SHORT, "image": str(tower_folder)}
    first = fresh(small.base, str(tower_folder), seed=23)
    alone = elite(small.base, dataset, **{**settings, "local_steps": 0})
    assert alone.patches is None and not alone.projections
    made = elite(small.base, dataset, **settings, folder=tmp_path / "run")
    assert all(torch.equal(made.words.weights[n], w) for n, w in alone.words.weights.items())
    assert all(torch.equal(made.changes[n], w) and w.any() for n, w in alone.changes.items())
    for mine, start in ((made.words, first.words), (made.patches, first.patches)):
        assert mine and start and any(not torch.equal(mine.weights[n], w) for n, w in start.weights.items())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        ("global", 1),
        ("global", 2),
        ("local", 1),
        ("local", 2),
    ]
    between = Encoder.load(tmp_path / "run" / "global.safetensors")
    assert between.fingerprint == made.fingerprint and between.patches is None
    concept = Encoder.load(made.save(tmp_path / "e.safetensors")).encode(dataset / "0.png")
    assert concept.record.settings["masked"] == [True] and concept.local
    assert plain(small.base.wear(concept), "a <S>", steps=1)


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(sd1, dataset, tower_folder, tmp_path, stop_at):
    settings: dict[str, Any] = {**SHORT, "image": str(tower_folder), "checkpoint_every": 1}
    whole = elite(sd1.base, dataset, **settings)

    def stop(progress: Any) -> None:
        if progress.step == stop_at:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        elite(sd1.base, dataset, **settings, folder=tmp_path, on_progress=stop)
    assert (tmp_path / STATE).is_file()
    with pytest.raises(InputError, match="holds a run"):
        elite(sd1.base, dataset, **settings, folder=tmp_path)
    with pytest.raises(InputError, match="other settings"):
        elite(sd1.base, dataset, **{**settings, "lr": 1e-3}, folder=tmp_path, resume=True)
    told: list[int] = []
    again = elite(
        sd1.base, dataset, **settings, folder=tmp_path, resume=True, on_progress=lambda p: told.append(p.step)
    )
    assert told == list(range(stop_at + 1, 5))
    for mine, theirs in ((again._tensors(), whole._tensors()),):
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)
    longer = elite(sd1.base, dataset, **{**settings, "local_steps": 3}, folder=tmp_path, resume=True)
    assert not torch.equal(next(iter(longer.projections.values())), next(iter(whole.projections.values())))
    with pytest.raises(InputError, match="global stage is over"):
        elite(sd1.base, dataset, **{**settings, "steps": 3}, folder=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"lr": 0.0}, "lr is 0"),
        ({"local_l1": -1.0}, "local_l1 is -1"),
        ({"checkpoint_every": 0}, "checkpoint"),
        ({"resume": True}, "run's folder"),
    ],
)
def test_what_training_refuses(sd1, dataset, tower_folder, settings, says):
    with pytest.raises(InputError, match=says):
        elite(sd1.base, dataset, image=str(tower_folder), **{**SHORT, **settings})


def test_a_folder_without_masks_trains_no_local_network(sd1, tmp_path, tower_folder, caplog):
    drawn(1).convert("RGB").save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="local stage"):
        elite(sd1.base, tmp_path, image=str(tower_folder), **SHORT)
    with caplog.at_level(logging.WARNING):
        assert elite(sd1.base, tmp_path, image=str(tower_folder), **{**SHORT, "local_steps": 0, "steps": 1})
    assert "local_steps is 0, so that local_batch_size changes nothing" in caplog.messages
    with pytest.raises(InputError, match="no such folder"):
        elite(sd1.base, tmp_path / "not", image=str(tower_folder), **SHORT)


def test_a_folder_s_subjects(dataset: Path):
    found = read_subjects(dataset)
    assert [s.name for s in found] == [f"{i}.png" for i in range(6)]
    assert [s.caption for s in found] == ["", "", "a photo of a {} on the beach", "", "", ""]
    assert found[1].seen()[2] == (9, 6, 36, 31)
    assert len(read_subjects(dataset, limit=2)) == 2
    boxes = [
        {"file_name": "0.png", "text": None, "box": [0, 0, 20, 20]},
        {"file_name": "0.png", "text": None, "box": [5, 5, 9, 9]},
    ]
    (dataset / "metadata.jsonl").write_text("".join(json.dumps(box) + "\n" for box in boxes))
    again = read_subjects(dataset)
    assert len(again) == 7 and [s.seen()[2] for s in again[:2]] == [(0, 0, 20, 20), (5, 5, 9, 9)]
    image = again[0].seen()[0]
    assert fits_global(image, (0, 0, 20, 20)) and not fits_global(image, (5, 5, 9, 9))
    assert fits_global(image, (0, 0, *image.size)) and not fits_global(
        image, (0, 0, image.width - 1, image.height)
    )
    assert fits_local(image, (0, 0, 20, 20)) and not fits_local(image, (0, 0, 30, 12))
    assert not fits_local(image, (0, 0, 8, 8))
    (dataset / "metadata.jsonl").write_text('{"file_name": "0.png", "text": null, "box": [3, 3, 2, 9]}')
    with pytest.raises(InputError, match="line 1"):
        read_subjects(dataset)


def test_a_box_beside_the_mask_trains_the_global_network_alone(sd1, dataset: Path, tower_folder):
    """Two boxes in a picture, and the mask is of one of them: the other has no patches to learn from."""
    for path in dataset.glob("[1-5]*"):
        path.unlink()
    boxes = [{"file_name": "0.png", "text": None, "box": box} for box in ([8, 6, 35, 31], [0, 32, 48, 40])]
    (dataset / "metadata.jsonl").write_text("".join(json.dumps(box) + "\n" for box in boxes))
    with_mask, without = read_subjects(dataset)
    use = SimpleNamespace(text_steps=0, local_steps=1, batch_size=1, local_batch_size=1)
    job = Job(sd1.base, (with_mask, without), Tower.load(str(tower_folder)), None, None, use)  # type: ignore[arg-type]
    assert job._fits("local", with_mask) and not job._fits("local", without)
    assert job._fits("global", without)
    assert elite(sd1.base, dataset, image=str(tower_folder), **{**SHORT, "local_steps": 6, "steps": 1})
    far = Subject("far.png", with_mask.open, (90, 0, 99, 9))
    with pytest.raises(InputError, match=r"far.png: its box .* outside of the picture of 48x40"):
        far.seen()
    assert Subject("wide.png", with_mask.open, (40, 0, 99, 9)).seen()[2] == (40, 0, 48, 9)


def test_a_picture_that_cannot_be_read_does_not_end_a_run(sd1, dataset: Path, tower_folder, caplog):
    good = read_subjects(dataset)
    (dataset / "5.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        made = elite(sd1.base, dataset, image=str(tower_folder), **{**SHORT, "steps": 12, "local_steps": 1})
    assert made.patches and len(good) == 6
    assert [text for text in caplog.messages if "left out" in text and "5.png" in text]


def test_views(dataset: Path):
    subject = read_subjects(dataset)[1]
    seen = [global_view(subject, 16, 2, 24, np.random.default_rng(i)) for i in range(12)]
    assert all(
        v.target.shape == (3, 16, 16) and v.picture.shape == (3, 24, 24) and v.cells.all() for v in seen
    )
    assert len({v.caption for v in seen}) > 1 and not any(v.kept for v in seen)
    assert len({v.picture.numpy().tobytes() for v in seen}) > len({v.target.numpy().tobytes() for v in seen})
    assert all(v.picture.min() >= 0 and v.picture.max() <= 1 for v in seen)
    still = [global_view(subject, 16, 2, 24, np.random.default_rng(i), augment=False) for i in range(12)]
    assert len({v.picture.numpy().tobytes() for v in still}) <= 2  # by the padding alone
    local = [local_view(subject, 16, 2, 24, 3, np.random.default_rng(i)) for i in range(30)]
    for view in local:
        assert view.object is not None and view.mask is not None and view.mask.any()
        assert view.mask.shape == (9,) and view.target.abs().max() <= 1
    boxed = {v.caption for v in local if not v.cells.all()}
    assert boxed and all(caption.startswith(("a far away", "a very small")) for caption in boxed)
    assert not any(v.caption.startswith(("a far away", "a very small")) for v in local if v.cells.all())
    assert any(v.caption.startswith(("zoomed in", "close up")) for v in local)
    assert not any(view.kept for view in local)


def test_a_caption_of_the_whole_picture_goes_with_the_whole_picture(dataset: Path):
    subject = read_subjects(dataset)[2]
    image = subject.seen()[0].resize((16, 16), Image.Resampling.BICUBIC)
    wanted = torch.as_tensor(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)
    for i in range(8):
        view = global_view(subject, 16, 2, 24, np.random.default_rng(i))
        assert view.caption == "a photo of a {} on the beach" and view.kept
        assert torch.equal(view.target, wanted) and view.cells.all()
        view = local_view(
            subject, 16, 2, 24, 3, np.random.default_rng(i)
        )  # always of the crop, as in the release
        assert "beach" not in view.caption and not view.kept and not torch.equal(view.target, wanted)


def test_what_stays_the_same_is_encoded_once(small, dataset: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    encode = type(small.base).posterior

    def counted(base: Any, pictures: torch.Tensor) -> Any:
        seen.append(len(pictures))
        return encode(base, pictures)

    monkeypatch.setattr(type(small.base), "posterior", counted)
    subjects = read_subjects(dataset)
    side, factor = small.base.size, small.base.latent_factor
    views = [
        global_view(subjects[i], side, factor, 24, np.random.default_rng(i), augment=False) for i in (1, 2, 2)
    ]
    targets, none = Targets(small.base), Targets(small.base, room=0)
    first, again = targets.of(views), targets.of(views)
    assert len(seen) == 2 + 1  # the captioned one once, the other one each time
    pictures = torch.stack([view.target for view in views])
    for mine, more, bare, wanted in zip(
        first, again, none.of(views), encode(small.base, pictures), strict=True
    ):
        assert torch.equal(mine, wanted) and torch.equal(more, wanted) and torch.equal(bare, wanted)


def test_the_average_is_the_equation_s_and_outlives_a_stop(sd1, dataset, tower_folder, tmp_path):
    """Of values after every step, recovered from runs that end there."""
    settings: dict[str, Any] = {**SHORT, "image": str(tower_folder), "local_steps": 0, "lr": 1e-2, "seed": 3}
    values = [fresh(sd1.base, str(tower_folder), seed=3).words.weights["mapping_0.6.bias"]]
    for steps in (1, 2, 3):
        made = elite(sd1.base, dataset, **{**settings, "steps": steps})
        values.append(made.words.weights["mapping_0.6.bias"])
    mean = values[0]
    for k, value in enumerate(values[1:]):
        keep = min(0.15, (1 + k) / (10 + k))
        mean = keep * mean + (1 - keep) * value
    whole = elite(sd1.base, dataset, **{**settings, "steps": 3, "ema": 0.15})
    assert torch.allclose(whole.words.weights["mapping_0.6.bias"], mean, atol=1e-6)
    assert not torch.allclose(mean, values[-1], atol=1e-6)
    for steps in (2, 3):
        again = elite(sd1.base, dataset, **{**settings, "steps": steps, "ema": 0.15}, folder=tmp_path,
                      resume=steps == 3)  # fmt: skip
    assert torch.equal(again.words.weights["mapping_0.6.bias"], whole.words.weights["mapping_0.6.bias"])
    with pytest.raises(InputError, match="ema is 1"):
        elite(sd1.base, dataset, **{**settings, "ema": 1.0})


def test_networks_and_weights_have_their_own_rates(sd1, dataset, tower_folder):
    settings: dict[str, Any] = {**SHORT, "image": str(tower_folder), "steps": 1, "local_steps": 0, "seed": 3}
    one, two = (elite(sd1.base, dataset, **settings, lr=1e-3, weight_lr=rate) for rate in (1e-5, 1e-4))
    assert all(torch.equal(one.words.weights[n], w) for n, w in two.words.weights.items())
    ratios = [float(two.changes[n].norm() / w.norm()) for n, w in one.changes.items()]
    assert min(ratios) > 8 and max(ratios) < 12


def test_the_text_stage_says_what_words_say(small, tower_folder):
    """By the public road: each caption alone, its tail against the tail of the caption in words."""
    base, tower = small.base, Tower.load(str(tower_folder))
    encoder = fresh(base, str(tower_folder), seed=3)
    learning, draw = Learning.of(encoder, base), torch.Generator().manual_seed(1)
    states = tower.states(torch.rand(2, 3, tower.side, tower.side, generator=draw), encoder.layers)
    captions, said = ("a {} on a cat", "the photo of a {}"), ("red cat", "cat")
    words, wanted = encoder.words.words(states), 0.0
    for i, (caption, one) in enumerate(zip(captions, said, strict=True)):
        for count in (1, len(encoder.layers)):
            vectors = {"<s>": words[i, :count].split(encoder.widths, dim=-1)}
            with torch.no_grad():
                mine = base.dressed({}, vectors, {}).read(caption.replace("{}", "<s>"))
                told = base.read(caption.replace("{}", one))
            first, last = mine.tokens[0].splices[-1][0], told.span("cat").stop - 1
            if i == 0:
                last = told.span("red cat").stop - 1
            tail = told.states[0, last:]
            length = mine.states.shape[1] - first
            tail = torch.cat([tail, tail[-1:].expand(max(length - len(tail), 0), -1)])[:length]
            wanted = wanted + (mine.states[0, first:] - tail).square().mean(-1).sum() / sum(
                mine.states.shape[1] - base.dressed({}, {"<s>": words[j, :count].split(encoder.widths, dim=-1)}, {})
                .read(captions[j].replace("{}", "<s>")).tokens[0].splices[-1][0] for j in range(2)
            )  # fmt: skip
    got = text_loss(base, learning, encoder.widths, states, captions, said)
    assert torch.allclose(got, torch.as_tensor(wanted), rtol=1e-4)
    learning.begin("text")
    text_loss(base, learning, encoder.widths, states, captions, said).backward()
    assert all(p.grad is not None and p.grad.any() for p in learning.words.values())
    assert all(
        p.grad is None
        for part in (learning.weights, learning.patches, learning.projections)
        for p in part.values()
    )


def test_words_are_needed_for_the_text_stage(sd1, dataset, tower_folder):
    with pytest.raises(InputError, match="words for every object"):
        elite(sd1.base, dataset, **SHORT, image=str(tower_folder), text_steps=1)


def test_layers_of_one_s_own(small, dataset, tower_folder, photo):
    made = elite(small.base, dataset, **{**SHORT, "local_steps": 0}, image=str(tower_folder), layers="6,6")
    assert made.layers == (6, 6)
    words = made.encode(photo, words="all").tokens["<S>"][0]
    assert len(words) == 2 and not torch.allclose(words[0], words[1])
    for bad, says in (("7", "layers 1 to 6"), ("0,1", "layers 1 to 6"), ("one", "numbers")):
        with pytest.raises(InputError, match=says):
            elite(small.base, dataset, **SHORT, image=str(tower_folder), layers=bad)


def test_processes_share_a_step(job, dataset, tower_folder):
    """Two of them: their losses and gradients add up to one process's, and they see different pictures."""
    use = SimpleNamespace(batch_size=3, local_batch_size=3, l1=0.01, local_l1=1e-4, seed=5, augment=True, ema=0.0,
                          mixed=False, lr=1.0, weight_lr=1.0, local_lr=1.0, text_steps=0, local_steps=1)  # fmt: skip
    subjects = read_subjects(dataset)

    def parts(rank: int, count: int, stage: Any) -> tuple[float, dict[str, torch.Tensor]]:
        one = Job(
            job.base,
            subjects,
            job.tower,
            job.encoder,
            Learning.of(job.encoder, job.base),
            use,
            Ranks(rank, count),
        )
        one.check()
        one.learning.begin(stage)
        rows = range(3)[one.ranks.parts(1)[0]]
        loss = one.loss(stage, 0, rows) * (len(rows) / 3)
        loss.backward()
        found = {n: p.grad for n, p in one.learning.own(stage).items() if p.grad is not None}
        return float(loss.detach()), found

    for stage in ("global", "local"):
        whole, gradients = parts(0, 1, stage)
        halves = [parts(rank, 2, stage) for rank in (0, 1)]
        assert halves[0][0] + halves[1][0] == pytest.approx(whole, rel=1e-4)
        for name, gradient in gradients.items():
            both = halves[0][1][name] + halves[1][1][name]
            assert torch.allclose(both, gradient, atol=1e-4 * float(gradient.abs().max()) + 1e-7), name
    with pytest.raises(InputError, match="4 processes"):
        Job(job.base, subjects, job.tower, job.encoder, job.learning, use, Ranks(0, 4)).check()


def test_thinner_networks(small, dataset, tower_folder, tmp_path):
    made = elite(small.base, dataset, **SHORT, image=str(tower_folder), hidden=8, mixed=True)
    assert made.words.weights["mapping_patch_2.3.weight"].shape == (8, 8)
    assert made.words.shape == (32, sum(made.widths))
    assert small.base.wear(
        Encoder.load(made.save(tmp_path / "e.safetensors")).encode(dataset / "0.png")
    ).local


def test_the_object_s_view_is_black_outside_of_its_mask(dataset: Path):
    image, mask = read_subjects(dataset)[0].open()
    subject = Subject("", lambda: (image, mask), masked=True)
    other = Subject("", lambda: (Image.composite(image, drawn(99, image.size), mask), mask), masked=True)
    a, b = (local_view(one, 16, 2, 24, 3, np.random.default_rng(3)) for one in (subject, other))
    assert torch.equal(a.object, b.object) and not torch.equal(a.picture, b.picture)


def test_prefixes_take_the_article_s_place():
    assert prefixed("zoomed in", "the photo of a {}") == "zoomed in photo of a {}"
    assert prefixed("a far away", "a photo of a {}") == "a far away photo of a {}"
    assert prefixed("a", "the photo of a {}") == "the photo of a {}"
    assert prefixed("close up", "{} at night") == "close up {} at night"


def test_shards_are_a_dataset(tmp_path, pocket):
    import gzip

    from motif.pocket.world.shards import apart_at, is_held_out, save_sheet, scene_at

    shown = [np.asarray(drawn(i, (64, 64))) for i in range(4)]
    masks = [np.zeros((64, 64), np.uint8) for _ in range(4)]
    for mask in (masks[0], masks[1], masks[3]):
        mask[16:48, 20:50] = 255
    scenes = [*(scene_at(0, i) for i in range(3)), apart_at(0, 0)]  # the last one is kept from all training
    assert [is_held_out(name) for name, _ in scenes] == [False, False, False, True]
    told = [{"id": name, **scene.to_json()} for name, scene in scenes]
    save_sheet(shown, tmp_path / "train-0000.avif")
    save_sheet(masks, tmp_path / "train-0000-mask.webp")
    (tmp_path / "train-0000.json.gz").write_bytes(gzip.compress(json.dumps(told).encode()))
    found = read_subjects(tmp_path)
    assert len(found) == 2 and found[0].seen()[2] == (20, 16, 50, 48)
    assert all(subject.caption.count("{}") == 1 for subject in found)
    made = elite(pocket, tmp_path, **{**SHORT, "steps": 1, "local_steps": 1})
    assert made.image == "pocket" and made.layers == (4, 1, 2, 3)


def test_a_caption_of_pocket_s_world_without_its_object():
    from motif.pocket.world.grammar import caption
    from motif.pocket.world.scene import COLOURS, NOUNS, PATTERNS
    from motif.pocket.world.shards import scene_at

    said = "a bright photo of a shiny red and white striped cat next to a blue cat on the beach"
    assert unnamed(said, "cat") == "a bright photo of a {} next to a blue cat on the beach"
    assert unnamed("the orange house with a red roof", "house") == "the {} with a red roof"
    for i in range(300):
        scene = scene_at(5, i)[1]
        said = caption(scene, np.random.default_rng(i))
        bare = unnamed(said, scene.instance.noun)
        assert bare.count("{}") == 1
        before, after = bare.split("{}")
        assert said.startswith(before.removesuffix("a ")) and said.endswith(after)
        assert not {*NOUNS, *COLOURS, *PATTERNS} & {*before.split()}


# -- the published checkpoints --------------------------------------------------------------------------------------


def published(base: Any, seed: int, tower: Tower, *, by: float = 0.1) -> dict[str, torch.Tensor]:
    """A file's tensors in the release's names."""
    start, draw = fresh(base, tower.name, seed=seed), torch.Generator().manual_seed(seed)
    tensors = dict(start.words.weights)
    for name, weight in start.projections.items():
        site, side = name.rsplit(".", 1)
        tensors[f"{site.replace('.', '_')}_{side}.weight"] = weight + by * torch.randn(
            weight.shape, generator=draw
        )
    return tensors


def test_the_published_files(small, tower_folder, photo, caplog):
    tower = Tower.load(str(tower_folder))
    one, two = published(small.base, 1, tower), published(small.base, 2, tower, by=0.5)
    key = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.weight"
    assert key in one
    road: dict[str, Any] = {"image": str(tower_folder), "depth": 6}
    with caplog.at_level(logging.WARNING):
        made = from_official(("global_mapper.pt", one), ("local_mapper.pt", two), small.base, **road)
    assert not caplog.messages
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    assert torch.allclose(made.changes[name] + small.base.weight(name), one[key], atol=1e-6)
    assert torch.equal(made.projections[name.removeprefix("unet.").removesuffix(".weight")], two[key])
    assert torch.equal(made.words.weights["mapping_3.6.bias"], one["mapping_3.6.bias"])
    assert small.base.wear(made.encode(photo)).local
    for a, b in (
        ("local_mapper.pt", "global_mapper.pt"),
        ("mapper_070000.pt", "mapper.pt"),
        ("x.pt", "local_mapper.pt"),
    ):
        with pytest.raises(InputError, match=r"swapped|role"):
            from_official((a, one), (b, two), small.base, **road)
    with caplog.at_level(logging.WARNING):
        from_official(("global_mapper.pt", two), ("local_mapper.pt", one), small.base, **road)
    assert "swapped?" in caplog.text
    with pytest.raises(InputError, match="same tensors"):
        from_official(("global_mapper.pt", one), ("local_mapper.pt", one), small.base, **road)
    with pytest.raises(WrongBase, match="lacks"):
        from_official(("mapper.pt", {n: t for n, t in one.items() if n != key}), None, small.base, **road)
    with pytest.raises(WrongBase, match="must be"):
        from_official(("mapper.pt", {**one, key: one[key][:, 1:]}), None, small.base, **road)
    with pytest.raises(InputError, match="not a mapper"):
        from_official(("mapper.pt", {}), None, small.base, **road)
    words = from_official(("mapper_070000.pt", one), None, small.base, **road)
    assert words.patches is None and not words.encode(photo).local


def test_published_files_from_disk(sd1, tower_folder, tmp_path):
    tower = Tower.load(str(tower_folder))
    one, two = published(sd1.base, 1, tower), published(sd1.base, 2, tower, by=0.5)
    paths = [tmp_path / "local_mapper.pt", tmp_path / "mapper_070000.pt"]
    for path, tensors in zip(paths, (two, one), strict=True):
        torch.save(tensors, path)
    road: dict[str, Any] = {"image": str(tower_folder), "depth": 6}
    made = read_official(paths, sd1.base, **road)
    assert made.patches and torch.equal(made.patches.weights["mapping_0.0.bias"], two["mapping_0.0.bias"])
    assert torch.equal(made.words.weights["mapping_0.0.bias"], one["mapping_0.0.bias"])
    with pytest.raises(InputError, match="a local mapper alone"):
        read_official(paths[:1], sd1.base, **road)
    with pytest.raises(InputError, match="wanted are one"):
        read_official([paths[1], paths[1]], sd1.base, **road)


def test_the_command_imports_the_published_files(sd1, tower_folder, tmp_path, capsys):
    tower, base, out = Tower.load(str(tower_folder)), tmp_path / "base", tmp_path / "e.safetensors"
    tiny.pipeline("sd1").save_pretrained(base)
    files = [tmp_path / name for name in ("global_mapper.pt", "local_mapper.pt")]
    for seed, (path, by) in enumerate(zip(files, (0.1, 0.5), strict=True)):
        torch.save(published(sd1.base, seed, tower, by=by), path)

    def run(*words: Any) -> tuple[int, str]:
        code = main([str(word) for word in ("import", *words, "--base", base, "-o", out)])
        return code, capsys.readouterr().err

    code, said = run(files[1])
    assert code == 2 and "give global_mapper.pt too" in said and not out.exists()
    code, said = run(*files, "--token", "<S>")
    assert code == 2 and "motif encode" in said and not out.exists()
    assert run(*files)[0] == 0
    made = Encoder.load(out)
    assert made.patches and (made.image, made.layers) == (PAPER, (24, 4, 8, 12, 16))
    assert torch.equal(made.patches.weights["mapping_0.0.bias"], torch.load(files[1])["mapping_0.0.bias"])


def test_roles():
    told = {"global_mapper.pt": "global", "mapper_070000.pt": "global", "mapper.pt": "global",
            "local_mapper.pt": "local", "local_mapper_065000.pt": "local", "unet.pt": ""}  # fmt: skip
    assert {name: role(name) for name in told} == told


def test_the_published_shapes_are_the_card_s():
    """192 MB: ten networks, and W_k and W_v of 12,480 channels of SD1's sixteen layers."""
    mapper = Mapper.fresh(5, 1024, 768, seed=0)
    count = sum(weight.numel() for weight in mapper.weights.values())
    assert len(mapper.weights) == 100 and round(4 * (count + 2 * 12_480 * 768) / 1e6) == 192


def test_what_the_views_say_of_a_picture_without_a_mask(tmp_path):
    drawn(1).convert("RGB").save(tmp_path / "a.jpg")
    (subject,) = read_subjects(tmp_path)
    image, mask, box = subject.seen()
    assert mask is None and box == (0, 0, *image.size) and not subject.masked
